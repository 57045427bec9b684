//! The receiver's side of a connection: every receive is offered to the sender under a ticket.
//!
//! ```text
//!  post ---> Offered ---- Landed from every stripe ----> Done
//!               |  TooLong, Abandoned ------------------> Done
//!               | deadline, cancel: Withdraw is said
//!               v
//!           Withdrawing -- Abandoned, TooLong, Landed --> Done      the sender always answers
//!               | no answer in time
//!               v
//!           connection down -- routes closed -----------> Done
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    ConnectionFault, PostError, ReceiveError, SenderStop,
    connection::{Connection, State},
    signal::Interest,
    wire::{Message, Reason},
};
use crate::fabric::Segment;

/// What a receive writes.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) address: u64,
    /// Bytes that there is room for.
    pub(super) room: u64,
    pub(super) key: u32,
    /// Keeps the memory registered; `None` where there is no room.
    pub(super) segment: Option<Segment>,
    /// The registration that the caller named.
    pub(super) buffer: u64,
}

/// All receives of a connection, by ticket.
#[derive(Debug, Default)]
pub(super) struct Receiving {
    posted: u64,
    receives: BTreeMap<u64, Receive>,
    /// Receives without an outcome.
    unfinished: usize,
    /// When to withdraw which receive, or to wait for its withdrawal no longer.
    deadlines: BTreeSet<(Instant, u64)>,
    /// Registrations of what is done, to be dropped without the lock.
    pub(super) released: Vec<Segment>,
}

#[derive(Debug)]
struct Receive {
    target: Target,
    /// When it is withdrawn; once it is, when its answer is not waited for any longer.
    deadline: Instant,
    phase: Phase,
    /// Stripes that are in place, and how many there are.
    landed: u16,
    stripes: u16,
    is_detached: bool,
}

#[derive(Debug)]
enum Phase {
    Offered,
    /// What it is to fail with.
    Withdrawing(ReceiveError),
    Done(Result<u64, ReceiveError>),
}

impl Receiving {
    /// Whether there ever was a receive.
    pub(super) const fn was_used(&self) -> bool {
        self.posted > 0
    }

    /// The next time at which something has to be given up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// Receives without an outcome.
    pub(super) const fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Receives of one registration without an outcome.
    pub(super) fn unfinished_of(&self, buffer: u64) -> usize {
        let is_meant =
            |receive: &&Receive| !matches!(receive.phase, Phase::Done(_)) && receive.target.buffer == buffer;
        self.receives.values().filter(is_meant).count()
    }

    /// Fails everything: the connection is down and quiet.
    pub(super) fn fail_all(&mut self, fault: &ConnectionFault) {
        let open = |(ticket, receive): (&u64, &Receive)| {
            (!matches!(receive.phase, Phase::Done(_))).then_some(*ticket)
        };
        let tickets: Vec<u64> = self.receives.iter().filter_map(open).collect();
        for ticket in tickets {
            self.finish(ticket, Err(ReceiveError::Connection(fault.clone())));
        }
    }

    /// The outcome, once there is one.
    pub(super) fn outcome(&self, ticket: u64) -> Option<Result<u64, ReceiveError>> {
        match &self.receives.get(&ticket)?.phase {
            Phase::Done(outcome) => Some(outcome.clone()),
            _ => None,
        }
    }

    fn finish(&mut self, ticket: u64, outcome: Result<u64, ReceiveError>) {
        let Some(receive) = self.receives.get_mut(&ticket) else { return };
        receive.phase = Phase::Done(outcome);
        self.unfinished -= 1;
        self.deadlines.remove(&(receive.deadline, ticket));
        self.released.extend(receive.target.segment.take());
        if receive.is_detached {
            self.receives.remove(&ticket);
        }
    }

    /// A receive that is not done.
    fn open(&mut self, ticket: u64) -> Option<&mut Receive> {
        self.receives.get_mut(&ticket).filter(|receive| !matches!(receive.phase, Phase::Done(_)))
    }
}

/// What callers and the engine's thread do.
impl Connection {
    /// Takes a receive and offers it to the peer.
    pub(super) fn post_receive(&self, target: Target, deadline: Instant) -> Result<u64, PostError> {
        let mut state = self.lock();
        if let Some(fault) = &state.fault {
            return Err(fault.clone().into());
        }
        let limit = self.limits.in_flight;
        if state.receiving.unfinished() >= limit {
            return Err(PostError::TooManyInFlight { limit });
        }
        state.receiving.posted += 1;
        let ticket = state.receiving.posted;
        let Target { address, room, key, .. } = target;
        let (phase, landed, stripes) = (Phase::Offered, 0, 0);
        let receive = Receive { target, deadline, phase, landed, stripes, is_detached: false };
        state.receiving.receives.insert(ticket, receive);
        state.receiving.unfinished += 1;
        state.receiving.deadlines.insert((deadline, ticket));
        self.bell.ring_by(deadline);
        self.say(&mut state, Message::Offer { ticket, address, room, key });
        Ok(ticket)
    }

