//! The sending half of a queue pair: begins WQEs in order, retires them in order.
//!
//! Runs when the doorbell rings and in every poll while something is unfinished. [`step`] begins one WQE: by moving
//! its bytes directly, by adding it to the batch for the kernel, or by writing packets. What it then waits for is
//! noted in its [`Record`]; [`Requester::retire`] completes records from the oldest on.

mod direct;
mod moves;
mod packets;
mod responses;
mod retire;
mod single;
mod step;
mod streams;

use std::{sync::Arc, time::Instant};

use pmd_core::{
    provider::SendQueueMemory,
    wire::{Opcode, SendWqe, Syndrome},
};

use super::{
    batch::{BatchFault, Reason},
    copy::Tail,
    outstanding::{Outstanding, Record, Wait},
    pass::Pass,
    queues::SendRing,
    tuning::RESPONSES,
};
use crate::{
    backend::SetupError,
    retries::RetryCells,
    security::KeyMismatch,
    soft::{Link, ProtectionDomain, Route},
    transfer::DeviceFault,
};

/// Sending half of one queue pair.
#[derive(Debug)]
pub(super) struct Requester {
    ring: SendRing,
    sending: Sending,
}

/// All of it but the queue memory, which parsed WQEs borrow.
#[derive(Debug)]
struct Sending {
    /// Number of the queue pair.
    number: u32,
    domain: ProtectionDomain,
    outstanding: Outstanding,
    current: Current,
    awaited: Awaited,
    /// Position behind the last WRITE, READ or atomic in the request ring, until the peer has consumed it.
    one_sided_end: Option<u32>,
    /// A record failed: nothing more is begun.
    halted: bool,
    /// The kernel does not let this process touch the peer's memory.
    packets_only: bool,
    /// Sequence number of the first record that is in the batch.
    batch_start: u32,
    /// The peer refused a request: the oldest record once those before it are retired.
    refused: Option<Syndrome>,
    not_ready: Option<NotReady>,
    /// Retries without a receive, 7 for ever.
    rnr_retry: u8,
    /// The last run stopped for the peer, not for its budget.
    waits_for_peer: bool,
    /// What the mover needs of the link, where there is a mover.
    route: Option<Arc<Route>>,
    /// Jobs at the mover.
    moves: u32,
    /// What memory of an accelerator lacks, for the record with this sequence number, the first that failed so.
    lacks: Option<(u32, DeviceFault)>,
    /// Why there was no link, if it was the keys.
    mismatch: Option<KeyMismatch>,
    /// Counts requests that found no receive.
    retries: Arc<RetryCells>,
}

/// How far the WQE at the head of the queue has come.
#[derive(Clone, Copy, Debug, Default)]
struct Current {
    /// Bytes moved.
    offset: u64,
    tail: Tail,
    /// The mover has it.
    moving: bool,
    /// Its packet is out, and its bytes go over streams.
    streaming: bool,
}

/// READs and atomics in the request ring, oldest first; responses come in this order.
#[derive(Debug, Default)]
struct Awaited {
    entries: [AwaitedEntry; RESPONSES],
    head: usize,
    count: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct AwaitedEntry {
    /// Sequence number of the record.
    sequence: u32,
    /// Block at which its WQE begins.
    index: u16,
    total: u64,
    received: u64,
    /// Position behind its packet.
    end: u32,
    /// Its bytes come over streams.
    streamed: bool,
}

impl Awaited {
    fn push(&mut self, entry: AwaitedEntry) {
        self.entries[(self.head + self.count) % RESPONSES] = entry;
        self.count += 1;
    }

    fn front(&mut self) -> Option<&mut AwaitedEntry> {
        (self.count > 0).then(|| &mut self.entries[self.head])
    }

