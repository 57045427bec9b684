//! Completion queue: entries that a device writes, taken in order by their ownership bit.
//!
//! [`super::QueueProvider`] drains entries, publishes how far it came once per poll, and arms the
//! queue before a lane sleeps. ConnectX PRM, "Completion Queue Polling" and "Requesting Completion Notification";
//! rdma-core providers/mlx5/cq.c.

#![allow(unsafe_code)] // Queue memory is shared with a device and known by address only.

use core::ptr::NonNull;

use super::{
    error::{QueueError, check_alignment, check_count},
    lines::Lines,
};
use crate::{
    mmio,
    provider::CompletionQueueMemory,
    wire::{Arm, Cqe64, CqeOpcode, CqeView, cqe, doorbell, ownership, scatter},
};

/// Most entries: the consumer index has 24 bits, and the owner bit takes one of them.
const MAX_ENTRIES: u32 = 1 << 22;

/// What a device writes into op_own on success, in an entry whose payload is in memory: the common case.
const FORM_MASK: u8 = 0xfc;

/// Completion queue over memory that a device writes.
#[derive(Debug)]
pub struct CompletionQueue {
    ring: Ring,
    /// Entries consumed, free-running.
    consumer: u32,
    /// Consumer index that the device was told last.
    published: u32,
    /// Events received since creation; low two bits count.
    sequence: u8,
    number: u32,
    doorbell_record: NonNull<[u32; 2]>,
}

// SAFETY: the memory belongs to this queue and the device (`new`'s contract), whichever thread owns the queue.
unsafe impl Send for CompletionQueue {}

/// Where the entries lie: what does not change while the queue lives.
#[derive(Clone, Copy, Debug)]
struct Ring {
    lines: Lines,
    /// Entries, a power of two.
    count: u32,
    /// Log2 of an entry's lines: 0 or 1.
    shift: u32,
}

/// A completion entry that the device has handed over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    /// Its fields.
    pub(super) view: CqeView<'a>,
    /// The 64 bytes before it, in queues of 128-byte entries.
    preceding: Option<&'a Cqe64>,
}

impl<'a> Entry<'a> {
    /// Whether this is a good completion of a send queue whose payload, if any, is in memory.
    #[inline(always)]
    pub(super) fn is_plain_requester(&self) -> bool {
        self.view.op_own() & FORM_MASK == 0
    }

    /// Payload that the entry itself carries.
    ///
    /// # Errors
    /// The entry is compressed, or says that its payload is in front of it where nothing is: the opcode.
    #[inline]
    pub(super) fn payload(&self, length: u32) -> Result<Option<&'a [u8]>, u8> {
        let length = length as usize;
        match (self.view.op_own() & scatter::FORMAT_MASK, self.preceding) {
            (0, _) => Ok(None),
            (scatter::FORMAT_IN_ENTRY, _) => Ok(Some(&self.view.0[scatter::IN_ENTRY][..length.min(32)])),
            (scatter::FORMAT_PRECEDING, Some(preceding)) => Ok(Some(&preceding[..length.min(64)])),
            _ => Err(self.view.opcode_bits()),
        }
    }
}

/// Whether an entry completes a receive, well or not.
pub(super) fn is_responder(view: CqeView<'_>) -> bool {
    let opcode = view.opcode_bits();
    let good = CqeOpcode::ResponderWriteImmediate as u8..=CqeOpcode::ResponderSendInvalidate as u8;
    good.contains(&opcode) || opcode == CqeOpcode::ResponderError as u8
}

impl CompletionQueue {
    /// A queue over fresh memory: the device has written nothing. Marks every entry as invalid.
    ///
    /// # Errors
    /// [`QueueError`] when the memory's description does not fit together.
    ///
    /// # Safety
    /// `memory` describes memory, readable and writable, that outlives the queue; only the device writes it, and
    /// only entries that this queue has not been given or has consumed.
    pub unsafe fn new(memory: CompletionQueueMemory) -> Result<Self, QueueError> {
        check_count(memory.cqe_count, MAX_ENTRIES)?;
        let shift = match memory.cqe_size {
            64 => 0,
            128 => 1,
            given => return Err(QueueError::EntrySize { given }),
        };
        check_alignment(memory.buffer, memory.cqe_size as usize)?;
        check_alignment(memory.doorbell_record, 8)?;
        let ring = Ring { lines: Lines::new(memory.buffer), count: memory.cqe_count, shift };
        for index in 0..ring.count {
            // SAFETY: the byte lies in the entry, which is the queue's until the device writes it.
            unsafe { ring.lines.set_ownership(ring.line(index), cqe::OP_OWN_INITIAL) };
        }
        Ok(Self {
            ring,
            consumer: 0,
            published: 0,
            sequence: 0,
            number: memory.number,
            doorbell_record: memory.doorbell_record,
        })
    }

    /// Entries of the queue.
    #[must_use]
    pub fn capacity(&self) -> u32 {
        self.ring.count
    }

