//! Ascend memory for the poll-mode driver.
//!
//! # Place in the flow
//! An accelerator crate *describes* memory, moves bytes in streams and follows events; `pmd-host` *registers* what is
//! described. This crate stands beside the driver: it knows CANN's ACL runtime, and neither queue pairs nor the NIC.
//! Its callers are `pmd info`, which reports what is on a machine, and applications that keep activations or KV caches in
//! NPU memory: they open an [`AscendAccelerator`] and hand it on as `Arc<dyn Accelerator>`.
//!
//! ```text
//!  kv-api, af-api, pmd-host -- pmd_core::accelerator --> AscendAccelerator        device      one device, its context
//!                                                          |-- memory             describe, share, import, pin
//!                                                          |-- stream, event, flag
//!                                                          '-- retired            what streams may still use
//!                                                        acl-sys --> libascendcl.so, when the program runs
//! ```
//! A build needs no CANN, and a program that links this crate starts on a machine without it.
//!
//! ```
//! use accel_ascend::{AscendAccelerator, Unavailable};
//! use pmd_core::accelerator::Accelerator;
//!
//! match AscendAccelerator::open(0) {
//!     Ok(npu) => {
//!         let memory = npu.allocate(1 << 20)?;
//!         println!("{} has it at {:#x}", npu.identity().name, memory.description().address);
//!     }
//!     Err(Unavailable::Absent { library }) => println!("{library} is not here"),
//!     Err(unavailable) => println!("{unavailable}"),
//! }
//! # Ok::<(), pmd_core::accelerator::AcceleratorError>(())
//! ```
//!
//! # What the runtime lacks
//! | wanted | here |
//! |---|---|
//! | a dma-buf | [`RegionDescription::descriptor`](pmd_core::memory::RegionDescription) is `None`: peer memory or staging |
//! | copies within the host in a stream | a function of the host in the stream, on a thread of the runtime |
//! | a thread without a context again | a thread that had none has the device's after a call; one that had one keeps it |
//! | the range of a foreign allocation | `aclrtMemGetAddressRange` of newer releases; else the last byte is asked for |
//!
//! Calls that wait for nothing may not free what streams use: memory, events and streams that are dropped while streams
//! of this crate are busy are *retired* and freed by a later call.
//!
//! # What is proven
//! It passes the suite that all accelerators pass on a stand-in for the runtime that checks use. **It has never run on
//! an NPU.** What only one can tell: whether `aclrtValueWait` takes the device's address of a registered host page, which
//! [`Flag`](pmd_core::accelerator::Flag)s rely on; which code an IPC key has whose owner is gone; whether memory of less
//! than a page table's granule can be shared.

mod accelerator;
mod call;
mod device;
mod event;
mod flag;
mod memory;
mod probe;
mod retired;
mod stream;

pub use accelerator::AscendAccelerator;
pub use probe::{Runtime, Unavailable, is_stand_in, probe};
