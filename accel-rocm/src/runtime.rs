//! The runtime as the other modules call it: codes become errors, and the thread's last error and current device stay the
//! caller's.
#![allow(unsafe_code)] // calls the runtime

use core::ffi::{CStr, c_int};
use core::fmt;
use core::ops::Deref;

use hip_sys::hip::{hipError_t, hipErrorNotReady, hipSuccess};
use hip_sys::{LoadError, MemoryType};
use pmd_core::accelerator::{AcceleratorError, AcceleratorKind};

/// What a call of the table answers.
pub(crate) type Answer = Result<hipError_t, LoadError>;

/// The loaded runtime. Calls of its table are safe under the rules of the C functions that they name.
#[derive(Clone, Copy)]
pub(crate) struct Hip {
    library: &'static hip_sys::Runtime,
    major: u32,
}

impl Hip {
    /// `major` is the runtime's version, which decides how it numbers kinds of memory.
    pub(crate) const fn new(library: &'static hip_sys::Runtime, major: u32) -> Self {
        Self { library, major }
    }

    pub(crate) const fn newer(self) -> hip_sys::Newer {
        self.library.newer
    }

    pub(crate) const fn memory_type(self, number: hip_sys::hip::hipMemoryType) -> MemoryType {
        MemoryType::of(number, self.major)
    }

    /// Takes any code but success as an error.
    pub(crate) fn check(self, function: &'static str, answer: Answer) -> Result<(), AcceleratorError> {
        match answer {
            Ok(code) if code == hipSuccess => Ok(()),
            Ok(code) => Err(self.error(function, code)),
            Err(_) => Err(unsupported(function, "the installed runtime has no such function")),
        }
    }

    /// As [`Hip::check`], for functions that answer whether something is done.
    pub(crate) fn is_done(self, function: &'static str, answer: Answer) -> Result<bool, AcceleratorError> {
        if answer == Ok(hipErrorNotReady) {
            self.forget_error();
            return Ok(false);
        }
        self.check(function, answer).map(|()| true)
    }

    /// An error by its code and the runtime's name for it.
    pub(crate) fn error(self, function: &'static str, code: hipError_t) -> AcceleratorError {
        self.forget_error();
        // SAFETY: any number may be asked for; the text is the library's own and stays.
        let name = unsafe { self.hipGetErrorName(code) }.ok().filter(|name| !name.is_null());
        let name = name.map_or_else(
            || "no name".to_owned(),
            // SAFETY: a text that ends with zero, as above.
            |name| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned(),
        );
        AcceleratorError::Runtime { kind: AcceleratorKind::Rocm, function, code: code.into(), name }
    }

    /// The calling thread asks for its own last error later, and must not find ours.
    fn forget_error(self) {
        // SAFETY: takes and gives a number.
        let _ = unsafe { self.hipGetLastError() };
    }

    /// Makes a device the thread's current one until the value is dropped.
    pub(crate) fn on_device(self, ordinal: c_int) -> Result<Current, AcceleratorError> {
        let mut before = ordinal;
        // SAFETY: writes one int.
        self.check("hipGetDevice", unsafe { self.hipGetDevice(&mut before) })?;
        if before == ordinal {
            return Ok(Current { hip: self, before: None });
        }
        // SAFETY: any number may be passed.
        self.check("hipSetDevice", unsafe { self.hipSetDevice(ordinal) })?;
        Ok(Current { hip: self, before: Some(before) })
    }
}

impl Deref for Hip {
    type Target = hip_sys::Hip;

    fn deref(&self) -> &hip_sys::Hip {
        &self.library.hip
    }
}

impl fmt::Debug for Hip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.library.name, self.major)
    }
}

/// Gives the thread the device back that it had.
#[must_use]
pub(crate) struct Current {
    hip: Hip,
    before: Option<c_int>,
}

impl Drop for Current {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            // SAFETY: it was the thread's device. Nobody could be told of a failure.
            let answer = unsafe { self.hip.hipSetDevice(before) };
            let _ = self.hip.check("hipSetDevice", answer);
        }
    }
}

/// What the runtime cannot do.
pub(crate) const fn unsupported(what: &'static str, why: &'static str) -> AcceleratorError {
    AcceleratorError::Unsupported { kind: AcceleratorKind::Rocm, what, why }
}

/// The runtime's code in an error, where it is one of the runtime.
pub(crate) fn code(error: &AcceleratorError) -> Option<hipError_t> {
    match error {
        AcceleratorError::Runtime { code, .. } => hipError_t::try_from(*code).ok(),
        _ => None,
    }
}

/// An error with some codes replaced by what they mean here.
pub(crate) fn meaning(
    error: AcceleratorError,
    codes: &[hipError_t],
    means: impl FnOnce() -> AcceleratorError,
) -> AcceleratorError {
    if code(&error).is_some_and(|code| codes.contains(&code)) { means() } else { error }
}
