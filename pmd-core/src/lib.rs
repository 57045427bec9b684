//! The driver core: the layer that turns work requests into mlx5 work-queue entries, and completion-queue entries
//! into completions.
//!
//! Above it, `pmd-host` opens devices and runs lanes, which are the callers of everything here. Below it there is
//! only memory and a doorbell: a ConnectX, a simulated one, or the soft HCA of `pmd-host`, which reads the same
//! bytes with the same [`wire`] module. No system calls, no sockets, no threads; `no_std` with `alloc`.
//!
//! ```text
//! lane ── work request ──> provider ──> queue ──> wire ──> queue memory, doorbell record, doorbell (mmio)
//! lane <── completion ──── provider <── queue <── wire <── completion-queue memory
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`provider`] | the two seams: work requests and completions above, queue memory and doorbells below |
//! | [`queue`] | send, receive, shared receive and completion queues; queue pairs and their states |
//! | [`wire`] | WQE, CQE and doorbell formats, one emitter and one parser each |
//! | [`mmio`] | named barriers and doorbell stores |
//! | [`memory`] | keys, access rights, and how an accelerator describes memory |
//! | [`ring`] | lock-free rings and slots between threads and processes |
//! | [`accelerator`] | what the driver needs of a device with memory and streams of its own |
//! | [`sync`] | atomics, from `core` or from loom |
//!
//! # Quick start
//! A back end makes queue memory and attaches it; a lane posts, rings and polls. The device of this example answers
//! each doorbell with a completion and moves no bytes.
//! ```
//! use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey, Sge};
//! use pmd_core::provider::*;
//! use pmd_core::queue::{QueuePairLimits, QueuePairState, QueueProvider, ReceiveSource};
//! # use pmd_core::wire::{Cqe, Opcode, RequesterCompletion, Scatter};
//! # use std::ptr::NonNull;
//! # #[repr(C, align(64))]
//! # #[derive(Clone, Copy)]
//! # struct Line([u8; 64]);
//! # fn zeroed(lines: usize) -> NonNull<u8> {
//! #     NonNull::from(Vec::leak(vec![Line([0; 64]); lines])).cast()
//! # }
//! # struct Device {
//! #     entries: NonNull<u8>,
//! # }
//! # impl SendDoorbell for &mut Device {
//! #     fn blue_flame_limit(&self) -> u32 {
//! #         0
//! #     }
//! #     fn ring(&mut self, control: [u8; 8]) {
//! #         let mut entry = [0; 64];
//! #         let completion = RequesterCompletion {
//! #             queue_pair: 0x12,
//! #             operation: Opcode::RdmaRead,
//! #             wqe_counter: u16::from_be_bytes([control[1], control[2]]),
//! #             byte_count: 0,
//! #             timestamp: 0,
//! #             scatter: Scatter::Memory,
//! #         };
//! #         Cqe::Requester(completion).emit_cqe64(false, &mut entry);
//! #         // SAFETY: the first entry of the completion queue.
//! #         unsafe { self.entries.cast::<[u8; 64]>().write(entry) };
//! #     }
//! #     fn blue_flame(&mut self, _: WqeRing) {}
//! # }
//! # impl Hardware for Device {
//! #     type Doorbell<'a> = &'a mut Device;
//! #     fn doorbell(&mut self, _: QueuePairHandle) -> &mut Device {
//! #         self
//! #     }
//! #     fn progress(&mut self) -> Result<(), CompletionQueueError> {
//! #         Ok(())
//! #     }
//! #     fn arm(&mut self, _: [u8; 8]) {}
//! # }
//! # let entries = zeroed(8);
//! # let device = Device { entries };
//! // The back end: memory that the device was told of when it created the queues.
//! let completion_queue = CompletionQueueMemory {
//!     buffer: entries,
//!     cqe_count: 8,
//!     cqe_size: 64,
//!     doorbell_record: zeroed(1).cast(),
//!     number: 1,
//! };
//! let send_queue =
//!     SendQueueMemory { buffer: zeroed(16), wqe_count: 16, doorbell_record: zeroed(1).cast() };
//!
//! // SAFETY: fresh memory that lives for ever, used by this provider and its device only.
//! let mut provider = unsafe { QueueProvider::new(device, completion_queue) }?;
//! // SAFETY: as above.
//! let queue_pair = unsafe {
//!     provider.attach(QueuePairNumber(0x12), send_queue, ReceiveSource::None, QueuePairLimits::default())
//! }?;
//! // Each step after the device has made it.
//! for state in [QueuePairState::Init, QueuePairState::ReadyToReceive, QueuePairState::ReadyToSend] {
//!     provider.set_state(queue_pair, state)?;
//! }
//!
//! // The lane: post a batch, ring once, poll. The last request of the batch is signalled and retires all.
//! let remote = RemoteAddress { address: 0x7000_0000, key: RemoteKey(7) };
//! for block in 0..4u64 {
//!     let local = [Sge { address: 0x1000 * block, length: 4096, key: LocalKey(9) }];
//!     let flags = if block == 3 { SendFlags::SIGNALED } else { SendFlags::empty() };
//!     let operation = Operation::Read { remote, local: &local };
//!     provider.post_send(queue_pair, &SendRequest { id: block, operation, flags })?;
//! }
//! assert_eq!(provider.send_room(queue_pair), 12);
//! provider.ring_send(queue_pair);
//!
//! let mut completions = [Completion::EMPTY; 8];
//! assert_eq!(provider.poll(&mut completions)?, 1);
//! assert_eq!((completions[0].id, completions[0].result), (3, Ok(CompletionKind::Read)));
//! assert_eq!(provider.send_room(queue_pair), 16);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Full queues and errors
//! A full queue is a normal return, [`PostError::QueueFull`](provider::PostError::QueueFull): nothing was written, poll
//! and post again. Each operation has its own small error type, whose text says what to do. A failed request
//! completes with a [`CompletionError`](provider::CompletionError) and moves its queue pair to the error state;
//! everything outstanding is flushed, one completion each. Posting and polling never allocate, lock, log or panic.
//!
//! # Threads
//! A provider is used by one thread at a time: it can be moved to its lane's thread, and it is not `Sync`. Work from
//! other threads comes through [`ring`].
//!
//! # Clean-up
//! Queues do not own their memory: the back end frees it after the queue pair was destroyed on the device and
//! [detached](queue::QueueProvider::detach). Detaching and [resetting](queue::QueueProvider::reset) remove a queue
//! pair's entries from the completion queue, so that a later queue pair of the same number starts clean.
//!
//! # Features
//! There are no cargo features. `--cfg loom` replaces the atomics behind [`sync`] by loom's, for the models beside the
//! lock-free structures.
//!
//! # Platforms
//! x86_64 and aarch64; any other one stops at compile time, in [`mmio`], where its barriers would be missing.
#![cfg_attr(not(loom), no_std)]

extern crate alloc;

pub mod accelerator;
pub mod memory;
pub mod mmio;
pub mod provider;
pub mod queue;
pub mod ring;
pub mod sync;
pub mod wire;
