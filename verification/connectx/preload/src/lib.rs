//! The C library's names, one of libibverbs', and nothing else: what each does is in [`connectx::shim`] and
//! [`connectx::uar`].
//!
//! A package of its own, so that programs that link `connectx` (the launcher, its tests) do not interpose their own
//! `open` and `write`. The launcher preloads it; the loader calls it in place of the C library.
#![allow(unsafe_code)] // defines the C library's symbols

use std::ffi::{c_char, c_int, c_ulong, c_void};

use connectx::{shim, uar};
use libc::{mode_t, off_t, size_t, ssize_t};
use pmd_sys::verbs::{ibv_context, ibv_device};

/// `open(2)`. A variadic function's third argument arrives where a plain one's does (System V x86-64, AAPCS64).
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { shim::open(path, flags, mode) }
}

/// `open(2)` with large offsets, which are all there are on 64 bits.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn open64(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { shim::open(path, flags, mode) }
}

/// `openat(2)`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { shim::openat(folder, path, flags, mode) }
}

/// `close(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn close(descriptor: c_int) -> c_int {
    shim::close(descriptor)
}

/// `write(2)`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn write(descriptor: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    // SAFETY: passed on as it came.
    unsafe { shim::write(descriptor, bytes, count) }
}

/// `ioctl(2)`; variadic as `open`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ioctl(descriptor: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { shim::ioctl(descriptor, request, argument) }
}

/// `mmap(2)`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap(
    address: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    descriptor: c_int,
    offset: off_t,
) -> *mut c_void {
    // SAFETY: passed on as it came.
    unsafe { shim::mmap(address, length, protection, flags, descriptor, offset) }
}

/// `mmap(2)` with large offsets.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap64(
    address: *mut c_void,
    length: size_t,
    protection: c_int,
    flags: c_int,
    descriptor: c_int,
    offset: off_t,
) -> *mut c_void {
    // SAFETY: passed on as it came.
    unsafe { shim::mmap(address, length, protection, flags, descriptor, offset) }
}

/// `munmap(2)`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn munmap(address: *mut c_void, length: size_t) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { shim::munmap(address, length) }
}

/// `stat(2)`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stat(path: *const c_char, into: *mut libc::stat) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { shim::stat(path, into) }
}

/// `stat(2)` with large offsets.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stat64(path: *const c_char, into: *mut libc::stat) -> c_int {
    // SAFETY: passed on as it came; both structures are one on 64 bits.
    unsafe { shim::stat(path, into) }
}

/// `fstat(2)`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fstat(descriptor: c_int, into: *mut libc::stat) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { shim::fstat(descriptor, into) }
}

/// `fstat(2)` with large offsets.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fstat64(descriptor: c_int, into: *mut libc::stat) -> c_int {
    // SAFETY: passed on as it came; both structures are one on 64 bits.
    unsafe { shim::fstat(descriptor, into) }
}

/// `socket(2)`.
#[unsafe(no_mangle)]
pub extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    shim::socket(domain, kind, protocol)
}

/// `sigaction(2)`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sigaction(
    signal: c_int,
    new: *const libc::sigaction,
    old: *mut libc::sigaction,
) -> c_int {
    // SAFETY: passed on as it came.
    unsafe { uar::sigaction(signal, new, old) }
}

/// `signal(2)`.
///
/// # Safety
/// As the C library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn signal(signal: c_int, handler: libc::sighandler_t) -> libc::sighandler_t {
    // SAFETY: passed on as it came.
    unsafe { uar::signal(signal, handler) }
}

/// `ibv_open_device(3)` of libibverbs.
///
/// # Safety
/// As libibverbs'.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ibv_open_device(device: *mut ibv_device) -> *mut ibv_context {
    // SAFETY: passed on as it came.
    unsafe { uar::open_device(device) }
}
