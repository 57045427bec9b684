//! The sender's side of a connection: sends meet the peer's offers, first come first served, and are written.
//!
//! ```text
//!  post ---> Waiting ---- meets an offer ----> Writing ---- every stripe has an outcome ----> Done
//!               |                                |  deadline, cancel, Withdraw: stripes are cancelled
//!               | deadline, cancel, fault        v
//!               +-----> Done                  the same, and Abandoned is said
//! ```

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use pmd_core::memory::{LocalKey, RemoteKey};
use pmd_host::{
    lane::Route,
    transfer::{
        KeepAlive, Notification, RouteFault, SubmitError, Transfer, TransferError, TransferOptions, WorkList,
        WorkListLimits,
    },
};

use super::{
    ConnectionFault, PostError, SendError,
    connection::{Connection, State},
    signal::Interest,
    stripes::{self, Ends},
    wire::{self, Message, Reason},
};
use crate::fabric::Segment;

/// What a send reads.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) address: u64,
    pub(super) length: u64,
    pub(super) key: LocalKey,
    /// Keeps the memory registered; `None` for messages of no bytes.
    pub(super) segment: Option<Segment>,
    /// The registration that the caller named.
    pub(super) buffer: u64,
}

/// The peer's wish for a message.
#[derive(Debug)]
struct Offer {
    ticket: u64,
    address: u64,
    room: u64,
    key: u32,
}

/// All sends of a connection.
#[derive(Debug, Default)]
pub(super) struct Sending {
    posted: u64,
    sends: BTreeMap<u64, Send>,
    /// Sends without an outcome.
    unfinished: usize,
    /// Sends that are being written.
    writing: BTreeSet<u64>,
    /// Of those, the ones with stripes to submit or to see stopped.
    urgent: BTreeSet<u64>,
    /// When to stop which send.
    deadlines: BTreeSet<(Instant, u64)>,
    /// Sends that no offer has met, in the order of their posting.
    waiting: VecDeque<u64>,
    /// Offers that no send has met, in the order of the peer's receives.
    offers: VecDeque<Offer>,
    next_lane: usize,
    /// Stripes that are in place, and whose notification the peer has.
    pub(super) landed: u64,
    /// Registrations of what is done, to be dropped without the lock.
    pub(super) released: Vec<Segment>,
}

#[derive(Debug)]
struct Send {
    source: Source,
    deadline: Instant,
    phase: Phase,
    /// Its handle is gone: nobody asks for the outcome.
    is_detached: bool,
}

#[derive(Debug)]
enum Phase {
    Waiting,
    Writing(Writing),
    Done(Result<(), SendError>),
}

#[derive(Debug)]
struct Writing {
    ticket: u64,
    stripes: Vec<Stripe>,
    /// Wakes who waits for this send.
    waker: Waker,
    /// Why it is being stopped.
    stop: Option<Reason>,
}

#[derive(Debug)]
struct Stripe {
    route: usize,
    work: Arc<WorkList>,
    progress: Progress,
}

#[derive(Debug)]
enum Progress {
    /// The lane had no room for it.
    Unsubmitted,
    UnderWay(Transfer),
    Ended(Result<(), TransferError>),
}

impl Sending {
    /// Whether something is to be looked at again soon: stripes to submit or to see stopped.
    pub(super) fn is_urgent(&self) -> bool {
        !self.urgent.is_empty()
    }

    /// Whether anything is being written into the peer's memory.
    pub(super) fn is_writing(&self) -> bool {
        !self.writing.is_empty()
    }

    /// Whether there ever was a send.
    pub(super) const fn was_used(&self) -> bool {
        self.posted > 0
    }

    /// The next time at which a send has to be given up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Sends without an outcome.
    pub(super) const fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Sends of one registration without an outcome.
    pub(super) fn unfinished_of(&self, buffer: u64) -> usize {
        let is_meant = |send: &&Send| !matches!(send.phase, Phase::Done(_)) && send.source.buffer == buffer;
        self.sends.values().filter(is_meant).count()
    }

    /// Fails what nobody has met.
    pub(super) fn fail_unmet(&mut self, fault: &ConnectionFault) {
        self.offers.clear();
        for number in std::mem::take(&mut self.waiting) {
            self.finish(number, Err(SendError::Connection(fault.clone())));
        }
    }

    /// The outcome, once there is one.
    pub(super) fn outcome(&self, number: u64) -> Option<Result<(), SendError>> {
        match &self.sends.get(&number)?.phase {
            Phase::Done(outcome) => Some(outcome.clone()),
            _ => None,
        }
    }

