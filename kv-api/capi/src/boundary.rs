//! Where C calls in: every C function of this crate is one call of [`guard`] or [`guard_code`] around Rust that returns
//! a `Result`. What the C interfaces of this driver have in common is `pmd_capi`.
#![allow(unsafe_code)] // a C function

use std::ffi::c_char;

pub(crate) use pmd_capi::{
    Place, Table, array, copy_out, copy_text_out, guard as guard_code, milliseconds, optional_text,
    reference, text, writable_array,
};

use crate::status::{Failure, pmd_kv_status};

/// What went wrong in the last call of this thread that failed; empty when none has. Valid until another call of this
/// thread fails.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_last_error() -> *const c_char {
    pmd_capi::last_error()
}

/// Runs a call whose results are statuses.
pub(crate) fn guard(call: impl FnOnce() -> Result<(), Failure>) -> pmd_kv_status {
    guard_code(pmd_kv_status::Ok, pmd_kv_status::Panic, || {
        call().map_err(|failure| (failure.status, failure.text))
    })
}
