//! The attention side: pushes arrays to servers and pulls their answers.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use af_api::{
    config::Config,
    rendezvous::{MemberId, Role},
    wire::NodeIdentity,
    worker::{MESSAGE_BYTES, Part, PushPull, Worker as Handle, WorkerConfig},
};
use pmd_core::accelerator::{Event as EventHandle, Stream};
use pmd_python::{
    element::Element,
    waiting::{self, Detached},
};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyDict, PyTuple},
};

use crate::{
    capture::Exchange,
    config::{self, Limits},
    device::Devices,
    error,
    event::Event,
    node::Node,
    pending::Pending,
    registry::{Registry, Use},
    tensor::{self, Tensor},
    traces,
};

/// Longest time for which Python's signal handlers go unheard while too much is in flight.
const SLICE: f64 = 0.1;

/// A key and an array, and the server it is for; None for all.
type Item<'py> = (u64, Bound<'py, PyAny>, Option<u32>);

/// Pushes arrays to servers and pulls their answers.
#[pyclass(frozen, module = "pmd_af")]
pub(crate) struct Worker {
    open: Detached<Mutex<Option<Open>>>,
    node: Py<Node>,
    /// Whether only servers with this instance's number are connected.
    rail: bool,
}

#[derive(Clone)]
struct Open {
    handle: Handle,
    registry: Arc<Registry>,
}

impl Worker {
    fn open(&self, py: Python<'_>) -> PyResult<Open> {
        let held =
            self.open.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).clone());
        held.ok_or_else(|| error::closed(py, "worker"))
    }

    /// The driver's worker, for what stands on it.
    pub(crate) fn driver(&self, py: Python<'_>) -> PyResult<Handle> {
        Ok(self.open(py)?.handle)
    }

    fn request(&self, py: Python<'_>, open: &Open, items: &Items<'_>) -> PyResult<PushPull> {
        let mut request = PushPull::new().tag(items.tag);
        request = match items.batch {
            Some(batch) => request.part_of(batch, items.part),
            None => request.part(items.part),
        };
        if let Some(event) = &items.after {
            request = request.after(event);
        }
        if let Some(servers) = &items.servers {
            request = request.servers(servers.iter().copied());
        }
        if items.up_to {
            request = request.up_to();
        }
        for (key, array, server) in &items.push {
            let tensor = open.registry.tensor(array, Use::Read)?;
            request = match server {
                Some(server) => request.push_to(*server, *key, &tensor),
                None => request.push(*key, &tensor),
            };
        }
        for (server, key, array, rows) in &items.rows {
            let tensor = open.registry.tensor(array, Use::Read)?;
            let rows = rows.iter().copied();
            request = request
                .push_rows(*server, *key, &tensor, rows)
                .map_err(|problem| error::push_pull(py, &problem))?;
        }
        for (key, array, server) in &items.pull {
            let tensor = open.registry.tensor(array, Use::Write)?;
            request = match server {
                Some(server) => request.pull_from(*server, *key, &tensor),
                None => request.pull(*key, &tensor),
            };
        }
        Ok(request)
    }
}

/// A server's rank, its transport, and why it is down.
type Connected = (u32, Option<&'static str>, Option<String>);

/// Server, key, array, rows of it.
type Rows<'py> = (u32, u64, Bound<'py, PyAny>, Vec<u64>);

/// What is asked for.
struct Items<'py> {
    push: Vec<Item<'py>>,
    pull: Vec<Item<'py>>,
    rows: Vec<Rows<'py>>,
    servers: Option<Vec<u32>>,
    tag: u32,
    up_to: bool,
    part: Part,
    batch: Option<u64>,
    after: Option<Arc<dyn EventHandle>>,
    /// The stream in whose turn it is.
    stream: Option<u64>,
}

impl<'py> Items<'py> {
    fn new(
        push: Option<&Bound<'py, PyAny>>,
        pull: Option<&Bound<'py, PyAny>>,
        rows: Option<Vec<Rows<'py>>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Self> {
        let (push, pull) = (items(push)?, items(pull)?);
        let rows = rows.unwrap_or_default();
        let (part, servers) = (Part::Single, None);
        let (batch, after, stream) = (None, None, None);
        let mut made = Self { push, pull, rows, servers, tag: 0, up_to: false, part, batch, after, stream };
        for (name, value) in options.into_iter().flatten() {
            match name.extract::<String>()?.as_str() {
                "servers" => made.servers = value.extract()?,
                "tag" => made.tag = value.extract()?,
                "up_to" => made.up_to = value.extract()?,
                "batch" => made.batch = value.extract()?,
                "after" if value.is_none() => made.after = None,
                "after" => {
                    let event = value.cast::<Event>()?;
                    made.after = Some(Arc::clone(event.get().handle(value.py())?));
                }
                "stream" => made.stream = value.extract()?,
                "part" => made.part = part_of(&value.extract::<String>()?)?,
                name => return Err(PyTypeError::new_err(format!("no option named {name:?}"))),
            }
        }
        Ok(made)
    }
}

