//! Ordinary memory, page-locked for the device. Called by `accelerator`.
#![allow(unsafe_code)] // calls the runtime

use std::sync::Arc;

use hip_sys::hip;
use pmd_core::accelerator::{AcceleratorError, Pinned};

use crate::accelerator::Shared;
use crate::memory::pointer;

/// A range that `hipHostRegister` locked.
#[derive(Debug)]
pub(crate) struct Registered {
    shared: Arc<Shared>,
    address: u64,
}

impl Registered {
    /// # Safety
    /// The range stays mapped for as long as the value lives.
    pub(crate) unsafe fn new(
        shared: &Arc<Shared>,
        address: u64,
        length: u64,
    ) -> Result<Self, AcceleratorError> {
        let (hip, _current) = (shared.hip, shared.current()?);
        // SAFETY: the range is mapped, by the caller's promise.
        let answer =
            unsafe { hip.hipHostRegister(pointer(address), length as usize, hip::hipHostRegisterPortable) };
        hip.check("hipHostRegister", answer)?;
        Ok(Self { shared: Arc::clone(shared), address })
    }
}

impl Pinned for Registered {}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.outstanding.wait_for_copies();
        let hip = self.shared.hip;
        let Ok(_current) = self.shared.current() else { return };
        // SAFETY: it was registered, and is still mapped.
        let answer = unsafe { hip.hipHostUnregister(pointer(self.address)) };
        // Unlocked with the process at the latest: nobody could be told.
        let _ = hip.check("hipHostUnregister", answer);
    }
}
