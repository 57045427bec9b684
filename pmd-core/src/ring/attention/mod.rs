//! A flag beside a ring: how a thread makes a lane look at what does not go through the ring.
//!
//! A push into a full ring is refused; a raised flag never is. A lane's handles raise it for cancel requests, faults,
//! routes that nobody holds any more, and the end of the lane; the lane takes it once in each turn.
//!
//! ```
//! let attention = pmd_core::ring::attention::Attention::new();
//! attention.raise();
//! assert!(attention.take());
//! assert!(!attention.take());
//! ```
//!
//! # States and orderings
//! One word, raised or not. The raiser sets what it wants to be looked at (a flag of its own, with no ordering), then
//! swaps in "raised" (release). The lane swaps in "not raised" (acquire), *then* looks: a flag that is set meanwhile
//! raises again, so none is lost. The raiser's is an exchange and no store: of two threads that raise one after the
//! other the lane reads the later value, which has to carry the earlier thread's flag as well.
//!
//! The same edge carries what the raiser pushed before. A lane that acts on a flag for good (closes a route that nobody
//! holds) therefore takes, in this order: the attention, all commands until
//! [`Receiver::is_drained`](super::mpsc::Receiver::is_drained), the flags. A `pop` that finds nothing is not enough: a
//! command can be hidden behind one that another thread has begun to write.

#[cfg(all(loom, test))]
mod model;

use crate::sync::{AtomicBool, Ordering};

/// Whether a lane is to look at its flags.
#[derive(Debug)]
pub struct Attention {
    raised: AtomicBool,
}

impl Attention {
    /// Nothing to look at.
    pub fn new() -> Self {
        Self { raised: AtomicBool::new(false) }
    }

    /// Called by any thread, after it set a flag.
    #[inline]
    pub fn raise(&self) {
        self.raised.swap(true, Ordering::Release);
    }

    /// Whether flags are to be looked at now; called by the lane.
    #[inline]
    pub fn take(&self) -> bool {
        self.is_raised() && self.raised.swap(false, Ordering::Acquire)
    }

    /// Whether a `take` would find it raised: for a lane that is about to sleep.
    #[inline]
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }
}

impl Default for Attention {
    fn default() -> Self {
        Self::new()
    }
}
