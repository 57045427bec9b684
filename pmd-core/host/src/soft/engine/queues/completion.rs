//! The completion queue as the device sees it: it produces entries, the doorbell record says what was consumed.

use pmd_core::{
    provider::{CompletionQueueError, CompletionQueueMemory},
    wire::{Cqe, cqe, doorbell},
};

use super::QueueMemory;
use crate::backend::SetupError;

/// Bytes of an entry.
const ENTRY: usize = 64;
/// The consumer index has 24 bits.
const CONSUMER_MASK: u32 = 0x00ff_ffff;

/// Producing end of the completion queue that all queue pairs of an engine share.
#[derive(Debug)]
pub(in super::super) struct CompletionRing {
    entries: QueueMemory,
    record: QueueMemory,
    count: u32,
    /// Entries written, free-running.
    produced: u32,
    overrun: bool,
}

impl CompletionRing {
    /// A queue of `count` entries, rounded up to a power of two.
    pub(in super::super) fn new(count: u32) -> Result<Self, SetupError> {
        const LIMIT: u32 = 1 << 22;
        if count > LIMIT {
            let (wanted, limit) = (count.into(), LIMIT.into());
            return Err(SetupError::Limit { what: "completion queue", wanted, limit });
        }
        let count = count.max(1).next_power_of_two();
        let mut entries = QueueMemory::new(count as usize * ENTRY)?;
        for entry in 0..count as usize {
            entries.write(entry * ENTRY + cqe::OP_OWN, &[cqe::OP_OWN_INITIAL]);
        }
        Ok(Self { entries, record: QueueMemory::new(8)?, count, produced: 0, overrun: false })
    }

    /// What the driver works on.
    pub(in super::super) fn memory(&self, number: u32) -> CompletionQueueMemory {
        CompletionQueueMemory {
            buffer: self.entries.pointer(),
            cqe_count: self.count,
            cqe_size: ENTRY as u32,
            doorbell_record: self.record.pointer().cast(),
            number,
        }
    }

    /// Writes an entry in place: the driver looks at it on this thread, afterwards. With no entry free it is lost and
    /// the queue broken.
    #[inline(always)]
    pub(in super::super) fn push(&mut self, completion: &Cqe) {
        if self.overrun || self.room() == 0 {
            self.overrun = true;
            return;
        }
        let owner = cqe::owner_bit(self.produced, self.count);
        let offset = (self.produced & (self.count - 1)) as usize * ENTRY;
        completion.emit_cqe64(owner, self.entries.entry_mut(offset));
        self.produced = self.produced.wrapping_add(1);
    }

    /// Entries that can be written before the driver consumes more.
    #[inline]
    pub(in super::super) fn room(&self) -> u32 {
        let consumed = self.record.record(4 * doorbell::CONSUMER_RECORD);
        let used = self.produced.wrapping_sub(consumed) & CONSUMER_MASK;
        self.count.saturating_sub(used)
    }

    /// Whether entries were lost.
    #[inline]
    pub(in super::super) fn state(&self) -> Result<(), CompletionQueueError> {
        if self.overrun { Err(CompletionQueueError::Overrun { capacity: self.count }) } else { Ok(()) }
    }
}
