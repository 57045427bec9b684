//! A transfer in flight, for any number of threads and tasks at once.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Waker},
    time::Duration,
};

use kv_api::{engine::CacheTransfer, planner::BlockSet};
use pmd_core::sync::spin_hint;
use pmd_host::transfer::{Outcome, Transfer as Plain, TransferError};
use pmd_python::{awaiting, signal::Signal};
use pyo3::{prelude::*, types::PyList};

use crate::{bell::Bell, blocks, error, waiting};

/// Looks at the outcome this often before a waiting thread sleeps: about what going to sleep and being woken costs.
const SPINS: u32 = 200;

/// A transfer in flight: `wait()` for it, `await` it, or `cancel()` it. To drop it does not stop it; its memory is kept
/// until it is quiet either way.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct Transfer {
    handle: Handle,
    signal: Arc<Signal>,
}

/// What moves: memory by address, or blocks of caches.
enum Handle {
    Memory(Plain),
    Blocks(CacheTransfer),
}

impl Handle {
    fn poll(&self) -> Option<Result<Outcome, TransferError>> {
        match self {
            Self::Memory(transfer) => transfer.poll(),
            Self::Blocks(transfer) => transfer.poll(),
        }
    }

    fn request_cancel(&self) {
        match self {
            Self::Memory(transfer) => transfer.request_cancel(),
            Self::Blocks(transfer) => transfer.request_cancel(),
        }
    }

    /// Blocks of this process's cache that are not proven to have moved; `None` where there are no blocks.
    fn unproven(&self) -> Option<BlockSet> {
        match self {
            Self::Memory(_) => None,
            Self::Blocks(transfer) => Some(transfer.unproven()),
        }
    }
}

impl Transfer {
    pub(crate) fn of_memory(mut transfer: Plain) -> Self {
        let signal = signal(&mut transfer);
        Self { handle: Handle::Memory(transfer), signal }
    }

    pub(crate) fn of_blocks(mut transfer: CacheTransfer) -> Self {
        let signal = signal(&mut transfer);
        Self { handle: Handle::Blocks(transfer), signal }
    }

    fn failed(&self, py: Python<'_>, problem: TransferError) -> PyErr {
        let blocks = py.detach(|| self.handle.unproven());
        error::transfer(py, problem, blocks.as_ref())
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

/// What the lane wakes.
fn signal(transfer: &mut (impl Future + Unpin)) -> Arc<Signal> {
    let signal = Arc::new(Signal::default());
    let waker = Waker::from(Arc::clone(&signal));
    // Leaves the waker with the lane; where the outcome is there already, nobody wakes.
    if Pin::new(transfer).poll(&mut Context::from_waker(&waker)).is_ready() {
        signal.set_done();
    }
    signal
}

#[pymethods]
impl Transfer {
    /// Its number in its engine, by which the peer hears of a failure; None for memory of a fabric.
    #[getter]
    fn id(&self) -> Option<u64> {
        match &self.handle {
            Handle::Memory(_) => None,
            Handle::Blocks(transfer) => Some(transfer.id().0),
        }
    }

    /// Blocks of the local cache that are not proven to have moved, as (layers, blocks) ranges: none after a success,
    /// all while it goes on, and after a failure those that are not valid (pull) or may not have left (push). None for
    /// memory of a fabric.
    fn unproven<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let found = py.detach(|| self.handle.unproven());
        found.map(|found| blocks::ranges(py, &found)).transpose()
    }

    /// Whether it has an outcome; it is quiet then.
    fn done(&self) -> bool {
        self.handle.poll().is_some()
    }

    /// Bytes moved, or None while it goes on. Raises what it failed with.
    fn poll(&self, py: Python<'_>) -> PyResult<Option<u64>> {
        match self.handle.poll() {
            None => Ok(None),
            Some(Ok(outcome)) => Ok(Some(outcome.bytes)),
            Some(Err(problem)) => Err(self.failed(py, problem)),
        }
    }

    /// Waits for the outcome and returns the bytes moved. After WaitTimeout the transfer goes on.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        match waiting::until(py, timeout, |patience| self.outcome(patience))? {
            Some(Ok(outcome)) => Ok(outcome.bytes),
            Some(Err(problem)) => Err(self.failed(py, problem)),
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
        self.signal.ring_when_done(bell, token, || self.handle.poll().is_some())
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
