//! Memory of the driver as Python objects with the buffer protocol: `memoryview(object)`, `numpy.asarray(object)`.
#![allow(unsafe_code)] // fills in the buffer protocol's structure

use std::{
    ffi::{CStr, c_int},
    ptr,
};

use pyo3::{exceptions::PyBufferError, ffi, prelude::*};

/// What is shown of an object's memory.
pub struct Shown<'a> {
    /// First byte.
    pub address: u64,
    /// What the elements are.
    pub format: &'static CStr,
    /// Bytes of an element.
    pub item_bytes: isize,
    /// Elements of each dimension.
    pub shape: &'a [isize],
    /// Bytes from one element of each dimension to the next.
    pub strides: &'a [isize],
}

impl Shown<'_> {
    /// Fills in the structure that `__getbuffer__` is given, for memory that may be written.
    ///
    /// # Errors
    /// `BufferError` when there are gaps and the caller wants none.
    ///
    /// # Safety
    /// `view` is what the interpreter gave. The memory, the shape and the strides live as long as `owner`, unchanged.
    pub unsafe fn fill(
        &self,
        view: *mut ffi::Py_buffer,
        flags: c_int,
        owner: Bound<'_, PyAny>,
    ) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no structure to fill in"));
        }
        let wants = |flag: c_int| flags & flag == flag;
        if !self.is_contiguous() && !wants(ffi::PyBUF_STRIDES) {
            return Err(PyBufferError::new_err("rows with gaps between them: ask for strides"));
        }
        // SAFETY: the interpreter gives a structure of its own to fill in.
        let view = unsafe { &mut *view };
        view.buf = self.address as *mut _;
        view.len = self.shape.iter().product::<isize>() * self.item_bytes;
        view.readonly = 0;
        view.itemsize = self.item_bytes;
        view.format =
            if wants(ffi::PyBUF_FORMAT) { self.format.as_ptr().cast_mut() } else { ptr::null_mut() };
        view.ndim = if wants(ffi::PyBUF_ND) { self.shape.len() as c_int } else { 1 };
        // Shape and strides are read only.
        view.shape = if wants(ffi::PyBUF_ND) { self.shape.as_ptr().cast_mut() } else { ptr::null_mut() };
        view.strides =
            if wants(ffi::PyBUF_STRIDES) { self.strides.as_ptr().cast_mut() } else { ptr::null_mut() };
        view.suboffsets = ptr::null_mut();
        view.internal = ptr::null_mut();
        view.obj = owner.into_ptr();
        Ok(())
    }

    fn is_contiguous(&self) -> bool {
        let dimensions = self.shape.iter().zip(self.strides).rev();
        dimensions
            .scan(self.item_bytes, |wanted, (extent, stride)| {
                let fits = *extent == 1 || *stride == *wanted;
                *wanted *= extent;
                Some(fits)
            })
            .all(|fits| fits)
    }
}

/// Bytes from one element of each dimension to the next, without gaps.
#[must_use]
pub fn strides(shape: &[isize], item_bytes: isize) -> Box<[isize]> {
    let mut strides: Box<[isize]> = shape.iter().map(|_| item_bytes).collect();
    for at in (1..shape.len()).rev() {
        strides[at - 1] = strides[at] * shape[at];
    }
    strides
}
