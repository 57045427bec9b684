//! ROCm memory for the poll-mode driver.
//!
//! # Place in the flow
//!
//! An accelerator crate *describes* memory and `pmd-host` *registers* it. This crate stands beside the driver: it
//! knows AMD's HIP runtime, and neither queue pairs nor the NIC. Its callers are `pmd info`, which reports what is on
//! a machine, and the applications that keep activations or KV caches in GPU memory.
//!
//! # What it does today
//!
//! [`probe`] loads the HIP runtime (`libamdhip64`, versions 7, 6, 5 and unversioned) and answers with its version
//! and its device count, or with an [`Unavailable`] that names what is missing and what to do about it. A build needs
//! no ROCm, and a program that links this crate starts on a machine without it.
//!
//! ```
//! match accel_rocm::probe() {
//!     Ok(runtime) => println!("HIP {}: {} devices", runtime.version, runtime.device_count),
//!     Err(unavailable) => println!("{unavailable}"),
//! }
//! ```
//!
//! # What it does not do yet
//!
//! It does not describe device memory (dma-buf export), copy blocks, share memory between processes, or wait for
//! stream events. A caller with data in GPU memory copies it to host memory before it posts.

mod probe;

pub use probe::{Runtime, Unavailable, Version, probe};
