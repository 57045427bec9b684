//! One connection: its lock, what it says and hears, its end and the proof that it is quiet.
//!
//! Three kinds of threads come here: callers that post and wait, lanes with the peer's messages, and the engine's own
//! thread with deadlines and what could not be said at once. All of them take the one lock, and none keeps it while it
//! waits.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use pmd_host::{control::DownReason, endpoint::Peer, lane::Route, transfer::SendError as MessageError};

use super::{
    ConnectionFault, ConnectionId,
    receiving::Receiving,
    sending::Sending,
    signal::{Bell, Interest, Signal},
    wire::{self, Message},
};

/// How soon what could not be done at once is tried again.
const RETRY: Duration = Duration::from_micros(200);

/// How often sends are looked after that nobody waits for.
const SWEEP: Duration = Duration::from_millis(50);

/// How an engine's connections behave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of a work request.
    pub(super) chunk_bytes: u32,
    /// Sends, and receives, under way at one time.
    pub(super) in_flight: usize,
    /// How long the peer may take to answer a withdrawn receive.
    pub(super) withdraw_patience: Duration,
}

/// A peer that sends and receives.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) id: ConnectionId,
    pub(super) peer: Peer,
    pub(super) limits: Limits,
    pub(super) signal: Arc<Signal>,
    pub(super) bell: Arc<Bell>,
    state: Mutex<State>,
    /// Held by whoever drops registrations, so that those who come after know them dropped.
    burial: Mutex<()>,
}

/// What the lock protects.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What took the connection down; the first cause stays.
    pub(super) fault: Option<ConnectionFault>,
    /// After a fault: the peer has no way any more to write this process's memory.
    pub(super) is_quiet: bool,
    /// What the peer had no room for yet, in order.
    outbox: VecDeque<Message>,
    pub(super) sending: Sending,
    pub(super) receiving: Receiving,
    parting: Parting,
    /// When sends were looked after that nobody waits for.
    swept: Option<Instant>,
}

/// How far the end in good order has come.
#[derive(Debug, Default)]
struct Parting {
    /// Routes on which the peer has said goodbye.
    goodbyes: usize,
    /// Stripes that the peer says are in place, and those that it has said so of one by one.
    due: u64,
    landed: u64,
    is_answered: bool,
    /// The peer has answered this side's goodbyes.
    has_farewell: bool,
}

#[cfg(test)]
impl State {
    /// Whether the peer's goodbyes were answered.
    pub(super) fn has_said_farewell(&self) -> bool {
        self.parting.is_answered
    }
}

impl Connection {
    pub(super) fn new(id: ConnectionId, peer: Peer, limits: Limits, bell: Arc<Bell>) -> Self {
        let signal = Arc::new(Signal::new(Arc::clone(&bell)));
        Self { id, peer, limits, signal, bell, state: Mutex::default(), burial: Mutex::default() }
    }

    /// Looks until there is an answer; `None` once the deadline has passed.
    pub(super) fn wait<T>(
        &self,
        interest: Interest,
        deadline: Option<Instant>,
        mut look: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        loop {
            let seen = self.signal.generation();
            if let Some(answer) = look(&mut self.lock()) {
                return Some(answer);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return None;
            }
            self.signal.wait(seen, interest, deadline);
        }
    }

    /// A message of the peer. Called on a lane.
    pub(super) fn heard(&self, bytes: &[u8]) {
        let mut state = self.lock();
        if state.fault.is_some() {
            return;
        }
        match wire::parse(bytes) {
            Some(Message::Offer { ticket, address, room, key }) => {
                self.offered(&mut state, (ticket, address, room, key));
            }
            Some(Message::Withdraw { ticket }) => self.withdrawn(&mut state, ticket),
            Some(Message::Landed { ticket, stripes, length }) => {
                state.parting.landed += 1;
                self.landed(&mut state, ticket, stripes, length);
                self.answer_goodbye(&mut state);
            }
            Some(Message::TooLong { ticket, length }) => self.too_long(&mut state, ticket, length),
            Some(Message::Abandoned { ticket, reason }) => self.abandoned(&mut state, ticket, reason),
            Some(Message::Goodbye { landed }) => {
                state.parting.goodbyes += 1;
                state.parting.due = state.parting.due.max(landed);
                self.answer_goodbye(&mut state);
                // What is written meanwhile is looked after from now on, whether somebody waits for it or not.
                self.bell.ring();
            }
            Some(Message::Farewell) => {
                state.parting.has_farewell = true;
                self.signal.raise(Interest::Everything);
            }
            None => self.break_down(&mut state, ConnectionFault::Protocol),
        }
        // The message may have brought the peer's room for what waits.
        self.flush(&mut state);
    }

    /// Says something to the peer, after everything that was said before.
    pub(super) fn say(&self, state: &mut State, message: Message) {
        state.outbox.push_back(message);
        self.flush(state);
    }

    /// Takes back what was not said yet. Returns whether that was so.
    pub(super) fn unsay(state: &mut State, is_meant: impl Fn(&Message) -> bool) -> bool {
        let before = state.outbox.len();
        state.outbox.retain(|message| !is_meant(message));
        state.outbox.len() < before
    }

