//! The C library's functions as the preloaded library has them: calls about the device go to [`crate::kernel`], all
//! others to the next library, which is the C library.
//!
//! Called by `connectx-preload`, which gives these functions their C names. A process that never opens the device, and
//! one for which no state file is named, gets the C library's functions and nothing else. What is asked at every call
//! locks and allocates nothing: programs call `write` and `close` in signal handlers.
#![allow(unsafe_code)] // C functions, with C's pointers

pub mod real;

use std::{
    ffi::{CStr, c_char, c_int, c_ulong, c_void},
    sync::OnceLock,
};

use libc::{mode_t, off_t, size_t, ssize_t};

use crate::{config::Config, errno::Errno, kernel, port, uar};

/// `NETLINK_RDMA`. Without it libibverbs looks for devices in sysfs.
const NETLINK_RDMA: c_int = 20;

/// `open(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn open(path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { device_config(path) } {
        Some(config) => or_errno(open_device(config, flags), -1),
        // SAFETY: the caller's promise.
        None => unsafe { real::open(path, flags, mode) },
    }
}

/// `openat(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn openat(folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int {
    // SAFETY: the caller's promise.
    match unsafe { device_config(path) } {
        Some(config) => or_errno(open_device(config, flags), -1),
        // SAFETY: the caller's promise.
        None => unsafe { real::openat(folder, path, flags, mode) },
    }
}

/// `close(2)`.
pub fn close(descriptor: c_int) -> c_int {
    if kernel::owns(descriptor) {
        kernel::close(descriptor);
    }
    // SAFETY: takes a number.
    unsafe { real::close(descriptor) }
}

/// `write(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn write(descriptor: c_int, bytes: *const c_void, count: size_t) -> ssize_t {
    if kernel::is_context(descriptor) {
        let done = kernel::write(descriptor, bytes.expose_provenance() as u64, count);
        return or_errno(done.map(|()| count.cast_signed()), -1);
    }
    // SAFETY: the caller's promise.
    unsafe { real::write(descriptor, bytes, count) }
}

/// `ioctl(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn ioctl(descriptor: c_int, request: c_ulong, argument: *mut c_void) -> c_int {
    if kernel::is_context(descriptor) {
        let done = kernel::ioctl(descriptor, request, argument.expose_provenance() as u64);
        return or_errno(done.map(|()| 0), -1);
    }
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
    if kernel::is_context(descriptor) {
        let request = uar::MmapRequest { address: address.expose_provenance(), length, flags };
        return or_errno(kernel::map(descriptor, offset.cast_unsigned(), &request), libc::MAP_FAILED);
    }
    // SAFETY: the caller's promise.
    unsafe { real::mmap(address, length, protection, flags, descriptor, offset) }
}

/// `munmap(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn munmap(address: *mut c_void, length: size_t) -> c_int {
    uar::forget(address, length);
    // SAFETY: the caller's promise.
    unsafe { real::munmap(address, length) }
}

/// `stat(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn stat(path: *const c_char, into: *mut libc::stat) -> c_int {
    // SAFETY: the caller's promise.
    unsafe {
        match device_config(path) {
            Some(_) => fill_stat(into),
            None => real::stat(path, into),
        }
    }
}

/// `fstat(2)`.
///
/// # Safety
/// As the C library's.
pub unsafe fn fstat(descriptor: c_int, into: *mut libc::stat) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { if kernel::is_context(descriptor) { fill_stat(into) } else { real::fstat(descriptor, into) } }
}

/// `socket(2)`.
pub fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    if domain == libc::AF_NETLINK && protocol == NETLINK_RDMA && config().is_some() {
        return or_errno(Err(Errno(libc::EPROTONOSUPPORT)), -1);
    }
    // SAFETY: takes numbers.
    unsafe { real::socket(domain, kind, protocol) }
}

/// A descriptor for the program. Behind it is nothing, so that a child that inherits it gets clean errors.
fn open_device(config: &Config, flags: c_int) -> Result<c_int, Errno> {
    let flags = libc::O_RDONLY | flags & libc::O_CLOEXEC;
    // SAFETY: a constant, terminated path.
    let descriptor = unsafe { real::open(c"/dev/null".as_ptr(), flags, 0) };
    if descriptor < 0 {
        return Err(Errno::last());
    }
    kernel::open(config, descriptor).inspect_err(|_| {
        close(descriptor);
    })?;
    Ok(descriptor)
}

/// A character device with the numbers that sysfs gives.
///
/// # Safety
/// `into` is writable.
unsafe fn fill_stat(into: *mut libc::stat) -> c_int {
    let (major, minor) = port::UVERBS_NUMBER;
    // SAFETY: the caller's promise; zeros are valid.
    unsafe {
        into.write_bytes(0, 1);
        (*into).st_mode = libc::S_IFCHR | 0o666;
        (*into).st_nlink = 1;
        (*into).st_rdev = libc::makedev(major, minor);
    }
    0
}

/// The configuration, if the path is the device's and there is one.
///
/// # Safety
/// `path` is null or a terminated string.
unsafe fn device_config(path: *const c_char) -> Option<&'static Config> {
    if path.is_null() {
        return None;
    }
    // SAFETY: the caller's promise.
    let path = unsafe { CStr::from_ptr(path) };
    if path.to_bytes() == port::UVERBS_PATH.as_bytes() { config() } else { None }
}

/// Read once. A variable that is not understood is said, and there is no device then.
fn config() -> Option<&'static Config> {
    static CONFIG: OnceLock<Option<Config>> = OnceLock::new();
    let read = || Config::from_environment().inspect_err(|error| eprintln!("connectx: {error}"));
    CONFIG.get_or_init(|| read().unwrap_or_default()).as_ref()
}

fn or_errno<T>(result: Result<T, Errno>, failed: T) -> T {
    result.unwrap_or_else(|errno| {
        // SAFETY: the C library's location for this thread.
        unsafe { *libc::__errno_location() = errno.0 };
        failed
    })
}
