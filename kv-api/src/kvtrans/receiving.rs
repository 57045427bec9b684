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

use std::{collections::BTreeMap, time::Instant};

use super::{
    ConnectionFault, PostError, ReceiveError, SenderStop,
    connection::{Connection, State},
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
    /// Registrations of what is done, to be dropped without the lock.
    pub(super) released: Vec<Segment>,
}

#[derive(Debug)]
struct Receive {
    target: Target,
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
    Withdrawing { error: ReceiveError, by: Instant },
    Done(Result<u64, ReceiveError>),
}

impl Receiving {
    /// Whether there ever was a receive.
    pub(super) const fn was_used(&self) -> bool {
        self.posted > 0
    }

    /// The next time at which something has to be given up.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let deadline = |receive: &Receive| match receive.phase {
            Phase::Offered => Some(receive.deadline),
            Phase::Withdrawing { by, .. } => Some(by),
            Phase::Done(_) => None,
        };
        self.receives.values().filter_map(deadline).min()
    }

    /// Receives without an outcome, of one registration or of all.
    pub(super) fn unfinished(&self, buffer: Option<u64>) -> usize {
        let is_meant = |receive: &&Receive| {
            !matches!(receive.phase, Phase::Done(_))
                && buffer.is_none_or(|buffer| receive.target.buffer == buffer)
        };
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
        if state.receiving.unfinished(None) >= limit {
            return Err(PostError::TooManyInFlight { limit });
        }
        state.receiving.posted += 1;
        let ticket = state.receiving.posted;
        let Target { address, room, key, .. } = target;
        let (phase, landed, stripes) = (Phase::Offered, 0, 0);
        let receive = Receive { target, deadline, phase, landed, stripes, is_detached: false };
        state.receiving.receives.insert(ticket, receive);
        self.bell.ring_by(deadline);
        self.say(&mut state, Message::Offer { ticket, address, room, key });
        Ok(ticket)
    }

    /// Asks to stop a receive; its outcome tells whether it did.
    pub(super) fn cancel_receive(&self, ticket: u64) {
        self.withdraw(&mut self.lock(), ticket, ReceiveError::Cancelled);
        self.signal.raise();
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
        let mut overdue = Vec::new();
        let mut is_unanswered = false;
        for (ticket, receive) in &state.receiving.receives {
            match receive.phase {
                Phase::Offered if receive.deadline <= now => overdue.push(*ticket),
                Phase::Withdrawing { by, .. } => is_unanswered |= by <= now,
                Phase::Offered | Phase::Done(_) => {}
            }
        }
        overdue.into_iter().for_each(|ticket| self.withdraw(state, ticket, ReceiveError::Timeout));
        if is_unanswered {
            self.break_down(state, ConnectionFault::Unresponsive);
        }
    }

    fn withdraw(&self, state: &mut State, ticket: u64, error: ReceiveError) {
        let Some(receive) = state.receiving.receives.get_mut(&ticket) else { return };
        if !matches!(receive.phase, Phase::Offered) || state.fault.is_some() {
            return;
        }
        let by = Instant::now() + self.limits.withdraw_patience;
        receive.phase = Phase::Withdrawing { error: error.clone(), by };
        let is_offer =
            |message: &Message| matches!(message, Message::Offer { ticket: of, .. } if *of == ticket);
        if Self::unsay(state, is_offer) {
            state.receiving.finish(ticket, Err(error));
            return self.signal.raise();
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
            state.receiving.finish(ticket, Ok(length));
        }
    }

    pub(super) fn too_long(&self, state: &mut State, ticket: u64, length: u64) {
        let Some(receive) = state.receiving.open(ticket) else { return };
        let room = receive.target.room;
        state.receiving.finish(ticket, Err(ReceiveError::TooLong { length, room }));
    }

    pub(super) fn abandoned(&self, state: &mut State, ticket: u64, reason: Reason) {
        let Some(receive) = state.receiving.open(ticket) else { return };
        let error = match (&receive.phase, reason) {
            (Phase::Withdrawing { error, .. }, _) => error.clone(),
            (_, Reason::TimedOut) => ReceiveError::SenderStopped(SenderStop::TimedOut),
            (_, Reason::Cancelled) => ReceiveError::SenderStopped(SenderStop::Cancelled),
            (_, Reason::Refused) => ReceiveError::SenderStopped(SenderStop::Refused),
            (_, Reason::Withdrawn) => return self.break_down(state, ConnectionFault::Protocol),
        };
        state.receiving.finish(ticket, Err(error));
    }
}
