//! Registered memory.
#![allow(unsafe_code)] // registers memory that Python objects own

use std::sync::{Mutex, PoisonError};

use kv_api::fabric::{Fabric, Segment as Handle};
use pyo3::{prelude::*, types::PyTuple};

use super::raised;
use crate::{
    device, error,
    memory::{Memory, unordered},
    view::View,
    waiting::Detached,
};

/// Registered memory. Peers reach it until it is closed, or gone, and no view, plan or transfer holds it.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct Segment(Detached<Mutex<Option<Handle>>>);

impl Segment {
    pub(super) const fn new(handle: Handle) -> Self {
        Self(Detached::new(Mutex::new(Some(handle))))
    }

    pub(super) fn register(py: Python<'_>, fabric: &Fabric, array: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Some(memory) = device::own(array)? {
            let segment = py.detach(|| fabric.register_device(memory));
            return segment.map(Self::new).map_err(|problem| raised(py, problem));
        }
        let memory = Memory::anywhere(array, &unordered)?.check_writable()?;
        let description = memory.description();
        let owner = memory.keep_alive();
        // SAFETY: the owner keeps the memory, and Python's own accesses go through no Rust reference.
        let segment = py.detach(|| unsafe { fabric.register_kept(&description, owner) });
        segment.map(Self::new).map_err(|problem| raised(py, problem))
    }

    fn handle(&self, py: Python<'_>) -> PyResult<Handle> {
        let held =
            self.0.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).clone());
        held.ok_or_else(|| error::closed(py, "segment"))
    }
}

#[pymethods]
impl Segment {
    /// Address of the first byte.
    #[getter]
    fn address(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle(py)?.address())
    }

    /// Bytes.
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle(py)?.length())
    }

    /// Its memory, for memoryview() and numpy.asarray(), or for tensor libraries where it is a device's.
    fn view(&self, py: Python<'_>) -> PyResult<View> {
        let handle = self.handle(py)?;
        let accelerator = handle.device().map(|memory| memory.accelerator());
        Ok(View::flat(handle.address(), handle.length(), Box::new(handle)).on(accelerator))
    }

    /// Gives the segment up. True: it is deregistered, and nothing writes its memory any more. False: views, plans or
    /// transfers in flight hold it, and it is deregistered with the last of them.
    fn close(&self, py: Python<'_>) -> bool {
        let held =
            self.0.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).take());
        let drained = held.as_ref().is_none_or(|handle| !handle.is_shared());
        py.detach(|| drop(held));
        drained
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        self.handle(py).map_or_else(|_| "<Segment, closed>".to_owned(), |handle| format!("<{handle:?}>"))
    }
}
