//! ROCm memory for the poll-mode driver.
//!
//! # Place in the flow
//! An accelerator crate *describes* memory and `pmd-host` *registers* it. This crate stands beside the driver: it
//! knows AMD's HIP runtime, and neither queue pairs nor the NIC. Its callers are `pmd info`, which reports what is on
//! a machine, and the applications that keep activations or KV caches in GPU memory: they open a [`RocmAccelerator`] and
//! hand it on as `Arc<dyn Accelerator>`.
//!
//! ```text
//!  pmd_core::accelerator (traits)
//!        ^
//!   accelerator   open, identity         memory   hipMalloc, hipHostMalloc, adopted pointers, dma-buf
//!        |                                  |
//!        +--- stream   copies, waits        +--- import   handles of other processes, opened once
//!        |       |                          +--- pinned   hipHostRegister
//!        |       +--- outstanding   what streams may still touch, before it is freed
//!        +--- event, flag
//!                       runtime   codes to errors, the caller's device and last error kept
//!                          |
//!                       hip-sys   libamdhip64, loaded at run time
//! ```
//!
//! # What is on the machine
//! [`probe`] loads the HIP runtime (`libamdhip64`, versions 7, 6, 5 and unversioned) and answers with its version and its
//! devices, or with an [`Unavailable`] that names what is missing and what to do about it. A build needs no ROCm, and a
//! program that links this crate starts on a machine without it.
//!
//! ```
//! match accel_rocm::probe() {
//!     Ok(runtime) => println!("HIP {}: {} devices", runtime.version, runtime.devices.len()),
//!     Err(unavailable) => println!("{unavailable}"),
//! }
//! ```
//!
//! # Using a device
//! ```no_run
//! use std::sync::Arc;
//!
//! use accel_rocm::RocmAccelerator;
//! use pmd_core::accelerator::Accelerator;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let device: Arc<dyn Accelerator> = Arc::new(RocmAccelerator::open(0)?);
//! let cache = device.allocate(1 << 20)?;
//! let (stream, description) = (device.open_stream()?, cache.description());
//! println!("{:#x}, {:?}", description.address, description.descriptor);
//! let done = stream.record()?;
//! while !done.query()? {}
//! # Ok(())
//! # }
//! ```
//!
//! # Versions of the runtime
//! | needs | without it |
//! |---|---|
//! | `hipMemGetHandleForAddressRange` (ROCm 7) or `hsa_amd_portable_export_dmabuf` (ROCm 5.6) | memory is described without a descriptor, and says why: `DeviceMemory::without_descriptor` |
//! | `hipStreamWaitValue64`, signal memory, and a device that says that it can | no flags: `Unsupported` |
//! | `hipGetStreamDeviceId` | the application's streams are taken as they are |
//!
//! # Freeing waits
//! Memory is freed, closed or unlocked behind the copies that this crate's streams make with any memory. `hipFree` and
//! `hipHostFree` themselves may wait for the whole device (HIP's manual says so of `hipFree`): whoever frees memory while a
//! stream waits for a [flag](pmd_core::accelerator::Flag) lets another thread write it.
//!
//! # What is proven
//! No AMD GPU has run this crate. It is tested on a stand-in for the runtime (`verification/fake-rocm`), and Debian's
//! libamdhip64 5.2.3 loads and reports that there is no device. A block copy is one `hipMemcpyAsync` for each run of
//! neighbouring blocks; no kernel gathers them.

mod accelerator;
mod event;
mod flag;
mod import;
mod memory;
mod outstanding;
mod pinned;
mod probe;
mod runtime;
mod stream;

pub use accelerator::RocmAccelerator;
pub use probe::{Device, Runtime, Unavailable, Version, is_stand_in, probe};