/// Pairs or triples of a list, or the pairs of a dictionary.
fn items<'py>(given: Option<&Bound<'py, PyAny>>) -> PyResult<Vec<Item<'py>>> {
    let Some(given) = given else { return Ok(Vec::new()) };
    let pairs = given.cast::<PyDict>().map(|pairs| pairs.items().into_any());
    let each = pairs.as_ref().unwrap_or(given).try_iter()?;
    each.map(|item| {
        let item = item?;
        item.extract().or_else(|_| item.extract().map(|(key, array)| (key, array, None)))
    })
    .collect()
}

#[pymethods]
impl Worker {
    #[new]
    #[pyo3(signature = (**options))]
    fn new(py: Python<'_>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Self> {
        let (config, limits) = config::config(py, Some("worker"), options)?;
        let node = Node::start(py, config.clone())?;
        let identity = identity(&node, py, &config)?;
        let made = worker_config(&config, &limits, identity);
        let handle = py.detach(|| Handle::open(made));
        let handle = handle.map_err(|problem| error::plain(py, "EndpointError", &problem))?;
        let devices = Devices::new(config.endpoint.soft.accelerators.iter().cloned().collect());
        let registry = Arc::new(Registry::new(handle.endpoint().clone(), devices));
        let open = Detached::new(Mutex::new(Some(Open { handle, registry })));
        let worker = Self { open, node: Py::new(py, node)?, rail: limits.rail };
        worker.connect(py)?;
        Ok(worker)
    }

    /// Its place in the cluster.
    #[getter]
    fn node(&self, py: Python<'_>) -> Py<Node> {
        self.node.clone_ref(py)
    }

    /// Connects to every server that is up and not connected, such as one that was started again; their ranks.
    fn connect(&self, py: Python<'_>) -> PyResult<Vec<u32>> {
        let (open, node) = (self.open(py)?, self.node.get().handle(py)?);
        let mut connected = Vec::new();
        for member in node.members_of(Role::Server) {
            let known = open.handle.servers();
            let lives = |rank| known.iter().any(|(server, fault)| server.rank == rank && fault.is_none());
            let rank = member.id.rank;
            let is_up = member.state == af_api::rendezvous::MemberState::Up;
            let here = !self.rail || member.instance == node.config().instance;
            let Some(data) = member.data.filter(|_| here && is_up && !lives(rank)) else { continue };
            let done = py.detach(|| open.handle.connect(rank, data.address));
            done.map_err(|problem| error::connect(py, rank, &problem))?;
            connected.push(rank);
        }
        Ok(connected)
    }

    /// The servers that were connected: rank, transport, and why it is down, or None.
    fn servers(&self, py: Python<'_>) -> PyResult<Vec<Connected>> {
        let handle = self.open(py)?.handle;
        let transport = |rank| handle.peer(rank).map(|peer| peer.transport().name());
        let told = |(server, fault): (NodeIdentity, Option<af_api::worker::DownCause>)| {
            (server.rank, transport(server.rank), fault.map(|cause| cause.to_string()))
        };
        Ok(handle.servers().into_iter().map(told).collect())
    }

    /// A zeroed array in memory that peers of this host map: the fastest kind. With `device` one in memory of the worker's
    /// accelerator, of which nobody knows what is in it.
    #[pyo3(signature = (shape, dtype="float32", *, device=false))]
    fn allocate(&self, py: Python<'_>, shape: Vec<usize>, dtype: &str, device: bool) -> PyResult<Tensor> {
        let layout = tensor::layout(py, Element::named(dtype)?, &shape)?;
        let registry = self.open(py)?.registry;
        let allocated =
            if device { registry.allocate_on_device(py, layout) } else { registry.allocate(py, layout) };
        Tensor::new(allocated?)
    }

    /// An event behind what a stream of the worker's accelerator has been given so far: by the runtime's handle, as
    /// `torch.cuda.current_stream().cuda_stream` tells it; 0 is the default stream.
    #[pyo3(signature = (stream=0))]
    fn event(&self, py: Python<'_>, stream: u64) -> PyResult<Event> {
        Event::recorded(py, &*self.open(py)?.registry.devices().stream(py, stream)?)
    }

