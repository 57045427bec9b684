//! How a consumer goes to sleep without missing what is published meanwhile, and how it says that it is gone.
//!
//! A lane's thread is the consumer; whoever pushes into its ring or raises its attention flag publishes. So does a soft
//! HCA's peer, in another process, through the word in their link. Waking costs a system call, so it is done only when
//! the consumer sleeps or is about to.
//!
//! # States and orderings
//! ```text
//!            announce                          end
//!  AWAKE -------------> PARKED      AWAKE -------------> ENDED
//!        <-------------
//!    resume, or the publisher that wakes
//! ```
//! Both sides write one thing and read the other (Dekker's pattern), with a sequentially consistent fence in between:
//! - consumer: state is set to `PARKED` (or `ENDED`), fence, then it looks for published work once more;
//! - publisher: work is published, fence, then it reads the state.
//!
//! The fences are totally ordered, so either the consumer's last look finds the work or the publisher finds the
//! state: never neither. Of several publishers that find `PARKED` one, the one whose exchange to `AWAKE` succeeds,
//! wakes; a consumer that is woken for nothing announces itself anew. The state itself carries no data, hence the
//! accesses are relaxed.

#[cfg(all(loom, test))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::sync::{AtomicU32, Ordering, fence};

const AWAKE: u32 = 0;
const PARKED: u32 = 1;
const ENDED: u32 = 2;

/// Whether one consumer sleeps, shared with its publishers.
///
/// One zeroed word is a consumer that is awake, so it can lie in memory that two processes share; whatever the other
/// process writes there costs at most a wake-up.
#[derive(Debug)]
#[repr(transparent)]
pub struct Parking {
    state: AtomicU32,
}

/// What a publisher has to do after it published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// Nothing: the consumer will find the work.
    Seen,
    /// Wake the consumer: it sleeps or is about to, and nobody else wakes it.
    Wake,
    /// The consumer is gone; nobody else takes care of what was published.
    Ended,
}

impl Parking {
    /// A consumer that is awake.
    pub fn new() -> Self {
        Self { state: AtomicU32::new(AWAKE) }
    }

    /// Called by the consumer before it sleeps. After this it looks for work once more, and sleeps only if there is
    /// none.
    #[inline]
    pub fn announce(&self) {
        self.state.store(PARKED, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by the consumer when it goes on, whether it slept or not.
    #[inline]
    pub fn resume(&self) {
        self.state.store(AWAKE, Ordering::Relaxed);
    }

    /// Called by the consumer, awake, when it will take no more. After this it takes what is left once more.
    pub fn end(&self) {
        self.state.store(ENDED, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }

    /// Called by a publisher after each thing that it publishes.
    #[inline]
    pub fn published(&self) -> Published {
        fence(Ordering::SeqCst);
        match self.state.load(Ordering::Relaxed) {
            AWAKE => Published::Seen,
            ENDED => Published::Ended,
            _ => self.claim_wake(),
        }
    }

    #[cold]
    fn claim_wake(&self) -> Published {
        match self.state.compare_exchange(PARKED, AWAKE, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Published::Wake,
            Err(ENDED) => Published::Ended,
            Err(_) => Published::Seen,
        }
    }
}

impl Default for Parking {
    fn default() -> Self {
        Self::new()
    }
}