    fn pop(&mut self) {
        self.head = (self.head + 1) % RESPONSES;
        self.count -= 1;
    }
}

/// The peer has no receive for the request at `position`.
#[derive(Clone, Copy, Debug)]
struct NotReady {
    position: u32,
    /// When to give up.
    deadline: Instant,
}

/// Why a WQE could not be begun to its end now.
enum Stop {
    /// The budget is used up, or it has to wait for the peer: go on in a later pass.
    Later,
    /// It failed.
    Failed(Syndrome),
    /// The batch failed, this WQE or one before it.
    Batch(BatchFault),
}

impl Requester {
    /// A requester with a queue of `slots`.
    pub(super) fn new(
        number: u32,
        domain: ProtectionDomain,
        slots: u32,
        retries: Arc<RetryCells>,
    ) -> Result<Self, SetupError> {
        let ring = SendRing::new(slots)?;
        let outstanding = Outstanding::new(ring.count());
        let sending = Sending {
            number,
            domain,
            outstanding,
            current: Current::default(),
            awaited: Awaited::default(),
            one_sided_end: None,
            halted: false,
            packets_only: false,
            batch_start: 0,
            refused: None,
            not_ready: None,
            rnr_retry: 7,
            waits_for_peer: false,
            route: None,
            moves: 0,
            lacks: None,
            mismatch: None,
            retries,
        };
        Ok(Self { ring, sending })
    }

    /// What the driver works on.
    pub(super) fn memory(&self) -> SendQueueMemory {
        self.ring.memory()
    }

    /// Sets how often a request is retried that finds no receive.
    pub(super) fn set_rnr_retry(&mut self, retries: u8) {
        self.sending.rnr_retry = retries;
    }

    /// Forgets everything posted and begun.
    pub(super) fn reset(&mut self) {
        self.ring.reset();
        let sending = &mut self.sending;
        sending.outstanding.clear();
        sending.current = Current::default();
        sending.awaited = Awaited::default();
        sending.one_sided_end = None;
        sending.halted = false;
        sending.packets_only = false;
        sending.refused = None;
        sending.not_ready = None;
        sending.waits_for_peer = false;
        sending.route = None;
        sending.lacks = None;
        sending.mismatch = None;
    }

    /// Notes what the first request fails with beside its syndrome.
    pub(super) fn set_mismatch(&mut self, mismatch: Option<KeyMismatch>) {
        self.sending.mismatch = mismatch;
    }

    /// Whether WQEs are handed over and not begun to their end.
    #[inline]
    pub(super) fn has_unfinished(&self) -> bool {
        self.ring.available() > 0 && !self.sending.halted
    }

    /// Whether it can go on at once, without anything from the peer.
    pub(super) fn can_go_on(&self) -> bool {
        self.has_unfinished() && !self.sending.waits_for_peer
    }

    /// Whether anything that was begun is not retired.
    #[inline]
    pub(super) fn has_outstanding(&self) -> bool {
        !self.sending.outstanding.is_empty()
    }

    /// Whether a pass has anything to do: WQEs to begin, or something that was waited for has come.
    #[inline]
    pub(super) fn has_news(&mut self, link: &mut Link) -> bool {
        self.has_unfinished() || self.has_answers(link) || self.has_deadline()
    }

    /// Whether what the oldest record waits for has come, or a response.
    pub(super) fn has_answers(&mut self, link: &mut Link) -> bool {
        let Some(record) = self.sending.outstanding.front() else { return false };
        match record.wait {
            Wait::Consumed(end) if !matches!(self.sending.is_consumed(end, link), Ok(false)) => true,
            Wait::Consumed(_) | Wait::Response | Wait::Batch | Wait::Move => {
                !matches!(link.responses_in.peek(), Ok(None))
            }
            Wait::Done | Wait::Failed(_) => true,
        }
    }

    /// Whether a deadline is running.
    pub(super) fn has_deadline(&self) -> bool {
        self.sending.not_ready.is_some()
    }

