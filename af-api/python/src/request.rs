//! A request of a worker: what was pushed, what is wanted back, and the answer to it.

use std::sync::{Arc, Mutex, PoisonError};

use af_api::server::{Request as Handle, Wanted};
use pmd_python::waiting::Detached;
use pyo3::{prelude::*, types::PyTuple};

use crate::{
    error,
    registry::{Registry, Use},
    server::Response,
    tensor::Tensor,
};

/// One worker's request. `respond()` answers it; one that is dropped without an answer is refused.
#[pyclass(frozen, module = "pmd_af")]
pub(crate) struct Request {
    // Given back before the memory that it is in.
    handle: Detached<Mutex<Option<Handle>>>,
    registry: Detached<Arc<Registry>>,
    id: u64,
    worker: u32,
    tag: u32,
    keys: Vec<u64>,
    pulls: Vec<Wanted>,
    tensors: Py<PyTuple>,
}

impl Request {
    pub(crate) fn new(py: Python<'_>, handle: Handle, registry: &Arc<Registry>) -> PyResult<Self> {
        let mut tensors = Vec::new();
        for pushed in handle.pushes() {
            let tensor = match pushed.tensor() {
                Some(tensor) => registry.known(py, tensor),
                None => registry.empty(py, *pushed.layout())?,
            };
            tensors.push(Bound::new(py, Tensor::new(tensor)?)?);
        }
        Ok(Self {
            id: handle.id(),
            worker: handle.worker().rank,
            tag: handle.tag(),
            keys: handle.pushes().map(|pushed| pushed.key()).collect(),
            pulls: handle.pulls().collect(),
            tensors: PyTuple::new(py, tensors)?.unbind(),
            handle: Detached::new(Mutex::new(Some(handle))),
            registry: Detached::new(Arc::clone(registry)),
        })
    }

    fn take(&self, py: Python<'_>) -> PyResult<Handle> {
        let held =
            self.handle.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).take());
        held.ok_or_else(|| error::answered(py, self.worker))
    }

    /// The request, to be answered, and its answer.
    pub(crate) fn answer(
        &self,
        py: Python<'_>,
        tensors: Option<Vec<Bound<'_, PyAny>>>,
    ) -> PyResult<(Handle, Vec<af_api::tensor::Tensor>)> {
        let registry = self.registry.as_ref().ok_or_else(|| error::closed(py, "request"))?;
        let given = tensors.unwrap_or_default();
        let tensors = given.iter().map(|array| registry.tensor(array, Use::Read));
        let tensors = tensors.collect::<PyResult<Vec<_>>>()?;
        Ok((self.take(py)?, tensors))
    }

    fn ask(&self, look: impl FnOnce(&Handle) -> bool) -> bool {
        let held = self.handle.as_ref().map(|held| held.lock().unwrap_or_else(PoisonError::into_inner));
        held.is_some_and(|held| held.as_ref().is_some_and(look))
    }
}

#[pymethods]
impl Request {
    /// Number of the request at this server, in the order of arrival.
    #[getter]
    fn id(&self) -> u64 {
        self.id
    }

    /// Rank of the worker.
    #[getter]
    fn worker(&self) -> u32 {
        self.worker
    }

    /// The worker's number for it.
    #[getter]
    fn tag(&self) -> u32 {
        self.tag
    }

    /// Keys of what was pushed.
    #[getter]
    fn keys(&self) -> Vec<u64> {
        self.keys.clone()
    }

    /// What was pushed. Valid until the request is answered; then the worker may push over it.
    #[getter]
    fn tensors(&self, py: Python<'_>) -> Py<PyTuple> {
        self.tensors.clone_ref(py)
    }

    /// What is wanted back: key, bytes, and whether less will do.
    #[getter]
    fn pulls(&self) -> Vec<(u64, u32, bool)> {
        self.pulls.iter().map(|wanted| (wanted.key, wanted.bytes, wanted.up_to)).collect()
    }

    /// Whether the worker gave it up.
    #[getter]
    fn cancelled(&self) -> bool {
        self.ask(Handle::is_cancelled)
    }

    /// Whether it was answered, or refused.
    #[getter]
    fn answered(&self) -> bool {
        !self.ask(|_| true)
    }

    /// Answers with one array for each pull. Leave them alone until the response has ended. Where they do not fit, the
    /// worker's request fails too.
    #[pyo3(signature = (tensors=None))]
    fn respond(&self, py: Python<'_>, tensors: Option<Vec<Bound<'_, PyAny>>>) -> PyResult<Response> {
        let (handle, tensors) = self.answer(py, tensors)?;
        let response = py.detach(|| handle.respond(&tensors));
        response.map(Response::new).map_err(|problem| error::respond(py, self.worker, &problem))
    }

    /// Answers that there is no data, with a number that says why.
    #[pyo3(signature = (code=0))]
    fn refuse(&self, py: Python<'_>, code: u64) -> PyResult<Response> {
        let handle = self.take(py)?;
        let response = py.detach(|| handle.refuse(code));
        response.map(Response::new).map_err(|problem| error::respond(py, self.worker, &problem))
    }

    fn __repr__(&self) -> String {
        let (id, worker, keys) = (self.id, self.worker, &self.keys);
        format!("<Request {id} of worker {worker}, keys {keys:?}>")
    }
}
