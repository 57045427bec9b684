//! Devices without hardware: what the stand-ins for accelerator runtimes have in common.
//!
//! # Place in the flow
//! Each stand-in is a shared library with the C functions of one runtime: `fake-cuda` (`libcuda.so.1`), `fake-rocm`
//! (`libamdhip64.so`), `fake-ascend` (`libascendcl.so`). It translates arguments and codes; memory, streams, events,
//! handles for other processes, faults and counts are here, in one [`Runtime`] that the library keeps in a static.
//!
//! ```text
//!  gpu-direct, accel-rocm, accel-ascend ---- the runtime's C functions ---- fake-cuda, fake-rocm, fake-ascend
//!                                                                                        |
//!                                      memory, copies, streams, events, faults, counts: this package
//! ```
//! | module | holds |
//! |---|---|
//! | [`runtime`] | [`Runtime`]: everything below behind one value |
//! | [`memory`] | what was allocated, pinned, registered and opened; where an address is |
//! | [`virtual_memory`] | addresses that are reserved, and physical memory that is mapped there |
//! | [`copy`] | copies and fills, checked when they are asked for |
//! | [`ipc`] | memory as another process names it |
//! | [`stream`], [`event`] | threads that run operations in order, and points in them |
//! | [`settings`], [`fault`], [`report`] | the environment, injected failures, misuse |
//!
//! # How it is stricter than a device
//! - Device memory is a memfd that is mapped twice: a process that touches a device address itself is killed by
//!   SIGSEGV; copies go through the hidden mapping. Fresh memory is full of [`memory::FRESH`], freed memory of
//!   [`memory::FREED`], and the addresses of freed device memory are never used again.
//! - Freeing waits for operations that still touch the memory, as `cuMemFree` and `hipFree` do.
//! - What would be undefined on a device (double free, use after free, a copy beyond its allocation, a destroyed stream)
//!   is an error and [misuse](Runtime::misuse): a line on stderr, and status 70 when the process exits.
//!
//! # Variables
//! | variable | default | means |
//! |---|---|---|
//! | `FAKE_DEVICE_COUNT` | 2 | devices; 0 is a driver without one |
//! | `FAKE_DEVICE_MEMORY` | 4294967296 | bytes of each |
//! | `FAKE_DEVICE_FAULTS` | | `function@n=code`, separated by commas: the n-th call fails so; `n+` every call from there. The function `stream` stands for the operations that streams perform |
//! | `FAKE_DEVICE_REPORT` | | a file to which lines of misuse are appended |
//! | `FAKE_DEVICE_TOUCH` | | `allow`: programs may touch device memory, as those do that register it as the host's |
//! | `FAKE_DEVICE_MISUSE` | | `allow`: the exit status stays what it was |
//!
//! # Example
//! ```
//! use fake_device::{Direction, Owner, Runtime, Settings};
//!
//! # fn main() -> Result<(), fake_device::FakeError> {
//! let runtime = Runtime::new(Settings::default());
//! let memory = runtime.allocate(0, 64)?;
//! let (source, mut found) = ([7_u8; 64], [0_u8; 64]);
//! runtime.prepare_copy(memory, source.as_ptr() as u64, 64, Some(Direction::HostToDevice))?.run();
//! runtime.prepare_copy(found.as_mut_ptr() as u64, memory, 64, Some(Direction::DeviceToHost))?.run();
//! assert_eq!(found, source);
//! runtime.free(memory, Owner::Device(0))?;
//! assert_eq!(runtime.counts().allocations, 0);
//! # Ok(())
//! # }
//! ```

pub mod copy;
pub mod error;
pub mod event;
pub mod fault;
pub mod ipc;
mod mapping;
pub mod memory;
pub mod report;
pub mod runtime;
pub mod settings;
pub mod stream;
#[cfg(test)]
mod tests;
pub mod virtual_memory;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use copy::{Direction, PreparedCopy, PreparedFill, Word};
pub use error::FakeError;
pub use event::{Event, Progress};
pub use ipc::IpcHandle;
pub use memory::{Found, Owner};
pub use runtime::{Counts, Runtime};
pub use settings::Settings;
pub use stream::Stream;

/// A panic under one of these locks fails a test anyhow.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
