//! The lower seam: queue memory, doorbell record and doorbell.
//!
//! Offered by ConnectX (addresses that mlx5dv hands out) and by the soft HCA (memory of its own); used by
//! [`crate::queue::QueueProvider`] only.

use core::ptr::NonNull;

use super::{CompletionQueueError, QueuePairHandle};

/// Memory of a send queue: `wqe_count` slots of 64 bytes and the doorbell record's send word.
#[derive(Clone, Copy, Debug)]
pub struct SendQueueMemory {
    /// First slot; 64-byte aligned.
    pub buffer: NonNull<u8>,
    /// Slots, a power of two, at most 32,768.
    pub wqe_count: u32,
    /// Big-endian producer index (`dbrec[1]` of the queue pair); 4-byte aligned.
    pub doorbell_record: NonNull<u32>,
}

/// Memory of a receive queue: `wqe_count` entries of `1 << stride_shift` bytes and the receive doorbell record.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveQueueMemory {
    /// First entry; 16-byte aligned.
    pub buffer: NonNull<u8>,
    /// Entries, a power of two.
    pub wqe_count: u32,
    /// Log2 of an entry's bytes; 16 bytes an SGE.
    pub stride_shift: u32,
    /// Big-endian count of posted receives (`dbrec[0]` of the queue pair); 4-byte aligned.
    pub doorbell_record: NonNull<u32>,
}

/// Memory of a shared receive queue: entries linked through their next segments.
#[derive(Clone, Copy, Debug)]
pub struct SharedReceiveQueueMemory {
    /// First entry; 16-byte aligned.
    pub buffer: NonNull<u8>,
    /// Entries, a power of two.
    pub wqe_count: u32,
    /// Log2 of an entry's bytes; the next segment takes the first 16.
    pub stride_shift: u32,
    /// Big-endian count of posted receives; 4-byte aligned.
    pub doorbell_record: NonNull<u32>,
}

/// Memory of a completion queue.
#[derive(Clone, Copy, Debug)]
pub struct CompletionQueueMemory {
    /// First entry; aligned to `cqe_size`.
    pub buffer: NonNull<u8>,
    /// Entries, a power of two.
    pub cqe_count: u32,
    /// 64 or 128 bytes.
    pub cqe_size: u32,
    /// `[consumer index, arm word]`, big-endian; 8-byte aligned.
    pub doorbell_record: NonNull<[u32; 2]>,
    /// Number of the queue as the device knows it.
    pub number: u32,
}

/// A posted WQE in its ring: the bytes of `slots` 64-byte slots from `first`, wrapping at the end of the buffer.
#[derive(Clone, Copy, Debug)]
pub struct WqeRing {
    /// First slot of the send queue.
    pub buffer: NonNull<u8>,
    /// Slots of the send queue, a power of two.
    pub wqe_count: u32,
    /// Slot in which the WQE starts.
    pub first: u32,
    /// Slots the WQE takes.
    pub slots: u32,
}

/// The doorbell of one queue pair's send queue.
///
/// [`crate::queue::SendQueue::ring`] is the only caller. When it calls, the WQEs are written, then a to-device barrier
/// was issued, then the doorbell record was written. What is left to an implementation that stores to a mapped
/// register (rdma-core `post_send_db`):
/// 1. [`crate::mmio::write_combining_start`],
/// 2. [`crate::mmio::store_doorbell`] or [`crate::mmio::copy_blue_flame`],
/// 3. [`crate::mmio::flush_writes`],
/// 4. go on to the register's other half, after either form.
///
/// A software device may read the queue and execute right here, on the posting thread.
pub trait SendDoorbell {
    /// Largest WQE in bytes that [`SendDoorbell::blue_flame`] takes; 0 where there is no BlueFlame.
    fn blue_flame_limit(&self) -> u32;

    /// Rings with the first 8 bytes of the last posted WQE's control segment, in wire order.
    fn ring(&mut self, control: [u8; 8]);

    /// Rings by copying the one WQE posted since the last ring into the register. Called only for a WQE with inline
    /// payload of at most [`SendDoorbell::blue_flame_limit`] bytes (`ds * 16`); whole slots are copied.
    fn blue_flame(&mut self, wqe: WqeRing);
}

/// A device that offers the lower seam, with the queue pairs that were created on it.
///
/// Queue pairs are named by the handles that [`crate::queue::QueueProvider::attach`] gave: the lowest free index, so
/// that a table by index serves. It is never asked for the doorbell of a handle that was not given out.
pub trait Hardware {
    /// Doorbell of one queue pair, borrowed for one ring.
    type Doorbell<'a>: SendDoorbell
    where
        Self: 'a;

    /// The doorbell of a queue pair of this device.
    fn doorbell(&mut self, queue_pair: QueuePairHandle) -> Self::Doorbell<'_>;

    /// Called at the start of every poll. Silicon needs nothing; a software device moves bytes and writes completion
    /// entries here.
    ///
    /// # Errors
    /// [`CompletionQueueError`] when the device found the completion queue overrun.
    fn progress(&mut self) -> Result<(), CompletionQueueError>;

    /// Writes the arm doorbell of the completion queue: `value` in wire order, at the register's CQ offset, between
    /// [`crate::mmio::write_combining_start`] and [`crate::mmio::flush_writes`]. The arm word of the doorbell record is
    /// already written.
    fn arm(&mut self, value: [u8; 8]);
}
