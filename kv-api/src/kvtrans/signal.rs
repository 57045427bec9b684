//! Who waits on a connection, and how they are woken; and what wakes the engine's own thread.
//!
//! Locks here are leaves: nothing else is locked or called while one is held, so lanes may raise a signal from
//! wherever they are.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Wake, Waker},
    time::{Duration, Instant},
};

/// Longest time between two looks of a waiting thread, whatever it was told.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Something has changed on a connection.
#[derive(Debug)]
pub(super) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
    pump: Arc<Bell>,
}

#[derive(Debug, Default)]
struct State {
    generation: u64,
    /// Woken by the engine's thread: who raises the signal may hold locks that a task's waker wants.
    tasks: Vec<Waker>,
}

impl Signal {
    pub(super) fn new(pump: Arc<Bell>) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), pump }
    }

    /// What to give to [`Signal::wait`]; taken before looking at what may change.
    pub(super) fn generation(&self) -> u64 {
        self.state().generation
    }

    /// Wakes everybody who waits.
    pub(super) fn raise(&self) {
        let has_tasks = {
            let mut state = self.state();
            state.generation += 1;
            !state.tasks.is_empty()
        };
        self.changed.notify_all();
        if has_tasks {
            self.pump.ring();
        }
    }

    /// Waits until the signal is raised after `seen` was taken, at most until `deadline`.
    pub(super) fn wait(&self, seen: u64, deadline: Option<Instant>) {
        let longest = Instant::now() + LONGEST_WAIT;
        let until = deadline.map_or(longest, |deadline| deadline.min(longest));
        let mut state = self.state();
        while state.generation == seen {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Wakes a task at the next raise.
    pub(super) fn register(&self, waker: &Waker) {
        let tasks = &mut self.state().tasks;
        if !tasks.iter().any(|known| known.will_wake(waker)) {
            tasks.push(waker.clone());
        }
    }

    /// Wakes the tasks. Called by the engine's thread, which holds no lock.
    pub(super) fn wake_tasks(&self) {
        let tasks = std::mem::take(&mut self.state().tasks);
        tasks.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Transfers wake a connection's waiters.
impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}

/// Wakes the engine's thread.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<BellState>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct BellState {
    is_rung: bool,
    is_over: bool,
    /// When the thread wakes by itself; `None` while it is awake.
    wakes_at: Option<Instant>,
}

impl Bell {
    /// Wakes the thread now.
    pub(super) fn ring(&self) {
        self.state().is_rung = true;
        self.rung.notify_all();
    }

    /// Sees to it that the thread is awake at `at`.
    pub(super) fn ring_by(&self, at: Instant) {
        let mut state = self.state();
        if state.wakes_at.is_none_or(|wakes_at| at < wakes_at) {
            state.is_rung = true;
            self.rung.notify_all();
        }
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        self.state().is_over = true;
        self.rung.notify_all();
    }

    /// Sleeps until it is rung, or `until`. Returns whether the thread goes on.
    pub(super) fn sleep(&self, until: Instant) -> bool {
        let mut state = self.state();
        state.wakes_at = Some(until);
        while !state.is_rung && !state.is_over {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.rung.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_rung = false;
        state.wakes_at = None;
        !state.is_over
    }

    fn state(&self) -> MutexGuard<'_, BellState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
