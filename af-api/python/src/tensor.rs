//! Tensors in registered memory as Python objects: with the buffer protocol and DLPack, so that NumPy and PyTorch show
//! the same bytes.
#![allow(unsafe_code)] // hands on the buffer protocol's structure

use std::ffi::c_int;

use af_api::tensor::{DataType, Layout, Tensor as Handle};
use pmd_python::{
    dlpack,
    element::Element,
    export::{Shown, strides},
    waiting::Detached,
};
use pyo3::{
    exceptions::PyBufferError,
    ffi,
    prelude::*,
    types::{PyDict, PyTuple},
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
        Ok(Self { address: handle.address(), name, element, shape, strides, handle: Detached::new(handle) })
    }

    /// The tensor itself; there as long as this is.
    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.handle.as_ref()
    }

    fn view(&self, py: Python<'_>, layout: &Layout) -> PyResult<Self> {
        let handle = self.handle().ok_or_else(|| error::closed(py, "tensor"))?;
        Self::new(handle.viewed_as(*layout).map_err(|problem| error::tensor(py, &problem))?)
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
        format!("<Tensor {}{:?} at {:#x}>", self.name, self.shape, self.address)
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

    /// A DLPack capsule of the same memory. What the taker asks for beyond that is not heard: it is host memory.
    #[pyo3(signature = (**_wishes))]
    fn __dlpack__<'py>(
        slf: &Bound<'py, Self>,
        _wishes: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let this = slf.get();
        dlpack::capsule(slf.clone().into_any(), this.address, this.element, &this.extents())
    }

    /// The CPU.
    fn __dlpack_device__(&self) -> (i32, i32) {
        (dlpack::CPU, 0)
    }

    /// # Safety
    /// Called by the interpreter, with a structure to fill in.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        let this = slf.get();
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
