//! How often requests had to wait for a receive, as a device tells that counts it: the soft HCA.
//!
//! Its engine counts on the lane's thread, off the way of requests that find their receive; metrics read from any thread. Of
//! NICs there is no such count for a queue pair: what they gave up is known by the syndromes of completions
//! ([`FailedCompletions`](crate::lane::FailedCompletions)).

use pmd_core::sync::{AtomicU64, Ordering};

/// Requests that had to wait for a receive, of all queue pairs of a lane since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retries {
    /// Requests of this side of which a peer's device said that there is no receive (RNR NAK heard).
    pub heard: u64,
    /// Requests of peers of which this side's device said so (RNR NAK said).
    pub said: u64,
}

/// The atomic form. Both are relaxed: each has one writer, and no reader concludes from one what the other holds.
#[derive(Debug, Default)]
pub(crate) struct RetryCells {
    heard: AtomicU64,
    said: AtomicU64,
}

impl RetryCells {
    /// A peer has no receive. Only the engine's thread calls this, hence no read-modify-write.
    #[cold]
    pub(crate) fn hear(&self) {
        self.heard.store(self.heard.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    /// A peer was told that there is no receive. As [`RetryCells::hear`].
    #[cold]
    pub(crate) fn say(&self) {
        self.said.store(self.said.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Retries {
        Retries { heard: self.heard.load(Ordering::Relaxed), said: self.said.load(Ordering::Relaxed) }
    }
}

/// Reads a device's counts, on any thread and after the device is gone.
#[derive(Clone, Debug)]
pub struct RetryCounter(pub(crate) std::sync::Arc<RetryCells>);

impl RetryCounter {
    /// What was counted so far.
    #[must_use]
    pub fn read(&self) -> Retries {
        self.0.read()
    }
}
