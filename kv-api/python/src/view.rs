//! Registered memory as a Python object with the buffer protocol: `memoryview(view)`, `numpy.asarray(view)`.
#![allow(unsafe_code)] // hands on the buffer protocol's structure

use std::{any::Any, ffi::c_int};

use pmd_python::{
    dlpack,
    element::Element,
    export::{self, Shown},
};
use pyo3::{exceptions::PyBufferError, ffi, prelude::*, types::PyDict};

use crate::waiting::Detached;

/// Bytes of registered memory, with one or two dimensions. Holds the registration: the memory stays as long as there
/// is a view, or an array made of one.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct View {
    address: u64,
    /// Elements of each dimension; the elements are bytes.
    shape: Box<[isize]>,
    /// Bytes from one element of each dimension to the next.
    strides: Box<[isize]>,
    _keep: Detached<Box<dyn Any + Send + Sync>>,
}

impl View {
    /// Contiguous bytes at an address, kept by `keep`.
    pub(crate) fn flat(address: u64, bytes: u64, keep: Box<dyn Any + Send + Sync>) -> Self {
        Self { address, shape: [bytes as isize].into(), strides: [1].into(), _keep: Detached::new(keep) }
    }

    /// Rows of bytes at a distance, kept by `keep`.
    pub(crate) fn rows(
        address: u64,
        (rows, bytes, stride): (u64, u64, u64),
        keep: Box<dyn Any + Send + Sync>,
    ) -> Self {
        let shape = [rows as isize, bytes as isize].into();
        Self { address, shape, strides: [stride as isize, 1].into(), _keep: Detached::new(keep) }
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
        stream: Option<Bound<'py, PyAny>>,
        _options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.get();
        if stream.is_some() {
            return Err(PyBufferError::new_err("memory of the CPU has no streams"));
        }
        let shape: Vec<usize> = this.shape.iter().map(|extent| extent.unsigned_abs()).collect();
        if *export::strides(&this.shape, 1) != *this.strides {
            return Err(PyBufferError::new_err("its rows have gaps, which DLPack's takers mostly refuse"));
        }
        dlpack::capsule(slf.clone().into_any(), this.address, Element::named("uint8")?, &shape)
    }

    /// The CPU.
    fn __dlpack_device__(&self) -> (i32, i32) {
        (1, 0)
    }

    /// # Safety
    /// Called by the interpreter, with a structure to fill in.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
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