    /// An array registered where it lies, for as long as the result lives.
    fn register(&self, py: Python<'_>, array: &Bound<'_, PyAny>) -> PyResult<Tensor> {
        Tensor::new(self.open(py)?.registry.tensor(array, Use::Write)?)
    }

    /// Agrees beforehand on room for a key at a server: pushes of at most `capacity` bytes, `depth` in flight.
    #[pyo3(signature = (server, key, capacity, depth=2))]
    fn declare(&self, py: Python<'_>, server: u32, key: u64, capacity: u64, depth: u16) -> PyResult<()> {
        let handle = self.open(py)?.handle;
        let declared = py.detach(|| handle.declare(server, key, capacity, depth));
        declared.map_err(|problem| error::push_pull(py, &problem))
    }

    /// Pushes arrays and pulls others: a list of (key, array) or (key, array, server), or a dictionary. What names no server
    /// goes to all of `servers`: pushes to each of them, pulls shared out among them, the first server's first. `rows` are
    /// (server, key, array, numbers of its rows). Waits while too much is in flight, at most `timeout`.
    ///
    /// With `stream`, a stream of the worker's accelerator by the runtime's handle, it takes its turn there: it waits for
    /// what the stream has been given, and what the stream is given afterwards waits for what is pulled. This call waits
    /// for neither. Where the push-pull fails the stream goes on.
    #[pyo3(signature = (push=None, pull=None, *, rows=None, timeout=None, **options))]
    fn push_pull(
        &self,
        py: Python<'_>,
        push: Option<&Bound<'_, PyAny>>,
        pull: Option<&Bound<'_, PyAny>>,
        rows: Option<Vec<Rows<'_>>>,
        timeout: Option<f64>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Pending> {
        let (open, items) = (self.open(py)?, Items::new(push, pull, rows, options)?);
        let request = self.request(py, &open, &items)?;
        let stream = items.stream.map(|native| open.registry.devices().stream(py, native)).transpose()?;
        submit(py, (&open.handle, stream.as_deref()), &request, timeout)
    }

    /// Captures a push-pull, with arrays and servers as `push_pull` takes them: streams of the worker's accelerator that it is
    /// put into make it by themselves, at each launch of a graph. One that is not done within `timeout` is stopped.
    #[pyo3(signature = (push=None, pull=None, *, timeout=None, **options))]
    fn capture(
        &self,
        py: Python<'_>,
        push: Option<&Bound<'_, PyAny>>,
        pull: Option<&Bound<'_, PyAny>>,
        timeout: Option<f64>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Exchange> {
        let (open, items) = (self.open(py)?, Items::new(push, pull, None, options)?);
        let request = self.request(py, &open, &items)?;
        let patience = timeout.map(waiting::duration).transpose()?;
        let accelerator = open.registry.devices().first()?;
        let captured = py.detach(|| open.handle.capture(&**accelerator, &request, patience));
        let captured = captured.map_err(|problem| error::capture(py, &problem))?;
        Ok(Exchange::new(captured, Arc::clone(&open.registry)))
    }

    /// As `push_pull`, but raises Full instead of waiting.
    #[pyo3(signature = (push=None, pull=None, *, rows=None, **options))]
    fn try_push_pull(
        &self,
        py: Python<'_>,
        push: Option<&Bound<'_, PyAny>>,
        pull: Option<&Bound<'_, PyAny>>,
        rows: Option<Vec<Rows<'_>>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Pending> {
        let (open, items) = (self.open(py)?, Items::new(push, pull, rows, options)?);
        if items.stream.is_some() {
            return Err(PyTypeError::new_err("stream goes with push_pull: give it a timeout of 0"));
        }
        let request = self.request(py, &open, &items)?;
        let handle = py.detach(|| open.handle.try_push_pull(&request));
        handle.map(Pending::new).map_err(|problem| error::push_pull(py, &problem))
    }

    /// StepMesh's eight moments of a push-pull that is done, at each of its servers: start, sent, received and processed of
    /// the request, then of the response, in nanoseconds of each side's clock. Asks the servers for theirs; empty where
    /// the push-pull is too long ago.
    #[pyo3(signature = (pending, timeout=10.0))]
    fn fetch_trace(&self, py: Python<'_>, pending: &Pending, timeout: f64) -> PyResult<Vec<[u64; 8]>> {
        let (open, number) = (self.open(py)?, pending.number(py)?);
        let patience = waiting::duration(timeout)?;
        let traces = py.detach(|| open.handle.fetch_trace(number, patience));
        let traces = traces.map_err(|problem| error::trace(py, &problem))?;
        Ok(traces.iter().map(af_api::trace::RequestTrace::numbers).collect())
    }

    /// Figures of this worker's push-pulls at each server, in nanoseconds: a dictionary each, whose `phases` have a summary
    /// for each phase. What servers know of them is missing until `fetch_traces`.
    fn trace_report<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        traces::peers(py, &self.open(py)?.handle.recorder().peers())
    }

    /// For how long each server kept push-pulls waiting that all others had answered, the worst first.
    fn stragglers<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        traces::stragglers(py, &self.open(py)?.handle.recorder().stragglers())
    }

