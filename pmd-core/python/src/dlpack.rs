//! DLPack: how tensor libraries show each other their memory.
//!
//! A capsule that others give is borrowed, never consumed: as long as it lives its producer keeps the memory, and when
//! it goes, with the interpreter's lock held, its own destructor frees. A capsule that we give is consumed or not, as
//! its taker likes.
//!
//! Structures as DLPack's `dlpack.h` (0.8) gives them; versioned capsules are neither asked for nor given.
#![allow(unsafe_code)] // reads and makes the structure inside a capsule

use std::{
    ffi::{CStr, c_void},
    ptr, slice,
};

use pyo3::{exceptions::PyBufferError, ffi, prelude::*, types::PyDict};

use crate::{
    device::{self, Device},
    element::Element,
    memory::{Found, Memory, StreamOf},
};

pub use crate::device::CPU;

/// Name of a capsule that nobody has consumed.
const CAPSULE: &CStr = c"dltensor";

/// `DLTensor`.
#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    dimensions: i32,
    type_code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

/// `DLManagedTensor`, at the head of what it manages.
#[repr(C)]
struct Managed {
    tensor: Tensor,
    context: *mut c_void,
    deleter: Option<unsafe extern "C" fn(*mut Managed)>,
    shape: Box<[i64]>,
    _keep: Py<PyAny>,
}

/// A capsule with an array in host memory. `keep` holds the memory, and lives as long as the capsule or its taker.
///
/// # Errors
/// `MemoryError`.
pub fn capsule<'py>(
    keep: Bound<'py, PyAny>,
    address: u64,
    element: Element,
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    capsule_on(Device::HOST, keep, address, element, shape)
}

/// As [`capsule`], with an array in memory of a device.
///
/// # Errors
/// `MemoryError`.
pub fn capsule_on<'py>(
    device: Device,
    keep: Bound<'py, PyAny>,
    address: u64,
    element: Element,
    shape: &[usize],
) -> PyResult<Bound<'py, PyAny>> {
    let py = keep.py();
    let shape: Box<[i64]> = shape.iter().map(|extent| i64::try_from(*extent).unwrap_or(i64::MAX)).collect();
    let tensor = Tensor {
        data: address as *mut c_void,
        device_type: device.kind,
        device_id: device.index,
        dimensions: i32::try_from(shape.len()).unwrap_or(i32::MAX),
        type_code: element.code,
        bits: element.bits,
        lanes: element.lanes,
        shape: shape.as_ptr(),
        strides: ptr::null(),
        byte_offset: 0,
    };
    let managed =
        Managed { tensor, context: ptr::null_mut(), deleter: Some(release), shape, _keep: keep.unbind() };
    let managed = Box::into_raw(Box::new(managed));
    // SAFETY: the pointer is not null, and the name has static storage.
    let capsule = unsafe { ffi::PyCapsule_New(managed.cast(), CAPSULE.as_ptr(), Some(abandon)) };
    if capsule.is_null() {
        // SAFETY: nobody else has the pointer.
        unsafe { release(managed) };
        return Err(PyErr::fetch(py));
    }
    // SAFETY: a new reference that nobody else owns.
    Ok(unsafe { Bound::from_owned_ptr(py, capsule) })
}

/// `DLManagedTensor::deleter`.
///
/// # Safety
/// `managed` is of [`capsule`], and is released once.
unsafe extern "C" fn release(managed: *mut Managed) {
    // SAFETY: made by `Box::into_raw`, and never used again. Without the interpreter's lock the drop of what is kept is
    // put off until somebody holds it.
    drop(unsafe { Box::from_raw(managed) });
}

/// The destructor of a capsule: releases what nobody has consumed.
///
/// # Safety
/// Called by the interpreter, with a capsule of [`capsule`].
unsafe extern "C" fn abandon(capsule: *mut ffi::PyObject) {
    // SAFETY: a capsule; the name has static storage. A consumed one has another name.
    if unsafe { ffi::PyCapsule_IsValid(capsule, CAPSULE.as_ptr()) } == 1 {
        // SAFETY: valid under this name, so it holds what `capsule` put in, which nobody has released.
        unsafe { release(ffi::PyCapsule_GetPointer(capsule, CAPSULE.as_ptr()).cast()) };
    }
}

/// The array of an object with `__dlpack__`. For memory of an accelerator the object is told the stream that its work is
/// to be put before.
///
/// # Errors
/// `BufferError` for devices that are not known here, managed memory and tensors with gaps; what the object raised.
pub(crate) fn of_tensor(object: &Bound<'_, PyAny>, stream: StreamOf<'_>) -> PyResult<Found> {
    let (kind, index): (i32, i32) = object.call_method0("__dlpack_device__")?.extract()?;
    let device = Device { kind, index };
    if !device.is_known() {
        let why = match kind {
            device::CUDA_MANAGED => "managed memory, which migrates",
            _ => "which no accelerator here has",
        };
        let message = format!("a tensor on DLPack device ({kind}, {index}), {why}: copy it to another one");
        return Err(PyBufferError::new_err(message));
    }
    let capsule = match stream(device)? {
        None => object.call_method0("__dlpack__")?,
        Some(stream) => {
            let keywords = PyDict::new(object.py());
            keywords.set_item("stream", stream)?;
            object.call_method("__dlpack__", (), Some(&keywords))?
        }
    };
    // SAFETY: the object is alive and the name has static storage; a foreign object or name gives an exception.
    let tensor = unsafe { ffi::PyCapsule_GetPointer(capsule.as_ptr(), CAPSULE.as_ptr()) };
    if tensor.is_null() {
        return Err(PyErr::fetch(object.py()));
    }
    // SAFETY: a capsule of this name holds a DLManagedTensor, whose first field is the tensor; it lives as the capsule.
    let tensor = unsafe { &*tensor.cast::<Tensor>() };
    let element = Element { code: tensor.type_code, bits: tensor.bits, lanes: tensor.lanes };
    let (shape, length) = extent(tensor, element)?;
    let memory = Memory::new(tensor.data as u64 + tensor.byte_offset, length, false, capsule.unbind());
    let memory = memory.on(device);
    let named = element.name().map(|_| element);
    let element = named.ok_or_else(|| format!("DLPack type {}, {} bits", element.code, element.bits));
    Ok(Found { memory, element, shape })
}

/// Shape and bytes of a tensor without gaps.
fn extent(tensor: &Tensor, element: Element) -> PyResult<(Vec<usize>, u64)> {
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
    let impossible = || PyBufferError::new_err(format!("a tensor of shape {shape:?}"));
    let extents: Option<Vec<usize>> = shape.iter().map(|extent| usize::try_from(*extent).ok()).collect();
    let extents = extents.ok_or_else(impossible)?;
    let bytes = extents.iter().try_fold(element.bytes(), |product, extent| product.checked_mul(*extent));
    Ok((extents, bytes.ok_or_else(impossible)? as u64))
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
