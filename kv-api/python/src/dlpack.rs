//! DLPack: how tensor libraries show each other their memory. The capsule is borrowed, never consumed: as long as it
//! lives its producer keeps the memory, and when it goes, with the interpreter's lock held, its own destructor frees.
//!
//! Structures as DLPack's `dlpack.h` (0.8) gives them; versioned capsules are not asked for.
#![allow(unsafe_code)] // reads the structure inside a capsule

use std::{ffi::c_void, slice};

use pyo3::{exceptions::PyBufferError, ffi, prelude::*};

use crate::memory::Memory;

/// `kDLCPU`.
const CPU: i32 = 1;

/// Name of a capsule that nobody has consumed.
const CAPSULE: &std::ffi::CStr = c"dltensor";

/// `DLTensor`.
#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device_type: i32,
    _device_id: i32,
    dimensions: i32,
    _type_code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

/// The memory of an object with `__dlpack__`.
///
/// # Errors
/// `BufferError` for other devices than the CPU and for tensors with gaps; what the object raised.
pub(crate) fn memory_of(object: &Bound<'_, PyAny>) -> PyResult<Memory> {
    let (device, index): (i32, i32) = object.call_method0("__dlpack_device__")?.extract()?;
    if device != CPU {
        let message = format!(
            "a tensor on DLPack device ({device}, {index}): only the CPU's (1, 0) can be registered, copy it there"
        );
        return Err(PyBufferError::new_err(message));
    }
    let capsule = object.call_method0("__dlpack__")?;
    // SAFETY: the object is alive and the name has static storage; a foreign object or name gives an exception.
    let tensor = unsafe { ffi::PyCapsule_GetPointer(capsule.as_ptr(), CAPSULE.as_ptr()) };
    if tensor.is_null() {
        return Err(PyErr::fetch(object.py()));
    }
    // SAFETY: a capsule of this name holds a DLManagedTensor, whose first field is the tensor; it lives as the capsule.
    let tensor = unsafe { &*tensor.cast::<Tensor>() };
    let (address, length) = extent(tensor)?;
    Ok(Memory::new(address, length, false, capsule.unbind()))
}

/// First byte and bytes of a tensor without gaps.
fn extent(tensor: &Tensor) -> PyResult<(u64, u64)> {
    let dimensions = usize::try_from(tensor.dimensions).unwrap_or(0);
    // SAFETY: the producer gives as many extents as there are dimensions.
    let shape = unsafe { numbers(tensor.shape, dimensions) };
    // SAFETY: strides are none or as many as there are dimensions.
    let strides = unsafe { numbers(tensor.strides, dimensions) };
    if !strides.is_empty() && !is_contiguous(shape, strides) {
        return Err(PyBufferError::new_err(
            "a tensor with gaps: make it contiguous first (tensor.contiguous())",
        ));
    }
    let element_bytes = (u64::from(tensor.bits) * u64::from(tensor.lanes)).div_ceil(8);
    let elements =
        shape.iter().try_fold(1_u64, |product, extent| product.checked_mul(u64::try_from(*extent).ok()?));
    let length = elements.and_then(|elements| elements.checked_mul(element_bytes));
    let length = length.ok_or_else(|| PyBufferError::new_err(format!("a tensor of shape {shape:?}")))?;
    Ok((tensor.data as u64 + tensor.byte_offset, length))
}

/// # Safety
/// `first` is null or the first of `count` readable numbers that outlive the result.
unsafe fn numbers<'a>(first: *const i64, count: usize) -> &'a [i64] {
    if first.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: passed on to the caller.
    unsafe { slice::from_raw_parts(first, count) }
}

/// Whether elements follow each other, the last dimension's closest; of extents of 1 the stride says nothing.
fn is_contiguous(shape: &[i64], strides: &[i64]) -> bool {
    let mut wanted = 1_i64;
    for (extent, stride) in shape.iter().zip(strides).rev() {
        if *extent != 1 && *stride != wanted {
            return shape.contains(&0);
        }
        wanted = wanted.saturating_mul(*extent);
    }
    true
}