    /// Asks the servers for their moments of the push-pulls that are kept.
    #[pyo3(signature = (timeout=10.0))]
    fn fetch_traces(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        let (handle, patience) = (self.open(py)?.handle, waiting::duration(timeout)?);
        py.detach(|| handle.fetch_traces(patience)).map_err(|problem| error::trace(py, &problem))
    }

    /// Writes the push-pulls that are kept as a Chrome trace (chrome://tracing, Perfetto): a row for each server.
    #[pyo3(signature = (path, process=None))]
    fn write_chrome_trace(&self, py: Python<'_>, path: PathBuf, process: Option<&str>) -> PyResult<()> {
        let handle = self.open(py)?.handle;
        let process = process.map_or_else(|| format!("worker {}", handle.identity().rank), str::to_owned);
        py.detach(|| {
            let mut file = BufWriter::new(File::create(path)?);
            handle.recorder().write_chrome_trace(&process, &mut file)?;
            file.flush()
        })
        .map_err(PyErr::from)
    }

    /// Forgets the figures and the push-pulls that are kept.
    fn reset_traces(&self, py: Python<'_>) -> PyResult<()> {
        self.open(py)?.handle.recorder().reset();
        Ok(())
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_what))]
    fn __exit__(&self, py: Python<'_>, _what: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    /// Says goodbye to the servers, and leaves the cluster; what is in flight fails.
    fn close(&self, py: Python<'_>) {
        let held =
            self.open.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).take());
        py.detach(|| drop(held));
        self.node.get().close(py);
    }
}

/// Waits for room in slices, to hear Ctrl-C.
fn submit(
    py: Python<'_>,
    (handle, stream): (&Handle, Option<&dyn Stream>),
    request: &PushPull,
    timeout: Option<f64>,
) -> PyResult<Pending> {
    let deadline = waiting::deadline(timeout)?;
    loop {
        let slice = waiting::deadline(Some(SLICE))?;
        let until = deadline.into_iter().chain(slice).min();
        let submitted = py.detach(|| match stream {
            Some(stream) => handle.push_pull_on(stream, request, until),
            None => handle.push_pull(request, until),
        });
        match submitted {
            Ok(pending) => return Ok(Pending::new(pending)),
            Err(af_api::worker::PushPullError::Timeout { .. })
                if deadline.is_none_or(|deadline| Instant::now() < deadline) =>
            {
                py.check_signals()?;
            }
            Err(problem) => return Err(error::push_pull(py, &problem)),
        }
    }
}

fn part_of(name: &str) -> PyResult<Part> {
    match name {
        "single" => Ok(Part::Single),
        "start" => Ok(Part::Start),
        "middle" => Ok(Part::Middle),
        "end" => Ok(Part::End),
        _ => Err(PyValueError::new_err(format!("part is {name:?}, it takes single, start, middle or end"))),
    }
}

/// Who a node is to its peers.
pub(crate) fn identity(node: &Node, py: Python<'_>, config: &Config) -> PyResult<NodeIdentity> {
    let node = node.handle(py)?;
    let id: Option<MemberId> = node.ids().first().copied();
    let epoch = id.and_then(|id| node.member(id)).map_or(0, |member| member.epoch);
    Ok(NodeIdentity { rank: id.map_or(0, |id| id.rank), instance: config.instance, epoch })
}

fn worker_config(config: &Config, limits: &Limits, identity: NodeIdentity) -> WorkerConfig {
    let mut endpoint = config.endpoint.clone();
    endpoint.message_bytes = MESSAGE_BYTES;
    let mut made = WorkerConfig { identity, endpoint, ..WorkerConfig::default() };
    made.depth = limits.depth.unwrap_or(made.depth);
    made.requests = limits.requests.unwrap_or(made.requests);
    made.inline_bytes = limits.inline_bytes.unwrap_or(made.inline_bytes);
    made.patience = limits.patience.unwrap_or(made.patience);
    made
}
