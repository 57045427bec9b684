//! Staging buffers: registered memory of this process, allocated when it is first needed.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use pmd_host::soft::ArenaOptions;

use super::copy::Buffer;
use crate::{
    fabric::{Fabric, FabricError, Segment},
    hixl::{HixlError, options::Staging},
};

/// The buffers of one purpose.
pub(super) struct BufferPool {
    fabric: Fabric,
    config: Staging,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    free: Vec<Segment>,
    /// Buffers that were given up, to be deregistered by the next thread that needs one.
    orphans: Vec<Segment>,
    /// Buffers that are free or lent.
    made: usize,
}

impl BufferPool {
    pub(super) fn new(fabric: Fabric, config: Staging) -> Arc<Self> {
        Arc::new(Self { fabric, config, state: Mutex::default(), returned: Condvar::new() })
    }

    /// Bytes of a buffer.
    pub(super) const fn bytes(&self) -> u64 {
        self.config.bytes as u64
    }

    /// A buffer, if one is free.
    pub(super) fn try_lend(self: &Arc<Self>) -> Result<Option<Lease>, FabricError> {
        self.bury();
        let mut state = self.state();
        if let Some(segment) = state.free.pop() {
            return Ok(Some(self.lease(segment)));
        }
        if state.made == self.config.buffers {
            return Ok(None);
        }
        state.made += 1;
        drop(state);
        match self.fabric.allocate(self.config.bytes, ArenaOptions::default()) {
            Ok(segment) => Ok(Some(self.lease(segment))),
            Err(error) => {
                self.lost();
                Err(error)
            }
        }
    }

    /// A buffer, when one is free.
    pub(super) fn lend(self: &Arc<Self>, deadline: Instant) -> Result<Lease, HixlError> {
        loop {
            if let Some(lease) = self.try_lend()? {
                return Ok(lease);
            }
            let state = self.state();
            if state.free.is_empty() && state.made == self.config.buffers {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(HixlError::Timeout { what: "waiting for a staging buffer" });
                }
                let waited = self.returned.wait_timeout(state, left);
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
        }
    }

    fn lease(self: &Arc<Self>, segment: Segment) -> Lease {
        Lease { segment: Some(segment), pool: Arc::clone(self) }
    }

    /// Deregisters what was given up. Not on the control thread: the runtime of a device or the kernel may take long.
    fn bury(&self) {
        let orphans = std::mem::take(&mut self.state().orphans);
        drop(orphans);
    }

    fn lost(&self) {
        self.state().made -= 1;
        self.returned.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A buffer that is the holder's; it goes back to the pool when dropped.
pub(super) struct Lease {
    /// Until it was given back.
    segment: Option<Segment>,
    pool: Arc<BufferPool>,
}

impl Lease {
    /// First byte.
    pub(super) fn address(&self) -> u64 {
        self.segment.as_ref().map_or(0, Segment::address)
    }

    /// Its first bytes.
    ///
    /// # Safety
    /// As [`Buffer::new`].
    #[expect(unsafe_code, reason = "passes the obligation on")]
    pub(super) unsafe fn bytes(&mut self, length: u64) -> Option<Buffer<'_>> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let fabric = &self.pool.fabric;
        // SAFETY: passed on to the caller.
        self.segment.as_mut().map(|segment| unsafe { Buffer::new(segment, fabric, length) })
    }

    /// Gives the buffer up: when this returns no peer reaches it any more. The pool makes another.
    pub(super) fn discard(mut self) {
        drop(self.segment.take());
    }

    /// Gives the buffer up without waiting: a thread that needs one, or waits for one already, deregisters it first.
    pub(super) fn orphan(mut self) {
        if let Some(segment) = self.segment.take() {
            self.pool.state().orphans.push(segment);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.segment.take() {
            Some(segment) => self.pool.state().free.push(segment),
            None => self.pool.state().made -= 1,
        }
        self.pool.returned.notify_one();
    }
}
