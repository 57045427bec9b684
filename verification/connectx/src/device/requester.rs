//! The sending half: executes the WQEs of a queue pair one after another.
//!
//! [`Device::run`] takes turns until nothing more can be done: called when a doorbell rang, when a wait is over, and
//! when a queue pair comes back to RTS. What the peer has to say is in `responder` (connected) and `datagram`.

use pmd_core::{
    memory::Access,
    wire::{
        AtomicSegment, ControlFlags, ControlSegment, Cqe, DataItems, DataSegment, Operation, ReceivePath,
        Received, RemoteSegment, RequesterCompletion, SendExtra, SendWqe, Syndrome,
    },
};

use super::{
    Device,
    completion::Entry,
    faults::Fate,
    gather::{self, Forbidden, Right, Span},
    receives::Message,
    responder::{Atomic, Stop},
    turn::Turn,
    wqe::{self, Fetched},
};
use crate::state::{AsynchronousKind, QueuePair, QueuePairKind, SendProgress, Stall, state};

/// Bytes of a WRITE or READ that one turn moves.
pub(super) const PIECE: u64 = 4 << 20;

/// Longest message (`max_msg_sz` of the port).
const LONGEST: u64 = 1 << 30;

/// Whether another turn would get on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    More,
    Idle,
}

/// How far a WQE got.
#[derive(Debug)]
enum Progress {
    /// It is executed.
    Done(Outcome),
    /// So many bytes have moved.
    Part(u64),
}

/// What the completion of a good end says.
#[derive(Debug, Default)]
struct Outcome {
    /// Bytes read.
    byte_count: u32,
    /// Them, if they go into the completion.
    payload: Option<Vec<u8>>,
}

const DONE: Progress = Progress::Done(Outcome { byte_count: 0, payload: None });

impl Device {
    /// Executes what a queue pair of this process has been told to, as far as it gets.
    pub(super) fn run(&self, number: u32) {
        while self.turn(|turn| turn.step(number)) == Step::More {}
    }
}

