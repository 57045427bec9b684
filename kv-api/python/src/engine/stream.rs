//! Layers that move one by one while Python computes them: the sending side and the receiving one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kv_api::engine::{LayerArrivals as Arrivals, LayerStream as Stream, LayerSynchronizer, StreamError};
use pmd_python::awaiting;
use pyo3::{prelude::*, types::PyTuple};

use crate::{
    error,
    landing::{Landing, Problem},
    waiting::Detached,
};

/// A stream of layers into a peer's cache, at the sending side. As a context manager it ends the stream; where the block
/// raises it cancels what is in flight, too.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct LayerStream {
    handle: Detached<Mutex<Option<Stream>>>,
    raised: Arc<Raised>,
}

/// What the function that computes layers raised.
#[derive(Default)]
struct Raised(Mutex<Option<PyErr>>);

/// A Python function that returns once a layer is computed, called on the stream's thread.
struct Synchronizer {
    function: Py<PyAny>,
    raised: Arc<Raised>,
}

impl LayerSynchronizer for Synchronizer {
    fn synchronize_layer(&mut self, layer: u32) -> bool {
        let computed = Python::try_attach(|py| {
            let call = self.function.bind(py).call1((layer,));
            call.and_then(|answer| Ok(answer.is_none() || answer.is_truthy()?))
        });
        match computed {
            Some(Ok(computed)) => computed,
            Some(Err(error)) => {
                *self.raised.lock() = Some(error);
                false
            }
            // The interpreter is shutting down.
            None => false,
        }
    }
}

impl Raised {
    fn lock(&self) -> MutexGuard<'_, Option<PyErr>> {
        lock(&self.0)
    }

    /// An error of the stream, with what was raised as its cause if that ended it.
    fn explain(&self, py: Python<'_>, error: &StreamError) -> PyErr {
        let told = error::stream(py, error);
        let raised = self.lock();
        if let (Some(raised), StreamError::Ended { .. }) = (raised.as_ref(), error) {
            told.set_cause(py, Some(raised.clone_ref(py)));
        }
        told
    }

    fn problem(self: &Arc<Self>, error: StreamError) -> Problem {
        let raised = Arc::clone(self);
        Arc::new(move |py| raised.explain(py, &error))
    }
}

impl LayerStream {
    pub(super) fn new(stream: Stream) -> Self {
        Self { handle: Detached::new(Mutex::new(Some(stream))), raised: Arc::default() }
    }

    fn stream(&self, py: Python<'_>) -> PyResult<Stream> {
        let held = self.handle.as_ref().and_then(|held| lock(held).clone());
        held.ok_or_else(|| error::closed(py, "stream"))
    }

    fn all(&self, py: Python<'_>) -> PyResult<Landing> {
        let (stream, raised) = (self.stream(py)?, Arc::clone(&self.raised));
        Ok(Landing::new("a stream", async move {
            let mut bytes = 0;
            for layer in stream.layers() {
                bytes += stream.sent(layer).await.map_err(|error| raised.problem(error))?.bytes;
            }
            Ok(bytes)
        }))
    }

    fn finish(&self, py: Python<'_>, finish: fn(&Stream)) {
        let held = self.handle.as_ref().and_then(|held| lock(held).take());
        py.detach(|| held.as_ref().map_or((), finish));
        py.detach(|| drop(held));
    }
}

#[pymethods]
impl LayerStream {
    /// Layers of the stream, by their numbers on this side: the first, and one past the last.
    #[getter]
    fn layers(&self, py: Python<'_>) -> PyResult<(u32, u32)> {
        let layers = self.stream(py)?.layers();
        Ok((layers.start, layers.end))
    }

    /// Sends a layer: its bytes are computed. In any order, from any thread, once for each. Does not wait.
    fn release(&self, py: Python<'_>, layer: u32) -> PyResult<()> {
        let stream = self.stream(py)?;
        py.detach(|| stream.release(layer)).map_err(|problem| match problem {
            StreamError::Post { source, .. } => error::engine(py, source),
            problem => error::stream(py, &problem),
        })
    }