    /// Asks to stop a receive; its outcome tells whether it did.
    pub(super) fn cancel_receive(&self, ticket: u64) {
        self.withdraw(&mut self.lock(), ticket, ReceiveError::Cancelled);
    }

    /// Asks to stop every receive of a registration.
    pub(super) fn cancel_receives_of(&self, state: &mut State, buffer: u64) {
        let of_buffer =
            |(ticket, receive): (&u64, &Receive)| (receive.target.buffer == buffer).then_some(*ticket);
        let tickets: Vec<u64> = state.receiving.receives.iter().filter_map(of_buffer).collect();
        tickets.into_iter().for_each(|ticket| self.withdraw(state, ticket, ReceiveError::Cancelled));
    }

    /// Nobody asks for the outcome any more: the receive is withdrawn.
    pub(super) fn abandon_receive(&self, ticket: u64) {
        let mut state = self.lock();
        self.withdraw(&mut state, ticket, ReceiveError::Cancelled);
        if let Some(receive) = state.receiving.receives.get_mut(&ticket) {
            receive.is_detached = true;
            if matches!(receive.phase, Phase::Done(_)) {
                state.receiving.receives.remove(&ticket);
            }
        }
    }

    /// Withdraws what is overdue; takes the connection down when the peer does not answer to that.
    pub(super) fn expire_receives(&self, state: &mut State, now: Instant) {
        while let Some((deadline, ticket)) = state.receiving.deadlines.first().copied()
            && deadline <= now
        {
            state.receiving.deadlines.pop_first();
            match state.receiving.open(ticket).map(|receive| &receive.phase) {
                Some(Phase::Withdrawing(_)) => self.break_down(state, ConnectionFault::Unresponsive),
                _ => self.withdraw(state, ticket, ReceiveError::Timeout),
            }
        }
    }

    fn finish_receive(&self, state: &mut State, ticket: u64, outcome: Result<u64, ReceiveError>) {
        state.receiving.finish(ticket, outcome);
        self.signal.raise(Interest::Receive(ticket));
    }

    fn withdraw(&self, state: &mut State, ticket: u64, error: ReceiveError) {
        let Some(receive) = state.receiving.receives.get_mut(&ticket) else { return };
        if !matches!(receive.phase, Phase::Offered) || state.fault.is_some() {
            return;
        }
        let by = Instant::now() + self.limits.withdraw_patience;
        let overdue = std::mem::replace(&mut receive.deadline, by);
        receive.phase = Phase::Withdrawing(error.clone());
        state.receiving.deadlines.remove(&(overdue, ticket));
        state.receiving.deadlines.insert((by, ticket));
        let is_offer =
            |message: &Message| matches!(message, Message::Offer { ticket: of, .. } if *of == ticket);
        if Self::unsay(state, is_offer) {
            return self.finish_receive(state, ticket, Err(error));
        }
        self.bell.ring_by(by);
        self.say(state, Message::Withdraw { ticket });
    }
}

/// What the peer says. A ticket that is done is said no more about, but what was said before may still come.
impl Connection {
    pub(super) fn landed(&self, state: &mut State, ticket: u64, stripes: u16, length: u64) {
        let Some(receive) = state.receiving.open(ticket) else { return };
        let is_first = receive.landed == 0;
        let is_possible = length <= receive.target.room && stripes > 0;
        if !is_possible || !is_first && receive.stripes != stripes {
            return self.break_down(state, ConnectionFault::Protocol);
        }
        (receive.stripes, receive.landed) = (stripes, receive.landed + 1);
        if receive.landed == stripes {
            self.finish_receive(state, ticket, Ok(length));
        }
    }

    pub(super) fn too_long(&self, state: &mut State, ticket: u64, length: u64) {
        let Some(receive) = state.receiving.open(ticket) else { return };
        let room = receive.target.room;
        self.finish_receive(state, ticket, Err(ReceiveError::TooLong { length, room }));
    }

    pub(super) fn abandoned(&self, state: &mut State, ticket: u64, reason: Reason) {
        let Some(receive) = state.receiving.open(ticket) else { return };
        let error = match (&receive.phase, reason) {
            (Phase::Withdrawing(error), _) => error.clone(),
            (_, Reason::TimedOut) => ReceiveError::SenderStopped(SenderStop::TimedOut),
            (_, Reason::Cancelled) => ReceiveError::SenderStopped(SenderStop::Cancelled),
            (_, Reason::Refused) => ReceiveError::SenderStopped(SenderStop::Refused),
            (_, Reason::Withdrawn) => return self.break_down(state, ConnectionFault::Protocol),
        };
        self.finish_receive(state, ticket, Err(error));
    }
}
