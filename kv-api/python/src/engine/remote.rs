//! A peer's cache, and transfers with it that were planned once.

use kv_api::{
    engine::{EngineError, Estimate, PostOptions, Prepared as Plan, RemoteCache as Handle, StreamOptions},
    planner::Selection,
};
use pmd_host::transfer::Priority;
use pyo3::{exceptions::PyValueError, prelude::*};

use super::{
    Cache, LayerStream,
    selection::{self, Blocks, Both, Tokens},
};
use crate::{
    error,
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

    fn plan(&self, py: Python<'_>, local: &Cache, what: Wanted<'_>, pulls: bool) -> PyResult<Prepared> {
        let planner: Planner = if pulls { Handle::pull } else { Handle::push };
        let prepared = self.select(py, local, what, pulls, planner)?;
        Ok(Prepared(Detached::new(prepared)))
    }

    /// Plans what a call selects.
    fn select<T: Send>(
        &self,
        py: Python<'_>,
        local: &Cache,
        what: Wanted<'_>,
        pulls: bool,
        planner: impl FnOnce(&Handle, &kv_api::engine::Cache, Selection<'_>) -> Result<T, EngineError> + Send,
    ) -> PyResult<T> {
        let (handle, local) = (self.handle(py)?, local.handle(py)?);
        let here = *local.layout();
        let there = handle.descriptor().layout;
        let (source, destination) = if pulls { (there, here) } else { (here, there) };
        let blocks = Blocks::read(what.blocks, what.tokens, (source.blocks(), destination.blocks()))?;
        let layers = selection::layers(what.layers, what.to_layer, here.layers());
        let planned = py.detach(|| planner(handle, &local, Selection { layers, blocks: blocks.map() }));
        planned.map_err(|problem| error::engine(py, problem))
    }
}

/// What a call selects.
struct Wanted<'py> {
    blocks: Both<'py>,
    layers: Option<(u32, u32)>,
    to_layer: Option<u32>,
    tokens: Option<Tokens>,
}

fn urgency(priority: &str) -> PyResult<Priority> {
    match priority {
        "normal" => Ok(Priority::Normal),
        "high" => Ok(Priority::High),
        other => Err(PyValueError::new_err(format!("priority {other:?}: \"normal\" or \"high\""))),
    }
}

/// Seconds, and whether they come from transfers to this peer.
fn seconds(estimate: Estimate) -> (f64, bool) {
    (estimate.duration.as_secs_f64(), estimate.measured)
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
    /// tensor, or all blocks; of layers `layers[0]` up to before `layers[1]`, or all, to as many from `to_layer` on.
    /// Blocks are tables, or two `range` objects, whose length costs nothing. With `tokens` the same tokens move
    /// whatever blocks each side cuts them into: as many from the first of the blocks on, or
    /// (first of the source, first of the destination, how many).
    #[pyo3(signature = (local, blocks=None, *, layers=None, to_layer=None, tokens=None))]
    fn pull(
        &self,
        py: Python<'_>,
        local: &Cache,
        blocks: Both<'_>,
        layers: Option<(u32, u32)>,
        to_layer: Option<u32>,
        tokens: Option<Tokens>,
    ) -> PyResult<Prepared> {
        self.plan(py, local, Wanted { blocks, layers, to_layer, tokens }, true)
    }

    /// Plans moving blocks of `local` into the peer's cache; as pull, the other way.
    #[pyo3(signature = (local, blocks=None, *, layers=None, to_layer=None, tokens=None))]
    fn push(
        &self,
        py: Python<'_>,
        local: &Cache,
        blocks: Both<'_>,
        layers: Option<(u32, u32)>,
        to_layer: Option<u32>,
        tokens: Option<Tokens>,
    ) -> PyResult<Prepared> {
        self.plan(py, local, Wanted { blocks, layers, to_layer, tokens }, false)
    }

    /// Plans pushing blocks of `local` into the peer's cache layer by layer, each when it is released. What moves is as
    /// for push. The peer waits for the layers with `Engine.expect_layers` and the tag; each has to be there `timeout`
    /// seconds from now.
    #[pyo3(signature = (
        local, blocks=None, *, layers=None, to_layer=None, tokens=None, tag=0, timeout=None, priority="normal"
    ))]
    #[expect(clippy::too_many_arguments, reason = "Python names them")]
    fn stream(
        &self,
        py: Python<'_>,
        local: &Cache,
        blocks: Both<'_>,
        layers: Option<(u32, u32)>,
        to_layer: Option<u32>,
        tokens: Option<Tokens>,
        tag: u64,
        timeout: Option<f64>,
        priority: &str,
    ) -> PyResult<LayerStream> {
        let (deadline, priority) = (waiting::deadline(timeout)?, urgency(priority)?);
        let options = StreamOptions { tag, deadline, priority };
        let what = Wanted { blocks, layers, to_layer, tokens };
        let planner =
            |handle: &Handle, local: &_, selection: Selection<'_>| handle.stream(local, selection, options);
        self.select(py, local, what, false, planner).map(LayerStream::new)
    }

    /// How many seconds a transfer of so many bytes and work requests will take, and whether that comes from transfers
    /// to this peer; otherwise it is a guess of the transport's usual figures.
    fn estimate(&self, py: Python<'_>, nbytes: u64, work_requests: u64) -> PyResult<(f64, bool)> {
        Ok(seconds(self.handle(py)?.estimate(nbytes, work_requests)))
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

    /// How many seconds it will take, and whether that comes from transfers to this peer.
    fn estimate(&self, py: Python<'_>) -> PyResult<(f64, bool)> {
        Ok(seconds(self.plan(py)?.estimate()))
    }

    /// Starts it and returns at once. The peer gets `notify` once every byte is in place (push) or read (pull). After
    /// `timeout` seconds it is given up. With the priority "high" it has seven turns of eight among the transfers to
    /// the same peer.
    #[pyo3(signature = (notify=None, *, timeout=None, priority="normal"))]
    fn post(
        &self,
        py: Python<'_>,
        notify: Option<Vec<u8>>,
        timeout: Option<f64>,
        priority: &str,
    ) -> PyResult<Transfer> {
        let (deadline, priority) = (waiting::deadline(timeout)?, urgency(priority)?);
        let (plan, options) = (self.plan(py)?, PostOptions { deadline, priority });
        let posted = py.detach(|| match notify {
            Some(bytes) => plan.clone().notifying(bytes).post_with(options),
            None => plan.post_with(options),
        });
        let posted = posted.map_err(|problem| error::engine(py, problem))?;
        Ok(Transfer::of_blocks(posted))
    }
}
