//! Tells of an outcome: threads by a condition, event loops by their bells. It is the waker of what is in flight.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::Wake,
    time::{Duration, Instant},
};

use crate::bell::Bell;

/// The waker of one thing in flight.
#[derive(Default)]
pub struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    done: bool,
    bells: Vec<(Bell, u64)>,
}

impl Signal {
    /// Says that there is an outcome already, so that nobody will wake.
    pub fn set_done(&self) {
        self.state().done = true;
    }

    /// Waits until it is woken, at most `patience`.
    pub fn wait(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        while !state.done {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Rings `bell` with `token` when there is an outcome; returns false, and never rings, when there is one already,
    /// which `is_done` tells too.
    pub fn ring_when_done(&self, bell: &Bell, token: u64, is_done: impl FnOnce() -> bool) -> bool {
        let mut state = self.state();
        let waits = !state.done && !is_done();
        if waits {
            state.bells.push((bell.clone(), token));
        }
        waits
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        let bells = {
            let mut state = self.state();
            state.done = true;
            std::mem::take(&mut state.bells)
        };
        self.changed.notify_all();
        bells.into_iter().for_each(|(bell, token)| bell.ring(token));
    }
}
