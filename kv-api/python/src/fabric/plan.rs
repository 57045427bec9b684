//! Transfers of memory by address that were planned once.

use kv_api::fabric::{Descriptor, Plan as Handle};
use pyo3::{buffer::PyBuffer, exceptions::PyValueError, prelude::*};

use super::post;
use crate::{
    error,
    peer::Peer,
    transfer::Transfer,
    waiting::{self, Detached},
};

/// A planned transfer. Each posting is a transfer of its own.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct Plan(Detached<Handle>);

impl Plan {
    pub(super) const fn new(handle: Handle) -> Self {
        Self(Detached::new(handle))
    }

    fn handle(&self, py: Python<'_>) -> PyResult<&Handle> {
        self.0.as_ref().ok_or_else(|| error::closed(py, "plan"))
    }
}

#[pymethods]
impl Plan {
    /// The peer that it goes to or comes from.
    #[getter]
    fn peer(&self, py: Python<'_>) -> PyResult<Peer> {
        Ok(Peer::new(self.handle(py)?.peer().clone()))
    }

    /// Bytes that it moves.
    #[getter]
    fn nbytes(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle(py)?.bytes())
    }

    /// Work requests that the descriptors were merged into.
    #[getter]
    fn work_requests(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.handle(py)?.work_requests())
    }

    /// Starts it and returns at once. The peer gets `notify`, and the number `immediate` beside it, once every byte is
    /// in place (write) or read. After `timeout` seconds it is given up.
    #[pyo3(signature = (notify=None, *, immediate=None, timeout=None))]
    fn post(
        &self,
        py: Python<'_>,
        notify: Option<Vec<u8>>,
        immediate: Option<u32>,
        timeout: Option<f64>,
    ) -> PyResult<Transfer> {
        post(py, self.handle(py)?, notify, immediate, waiting::deadline(timeout)?)
    }
}

/// Descriptors from a list of triples, or from an array of 64-bit numbers with three columns.
///
/// # Errors
/// `ValueError` for arrays that are no triples, `TypeError` for what are no whole numbers.
pub(super) fn descriptors(object: &Bound<'_, PyAny>) -> PyResult<Vec<Descriptor>> {
    let unsigned = PyBuffer::<u64>::get(object).ok().map(|buffer| buffer.to_vec(object.py()));
    let numbers = unsigned.or_else(|| {
        let signed = PyBuffer::<i64>::get(object).ok()?.to_vec(object.py());
        Some(signed.map(|numbers| numbers.into_iter().map(i64::cast_unsigned).collect()))
    });
    let Some(numbers) = numbers.transpose()? else {
        let triples = object.try_iter()?.map(|triple| triple?.extract::<(u64, u64, u64)>());
        return triples
            .map(|triple| triple.map(|(local, remote, length)| Descriptor { local, remote, length }))
            .collect();
    };
    let (triples, rest) = numbers.as_chunks::<3>();
    if !rest.is_empty() {
        return Err(PyValueError::new_err(format!(
            "{} numbers are no triples of local, remote, bytes",
            numbers.len()
        )));
    }
    Ok(triples.iter().map(|&[local, remote, length]| Descriptor { local, remote, length }).collect())
}
