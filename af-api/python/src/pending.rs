//! A push-pull in flight, for any number of threads and tasks at once.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    thread,
    time::Instant,
};

use af_api::worker::{CancelOutcome, Failure, Handle, Results, WaitError, wait_any as wait_any_of};
use pmd_python::{
    awaiting,
    bell::Bell,
    signal::Signal,
    waiting::{self, Detached},
};
use pyo3::prelude::*;

use crate::error;

/// A push-pull in flight: `wait()` for it, `await` it, or `cancel()` it. To drop it does not stop it.
#[pyclass(frozen, module = "pmd_af")]
pub(crate) struct Pending(Detached<Handle>);

impl Pending {
    pub(crate) const fn new(handle: Handle) -> Self {
        Self(Detached::new(handle))
    }

    /// Its number at its worker.
    pub(crate) fn number(&self, py: Python<'_>) -> PyResult<u64> {
        self.handle(py).map(Handle::number)
    }

    fn handle(&self, py: Python<'_>) -> PyResult<&Handle> {
        self.0.as_ref().ok_or_else(|| error::closed(py, "push-pull"))
    }
}

#[pymethods]
impl Pending {
    /// Whether it has ended; it is quiet then.
    fn done(&self) -> bool {
        self.0.as_ref().is_none_or(Handle::is_done)
    }

    /// Bytes that came for each pull, or None while it goes on. Raises what it failed with.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<Vec<u32>>> {
        self.handle(py)?.poll().map(|result| lengths(py, result)).transpose()
    }

    /// Waits for its end and returns the bytes that came for each pull. After WaitTimeout it goes on, and data may still
    /// arrive: cancel it to be sure that none does.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Vec<u32>> {
        let handle = self.handle(py)?;
        let ended = waiting::until(py, timeout, |patience| {
            match handle.wait(Instant::now().checked_add(patience)) {
                Ok(results) => Some(Ok(results)),
                Err(WaitError::Failed(failure)) => Some(Err(failure)),
                Err(WaitError::Timeout) => None,
            }
        })?;
        match ended {
            Some(result) => lengths(py, result),
            None => Err(error::timeout(py, "a push-pull", timeout)),
        }
    }

    /// What became of each server's part: its rank, and None while it goes on, else "done" or why it failed.
    fn parts(&self, py: Python<'_>) -> PyResult<Vec<(u32, Option<String>)>> {
        let said = |end: Result<(), _>| match end {
            Ok(()) => "done".to_owned(),
            Err(cause) => format!("{cause}"),
        };
        let parts = self.handle(py)?.parts().into_iter();
        Ok(parts
            .map(|(server, end): (u32, Option<Result<(), af_api::worker::FailureCause>>)| {
                (server, end.map(said))
            })
            .collect())
    }

    /// Stops it at every server and waits until it is quiet: nothing reads or writes its tensors any more. Returns
    /// "cancelled", "completed" (it was done before) or "failed".
    fn cancel(&self, py: Python<'_>) -> PyResult<&'static str> {
        let handle = self.handle(py)?;
        Ok(match py.detach(|| handle.cancel()) {
            CancelOutcome::Cancelled => "cancelled",
            CancelOutcome::Completed(_) => "completed",
            CancelOutcome::Failed(_) => "failed",
        })
    }

    /// Asks for it to be stopped, and returns at once.
    fn request_cancel(&self, py: Python<'_>) -> PyResult<()> {
        let handle = self.handle(py)?.clone();
        // A server has to say that it is quiet, which takes a while.
        let asking = thread::Builder::new().name("af-cancel".into()).spawn(move || drop(handle.cancel()));
        asking.map(drop).map_err(PyErr::from)
    }

    /// Rings `bell` with `token` when it has ended; returns False when it has already.
    fn _ring_when_done(&self, py: Python<'_>, bell: &Bell, token: u64) -> PyResult<bool> {
        let mut handle = self.handle(py)?.clone();
        let signal = Arc::new(Signal::default());
        signal.ring_when_done(bell, token, || false);
        let waker = Waker::from(signal);
        Ok(Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_pending())
    }

    /// An awaitable's iterator, on the running event loop.
    fn __await__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        awaiting::awaitable(slf.as_any())
    }

    fn __repr__(&self) -> &'static str {
        match self.0.as_ref().and_then(Handle::poll) {
            None => "<Pending in flight>",
            Some(Ok(_)) => "<Pending done>",
            Some(Err(_)) => "<Pending failed>",
        }
    }
}

/// Waits for the first of several push-pulls to end; its index.
///
/// # Errors
/// `WaitTimeout`; `ValueError` where there are none.
#[pyfunction]
#[pyo3(signature = (pending, timeout=None))]
pub(crate) fn wait_any(
    py: Python<'_>,
    pending: Vec<Bound<'_, Pending>>,
    timeout: Option<f64>,
) -> PyResult<usize> {
    if pending.is_empty() {
        return Err(pyo3::exceptions::PyValueError::new_err("nothing to wait for"));
    }
    let handles: Vec<Handle> =
        pending.iter().map(|pending| pending.get().handle(py).cloned()).collect::<PyResult<_>>()?;
    let first =
        waiting::until(py, timeout, |patience| wait_any_of(&handles, Instant::now().checked_add(patience)))?;
    first.ok_or_else(|| error::timeout(py, "any push-pull", timeout))
}

fn lengths(py: Python<'_>, result: Result<Results, Failure>) -> PyResult<Vec<u32>> {
    result.map(|results| results.lengths).map_err(|failure| error::failure(py, &failure))
}
