//! Codes of the runtime, and a thread's last error. Used by every function of the library.
#![allow(unsafe_code)] // writes what C functions answer

use std::cell::Cell;

use fake_device::FakeError;
use hip_sys::hip::{
    hipError_t, hipErrorHostMemoryAlreadyRegistered, hipErrorInvalidDevice, hipErrorInvalidDevicePointer,
    hipErrorInvalidHandle, hipErrorInvalidValue, hipErrorOutOfMemory, hipSuccess,
};

use crate::device::RUNTIME;

/// A code that is not success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HipError(pub(crate) hipError_t);

impl From<FakeError> for HipError {
    fn from(error: FakeError) -> Self {
        Self(match error {
            FakeError::OutOfMemory { .. } => hipErrorOutOfMemory,
            FakeError::NoDevice { .. } => hipErrorInvalidDevice,
            FakeError::NoHandle { .. } => hipErrorInvalidHandle,
            FakeError::Gone => hipErrorInvalidDevicePointer,
            FakeError::Registered { .. } => hipErrorHostMemoryAlreadyRegistered,
            _ => hipErrorInvalidValue,
        })
    }
}

thread_local! {
    static LAST: Cell<hipError_t> = const { Cell::new(hipSuccess) };
}

/// A call of a function: fails where a test asked for it, else does what it does.
pub(crate) fn call(function: &str, body: impl FnOnce() -> Result<(), HipError>) -> hipError_t {
    let planned = RUNTIME.fault(function).map(|code| HipError(code as hipError_t));
    let Err(HipError(code)) = planned.map_or_else(body, Err) else { return hipSuccess };
    LAST.set(code);
    code
}

/// The thread's last error, which stays.
pub(crate) fn last() -> hipError_t {
    LAST.get()
}

/// The thread's last error, once.
pub(crate) fn take_last() -> hipError_t {
    LAST.replace(hipSuccess)
}

/// Writes an answer.
///
/// # Safety
/// The pointer is null or may be written.
pub(crate) unsafe fn put<T>(pointer: *mut T, value: T) -> Result<(), HipError> {
    if pointer.is_null() {
        return Err(HipError(hipErrorInvalidValue));
    }
    // SAFETY: the caller's promise; alignment is the C compiler's.
    unsafe { pointer.write_unaligned(value) };
    Ok(())
}

/// How work in a stream failed.
pub(crate) fn of_stream(code: i64) -> HipError {
    HipError(code as hipError_t)
}
