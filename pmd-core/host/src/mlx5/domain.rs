//! The thread domain: asks libmlx5 for a doorbell register that one thread has to itself.
//!
//! [`super::Mlx5Backend`] creates its queue pairs in it. ibv_alloc_td(3), ibv_alloc_parent_domain(3).
#![allow(unsafe_code)] // calls libibverbs

use std::ptr::NonNull;

use pmd_sys::{
    inline::{ibv_alloc_parent_domain, ibv_alloc_td, ibv_dealloc_td},
    verbs::*,
};

use crate::{
    backend::SetupError,
    nic::{Device, pointer},
};

/// Where queue pairs are created: a parent domain with a register of its own, or the device's protection domain.
#[derive(Debug)]
pub(super) struct ThreadDomain {
    device: Device,
    private: Option<Private>,
}

/// A thread domain, and the protection domain over it.
#[derive(Debug)]
struct Private {
    thread: NonNull<ibv_td>,
    parent: NonNull<ibv_pd>,
}

// SAFETY: both are only used to create queue pairs and freed once; control calls may come from any thread.
unsafe impl Send for ThreadDomain {}

impl ThreadDomain {
    /// A private domain where the device has a register left, otherwise the shared one.
    ///
    /// # Errors
    /// [`SetupError::System`] when there is a thread domain but no parent domain over it.
    pub(super) fn new(device: &Device) -> Result<Self, SetupError> {
        // SAFETY: the context is open.
        let thread = unsafe { ibv_alloc_td(device.context().as_ptr(), &mut ibv_td_init_attr::default()) };
        let Some(thread) = NonNull::new(thread) else {
            return Ok(Self { device: device.clone(), private: None });
        };
        let mut attributes = ibv_parent_domain_init_attr {
            pd: device.protection_domain().as_ptr(),
            td: thread.as_ptr(),
            ..Default::default()
        };
        // SAFETY: the context is open, both domains are live.
        let parent = unsafe { ibv_alloc_parent_domain(device.context().as_ptr(), &mut attributes) };
        match pointer("ibv_alloc_parent_domain", Ok(parent)) {
            Ok(parent) => Ok(Self { device: device.clone(), private: Some(Private { thread, parent }) }),
            Err(error) => {
                // SAFETY: nothing uses the thread domain.
                unsafe { ibv_dealloc_td(thread.as_ptr()) };
                Err(error)
            }
        }
    }

    /// Whether doorbell registers of queue pairs created here belong to this back end alone.
    pub(super) fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// The domain to create queue pairs in.
    pub(super) fn as_ptr(&self) -> *mut ibv_pd {
        match &self.private {
            Some(private) => private.parent.as_ptr(),
            None => self.device.protection_domain().as_ptr(),
        }
    }
}

impl Drop for ThreadDomain {
    fn drop(&mut self) {
        if let Some(private) = &self.private {
            // SAFETY: queue pairs were destroyed before; parent before thread. A failure leaks.
            unsafe {
                let _ = self.device.verbs().ibv_dealloc_pd(private.parent.as_ptr());
                ibv_dealloc_td(private.thread.as_ptr());
            }
        }
    }
}