    /// Nobody asks for the outcome any more.
    pub(super) fn detach(&mut self, number: u64) {
        if let Some(send) = self.sends.get_mut(&number) {
            send.is_detached = true;
            if matches!(send.phase, Phase::Done(_)) {
                self.sends.remove(&number);
            }
        }
    }

    fn note_urgency(&mut self, number: u64, is_urgent: bool) {
        if is_urgent {
            self.urgent.insert(number);
        } else {
            self.urgent.remove(&number);
        }
    }

    fn finish(&mut self, number: u64, outcome: Result<(), SendError>) {
        let Some(send) = self.sends.get_mut(&number) else { return };
        send.phase = Phase::Done(outcome);
        self.unfinished -= 1;
        self.writing.remove(&number);
        self.urgent.remove(&number);
        self.deadlines.remove(&(send.deadline, number));
        self.released.extend(send.source.segment.take());
        if send.is_detached {
            self.sends.remove(&number);
        }
    }
}

/// What callers and the engine's thread do.
impl Connection {
    /// Takes a send: from now on it can meet an offer.
    pub(super) fn post_send(&self, source: Source, deadline: Instant) -> Result<u64, PostError> {
        let mut state = self.lock();
        if let Some(fault) = &state.fault {
            return Err(fault.clone().into());
        }
        let limit = self.limits.in_flight;
        if state.sending.unfinished() >= limit {
            return Err(PostError::TooManyInFlight { limit });
        }
        state.sending.posted += 1;
        let number = state.sending.posted;
        let send = Send { source, deadline, phase: Phase::Waiting, is_detached: false };
        state.sending.sends.insert(number, send);
        state.sending.unfinished += 1;
        state.sending.deadlines.insert((deadline, number));
        state.sending.waiting.push_back(number);
        self.bell.ring_by(deadline);
        self.match_up(&mut state);
        Ok(number)
    }

    /// Asks to stop a send; its outcome tells whether it did.
    pub(super) fn cancel_send(&self, number: u64) {
        self.stop_send(&mut self.lock(), number, Reason::Cancelled);
    }

    /// Asks to stop every send of a registration.
    pub(super) fn cancel_sends_of(&self, state: &mut State, buffer: u64) {
        let of_buffer = |(number, send): (&u64, &Send)| (send.source.buffer == buffer).then_some(*number);
        let numbers: Vec<u64> = state.sending.sends.iter().filter_map(of_buffer).collect();
        numbers.into_iter().for_each(|number| self.stop_send(state, number, Reason::Cancelled));
    }

    /// Stops what is overdue.
    pub(super) fn expire_sends(&self, state: &mut State, now: Instant) {
        while let Some((deadline, number)) = state.sending.deadlines.first().copied()
            && deadline <= now
        {
            state.sending.deadlines.pop_first();
            self.stop_send(state, number, Reason::TimedOut);
        }
    }

    fn stop_send(&self, state: &mut State, number: u64, reason: Reason) {
        let Some(send) = state.sending.sends.get_mut(&number) else { return };
        match &mut send.phase {
            Phase::Waiting => {
                state.sending.waiting.retain(|waiting| *waiting != number);
                self.finish_send(state, number, Err(stopped(reason, false)));
            }
            Phase::Writing(writing) if writing.stop.is_none() => {
                writing.stop = Some(reason);
                for stripe in &writing.stripes {
                    if let Progress::UnderWay(transfer) = &stripe.progress {
                        transfer.request_cancel();
                    }
                }
                state.sending.deadlines.remove(&(send.deadline, number));
                state.sending.urgent.insert(number);
                self.bell.ring();
            }
            Phase::Writing(_) | Phase::Done(_) => {}
        }
    }

    fn finish_send(&self, state: &mut State, number: u64, outcome: Result<(), SendError>) {
        state.sending.finish(number, outcome);
        self.signal.raise(Interest::Send(number));
    }

    /// Takes every send as far as it can go now.
    pub(super) fn drive_all(&self, state: &mut State) {
        let numbers: Vec<u64> = state.sending.writing.iter().copied().collect();
        numbers.into_iter().for_each(|number| self.drive(state, number));
    }

    /// Takes those as far as they can go that nobody else may look after.
    pub(super) fn drive_urgent(&self, state: &mut State) {
        let numbers: Vec<u64> = state.sending.urgent.iter().copied().collect();
        numbers.into_iter().for_each(|number| self.drive(state, number));
    }

