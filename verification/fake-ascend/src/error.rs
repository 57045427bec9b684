//! Result codes of the runtime, and the text of a thread's last error. Used by every function of `api`.

use std::{
    cell::RefCell,
    ffi::{CString, c_char, c_int},
    ptr,
};

/// Why a call failed: a code of the runtime's, and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AclError {
    pub(crate) code: Code,
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
    /// A copy whose kind does not fit its addresses.
    MemoryType = 107_016,
    /// A stream or event that is not there.
    InvalidHandle = 107_017,
    /// Not enough memory.
    MemoryAllocation = 207_001,
    /// A stream did not finish in time.
    StreamTimeout = 507_046,
}

impl AclError {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
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

/// The code of a result, whose text becomes the thread's last error.
pub(crate) fn report(result: Result<(), AclError>) -> c_int {
    let Err(error) = result else { return 0 };
    let text = format!("E{}: {}", error.code as i32, error.detail.replace('\0', "?"));
    RECENT.with_borrow_mut(|recent| recent.pending = CString::new(text).ok());
    error.code as c_int
}

/// The text of the thread's last error, once.
pub(crate) fn take_recent() -> *const c_char {
    RECENT.with_borrow_mut(|recent| {
        recent.given = recent.pending.take();
        recent.given.as_ref().map_or(ptr::null(), |text| text.as_ptr())
    })
}
