//! Ascend memory for the poll-mode driver.
//!
//! # Place in the flow
//!
//! An accelerator crate *describes* memory and `pmd-host` *registers* it. This crate stands beside the driver: it
//! knows CANN's ACL runtime, and neither queue pairs nor the NIC. Its callers are `pmd info`, which reports what is
//! on a machine, and the applications that keep activations or KV caches in NPU memory.
//!
//! # What it does today
//!
//! [`probe`] loads the ACL runtime (`libascendcl.so`) and answers with its device count, or with an [`Unavailable`]
//! that names what is missing and what to do about it. A build needs no CANN, and a program that links this crate
//! starts on a machine without it. It has been run against stand-ins for the runtime, not against an NPU.
//!
//! ```
//! match accel_ascend::probe() {
//!     Ok(runtime) => println!("Ascend: {} devices", runtime.device_count),
//!     Err(unavailable) => println!("{unavailable}"),
//! }
//! ```
//!
//! # What it does not do yet
//!
//! It does not describe device memory, copy blocks, share memory between processes, or wait for stream events. A
//! caller with data in NPU memory copies it to host memory before it posts.

mod probe;

pub use probe::{Runtime, Unavailable, probe};
