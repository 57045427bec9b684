//! Layers that are waited for, by any number of threads and tasks at once: futures of `kv-api`, which whoever wakes them
//! polls.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use pmd_python::{awaiting, signal::Signal};
use pyo3::prelude::*;

use crate::{
    bell::Bell,
    error,
    waiting::{self, Detached},
};

/// Why there is no number; made an exception once that is asked for.
pub(crate) type Problem = Arc<dyn Fn(Python<'_>) -> PyErr + Send + Sync>;

type Waited = Pin<Box<dyn Future<Output = Result<u64, Problem>> + Send>>;

/// A layer, or all of a stream: `wait()` for it or `await` it. To drop it stops nothing.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct Landing {
    owner: Detached<Owner>,
    what: &'static str,
}

/// Ends the future on the thread that gives it up: what it holds must not be a lane's to drop.
struct Owner(Arc<Core>);

struct Core {
    state: Mutex<State>,
    /// Of threads and event loops.
    signal: Arc<Signal>,
    waker: Waker,
}

#[derive(Default)]
struct State {
    future: Option<Waited>,
    outcome: Option<Result<u64, Problem>>,
}

/// Polls again whenever something has happened.
struct Rouse(Weak<Core>);

impl Wake for Rouse {
    fn wake(self: Arc<Self>) {
        if let Some(core) = self.0.upgrade() {
            core.advance();
        }
    }
}

impl Core {
    fn advance(&self) {
        let mut state = self.state();
        let State { future, outcome } = &mut *state;
        let Some(future) = future.as_mut().filter(|_| outcome.is_none()) else { return };
        if let Poll::Ready(ended) = future.as_mut().poll(&mut Context::from_waker(&self.waker)) {
            *outcome = Some(ended);
            drop(state);
            Arc::clone(&self.signal).wake();
        }
    }

    fn outcome(&self) -> Option<Result<u64, Problem>> {
        self.state().outcome.clone()
    }

    fn wait(&self, patience: Duration) -> Option<Result<u64, Problem>> {
        if self.outcome().is_none() {
            self.signal.wait(patience);
        }
        let outcome = self.outcome()?;
        self.give_up();
        Some(outcome)
    }

    /// Ends the future. Not on a lane.
    fn give_up(&self) {
        let future = self.state().future.take();
        drop(future);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl Landing {
    /// Waits for `what`. The future is woken without a lock that it takes when it is polled.
    pub(crate) fn new(
        what: &'static str,
        future: impl Future<Output = Result<u64, Problem>> + Send + 'static,
    ) -> Self {
        let state = Mutex::new(State { future: Some(Box::pin(future)), outcome: None });
        let core = Arc::new_cyclic(|core| Core {
            state,
            signal: Arc::default(),
            waker: Waker::from(Arc::new(Rouse(Weak::clone(core)))),
        });
        core.advance();
        Self { owner: Detached::new(Owner(core)), what }
    }

    pub(crate) fn wait_for(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        let core = self.core(py)?;
        match waiting::until(py, timeout, |patience| core.wait(patience))? {
            Some(Ok(number)) => Ok(number),
            Some(Err(problem)) => Err(problem(py)),
            None => Err(error::timeout(py, self.what, timeout)),
        }
    }

    fn core(&self, py: Python<'_>) -> PyResult<&Core> {
        Ok(&self.owner.as_ref().ok_or_else(|| error::closed(py, self.what))?.0)
    }
}

#[pymethods]
impl Landing {
    /// Whether there is an outcome.
    fn done(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.core(py)?.outcome().is_some())
    }

    /// Waits for it. At the sending side, the bytes that moved; at the receiving side, the layer. Raises why it never
    /// lands. After WaitTimeout nothing has changed.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        self.wait_for(py, timeout)
    }

    /// Does nothing: who waits for a layer does not stop it. Called when a task that awaits it is cancelled.
    #[expect(clippy::unused_self, reason = "asked of everything that is awaited")]
    const fn request_cancel(&self) {}

    /// As `Transfer._ring_when_done`.
    fn _ring_when_done(&self, py: Python<'_>, bell: &Bell, token: u64) -> PyResult<bool> {
        let core = self.core(py)?;
        Ok(core.signal.ring_when_done(bell, token, || core.outcome().is_some()))
    }

    /// An awaitable's iterator, on the running event loop.
    pub(crate) fn __await__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        awaiting::awaitable(slf.as_any())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<&'static str> {
        Ok(match self.core(py)?.outcome() {
            None => "<Landing, waiting>",
            Some(Ok(_)) => "<Landing, done>",
            Some(Err(_)) => "<Landing, failed>",
        })
    }
}
