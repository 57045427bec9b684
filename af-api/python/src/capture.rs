//! Push-pulls and batches in captured graphs: put into streams of the accelerator once, made by them at each launch.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use af_api::graph::{
    CapturedExchange, CapturedService, CloseError, ExchangeCause, LaunchError, LaunchFailure, Launches,
    ServiceCause,
};
use pmd_python::waiting::{self, Detached};
use pyo3::prelude::*;

use crate::{error, registry::Registry};

/// What was captured, until it is closed for good, and whose streams it goes into.
type Held<T> = Detached<Mutex<Option<Arc<T>>>>;

/// A push-pull that streams make by themselves.
#[pyclass(frozen, module = "pmd_af")]
pub(crate) struct Exchange {
    held: Held<CapturedExchange>,
    registry: Detached<Arc<Registry>>,
}

/// Batches that streams take and answer by themselves.
#[pyclass(frozen, module = "pmd_af")]
pub(crate) struct Service {
    held: Held<CapturedService>,
    registry: Detached<Arc<Registry>>,
}

impl Exchange {
    pub(crate) fn new(captured: CapturedExchange, registry: Arc<Registry>) -> Self {
        let held = Detached::new(Mutex::new(Some(Arc::new(captured))));
        Self { held, registry: Detached::new(registry) }
    }
}

impl Service {
    pub(crate) fn new(captured: CapturedService, registry: Arc<Registry>) -> Self {
        let held = Detached::new(Mutex::new(Some(Arc::new(captured))));
        Self { held, registry: Detached::new(registry) }
    }
}

fn of<T: Send + Sync>(py: Python<'_>, held: &Held<T>, what: &str) -> PyResult<Arc<T>> {
    let found = held.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).clone());
    found.ok_or_else(|| error::closed(py, what))
}

fn take<T: Send + Sync>(py: Python<'_>, held: &Held<T>) {
    let taken = held.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).take());
    py.detach(|| drop(taken));
}

#[pymethods]
impl Exchange {
    /// Puts one push-pull into a stream of the worker's accelerator, by the runtime's handle: in a stream that is being
    /// captured it becomes a part of the graph, in another one it happens once.
    fn put(&self, py: Python<'_>, stream: u64) -> PyResult<()> {
        let exchange = of(py, &self.held, "exchange")?;
        let registry = self.registry.as_ref().ok_or_else(|| error::closed(py, "exchange"))?;
        let put = exchange.put(&*registry.devices().stream(py, stream)?);
        put.map_err(|problem| error::stream(py, &problem))
    }

    /// How many launches have ended. Raises the first failure that was not told yet, whose `launch` is its number from 1 on.
    fn check(&self, py: Python<'_>) -> PyResult<u64> {
        let checked = of(py, &self.held, "exchange")?.launches().check();
        checked.map_err(|failure| exchange_failure(py, &failure))
    }

    /// Waits until so many launches have ended. Raises what the last of them failed with.
    #[pyo3(signature = (launch, timeout=None))]
    fn wait(&self, py: Python<'_>, launch: u64, timeout: Option<f64>) -> PyResult<()> {
        let exchange = of(py, &self.held, "exchange")?;
        match wait(py, exchange.launches(), launch, timeout)? {
            Err(LaunchError::Failed(failure)) => Err(exchange_failure(py, &failure)),
            other => other.map_err(|problem| error::plain(py, "Error", &problem)),
        }
    }

    /// Serves no launch any more: those that come fail, and their streams go on. Waits for the one that is being served.
    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let exchange = of(py, &self.held, "exchange")?;
        close(py, timeout, |deadline| exchange.close(deadline))
    }

    /// Gives up what is being served, and waits until its arrays are quiet.
    fn release(&self, py: Python<'_>) {
        take(py, &self.held);
    }
}

#[pymethods]
impl Service {
    /// Puts the wait for a batch into a stream of the server's accelerator: what comes behind finds what was pushed.
    fn put_batch(&self, py: Python<'_>, stream: u64) -> PyResult<()> {
        let service = of(py, &self.held, "service")?;
        let registry = self.registry.as_ref().ok_or_else(|| error::closed(py, "service"))?;
        let put = service.put_batch(&*registry.devices().stream(py, stream)?);
        put.map_err(|problem| error::stream(py, &problem))
    }