    /// Begins WQEs until the queue is empty, the budget is used up, or one has to wait.
    #[inline]
    pub(super) fn run(&mut self, pass: &mut Pass<'_>, link: &mut Link) {
        self.sending.waits_for_peer = false;
        while pass.budget > 0 && self.has_unfinished() {
            if self.execute_single(pass, link) {
                continue;
            }
            match self.next(pass, link) {
                Ok(()) => {}
                Err(Stop::Later) => {
                    self.sending.waits_for_peer = pass.budget > 0;
                    break;
                }
                Err(stop) => self.stopped(stop, link),
            }
        }
        if let Err(stop) = self.sending.flush_batch(pass) {
            self.stopped(stop, link);
        }
        if self.sending.moves > 0
            && let Some(mover) = &pass.mover
        {
            mover.ring();
        }
    }

    /// Begins the WQE at the head of the queue.
    fn next(&mut self, pass: &mut Pass<'_>, link: &mut Link) -> Result<(), Stop> {
        let Self { ring, sending } = self;
        let malformed = Stop::Failed(Syndrome::LocalQueuePairOperation);
        let Ok(wqe) = ring.parse(ring.head()) else { return Err(malformed) };
        let blocks = wqe.basic_blocks();
        let control = &wqe.control;
        if control.index != ring.head() || control.queue_pair != sending.number || blocks > ring.available() {
            return Err(malformed);
        }
        let wait = sending.step(&wqe, pass, link)?;
        let record = record(&wqe, wait);
        sending.begun(record, pass);
        ring.advance(blocks);
        Ok(())
    }

    /// Deals with what kept a WQE, or the batch, from going through.
    #[cold]
    fn stopped(&mut self, stop: Stop, link: &Link) {
        match stop {
            Stop::Later => {}
            Stop::Failed(syndrome) => self.fail_current(syndrome),
            Stop::Batch(fault) => self.batch_failed(fault, link),
        }
    }

    /// The WQE at the head of the queue fails once those before it are retired.
    fn fail_current(&mut self, syndrome: Syndrome) {
        self.sending.halted = true;
        if let Some((index, opcode)) = self.ring.skip() {
            let opcode = Opcode::from_byte(opcode).unwrap_or(Opcode::Nop);
            let wait = Wait::Failed(syndrome);
            self.sending.outstanding.push(Record { index, opcode, signalled: true, byte_count: 0, wait });
        }
    }

    fn batch_failed(&mut self, fault: BatchFault, link: &Link) {
        let syndrome = match fault.reason {
            Reason::Forbidden => return self.take_packets_instead(),
            // The memory of a process that is ending goes before the process.
            Reason::Unmapped if link.confirm_alive() => Syndrome::RemoteAccess,
            Reason::Unmapped | Reason::Gone => Syndrome::RetryExceeded,
        };
        let sending = &mut self.sending;
        sending.outstanding.settle_batch(sending.batch_start, fault.owner);
        match sending.outstanding.find(fault.owner) {
            Some(record) => {
                record.wait = Wait::Failed(syndrome);
                sending.halted = true;
            }
            None => self.fail_current(syndrome),
        }
    }

    /// Executes the WQEs of the batch again, by packets. None of them is retired, and writing or reading the same
    /// bytes once more changes nothing.
    fn take_packets_instead(&mut self) {
        let sending = &mut self.sending;
        sending.packets_only = true;
        sending.current = Current::default();
        if let Some(first) = sending.outstanding.truncate(sending.batch_start) {
            self.ring.rewind(first.index);
        }
    }
}

#[inline]
fn record(wqe: &SendWqe<'_>, wait: Wait) -> Record {
    use pmd_core::wire::{ControlFlags, Operation};
    let byte_count = match &wqe.operation {
        Operation::Read { data, .. } => data.length() as u32,
        Operation::CompareAndSwap { .. } | Operation::FetchAndAdd { .. } => 8,
        _ => 0,
    };
    Record {
        index: wqe.control.index,
        opcode: wqe.control.opcode,
        signalled: wqe.control.flags.contains(ControlFlags::CQ_UPDATE),
        byte_count,
        wait,
    }
}
