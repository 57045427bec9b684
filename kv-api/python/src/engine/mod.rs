//! `pmd_kv.Engine`: caches, peers and transfers of blocks between them, over [`kv_api::engine`].

mod application;
mod cache;
mod failure;
mod format;
mod metrics;
mod remote;
mod selection;
mod stream;

use std::sync::{Mutex, PoisonError};

use kv_api::engine::{Engine as Handle, EngineError};
use pmd_host::soft::ArenaOptions;
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict},
};

pub(crate) use application::answer;
pub(crate) use cache::Cache;
pub(crate) use failure::TransferFailure;
pub(crate) use format::TokenFormat;
pub(crate) use remote::{Prepared, RemoteCache};
pub(crate) use stream::{LayerArrivals, LayerStream};

use crate::{
    config, error,
    peer::Peer,
    waiting::{self, Detached},
};

/// Default bound of calls that ask a peer, in seconds.
const PATIENCE: f64 = 10.0;

/// An inference process's end of all its cache transfers.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct Engine(Detached<Mutex<Option<Handle>>>);

impl Engine {
    /// The engine, if it is not closed.
    fn handle(&self, py: Python<'_>) -> PyResult<Handle> {
        let held =
            self.0.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).clone());
        held.ok_or_else(|| error::closed(py, "engine"))
    }
}

/// The result of a call that may time out, and times out in slices.
fn arrived<T>(result: Result<T, EngineError>) -> Option<Result<T, EngineError>> {
    match result {
        Err(EngineError::Timeout { .. }) => None,
        other => Some(other),
    }
}

#[pymethods]
impl Engine {
    #[new]
    #[pyo3(signature = (*, on_request=None, **options))]
    fn new(
        py: Python<'_>,
        on_request: Option<Py<PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let config = config::config(py, options)?;
        let application = on_request.map(application::boxed);
        let handle = py.detach(|| Handle::open_with(config, application));
        let handle = handle.map_err(|problem| error::engine(py, problem))?;
        Ok(Self(Detached::new(Mutex::new(Some(handle)))))
    }

