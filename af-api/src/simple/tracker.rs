//! Timestamps: the numbers by which callers wait for what they asked for. [`KvWorker`](super::KvWorker) and
//! [`SimpleApp`](super::SimpleApp) have one each.

use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use thiserror::Error;

/// Results that nobody has waited for yet are kept up to this number; then the oldest go.
pub const RESULTS_KEPT: usize = 4096;

/// Which request: 0 for the first, then one more each.
pub type Timestamp = u64;

/// Why there is no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TrackError {
    /// It is not done; it goes on.
    #[error("request {timestamp} is not done after {waited:?}; it goes on")]
    Timeout {
        /// Which one.
        timestamp: Timestamp,
        /// For how long was waited.
        waited: Duration,
    },
    /// There was no such request.
    #[error("there was no request {timestamp}")]
    Unknown {
        /// The number that was given.
        timestamp: Timestamp,
    },
    /// Its result was taken before, or went to its callback, or was dropped for younger ones.
    #[error("the result of request {timestamp} is not here any more")]
    Taken {
        /// Which one.
        timestamp: Timestamp,
    },
}

/// What became of requests, each a `T` in the end.
#[derive(Debug)]
pub(super) struct Tracker<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    next: Timestamp,
    /// None while it runs.
    open: BTreeMap<Timestamp, Option<T>>,
    done: usize,
}

impl<T> Default for Tracker<T> {
    fn default() -> Self {
        Self { state: Mutex::new(State { next: 0, open: BTreeMap::new(), done: 0 }), changed: Condvar::new() }
    }
}

impl<T> Tracker<T> {
    pub(super) fn begin(&self) -> Timestamp {
        let mut state = self.state();
        let timestamp = state.next;
        state.next += 1;
        state.open.insert(timestamp, None);
        timestamp
    }

    /// The request did not come about after all.
    pub(super) fn forget(&self, timestamp: Timestamp) {
        self.state().open.remove(&timestamp);
        self.changed.notify_all();
    }

    /// The request is done; the result is kept for whoever waits.
    pub(super) fn finish(&self, timestamp: Timestamp, result: T) {
        let mut state = self.state();
        if let Some(slot @ None) = state.open.get_mut(&timestamp) {
            *slot = Some(result);
            state.done += 1;
        }
        while state.done > RESULTS_KEPT {
            let oldest =
                state.open.iter().find(|(_, result)| result.is_some()).map(|(timestamp, _)| *timestamp);
            oldest.map(|timestamp| state.open.remove(&timestamp));
            state.done -= 1;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Whether the request is done, or was never begun.
    pub(super) fn is_done(&self, timestamp: Timestamp) -> bool {
        !matches!(self.state().open.get(&timestamp), Some(None))
    }

    /// Waits for the result and takes it.
    pub(super) fn take(&self, timestamp: Timestamp, timeout: Duration) -> Result<T, TrackError> {
        let begun = Instant::now();
        let mut state = self.state();
        loop {
            match state.open.get(&timestamp) {
                None if timestamp >= state.next => return Err(TrackError::Unknown { timestamp }),
                None => return Err(TrackError::Taken { timestamp }),
                Some(Some(_)) => {
                    state.done -= 1;
                    return state.open.remove(&timestamp).flatten().ok_or(TrackError::Taken { timestamp });
                }
                Some(None) => {}
            }
            let waited = begun.elapsed();
            let Some(left) = timeout.checked_sub(waited).filter(|left| !left.is_zero()) else {
                return Err(TrackError::Timeout { timestamp, waited });
            };
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