    /// Submits what is not submitted, looks at what is under way, and gives the outcome when all has ended.
    pub(super) fn drive(&self, state: &mut State, number: u64) {
        let has_fault = state.fault.is_some();
        let Some(send) = state.sending.sends.get_mut(&number) else { return };
        let Phase::Writing(writing) = &mut send.phase else { return };
        let (ticket, count, length) = (writing.ticket, writing.stripes.len(), send.source.length);
        let landed = Message::Landed { ticket, stripes: count as u16, length };
        let is_stopped = has_fault || writing.stop.is_some();
        let (deadline, segment) = (send.deadline, &send.source.segment);
        let (mut fault, mut is_urgent, mut landed_now) = (None, writing.stop.is_some(), 0);
        for stripe in &mut writing.stripes {
            match &mut stripe.progress {
                Progress::Unsubmitted if is_stopped => {
                    stripe.progress = Progress::Ended(Err(TransferError::Cancelled));
                }
                Progress::Unsubmitted => {
                    let options = options(&landed, deadline, segment.as_ref());
                    fault = self.submit(stripe, options).err().or(fault);
                }
                Progress::UnderWay(_) | Progress::Ended(_) => {}
            }
            if let Progress::UnderWay(transfer) = &mut stripe.progress
                && let Poll::Ready(outcome) =
                    std::pin::pin!(transfer).poll(&mut Context::from_waker(&writing.waker))
            {
                landed_now += u64::from(outcome.is_ok());
                stripe.progress = Progress::Ended(outcome.map(drop));
            }
            is_urgent |= matches!(stripe.progress, Progress::Unsubmitted);
        }
        let ended = verdict(writing);
        state.sending.landed += landed_now;
        state.sending.note_urgency(number, is_urgent);
        if let Some(fault) = fault {
            self.break_down(state, ConnectionFault::Route(fault));
        }
        if let Some((ticket, verdict)) = ended {
            self.conclude(state, number, ticket, verdict);
        }
    }

    fn submit(&self, stripe: &mut Stripe, options: TransferOptions) -> Result<(), RouteFault> {
        let route = self.peer.routes().nth(stripe.route).unwrap_or(self.peer.route());
        let ended = |fault: RouteFault| Progress::Ended(Err(fault.transfer_error()));
        // With a time that is over it does not wait.
        let submitted = self.peer.submit_beside(route, &stripe.work, options, Some(Instant::now()));
        stripe.progress = match submitted {
            Ok(transfer) => Progress::UnderWay(transfer),
            Err(SubmitError::Full(_)) => Progress::Unsubmitted,
            Err(SubmitError::RouteFailed(fault)) => {
                stripe.progress = ended(fault);
                return Err(fault);
            }
            // Planned with the route's own limits, on a route that was connected with the connection.
            Err(_) => {
                stripe.progress = ended(RouteFault::Protocol);
                return Err(RouteFault::Protocol);
            }
        };
        Ok(())
    }

    /// Gives a send whose stripes have all ended its outcome, and tells the peer.
    fn conclude(&self, state: &mut State, number: u64, ticket: u64, verdict: Verdict) {
        let outcome = match verdict {
            Verdict::Written => Ok(()),
            Verdict::Stopped(reason) => {
                if state.fault.is_none() {
                    self.say(state, Message::Abandoned { ticket, reason });
                }
                Err(state.fault.clone().map_or(stopped(reason, true), SendError::Connection))
            }
            Verdict::Failed(error @ TransferError::Refused { .. }) => {
                self.say(state, Message::Abandoned { ticket, reason: Reason::Refused });
                Err(SendError::Transfer(error))
            }
            Verdict::Failed(
                error @ (TransferError::Failed { .. }
                | TransferError::Device { .. }
                | TransferError::NotificationFailed { .. }),
            ) if !error.is_route_down() => {
                let fault = self.peer.routes().find_map(Route::fault);
                let fault = fault.unwrap_or(RouteFault::Disconnected);
                self.break_down(state, ConnectionFault::Route(fault));
                Err(SendError::Transfer(error))
            }
            Verdict::Failed(error) => {
                self.break_down(state, ConnectionFault::Route(cause(error)));
                Err(SendError::Connection(state.fault.clone().unwrap_or(ConnectionFault::Closed)))
            }
        };
        self.finish_send(state, number, outcome);
        self.answer_goodbye(state);
    }

    /// Brings waiting sends and offers together.
    fn match_up(&self, state: &mut State) {
        while let (Some(_), Some(_)) = (state.sending.waiting.front(), state.sending.offers.front()) {
            let (Some(number), Some(offer)) =
                (state.sending.waiting.pop_front(), state.sending.offers.pop_front())
            else {
                return;
            };
            self.meet(state, number, &offer);
        }
    }

