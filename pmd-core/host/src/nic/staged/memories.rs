//! Device memory that is registered with a NIC: which of it the NIC reaches, and which is staged.
#![allow(unsafe_code)] // asks for copies between addresses

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, CopyRange, DeviceMemory, Event, Stream},
    memory::Access,
    sync::{AtomicUsize, Ordering},
};

use crate::{accelerator::wait_for, transfer::DeviceFault};

/// All of one NIC.
#[derive(Debug, Default)]
pub(crate) struct DeviceMemories {
    /// How many there are, so that requests on a machine without any look no further.
    staged: AtomicUsize,
    direct: AtomicUsize,
    listed: Mutex<Listed>,
}

#[derive(Debug, Default)]
struct Listed {
    /// By the local key that stands for it.
    staged: HashMap<u32, Arc<StagedMemory>>,
    /// Whose memory the NIC reads and writes, as often as there are regions.
    direct: Vec<Arc<dyn Accelerator>>,
}

/// Memory that the NIC does not reach.
#[derive(Debug)]
pub(crate) struct StagedMemory {
    pub(super) accelerator: Arc<dyn Accelerator>,
    memory: Arc<dyn DeviceMemory>,
    access: Access,
    copies: Mutex<Copies>,
}

/// What streams do with it.
#[derive(Debug, Default)]
struct Copies {
    revoked: bool,
    /// Done when a copy is; those that are done already are thrown out now and then.
    events: Vec<Arc<dyn Event>>,
}

impl DeviceMemories {
    #[inline]
    pub(super) fn has_staged(&self) -> bool {
        self.staged.load(Ordering::Relaxed) > 0
    }

    #[inline]
    pub(super) fn has_direct(&self) -> bool {
        self.direct.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn add_staged(&self, key: u32, memory: Arc<dyn DeviceMemory>, access: Access) {
        let (accelerator, copies) = (memory.accelerator(), Mutex::default());
        let staged = Arc::new(StagedMemory { accelerator, memory, access, copies });
        self.lock().staged.insert(key, staged);
        // Whoever posts the key has it from the registration, which returns after this.
        self.staged.fetch_add(1, Ordering::Release);
    }

    /// Returns when no stream copies with it any more; none will.
    pub(crate) fn remove_staged(&self, key: u32) {
        let Some(staged) = self.lock().staged.remove(&key) else { return };
        self.staged.fetch_sub(1, Ordering::Release);
        staged.revoke();
    }

    pub(super) fn staged(&self, key: u32) -> Option<Arc<StagedMemory>> {
        self.lock().staged.get(&key).cloned()
    }

    pub(crate) fn add_direct(&self, accelerator: Arc<dyn Accelerator>) {
        self.lock().direct.push(accelerator);
        self.direct.fetch_add(1, Ordering::Release);
    }

    pub(crate) fn remove_direct(&self, accelerator: &Arc<dyn Accelerator>) {
        let mut listed = self.lock();
        if let Some(place) = listed.direct.iter().position(|of| is_same(of, accelerator)) {
            listed.direct.swap_remove(place);
            self.direct.fetch_sub(1, Ordering::Release);
        }
    }

    /// Has every accelerator whose memory the NIC writes make visible what it has written.
    ///
    /// # Errors
    /// The first one's that could not.
    pub(super) fn flush(&self) -> Result<(), AcceleratorError> {
        let mut flushed: Vec<Arc<dyn Accelerator>> = Vec::new();
        for accelerator in &self.lock().direct {
            if !flushed.iter().any(|of| is_same(of, accelerator)) {
                flushed.push(accelerator.clone());
            }
        }
        flushed.iter().try_for_each(|accelerator| accelerator.flush_remote_writes())
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_same(one: &Arc<dyn Accelerator>, other: &Arc<dyn Accelerator>) -> bool {
    let (one, other) = (one.identity(), other.identity());
    one.kind == other.kind && one.unique == other.unique
}

impl StagedMemory {
    /// Whether a request may use these bytes.
    pub(super) fn allows(&self, address: u64, length: u64, access: Access) -> bool {
        let described = self.memory.description();
        let inside = address.checked_sub(described.address);
        let inside = inside.and_then(|offset| offset.checked_add(length));
        self.access.contains(access) && inside.is_some_and(|end| end <= described.length)
    }

    /// Puts copies that touch it on a stream. What comes back is done when they are.
    ///
    /// # Errors
    /// [`DeviceFault::Deregistered`], [`DeviceFault::Stream`].
    ///
    /// # Safety
    /// As [`Stream::copy`], for the other side of the ranges; this side is [allowed](StagedMemory::allows).
    pub(super) unsafe fn copy(
        &self,
        stream: &dyn Stream,
        ranges: &[CopyRange],
    ) -> Result<Arc<dyn Event>, DeviceFault> {
        /// Events kept before those that are done are thrown out.
        const MANY: usize = 64;
        let mut copies = self.lock();
        if copies.revoked {
            return Err(DeviceFault::Deregistered);
        }
        // SAFETY: the memory is registered, hence allocated, until `revoke` has waited for the event behind the copies.
        let copied = unsafe { stream.copy(ranges) };
        // A beginning may be on the stream even so.
        let event = stream.record().map_err(|_| DeviceFault::Stream)?;
        if copies.events.len() >= MANY {
            copies.events.retain(|event| matches!(event.query(), Ok(false)));
        }
        copies.events.push(event.clone());
        copied.map(|()| event).map_err(|_| DeviceFault::Stream)
    }

    fn revoke(&self) {
        let events = {
            let mut copies = self.lock();
            copies.revoked = true;
            std::mem::take(&mut copies.events)
        };
        for event in events {
            // A stream that failed copies nothing more.
            let _ = wait_for(&*event, None);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Copies> {
        self.copies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
