//! Work requests that were begun and not retired, in the order of the send queue.

use pmd_core::wire::{Opcode, Syndrome};

/// What the end of a work request still waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing.
    Done,
    /// The batch that it is part of.
    Batch,
    /// The peer consuming its request ring up to here.
    Consumed(u32),
    /// The peer's response.
    Response,
    /// The mover.
    Move,
    /// Nothing: it failed.
    Failed(Syndrome),
}

/// One work request that was begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Index of its first block, for the completion.
    pub(super) index: u16,
    /// Its operation.
    pub(super) opcode: Opcode,
    /// Whether success gives a completion.
    pub(super) signalled: bool,
    /// Bytes read, for the completion.
    pub(super) byte_count: u32,
    /// What it waits for.
    pub(super) wait: Wait,
}

const VACANT: Record =
    Record { index: 0, opcode: Opcode::Nop, signalled: false, byte_count: 0, wait: Wait::Done };

/// Ring of records, as long as the send queue has slots: a WQE takes at least one slot, so it never overflows.
#[derive(Debug)]
pub(super) struct Outstanding {
    records: Box<[Record]>,
    /// Sequence number of the oldest record.
    head: u32,
    /// Sequence number of the next record.
    tail: u32,
}

impl Outstanding {
    /// Room for `slots` records, a power of two.
    pub(super) fn new(slots: u32) -> Self {
        Self { records: vec![VACANT; slots.next_power_of_two() as usize].into(), head: 0, tail: 0 }
    }

    /// Whether every work request that was begun is retired.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head == self.tail
    }

    /// Sequence number that the next record gets.
    #[inline]
    pub(super) fn next(&self) -> u32 {
        self.tail
    }

    /// Sequence number of the oldest record, or of the next one where there is none.
    #[inline]
    pub(super) fn oldest(&self) -> u32 {
        self.head
    }

    /// Appends a record; gives its sequence number.
    #[inline]
    pub(super) fn push(&mut self, record: Record) -> u32 {
        let sequence = self.tail;
        debug_assert!(sequence.wrapping_sub(self.head) < self.records.len() as u32);
        *self.slot(sequence) = record;
        self.tail = sequence.wrapping_add(1);
        sequence
    }

    /// The oldest record.
    #[inline]
    pub(super) fn front(&self) -> Option<Record> {
        (!self.is_empty()).then(|| self.records[self.head as usize & (self.records.len() - 1)])
    }

    /// Drops the oldest record.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<Record> {
        let record = self.front()?;
        self.head = self.head.wrapping_add(1);
        Some(record)
    }

    /// The record with this sequence number, if it is outstanding.
    #[inline]
    pub(super) fn find(&mut self, sequence: u32) -> Option<&mut Record> {
        let inside = sequence.wrapping_sub(self.head) < self.tail.wrapping_sub(self.head);
        inside.then(|| self.slot(sequence))
    }

    /// Forgets the record with this sequence number and all behind it; gives the first.
    pub(super) fn truncate(&mut self, sequence: u32) -> Option<Record> {
        let first = *self.find(sequence)?;
        self.tail = sequence;
        Some(first)
    }

    /// All those from `sequence` on that wait for the batch are done.
    pub(super) fn settle_batch(&mut self, first: u32, end: u32) {
        let mut sequence = first;
        while sequence != end {
            if let Some(record) = self.find(sequence)
                && record.wait == Wait::Batch
            {
                record.wait = Wait::Done;
            }
            sequence = sequence.wrapping_add(1);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.head = self.tail;
    }

    #[inline]
    fn slot(&mut self, sequence: u32) -> &mut Record {
        let mask = self.records.len() - 1;
        &mut self.records[sequence as usize & mask]
    }
}