    fn meet(&self, state: &mut State, number: u64, offer: &Offer) {
        let first = state.sending.next_lane;
        let Some(send) = state.sending.sends.get_mut(&number) else { return };
        let Offer { ticket, address: remote, room, key } = *offer;
        let length = send.source.length;
        if length > room {
            self.finish_send(state, number, Err(SendError::TooLong { length, room }));
            return self.say(state, Message::TooLong { ticket, length });
        }
        let (local, local_key) = (send.source.address, send.source.key);
        let ends = Ends { local, local_key, remote, remote_key: RemoteKey(key) };
        let (routes, max_message) = (self.peer.routes().len(), self.limits.chunk_bytes);
        let limits = WorkListLimits { max_message, ..self.peer.route().limits() };
        let cut = stripes::cut(length, routes, max_message);
        let used = cut.len();
        let stripe = |(index, stripe)| Stripe {
            route: (first + index) % routes,
            work: stripes::work(stripe, &ends, limits),
            progress: Progress::Unsubmitted,
        };
        let stripes = cut.into_iter().enumerate().map(stripe).collect();
        let waker = self.signal.waker(Interest::Send(number));
        send.phase = Phase::Writing(Writing { ticket, stripes, waker, stop: None });
        state.sending.writing.insert(number);
        state.sending.next_lane = (first + used) % routes;
        self.drive(state, number);
    }
}

/// What the peer says.
impl Connection {
    pub(super) fn offered(&self, state: &mut State, (ticket, address, room, key): (u64, u64, u64, u32)) {
        if state.sending.offers.len() + state.sending.writing.len() >= self.limits.in_flight {
            return self.break_down(state, ConnectionFault::Protocol);
        }
        state.sending.offers.push_back(Offer { ticket, address, room, key });
        self.match_up(state);
    }

    /// An offer that the peer takes back. What was answered already stays answered.
    pub(super) fn withdrawn(&self, state: &mut State, ticket: u64) {
        let offers = &mut state.sending.offers;
        if let Some(index) = offers.iter().position(|offer| offer.ticket == ticket) {
            offers.remove(index);
            return self.say(state, Message::Abandoned { ticket, reason: Reason::Withdrawn });
        }
        let met = state.sending.sends.iter().find_map(|(number, send)| match &send.phase {
            Phase::Writing(writing) if writing.ticket == ticket => Some(*number),
            _ => None,
        });
        if let Some(number) = met {
            self.stop_send(state, number, Reason::Withdrawn);
        }
    }
}

/// How the stripes of a send ended.
enum Verdict {
    Written,
    Stopped(Reason),
    Failed(TransferError),
}

/// `None` while a stripe has not ended.
fn verdict(writing: &Writing) -> Option<(u64, Verdict)> {
    let mut verdict = Verdict::Written;
    for stripe in &writing.stripes {
        let Progress::Ended(outcome) = &stripe.progress else { return None };
        verdict = match (outcome, verdict) {
            // A device's own word says more than that something was stopped.
            (_, failed @ Verdict::Failed(_)) => failed,
            (Err(TransferError::Cancelled), _) => Verdict::Stopped(writing.stop.unwrap_or(Reason::Cancelled)),
            (Err(TransferError::DeadlineExceeded), _) => {
                Verdict::Stopped(writing.stop.unwrap_or(Reason::TimedOut))
            }
            (Err(error), _) => Verdict::Failed(*error),
            (Ok(()), verdict) => verdict,
        };
    }
    Some((writing.ticket, verdict))
}

fn options(landed: &Message, deadline: Instant, segment: Option<&Segment>) -> TransferOptions {
    let notify = Some(Notification { bytes: wire::emit(landed), immediate: None });
    let keep_alive = segment.map(|segment| KeepAlive(Arc::new(segment.clone())));
    TransferOptions { notify, deadline: Some(deadline), keep_alive, ..TransferOptions::default() }
}

fn stopped(reason: Reason, met: bool) -> SendError {
    match reason {
        Reason::TimedOut => SendError::Timeout { met },
        Reason::Withdrawn => SendError::Withdrawn,
        Reason::Cancelled | Reason::Refused => SendError::Cancelled,
    }
}

/// What took the route of a transfer down.
const fn cause(error: TransferError) -> RouteFault {
    match error {
        TransferError::PeerDown => RouteFault::PeerDown,
        TransferError::PeerSilent { silence } => RouteFault::PeerSilent { silence },
        TransferError::Flushed { cause } => cause,
        TransferError::RouteClosed => RouteFault::Closed,
        TransferError::LaneEnded { fault } => RouteFault::LaneEnded(fault),
        TransferError::Device { fault, .. } => RouteFault::Device(fault),
        TransferError::Failed { syndrome, vendor, .. }
        | TransferError::NotificationFailed { syndrome, vendor } => {
            RouteFault::WorkRequest { syndrome, vendor }
        }
        _ => RouteFault::Disconnected,
    }
}
