//! The device's half of receive queues and completion queues.

use pmd_core::{
    provider::{CompletionQueueMemory, ReceiveQueueMemory, SharedReceiveQueueMemory},
    wire::{Cqe, DataSegment, NextSegment, ReceiveSegments, Scatter, cqe, cqe::OP_OWN, doorbell},
};

use super::block::Block;

/// Receives of one queue pair or of several.
#[derive(Debug)]
pub(super) struct Receives {
    memory: Block,
    record: Block,
    count: u32,
    stride_shift: u32,
    shared: bool,
    /// Receives taken, free-running.
    taken: u32,
    /// Slot of the next receive of a shared queue.
    next: u16,
}

/// A receive that was taken: its slot and its scatter list.
pub(super) type Taken = (u16, Vec<DataSegment>);

impl Receives {
    pub(super) fn new(count: u32, sges: u32, shared: bool) -> Self {
        let count = count.max(1).next_power_of_two();
        let units = sges.max(1) + u32::from(shared);
        let stride_shift = (units * 16).next_power_of_two().trailing_zeros();
        let memory = Block::new((count << stride_shift) as usize);
        Self { memory, record: Block::new(8), count, stride_shift, shared, taken: 0, next: 0 }
    }

    pub(super) fn memory(&self) -> ReceiveQueueMemory {
        ReceiveQueueMemory {
            buffer: self.memory.pointer(),
            wqe_count: self.count,
            stride_shift: self.stride_shift,
            doorbell_record: self.record.pointer().cast(),
        }
    }

    pub(super) fn shared_memory(&self) -> SharedReceiveQueueMemory {
        let ReceiveQueueMemory { buffer, wqe_count, stride_shift, doorbell_record } = self.memory();
        SharedReceiveQueueMemory { buffer, wqe_count, stride_shift, doorbell_record }
    }

    /// The next posted receive.
    pub(super) fn take(&mut self) -> Option<Taken> {
        let waiting = self.record.word(doorbell::RECEIVE_RECORD).wrapping_sub(self.taken) & 0xffff;
        if waiting == 0 {
            return None;
        }
        assert!(waiting <= self.count, "{waiting} receives in a queue of {}", self.count);
        let slot = if self.shared { self.next } else { (self.taken & (self.count - 1)) as u16 };
        let stride = 1 << self.stride_shift;
        let mut bytes = self.memory.read(usize::from(slot) * stride, stride);
        if self.shared {
            let mut next = [0; 16];
            next.copy_from_slice(&bytes[..16]);
            self.next = NextSegment::parse_strict(&next).expect("a next segment").next_index;
            bytes.drain(..16);
        }
        self.taken = self.taken.wrapping_add(1);
        let list: Vec<DataSegment> = ReceiveSegments::new(&bytes).collect();
        assert!(list.iter().all(|segment| segment.length != 0), "a segment of no bytes would mean 2 GiB");
        Some((slot, list))
    }

    /// What a modify to RESET does; not to a shared queue.
    pub(super) fn reset(&mut self) {
        self.taken = 0;
    }
}

/// The completion queue.
#[derive(Debug)]
pub(super) struct Completions {
    entries: Block,
    record: Block,
    count: u32,
    size: u32,
    /// Entries written, free-running.
    produced: u32,
    overrun: bool,
}

impl Completions {
    pub(super) fn new(count: u32, size: u32) -> Self {
        let count = count.max(2).next_power_of_two();
        let entries = Block::new((count * size) as usize);
        Self { entries, record: Block::new(8), count, size, produced: 0, overrun: false }
    }

    pub(super) fn memory(&self, number: u32) -> CompletionQueueMemory {
        CompletionQueueMemory {
            buffer: self.entries.pointer(),
            cqe_count: self.count,
            cqe_size: self.size,
            doorbell_record: self.record.pointer().cast(),
            number,
        }
    }

    /// Entries, once more was written than there are.
    pub(super) fn overrun(&self) -> Option<u32> {
        self.overrun.then_some(self.count)
    }

    /// Whether entries wait for the driver.
    pub(super) fn has_news(&self) -> bool {
        self.waiting() != 0
    }

    /// Payload bytes that fit into an entry.
    pub(super) const fn room(&self) -> usize {
        if self.size == 128 { 64 } else { 32 }
    }

    /// Where a payload for an entry goes, and what lies in front of the entry.
    pub(super) fn carry(payload: &[u8]) -> (Scatter, [u8; 64]) {
        let (mut preceding, mut inside) = ([0x5a; 64], [0x5a; 32]);
        match payload.len() {
            0 => (Scatter::Memory, preceding),
            length @ 1..=32 => {
                inside[..length].copy_from_slice(payload);
                (Scatter::InEntry(inside), preceding)
            }
            length => {
                preceding[..length].copy_from_slice(payload);
                (Scatter::Preceding, preceding)
            }
        }
    }

    /// Writes an entry, its ownership byte last. Entries that nobody consumed are not overwritten.
    pub(super) fn push(&mut self, completion: Cqe, preceding: &[u8; 64]) {
        if self.waiting() >= self.count {
            self.overrun = true;
            return;
        }
        let mut entry = [0; 64];
        completion.emit_cqe64(cqe::owner_bit(self.produced, self.count), &mut entry);
        let start = ((self.produced & (self.count - 1)) * self.size) as usize;
        let end = start + self.size as usize;
        if self.size == 128 {
            self.entries.write(start, preceding);
        }
        self.entries.write(end - 64, &entry[..OP_OWN]);
        self.entries.write(end - 1, &entry[OP_OWN..]);
        self.produced = self.produced.wrapping_add(1);
    }

    fn waiting(&self) -> u32 {
        self.produced.wrapping_sub(self.record.word(doorbell::CONSUMER_RECORD)) & 0x00ff_ffff
    }
}
