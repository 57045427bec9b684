//! Receive queues as the device sees them: taken in order, one by one, as messages arrive.

use pmd_core::{
    provider::{ReceiveQueueMemory, SharedReceiveQueueMemory},
    wire::{DataSegment, NextSegment, ReceiveSegments, UNIT},
};

use super::QueueMemory;
use crate::backend::SetupError;

/// Most receives a queue takes: their count is 16 bits wide.
const LIMIT: u32 = 32_768;

/// Consuming end of a receive queue, own or shared.
#[derive(Debug)]
pub(in super::super) struct ReceiveRing {
    entries: QueueMemory,
    record: QueueMemory,
    count: u32,
    stride_shift: u32,
    /// Receives taken, free-running.
    taken: u16,
    /// Next slot of a shared queue, whose slots are a linked list.
    linked: Option<u16>,
}

/// A receive that was taken: its place in the queue and what a completion calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Slot {
    /// Counter (own queue) or slot (shared queue), for the completion.
    pub(in super::super) index: u16,
    /// Index of the slot in memory.
    place: u16,
}

impl ReceiveRing {
    /// A queue of one queue pair.
    pub(in super::super) fn own(receives: u32, sges: u32) -> Result<Self, SetupError> {
        Self::new(receives, sges.max(1), None)
    }

    /// A queue for several queue pairs. The driver links the slots.
    pub(in super::super) fn shared(receives: u32, sges: u32) -> Result<Self, SetupError> {
        Self::new(receives, sges + 1, Some(0))
    }

    fn new(receives: u32, units: u32, linked: Option<u16>) -> Result<Self, SetupError> {
        if receives > LIMIT {
            let (wanted, limit) = (receives.into(), LIMIT.into());
            return Err(SetupError::Limit { what: "receive queue", wanted, limit });
        }
        let count = receives.max(1).next_power_of_two();
        let stride = (units.max(1) as usize * UNIT).next_power_of_two();
        Ok(Self {
            entries: QueueMemory::new(count as usize * stride)?,
            record: QueueMemory::new(4)?,
            count,
            stride_shift: stride.trailing_zeros(),
            taken: 0,
            linked,
        })
    }

    /// What the driver of an own queue works on.
    pub(in super::super) fn memory(&self) -> ReceiveQueueMemory {
        ReceiveQueueMemory {
            buffer: self.entries.pointer(),
            wqe_count: self.count,
            stride_shift: self.stride_shift,
            doorbell_record: self.record.pointer().cast(),
        }
    }

    /// What the driver of a shared queue works on.
    pub(in super::super) fn shared_memory(&self) -> SharedReceiveQueueMemory {
        SharedReceiveQueueMemory {
            buffer: self.entries.pointer(),
            wqe_count: self.count,
            stride_shift: self.stride_shift,
            doorbell_record: self.record.pointer().cast(),
        }
    }

    /// Receives posted and not taken.
    #[inline]
    pub(in super::super) fn available(&self) -> u16 {
        (self.record.record(0) as u16).wrapping_sub(self.taken)
    }

    /// Takes the oldest receive.
    #[inline]
    pub(in super::super) fn take(&mut self) -> Option<Slot> {
        if self.available() == 0 {
            return None;
        }
        let slot = match self.linked {
            None => Slot { index: self.taken, place: self.taken & (self.count - 1) as u16 },
            Some(next) => {
                let place = next & (self.count - 1) as u16;
                self.linked = Some(self.next_of(place));
                Slot { index: place, place }
            }
        };
        self.taken = self.taken.wrapping_add(1);
        Some(slot)
    }

    /// The scatter list of a receive that was taken.
    #[inline]
    pub(in super::super) fn segments(&self, slot: Slot) -> impl Iterator<Item = DataSegment> + Clone + '_ {
        let link = if self.linked.is_some() { UNIT } else { 0 };
        let bytes = self.slot_bytes(slot.place);
        ReceiveSegments::new(&bytes[link..]).filter(|segment| segment.length > 0)
    }

    /// Forgets everything posted, for a queue pair that goes back to RESET.
    pub(in super::super) fn reset(&mut self) {
        self.taken = 0;
        self.record.clear();
    }

    fn next_of(&self, place: u16) -> u16 {
        let mut unit = [0; UNIT];
        unit.copy_from_slice(&self.slot_bytes(place)[..UNIT]);
        NextSegment::parse(&unit).next_index
    }

    fn slot_bytes(&self, place: u16) -> &[u8] {
        self.entries.bytes((place as usize) << self.stride_shift, 1 << self.stride_shift)
    }
}
