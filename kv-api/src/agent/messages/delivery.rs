//! What became of a message: the sender's handle.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use super::MessageError;

/// A message under way. Dropping it changes nothing about the message.
///
/// Has an outcome once the peer's handler has returned, or when the message failed.
#[derive(Clone, Debug)]
#[must_use = "dropping the handle leaves nobody to learn whether the message arrived"]
pub struct Delivery(pub(super) Arc<Cell>);

/// The messenger's end.
#[derive(Debug, Default)]
pub(super) struct Cell {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    outcome: Option<Result<(), MessageError>>,
    waker: Option<Waker>,
}

impl Delivery {
    /// The outcome, once there is one. Never waits.
    ///
    /// # Errors
    /// Inside the option: why the message failed.
    #[must_use]
    pub fn poll(&self) -> Option<Result<(), MessageError>> {
        self.0.state().outcome.clone()
    }

    /// Waits for the outcome until `deadline`; `None` when there is none by then and the message goes on.
    #[must_use]
    pub fn wait(&self, deadline: Instant) -> Option<Result<(), MessageError>> {
        let mut state = self.0.state();
        loop {
            if state.outcome.is_some() {
                return state.outcome.clone();
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            state = self.0.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Future for Delivery {
    type Output = Result<(), MessageError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.state();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Cell {
    /// Leaves the outcome; the first one counts.
    pub(super) fn complete(&self, outcome: Result<(), MessageError>) {
        let mut state = self.state();
        if state.outcome.is_some() {
            return;
        }
        state.outcome = Some(outcome);
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
