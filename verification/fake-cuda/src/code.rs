//! `CUresult`, and what every function does first and last. Used by all of `api`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use fake_device::FakeError;

use crate::state;

/// A `CUresult`.
pub(crate) type Code = u32;

pub(crate) const SUCCESS: Code = 0;
pub(crate) const INVALID_VALUE: Code = 1;
pub(crate) const OUT_OF_MEMORY: Code = 2;
pub(crate) const NOT_INITIALIZED: Code = 3;
pub(crate) const NO_DEVICE: Code = 100;
pub(crate) const INVALID_DEVICE: Code = 101;
pub(crate) const INVALID_CONTEXT: Code = 201;
pub(crate) const INVALID_PTX: Code = 218;
pub(crate) const INVALID_HANDLE: Code = 400;
pub(crate) const NOT_FOUND: Code = 500;
pub(crate) const NOT_READY: Code = 600;
pub(crate) const ILLEGAL_ADDRESS: Code = 700;
pub(crate) const CONTEXT_IS_DESTROYED: Code = 709;
pub(crate) const ALREADY_REGISTERED: Code = 712;
pub(crate) const NOT_REGISTERED: Code = 713;
pub(crate) const MISALIGNED_ADDRESS: Code = 716;
pub(crate) const NOT_SUPPORTED: Code = 801;
pub(crate) const CAPTURE_UNSUPPORTED: Code = 900;
pub(crate) const CAPTURE_INVALIDATED: Code = 901;
pub(crate) const CAPTURE_MERGE: Code = 902;
pub(crate) const CAPTURE_UNMATCHED: Code = 903;
pub(crate) const CAPTURE_UNJOINED: Code = 904;
pub(crate) const CAPTURE_ISOLATION: Code = 905;
pub(crate) const CAPTURED_EVENT: Code = 907;
pub(crate) const CAPTURE_WRONG_THREAD: Code = 908;
pub(crate) const UNKNOWN: Code = 999;

/// Names, for `cuGetErrorName`.
pub(crate) const NAMES: [(Code, &std::ffi::CStr); 26] = [
    (SUCCESS, c"CUDA_SUCCESS"),
    (INVALID_VALUE, c"CUDA_ERROR_INVALID_VALUE"),
    (OUT_OF_MEMORY, c"CUDA_ERROR_OUT_OF_MEMORY"),
    (NOT_INITIALIZED, c"CUDA_ERROR_NOT_INITIALIZED"),
    (NO_DEVICE, c"CUDA_ERROR_NO_DEVICE"),
    (INVALID_DEVICE, c"CUDA_ERROR_INVALID_DEVICE"),
    (INVALID_CONTEXT, c"CUDA_ERROR_INVALID_CONTEXT"),
    (INVALID_PTX, c"CUDA_ERROR_INVALID_PTX"),
    (INVALID_HANDLE, c"CUDA_ERROR_INVALID_HANDLE"),
    (NOT_FOUND, c"CUDA_ERROR_NOT_FOUND"),
    (NOT_READY, c"CUDA_ERROR_NOT_READY"),
    (ILLEGAL_ADDRESS, c"CUDA_ERROR_ILLEGAL_ADDRESS"),
    (CONTEXT_IS_DESTROYED, c"CUDA_ERROR_CONTEXT_IS_DESTROYED"),
    (ALREADY_REGISTERED, c"CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED"),
    (NOT_REGISTERED, c"CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED"),
    (MISALIGNED_ADDRESS, c"CUDA_ERROR_MISALIGNED_ADDRESS"),
    (NOT_SUPPORTED, c"CUDA_ERROR_NOT_SUPPORTED"),
    (CAPTURE_UNSUPPORTED, c"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"),
    (CAPTURE_INVALIDATED, c"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"),
    (CAPTURE_MERGE, c"CUDA_ERROR_STREAM_CAPTURE_MERGE"),
    (CAPTURE_UNMATCHED, c"CUDA_ERROR_STREAM_CAPTURE_UNMATCHED"),
    (CAPTURE_UNJOINED, c"CUDA_ERROR_STREAM_CAPTURE_UNJOINED"),
    (CAPTURE_ISOLATION, c"CUDA_ERROR_STREAM_CAPTURE_ISOLATION"),
    (CAPTURED_EVENT, c"CUDA_ERROR_CAPTURED_EVENT"),
    (CAPTURE_WRONG_THREAD, c"CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD"),
    (UNKNOWN, c"CUDA_ERROR_UNKNOWN"),
];

/// Runs a function: after `cuInit`, unless it is planned to fail, and without letting a panic out.
pub(crate) fn call(name: &str, body: impl FnOnce() -> Result<(), Code>) -> Code {
    let guarded = catch_unwind(AssertUnwindSafe(|| {
        if !state::is_initialised() {
            return Err(NOT_INITIALIZED);
        }
        match state::runtime().fault(name) {
            Some(code) => Err(Code::try_from(code).unwrap_or(UNKNOWN)),
            None => body(),
        }
    }));
    guarded.unwrap_or(Err(UNKNOWN)).err().unwrap_or(SUCCESS)
}

/// The driver's code for a refusal.
pub(crate) fn code(error: FakeError) -> Code {
    match error {
        FakeError::OutOfMemory { .. } => OUT_OF_MEMORY,
        FakeError::NoDevice { .. } => INVALID_DEVICE,
        FakeError::NoHandle { .. } => INVALID_HANDLE,
        FakeError::Registered { .. } => ALREADY_REGISTERED,
        FakeError::Invalid { .. }
        | FakeError::Unknown { .. }
        | FakeError::Freed { .. }
        | FakeError::WrongOwner { .. }
        | FakeError::OutOfBounds { .. }
        | FakeError::Gone => INVALID_VALUE,
        FakeError::NoAccess { .. } => ILLEGAL_ADDRESS,
    }
}
