//! Completion queues: writes entries, and notices when a driver does not consume them.
//!
//! Called by `requester`, `receives` and `flush`. ConnectX PRM, "Completion Queue"; the consumer index is the first
//! word of the queue's doorbell record, 24 bits, and is read before every entry.

use pmd_core::{
    sync::{Ordering, fence},
    wire::{Cqe, Cqe64, ErrorCompletion, Scatter, Side, Syndrome, cqe, scatter},
};

use super::{receives::Receive, timers::now, turn::Turn};
use crate::{
    dma::{self, DmaFault},
    lint::Rule,
    state::{AsynchronousKind, CompletionQueue, QueuePair, state},
};

/// Bits of the consumer index.
const INDEX_BITS: u32 = 0x00ff_ffff;
/// What a device of ours writes as vendor's detail of an error.
const VENDOR: u8 = 0x88;

/// A completion for one queue, before it has its place there.
pub(super) struct Entry<'a> {
    /// What it says.
    pub(super) cqe: Cqe,
    /// What software finds the queue pair by (cqe_version 1).
    pub(super) user_index: u32,
    /// Payload that goes into the entry, if it does.
    pub(super) payload: Option<&'a [u8]>,
    /// The receive that it completes, and whose.
    pub(super) receive: Option<(&'a QueuePair, &'a Receive)>,
}

impl Entry<'_> {
    /// Whether a queue that is armed for solicited events takes note.
    fn is_solicited(&self) -> bool {
        match &self.cqe {
            Cqe::Error(_) => true,
            Cqe::Responder(completion) => completion.solicited,
            Cqe::Requester(_) => false,
        }
    }

    /// The 64 bytes.
    fn emit(&self, owner: bool) -> Cqe64 {
        let mut bytes = [0; 64];
        self.cqe.emit_cqe64(owner, &mut bytes);
        bytes[cqe::field::SHARED_RECEIVE_QUEUE].copy_from_slice(&self.user_index.to_be_bytes());
        if !matches!(self.cqe, Cqe::Error(_)) {
            bytes[cqe::field::TIMESTAMP].copy_from_slice(&now().to_be_bytes());
        }
        bytes
    }
}

