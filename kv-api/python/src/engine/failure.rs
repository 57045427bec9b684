//! What an engine hears of its peers' transfers that failed.

use kv_api::{engine::TransferFailure as Failure, planner::Direction};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyList},
};

use crate::{blocks, peer::Peer, waiting::Detached};

/// A peer's transfer, with a cache of this engine, that failed. What was written before it failed stays.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct TransferFailure {
    failure: Detached<Failure>,
}

impl TransferFailure {
    pub(super) const fn new(failure: Failure) -> Self {
        Self { failure: Detached::new(failure) }
    }

    /// There as long as this is.
    fn of<T>(&self, part: impl FnOnce(&Failure) -> T) -> Option<T> {
        self.failure.as_ref().map(part)
    }
}

#[pymethods]
impl TransferFailure {
    /// Who had posted it.
    #[getter]
    fn peer(&self) -> Option<Peer> {
        self.of(|failure| Peer::new(failure.peer.clone()))
    }

    /// Its `id` at the peer.
    #[getter]
    fn transfer(&self) -> Option<u64> {
        self.of(|failure| failure.transfer.0)
    }

    /// "push" when the peer wrote into this engine's cache, "pull" when it read from it.
    #[getter]
    fn direction(&self) -> Option<&'static str> {
        self.of(|failure| if failure.direction == Direction::Push { "push" } else { "pull" })
    }

    /// Name of the cache of this engine.
    #[getter]
    fn cache(&self) -> Option<String> {
        self.of(|failure| failure.cache.clone())
    }

    /// Its blocks that are not proven to have moved, as (layers, blocks) ranges: not valid after a push, not read after
    /// a pull.
    #[getter]
    fn blocks<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        self.of(|failure| blocks::ranges(py, &failure.blocks)).transpose()
    }

    /// Why.
    #[getter]
    fn reason(&self) -> Option<String> {
        self.of(|failure| failure.reason.to_string())
    }

    /// The same in more words.
    #[getter]
    fn detail(&self) -> Option<String> {
        self.of(|failure| failure.detail.clone())
    }

    /// The notification that will not come, if there was to be one.
    #[getter]
    fn notification<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.of(|failure| failure.notification.as_ref().map(|bytes| PyBytes::new(py, bytes)))?
    }

    fn __repr__(&self) -> String {
        self.of(|failure| format!("<TransferFailure of cache {:?}: {}>", failure.cache, failure.reason))
            .unwrap_or_default()
    }
}
