//! A shared receive queue of a NIC: creating and destroying.
#![allow(unsafe_code)] // calls libibverbs

use std::ptr::NonNull;

use pmd_sys::verbs::*;

use super::{Device, pointer};
use crate::backend::SetupError;

/// A shared receive queue, destroyed when dropped, after the queue pairs that use it.
#[derive(Debug)]
pub(crate) struct SharedReceiveQueue {
    device: Device,
    queue: NonNull<ibv_srq>,
    /// Receives that can be outstanding.
    receives: u32,
}

// SAFETY: control calls may come from any thread, one at a time; posting needs the back end that owns this.
unsafe impl Send for SharedReceiveQueue {}

impl SharedReceiveQueue {
    /// Creates one for `receives` outstanding requests of at most `sges` entries.
    ///
    /// # Errors
    /// [`SetupError::Limit`], or what ibv_create_srq says.
    pub(crate) fn create(device: &Device, receives: u32, sges: u32) -> Result<Self, SetupError> {
        let limits = device.limits();
        within("receives of a shared queue", receives, limits.shared_receives)?;
        within("scatter entries", sges, limits.shared_sges)?;
        let mut attributes = ibv_srq_init_attr {
            attr: ibv_srq_attr { max_wr: receives.max(1), max_sge: sges.max(1), srq_limit: 0 },
            ..Default::default()
        };
        // SAFETY: the protection domain is live.
        let answer =
            unsafe { device.verbs().ibv_create_srq(device.protection_domain().as_ptr(), &mut attributes) };
        let queue = pointer("ibv_create_srq", answer)?;
        Ok(Self { device: device.clone(), queue, receives: attributes.attr.max_wr.max(1) })
    }

    pub(crate) fn as_ptr(&self) -> *mut ibv_srq {
        self.queue.as_ptr()
    }

    pub(crate) fn receives(&self) -> u32 {
        self.receives
    }
}

impl Drop for SharedReceiveQueue {
    fn drop(&mut self) {
        // SAFETY: the queue is live and this is its only owner. A failure leaks it.
        let _ = unsafe { self.device.verbs().ibv_destroy_srq(self.queue.as_ptr()) };
    }
}

/// Checks a size against a limit of the device.
///
/// # Errors
/// [`SetupError::Limit`].
pub(crate) fn within(what: &'static str, wanted: u32, limit: u32) -> Result<(), SetupError> {
    if wanted <= limit {
        Ok(())
    } else {
        Err(SetupError::Limit { what, wanted: wanted.into(), limit: limit.into() })
    }
}
