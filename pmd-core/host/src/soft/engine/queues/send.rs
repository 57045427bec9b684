//! The send queue as the device sees it: WQEs between its own index and the producer index in the doorbell record.

use pmd_core::{
    provider::SendQueueMemory,
    wire::{BASIC_BLOCK, ControlSegment, SendWqe, Service, UNITS_PER_BLOCK, Unit, WireError, basic_blocks},
};

use super::QueueMemory;
use crate::backend::SetupError;

/// Most slots: producer indexes are 16 bits wide and must tell full from empty.
const LIMIT: u32 = 32_768;

/// Consuming end of a send queue.
#[derive(Debug)]
pub(in super::super) struct SendRing {
    entries: QueueMemory,
    record: QueueMemory,
    count: u32,
    /// First block of the next WQE, free-running.
    head: u16,
}

impl SendRing {
    /// A queue of `slots` basic blocks, rounded up to a power of two.
    pub(in super::super) fn new(slots: u32) -> Result<Self, SetupError> {
        if slots > LIMIT {
            let (wanted, limit) = (slots.into(), LIMIT.into());
            return Err(SetupError::Limit { what: "send queue", wanted, limit });
        }
        let count = slots.max(1).next_power_of_two();
        let entries = QueueMemory::new(count as usize * BASIC_BLOCK)?;
        Ok(Self { entries, record: QueueMemory::new(4)?, count, head: 0 })
    }

    /// What the driver works on.
    pub(in super::super) fn memory(&self) -> SendQueueMemory {
        SendQueueMemory {
            buffer: self.entries.pointer(),
            wqe_count: self.count,
            doorbell_record: self.record.pointer().cast(),
        }
    }

    /// Slots of the queue.
    pub(in super::super) fn count(&self) -> u32 {
        self.count
    }

    /// Index of the next WQE.
    #[inline]
    pub(in super::super) fn head(&self) -> u16 {
        self.head
    }

    /// Blocks handed over and not begun.
    #[inline]
    pub(in super::super) fn available(&self) -> u16 {
        (self.record.record(0) as u16).wrapping_sub(self.head)
    }

    /// The first block of the next WQE.
    #[inline]
    pub(in super::super) fn block(&self) -> &[Unit; UNITS_PER_BLOCK] {
        let place = usize::from(self.head) & (self.count as usize - 1);
        self.entries.block(place * BASIC_BLOCK)
    }

    /// The WQE that begins at block `index`.
    #[inline]
    pub(in super::super) fn parse(&self, index: u16) -> Result<SendWqe<'_>, WireError> {
        let queue = self.entries.bytes(0, self.count as usize * BASIC_BLOCK);
        SendWqe::parse(queue, index.into(), Service::Connected)
    }

    /// Goes past `blocks` blocks.
    #[inline]
    pub(in super::super) fn advance(&mut self, blocks: u16) {
        self.head = self.head.wrapping_add(blocks);
    }

    /// Back to an earlier WQE, to execute it another way.
    pub(in super::super) fn rewind(&mut self, index: u16) {
        self.head = index;
    }

    /// Takes the next WQE without looking at its segments, for flushing: its index and opcode byte. A WQE whose
    /// length cannot be read swallows all that follow it.
    pub(in super::super) fn skip(&mut self) -> Option<(u16, u8)> {
        let available = self.available();
        if available == 0 {
            return None;
        }
        let index = self.head;
        let unit = self.block()[0];
        let blocks = ControlSegment::parse(&unit).map_or(available, |control| basic_blocks(control.units));
        self.advance(blocks.min(available));
        Some((index, unit[3]))
    }

    /// Forgets everything posted.
    pub(in super::super) fn reset(&mut self) {
        self.head = 0;
        self.record.clear();
    }
}
