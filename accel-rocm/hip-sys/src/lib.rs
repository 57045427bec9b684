//! AMD's HIP runtime for the driver: the types, constants and functions that `accel-rocm` calls.
//!
//! # Place in the flow
//! ```text
//!   accel-rocm
//!        | functions
//!        v
//!   Runtime { hip, newer }  <----  bindings::hip (generated, committed)
//!        | dlopen, once a process
//!        v
//!   libamdhip64.so.7, .6, .5 or unversioned: the first that is there
//! ```
//! Building needs neither ROCm's headers nor libclang, and a program starts where ROCm is not installed.
//!
//! # Quick start
//! ```
//! use hip_sys::{LoadError, Runtime};
//!
//! match Runtime::load() {
//!     Ok(runtime) => println!("{} is here, without {:?}", runtime.name, runtime.hip.missing()),
//!     Err(LoadError::LibraryMissing { name, .. }) => println!("{name}: install ROCm's HIP runtime"),
//!     Err(error) => println!("{error}"),
//! }
//! ```
//! Every function of the table returns `Result<_, LoadError>` around what the C function returns: `Err` says that the
//! installed runtime lacks it. Names are HIP's own, so that its manual applies.
//!
//! # Versions
//! The bindings are made from the headers of HIP 5.2.3, and hold for versions 5, 6 and 7: functions and structs of device
//! properties that changed in between are not bound. One thing changed that cannot be avoided: the numbers of
//! [`hip::hipMemoryType`], which 6.0 shifted; [`MemoryType::of`] reads both. What is newer than these headers is in
//! [`Newer`], by hand.
//!
//! # Features
//! `regenerate` builds the maintenance command of the same name, which writes `src/bindings` from the installed
//! headers or, with `--check`, compares them.
//!
//! # Threads and clean-up
//! The table is `Send + Sync` and the library is never unloaded: its threads may outlive every call. The current device
//! and the last error are the thread's.

pub mod bindings;
pub mod loader;
mod memory_type;
mod newer;

pub use bindings::hip;
pub use bindings::hip::Hip;
pub use loader::{LIBRARIES, LoadError, Runtime};
pub use memory_type::MemoryType;
pub use newer::{
    ExportDmabuf, HIP_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, HSA_STATUS_SUCCESS, MemGetHandleForAddressRange,
    Newer,
};
