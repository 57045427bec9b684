//! What reaches an engine from its peers, and waiting for it.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use pmd_host::{control::DownReason, endpoint::Peer};

use super::{EngineError, failure::TransferFailure};

/// A message that a peer sent beside its transfers, or the notification of one of them: raised only after every byte
/// of that transfer is in place.
#[derive(Clone, Debug)]
pub struct Notification {
    /// Who sent it.
    pub peer: Peer,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// Something that a peer did.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// It sent a notification.
    Notification(Notification),
    /// A transfer of it has failed.
    Failed(TransferFailure),
    /// It went down. Every transfer of it is over; those that had not been notified are not complete.
    Down(Peer, DownReason),
}

/// What has arrived and was not taken yet.
#[derive(Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    connected: VecDeque<Peer>,
    notifications: VecDeque<(u64, Notification)>,
    failures: VecDeque<(u64, TransferFailure)>,
    down: VecDeque<(u64, (Peer, DownReason))>,
    /// Events so far: the order among the three queues.
    count: u64,
}

impl Inbox {
    pub(super) fn connected(&self, peer: &Peer) {
        self.change(|state| state.connected.push_back(peer.clone()));
    }

    pub(super) fn arrived(&self, event: Event) {
        self.change(|state| {
            state.count += 1;
            let number = state.count;
            match event {
                Event::Notification(notification) => state.notifications.push_back((number, notification)),
                Event::Failed(failure) => state.failures.push_back((number, failure)),
                Event::Down(peer, reason) => state.down.push_back((number, (peer, reason))),
            }
        });
    }

    pub(super) fn next_connected(&self, patience: Duration) -> Result<Peer, EngineError> {
        self.wait(patience, "a peer to connect", |state| state.connected.pop_front())
    }

    pub(super) fn next_down(&self, patience: Duration) -> Result<(Peer, DownReason), EngineError> {
        self.wait(patience, "a peer to go down", |state| Some(state.down.pop_front()?.1))
    }

    pub(super) fn next_notification(&self, patience: Duration) -> Result<Notification, EngineError> {
        self.wait(patience, "a notification", |state| Some(state.notifications.pop_front()?.1))
    }

    pub(super) fn next_failure(&self, patience: Duration) -> Result<TransferFailure, EngineError> {
        self.wait(patience, "a transfer of a peer to fail", |state| Some(state.failures.pop_front()?.1))
    }

    pub(super) fn next(&self, patience: Duration) -> Result<Event, EngineError> {
        self.wait(patience, "an event", State::pop)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_all();
    }

    fn wait<T>(
        &self,
        patience: Duration,
        what: &'static str,
        mut take: impl FnMut(&mut State) -> Option<T>,
    ) -> Result<T, EngineError> {
        let begun = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(taken) = take(&mut state) {
                return Ok(taken);
            }
            let left = patience.saturating_sub(begun.elapsed());
            if left.is_zero() {
                return Err(EngineError::Timeout { what, patience });
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl State {
    /// The oldest event.
    fn pop(&mut self) -> Option<Event> {
        let fronts = [
            self.notifications.front().map(|(number, _)| *number),
            self.failures.front().map(|(number, _)| *number),
            self.down.front().map(|(number, _)| *number),
        ];
        let oldest =
            (0..fronts.len()).filter(|queue| fronts[*queue].is_some()).min_by_key(|queue| fronts[*queue]);
        match oldest? {
            0 => self.notifications.pop_front().map(|(_, notification)| Event::Notification(notification)),
            1 => self.failures.pop_front().map(|(_, failure)| Event::Failed(failure)),
            _ => self.down.pop_front().map(|(_, (peer, reason))| Event::Down(peer, reason)),
        }
    }
}
