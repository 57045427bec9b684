//! Memory that Python objects give: through the buffer protocol (NumPy arrays, bytearrays, memory maps, the packages'
//! own views), through DLPack (tensors) or `__cuda_array_interface__`. What is given stays alive as long as the driver
//! may touch it.
//!
//! Memory of an accelerator comes with its [`Device`], where the caller takes any ([`Memory::anywhere`]).
#![allow(unsafe_code)] // describes memory to the driver on the word of the object that owns it

use std::{
    ffi::{CStr, CString},
    sync::Arc,
};

use pmd_core::{
    accelerator::AcceleratorKind,
    memory::{MemoryKind, RegionDescription},
};
use pmd_host::transfer::KeepAlive;
use pyo3::{
    buffer::PyUntypedBuffer,
    exceptions::{PyBufferError, PyTypeError},
    prelude::*,
    types::PyMemoryView,
};

use crate::{
    array_interface,
    device::{Device, NO_WAIT},
    dlpack,
    element::Element,
};

/// Contiguous memory of a Python object, which lives at least as long as this.
pub struct Memory {
    /// First byte.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// Whether its owner forbids writing it.
    pub readonly: bool,
    /// Where it is.
    pub device: Device,
    /// A stream whose work writes it, where its owner has named one rather than seen to the order.
    pub written_by: Option<u64>,
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

/// The stream that the owner of memory on a device is told to put its work before, as the array API's
/// `__dlpack__(stream=...)` numbers it; [`NO_WAIT`] for no order at all, `None` to say nothing.
pub type StreamOf<'a> = &'a dyn Fn(Device) -> PyResult<Option<i64>>;

/// For memory that is registered: the order is that of the transfers. Extensions' devices are told nothing, since only
/// CUDA and ROCm have the number.
///
/// # Errors
/// None.
pub fn unordered(device: Device) -> PyResult<Option<i64>> {
    let has_number = matches!(device.accelerator(), Some(AcceleratorKind::Cuda | AcceleratorKind::Rocm));
    Ok(has_number.then_some(NO_WAIT))
}

impl Memory {
    /// The memory of an object, in memory of the host.
    ///
    /// # Errors
    /// `TypeError` when it gives none; `BufferError` when that is not contiguous or not in host memory.
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::anywhere(object, &unordered)?.check_host()
    }

    /// As [`Memory::of`], wherever it is. The owner of memory on a device is told the stream that `stream` says.
    ///
    /// # Errors
    /// As [`Memory::of`], but for accelerators' memory; what `stream` said.
    pub fn anywhere(object: &Bound<'_, PyAny>, stream: StreamOf<'_>) -> PyResult<Self> {
        find(object, stream).map(|found| found.memory)
    }

    /// Itself, when the processor reaches it.
    ///
    /// # Errors
    /// `BufferError` for memory of an accelerator.
    pub fn check_host(self) -> PyResult<Self> {
        let Device { kind, index } = self.device;
        if !self.device.is_host() {
            return Err(PyBufferError::new_err(format!(
                "memory on DLPack device ({kind}, {index}): only the CPU's (1, 0) is taken here, copy it there"
            )));
        }
        Ok(self)
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
        Self { address, length, readonly, device: Device::HOST, written_by: None, owner }
    }

    pub(crate) fn on(self, device: Device) -> Self {
        Self { device, ..self }
    }

    /// Memory of a device, which `owner` keeps.
    #[must_use]
    pub fn on_device(address: u64, length: u64, device: Device, owner: &Bound<'_, PyAny>) -> Self {
        Self::new(address, length, false, owner.clone().unbind()).on(device)
    }

    /// As the driver is told of it.
    #[must_use]
    pub const fn description(&self) -> RegionDescription {
        let kind = if self.device.is_host() { MemoryKind::Host } else { MemoryKind::Device };
        RegionDescription { address: self.address, length: self.length, kind, descriptor: None }
    }

    /// What the driver holds as long as it may touch the memory.
    #[must_use]
    pub fn keep_alive(self) -> KeepAlive {
        KeepAlive(Arc::new(self.owner))
    }
}

impl Array {
    /// The array that an object is, in memory of the host.
    ///
    /// # Errors
    /// As [`Memory::of`], and `BufferError` for elements of a type that has no name in [`Element`].
    pub fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let found = Self::anywhere(object, &unordered)?;
        Ok(Self { memory: found.memory.check_host()?, ..found })
    }

    /// As [`Array::of`], wherever it is.
    ///
    /// # Errors
    /// As [`Memory::anywhere`], and [`Array::of`] for elements.
    pub fn anywhere(object: &Bound<'_, PyAny>, stream: StreamOf<'_>) -> PyResult<Self> {
        let Found { memory, element, shape } = find(object, stream)?;
        let element = element.map_err(|what| {
            PyBufferError::new_err(format!("elements of {what}: send them as numbers, or as bytes (uint8)"))
        })?;
        Ok(Self { memory, element, shape })
    }
}

fn find(object: &Bound<'_, PyAny>, stream: StreamOf<'_>) -> PyResult<Found> {
    if let Ok(view) = PyMemoryView::from(object) {
        return of_view(view.into_any());
    }
    if !object.hasattr("__dlpack__")? {
        if object.hasattr(array_interface::NAME)? {
            let (mut found, written_by) = array_interface::of_object(object)?;
            found.memory.written_by = written_by;
            return Ok(found);
        }
        let message = format!(
            "{} gives no memory: neither the buffer protocol nor __dlpack__",
            object.get_type().fully_qualified_name()?
        );
        return Err(PyTypeError::new_err(message));
    }
    // A tensor that records gradients shows its memory only when it is detached from them.
    let records = object.getattr("requires_grad").and_then(|records| records.is_truthy()).unwrap_or(false);
    let detached = if records { object.call_method0("detach")? } else { object.clone() };
    dlpack::of_tensor(&detached, stream).or_else(|problem| of_bytes(&detached, stream).ok_or(problem))
}

/// The array of an object whose element type neither protocol can say, such as 8-bit floats: as bytes, with the type
/// by its name. None when there is no such name, or the bytes have gaps.
fn of_bytes(object: &Bound<'_, PyAny>, stream: StreamOf<'_>) -> Option<Found> {
    let text = object.getattr("dtype").ok()?.str().ok()?.to_string();
    let element = Element::by_name(text.rsplit('.').next()?)?;
    let shape = object.getattr("shape").ok()?.extract().ok()?;
    let library = object.get_type().module().ok()?.to_string();
    let library = object.py().import(library.split('.').next()?).ok()?;
    let bytes = object.call_method1("view", (library.getattr("uint8").ok()?,)).ok()?;
    let found = match PyMemoryView::from(&bytes) {
        Ok(view) => of_view(view.into_any()),
        Err(_) => dlpack::of_tensor(&bytes, stream),
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
