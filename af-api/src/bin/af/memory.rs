//! Tensors of this process as slices, between requests.
#![allow(unsafe_code)] // borrows memory that requests read and write

use std::slice;

use af_api::tensor::Tensor;

/// All bytes of a tensor for reading.
///
/// # Safety
/// No request writes the tensor while the slice lives, and nothing else does.
pub(crate) unsafe fn bytes(tensor: &Tensor) -> &[u8] {
    // SAFETY: the tensor lies in registered memory of this process, which it keeps; the caller promises the rest.
    unsafe { slice::from_raw_parts(tensor.as_ptr(), tensor.bytes() as usize) }
}

/// All bytes of a tensor for writing.
///
/// # Safety
/// No request reads or writes the tensor while the slice lives, and there is no other slice to it.
#[expect(clippy::mut_from_ref, reason = "a tensor is a handle; the caller promises that nobody else uses it")]
pub(crate) unsafe fn bytes_mut(tensor: &Tensor) -> &mut [u8] {
    // SAFETY: as above.
    unsafe { slice::from_raw_parts_mut(tensor.as_ptr(), tensor.bytes() as usize) }
}

/// The values of a tensor of 16-bit elements for reading.
///
/// # Safety
/// As [`bytes`]; the tensor is aligned to 2 bytes.
pub(crate) unsafe fn values(tensor: &Tensor) -> &[u16] {
    // SAFETY: the caller promises it; every pattern of bits is a number.
    unsafe { slice::from_raw_parts(tensor.as_ptr().cast(), tensor.bytes() as usize / 2) }
}

/// The values of a tensor of 16-bit elements for writing.
///
/// # Safety
/// As [`bytes_mut`]; the tensor is aligned to 2 bytes.
#[expect(clippy::mut_from_ref, reason = "as for bytes")]
pub(crate) unsafe fn values_mut(tensor: &Tensor) -> &mut [u16] {
    // SAFETY: the caller promises it.
    unsafe { slice::from_raw_parts_mut(tensor.as_ptr().cast(), tensor.bytes() as usize / 2) }
}
