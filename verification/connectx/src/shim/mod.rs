//! The C library's functions as the preloaded library has them: calls about the device go to [`crate::kernel`], all
//! others to the next library, which is the C library.
//!
//! Called by `connectx-preload`, which gives these functions their C names. A process that never opens the device, and
//! one for which no state file is named, gets the C library's functions and nothing else.
#![allow(unsafe_code)] // C functions, with C's pointers

pub mod real;

use std::ffi::{c_char, c_int, c_ulong, c_void};

use libc::{mode_t, off_t, size_t, ssize_t};

/// `open(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { real::open(path, flags, mode) }
}

/// `openat(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { real::openat(folder, path, flags, mode) }
}

/// `close(2)`.
pub fn close(descriptor: c_int) -> c_int {
    // SAFETY: takes a number.
    unsafe { real::close(descriptor) }
}

/// `write(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn write(descriptor: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    // SAFETY: the caller's promise.
    unsafe { real::write(descriptor, bytes, count) }
}

/// `ioctl(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn ioctl(descriptor: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { real::ioctl(descriptor, request, argument) }
}

/// `mmap(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn mmap(
    address: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    descriptor: c_int,
    offset: off_t,
) -> *mut c_void {
    // SAFETY: the caller's promise.
    unsafe { real::mmap(address, length, protection, flags, descriptor, offset) }
}

/// `munmap(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn munmap(address: *mut c_void, length: size_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { real::munmap(address, length) }
}

/// `stat(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn stat(path: *const c_char, into: *mut libc::stat) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { real::stat(path, into) }
}

/// `fstat(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn fstat(descriptor: c_int, into: *mut libc::stat) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { real::fstat(descriptor, into) }
}

/// `socket(2)`.
pub fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    // SAFETY: takes numbers.
    unsafe { real::socket(domain, kind, protocol) }
}
