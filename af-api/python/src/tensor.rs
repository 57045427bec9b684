//! Tensors in registered memory as Python objects: with the buffer protocol and DLPack, so that NumPy and PyTorch show
//! the same bytes; those of a device with DLPack alone.
#![allow(unsafe_code)] // hands on the buffer protocol's structure, and has devices copy

use std::{ffi::c_int, slice, sync::Arc};

use af_api::tensor::{DataType, Layout, Stager, Tensor as Handle};
use pmd_core::accelerator::Accelerator;
use pmd_python::{
    device::Device as Place,
    dlpack,
    element::Element,
    export::{Shown, strides},
    memory::Memory,
    waiting::Detached,
};
use pyo3::{
    exceptions::PyBufferError,
    ffi,
    prelude::*,
    types::{PyBytes, PyDict, PyTuple},
};

use crate::error;

/// The wire's element types, by the names that NumPy, ml_dtypes and PyTorch share.
const NAMES: &[(DataType, &str)] = &[
    (DataType::Uint8, "uint8"),
    (DataType::Int8, "int8"),
    (DataType::Uint16, "uint16"),
    (DataType::Int16, "int16"),
    (DataType::Uint32, "uint32"),
    (DataType::Int32, "int32"),
    (DataType::Uint64, "uint64"),
    (DataType::Int64, "int64"),
    (DataType::Float16, "float16"),
    (DataType::Bfloat16, "bfloat16"),
    (DataType::Float32, "float32"),
    (DataType::Float64, "float64"),
    (DataType::Bool, "bool"),
    (DataType::Float8E4m3, "float8_e4m3fn"),
    (DataType::Float8E5m2, "float8_e5m2"),
    (DataType::Complex64, "complex64"),
    (DataType::Complex128, "complex128"),
];

/// Type and shape of a Python array.
///
/// # Errors
/// `TensorError` for a shape that does not travel, `BufferError` for elements that do not.
pub(crate) fn layout(py: Python<'_>, element: Element, shape: &[usize]) -> PyResult<Layout> {
    let name = element.name().unwrap_or("vectors");
    let known = NAMES.iter().find(|known| known.1 == name);
    let data_type = known.map(|known| known.0).ok_or_else(|| {
        PyBufferError::new_err(format!("elements of type {name} do not travel: send them as bytes (uint8)"))
    })?;
    let shape: Vec<u64> = shape.iter().map(|extent| *extent as u64).collect();
    Layout::new(data_type, &shape).map_err(|problem| error::tensor(py, &problem))
}

/// An array in registered memory, which it holds: `numpy()`, `torch()`, or whatever takes DLPack or a buffer.
#[pyclass(frozen, module = "pmd_af")]
pub(crate) struct Tensor {
    handle: Detached<Handle>,
    address: u64,
    name: &'static str,
    element: Element,
    shape: Box<[isize]>,
    strides: Box<[isize]>,
    /// Whose memory it is, where the processor does not reach it.
    accelerator: Option<Arc<dyn Accelerator>>,
}

impl Tensor {
    /// # Errors
    /// `BufferError` for a type without a name here.
    pub(crate) fn new(handle: Handle) -> PyResult<Self> {
        let known = NAMES.iter().find(|known| known.0 == handle.data_type());
        let name = known.map_or("unknown", |known| known.1);
        let element = Element::named(name)?;
        let shape: Box<[isize]> = handle.shape().iter().map(|extent| *extent as isize).collect();
        let strides = strides(&shape, element.bytes() as isize);
        let (address, accelerator) = (handle.address(), handle.memory().accelerator());
        Ok(Self { address, name, element, shape, strides, accelerator, handle: Detached::new(handle) })
    }

    /// The tensor itself; there as long as this is.
    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.handle.as_ref()
    }

    fn view(&self, py: Python<'_>, layout: &Layout) -> PyResult<Self> {
        let handle = self.handle().ok_or_else(|| error::closed(py, "tensor"))?;
        Self::new(handle.viewed_as(*layout).map_err(|problem| error::tensor(py, &problem))?)
    }

    /// What DLPack calls its place.
    fn place(&self) -> PyResult<Place> {
        let Some(accelerator) = &self.accelerator else { return Ok(Place::HOST) };
        let identity = accelerator.identity();
        let none = || PyBufferError::new_err(format!("DLPack has no number for memory of {}", identity.kind));
        Place::of(identity.kind, identity.ordinal).ok_or_else(none)
    }

    /// For who would touch it with the processor.
    fn check_host(&self) -> PyResult<()> {
        if self.accelerator.is_none() {
            return Ok(());
        }
        let device = self.device();
        Err(PyBufferError::new_err(format!("it is in memory of {device}: take DLPack, or copy it (copy_to)")))
    }

    /// Elements of each dimension.
    fn extents(&self) -> Vec<usize> {
        self.shape.iter().map(|extent| extent.unsigned_abs()).collect()
    }
}

