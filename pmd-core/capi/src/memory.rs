//! The caller's memory: texts and arrays that are read, and places that results go to. All are checked before anything
//! is done.
#![allow(unsafe_code)] // reads and writes through the caller's pointers

use std::{
    ffi::{CStr, c_char},
    slice,
    time::Duration,
};

use crate::BadCall;

/// Longest time that is waited, a year: the clock can say when that is.
const LONGEST_WAIT: u64 = 365 * 24 * 60 * 60 * 1000;

/// A time as C programs say it; what is beyond a year is a year.
#[must_use]
pub const fn milliseconds(given: u64) -> Duration {
    Duration::from_millis(if given < LONGEST_WAIT { given } else { LONGEST_WAIT })
}

/// The text at a pointer.
///
/// # Errors
/// [`BadCall::Null`], [`BadCall::NotUtf8`].
///
/// # Safety
/// `text` is null, or a zero byte ends it; it does not change while the result lives.
pub unsafe fn text<'a>(text: *const c_char, what: &'static str) -> Result<&'a str, BadCall> {
    // SAFETY: passed on to the caller.
    unsafe { optional_text(text, what) }?.ok_or(BadCall::Null { what })
}

/// The text at a pointer, unless that is null.
///
/// # Errors
/// [`BadCall::NotUtf8`].
///
/// # Safety
/// As [`text`].
pub unsafe fn optional_text<'a>(text: *const c_char, what: &'static str) -> Result<Option<&'a str>, BadCall> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, so the caller promises a zero byte.
    let text = unsafe { CStr::from_ptr(text) };
    text.to_str().map(Some).map_err(|_| BadCall::NotUtf8 { what })
}

/// The structure at a pointer.
///
/// # Errors
/// [`BadCall::Null`].
///
/// # Safety
/// `value` is null or points to a `T` that does not change while the result lives.
pub unsafe fn reference<'a, T>(value: *const T, what: &'static str) -> Result<&'a T, BadCall> {
    // SAFETY: the caller's promise.
    unsafe { value.as_ref() }.ok_or(BadCall::Null { what })
}

/// The array at a pointer, which may be null when it has no elements.
///
/// # Errors
/// [`BadCall::Null`], [`BadCall::Array`].
///
/// # Safety
/// `values` is null or points to `count` elements that do not change while the result lives.
pub unsafe fn array<'a, T>(values: *const T, count: usize, what: &'static str) -> Result<&'a [T], BadCall> {
    if count == 0 {
        return Ok(&[]);
    }
    check_array(values, count, what)?;
    // SAFETY: not null, aligned, not too long; the rest is the caller's promise.
    Ok(unsafe { slice::from_raw_parts(values, count) })
}

/// Checks that there can be room for `count` elements, which may be none.
///
/// # Errors
/// [`BadCall::Null`], [`BadCall::Array`].
pub fn writable_array<T>(values: *mut T, count: usize, what: &'static str) -> Result<(), BadCall> {
    if count == 0 { Ok(()) } else { check_array(values, count, what) }
}

fn check_array<T>(values: *const T, count: usize, what: &'static str) -> Result<(), BadCall> {
    if values.is_null() {
        return Err(BadCall::Null { what });
    }
    if !values.is_aligned()
        || count.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize)
    {
        return Err(BadCall::Array { what, count, address: values.addr() });
    }
    Ok(())
}

/// A place for a result, or why there is none. Checked before the work is done, so that no result is lost.
#[derive(Clone, Copy, Debug)]
pub struct Place<T>(*mut T);

impl<T> Place<T> {
    /// A place that has to be there.
    ///
    /// # Errors
    /// [`BadCall::Null`].
    ///
    /// # Safety
    /// `place` is null or may be written until the value is gone.
    pub unsafe fn new(place: *mut T, what: &'static str) -> Result<Self, BadCall> {
        if place.is_null() { Err(BadCall::Null { what }) } else { Ok(Self(place)) }
    }

    /// A place that need not be there: null is none, and nothing is written.
    ///
    /// # Safety
    /// As [`Place::new`].
    #[must_use]
    pub const unsafe fn optional(place: *mut T) -> Self {
        Self(place)
    }

    /// Writes the result.
    pub fn put(self, value: T) {
        if !self.0.is_null() {
            // SAFETY: whoever made the place promised that it may be written.
            unsafe { self.0.write(value) };
        }
    }
}

/// Copies bytes to the caller, or tells how much room they need.
///
/// # Errors
/// [`BadCall::NoRoom`]; then nothing was copied, and `length` was written all the same.
///
/// # Safety
/// `room` is null or has room for `capacity` bytes.
pub unsafe fn copy_out(
    bytes: &[u8],
    room: *mut u8,
    capacity: usize,
    length: Place<usize>,
) -> Result<(), BadCall> {
    length.put(bytes.len());
    if bytes.len() > capacity || (room.is_null() && !bytes.is_empty()) {
        return Err(BadCall::NoRoom { needed: bytes.len(), capacity });
    }
    if !bytes.is_empty() {
        // SAFETY: not null, and the caller promises room for so many bytes, which no reference of ours covers.
        unsafe { room.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
    Ok(())
}

/// Copies text and the zero byte that ends it; the length that is told is without that byte.
///
/// # Errors
/// As [`copy_out`].
///
/// # Safety
/// As [`copy_out`].
pub unsafe fn copy_text_out(
    text: &str,
    room: *mut c_char,
    capacity: usize,
    length: Place<usize>,
) -> Result<(), BadCall> {
    let bytes: Vec<u8> = text.bytes().filter(|byte| *byte != 0).chain([0]).collect();
    // SAFETY: passed on to the caller.
    let copied = unsafe { copy_out(&bytes, room.cast(), capacity, length) };
    length.put(bytes.len() - 1);
    copied
}