    fn flush(&self, state: &mut State) {
        while let Some(message) = state.outbox.front() {
            match self.peer.route().send(&wire::emit(message), None) {
                Ok(()) => drop(state.outbox.pop_front()),
                Err(MessageError::Full) => return self.bell.ring_by(Instant::now() + RETRY),
                Err(error) => return self.break_down(state, route_fault(&error)),
            }
        }
    }

    /// Answers the peer's goodbyes once every stripe of it has been heard of and nothing is being written into its memory.
    pub(super) fn answer_goodbye(&self, state: &mut State) {
        let is_asked = state.parting.goodbyes == self.peer.routes().len();
        let has_heard = state.parting.landed >= state.parting.due;
        if is_asked && has_heard && !state.parting.is_answered && !state.sending.is_writing() {
            state.parting.is_answered = true;
            self.say(state, Message::Farewell);
        }
    }

    /// Ends in good order: waits until the peer has heard of all that was sent, and knows of all that it sent itself.
    /// A peer that does not answer in time is left without.
    pub(super) fn part(&self) {
        let mut state = self.lock();
        // Outcomes that nobody has looked at count.
        self.drive_all(&mut state);
        if state.fault.is_some() || !state.sending.was_used() && !state.receiving.was_used() {
            return;
        }
        let goodbye = Message::Goodbye { landed: state.sending.landed };
        self.say(&mut state, goodbye);
        drop(state);
        let deadline = Instant::now() + self.limits.withdraw_patience;
        for route in self.peer.routes().skip(1) {
            while route.send(&wire::emit(&goodbye), None) == Err(MessageError::Full)
                && Instant::now() < deadline
            {
                thread::sleep(RETRY);
            }
        }
        let _ = self.wait(Interest::Everything, Some(deadline), |state| {
            (state.parting.has_farewell || state.fault.is_some()).then_some(())
        });
    }

    /// Takes the connection down. Sends that nobody has met fail at once, the rest when it is quiet.
    pub(super) fn break_down(&self, state: &mut State, fault: ConnectionFault) {
        if state.fault.is_some() {
            return;
        }
        // Queue pairs fail at once when a peer goes; the control plane knows why, maybe a moment later.
        let fault = match (fault, self.peer.down_reason()) {
            (ConnectionFault::Route(_), Some(reason)) => ConnectionFault::PeerDown(reason),
            (ConnectionFault::Route(fault), None) if fault.is_disconnect() && state.parting.goodbyes > 0 => {
                ConnectionFault::PeerDown(DownReason::Goodbye)
            }
            (fault, _) => fault,
        };
        state.outbox.clear();
        state.sending.fail_unmet(&fault);
        state.fault = Some(fault);
        self.peer.close();
        self.signal.raise(Interest::Everything);
        self.bell.ring();
    }

    /// As [`Connection::break_down`], for callers without the lock.
    pub(super) fn close(&self, fault: ConnectionFault) {
        self.break_down(&mut self.lock(), fault);
    }

    /// One look of the engine's thread. Returns when it should look again at the latest.
    pub(super) fn look_after(&self, now: Instant) -> Option<Instant> {
        let fault = self.peer.routes().find_map(Route::fault);
        let mut state = self.lock();
        if let Some(fault) = fault {
            self.break_down(&mut state, ConnectionFault::Route(fault));
        }
        if state.fault.is_some() && !state.is_quiet {
            drop(state);
            self.quieten();
            state = self.lock();
        }
        self.flush(&mut state);
        self.expire_sends(&mut state, now);
        self.expire_receives(&mut state, now);
        let is_parting = state.parting.goodbyes > 0 && state.sending.is_writing();
        if is_parting || state.swept.is_none_or(|swept| now >= swept + SWEEP) {
            state.swept = Some(now);
            self.drive_all(&mut state);
        } else {
            self.drive_urgent(&mut state);
        }
        let is_urgent = !state.outbox.is_empty() || state.sending.is_urgent() || is_parting;
        let deadlines = [state.sending.next_deadline(), state.receiving.next_deadline()];
        drop(state);
        self.bury();
        self.signal.wake_tasks();
        deadlines.into_iter().flatten().chain(is_urgent.then(|| now + RETRY)).min()
    }

    /// Closes the routes and rails of a connection that is down: after that the peer has no queue pair to write through, and
    /// what this side has under way ends.
    fn quieten(&self) {
        self.peer.quieten();
        let mut state = self.lock();
        state.is_quiet = true;
        let fault = state.fault.clone().unwrap_or(ConnectionFault::Closed);
        state.receiving.fail_all(&fault);
        self.drive_all(&mut state);
        drop(state);
        self.signal.raise(Interest::Everything);
    }

    /// After a fault: nothing is under way and everything has an outcome.
    pub(super) fn settled(state: &mut State) -> Option<()> {
        let left = state.sending.unfinished() + state.receiving.unfinished();
        (state.is_quiet && left == 0).then_some(())
    }

    /// Drops the registrations of what is done. When it returns, those of every outcome that was seen before are gone.
    pub(super) fn bury(&self) {
        let _alone = self.burial.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        let mut released = std::mem::take(&mut state.sending.released);
        released.append(&mut state.receiving.released);
        drop(state);
        drop(released);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn route_fault(error: &MessageError) -> ConnectionFault {
    match error {
        MessageError::RouteFailed(fault) => ConnectionFault::Route(*fault),
        // The engine checked the size of messages when it was opened, and connects before it sends.
        _ => ConnectionFault::Protocol,
    }
}