impl Turn<'_> {
    fn step(&mut self, number: u32) -> Step {
        let Some(queue_pair) = self.own_queue_pair(number) else { return Step::Idle };
        match queue_pair.state {
            state::RTS => {}
            state::SQD if is_begun(&queue_pair.send) => {}
            state::SQD => return self.drained(&queue_pair),
            state::SQE | state::ERR => {
                self.flush_send(number);
                return Step::Idle;
            }
            _ => return Step::Idle,
        }
        let send = queue_pair.send;
        if send.consumer == send.rung || self.still_waits(&send) {
            return Step::Idle;
        }
        let Ok(fetched) = self.fetch(&queue_pair, send.consumer) else {
            return self.lose(&queue_pair);
        };
        if is_given_up(&queue_pair) {
            return self.fail(&queue_pair, &fetched, Syndrome::RetryExceeded);
        }
        match wqe::check(&fetched, &queue_pair) {
            Ok(wqe) => self.attempt(&queue_pair, &fetched, &wqe),
            Err(rule) => {
                self.violate(number, rule, fetched.dump());
                self.fail(&queue_pair, &fetched, Syndrome::LocalQueuePairOperation)
            }
        }
    }

    fn attempt(&mut self, queue_pair: &QueuePair, fetched: &Fetched, wqe: &SendWqe<'_>) -> Step {
        let progress = match self.fate(queue_pair) {
            Fate::Executed => self.execute(queue_pair, wqe),
            Fate::Stopped(stop) => Err(stop),
            Fate::Waits(step) => return step,
        };
        match progress {
            Ok(Progress::Done(outcome)) => self.finish(queue_pair, wqe, &outcome),
            Ok(Progress::Part(offset)) => {
                let advance = |queue_pair: &mut QueuePair| {
                    queue_pair.send = SendProgress { offset, ..unstalled(queue_pair.send) };
                };
                self.update(queue_pair.number, advance);
                Step::More
            }
            Err(Stop::Failed(syndrome) | Stop::Refused(syndrome)) => self.fail(queue_pair, fetched, syndrome),
            Err(Stop::NotReady { timer }) => match self.wait_for_receive(queue_pair, timer) {
                true => Step::Idle,
                false => self.fail(queue_pair, fetched, Syndrome::ReceiverNotReadyExceeded),
            },
            Err(Stop::NoAnswer) => {
                self.wait_for_answer(queue_pair);
                Step::Idle
            }
        }
    }

    fn execute(&mut self, queue_pair: &QueuePair, wqe: &SendWqe<'_>) -> Result<Progress, Stop> {
        if wqe.data_length() > LONGEST {
            return Err(Stop::Failed(Syndrome::LocalLength));
        }
        let progress = match &wqe.operation {
            Operation::Nop => Ok(DONE),
            Operation::Send { extra, address_vector: None, data } => {
                self.send(queue_pair, &wqe.control, *extra, data)
            }
            Operation::Send { extra, address_vector: Some(address), data } => {
                self.send_datagram(queue_pair, &wqe.control, *extra, address, data).map(|()| DONE)
            }
            Operation::Write { remote, immediate, data } => {
                self.write(queue_pair, &wqe.control, *remote, *immediate, data)
            }
            Operation::Read { remote, data } => self.read(queue_pair, *remote, data),
            Operation::CompareAndSwap { remote, operands, result } => {
                let AtomicSegment { swap_or_add: swap, compare } = *operands;
                self.atomic(queue_pair, *remote, Atomic::CompareSwap { compare, swap }, result)
            }
            Operation::FetchAndAdd { remote, addend, result } => {
                self.atomic(queue_pair, *remote, Atomic::FetchAdd(*addend), result)
            }
        };
        match progress {
            // Nobody answers on an unreliable connection: what is not taken is lost, and the sender does not know.
            Err(Stop::NotReady { .. } | Stop::NoAnswer | Stop::Refused(_))
                if queue_pair.kind == QueuePairKind::Unreliable =>
            {
                Ok(DONE)
            }
            progress => progress,
        }
    }

    fn send(
        &mut self,
        queue_pair: &QueuePair,
        control: &ControlSegment,
        extra: SendExtra,
        data: &DataItems<'_>,
    ) -> Result<Progress, Stop> {
        let payload = self.local(queue_pair, data, Access::empty())?;
        let received = match extra {
            SendExtra::None => Received::Send,
            SendExtra::Immediate(immediate) => Received::SendImmediate(immediate),
            SendExtra::Invalidate(key) => Received::SendInvalidate(key),
        };
        let peer = self.peer(queue_pair)?;
        self.serve_send(&peer, &message(queue_pair, control, received, &payload))?;
        Ok(DONE)
    }

    fn write(
        &mut self,
        queue_pair: &QueuePair,
        control: &ControlSegment,
        remote: RemoteSegment,
        immediate: Option<u32>,
        data: &DataItems<'_>,
    ) -> Result<Progress, Stop> {
        let source = self.local(queue_pair, data, Access::empty())?;
        let peer = self.peer(queue_pair)?;
        let (total, offset) = (gather::total(&source), queue_pair.send.offset);
        let target = self.serve_write(&peer, remote, total, immediate.is_some())?;
        let piece = PIECE.min(total - offset);
        self.move_bytes(&peer, &source, &[target], (offset, piece))?;
        if offset + piece < total {
            return Ok(Progress::Part(offset + piece));
        }
        if let Some(immediate) = immediate {
            let mut message = message(queue_pair, control, Received::WriteImmediate(immediate), &[]);
            message.length = total;
            self.serve_send(&peer, &message)?;
        }
        Ok(DONE)
    }

    fn read(
        &mut self,
        queue_pair: &QueuePair,
        remote: RemoteSegment,
        data: &DataItems<'_>,
    ) -> Result<Progress, Stop> {
        let target = self.local(queue_pair, data, Access::LOCAL_WRITE)?;
        let peer = self.peer(queue_pair)?;
        let (total, offset) = (gather::total(&target), queue_pair.send.offset);
        let source = self.serve_read(&peer, remote, total)?;
        if let Some(mut payload) = self.payload_buffer(queue_pair, total) {
            let entry = gather::own_bytes_mut(&mut payload);
            self.move_bytes(&peer, &[source], &[entry], (0, total))?;
            return Ok(Progress::Done(Outcome { byte_count: total as u32, payload: Some(payload) }));
        }
        let piece = PIECE.min(total - offset);
        self.move_bytes(&peer, &[source], &target, (offset, piece))?;
        if offset + piece < total {
            return Ok(Progress::Part(offset + piece));
        }
        Ok(Progress::Done(Outcome { byte_count: total as u32, payload: None }))
    }

    fn atomic(
        &mut self,
        queue_pair: &QueuePair,
        remote: RemoteSegment,
        operation: Atomic,
        result: &DataSegment,
    ) -> Result<Progress, Stop> {
        if result.length != 8 {
            return Err(Stop::Failed(Syndrome::LocalLength));
        }
        let right = own_right(queue_pair, Access::LOCAL_WRITE);
        let target = self.span(result.lkey, (result.address, 8), right).map_err(protection)?;
        let peer = self.peer(queue_pair)?;
        let earlier = self.serve_atomic(&peer, remote, operation)?.to_ne_bytes();
        if let Some(mut payload) = self.payload_buffer(queue_pair, 8) {
            payload.copy_from_slice(&earlier);
            return Ok(Progress::Done(Outcome { byte_count: 8, payload: Some(payload) }));
        }
        self.move_bytes(&peer, &[gather::own_bytes(&earlier)], &[target], (0, 8))?;
        Ok(Progress::Done(Outcome { byte_count: 8, payload: None }))
    }

    /// The local memory of a WQE.
    pub(super) fn local(
        &self,
        queue_pair: &QueuePair,
        data: &DataItems<'_>,
        access: Access,
    ) -> Result<Vec<Span>, Stop> {
        self.gather(data, own_right(queue_pair, access)).map_err(protection)
    }

    /// Room for a result that goes into the completion: only where every WQE has one.
    fn payload_buffer(&self, queue_pair: &QueuePair, length: u64) -> Option<Vec<u8>> {
        let room = self.scatter_room(queue_pair, queue_pair.send_completions);
        (queue_pair.signal_all && (1..=room).contains(&length)).then(|| vec![0; length as usize])
    }

    fn finish(&mut self, queue_pair: &QueuePair, wqe: &SendWqe<'_>, outcome: &Outcome) -> Step {
        self.tables.counters.work_requests += 1;
        let blocks = wqe.basic_blocks();
        self.update(queue_pair.number, |queue_pair| advance(&mut queue_pair.send, blocks));
        if queue_pair.signal_all || wqe.control.flags.contains(ControlFlags::CQ_UPDATE) {
            let cqe = Cqe::Requester(RequesterCompletion {
                queue_pair: queue_pair.number,
                operation: wqe.control.opcode,
                wqe_counter: wqe.control.index,
                byte_count: outcome.byte_count,
                timestamp: 0,
                scatter: self.scatter_format(queue_pair.send_completions, outcome.payload.as_deref()),
            });
            let payload = outcome.payload.as_deref();
            let entry = Entry { cqe, user_index: queue_pair.user_index, payload, receive: None };
            self.complete(queue_pair.send_completions, &entry);
        }
        Step::More
    }

    /// Completes a WQE with an error; the queue pair goes to its error state, and flushes the rest.
    fn fail(&mut self, queue_pair: &QueuePair, fetched: &Fetched, syndrome: Syndrome) -> Step {
        self.tables.counters.work_requests += 1;
        let (index, rung) = (queue_pair.send.consumer, queue_pair.send.rung);
        let blocks = fetched.blocks().min(rung.wrapping_sub(index));
        self.update(queue_pair.number, |queue_pair| advance(&mut queue_pair.send, blocks));
        self.fail_send(queue_pair, index, fetched.opcode(), syndrome);
        match queue_pair.kind {
            QueuePairKind::Reliable => self.enter_error(queue_pair.number),
            QueuePairKind::Unreliable | QueuePairKind::Datagram => {
                self.update(queue_pair.number, |queue_pair| queue_pair.state = state::SQE);
                self.flush_send(queue_pair.number);
            }
        }
        Step::Idle
    }

    /// The queue itself cannot be read: its process has unmapped it.
    fn lose(&mut self, queue_pair: &QueuePair) -> Step {
        let QueuePair { owner, number, user_handle, .. } = *queue_pair;
        self.raise(owner, AsynchronousKind::QueuePairFatal, number, user_handle);
        self.enter_error(number);
        Step::Idle
    }

    fn drained(&mut self, queue_pair: &QueuePair) -> Step {
        if queue_pair.notify_drained {
            let QueuePair { owner, number, user_handle, .. } = *queue_pair;
            self.update(number, |queue_pair| queue_pair.notify_drained = false);
            self.raise(owner, AsynchronousKind::SendQueueDrained, number, user_handle);
        }
        Step::Idle
    }
}

