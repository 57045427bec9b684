//! The FFN side: takes requests of workers batch by batch, and responds.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, Waker},
    time::Instant,
};

use af_api::{
    config::Config,
    graph::Answering,
    rendezvous::Role,
    server::{
        BatchError, Gather, OfferError, Request as RequestHandle, Response as ResponseHandle,
        ResponseWaitError, Server as Handle, ServerConfig,
    },
    wire::NodeIdentity,
    worker::MESSAGE_BYTES,
};
use pmd_python::{
    awaiting,
    bell::Bell,
    element::Element,
    signal::Signal,
    waiting::{self, Detached},
};
use pyo3::{
    exceptions::PyValueError,
    prelude::*,
    types::{PyDict, PyTuple},
};

use crate::{
    capture::Service,
    config::{self, Limits},
    device::Devices,
    error,
    event::Event,
    node::Node,
    registry::{Registry, Use},
    request::Request,
    tensor::{self, Tensor},
    traces, worker,
};

/// A worker's rank, keys and arrays of its pushes, and what its pulls are answered with.
type Captured<'py> = (u32, Vec<(u64, Bound<'py, PyAny>)>, Vec<Bound<'py, PyAny>>);

/// Takes requests of workers batch by batch.
#[pyclass(frozen, module = "pmd_af")]
pub(crate) struct Server {
    open: Detached<Mutex<Option<Open>>>,
    node: Py<Node>,
}

#[derive(Clone)]
struct Open {
    handle: Handle,
    registry: Arc<Registry>,
}

impl Open {
    /// Requests as Python objects.
    fn wrap<'py>(&self, py: Python<'py>, batch: Vec<RequestHandle>) -> PyResult<Vec<Bound<'py, Request>>> {
        let wrap = |request| Bound::new(py, Request::new(py, request, &self.registry)?);
        batch.into_iter().map(wrap).collect()
    }
}

