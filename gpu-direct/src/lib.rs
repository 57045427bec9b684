//! CUDA memory and streams for the poll-mode driver.
//!
//! # Place in the flow
//!
//! An accelerator crate *describes* memory, moves bytes and follows streams; `pmd-host` *registers* what it describes.
//! This crate stands beside the driver: it knows the CUDA driver, and neither queue pairs nor the NIC. Whoever keeps
//! activations or KV caches on a GPU opens a [`CudaAccelerator`] and hands it, as `Arc<dyn Accelerator>`, to `pmd-host`,
//! `kv-api` or `af-api`; `pmd info` calls [`probe`].
//!
//! ```text
//!  tensor --> adopt --> CudaMemory --> dma-buf descriptor --> NIC
//!                            \-------> share --> other process: import --> copies of a CudaStream
//!
//!  CudaAccelerator --- Context: primary context, driver's functions, pools of events, flags and staging areas
//! ```
//! | module | holds |
//! |---|---|
//! | `accelerator` | [`CudaAccelerator`] and why it does not open |
//! | `context` | the primary context and what is kept for it |
//! | `memory` | [`CudaMemory`]: allocated, pinned, adopted, opened; dma-buf and IPC handles |
//! | `stream`, `event`, `flag` | copies and their order |
//! | `blocks` | many blocks by one launch |
//! | [`graph`] | streams captured into graphs |
//! | `driver` | the driver's functions, found at run time |
//! | `probe` | what is on this machine |
//!
//! A build needs no CUDA toolkit, and a program that links this crate starts on a machine without a GPU.
//!
//! ```
//! use gpu_direct::{CudaAccelerator, OpenError, Unavailable};
//! use pmd_core::accelerator::Accelerator;
//!
//! match CudaAccelerator::open(0) {
//!     Ok(gpu) => println!("{}: {}", gpu.identity().ordinal, gpu.identity().name),
//!     Err(OpenError::Unavailable(Unavailable::Absent { library })) => println!("no {library} here"),
//!     Err(error) => println!("{error}"),
//! }
//! ```
//!
//! # What is kept to
//! - Functions that the oldest supported driver (CUDA 11.3) has are looked for when a device is opened; newer ones may be
//!   absent: batched copies (12.8) become single ones, without dma-bufs (11.7) memory is described without a descriptor
//!   ([`without_descriptor`] says why), without 64-bit stream memory operations (11.7) there are no flags.
//! - The calling thread's current context is as it was when a call returns.
//! - Dropping memory waits for copies that touch it, except that of another process, which is closed later, when copies
//!   that were begun before are done. `cuMemFree` may wait for everything on the device: a thread that has a stream wait
//!   for a flag does not drop memory before it has set the flag.
//! - Values of flags from 2^63 - 1 on are one value, which is read as 2^64 - 1: the device compares cyclically.
//! - Streams may be captured into graphs ([`graph`] says what becomes of which operation), and no call of this crate breaks a
//!   capture that the application has begun elsewhere. Memory and flags live for as long as the graph.
//!
//! # What is unproven
//! Nothing of this has run on a GPU. The tests run every path against a stand-in for the driver (`fake-cuda`), which does
//! the block kernel's job on the processor, and in one test runs its text, instruction by instruction; NVIDIA's assembler
//! (ptxas 12.9) takes the text for compute capability 7.0, 8.0, 9.0 and 10.0. So on hardware the following is to be shown
//! first: that the driver's compiler takes the text too, and that it moves blocks at the
//! memory's speed; that the codes of a dead owner's IPC handle are those that are taken for [`Gone`]; that a NIC takes
//! the exported descriptors; what batches, flags and flushes cost.
//!
//! [`without_descriptor`]: pmd_core::accelerator::DeviceMemory::without_descriptor
//! [`Gone`]: pmd_core::accelerator::AcceleratorError::Gone

mod accelerator;
mod blocks;
mod context;
mod driver;
mod event;
mod flag;
pub mod graph;
mod memory;
mod probe;
mod stream;

pub use accelerator::{CudaAccelerator, OpenError};
pub use memory::CudaMemory;
pub use probe::{Device, Runtime, Unavailable, Version, is_stand_in, probe};
