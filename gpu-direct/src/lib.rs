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
//! | `memory::mapped` | memory of `cuMemCreate` (PyTorch's expandable segments), shared by descriptors |
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
//! - Dropping memory waits for copies that touch it, except that of another process and what this crate has mapped
//!   ([`CudaOptions::mapped`]): those are closed later, when copies that were begun before are done. `cuMemFree` may wait for everything on the device: a thread that has a stream wait
//!   for a flag does not drop memory before it has set the flag.
//! - Memory that was mapped (`cuMemCreate`: PyTorch's expandable segments) is shared by descriptors, which the owner's
//!   process sends when it is asked, over an abstract UNIX socket, to processes of the same user in the same network
//!   namespace. What is adopted may lie in many mappings, without a gap. Its allocator must have asked for handles that are
//!   file descriptors. Opening such memory waits for the owner's process, 5 seconds at most.
//! - Values of flags from 2^63 - 1 on are one value, which is read as 2^64 - 1: the device compares cyclically.
//! - Streams may be captured into graphs ([`graph`] says what becomes of which operation), and no call of this crate breaks a
//!   capture that the application has begun elsewhere. Memory and flags live for as long as the graph.
//!
//! # Figures
//! There are none yet: no machine with a GPU was at hand so far, and what stand-ins take says nothing of one. The program
//! that makes them is one file that needs nothing beside it:
//! ```text
//! cargo build --release -p accelerators      # target/release/accelerators: carry it to the machine
//! accelerators --accelerator cuda            # the cases; exit code 0. What only a stand-in shows is told as ignored
//! accelerators --accelerator cuda-mapped     # the same over memory of cuMemCreate
//! accelerators bench --accelerator cuda      # the table; --json for programs. Exit code 1 where a byte is wrong
//! accelerators bench --accelerator cuda-mapped
//! ```
//! The table has a row for each of 4096 x 16 KiB, 16384 x 4 KiB, 61 x 1 MiB and 4 GiB, between two processes of one device
//! and to and from pinned memory of the host, by this crate's ways, by `cuMemcpyAsync` for each block, by
//! `cuMemcpyBatchAsync` where the driver has it, and by one plain copy of as many bytes, which is what the device can do. To
//! be noted with it: date, GPU, driver, command. The goals are 0.9 of the plain copy for blocks of 4 KiB and more, and all
//! of it for H2D and D2H. PyTorch's own gather, for comparison on the same machine:
//! ```text
//! python3 -m timeit -n 20 -s 'import torch; n, b = 16384, 4096; s = torch.empty(n, b, dtype=torch.uint8, device="cuda")
//! t = torch.empty_like(s); i, j = (torch.randperm(n, device="cuda") for _ in "ij")' \
//!     't.index_copy_(0, j, s.index_select(0, i)); torch.cuda.synchronize()'
//! ```
//!
//! # What is unproven
//! Nothing of this has run on a GPU. The tests run every path against a stand-in for the driver (`fake-cuda`), which does
//! the block kernel's job on the processor, and in one test runs its text, instruction by instruction; NVIDIA's assembler
//! (ptxas 12.9) takes the text for compute capability 7.0, 8.0, 9.0 and 10.0. So on hardware the following is to be shown
//! first: that the driver's compiler takes the text too, and that it moves blocks at the
//! memory's speed; that the codes of a dead owner's IPC handle are those that are taken for [`Gone`]; that a NIC takes
//! the exported descriptors; what batches, flags and flushes cost; of mapped memory that `cuMemGetAddressRange` tells one
//! mapping, not all that are reserved together, that copies between devices reach it, and what PyTorch's segments say of
//! themselves.
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

pub use accelerator::{CudaAccelerator, CudaOptions, OpenError};
pub use memory::CudaMemory;
pub use probe::{Device, Runtime, Unavailable, Version, is_stand_in, probe};
