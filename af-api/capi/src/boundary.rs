//! Where C calls in: every C function of this crate is one call of [`guard`] around Rust that returns a `Result`. What
//! the C interfaces of this driver have in common is `pmd_capi`.
#![allow(unsafe_code)] // a C function

use std::ffi::c_char;

pub(crate) use pmd_capi::{
    Place, Table, array, copy_text_out, milliseconds, optional_text, text, writable_array,
};

use crate::status::{Failure, pmd_af_status};

/// What went wrong in the last call of this thread that failed; empty when none has. Valid until another call of this
/// thread fails.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_af_last_error() -> *const c_char {
    pmd_capi::last_error()
}

/// Runs a call.
pub(crate) fn guard(call: impl FnOnce() -> Result<(), Failure>) -> pmd_af_status {
    pmd_capi::guard(pmd_af_status::Ok, pmd_af_status::Panic, || {
        call().map_err(|failure| (failure.status, failure.text))
    })
}
