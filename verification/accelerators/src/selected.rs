//! Which device is the calling thread's, as the runtime itself has it. Asked by the case that looks whether calls leave it
//! as it was.
#![allow(unsafe_code)] // calls functions of a library

use std::{
    ffi::{c_int, c_void},
    ptr::null_mut,
};

use libloading::Library;

use crate::bench::Name;

/// A device's number in, a code out.
type Set = unsafe extern "C" fn(c_int) -> c_int;
/// A place for a device's number in, a code out.
type Get = unsafe extern "C" fn(*mut c_int) -> c_int;
/// A place for a context and a device's number in, a code out.
type Retain = unsafe extern "C" fn(*mut *mut c_void, c_int) -> c_int;
/// A context in, a code out.
type SetContext = unsafe extern "C" fn(*mut c_void) -> c_int;

/// How a runtime is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Manner {
    /// By a function that sets the thread's device and one that tells it.
    Device { set: &'static str, get: &'static str },
    /// By contexts, as the CUDA driver is.
    Context,
}

/// The thread's device.
pub(crate) struct Selected {
    library: Library,
    manner: Manner,
}

impl Selected {
    /// Of the runtime that an accelerator runs on.
    pub(crate) fn of(name: Name) -> Option<Self> {
        let manner = name.manner()?;
        // SAFETY: the library is loaded already, by the accelerator's crate.
        let library = name.libraries().iter().find_map(|library| unsafe { Library::new(library) }.ok())?;
        Some(Self { library, manner })
    }

    /// Makes a device the thread's.
    pub(crate) fn set(&self, device: i32) {
        let code = match self.manner {
            // SAFETY: the function's prototype.
            Manner::Device { set, .. } => unsafe { self.function::<Set>(set)(device) },
            // SAFETY: the functions' prototypes; the context stays retained.
            Manner::Context => unsafe {
                let mut context = null_mut();
                let retained = self.function::<Retain>("cuDevicePrimaryCtxRetain")(&mut context, device);
                assert_eq!(retained, 0);
                self.function::<SetContext>("cuCtxPushCurrent_v2")(context)
            },
        };
        assert_eq!(code, 0, "device {device} cannot be selected");
    }

    /// The thread's device.
    pub(crate) fn get(&self) -> i32 {
        let name = match self.manner {
            Manner::Device { get, .. } => get,
            Manner::Context => "cuCtxGetDevice",
        };
        let mut device = -1;
        // SAFETY: the function's prototype, and a place for a number.
        assert_eq!(unsafe { self.function::<Get>(name)(&mut device) }, 0);
        device
    }

    /// # Safety
    /// The function's prototype.
    unsafe fn function<F: Copy>(&self, name: &str) -> F {
        // SAFETY: the caller's promise.
        *unsafe { self.library.get::<F>(name.as_bytes()) }.expect("a function that every release has")
    }
}
