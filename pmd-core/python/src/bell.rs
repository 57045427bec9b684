//! What wakes an event loop: an eventfd that the loop watches. Lanes ring it without the interpreter's lock.

use std::{
    os::fd::AsRawFd,
    sync::{Arc, Mutex, PoisonError},
};

use nix::{
    errno::Errno,
    sys::eventfd::{EfdFlags, EventFd},
};
use pyo3::{exceptions::PyOSError, prelude::*};

/// Wakes one event loop. Clones are the same bell.
#[pyclass(frozen, module = "pmd_python")]
#[derive(Clone)]
pub struct Bell(Arc<Inner>);

struct Inner {
    event: EventFd,
    rung: Mutex<Vec<u64>>,
}

impl Bell {
    /// Tells the loop that `token` is done. Called by lanes.
    pub fn ring(&self, token: u64) {
        self.0.rung.lock().unwrap_or_else(PoisonError::into_inner).push(token);
        // Fails only when 2^64 - 2 rings wait, and then the loop is awake.
        let _ = self.0.event.write(1);
    }
}

#[pymethods]
impl Bell {
    #[new]
    fn new() -> PyResult<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let event = EventFd::from_value_and_flags(0, flags);
        let event = event.map_err(|errno: Errno| PyOSError::new_err((errno as i32, errno.desc())))?;
        Ok(Self(Arc::new(Inner { event, rung: Mutex::default() })))
    }

    /// What the event loop watches.
    fn fileno(&self) -> i32 {
        self.0.event.as_raw_fd()
    }

    /// The tokens that were rung since the last call.
    fn take(&self) -> Vec<u64> {
        // Nothing to read is no problem: another call was quicker.
        let _ = self.0.event.read();
        std::mem::take(&mut *self.0.rung.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
