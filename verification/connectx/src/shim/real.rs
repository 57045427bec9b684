//! The C library's own functions, below the interposed ones.
#![allow(unsafe_code)] // looks symbols up and calls them by address

use std::{
    ffi::{CStr, c_char, c_int, c_ulong, c_void},
    mem, ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use libc::{mode_t, off_t, size_t, ssize_t};

/// A function of the next library that has it; looked up at its first call.
struct Next {
    name: &'static CStr,
    address: AtomicPtr<c_void>,
}

impl Next {
    const fn new(name: &'static CStr) -> Self {
        Self { name, address: AtomicPtr::new(ptr::null_mut()) }
    }

    fn address(&self) -> *mut c_void {
        let known = self.address.load(Ordering::Relaxed);
        if !known.is_null() {
            return known;
        }
        // SAFETY: a constant, terminated name.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        if found.is_null() {
            // Nothing can go on without the C library.
            std::process::abort();
        }
        self.address.store(found, Ordering::Relaxed);
        found
    }
}

/// Defines a function that calls the next library's of the same name.
macro_rules! next {
    ($(#[$comment:meta])* $name:ident, $symbol:literal, ($($argument:ident: $kind:ty),*) -> $result:ty) => {
        $(#[$comment])*
        ///
        /// # Safety
        /// As the C library's.
        pub unsafe fn $name($($argument: $kind),*) -> $result {
            static NEXT: Next = Next::new($symbol);
            type Function = unsafe extern "C" fn($($kind),*) -> $result;
            // SAFETY: the symbol of this name has this type; variadic arguments arrive where plain ones do.
            unsafe { mem::transmute::<*mut c_void, Function>(NEXT.address())($($argument),*) }
        }
    };
}

next!(/// `open(2)`.
    open, c"open64", (path: *const c_char, flags: c_int, mode: mode_t) -> c_int);
next!(/// `openat(2)`.
    openat, c"openat64", (folder: c_int, path: *const c_char, flags: c_int, mode: mode_t) -> c_int);
next!(/// `close(2)`.
    close, c"close", (descriptor: c_int) -> c_int);
next!(/// `write(2)`.
    write, c"write", (descriptor: c_int, bytes: *const c_void, count: size_t) -> ssize_t);
next!(/// `ioctl(2)`.
    ioctl, c"ioctl", (descriptor: c_int, request: c_ulong, argument: *mut c_void) -> c_int);
next!(/// `mmap(2)`.
    mmap, c"mmap64", (address: *mut c_void, length: size_t, protection: c_int, flags: c_int, descriptor: c_int,
        offset: off_t) -> *mut c_void);
next!(/// `munmap(2)`.
    munmap, c"munmap", (address: *mut c_void, length: size_t) -> c_int);
next!(/// `stat(2)`.
    stat, c"stat64", (path: *const c_char, into: *mut libc::stat) -> c_int);
next!(/// `fstat(2)`.
    fstat, c"fstat64", (descriptor: c_int, into: *mut libc::stat) -> c_int);
next!(/// `sigaction(2)`.
    sigaction, c"sigaction", (signal: c_int, new: *const libc::sigaction, old: *mut libc::sigaction) -> c_int);
next!(/// `socket(2)`.
    socket, c"socket", (domain: c_int, kind: c_int, protocol: c_int) -> c_int);
