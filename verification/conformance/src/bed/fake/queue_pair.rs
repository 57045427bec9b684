//! The device's side of a queue pair, and what it works with.

use std::collections::VecDeque;

use pmd_core::{
    provider::SendQueueMemory,
    wire::{
        Cqe, DataSegment, ErrorCompletion, Opcode, RequesterCompletion, Scatter, Side, Syndrome, doorbell,
    },
};
use pmd_host::backend::ConnectOptions;

use super::{
    Manner,
    block::Block,
    net::State,
    queues::{Completions, Receives},
};

/// What queue pairs work with besides themselves.
pub(super) struct Means<'a> {
    pub(super) net: &'a mut State,
    pub(super) completions: &'a mut Completions,
    pub(super) shared: &'a mut [Receives],
    pub(super) domain: u32,
    pub(super) manner: Manner,
}

/// Where a queue pair takes its receives from.
#[derive(Debug)]
pub(super) enum Source {
    Own(Receives),
    Shared(usize),
}

/// What a queue pair does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not connected: requests of the peer wait.
    Reset,
    Connected,
    /// Everything is flushed, the peer gets no answers.
    Failed,
}

/// The device's side of a queue pair.
#[derive(Debug)]
pub(super) struct QueuePair {
    pub(super) number: u32,
    pub(super) peer: u32,
    pub(super) phase: Phase,
    pub(super) send: Block,
    /// `[receive, send]`; a queue pair's own receives have theirs.
    pub(super) record: Block,
    pub(super) slots: u32,
    /// Slots begun, free-running.
    pub(super) begun: u32,
    /// Producer index at the last doorbell.
    pub(super) rung: u32,
    /// Begun and not retired.
    pub(super) pending: VecDeque<Pending>,
    /// Requests begun since the queue pair was connected.
    pub(super) sequence: u64,
    /// A request has failed and is not retired yet: nothing more is begun.
    pub(super) stopped: bool,
    pub(super) source: Source,
    pub(super) options: ConnectOptions,
    /// Times that the peer had no receive for the oldest request.
    pub(super) not_ready: u32,
    turns: u32,
}

/// A request that was begun.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) sequence: u64,
    pub(super) opcode: Opcode,
    pub(super) index: u16,
    pub(super) signaled: bool,
    /// Where the bytes go that come back.
    pub(super) target: Vec<DataSegment>,
    pub(super) outcome: Option<Result<Vec<u8>, Syndrome>>,
}

impl Pending {
    /// Whether a fence waits for it.
    pub(super) fn returns_data(&self) -> bool {
        matches!(self.opcode, Opcode::RdmaRead | Opcode::CompareAndSwap | Opcode::FetchAndAdd)
    }
}

impl QueuePair {
    pub(super) fn new(number: u32, slots: u32, source: Source) -> Self {
        let slots = slots.max(1).next_power_of_two();
        Self {
            number,
            peer: 0,
            phase: Phase::Reset,
            send: Block::new(slots as usize * 64),
            record: Block::new(8),
            slots,
            begun: 0,
            rung: 0,
            pending: VecDeque::new(),
            sequence: 0,
            stopped: false,
            source,
            options: ConnectOptions::default(),
            not_ready: 0,
            turns: 0,
        }
    }

    /// Whether this is one of the slow queue pairs, and this none of its turns. Of two connections that are made one
    /// after the other, one is slow.
    pub(super) fn rests(&mut self, unevenness: u32) -> bool {
        self.turns = self.turns.wrapping_add(1);
        self.number & 2 != 0 && !self.turns.is_multiple_of(unevenness)
    }

    pub(super) fn send_memory(&self) -> SendQueueMemory {
        let words = self.record.pointer().cast::<u32>();
        // SAFETY: the record has two words.
        let doorbell_record = unsafe { words.add(doorbell::SEND_RECORD) };
        SendQueueMemory { buffer: self.send.pointer(), wqe_count: self.slots, doorbell_record }
    }

    /// Whether something can be done without news from elsewhere.
    pub(super) fn is_busy(&self) -> bool {
        self.phase == Phase::Connected && self.begun != self.rung && !self.stopped && !self.is_fenced()
    }

    /// Back to the beginning.
    pub(super) fn reset(&mut self, net: &mut State) {
        net.withdraw(self.number, self.peer);
        net.empty(self.number);
        self.pending.clear();
        (self.begun, self.rung, self.sequence, self.not_ready) = (0, 0, 0, 0);
        (self.phase, self.stopped, self.peer) = (Phase::Reset, false, 0);
        if let Source::Own(receives) = &mut self.source {
            receives.reset();
        }
    }

    /// To the error state: what is outstanding at the peer is withdrawn, everything here is flushed.
    pub(super) fn fail(&mut self, means: &mut Means<'_>) {
        if self.phase != Phase::Failed {
            self.phase = Phase::Failed;
            means.net.withdraw(self.number, self.peer);
            means.net.wake(self.peer);
        }
        self.flush(means);
    }

    /// In the error state: completes what is left, each request by itself.
    pub(super) fn flush(&mut self, means: &mut Means<'_>) {
        while let Some(pending) = self.pending.pop_front() {
            let (opcode, index) = (pending.opcode, pending.index);
            self.requester_error(means.completions, opcode, index, Syndrome::Flushed);
        }
        while self.begun != self.rung {
            let (opcode, index, blocks) = self.peek();
            self.begun = self.begun.wrapping_add(blocks);
            self.requester_error(means.completions, opcode, index, Syndrome::Flushed);
        }
        while let Source::Own(receives) = &mut self.source
            && let Some((slot, _)) = receives.take()
        {
            self.responder_error(means.completions, slot, Syndrome::Flushed);
        }
    }

    pub(super) fn requester(&self, completions: &mut Completions, pending: &Pending, length: u32) {
        let completion = RequesterCompletion {
            queue_pair: self.number,
            operation: pending.opcode,
            wqe_counter: pending.index,
            byte_count: length,
            timestamp: 0,
            scatter: Scatter::Memory,
        };
        completions.push(Cqe::Requester(completion), &[0x5a; 64]);
    }

    pub(super) fn requester_error(
        &self,
        completions: &mut Completions,
        opcode: Opcode,
        index: u16,
        syndrome: Syndrome,
    ) {
        self.error(completions, Side::Requester, opcode as u8, index, syndrome);
    }

    pub(super) fn responder_error(&self, completions: &mut Completions, slot: u16, syndrome: Syndrome) {
        self.error(completions, Side::Responder, 0, slot, syndrome);
    }

    fn error(
        &self,
        completions: &mut Completions,
        side: Side,
        operation: u8,
        index: u16,
        syndrome: Syndrome,
    ) {
        let error = ErrorCompletion {
            side,
            queue_pair: self.number,
            operation,
            wqe_counter: index,
            syndrome,
            vendor: 0x77,
            shared_receive_queue: 0,
        };
        completions.push(Cqe::Error(error), &[0; 64]);
    }
}