    /// Hands entries to `complete`, in order, each with its place in `into`, and consumes them; stops after one that it
    /// refuses. Gives the number of good ones, and the refusal.
    ///
    /// One barrier serves the whole batch: all ownership bytes are read before it, everything else after it.
    #[inline(always)]
    pub(super) fn drain<T, E>(
        &mut self,
        into: &mut [T],
        mut complete: impl FnMut(&mut T, Entry<'_>) -> Result<(), E>,
    ) -> (usize, Option<E>) {
        let ready = self.ready(into.len());
        if ready == 0 {
            return (0, None);
        }
        mmio::from_device();
        let (ring, first) = (self.ring, self.consumer);
        for (place, completion) in into.get_mut(..ready).unwrap_or_default().iter_mut().enumerate() {
            let index = first.wrapping_add(place as u32);
            if let Err(error) = complete(completion, ring.view(index)) {
                self.consumer = index.wrapping_add(1);
                return (place, Some(error));
            }
        }
        self.consumer = first.wrapping_add(ready as u32);
        (ready, None)
    }

    /// Tells the device how far entries were consumed, so that it can write them again.
    #[inline(always)]
    pub(super) fn publish(&mut self) {
        if self.published == self.consumer {
            return;
        }
        mmio::before_release();
        self.published = self.consumer;
        self.store_record(doorbell::CONSUMER_RECORD, doorbell::consumer_record(self.consumer));
    }

    /// Asks for one event at the next entry: writes the arm word of the doorbell record and gives the word for the
    /// register, which [`Hardware::arm`](crate::provider::Hardware::arm) stores.
    pub(super) fn arm(&mut self, solicited_only: bool) -> [u8; 8] {
        self.publish();
        let arm = Arm {
            sequence: self.sequence,
            solicited_only,
            consumer_index: self.consumer,
            completion_queue: self.number,
        };
        self.store_record(doorbell::ARM_RECORD, arm.record());
        arm.register().to_ne_bytes()
    }

    /// Counts an event, so that the next arming is told from the last one.
    pub(super) fn event_received(&mut self) {
        self.sequence = self.sequence.wrapping_add(1);
    }

    /// Takes the entries of one queue pair out and hands each to `discarded`, oldest first; the others keep their
    /// order. For a queue pair that the device has reset or destroyed: it writes no more entries for it.
    /// rdma-core: `__mlx5_cq_clean`.
    pub(super) fn clean(&mut self, queue_pair: u32, mut discarded: impl FnMut(CqeView<'_>)) {
        let entries = self.ready(self.ring.count as usize) as u32;
        mmio::from_device();
        let first = self.consumer;
        for offset in 0..entries {
            let view = self.ring.view(first.wrapping_add(offset)).view;
            if view.queue_pair() == queue_pair {
                discarded(view);
            }
        }
        // Kept entries move towards the end, newest first, so that none is overwritten before it has moved.
        let mut freed = 0;
        for offset in (0..entries).rev() {
            let index = first.wrapping_add(offset);
            if self.ring.view(index).view.queue_pair() == queue_pair {
                freed += 1;
            } else if freed != 0 {
                self.copy(index, index.wrapping_add(freed));
            }
        }
        self.consumer = self.consumer.wrapping_add(freed);
        // What is given back was only read here, so that the barrier of `publish` is enough.
        self.publish();
    }

    /// Puts the indexes of an empty queue near the end of their range.
    #[cfg(all(test, not(loom)))]
    pub(super) fn start_at(&mut self, index: u32) {
        (self.consumer, self.published) = (index, index);
        let ring = self.ring;
        for offset in 0..ring.count {
            let stale = u8::from(!cqe::owner_bit(index.wrapping_add(offset), ring.count));
            // SAFETY: the byte lies in the entry, which no device writes meanwhile.
            unsafe { ring.lines.set_ownership(ring.line(index.wrapping_add(offset)), stale) };
        }
    }

    /// Copies an entry over another one that software owns, which keeps its owner bit.
    fn copy(&mut self, from: u32, to: u32) {
        let Ring { lines, count, shift } = self.ring;
        let owner = u8::from(cqe::owner_bit(to, count));
        let (from, to) = (self.ring.line(from), self.ring.line(to));
        // SAFETY: both entries lie in the buffer, are different and owned by software until they are consumed.
        unsafe {
            for line in 0..1 << shift {
                lines.copy_line(from - line, to - line);
            }
            let op_own = lines.ownership(to);
            lines.set_ownership(to, op_own & !1 | owner);
        }
    }

    /// Entries that the device has written, from the next one on, at most `limit`. No more than the queue has: a lap later
    /// the same byte wants the other owner.
    #[inline(always)]
    fn ready(&self, limit: usize) -> usize {
        let ring = self.ring;
        let mut ready = 0;
        while ready < limit && ring.is_owned(self.consumer.wrapping_add(ready as u32)) {
            ready += 1;
        }
        ready
    }

    #[inline(always)]
    fn store_record(&mut self, word: usize, value: u32) {
        let record = self.doorbell_record.as_ptr().cast::<u32>();
        // SAFETY: `new`'s contract: two aligned words that only this queue writes; `word` is 0 or 1.
        unsafe { mmio::store_record(mmio::record_word(record, word), value) };
    }
}

impl Ring {
    /// Whether the device has written the entry at `index` in this round.
    #[inline(always)]
    fn is_owned(&self, index: u32) -> bool {
        // SAFETY: the byte lies in the buffer; the device may be writing it, so that the read is volatile.
        let op_own = unsafe { self.lines.ownership(self.line(index)) };
        ownership(op_own, index, self.count)
    }

    /// An entry that software owns: callers have seen its ownership, or written it.
    #[inline(always)]
    fn view(&self, index: u32) -> Entry<'_> {
        let line = self.line(index);
        // SAFETY: callers checked ownership: the device does not write the entry until it is consumed, for which callers
        // are done with it. A 128-byte entry has 64 bytes before its 64-byte form.
        unsafe {
            let preceding = if self.shift == 1 { Some(self.lines.entry(line - 1)) } else { None };
            Entry { view: CqeView(self.lines.entry(line)), preceding }
        }
    }

    /// The line that holds the 64-byte form of an entry: its last. A masked slot lies in the buffer (`new`'s contract).
    #[inline(always)]
    fn line(&self, index: u32) -> usize {
        let slot = (index & (self.count - 1)) as usize;
        (slot << self.shift) | self.shift as usize
    }
}
