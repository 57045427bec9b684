//! Where C calls in: pointers are checked, panics become a status, and the last failure's text is kept per thread.
//!
//! Every C function of this crate is one call of [`guard`] or [`guard_code`] around Rust that returns a `Result`.
#![allow(unsafe_code)] // reads and writes through the caller's pointers

use std::{
    any::Any,
    cell::RefCell,
    ffi::{CStr, CString, c_char},
    panic::{AssertUnwindSafe, catch_unwind},
    slice,
    time::Duration,
};

use crate::status::{Failure, pmd_kv_status};

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// What went wrong in the last call of this thread that failed; empty when none has. Valid until another call of this
/// thread fails.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_last_error() -> *const c_char {
    LAST_ERROR.try_with(|text| text.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

/// Runs a call whose results are statuses.
pub(crate) fn guard(call: impl FnOnce() -> Result<(), Failure>) -> pmd_kv_status {
    guard_code(pmd_kv_status::Ok, pmd_kv_status::Panic, || {
        call().map_err(|failure| (failure.status, failure.text))
    })
}

/// Runs a call whose results are codes of an interface of its own: `done` where nothing failed, `panicked` for a
/// panic.
pub(crate) fn guard_code<C>(done: C, panicked: C, call: impl FnOnce() -> Result<(), (C, String)>) -> C {
    // What a panic leaves behind is only reached through locks that were poisoned and are taken all the same.
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(())) => done,
        Ok(Err((code, text))) => {
            remember(&text);
            code
        }
        Err(payload) => {
            remember(&format!("a defect of this library: {}", message(payload.as_ref())));
            panicked
        }
    }
}

/// Makes `text` the thread's last error. Called in destructors of thread-local data too.
fn remember(text: &str) {
    let text = CString::new(text.replace('\0', "?")).unwrap_or_default();
    // Lost where the thread ends and its data is gone already.
    let _ = LAST_ERROR.try_with(|last| last.replace(text));
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a text")
}

/// Longest time that is waited, a year: the clock can say when that is.
const LONGEST_WAIT: u64 = 365 * 24 * 60 * 60 * 1000;

/// A time as C programs say it; what is beyond a year is a year.
pub(crate) const fn milliseconds(given: u64) -> Duration {
    Duration::from_millis(if given < LONGEST_WAIT { given } else { LONGEST_WAIT })
}

fn null(what: &str) -> Failure {
    Failure::new(pmd_kv_status::NullPointer, format!("{what} is NULL"))
}

/// The text at a pointer.
///
/// # Safety
/// `text` is null, or a zero byte ends it; it does not change while the result lives.
pub(crate) unsafe fn text<'a>(text: *const c_char, what: &str) -> Result<&'a str, Failure> {
    // SAFETY: passed on to the caller.
    unsafe { optional_text(text, what) }?.ok_or_else(|| null(what))
}

/// The text at a pointer, unless that is null.
///
/// # Safety
/// As [`text`].
pub(crate) unsafe fn optional_text<'a>(text: *const c_char, what: &str) -> Result<Option<&'a str>, Failure> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, so the caller promises a zero byte.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|_| Failure::argument(format!("{what} is not UTF-8")))
}

/// The structure at a pointer.
///
/// # Safety
/// `value` is null or points to a `T` that does not change while the result lives.
pub(crate) unsafe fn reference<'a, T>(value: *const T, what: &str) -> Result<&'a T, Failure> {
    // SAFETY: the caller's promise.
    unsafe { value.as_ref() }.ok_or_else(|| null(what))
}

/// The array at a pointer, which may be null when it has no elements.
///
/// # Safety
/// `values` is null or points to `count` elements that do not change while the result lives.
pub(crate) unsafe fn array<'a, T>(values: *const T, count: usize, what: &str) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if values.is_null() {
        return Err(null(what));
    }
    if !values.is_aligned()
        || count.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize)
    {
        return Err(Failure::argument(format!("{what}: {count} elements at {values:p} cannot be")));
    }
    // SAFETY: not null, aligned, not too long; the rest is the caller's promise.
    Ok(unsafe { slice::from_raw_parts(values, count) })
}

/// A place for a result, or why there is none. Checked before the work is done, so that no result is lost.
#[derive(Clone, Copy)]
pub(crate) struct Place<T>(*mut T);

impl<T> Place<T> {
    /// # Safety
    /// `place` is null or may be written until the value is gone.
    pub(crate) unsafe fn new(place: *mut T, what: &str) -> Result<Self, Failure> {
        if place.is_null() { Err(null(what)) } else { Ok(Self(place)) }
    }

    /// # Safety
    /// As [`Place::new`]. Null is no place, and nothing is written.
    pub(crate) const unsafe fn optional(place: *mut T) -> Self {
        Self(place)
    }

    pub(crate) fn put(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: whoever made the place promised that it may be written.
            unsafe { self.0.write(value) };
        }
    }
}

/// Copies bytes to the caller, or tells how much room they need.
///
/// # Safety
/// `room` is null or has room for `capacity` bytes.
pub(crate) unsafe fn copy_out(
    bytes: &[u8],
    room: *mut u8,
    capacity: usize,
    length: Place<usize>,
) -> Result<(), Failure> {
    length.put(bytes.len());
    if bytes.len() > capacity || (room.is_null() && !bytes.is_empty()) {
        let text = format!("{} bytes are needed, there is room for {capacity}", bytes.len());
        return Err(Failure::new(pmd_kv_status::BufferTooSmall, text));
    }
    if !bytes.is_empty() {
        // SAFETY: not null, and the caller promises room for so many bytes, which no reference of ours covers.
        unsafe { room.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
    Ok(())
}

/// Copies text and the zero byte that ends it; the length that is told is without that byte.
///
/// # Safety
/// As [`copy_out`].
pub(crate) unsafe fn copy_text_out(
    text: &str,
    room: *mut c_char,
    capacity: usize,
    length: Place<usize>,
) -> Result<(), Failure> {
    let bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0).chain([0]).collect();
    // SAFETY: passed on to the caller.
    let copied = unsafe { copy_out(&bytes, room.cast(), capacity, length) };
    length.put(bytes.len() - 1);
    copied
}