    /// "host:port" that peers connect to; None when the engine does not listen.
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.handle(py)?.local_address().map(|address| address.to_string()))
    }

    /// A zeroed cache in memory that peers of this host can map: the fastest kind. A block is `block_bytes` bytes, or
    /// what `format` says.
    #[pyo3(signature = (name, *, layers, blocks, block_bytes=None, tensors_per_layer=2, format=None))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn allocate_cache(
        &self,
        py: Python<'_>,
        name: &str,
        layers: u32,
        blocks: u32,
        block_bytes: Option<u64>,
        tensors_per_layer: u32,
        format: Option<&TokenFormat>,
    ) -> PyResult<Cache> {
        let handle = self.handle(py)?;
        let layout = format::layout(py, (layers, tensors_per_layer, blocks), block_bytes, format)?;
        let cache = py.detach(|| handle.allocate_cache(name, layout, ArenaOptions::default()));
        cache.map(Cache::new).map_err(|problem| error::engine(py, problem))
    }

    /// A cache in the memory of `tensors`: one array for each layer and tensor, layers outermost, all of one size, each
    /// of `blocks` blocks that follow each other; in memory of the host, or of accelerators that the engine was opened
    /// with. They are kept until the cache and its transfers are gone.
    #[pyo3(signature = (name, tensors, *, blocks, tensors_per_layer=2, format=None))]
    fn register_cache(
        &self,
        py: Python<'_>,
        name: &str,
        tensors: Vec<Bound<'_, PyAny>>,
        blocks: u32,
        tensors_per_layer: u32,
        format: Option<&TokenFormat>,
    ) -> PyResult<Cache> {
        let handle = self.handle(py)?;
        Cache::register(py, &handle, name, &tensors, (blocks, tensors_per_layer, format))
    }

    /// Connects to the engine that listens at "host:port".
    fn connect(&self, py: Python<'_>, address: &str) -> PyResult<Peer> {
        let (handle, address) = (self.handle(py)?, config::address(py, address)?);
        let peer = py.detach(|| handle.connect(address));
        peer.map(Peer::new).map_err(|problem| error::engine(py, problem))
    }

    /// The next peer that has connected.
    #[pyo3(signature = (timeout=None))]
    fn accept(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Peer> {
        let handle = self.handle(py)?;
        let peer = waiting::until(py, timeout, |patience| arrived(handle.accept(patience)))?;
        let peer = peer.ok_or_else(|| error::timeout(py, "a peer to connect", timeout))?;
        peer.map(Peer::new).map_err(|problem| error::engine(py, problem))
    }

    /// The next peer that went down, and why.
    #[pyo3(signature = (timeout=None))]
    fn wait_down(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<(Peer, String)> {
        let handle = self.handle(py)?;
        let down = waiting::until(py, timeout, |patience| arrived(handle.wait_down(patience)))?;
        let down = down.ok_or_else(|| error::timeout(py, "a peer to go down", timeout))?;
        let (peer, reason) = down.map_err(|problem| error::engine(py, problem))?;
        Ok((Peer::new(peer), reason.to_string()))
    }

    /// The next notification: who sent it, and what it says.
    #[pyo3(signature = (timeout=None))]
    fn wait_notification<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<f64>,
    ) -> PyResult<(Peer, Bound<'py, PyBytes>)> {
        let handle = self.handle(py)?;
        let found = waiting::until(py, timeout, |patience| arrived(handle.wait_notification(patience)))?;
        let found = found.ok_or_else(|| error::timeout(py, "a notification", timeout))?;
        let found = found.map_err(|problem| error::engine(py, problem))?;
        Ok((Peer::new(found.peer), PyBytes::new(py, &found.bytes)))
    }

    /// The next transfer of a peer that has failed, with a cache of this engine: which of its blocks are not valid.
    #[pyo3(signature = (timeout=None))]
    fn wait_failure(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<TransferFailure> {
        let handle = self.handle(py)?;
        let found = waiting::until(py, timeout, |patience| arrived(handle.wait_failure(patience)))?;
        let found = found.ok_or_else(|| error::timeout(py, "a transfer to fail", timeout))?;
        found.map(TransferFailure::new).map_err(|problem| error::engine(py, problem))
    }

    /// Expects the layers of a stream: of all of `peers`, each of which sends its part of every layer under this tag.
    /// Layers that have landed before are not lost.
    fn expect_layers(
        &self,
        py: Python<'_>,
        tag: u64,
        peers: Vec<PyRef<'_, Peer>>,
    ) -> PyResult<LayerArrivals> {
        let handle = self.handle(py)?;
        let peers: Vec<_> = peers.iter().filter_map(|peer| peer.handle().cloned()).collect();
        let arrivals = py.detach(|| handle.expect_layers(tag, &peers));
        arrivals.map(LayerArrivals::new).map_err(|problem| error::engine(py, problem))
    }

    /// Looks up a peer's cache by name.
    #[pyo3(signature = (peer, name, timeout=PATIENCE))]
    fn remote_cache(&self, py: Python<'_>, peer: &Peer, name: &str, timeout: f64) -> PyResult<RemoteCache> {
        let (handle, patience) = (self.handle(py)?, waiting::duration(timeout)?);
        let peer = peer.handle().ok_or_else(|| error::closed(py, "peer"))?;
        let found = py.detach(|| handle.remote_cache(peer, name, patience));
        found.map(RemoteCache::new).map_err(|problem| error::engine(py, problem))
    }

    /// Asks the `on_request` of a peer.
    #[pyo3(signature = (peer, body, timeout=PATIENCE))]
    fn ask<'py>(
        &self,
        py: Python<'py>,
        peer: &Peer,
        body: Vec<u8>,
        timeout: f64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (handle, patience) = (self.handle(py)?, waiting::duration(timeout)?);
        let peer = peer.handle().ok_or_else(|| error::closed(py, "peer"))?;
        let answer = py.detach(|| handle.ask(peer, body, patience));
        Ok(PyBytes::new(py, &answer.map_err(|problem| error::engine(py, problem))?))
    }

    /// Counts since it was opened, those of each peer that is connected, and what transfers to it cost.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        metrics::dictionary(py, &self.handle(py)?.metrics())
    }

    /// The same in Prometheus' text format.
    fn prometheus(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.handle(py)?.metrics().prometheus())
    }

    /// Says goodbye to all peers and fails what is in flight. Caches and arrays made of them keep their memory.
    fn close(&self, py: Python<'_>) {
        let held =
            self.0.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).take());
        py.detach(|| drop(held));
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, pyo3::types::PyTuple>) {
        self.close(py);
    }
}
