//! One side of a connection between two engines: how far it has come, and whether the other may move its bytes.
//!
//! The soft HCA's link has two of these in memory that both processes map. Each side writes its own and reads the
//! other's; nothing else decides who may use the link's rings and who may copy into whose memory.
//!
//! ```
//! use pmd_core::ring::{quiesce::Activity, side::{Side, SideState}};
//!
//! let (mine, theirs) = (Side::new(), Activity::new());
//! mine.attach();
//! assert_eq!(mine.state(), SideState::Attached);
//! let round = theirs.enter();
//! assert!(mine.is_open(&round)); // the peer's engine may copy
//!
//! let snapshot = theirs.snapshot(&mine.close());
//! assert!(!snapshot.is_quiet(&theirs));
//! drop(round);
//! assert!(snapshot.is_quiet(&theirs));
//! ```
//!
//! # States and orderings
//! ```text
//!           attach              close
//!   NEW --------------> ATTACHED -----> CLOSED
//!    |                     |
//!    +----> ABANDONED <----+      abandon: gave up, before it knew of the other side
//! ```
//! Only the owner writes. A process that dies leaves whatever state it was in; that it is dead is found out elsewhere.
//! - **Claim**: a link has one maker and one taker, told apart by their addresses, and each attaches once. What it says
//!   of itself (facts beside the state) and the rings' memory are written before `ATTACHED` (release); the other reads
//!   the state (acquire) before it looks at any of that. An engine uses the rings only after it saw the other attached.
//! - **Direct copies** are allowed while `open` holds its key, which the peer's engine validates in each of its rounds
//!   (see [`quiesce`](super::quiesce)). `close` and `abandon` revoke it first, and give the proof of that: take a
//!   snapshot of the peer's engines with it, and wait until each is quiet.
//! - **Last words**: what was published in the rings before `close` is found by whoever sees `CLOSED` (the fence of the
//!   revoke in front of it, and acquire) and looks at the rings once more.

#[cfg(all(loom, test))]
mod model;

use super::quiesce::{Active, KeyCell, Revoked};
use crate::sync::{AtomicU32, Ordering};

/// The key of a side that is open.
const OPEN: u32 = 1;

const NEW: u32 = 0;
const ATTACHED: u32 = 1;
const ABANDONED: u32 = 2;
const CLOSED: u32 = 3;

/// What one side tells the other. Lives in shared memory, which starts zeroed: new.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Side {
    state: AtomicU32,
    /// Validated by the other side's engine in each round.
    open: KeyCell,
}

/// How far a side has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideState {
    /// Has not mapped the memory, or not yet heard of the other side.
    New,
    /// Has all it needs.
    Attached,
    /// Gave up before both were attached.
    Abandoned,
    /// Was connected, and is not any more.
    Closed,
}

impl SideState {
    /// What another process left there; anything that is no state is as good as closed.
    const fn from_word(word: u32) -> Self {
        match word {
            NEW => Self::New,
            ATTACHED => Self::Attached,
            ABANDONED => Self::Abandoned,
            _ => Self::Closed,
        }
    }
}

impl Side {
    /// A side that has not come anywhere, as zeroed memory is.
    pub fn new() -> Self {
        Self::default()
    }

    /// How far it has come.
    #[inline]
    pub fn state(&self) -> SideState {
        SideState::from_word(self.state.load(Ordering::Acquire))
    }

    /// Whether the other side's engine may move bytes directly in this round.
    #[inline]
    pub fn is_open(&self, active: &Active<'_>) -> bool {
        self.open.validate(active, OPEN)
    }

    /// Says that this side has all it needs, and opens it. Everything that the other reads is written before.
    pub fn attach(&self) {
        self.open.grant(OPEN);
        self.state.store(ATTACHED, Ordering::Release);
    }

    /// Says that this side gave up before it was connected; the other may have been faster, and be moving bytes.
    pub fn abandon(&self) -> Revoked {
        let revoked = self.open.revoke();
        self.state.store(ABANDONED, Ordering::Relaxed);
        revoked
    }

    /// Closes this side: the other's engines begin no more copies for it. Those that run may: wait until they are
    /// quiet.
    pub fn close(&self) -> Revoked {
        let revoked = self.open.revoke();
        // Behind the fence of the revoke, which makes this a release.
        self.state.store(CLOSED, Ordering::Relaxed);
        revoked
    }
}
