//! A transfer in flight, for any number of threads and tasks at once.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use pmd_core::sync::spin_hint;
use pmd_host::transfer::{Outcome, Transfer as Handle, TransferError};
use pmd_python::{awaiting, signal::Signal};
use pyo3::prelude::*;

use crate::{bell::Bell, error, waiting};

/// Looks at the outcome this often before a waiting thread sleeps: about what going to sleep and being woken costs.
const SPINS: u32 = 200;

/// A transfer in flight: `wait()` for it, `await` it, or `cancel()` it. To drop it does not stop it; its memory is kept
/// until it is quiet either way.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct Transfer {
    handle: Handle,
    signal: Arc<Signal>,
}

impl Transfer {
    pub(crate) fn new(mut handle: Handle) -> Self {
        let signal = Arc::new(Signal::default());
        let waker = Waker::from(Arc::clone(&signal));
        // Leaves the waker with the lane; where the outcome is there already, nobody wakes.
        if Pin::new(&mut handle).poll(&mut Context::from_waker(&waker)).is_ready() {
            signal.set_done();
        }
        Self { handle, signal }
    }

    fn outcome(&self, patience: Duration) -> Option<Result<Outcome, TransferError>> {
        for _ in 0..SPINS {
            if let Some(outcome) = self.handle.poll() {
                return Some(outcome);
            }
            spin_hint();
        }
        self.signal.wait(patience);
        self.handle.poll()
    }
}

#[pymethods]
impl Transfer {
    /// Whether it has an outcome; it is quiet then.
    fn done(&self) -> bool {
        self.handle.is_done()
    }

    /// Bytes moved, or None while it goes on. Raises what it failed with.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        match self.handle.poll() {
            None => Ok(None),
            Some(Ok(outcome)) => Ok(Some(outcome.bytes)),
            Some(Err(problem)) => Err(error::transfer(py, problem)),
        }
    }

    /// Waits for the outcome and returns the bytes moved. After WaitTimeout the transfer goes on.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        match waiting::until(py, timeout, |patience| self.outcome(patience))? {
            Some(Ok(outcome)) => Ok(outcome.bytes),
            Some(Err(problem)) => Err(error::transfer(py, problem)),
            None => Err(error::timeout(py, "a transfer", timeout)),
        }
    }

    /// Asks for the transfer to be stopped, and returns at once.
    fn request_cancel(&self) {
        self.handle.request_cancel();
    }

    /// Stops the transfer and waits until it is quiet: nothing writes its memory on its behalf any more. Returns
    /// "cancelled", "completed" (it was done before) or "failed".
    fn cancel(&self, py: Python<'_>) -> PyResult<&'static str> {
        self.handle.request_cancel();
        let outcome = waiting::until(py, None, |patience| self.outcome(patience))?;
        Ok(match outcome {
            Some(Ok(_)) => "completed",
            Some(Err(TransferError::Cancelled)) | None => "cancelled",
            Some(Err(_)) => "failed",
        })
    }

    /// Rings `bell` with `token` when there is an outcome; returns False, and never rings, when there is one already.
    fn _ring_when_done(&self, bell: &Bell, token: u64) -> bool {
        self.signal.ring_when_done(bell, token, || self.handle.is_done())
    }

    /// An awaitable's iterator, on the running event loop.
    fn __await__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        awaiting::awaitable(slf.as_any())
    }

    fn __repr__(&self) -> &'static str {
        match self.handle.poll() {
            None => "<Transfer in flight>",
            Some(Ok(_)) => "<Transfer done>",
            Some(Err(_)) => "<Transfer failed>",
        }
    }
}
