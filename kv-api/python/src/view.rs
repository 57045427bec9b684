//! Registered memory as a Python object with the buffer protocol: `memoryview(view)`, `numpy.asarray(view)`.
#![allow(unsafe_code)] // fills in the buffer protocol's structure

use std::{any::Any, ffi::c_int, ptr};

use pyo3::{exceptions::PyBufferError, ffi, prelude::*};

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

    fn is_contiguous(&self) -> bool {
        self.shape.len() == 1 || self.strides[0] == self.shape[1] || self.shape[0] == 1
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

    /// # Safety
    /// Called by the interpreter, with a structure to fill in.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no structure to fill in"));
        }
        let this = slf.get();
        let wants = |flag: c_int| flags & flag == flag;
        if !this.is_contiguous() && !wants(ffi::PyBUF_STRIDES) {
            return Err(PyBufferError::new_err("rows with gaps between them: ask for strides"));
        }
        // SAFETY: the interpreter gives a structure of its own to fill in.
        let view = unsafe { &mut *view };
        view.buf = this.address as *mut _;
        view.len = this.bytes();
        view.readonly = 0;
        view.itemsize = 1;
        view.format = if wants(ffi::PyBUF_FORMAT) { c"B".as_ptr().cast_mut() } else { ptr::null_mut() };
        view.ndim = if wants(ffi::PyBUF_ND) { this.shape.len() as c_int } else { 1 };
        // Shape and strides are read only, and live as long as the view, which the structure holds.
        view.shape = if wants(ffi::PyBUF_ND) { this.shape.as_ptr().cast_mut() } else { ptr::null_mut() };
        view.strides =
            if wants(ffi::PyBUF_STRIDES) { this.strides.as_ptr().cast_mut() } else { ptr::null_mut() };
        view.suboffsets = ptr::null_mut();
        view.internal = ptr::null_mut();
        view.obj = slf.into_ptr();
        Ok(())
    }
}
