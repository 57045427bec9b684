//! The C functions: names, arguments and codes of the CUDA driver.

pub mod context;
pub mod graph;
pub mod memory;
pub mod module;
pub mod pointer;
pub mod share;
pub mod stream;
pub mod virtual_memory;

use crate::code::{Code, INVALID_VALUE};

/// # Safety
/// `place` is null or may be written.
#[expect(unsafe_code, reason = "C functions write their results where the caller says")]
unsafe fn put<T>(place: *mut T, value: impl FnOnce() -> Result<T, Code>) -> Result<(), Code> {
    if place.is_null() {
        return Err(INVALID_VALUE);
    }
    let value = value()?;
    // SAFETY: not null, so the caller promises that it may be written.
    unsafe { place.write(value) };
    Ok(())
}