impl Server {
    fn open(&self, py: Python<'_>) -> PyResult<Open> {
        let held =
            self.open.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).clone());
        held.ok_or_else(|| error::closed(py, "server"))
    }

    /// The driver's server, for what stands on it.
    pub(crate) fn driver(&self, py: Python<'_>) -> PyResult<Handle> {
        Ok(self.open(py)?.handle)
    }
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (**options))]
    fn new(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let (config, limits) = config::config(py, Some("server"), options)?;
        let made = server_config(&config, &limits);
        let handle = py.detach(|| Handle::open(made));
        let handle = handle.map_err(|problem| error::plain(py, "EndpointError", &problem))?;
        let config = config.with_endpoint(handle.endpoint());
        let node = Node::start(py, config.clone())?;
        handle.set_identity(worker::identity(&node, py, &config)?);
        let devices = Devices::new(config.endpoint.soft.accelerators.iter().cloned().collect());
        let registry = Arc::new(Registry::new(handle.endpoint().clone(), devices));
        let open = Detached::new(Mutex::new(Some(Open { handle, registry })));
        Ok(Self { open, node: Py::new(py, node)? })
    }

    /// Its place in the cluster.
    #[getter]
    fn node(&self, py: Python<'_>) -> Py<Node> {
        self.node.clone_ref(py)
    }

    /// Where it listens for workers.
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<Option<String>> {
        Ok(self.open(py)?.handle.local_address().map(|address| address.to_string()))
    }

    /// Ranks of the workers that are connected.
    fn workers(&self, py: Python<'_>) -> PyResult<Vec<u32>> {
        Ok(self.open(py)?.handle.workers().iter().map(|worker| worker.rank).collect())
    }

    /// Waits for a batch: one request of "all" workers, "any" request, or those of so many workers. In the order of ranks.
    #[pyo3(signature = (gather=None, timeout=None), text_signature = "(self, gather='all', timeout=None)")]
    fn get_batch<'py>(
        &self,
        py: Python<'py>,
        gather: Option<&Bound<'py, PyAny>>,
        timeout: Option<f64>,
    ) -> PyResult<Vec<Bound<'py, Request>>> {
        let (open, gather) = (self.open(py)?, gather_of(gather)?);
        let found = waiting::until(py, timeout, |patience| {
            match open.handle.batch(gather, Instant::now().checked_add(patience)) {
                Err(BatchError::Timeout { .. }) => None,
                ended => Some(ended),
            }
        })?;
        match found {
            Some(Ok(batch)) => open.wrap(py, batch),
            Some(Err(problem)) => Err(error::batch(py, &problem)),
            None => Err(error::timeout(py, "a batch", timeout)),
        }
    }

    /// Waits for a request of every worker, and takes what there is when the time is over: it may be nothing.
    fn get_batch_within<'py>(&self, py: Python<'py>, timeout: f64) -> PyResult<Vec<Bound<'py, Request>>> {
        let open = self.open(py)?;
        let deadline = waiting::deadline(Some(timeout))?.unwrap_or_else(Instant::now);
        let batch = py.detach(|| open.handle.batch_until(deadline));
        open.wrap(py, batch.map_err(|problem| error::batch(py, &problem))?)
    }

    /// A batch if there is one now, else None.
    #[pyo3(signature = (gather=None), text_signature = "(self, gather='all')")]
    fn try_batch<'py>(
        &self,
        py: Python<'py>,
        gather: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Vec<Bound<'py, Request>>>> {
        let (open, gather) = (self.open(py)?, gather_of(gather)?);
        let found = open.handle.try_batch(gather).map_err(|problem| error::batch(py, &problem))?;
        found.map(|batch| open.wrap(py, batch)).transpose()
    }

    /// A batch to be awaited, by one task at a time.
    #[pyo3(signature = (gather=None), text_signature = "(self, gather='all')")]
    fn next_batch(&self, py: Python<'_>, gather: Option<&Bound<'_, PyAny>>) -> PyResult<Gathering> {
        let found = Mutex::new(None);
        Ok(Gathering(Detached::new(Waiting { open: self.open(py)?, gather: gather_of(gather)?, found })))
    }

    /// Answers a request as `Request.respond` does, once an event is done; returns at once. If the event fails, or this
    /// server closes before, the request is refused. Leave the arrays alone until the worker has its answer.
    #[pyo3(signature = (event, request, tensors=None))]
    fn respond_after(
        &self,
        py: Python<'_>,
        event: &Bound<'_, Event>,
        request: &Bound<'_, Request>,
        tensors: Option<Vec<Bound<'_, PyAny>>>,
    ) -> PyResult<()> {
        let (open, event) = (self.open(py)?, Arc::clone(event.get().handle(py)?));
        let answer = request.get().answer(py, tensors)?;
        // Whoever asked has been told of what fails then.
        let held = py.detach(|| open.handle.respond_after(&event, answer, None, drop));
        held.map_err(|problem| error::gate(py, &problem))
    }

    /// As `respond_after`, behind what a stream of the server's accelerator has been given so far: by the runtime's handle, as
    /// `torch.cuda.current_stream().cuda_stream` tells it; 0 is the default stream.
    #[pyo3(signature = (stream, request, tensors=None))]
    fn respond_on(
        &self,
        py: Python<'_>,
        stream: u64,
        request: &Bound<'_, Request>,
        tensors: Option<Vec<Bound<'_, PyAny>>>,
    ) -> PyResult<()> {
        let open = self.open(py)?;
        let stream = open.registry.devices().stream(py, stream)?;
        let answer = request.get().answer(py, tensors)?;
        let held = py.detach(|| open.handle.respond_on(&*stream, answer, None, drop));
        held.map_err(|problem| error::deferred(py, &problem))
    }

    /// An event behind what a stream of the server's accelerator has been given so far, as `Worker.event`.
    #[pyo3(signature = (stream=0))]
    fn event(&self, py: Python<'_>, stream: u64) -> PyResult<Event> {
        Event::recorded(py, &*self.open(py)?.registry.devices().stream(py, stream)?)
    }

    /// Figures of this server's requests for each worker, in nanoseconds, as `Worker.trace_report`.
    fn trace_report<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        traces::peers(py, &self.open(py)?.handle.recorder().peers())
    }

    /// Forgets the figures.
    fn reset_traces(&self, py: Python<'_>) -> PyResult<()> {
        self.open(py)?.handle.recorder().reset();
        Ok(())
    }

    /// A zeroed array in memory that peers of this host map: the fastest kind. With `device` one in memory of the server's
    /// accelerator, of which nobody knows what is in it.
    #[pyo3(signature = (shape, dtype="float32", *, device=false))]
    fn allocate(&self, py: Python<'_>, shape: Vec<usize>, dtype: &str, device: bool) -> PyResult<Tensor> {
        let layout = tensor::layout(py, Element::named(dtype)?, &shape)?;
        let registry = self.open(py)?.registry;
        let allocated =
            if device { registry.allocate_on_device(py, layout) } else { registry.allocate(py, layout) };
        Tensor::new(allocated?)
    }

    /// An array registered where it lies, for as long as the result lives.
    fn register(&self, py: Python<'_>, array: &Bound<'_, PyAny>) -> PyResult<Tensor> {
        Tensor::new(self.open(py)?.registry.tensor(array, Use::Write)?)
    }

    /// Gives an array for pushes, in even chunks: one for each (worker, key), in their order.
    fn offer(&self, py: Python<'_>, array: &Bound<'_, PyAny>, pairs: Vec<(u32, u64)>) -> PyResult<()> {
        let open = self.open(py)?;
        let buffer = open.registry.tensor(array, Use::Write)?;
        if !u64::from(buffer.bytes()).is_multiple_of(pairs.len().max(1) as u64) {
            let (bytes, shares) = (buffer.bytes().into(), pairs.len());
            return Err(error::offer(py, &OfferError::TooSmall { bytes, shares }));
        }
        let offered = py.detach(|| open.handle.offer_evenly(&buffer, &pairs));
        offered.map_err(|problem| error::offer(py, &problem))
    }

    /// Captures a service: requests of these workers that push under exactly these keys are taken by streams of the server's
    /// accelerator that it is put into, and no longer by `get_batch`. For each worker its rank, (key, array) of its pushes,
    /// whose arrays were offered for them, and the arrays that its pulls are answered with. Where the stream does not
    /// respond within `timeout`, the workers are refused.
    #[pyo3(signature = (workers, timeout=None))]
    fn capture(&self, py: Python<'_>, workers: Vec<Captured<'_>>, timeout: Option<f64>) -> PyResult<Service> {
        let open = self.open(py)?;
        let patience = timeout.map(waiting::duration).transpose()?;
        let mut all = Vec::with_capacity(workers.len());
        for (worker, pushes, answers) in &workers {
            let mut answering = Answering::new(*worker);
            for (key, array) in pushes {
                answering = answering.pushed(*key, &open.registry.tensor(array, Use::Write)?);
            }
            for array in answers {
                answering = answering.answer(&open.registry.tensor(array, Use::Read)?);
            }
            all.push(answering);
        }
        let accelerator = open.registry.devices().first()?;
        let captured = py.detach(|| open.handle.capture(&**accelerator, &all, patience));
        let captured = captured.map_err(|problem| error::capture(py, &problem))?;
        Ok(Service::new(captured, Arc::clone(&open.registry)))
    }

    /// Takes back what was given for a worker's key: when it returns, the worker writes there no more.
    #[pyo3(signature = (worker, key, timeout=None))]
    fn take_back(&self, py: Python<'_>, worker: u32, key: u64, timeout: Option<f64>) -> PyResult<()> {
        let (open, deadline) = (self.open(py)?, waiting::deadline(timeout)?);
        let taken = py.detach(|| open.handle.take_back(worker, key, deadline));
        taken.map_err(|problem| error::offer(py, &problem))
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_what))]
    fn __exit__(&self, py: Python<'_>, _what: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    /// Says goodbye to the workers, and leaves the cluster.
    fn close(&self, py: Python<'_>) {
        let held =
            self.open.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).take());
        py.detach(|| {
            // Who waits for a batch on another thread has a handle of its own.
            held.iter().for_each(|open| open.handle.close());
            drop(held);
        });
        self.node.get().close(py);
    }
}

