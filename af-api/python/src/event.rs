//! Events, which a push or a response can wait for: of an accelerator's streams, and of streams of work in host memory.

use std::{sync::Arc, time::Instant};

use pmd_core::accelerator::{Event as EventHandle, Stream as StreamHandle};
use pmd_host::accelerator::{CpuAccelerator, CpuStream, KernelFault, wait_for};
use pmd_python::waiting::{self, Detached};
use pyo3::{prelude::*, types::PyTuple};

use crate::error;

/// What a call that raised has failed with.
const RAISED: KernelFault = KernelFault { code: 1 };

/// A thread that calls what it is given, in order: for host memory what a stream is for an accelerator's. Once a call has
/// raised, nothing behind it happens and later events fail.
#[pyclass(frozen, module = "pmd_af")]
pub(crate) struct Stream(Detached<Arc<CpuStream>>);

/// A place in a stream. It is done when everything that was put into the stream before has been.
#[pyclass(frozen, module = "pmd_af")]
pub(crate) struct Event(Detached<Arc<dyn EventHandle>>);

impl Stream {
    fn handle(&self, py: Python<'_>) -> PyResult<&Arc<CpuStream>> {
        self.0.as_ref().ok_or_else(|| error::closed(py, "stream"))
    }
}

impl Event {
    /// Behind what the stream has been given so far.
    pub(crate) fn recorded(py: Python<'_>, stream: &dyn StreamHandle) -> PyResult<Self> {
        let event = py.detach(|| stream.record());
        event.map(Detached::new).map(Self).map_err(|problem| error::stream(py, &problem))
    }

    pub(crate) fn handle(&self, py: Python<'_>) -> PyResult<&Arc<dyn EventHandle>> {
        self.0.as_ref().ok_or_else(|| error::closed(py, "event"))
    }
}

#[pymethods]
impl Stream {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let stream = py.detach(|| CpuAccelerator::default().open_cpu_stream());
        stream.map(Detached::new).map(Self).map_err(|problem| error::stream(py, &problem))
    }

    /// Puts a call into the stream and returns at once.
    #[pyo3(signature = (function, *arguments))]
    fn launch(&self, py: Python<'_>, function: Py<PyAny>, arguments: Py<PyTuple>) -> PyResult<()> {
        let kernel = move || {
            Python::attach(|py| match function.call1(py, arguments) {
                Ok(_) => Ok(()),
                Err(problem) => {
                    problem.write_unraisable(py, None);
                    Err(RAISED)
                }
            })
        };
        self.handle(py)?.launch(kernel);
        Ok(())
    }

    /// An event that is done when everything put into the stream before has been.
    fn record(&self, py: Python<'_>) -> PyResult<Event> {
        Event::recorded(py, &**self.handle(py)?)
    }

    /// Waits until everything put into the stream before has been done. Raises StreamError if some of it failed.
    #[pyo3(signature = (timeout=None))]
    fn synchronize(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        self.record(py)?.wait(py, timeout)
    }
}

#[pymethods]
impl Event {
    /// Whether it is done. Raises StreamError if what is in front of it failed.
    fn done(&self, py: Python<'_>) -> PyResult<bool> {
        self.handle(py)?.query().map_err(|problem| error::stream(py, &problem))
    }

    /// Waits until it is done.
    #[pyo3(signature = (timeout=None))]
    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        let event = self.handle(py)?;
        let ended = waiting::until(py, timeout, |patience| {
            wait_for(&**event, Instant::now().checked_add(patience))
                .map_or_else(|failed| Some(Err(failed)), |done| done.then_some(Ok(())))
        })?;
        match ended {
            Some(ended) => ended.map_err(|problem| error::stream(py, &problem)),
            None => Err(error::timeout(py, "an event", timeout)),
        }
    }
}