/// A message for the peer's receive.
pub(super) fn message<'a>(
    queue_pair: &QueuePair,
    control: &ControlSegment,
    received: Received,
    payload: &'a [Span],
) -> Message<'a> {
    Message {
        received,
        path: ReceivePath { source_queue_pair: queue_pair.number, ..ReceivePath::default() },
        payload,
        length: gather::total(payload),
        solicited: control.flags.contains(ControlFlags::SOLICITED),
    }
}

fn own_right(queue_pair: &QueuePair, access: Access) -> Right {
    Right { owner: queue_pair.owner, domain: queue_pair.domain, access }
}

fn protection(_: Forbidden) -> Stop {
    Stop::Failed(Syndrome::LocalProtection)
}

/// Whether the WQE at the consumer index was begun.
fn is_begun(send: &SendProgress) -> bool {
    send.offset > 0 || send.stall != Stall::None
}

/// Whether the last retry went unanswered.
fn is_given_up(queue_pair: &QueuePair) -> bool {
    let SendProgress { stall, retries, .. } = queue_pair.send;
    stall == Stall::NoAnswer && retries > queue_pair.path.retry_count
}

fn unstalled(send: SendProgress) -> SendProgress {
    SendProgress { stall: Stall::None, retries: 0, due: 0, ..send }
}

/// Goes on to the next WQE.
pub(super) fn advance(send: &mut SendProgress, blocks: u16) {
    let consumer = send.consumer.wrapping_add(blocks);
    *send = SendProgress { consumer, offset: 0, ..unstalled(*send) };
}