impl Turn<'_> {
    /// Writes an entry into queue `number`, takes the receive that it completes, and raises the queue's event if it is
    /// armed. The entry itself is the record that it was written, see `recovery`: what the tables say of it comes after.
    pub(super) fn complete(&mut self, number: u32, entry: &Entry<'_>) {
        let is_written = self.write_entry(number, entry);
        if let Some((queue_pair, receive)) = entry.receive {
            self.take_receive(queue_pair, receive);
        }
        if is_written {
            self.count_entry(number, entry.is_solicited());
        }
    }

    /// Whether the entry is in the queue's memory now.
    fn write_entry(&mut self, number: u32, entry: &Entry<'_>) -> bool {
        let Some(queue) = self.tables.completion_queues.find(number).copied() else { return false };
        if queue.overrun {
            return false;
        }
        // The process is gone: nobody misses the entry.
        let Ok(consumer) = self.consumer_index(&queue) else { return false };
        if !self.has_room(&queue, consumer) {
            self.overrun(&queue, consumer);
            return false;
        }
        !self.loses_completion() && write(self.pid(queue.owner), &queue, entry).is_ok()
    }

    /// Counts an entry that was written.
    pub(super) fn count_entry(&mut self, number: u32, notable: bool) {
        self.tables.counters.completions += 1;
        if let Some(queue) = self.tables.completion_queues.find_mut(number) {
            queue.producer = queue.producer.wrapping_add(1);
            if notable {
                queue.solicited_producer = queue.producer;
            }
        }
        self.raise_armed(number, notable);
    }

    /// A failed or flushed WQE of a send queue.
    pub(super) fn fail_send(&mut self, queue_pair: &QueuePair, index: u16, opcode: u8, syndrome: Syndrome) {
        let cqe = failure(Side::Requester, queue_pair, index, opcode, syndrome);
        let entry = Entry { cqe, user_index: queue_pair.user_index, payload: None, receive: None };
        self.complete(queue_pair.send_completions, &entry);
    }

    /// Takes a receive, which failed or is flushed.
    pub(super) fn fail_receive(&mut self, queue_pair: &QueuePair, receive: &Receive, syndrome: Syndrome) {
        let cqe = failure(Side::Responder, queue_pair, receive.counter, 0, syndrome);
        let receive = Some((queue_pair, receive));
        let entry = Entry { cqe, user_index: queue_pair.user_index, payload: None, receive };
        self.complete(queue_pair.receive_completions, &entry);
    }

    /// Bytes of payload that an entry of queue `number` takes for a queue pair that asked for it; 0 for none.
    pub(super) fn scatter_room(&self, queue_pair: &QueuePair, number: u32) -> u64 {
        let queue = self.tables.completion_queues.find(number);
        if !self.device.config.scatter_to_cqe || !queue_pair.scatter_to_cqe {
            return 0;
        }
        queue.map_or(0, |queue| scatter_place(queue.entry_bytes).len() as u64)
    }

    /// Where a payload of a queue's entries is said to be.
    pub(super) fn scatter_format(&self, number: u32, payload: Option<&[u8]>) -> Scatter {
        let (Some(payload), Some(queue)) = (payload, self.tables.completion_queues.find(number)) else {
            return Scatter::Memory;
        };
        if queue.entry_bytes == 128 {
            return Scatter::Preceding;
        }
        let mut bytes = [0; 32];
        bytes[..payload.len()].copy_from_slice(payload);
        Scatter::InEntry(bytes)
    }

    pub(super) fn consumer_index(&self, queue: &CompletionQueue) -> Result<u32, DmaFault> {
        let mut word = [0; 4];
        dma::read(self.pid(queue.owner), queue.record, &mut word)?;
        Ok(u32::from_be_bytes(word) & INDEX_BITS)
    }

    /// Whether one more entry can be written; notes a consumer index that cannot be.
    fn has_room(&mut self, queue: &CompletionQueue, consumer: u32) -> bool {
        let waiting = queue.producer.wrapping_sub(consumer) & INDEX_BITS;
        if waiting > queue.entries {
            // Ahead by a little rather than behind by almost 2^24.
            let (number, producer) = (queue.number, queue.producer & INDEX_BITS);
            let rule = Rule::ConsumerPastProducer { number, consumer, producer };
            self.violate_at(queue.owner, number, rule);
        }
        waiting < queue.entries
    }

    /// The queue is unusable, and so is every queue pair that completes into it.
    fn overrun(&mut self, queue: &CompletionQueue, consumer: u32) {
        let CompletionQueue { number, entries, producer, .. } = *queue;
        let rule =
            Rule::CompletionQueueOverrun { number, producer: producer & INDEX_BITS, consumer, entries };
        self.violate_at(queue.owner, number, rule);
        if let Some(queue) = self.tables.completion_queues.find_mut(number) {
            queue.overrun = true;
        }
        self.raise(queue.owner, AsynchronousKind::CompletionQueueError, number, queue.user_handle);
        let users: Vec<QueuePair> = self
            .tables
            .queue_pairs
            .iter()
            .copied()
            .filter(|queue_pair| {
                let completes =
                    queue_pair.send_completions == number || queue_pair.receive_completions == number;
                completes && !matches!(queue_pair.state, state::RESET | state::ERR)
            })
            .collect();
        for queue_pair in users {
            let QueuePair { owner, number, user_handle, .. } = queue_pair;
            self.raise(owner, AsynchronousKind::QueuePairFatal, number, user_handle);
            self.enter_error(number);
        }
    }
}

fn failure(side: Side, queue_pair: &QueuePair, wqe_counter: u16, operation: u8, syndrome: Syndrome) -> Cqe {
    Cqe::Error(ErrorCompletion {
        side,
        queue_pair: queue_pair.number,
        operation,
        wqe_counter,
        syndrome,
        vendor: VENDOR,
        shared_receive_queue: queue_pair.user_index,
    })
}

fn scatter_place(entry_bytes: u32) -> std::ops::Range<usize> {
    if entry_bytes == 128 { scatter::PRECEDING } else { scatter::IN_ENTRY }
}

/// Address of the entry that is written next.
pub(super) fn next_entry(queue: &CompletionQueue) -> u64 {
    let slot = u64::from(queue.producer & (queue.entries - 1));
    queue.buffer + slot * u64::from(queue.entry_bytes)
}

/// The payload first, then the entry, and the byte that hands it over alone and last.
fn write(pid: u32, queue: &CompletionQueue, entry: &Entry<'_>) -> Result<(), DmaFault> {
    let owner = cqe::owner_bit(queue.producer, queue.entries);
    let bytes = entry.emit(owner);
    let start = next_entry(queue);
    let end = start + u64::from(queue.entry_bytes);
    if let Some(payload) = entry.payload
        && queue.entry_bytes == 128
    {
        dma::write(pid, start, payload)?;
    }
    dma::write(pid, end - 64, &bytes[..cqe::OP_OWN])?;
    fence(Ordering::SeqCst);
    dma::write(pid, end - 1, &bytes[cqe::OP_OWN..])
}