/// A batch to come: await it.
#[pyclass(frozen, module = "pmd_af")]
pub(crate) struct Gathering(Detached<Waiting>);

struct Waiting {
    open: Open,
    gather: Gather,
    found: Mutex<Option<Result<Vec<RequestHandle>, BatchError>>>,
}

impl Gathering {
    fn waiting(&self, py: Python<'_>) -> PyResult<&Waiting> {
        self.0.as_ref().ok_or_else(|| error::closed(py, "batch"))
    }
}

#[pymethods]
impl Gathering {
    /// The batch.
    fn wait<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, Request>>> {
        let Waiting { open, gather, found } = self.waiting(py)?;
        let found = found.lock().unwrap_or_else(PoisonError::into_inner).take();
        let batch = match found {
            Some(found) => found,
            None => py.detach(|| open.handle.batch(*gather, None)),
        };
        open.wrap(py, batch.map_err(|problem| error::batch(py, &problem))?)
    }

    /// Nothing has to be stopped: no request is lost.
    fn request_cancel(&self) {}

    fn _ring_when_done(&self, py: Python<'_>, bell: &Bell, token: u64) -> PyResult<bool> {
        let Waiting { open, gather, found } = self.waiting(py)?;
        let signal = Arc::new(Signal::default());
        signal.ring_when_done(bell, token, || false);
        let waker = Waker::from(signal);
        let mut batches = open.handle.next_batch(*gather);
        match Pin::new(&mut batches).poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => Ok(true),
            Poll::Ready(ready) => {
                *found.lock().unwrap_or_else(PoisonError::into_inner) = Some(ready);
                Ok(false)
            }
        }
    }

    fn __await__(slf: Bound<'_, Self>) -> PyResult<Bound<'_, PyAny>> {
        awaiting::awaitable(slf.as_any())
    }
}

