//! Memory that Python objects give: through the buffer protocol (NumPy arrays, bytearrays, memory maps, the packages'
//! own views) or through DLPack (tensors). What is given stays alive as long as the driver may touch it.
#![allow(unsafe_code)] // describes memory to the driver on the word of the object that owns it

use std::{
    ffi::{CStr, CString},
    sync::Arc,
};

use pmd_core::memory::{MemoryKind, RegionDescription};
use pmd_host::transfer::KeepAlive;
use pyo3::{
    buffer::PyUntypedBuffer,
    exceptions::{PyBufferError, PyTypeError},
    prelude::*,
    types::PyMemoryView,
};

use crate::{dlpack, element::Element};

/// Contiguous memory of a Python object, which lives at least as long as this.
pub struct Memory {
    /// First byte.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// Whether its owner forbids writing it.
    pub readonly: bool,
    /// A memoryview or capsule. Dropped by any thread: without the interpreter's lock the drop is put off until
    /// somebody holds it, so a lane never waits for Python.
    owner: Py<PyAny>,
}

/// Memory with what is in it: rows of elements without gaps.
pub struct Array {
    /// Where it is.
    pub memory: Memory,
    /// What it is made of.
    pub element: Element,
    /// Elements of each dimension.
    pub shape: Vec<usize>,
}

/// An array whose elements may be of a type that has no name here, which is then told.
pub(crate) struct Found {
    pub(crate) memory: Memory,
    pub(crate) element: Result<Element, String>,
    pub(crate) shape: Vec<usize>,
}

impl Memory {
    /// The memory of an object.
    ///
    /// # Errors
    /// `TypeError` when it gives none; `BufferError` when that is not contiguous or not in host memory.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        find(object).map(|found| found.memory)
    }

    /// As [`Memory::of`], for memory that peers may write.
    ///
    /// # Errors
    /// As [`Memory::of`], and `BufferError` for read-only memory.
    pub fn writable(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::of(object)?.check_writable()
    }

    /// Itself, when it may be written.
    ///
    /// # Errors
    /// `BufferError` for read-only memory.
    pub fn check_writable(self) -> PyResult<Self> {
        if self.readonly {
            return Err(PyBufferError::new_err(
                "read-only memory: peers may write what is registered, give a writable copy",
            ));
        }
        Ok(self)
    }

    pub(crate) const fn new(address: u64, length: u64, readonly: bool, owner: Py<PyAny>) -> Self {
        Self { address, length, readonly, owner }
    }

    /// As the driver is told of it.
    #[must_use]
    pub const fn description(&self) -> RegionDescription {
        RegionDescription {
            address: self.address,
            length: self.length,
            kind: MemoryKind::Host,
            descriptor: None,
        }
    }

    /// What the driver holds as long as it may touch the memory.
    #[must_use]
    pub fn keep_alive(self) -> KeepAlive {
        KeepAlive(Arc::new(self.owner))
    }
}

impl Array {
    /// The array that an object is.
    ///
    /// # Errors
    /// As [`Memory::of`], and `BufferError` for elements of a type that has no name in [`Element`].
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let Found { memory, element, shape } = find(object)?;
        let element = element.map_err(|what| {
            PyBufferError::new_err(format!("elements of {what}: send them as numbers, or as bytes (uint8)"))
        })?;
        Ok(Self { memory, element, shape })
    }
}

fn find(object: &Bound<'_, PyAny>) -> PyResult<Found> {
    if let Ok(view) = PyMemoryView::from(object) {
        return of_view(view.into_any());
    }
    if !object.hasattr("__dlpack__")? {
        let message = format!(
            "{} gives no memory: neither the buffer protocol nor __dlpack__",
            object.get_type().fully_qualified_name()?
        );
        return Err(PyTypeError::new_err(message));
    }
    // A tensor that records gradients shows its memory only when it is detached from them.
    let records = object.getattr("requires_grad").and_then(|records| records.is_truthy()).unwrap_or(false);
    let detached = if records { object.call_method0("detach")? } else { object.clone() };
    dlpack::of_tensor(&detached).or_else(|problem| of_bytes(&detached).ok_or(problem))
}

/// The array of an object whose element type neither protocol can say, such as 8-bit floats: as bytes, with the type
/// by its name. None when there is no such name, or the bytes have gaps.
fn of_bytes(object: &Bound<'_, PyAny>) -> Option<Found> {
    let text = object.getattr("dtype").ok()?.str().ok()?.to_string();
    let element = Element::by_name(text.rsplit('.').next()?)?;
    let shape = object.getattr("shape").ok()?.extract().ok()?;
    let library = object.get_type().module().ok()?.to_string();
    let library = object.py().import(library.split('.').next()?).ok()?;
    let bytes = object.call_method1("view", (library.getattr("uint8").ok()?,)).ok()?;
    let found = match PyMemoryView::from(&bytes) {
        Ok(view) => of_view(view.into_any()),
        Err(_) => dlpack::of_tensor(&bytes),
    };
    found.ok().map(|found| Found { element: Ok(element), shape, ..found })
}

fn of_view(view: Bound<'_, PyAny>) -> PyResult<Found> {
    if view.getattr("ndim")?.extract::<usize>()? == 0 {
        return of_scalar(&view);
    }
    let buffer = PyUntypedBuffer::get(&view)?;
    if !buffer.is_c_contiguous() {
        return Err(PyBufferError::new_err(
            "memory with gaps: make it contiguous first (numpy.ascontiguousarray)",
        ));
    }
    let (address, length) = (buffer.buf_ptr() as u64, buffer.len_bytes() as u64);
    let (element, shape) = (element_of(buffer.format()), buffer.shape().to_vec());
    let readonly = buffer.readonly();
    buffer.release(view.py());
    // The view itself holds the object's export, so the address stays.
    Ok(Found { memory: Memory::new(address, length, readonly, view.unbind()), element, shape })
}

/// An array without dimensions, by its bytes.
fn of_scalar(view: &Bound<'_, PyAny>) -> PyResult<Found> {
    let format = CString::new(view.getattr("format")?.extract::<String>()?)?;
    let bytes = of_view(view.call_method1("cast", ("B",))?)?;
    Ok(Found { element: element_of(&format), shape: Vec::new(), ..bytes })
}

fn element_of(format: &CStr) -> Result<Element, String> {
    Element::by_format(format).ok_or_else(|| format!("the format {format:?}"))
}
