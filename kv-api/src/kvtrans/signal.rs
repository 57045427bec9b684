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
    /// What the threads that sleep wait for.
    sleepers: Vec<Interest>,
    /// What tasks wait for, and how they are woken.
    tasks: Vec<(Interest, Waker)>,
    /// Woken by the engine's thread: who raises the signal may hold locks that a task's waker wants.
    due: Vec<Waker>,
}

/// What somebody waits for, or what has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Interest {
    /// A send, by its number.
    Send(u64),
    /// A receive, by its ticket.
    Receive(u64),
    /// Anything: wakes everybody, and is woken by everything.
    Everything,
}

impl Interest {
    fn concerns(self, other: Self) -> bool {
        self == other || self == Self::Everything || other == Self::Everything
    }
}

impl Signal {
    pub(super) fn new(pump: Arc<Bell>) -> Self {
        Self { state: Mutex::default(), changed: Condvar::new(), pump }
    }

    /// What to give to [`Signal::wait`]; taken before looking at what may change.
    pub(super) fn generation(&self) -> u64 {
        self.state().generation
    }

    /// Wakes everybody who waits for what has happened.
    pub(super) fn raise(&self, happened: Interest) {
        let (has_sleepers, has_tasks) = {
            let mut state = self.state();
            let State { generation, sleepers, tasks, due } = &mut *state;
            *generation += 1;
            let concerned = tasks.extract_if(.., |(interest, _)| interest.concerns(happened));
            due.extend(concerned.map(|(_, waker)| waker));
            (sleepers.iter().any(|interest| interest.concerns(happened)), !due.is_empty())
        };
        if has_sleepers {
            self.changed.notify_all();
        }
        if has_tasks {
            self.pump.ring();
        }
    }

    /// Raises the signal when it is woken.
    pub(super) fn waker(self: &Arc<Self>, happened: Interest) -> Waker {
        Waker::from(Arc::new(Alarm { signal: Arc::clone(self), happened }))
    }

    /// Waits until something of interest has happened after `seen` was taken, at most until `deadline`. Other things may
    /// end it as well.
    pub(super) fn wait(&self, seen: u64, interest: Interest, deadline: Option<Instant>) {
        let longest = Instant::now() + LONGEST_WAIT;
        let until = deadline.map_or(longest, |deadline| deadline.min(longest));
        let mut state = self.state();
        state.sleepers.push(interest);
        while state.generation == seen {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if let Some(place) = state.sleepers.iter().position(|sleeper| *sleeper == interest) {
            state.sleepers.swap_remove(place);
        }
    }

    /// Wakes a task when something of interest has happened. One task at a time waits for each send and receive.
    pub(super) fn register(&self, interest: Interest, waker: &Waker) {
        let tasks = &mut self.state().tasks;
        match tasks.iter_mut().find(|(known, _)| *known == interest) {
            Some((_, known)) => known.clone_from(waker),
            None => tasks.push((interest, waker.clone())),
        }
    }

    /// Wakes the tasks. Called by the engine's thread, which holds no lock.
    pub(super) fn wake_tasks(&self) {
        let due = std::mem::take(&mut self.state().due);
        due.into_iter().for_each(Waker::wake);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a transfer wakes those who wait for its send.
#[derive(Debug)]
struct Alarm {
    signal: Arc<Signal>,
    happened: Interest,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.signal.raise(self.happened);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.signal.raise(self.happened);
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
