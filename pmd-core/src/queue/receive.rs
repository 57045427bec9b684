//! Receive queue of one queue pair: data segments in slots of a fixed stride, consumed in order.
//!
//! [`super::QueueProvider`] posts and retires. ConnectX PRM, "Receive WQE"; rdma-core `mlx5_post_recv`.

#![allow(unsafe_code)] // Queue memory is shared with a device and known by address only.

use alloc::boxed::Box;

use super::{error::QueueError, scatter::scatter, slot::Slots};
use crate::{
    mmio,
    provider::{PostError, ReceiveQueueMemory, ReceiveRequest},
    wire::doorbell,
};

/// Receive queue over memory that a device reads.
#[derive(Debug)]
pub struct ReceiveQueue {
    slots: Slots,
    doorbell_record: core::ptr::NonNull<u32>,
    /// Receives posted, free-running.
    producer: u32,
    /// Receives posted when the record was last written.
    rung: u32,
    /// Receives completed, free-running.
    consumer: u32,
    /// Request ids by slot.
    ids: Box<[u64]>,
}

// SAFETY: the memory belongs to this queue and the device (`new`'s contract), whichever thread owns the queue.
unsafe impl Send for ReceiveQueue {}

impl ReceiveQueue {
    /// A queue over fresh memory: nothing posted, the device's counters at zero.
    ///
    /// # Errors
    /// [`QueueError`] when the memory's description does not fit together.
    ///
    /// # Safety
    /// - `memory` describes writable memory that outlives the queue and that nobody but the device accesses.
    /// - With `keep_lists`, every address posted is host memory that the CPU can write until its receive completes.
    pub unsafe fn new(
        memory: ReceiveQueueMemory,
        max_sges: u32,
        keep_lists: bool,
    ) -> Result<Self, QueueError> {
        // SAFETY: the caller's promise; no bytes are reserved in front of the list.
        let slots = unsafe {
            Slots::new(memory.buffer, memory.wqe_count, memory.stride_shift, 0, max_sges, keep_lists)
        }?;
        let ids = alloc::vec![0; memory.wqe_count as usize].into_boxed_slice();
        let doorbell_record = memory.doorbell_record;
        Ok(Self { slots, doorbell_record, producer: 0, rung: 0, consumer: 0, ids })
    }

    /// Writes one receive. The device does not see it before [`ReceiveQueue::ring`].
    ///
    /// # Errors
    /// [`PostError::QueueFull`] and [`PostError::TooManySges`]; nothing was written.
    #[inline]
    pub fn post(&mut self, request: &ReceiveRequest<'_>) -> Result<(), PostError> {
        self.slots.check(request.scatter)?;
        let free = self.free();
        if free == 0 {
            return Err(PostError::QueueFull { needed: 1, free, capacity: self.slots.count() });
        }
        let slot = self.producer & self.slots.mask();
        self.slots.write(slot, request.scatter);
        if let Some(id) = self.ids.get_mut(slot as usize) {
            *id = request.id;
        }
        self.producer = self.producer.wrapping_add(1);
        Ok(())
    }

    /// Hands posted receives to the device: the doorbell record only, receives have no doorbell.
    #[inline]
    pub fn ring(&mut self) {
        if self.rung == self.producer {
            return;
        }
        mmio::to_device();
        // SAFETY: `new`'s contract: four writable bytes that only this queue writes.
        unsafe {
            mmio::store_record(self.doorbell_record.as_ptr(), doorbell::receive_record(self.producer));
        }
        self.rung = self.producer;
    }

    /// Slots free now.
    #[inline]
    #[must_use]
    pub fn free(&self) -> u32 {
        self.slots.count() - self.producer.wrapping_sub(self.consumer)
    }

    /// Takes the oldest receive, which the device has completed; `None` when none was handed over. `payload` is
    /// what the completion entry itself carried.
    #[inline]
    pub(super) fn retire(&mut self, payload: Option<&[u8]>) -> Option<u64> {
        if self.consumer == self.rung {
            return None;
        }
        let slot = self.consumer & self.slots.mask();
        if let Some(payload) = payload {
            // SAFETY: `new`'s contract on posted addresses; the receive is outstanding until this returns.
            unsafe { scatter(self.slots.list(slot), payload) };
        }
        self.consumer = self.consumer.wrapping_add(1);
        self.ids.get(slot as usize).copied()
    }

    /// Whether posted lists are kept, so that payload can be taken from completion entries.
    pub(super) fn keeps_lists(&self) -> bool {
        self.slots.keeps_lists()
    }

    /// Forgets everything posted, as the device did on its way to Reset.
    pub(super) fn reset(&mut self) {
        (self.producer, self.rung, self.consumer) = (0, 0, 0);
        // SAFETY: as in `ring`.
        unsafe { mmio::store_record(self.doorbell_record.as_ptr(), doorbell::receive_record(0)) };
    }
}
