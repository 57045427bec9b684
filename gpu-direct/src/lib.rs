//! CUDA memory for the poll-mode driver.
//!
//! # Place in the flow
//!
//! An accelerator crate *describes* memory and `pmd-host` *registers* it. This crate stands beside the driver:
//! it knows the CUDA driver, and neither queue pairs nor the NIC. Its callers are `pmd info`, which reports what is
//! on a machine, and the applications that keep activations or KV caches in GPU memory.
//!
//! # What it does today
//!
//! [`probe`] loads the CUDA driver at run time and answers with its version and its devices, or with an
//! [`Unavailable`] that names what is missing and what to do about it. A build needs no CUDA toolkit, and a program
//! that links this crate starts on a machine without a GPU.
//!
//! ```
//! match gpu_direct::probe() {
//!     Ok(runtime) => println!("CUDA {}: {} devices", runtime.driver_version, runtime.devices.len()),
//!     Err(unavailable) => println!("{unavailable}"),
//! }
//! ```
//!
//! # What it does not do yet
//!
//! It does not describe device memory (dma-buf export), copy blocks, share memory between processes, or wait for
//! stream events. A caller with data in GPU memory copies it to host memory before it posts.

mod probe;

pub use probe::{Device, Runtime, Unavailable, Version, probe};
