//! What became of launches: written by the proxy before a stream goes on, read by the application once it has.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use thiserror::Error;

/// Failures that are kept.
const KEPT: usize = 64;

/// The launches of a captured object, numbered from 1 in the order in which they were served.
#[derive(Debug)]
pub struct Launches<C> {
    state: Mutex<State<C>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<C> {
    ended: u64,
    failed: u64,
    /// The last ones, and of those how many were told.
    failures: VecDeque<LaunchFailure<C>>,
    told: usize,
    /// The last failure that is not kept any more.
    forgotten: u64,
    closed: bool,
}

/// A launch that failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("launch {launch}: {cause}")]
pub struct LaunchFailure<C> {
    /// Its number.
    pub launch: u64,
    /// Why.
    pub cause: C,
}

/// What is known of one launch, if not that it succeeded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LaunchError<C: fmt::Display> {
    /// It failed.
    #[error(transparent)]
    Failed(#[from] LaunchFailure<C>),
    /// It had not ended at the deadline.
    #[error("{ended} launches had ended at the deadline")]
    Timeout {
        /// How many had.
        ended: u64,
    },
    /// It ended long ago, and more have failed since than are kept: it may have been one of them.
    #[error("launch {launch} ended too long ago: look after each launch, or at failures as they come")]
    Forgotten {
        /// Its number.
        launch: u64,
    },
}

impl<C> Launches<C> {
    pub(super) fn new() -> Self {
        let (failures, told, forgotten, closed) = (VecDeque::new(), 0, 0, false);
        let state = State { ended: 0, failed: 0, failures, told, forgotten, closed };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// How many have ended, well or not.
    #[must_use]
    pub fn ended(&self) -> u64 {
        self.state().ended
    }

    /// How many of them failed.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.state().failed
    }

    /// A launch has ended.
    pub(super) fn note(&self, outcome: Result<(), C>) {
        let mut state = self.state();
        state.ended += 1;
        if let Err(cause) = outcome {
            state.failed += 1;
            let launch = state.ended;
            if state.failures.len() == KEPT
                && let Some(oldest) = state.failures.pop_front()
            {
                state.forgotten = oldest.launch;
                state.told = state.told.saturating_sub(1);
            }
            state.failures.push_back(LaunchFailure { launch, cause });
        }
        drop(state);
        self.changed.notify_all();
    }

    /// No launch is served any more but with the news that there will be none.
    pub(super) fn note_closed(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Waits for [`Launches::note_closed`]; whether it came by the deadline.
    pub(super) fn wait_closed(&self, deadline: Option<Instant>) -> bool {
        self.wait_while(deadline, |state| !state.closed).closed
    }

    fn wait_while(
        &self,
        deadline: Option<Instant>,
        waits: impl Fn(&State<C>) -> bool,
    ) -> MutexGuard<'_, State<C>> {
        let mut state = self.state();
        while waits(&state) {
            let Some(deadline) = deadline else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state
    }

    fn state(&self) -> MutexGuard<'_, State<C>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<C: Clone + fmt::Display> Launches<C> {
    /// How many have ended, or the first failure that was not told yet. Never waits. Each failure is told once.
    ///
    /// # Errors
    /// [`LaunchFailure`].
    pub fn check(&self) -> Result<u64, LaunchFailure<C>> {
        let mut state = self.state();
        let Some(failure) = state.failures.get(state.told).cloned() else { return Ok(state.ended) };
        state.told += 1;
        Err(failure)
    }

    /// Waits until so many launches have ended, and tells what became of the last of them.
    ///
    /// # Errors
    /// [`LaunchError`].
    pub fn wait(&self, launch: u64, deadline: Option<Instant>) -> Result<(), LaunchError<C>> {
        let state = self.wait_while(deadline, |state| state.ended < launch);
        if state.ended < launch {
            return Err(LaunchError::Timeout { ended: state.ended });
        }
        if let Some(failure) = state.failures.iter().find(|failure| failure.launch == launch) {
            return Err(failure.clone().into());
        }
        if launch <= state.forgotten { Err(LaunchError::Forgotten { launch }) } else { Ok(()) }
    }
}