#[pymethods]
impl Tensor {
    /// Elements of each dimension.
    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, self.shape.iter())
    }

    /// Name of the element type, as NumPy and PyTorch call it.
    #[getter]
    fn dtype(&self) -> &'static str {
        self.name
    }

    /// Where it is: "host", or a device as "cuda:0".
    #[getter]
    fn device(&self) -> String {
        let name = |accelerator: &Arc<dyn Accelerator>| {
            let identity = accelerator.identity();
            format!("{}:{}", identity.kind, identity.ordinal)
        };
        self.accelerator.as_ref().map_or_else(|| "host".to_owned(), name)
    }

    /// Writes an array's bytes to its beginning, and waits until they are there. No push-pull may be using it.
    fn copy_from(&self, py: Python<'_>, array: &Bound<'_, PyAny>) -> PyResult<()> {
        let (handle, from) = (self.handle().ok_or_else(|| error::closed(py, "tensor"))?, Memory::of(array)?);
        // SAFETY: the object keeps its memory for as long as the value, and Python's accesses go through no reference; that
        // the tensor is quiet is the caller's word.
        let copied = py.detach(|| unsafe {
            let bytes = slice::from_raw_parts(from.address as *const u8, from.length as usize);
            Stager::new().upload(handle, bytes, None)
        });
        copied.map_err(|problem| error::copy(py, &problem))
    }

    /// Its bytes, copied out. No push-pull may be writing it.
    fn tobytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let handle = self.handle().ok_or_else(|| error::closed(py, "tensor"))?;
        // SAFETY: that the tensor is quiet is the caller's word.
        let copied = py.detach(|| unsafe { Stager::new().download(handle, None) });
        copied.map(|bytes| PyBytes::new(py, &bytes)).map_err(|problem| error::copy(py, &problem))
    }

    /// Bytes.
    #[getter]
    fn nbytes(&self) -> isize {
        self.shape.iter().product::<isize>() * self.element.bytes() as isize
    }

    /// Address of the first byte.
    #[getter]
    fn address(&self) -> u64 {
        self.address
    }

    fn __len__(&self) -> usize {
        self.shape.first().map_or(1, |rows| rows.unsigned_abs())
    }

    fn __repr__(&self) -> String {
        format!("<Tensor {}{:?} at {:#x}, {}>", self.name, self.shape, self.address, self.device())
    }

    /// Some rows (entries of the first dimension) of the same memory.
    fn rows(&self, py: Python<'_>, first: u64, count: u64) -> PyResult<Self> {
        let handle = self.handle().ok_or_else(|| error::closed(py, "tensor"))?;
        Self::new(handle.rows(first, count).map_err(|problem| error::tensor(py, &problem))?)
    }

    /// The same memory as whole numbers of the same size, for types that NumPy lacks.
    fn bits(&self, py: Python<'_>) -> PyResult<Self> {
        let name = match self.element.bytes() {
            1 => "uint8",
            2 => "uint16",
            4 => "uint32",
            8 => "uint64",
            _ => return Err(PyBufferError::new_err(format!("no whole numbers as long as {}", self.name))),
        };
        self.view(py, &layout(py, Element::named(name)?, &self.extents())?)
    }

    /// A NumPy array of the same memory. Types that NumPy lacks need the package ml_dtypes.
    fn numpy<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        this.check_host()?;
        let asarray = py.import("numpy")?.getattr("asarray")?;
        if this.element.format().is_some() {
            return asarray.call1((slf,));
        }
        let problem = |_| {
            let name = this.name;
            PyBufferError::new_err(format!(
                "NumPy has no {name}: install ml_dtypes, or take bits() or torch()"
            ))
        };
        let data_type =
            py.import("ml_dtypes").and_then(|module| module.getattr(this.name)).map_err(problem)?;
        asarray.call1((this.bits(py)?,))?.call_method1("view", (data_type,))
    }

    /// A PyTorch tensor of the same memory.
    fn torch<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let torch = py.import("torch")?;
        let from_dlpack = torch.getattr("from_dlpack")?;
        // DLPack's numbers for 8-bit floats are newer than many releases of PyTorch that have them.
        if this.name.starts_with("float8") {
            let bits = from_dlpack.call1((this.bits(py)?,))?;
            return bits.call_method1("view", (torch.getattr(this.name)?,));
        }
        from_dlpack.call1((slf,))
    }

    /// A DLPack capsule of the same memory. What the taker asks for beyond that is not heard: what arrives in a tensor has
    /// arrived when the call that waits for it returns, so there is nothing for a stream to wait for.
    #[pyo3(signature = (**_wishes))]
    fn __dlpack__<'py>(
        slf: &Bound<'py, Self>,
        _wishes: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.get();
        let keep = slf.clone().into_any();
        dlpack::capsule_on(this.place()?, keep, this.address, this.element, &this.extents())
    }

    /// DLPack's numbers of where it is: (1, 0) for the host.
    fn __dlpack_device__(&self) -> PyResult<(i32, i32)> {
        let Place { kind, index } = self.place()?;
        Ok((kind, index))
    }

    /// # Safety
    /// Called by the interpreter, with a structure to fill in.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
        this.check_host()?;
        let format = this.element.format().ok_or_else(|| {
            let name = this.name;
            PyBufferError::new_err(format!(
                "the buffer protocol has no {name}: take bits(), numpy() or torch()"
            ))
        })?;
        let shown = Shown {
            address: this.address,
            format,
            item_bytes: this.element.bytes() as isize,
            shape: &this.shape,
            strides: &this.strides,
        };
        // SAFETY: the interpreter's structure; the tensor holds the memory, and its shape never changes.
        unsafe { shown.fill(view, flags, slf.clone().into_any()) }
    }
}