/// A response on its way. To drop it does not stop it.
#[pyclass(frozen, module = "pmd_af")]
pub(crate) struct Response(Detached<ResponseHandle>);

impl Response {
    pub(crate) const fn new(handle: ResponseHandle) -> Self {
        Self(Detached::new(handle))
    }
}

#[pymethods]
impl Response {
    /// Whether it has ended: then its tensors are not read any more.
    fn done(&self) -> bool {
        self.0.as_ref().is_none_or(|handle| handle.poll().is_some())
    }

    /// Waits until it has ended.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let handle = self.0.as_ref().ok_or_else(|| error::closed(py, "response"))?;
        let ended = waiting::until(py, timeout, |patience| {
            match handle.wait(Instant::now().checked_add(patience)) {
                Err(ResponseWaitError::Timeout) => None,
                ended => Some(ended),
            }
        })?;
        match ended {
            Some(result) => result.map_err(|problem| error::plain(py, "TransferFailed", &problem)),
            None => Err(error::timeout(py, "a response", timeout)),
        }
    }
}

fn gather_of(gather: Option<&Bound<'_, PyAny>>) -> PyResult<Gather> {
    let Some(gather) = gather else { return Ok(Gather::All) };
    if let Ok(quorum) = gather.extract::<usize>() {
        return Ok(Gather::Quorum(quorum));
    }
    match gather.extract::<String>()?.as_str() {
        "all" => Ok(Gather::All),
        "any" => Ok(Gather::Any),
        other => Err(PyValueError::new_err(format!("gather is {other:?}, it takes all, any or a number"))),
    }
}

fn server_config(config: &Config, limits: &Limits) -> ServerConfig {
    let mut endpoint = config.endpoint.clone();
    endpoint.message_bytes = MESSAGE_BYTES;
    let identity = NodeIdentity {
        rank: u32::try_from(config.rank()).unwrap_or_default(),
        instance: config.instance,
        epoch: 0,
    };
    let workers = if limits.rail { config.shape.workers } else { config.shape.instances(Role::Worker) };
    let mut made =
        ServerConfig { identity, endpoint, workers: Some(workers as usize), ..ServerConfig::default() };
    made.device_areas = limits.device_areas;
    made.inline_bytes = limits.inline_bytes.unwrap_or(made.inline_bytes);
    made.most_depth = limits.depth.unwrap_or(made.most_depth);
    made.patience = limits.patience.unwrap_or(made.patience);
    made
}
