//! What a library call answered, as a typed error.

use std::{ffi::c_int, io, ptr::NonNull};

use pmd_sys::LoadError;

use crate::backend::SetupError;

/// A pointer that a library call made; null means that errno says why not.
pub(crate) fn pointer<T>(
    call: &'static str,
    answer: Result<*mut T, LoadError>,
) -> Result<NonNull<T>, SetupError> {
    let answer = answer.map_err(|missing| lacks(call, missing))?;
    NonNull::new(answer).ok_or_else(|| SetupError::last_os_error(call))
}

/// A status that a library call gave: zero, or an error number.
pub(crate) fn status(call: &'static str, answer: Result<c_int, LoadError>) -> Result<(), SetupError> {
    match answer.map_err(|missing| lacks(call, missing))? {
        0 => Ok(()),
        // A few older entry points answer -1 and leave the reason in errno.
        -1 => Err(SetupError::last_os_error(call)),
        number => Err(SetupError::System { call, source: io::Error::from_raw_os_error(number.abs()) }),
    }
}

fn lacks(call: &'static str, missing: LoadError) -> SetupError {
    SetupError::System { call, source: io::Error::new(io::ErrorKind::Unsupported, missing) }
}