    /// Puts the responses into a stream, behind the batch and what computes the answers.
    fn put_responses(&self, py: Python<'_>, stream: u64) -> PyResult<()> {
        let service = of(py, &self.held, "service")?;
        let registry = self.registry.as_ref().ok_or_else(|| error::closed(py, "service"))?;
        let put = service.put_responses(&*registry.devices().stream(py, stream)?);
        put.map_err(|problem| error::stream(py, &problem))
    }

    /// As `Exchange.check`. A launch ends when its responses have.
    fn check(&self, py: Python<'_>) -> PyResult<u64> {
        let checked = of(py, &self.held, "service")?.launches().check();
        checked.map_err(|failure| service_failure(py, &failure))
    }

    /// As `Exchange.wait`.
    #[pyo3(signature = (launch, timeout=None))]
    fn wait(&self, py: Python<'_>, launch: u64, timeout: Option<f64>) -> PyResult<()> {
        let service = of(py, &self.held, "service")?;
        match wait(py, service.launches(), launch, timeout)? {
            Err(LaunchError::Failed(failure)) => Err(service_failure(py, &failure)),
            other => other.map_err(|problem| error::plain(py, "Error", &problem)),
        }
    }

    /// As `Exchange.close`; a stream that waits for a batch goes on.
    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let service = of(py, &self.held, "service")?;
        close(py, timeout, |deadline| service.close(deadline))
    }

    /// Refuses the workers of what is being served.
    fn release(&self, py: Python<'_>) {
        take(py, &self.held);
    }
}

/// What became of a launch; raises `WaitTimeout`.
fn wait<C: Clone + fmt::Display + Send>(
    py: Python<'_>,
    launches: &Launches<C>,
    launch: u64,
    timeout: Option<f64>,
) -> PyResult<Result<(), LaunchError<C>>> {
    let ended = waiting::until(py, timeout, |patience| {
        match launches.wait(launch, Instant::now().checked_add(patience)) {
            Err(LaunchError::Timeout { .. }) => None,
            ended => Some(ended),
        }
    })?;
    ended.ok_or_else(|| error::timeout(py, "a launch", timeout))
}

fn close(
    py: Python<'_>,
    timeout: Option<f64>,
    close: impl Fn(Option<Instant>) -> Result<(), CloseError> + Sync,
) -> PyResult<()> {
    let closed = waiting::until(py, timeout, |patience| close(Instant::now().checked_add(patience)).ok())?;
    closed.ok_or_else(|| error::timeout(py, "the launch that is being served", timeout))
}

fn exchange_failure(py: Python<'_>, failure: &LaunchFailure<ExchangeCause>) -> PyErr {
    let raised = match &failure.cause {
        ExchangeCause::PushPull(problem) => error::push_pull(py, problem),
        ExchangeCause::Failed(problem) => error::failure(py, problem),
        ExchangeCause::Timeout { .. } => error::plain(py, "WaitTimeout", failure),
        ExchangeCause::WorkerClosed | ExchangeCause::Closed => error::plain(py, "Closed", failure),
        _ => error::plain(py, "TransferFailed", failure),
    };
    numbered(py, raised, failure.launch)
}

fn service_failure(py: Python<'_>, failure: &LaunchFailure<ServiceCause>) -> PyErr {
    let class = match &failure.cause {
        ServiceCause::WorkerDown { .. } => "PeerDown",
        ServiceCause::Pushed { .. } => "ResponseError",
        ServiceCause::Timeout { .. } => "WaitTimeout",
        ServiceCause::ServerClosed | ServiceCause::Closed => "Closed",
        _ => "TransferFailed",
    };
    numbered(py, error::plain(py, class, failure), failure.launch)
}

fn numbered(py: Python<'_>, raised: PyErr, launch: u64) -> PyErr {
    match raised.value(py).setattr("launch", launch) {
        Ok(()) => raised,
        Err(problem) => problem,
    }
}
