//! A peer's cache, and transfers with it that were planned once.

use kv_api::{
    engine::{EngineError, Prepared as Plan, RemoteCache as Handle},
    planner::{BlockMap, Selection},
};
use pyo3::prelude::*;

use super::Cache;
use crate::{
    error, indices,
    peer::Peer,
    transfer::Transfer,
    waiting::{self, Detached},
};

/// A cache of a peer, as it was when it was looked up.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct RemoteCache(Detached<Handle>);

/// Which way the bytes go.
type Planner = fn(&Handle, &kv_api::engine::Cache, Selection<'_>) -> Result<Plan, EngineError>;

impl RemoteCache {
    pub(super) const fn new(handle: Handle) -> Self {
        Self(Detached::new(handle))
    }

    fn handle(&self, py: Python<'_>) -> PyResult<&Handle> {
        self.0.as_ref().ok_or_else(|| error::closed(py, "cache"))
    }

    fn plan(
        &self,
        py: Python<'_>,
        local: &Cache,
        blocks: Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        layers: Option<(u32, u32)>,
        planner: Planner,
    ) -> PyResult<Prepared> {
        let (handle, local) = (self.handle(py)?, local.handle(py)?);
        let table = blocks
            .map(|(source, destination)| Ok::<_, PyErr>((indices::of(&source)?, indices::of(&destination)?)));
        let table = table.transpose()?;
        let layers = layers.map_or(0..local.layout().layers(), |(first, end)| first..end);
        let prepared = py.detach(|| {
            let blocks = table
                .as_ref()
                .map_or(BlockMap::Identity, |(source, destination)| BlockMap::Table { source, destination });
            planner(handle, &local, Selection { layers: layers.into(), blocks })
        });
        let prepared = prepared.map_err(|problem| error::engine(py, problem))?;
        Ok(Prepared(Detached::new(prepared)))
    }
}

#[pymethods]
impl RemoteCache {
    /// Whose cache it is.
    #[getter]
    fn peer(&self, py: Python<'_>) -> PyResult<Peer> {
        Ok(Peer::new(self.handle(py)?.peer().clone()))
    }

    /// Its name at the peer.
    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.handle(py)?.descriptor().name.clone())
    }

    /// Transformer layers.
    #[getter]
    fn layers(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.handle(py)?.descriptor().layout.layers())
    }

    /// Tensors of a layer.
    #[getter]
    fn tensors_per_layer(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.handle(py)?.descriptor().layout.tensors_per_layer())
    }

    /// Blocks of a tensor.
    #[getter]
    fn blocks(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.handle(py)?.descriptor().layout.blocks())
    }

    /// Bytes of a block.
    #[getter]
    fn block_bytes(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle(py)?.descriptor().layout.block_bytes())
    }

    /// Plans moving blocks of the peer's cache into `local`: block `source[i]` to block `destination[i]` of every
    /// tensor, or all blocks; of layers `layers[0]` up to before `layers[1]`, or all.
    #[pyo3(signature = (local, blocks=None, *, layers=None))]
    fn pull(
        &self,
        py: Python<'_>,
        local: &Cache,
        blocks: Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        layers: Option<(u32, u32)>,
    ) -> PyResult<Prepared> {
        self.plan(py, local, blocks, layers, |remote, local, selection| remote.pull(local, selection))
    }

    /// Plans moving blocks of `local` into the peer's cache; as pull, the other way.
    #[pyo3(signature = (local, blocks=None, *, layers=None))]
    fn push(
        &self,
        py: Python<'_>,
        local: &Cache,
        blocks: Option<(Bound<'_, PyAny>, Bound<'_, PyAny>)>,
        layers: Option<(u32, u32)>,
    ) -> PyResult<Prepared> {
        self.plan(py, local, blocks, layers, |remote, local, selection| remote.push(local, selection))
    }
}

/// A planned transfer. Each posting is a transfer of its own.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct Prepared(Detached<Plan>);

impl Prepared {
    fn plan(&self, py: Python<'_>) -> PyResult<&Plan> {
        self.0.as_ref().ok_or_else(|| error::closed(py, "transfer"))
    }
}

#[pymethods]
impl Prepared {
    /// Blocks that it moves, each tensor's counted.
    #[getter]
    fn blocks(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.plan(py)?.blocks())
    }

    /// Bytes that it moves.
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.plan(py)?.bytes())
    }

    /// Work requests that the blocks were merged into.
    #[getter]
    fn work_requests(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.plan(py)?.work_requests())
    }

    /// Starts it and returns at once. The peer gets `notify` once every byte is in place (push) or read (pull). After
    /// `timeout` seconds it is given up.
    #[pyo3(signature = (notify=None, *, timeout=None))]
    fn post(&self, py: Python<'_>, notify: Option<Vec<u8>>, timeout: Option<f64>) -> PyResult<Transfer> {
        let (plan, deadline) = (self.plan(py)?, waiting::deadline(timeout)?);
        let posted = py.detach(|| match notify {
            Some(bytes) => plan.clone().notifying(bytes).post(deadline),
            None => plan.post(deadline),
        });
        posted.map(Transfer::new).map_err(|problem| error::engine(py, problem))
    }
}
