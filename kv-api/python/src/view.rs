//! Registered memory as a Python object with the buffer protocol: `memoryview(view)`, `numpy.asarray(view)`.
#![allow(unsafe_code)] // hands on the buffer protocol's structure

use std::{any::Any, ffi::c_int, sync::Arc};

use pmd_core::accelerator::Accelerator;
use pmd_python::{
    device::Device as Place,
    dlpack,
    element::Element,
    export::{self, Shown},
};
use pyo3::{
    exceptions::{PyAttributeError, PyBufferError},
    ffi,
    prelude::*,
    types::PyDict,
};

use crate::{device, waiting::Detached};

/// Bytes of registered memory, with one or two dimensions. Holds the registration: the memory stays as long as there
/// is a view, or an array made of one.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct View {
    address: u64,
    /// Elements of each dimension; the elements are bytes.
    shape: Box<[isize]>,
    /// Bytes from one element of each dimension to the next.
    strides: Box<[isize]>,
    /// Whose memory it is, where the processor does not reach it.
    accelerator: Option<Arc<dyn Accelerator>>,
    _keep: Detached<Box<dyn Any + Send + Sync>>,
}

impl View {
    /// Contiguous bytes at an address, kept by `keep`.
    pub(crate) fn flat(address: u64, bytes: u64, keep: Box<dyn Any + Send + Sync>) -> Self {
        let (shape, strides) = ([bytes as isize].into(), [1].into());
        Self { address, shape, strides, accelerator: None, _keep: Detached::new(keep) }
    }

    /// The same in memory of an accelerator, if it is one's.
    pub(crate) fn on(self, accelerator: Option<Arc<dyn Accelerator>>) -> Self {
        Self { accelerator, ..self }
    }

    /// Rows of bytes at a distance, kept by `keep`.
    pub(crate) fn rows(
        address: u64,
        (rows, bytes, stride): (u64, u64, u64),
        keep: Box<dyn Any + Send + Sync>,
    ) -> Self {
        let shape = [rows as isize, bytes as isize].into();
        let strides = [stride as isize, 1].into();
        Self { address, shape, strides, accelerator: None, _keep: Detached::new(keep) }
    }

    fn bytes(&self) -> isize {
        self.shape.iter().product()
    }
}

#[pymethods]
impl View {
    /// Address of the first byte.
    #[getter]
    fn address(&self) -> u64 {
        self.address
    }

    /// Bytes, without gaps between rows.
    #[getter]
    fn nbytes(&self) -> isize {
        self.bytes()
    }

    fn __len__(&self) -> usize {
        self.shape[0].unsigned_abs()
    }

    fn __repr__(&self) -> String {
        format!("<View of {:?} bytes at {:#x}>", self.shape, self.address)
    }

    /// A DLPack capsule of its bytes, for tensor libraries: `torch.from_dlpack(view)`.
    #[pyo3(signature = (*, stream=None, **_options))]
    fn __dlpack__<'py>(
        slf: Bound<'py, Self>,
        stream: Option<i64>,
        _options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.get();
        let place = match &this.accelerator {
            Some(accelerator) => device::exported(&**accelerator, stream)?,
            None if stream.is_some() => {
                return Err(PyBufferError::new_err("memory of the CPU has no streams"));
            }
            None => Place::HOST,
        };
        let shape: Vec<usize> = this.shape.iter().map(|extent| extent.unsigned_abs()).collect();
        if *export::strides(&this.shape, 1) != *this.strides {
            return Err(PyBufferError::new_err("its rows have gaps, which DLPack's takers mostly refuse"));
        }
        let keep = slf.clone().into_any();
        dlpack::capsule_on(place, keep, this.address, Element::named("uint8")?, &shape)
    }

    /// Its DLPack device type and number: (1, 0) for the CPU.
    fn __dlpack_device__(&self) -> PyResult<(i32, i32)> {
        let place = self.accelerator.as_ref().map_or(Ok(Place::HOST), |of| device::place(&**of))?;
        Ok((place.kind, place.index))
    }

    /// For CuPy and Numba. Only of memory that CUDA or HIP knows, without gaps.
    #[getter]
    fn __cuda_array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let none = || PyAttributeError::new_err("memory of the CPU has no __cuda_array_interface__");
        let accelerator = self.accelerator.as_ref().ok_or_else(none)?;
        if *export::strides(&self.shape, 1) != *self.strides {
            return Err(PyAttributeError::new_err("its rows have gaps: take it row by row"));
        }
        device::interface(py, &**accelerator, self.address, self.bytes().unsigned_abs() as u64)
    }

    /// # Safety
    /// Called by the interpreter, with a structure to fill in.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        if let Some(accelerator) = &this.accelerator {
            let kind = accelerator.identity().kind;
            let message = format!("memory of {kind}, which the processor does not reach: use DLPack");
            return Err(PyBufferError::new_err(message));
        }
        let shown = Shown {
            address: this.address,
            format: c"B",
            item_bytes: 1,
            shape: &this.shape,
            strides: &this.strides,
        };
        // SAFETY: the interpreter's structure; the view holds the memory, and its shape never changes.
        unsafe { shown.fill(view, flags, slf.clone().into_any()) }
    }
}