    /// Has a thread call `computed(layer)` for each layer in turn, and releases the layer when that returns. False, or
    /// an exception, which is the cause of what `wait` raises then, ends the stream. Returns at once.
    fn drive(&self, py: Python<'_>, computed: Py<PyAny>) -> PyResult<()> {
        let synchronizer = Synchronizer { function: computed, raised: Arc::clone(&self.raised) };
        let stream = self.stream(py)?;
        py.detach(|| stream.drive(synchronizer)).map_err(|problem| error::stream(py, &problem))
    }

    /// A layer to wait for, or to await, until it has landed and its receiver was told.
    fn sent(&self, py: Python<'_>, layer: u32) -> PyResult<Landing> {
        let (stream, raised) = (self.stream(py)?, Arc::clone(&self.raised));
        Ok(Landing::new("a layer", async move {
            let sent = stream.sent(layer).await.map_err(|error| raised.problem(error))?;
            Ok(sent.bytes)
        }))
    }

    /// Waits until every layer has landed, and returns the bytes moved.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<u64> {
        self.all(py)?.wait_for(py, timeout)
    }

    /// Sends no layer any more, stops those in flight, and tells the receiver which will not come. When this returns
    /// nothing writes the receiver's memory on the stream's behalf.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        let stream = self.stream(py)?;
        py.detach(|| stream.cancel());
        Ok(())
    }

    /// Ends the stream: the receiver is told of layers that were not released. What is in flight goes on.
    fn close(&self, py: Python<'_>) {
        self.finish(py, Stream::end);
    }

    /// As `wait`, awaited. To cancel the task stops nothing: `cancel` does.
    fn __await__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        awaiting::awaitable(Bound::new(py, self.all(py)?)?.as_any())
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*exception))]
    fn __exit__(&self, py: Python<'_>, exception: &Bound<'_, PyTuple>) {
        let raised = exception.get_item(0).is_ok_and(|kind| !kind.is_none());
        self.finish(py, if raised { Stream::cancel } else { Stream::end });
    }
}

/// The layers of a stream, at the receiving side.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct LayerArrivals {
    tag: u64,
    handle: Detached<Mutex<Option<Arc<Arrivals>>>>,
}

impl LayerArrivals {
    pub(super) fn new(arrivals: Arrivals) -> Self {
        Self { tag: arrivals.tag(), handle: Detached::new(Mutex::new(Some(Arc::new(arrivals)))) }
    }

    fn arrivals(&self, py: Python<'_>) -> PyResult<Arc<Arrivals>> {
        let held = self.handle.as_ref().and_then(|held| lock(held).clone());
        held.ok_or_else(|| error::closed(py, "expectation of layers"))
    }
}

#[pymethods]
impl LayerArrivals {
    /// The stream's tag.
    #[getter]
    const fn tag(&self) -> u64 {
        self.tag
    }

    /// Whether every sender's part of a layer has landed.
    fn is_landed(&self, py: Python<'_>, layer: u32) -> PyResult<bool> {
        Ok(self.arrivals(py)?.is_landed(layer))
    }

    /// A layer, by its number on this side, to wait for or to await, until every sender's part of it has landed.
    fn landing(&self, py: Python<'_>, layer: u32) -> PyResult<Landing> {
        let arrivals = self.arrivals(py)?;
        Ok(Landing::new("a layer", async move {
            match arrivals.landing(layer).await {
                Ok(()) => Ok(u64::from(layer)),
                Err(error) => Err(Arc::new(move |py: Python<'_>| error::layer(py, &error)) as Problem),
            }
        }))
    }

    /// Waits until a layer has landed. Raises LayerLost, with the blocks that are not valid, or PeerDown.
    #[pyo3(signature = (layer, timeout=None))]
    fn wait(&self, py: Python<'_>, layer: u32, timeout: Option<f64>) -> PyResult<()> {
        self.landing(py, layer)?.wait_for(py, timeout).map(drop)
    }

    /// Expects no layers any more: the tag is free once nobody waits for one.
    fn close(&self, py: Python<'_>) {
        let held = self.handle.as_ref().and_then(|held| lock(held).take());
        py.detach(|| drop(held));
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
