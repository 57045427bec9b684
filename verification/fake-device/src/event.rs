//! Points in streams: recorded, reached, waited for.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::lock;

/// What has become of an event's last recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It was never recorded.
    Fresh,
    /// The stream has not come to it.
    Pending,
    /// The stream has come to it.
    Done,
    /// The stream has failed before, with this code.
    Failed(i64),
}

/// An event. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Event {
    handle: usize,
    device: u32,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Recordings asked for, and those that streams have come to.
    recorded: u64,
    reached: u64,
    failure: Option<i64>,
}

impl Event {
    pub(crate) fn new(handle: usize, device: u32) -> Self {
        Self { handle, device, shared: Arc::default() }
    }

    /// Its number.
    #[must_use]
    pub const fn handle(&self) -> usize {
        self.handle
    }

    /// The device that it was made for.
    #[must_use]
    pub const fn device(&self) -> u32 {
        self.device
    }

    /// What has become of its last recording.
    #[must_use]
    pub fn query(&self) -> Progress {
        let state = lock(&self.shared.state);
        match state.failure {
            _ if state.recorded == 0 => Progress::Fresh,
            _ if state.reached < state.recorded => Progress::Pending,
            Some(code) => Progress::Failed(code),
            None => Progress::Done,
        }
    }

    /// Waits for its last recording; [`Progress::Pending`] where the patience ended first.
    #[must_use]
    pub fn synchronise(&self, patience: Option<Duration>) -> Progress {
        let recorded = lock(&self.shared.state).recorded;
        let begun = Instant::now();
        while self.reached(recorded, Duration::from_millis(20)).is_none() {
            if patience.is_some_and(|patience| begun.elapsed() >= patience) {
                return Progress::Pending;
            }
        }
        self.query()
    }

    /// The number of a new recording.
    pub(crate) fn record(&self) -> u64 {
        let mut state = lock(&self.shared.state);
        state.recorded += 1;
        state.recorded
    }

    /// The number of the last recording; 0 before the first.
    pub(crate) fn recorded(&self) -> u64 {
        lock(&self.shared.state).recorded
    }

    /// A stream has come to a recording.
    pub(crate) fn reach(&self, recording: u64, failure: Option<i64>) {
        let mut state = lock(&self.shared.state);
        if recording > state.reached {
            state.reached = recording;
            state.failure = failure;
        }
        self.shared.changed.notify_all();
    }

    /// Whether a recording was reached, after waiting for it so long; the code is the stream's failure.
    pub(crate) fn reached(&self, recording: u64, patience: Duration) -> Option<Result<(), i64>> {
        let state = lock(&self.shared.state);
        let waited =
            self.shared.changed.wait_timeout_while(state, patience, |state| state.reached < recording);
        let (state, late) = waited.unwrap_or_else(PoisonError::into_inner);
        (!late.timed_out() || state.reached >= recording).then(|| state.failure.map_or(Ok(()), Err))
    }
}
