//! `__cuda_array_interface__`, version 3: how CuPy, Numba and PyTorch show memory of CUDA, and PyTorch that of HIP.
//!
//! It does not say which device the memory is on; whoever registers it asks the runtimes.

use pyo3::{exceptions::PyBufferError, prelude::*, types::PyDict};

use crate::{
    device::{self, Device},
    element::Element,
    memory::{Found, Memory},
};

/// The attribute's name.
pub const NAME: &str = "__cuda_array_interface__";

/// The newest version that is read; others say the same under the same names.
const VERSION: i32 = 3;

/// What an object of this many bytes at an address shows.
///
/// # Errors
/// `MemoryError`.
pub fn shown(py: Python<'_>, address: u64, bytes: u64) -> PyResult<Bound<'_, PyDict>> {
    let interface = PyDict::new(py);
    interface.set_item("shape", (bytes,))?;
    interface.set_item("typestr", "|u1")?;
    interface.set_item("data", (address, false))?;
    interface.set_item("strides", py.None())?;
    interface.set_item("stream", py.None())?;
    interface.set_item("version", VERSION)?;
    Ok(interface)
}

/// The array of an object that has the attribute, and the stream that its content is written by, if it names one.
///
/// # Errors
/// `BufferError` for arrays with gaps or masks, or what is no such interface.
pub(crate) fn of_object(object: &Bound<'_, PyAny>) -> PyResult<(Found, Option<u64>)> {
    let interface = object.getattr(NAME)?;
    let item = |name: &str| interface.get_item(name);
    let optional = |name: &str| item(name).ok().filter(|value| !value.is_none());
    let (address, readonly): (u64, bool) = item("data")?.extract()?;
    let shape: Vec<usize> = item("shape")?.extract()?;
    let text: String = item("typestr")?.extract()?;
    let item_bytes = text.get(2..).and_then(|digits| digits.parse::<usize>().ok());
    let no_type = || PyBufferError::new_err(format!("elements of type {text:?}: give numbers"));
    let item_bytes = item_bytes.ok_or_else(no_type)?;
    if optional("mask").is_some() {
        return Err(PyBufferError::new_err("an array with a mask: give one without"));
    }
    if let Some(strides) = optional("strides") {
        let strides: Vec<isize> = strides.extract()?;
        if !is_contiguous(&shape, &strides, item_bytes) {
            return Err(PyBufferError::new_err("an array with gaps: make it contiguous first"));
        }
    }
    let elements = shape.iter().try_fold(item_bytes, |product, extent| product.checked_mul(*extent));
    let too_large = || PyBufferError::new_err(format!("an array of shape {shape:?}"));
    let bytes = elements.ok_or_else(too_large)? as u64;
    let stream = optional("stream").map(|stream| stream.extract()).transpose()?;
    // The object keeps its memory; which device it is on is not told.
    let memory = Memory::new(address, bytes, readonly, object.clone().unbind());
    let memory = memory.on(Device { kind: device::CUDA, index: 0 });
    let element = named(&text).ok_or_else(|| format!("type {text:?}"));
    Ok((Found { memory, element, shape }, stream))
}

/// The element type of an array interface's `typestr`, in this machine's byte order.
fn named(text: &str) -> Option<Element> {
    let kind = match text.get(1..2)? {
        "i" => "int",
        "u" => "uint",
        "f" => "float",
        "c" => "complex",
        "b" => return Element::by_name("bool"),
        _ => return None,
    };
    let bits = text.get(2..)?.parse::<usize>().ok()?.checked_mul(8)?;
    if text.starts_with('>') && bits > 8 { None } else { Element::by_name(&format!("{kind}{bits}")) }
}

/// Whether elements follow each other, the last dimension's closest; of extents of 1 the stride says nothing.
fn is_contiguous(shape: &[usize], strides: &[isize], item_bytes: usize) -> bool {
    let mut wanted = item_bytes;
    for (extent, stride) in shape.iter().zip(strides).rev() {
        if *extent != 1 && usize::try_from(*stride) != Ok(wanted) {
            return shape.contains(&0);
        }
        wanted = wanted.saturating_mul(*extent);
    }
    true
}
