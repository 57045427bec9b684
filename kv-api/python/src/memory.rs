//! Memory that Python objects give: through the buffer protocol (NumPy arrays, bytearrays, memory maps, this package's
//! own views) or through DLPack (tensors). What is given stays alive as long as the driver may touch it.
#![allow(unsafe_code)] // describes memory to the driver on the word of the object that owns it

use std::sync::Arc;

use pmd_core::memory::{MemoryKind, RegionDescription};
use pmd_host::transfer::KeepAlive;
use pyo3::{
    buffer::PyUntypedBuffer,
    exceptions::{PyBufferError, PyTypeError},
    prelude::*,
    types::PyMemoryView,
};

use crate::dlpack;

/// Contiguous memory of a Python object, which lives at least as long as this.
pub(crate) struct Memory {
    /// First byte.
    pub(crate) address: u64,
    /// Bytes.
    pub(crate) length: u64,
    /// Whether its owner forbids writing it.
    pub(crate) readonly: bool,
    /// A memoryview or capsule. Dropped by any thread: without the interpreter's lock the drop is put off until
    /// somebody holds it, so a lane never waits for Python.
    owner: Py<PyAny>,
}

impl Memory {
    /// The memory of an object.
    ///
    /// # Errors
    /// `TypeError` when it gives none; `BufferError` when that is not contiguous or not in host memory.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(view) = PyMemoryView::from(object) {
            return Self::of_view(view.into_any());
        }
        if object.hasattr("__dlpack__")? {
            return dlpack::memory_of(object);
        }
        let message = format!(
            "{} gives no memory: neither the buffer protocol nor __dlpack__",
            object.get_type().fully_qualified_name()?
        );
        Err(PyTypeError::new_err(message))
    }

    /// As [`Memory::of`], for memory that peers may write.
    ///
    /// # Errors
    /// As [`Memory::of`], and `BufferError` for read-only memory.
    pub(crate) fn writable(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let memory = Self::of(object)?;
        if memory.readonly {
            return Err(PyBufferError::new_err(
                "read-only memory: peers may write what is registered, give a writable copy",
            ));
        }
        Ok(memory)
    }

    pub(crate) const fn new(address: u64, length: u64, readonly: bool, owner: Py<PyAny>) -> Self {
        Self { address, length, readonly, owner }
    }

    fn of_view(view: Bound<'_, PyAny>) -> PyResult<Self> {
        let buffer = PyUntypedBuffer::get(&view)?;
        if !buffer.is_c_contiguous() {
            return Err(PyBufferError::new_err(
                "memory with gaps: make it contiguous first (numpy.ascontiguousarray)",
            ));
        }
        let (address, length) = (buffer.buf_ptr() as u64, buffer.len_bytes() as u64);
        let readonly = buffer.readonly();
        buffer.release(view.py());
        // The view itself holds the object's export, so the address stays.
        Ok(Self::new(address, length, readonly, view.unbind()))
    }

    /// As the driver is told of it.
    pub(crate) const fn description(&self) -> RegionDescription {
        RegionDescription {
            address: self.address,
            length: self.length,
            kind: MemoryKind::Host,
            descriptor: None,
        }
    }

    /// What the driver holds as long as it may touch the memory.
    pub(crate) fn keep_alive(self) -> KeepAlive {
        KeepAlive(Arc::new(self.owner))
    }
}
