//! Shared receive queue: slots in a linked list, taken by the device in order and given back in any order.
//!
//! Messages of several queue pairs finish out of order, so that slots cannot form a ring. The device follows the
//! next segments; the driver keeps the same links as a shadow. One slot always stays free, as the end of the list.
//! ConnectX PRM, "SRQ WQE"; rdma-core providers/mlx5/srq.c.

#![allow(unsafe_code)] // Queue memory is shared with a device and known by address only.

use alloc::boxed::Box;

use super::{error::QueueError, scatter::scatter, slot::Slots};
use crate::{
    mmio,
    provider::{PostError, ReceiveRequest, SharedReceiveQueueMemory},
    wire::{NextSegment, UNIT, doorbell},
};

/// Shared receive queue over memory that a device reads.
#[derive(Debug)]
pub struct SharedReceiveQueue {
    slots: Slots,
    doorbell_record: core::ptr::NonNull<u32>,
    /// First free slot: the next receive goes there.
    head: u16,
    /// Last free slot: never posted, so that the list always has an end to append to.
    tail: u16,
    /// Slots before `tail` that can be posted.
    free: u32,
    /// Receives posted, free-running.
    producer: u32,
    /// Receives posted when the record was last written.
    rung: u32,
    /// What the driver knows of each slot.
    shadow: Box<[Shadow]>,
}

#[derive(Clone, Copy, Debug)]
struct Shadow {
    /// Id of the receive in the slot.
    id: u64,
    /// Slot that follows in the list.
    next: u16,
    /// Whether a receive is posted here and has not completed.
    posted: bool,
}

// SAFETY: the memory belongs to this queue and the device (`new`'s contract), whichever thread owns the queue.
unsafe impl Send for SharedReceiveQueue {}

impl SharedReceiveQueue {
    /// A queue over fresh memory: nothing posted, the device's counters at zero. Links all slots.
    ///
    /// # Errors
    /// [`QueueError`] when the memory's description does not fit together.
    ///
    /// # Safety
    /// As [`super::ReceiveQueue::new`].
    pub unsafe fn new(
        memory: SharedReceiveQueueMemory,
        max_sges: u32,
        keep_lists: bool,
    ) -> Result<Self, QueueError> {
        let count = memory.wqe_count;
        // SAFETY: the caller's promise; the next segment takes the first unit of each slot.
        let slots =
            unsafe { Slots::new(memory.buffer, count, memory.stride_shift, 1, max_sges, keep_lists) }?;
        let following = |slot: u32| ((slot + 1) & (count - 1)) as u16;
        let shadow = (0..count).map(|slot| Shadow { id: 0, next: following(slot), posted: false }).collect();
        let mut queue = Self {
            slots,
            doorbell_record: memory.doorbell_record,
            head: 0,
            tail: (count - 1) as u16,
            free: count - 1,
            producer: 0,
            rung: 0,
            shadow,
        };
        for slot in 0..count {
            queue.link(slot as u16, following(slot));
        }
        Ok(queue)
    }

    /// Writes one receive. The device does not see it before [`SharedReceiveQueue::ring`].
    ///
    /// # Errors
    /// [`PostError::QueueFull`] and [`PostError::TooManySges`]; nothing was written.
    #[inline]
    pub fn post(&mut self, request: &ReceiveRequest<'_>) -> Result<(), PostError> {
        self.slots.check(request.scatter)?;
        let full = PostError::QueueFull { needed: 1, free: 0, capacity: self.slots.mask() };
        let slot = self.head;
        let shadow = match self.shadow.get_mut(usize::from(slot)) {
            Some(shadow) if self.free != 0 => shadow,
            _ => return Err(full),
        };
        shadow.id = request.id;
        shadow.posted = true;
        self.head = shadow.next;
        self.free -= 1;
        self.slots.write(u32::from(slot), request.scatter);
        self.producer = self.producer.wrapping_add(1);
        Ok(())
    }

    /// Hands posted receives to the device: the doorbell record only.
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

    /// Slots that can be posted now; one less than the slots of the memory when the queue is empty.
    #[inline]
    #[must_use]
    pub fn free(&self) -> u32 {
        self.free
    }

    /// Takes the receive in `slot`, which the device has completed, and appends the slot to the free ones. `None`
    /// when nothing is posted there. `payload` is what the completion entry itself carried.
    #[inline]
    pub(super) fn retire(&mut self, slot: u16, payload: Option<&[u8]>) -> Option<u64> {
        let shadow = self.shadow.get_mut(usize::from(slot)).filter(|shadow| shadow.posted)?;
        shadow.posted = false;
        let id = shadow.id;
        if let Some(payload) = payload {
            // SAFETY: `new`'s contract on posted addresses; the receive is outstanding until this returns.
            unsafe { scatter(self.slots.list(u32::from(slot)), payload) };
        }
        self.link(self.tail, slot);
        self.tail = slot;
        self.free += 1;
        Some(id)
    }

    /// Whether posted lists are kept, so that payload can be taken from completion entries.
    pub(super) fn keeps_lists(&self) -> bool {
        self.slots.keeps_lists()
    }

    /// Makes `next` follow `slot`, in the device's list and in the shadow. `slot` is not posted.
    #[inline]
    fn link(&mut self, slot: u16, next: u16) {
        let mut unit = [0; UNIT];
        NextSegment { next_index: next }.emit(&mut unit);
        self.slots.write_reserved(u32::from(slot), unit);
        if let Some(shadow) = self.shadow.get_mut(usize::from(slot)) {
            shadow.next = next;
        }
    }
}
