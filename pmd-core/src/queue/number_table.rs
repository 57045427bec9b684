//! From a queue pair's 24-bit number to its handle: an open-addressed table, built when queue pairs are attached
//! and detached, looked up for every completion.

use alloc::boxed::Box;

use crate::provider::{QueuePairHandle, QueuePairNumber};

/// Marks an empty slot: no number has more than 24 bits.
const EMPTY: u32 = u32::MAX;
/// 2^32 divided by the golden ratio: spreads consecutive numbers.
const MULTIPLIER: u32 = 0x9e37_79b9;

#[derive(Debug)]
pub(super) struct NumberTable {
    /// A power of two of slots, at most a quarter of them taken, so that every probe ends soon.
    slots: Box<[Slot]>,
    /// 32 - log2(slots).
    shift: u32,
    /// What was found last: completions of one queue pair often follow each other.
    latest: Slot,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    number: u32,
    handle: u32,
}

impl NumberTable {
    /// The table of these queue pairs, whose numbers differ.
    pub(super) fn new(entries: impl Iterator<Item = (QueuePairNumber, QueuePairHandle)> + Clone) -> Self {
        let size = (entries.clone().count() * 4).next_power_of_two().max(8);
        let empty = Slot { number: EMPTY, handle: 0 };
        let mut table = Self {
            slots: alloc::vec![empty; size].into_boxed_slice(),
            shift: u32::BITS - size.trailing_zeros(),
            latest: empty,
        };
        for (number, handle) in entries {
            table.insert(Slot { number: number.0, handle: handle.0 });
        }
        table
    }

    /// As [`NumberTable::find`], and sooner where it is the number that was found last.
    #[inline(always)]
    pub(super) fn find_again(&mut self, number: u32) -> Option<QueuePairHandle> {
        if self.latest.number != number {
            self.latest = Slot { number, handle: self.find(number)?.0 };
        }
        Some(QueuePairHandle(self.latest.handle))
    }

    /// The handle of a number.
    #[inline(always)]
    pub(super) fn find(&self, number: u32) -> Option<QueuePairHandle> {
        let mut index = self.start(number);
        loop {
            let slot = self.slots.get(index & (self.slots.len() - 1))?;
            if slot.number == number {
                return Some(QueuePairHandle(slot.handle));
            }
            if slot.number == EMPTY {
                return None;
            }
            index += 1;
        }
    }

    fn insert(&mut self, entry: Slot) {
        let mask = self.slots.len() - 1;
        let first = self.start(entry.number);
        let free = (first..first + self.slots.len()).map(|index| index & mask);
        for index in free {
            if self.slots[index].number == EMPTY {
                self.slots[index] = entry;
                return;
            }
        }
    }

    #[inline(always)]
    fn start(&self, number: u32) -> usize {
        (number.wrapping_mul(MULTIPLIER) >> self.shift) as usize
    }
}
