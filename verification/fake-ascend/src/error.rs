//! Result codes of the runtime, and the text of a thread's last error. Used by every function of the library.

use std::{
    cell::RefCell,
    ffi::{CString, c_char, c_int},
    ptr,
};

use fake_device::FakeError;

use crate::device::RUNTIME;

/// Why a call failed: a code of the runtime's, and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AclError {
    pub(crate) code: i32,
    pub(crate) detail: String,
}

/// The runtime's result codes that this library gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    /// An argument that cannot be.
    InvalidParameter = 100_000,
    /// `aclFinalize` without `aclInit`.
    Uninitialised = 100_001,
    /// A second `aclInit`.
    RepeatedInitialise = 100_002,
    /// A second `aclFinalize`.
    RepeatedFinalise = 100_037,
    /// An argument that the runtime proper refuses: a range that does not fit, memory that was not allocated.
    RuntimeParameter = 107_000,
    /// A device that is not there.
    InvalidDevice = 107_001,
    /// The thread has no context.
    NoContext = 107_002,
    /// A stream of another context than the thread's.
    StreamContext = 107_003,
    /// An address that is not at the beginning of a page.
    Unaligned = 107_008,
    /// A copy whose kind does not fit its addresses.
    MemoryType = 107_016,
    /// A stream or event that is not there.
    InvalidHandle = 107_017,
    /// What no device of this library can do.
    NotSupported = 207_000,
    /// Not enough memory.
    MemoryAllocation = 207_001,
    /// A stream did not finish in time.
    StreamTimeout = 507_046,
}

impl AclError {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code: code as i32, detail: detail.into() }
    }

    /// How work in a stream failed.
    pub(crate) fn of_stream(code: i64) -> Self {
        Self { code: code as i32, detail: "work in the stream has failed".to_owned() }
    }
}

impl From<FakeError> for AclError {
    fn from(error: FakeError) -> Self {
        let code = match error {
            FakeError::OutOfMemory { .. } => Code::MemoryAllocation,
            FakeError::NoDevice { .. } => Code::InvalidDevice,
            FakeError::WrongOwner { .. } => Code::MemoryType,
            FakeError::NoHandle { .. } => Code::InvalidHandle,
            _ => Code::RuntimeParameter,
        };
        Self::new(code, error.to_string())
    }
}

#[derive(Default)]
struct Recent {
    /// Not asked for yet.
    pending: Option<CString>,
    /// Given out; kept until the thread asks again.
    given: Option<CString>,
}

thread_local! {
    static RECENT: RefCell<Recent> = const { RefCell::new(Recent { pending: None, given: None }) };
}

/// A call of a function: fails where a test asked for it, else does what it does. The text of a failure becomes the
/// thread's last error.
pub(crate) fn call(function: &str, body: impl FnOnce() -> Result<(), AclError>) -> c_int {
    let planned = |code: i64| AclError { code: code as i32, detail: format!("{function} was to fail") };
    let outcome = RUNTIME.fault(function).map_or_else(body, |code| Err(planned(code)));
    let Err(error) = outcome else { return 0 };
    let text = format!("E{}: {}", error.code, error.detail.replace('\0', "?"));
    RECENT.with_borrow_mut(|recent| recent.pending = CString::new(text).ok());
    error.code
}

/// The text of the thread's last error, once.
pub(crate) fn take_recent() -> *const c_char {
    RECENT.with_borrow_mut(|recent| {
        recent.given = recent.pending.take();
        recent.given.as_ref().map_or(ptr::null(), |text| text.as_ptr())
    })
}
