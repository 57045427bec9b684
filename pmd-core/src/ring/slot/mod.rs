//! The place where a lane leaves the outcome of one transfer and the holder of its handle finds it.
//!
//! ```
//! use pmd_core::ring::slot::{CancelState, CompletionSlot};
//!
//! let slot = CompletionSlot::new();
//! assert_eq!(slot.poll(), None);
//! slot.complete(4096u32);
//! assert_eq!(slot.poll(), Some(4096));
//! assert_eq!(slot.request_cancel(), CancelState::AlreadyDone);
//! ```
//!
//! # States and orderings
//! ```text
//!            request_cancel                 complete
//!  PENDING ------------------> CANCEL_REQUESTED -----> DONE
//!     |                                                  ^
//!     +--------------------------------------------------+
//!                          complete
//! ```
//! The state is a set of bits, since a cancel may come at any time: `CANCEL_REQUESTED` and `DONE` are as above;
//! `CLAIMED` is set by the first `complete` before it writes the outcome, so that a second one (a mistake of the
//! lane's) changes nothing instead of racing.
//!
//! One edge: the lane writes the outcome, then sets `DONE` (release); who finds `DONE` set, whether by `poll` or
//! by a `request_cancel` that came too late (both acquire), sees the outcome and all that the lane did before,
//! the transfer's own bytes included. A cancel request carries no data, hence needs no ordering towards the lane.
#![allow(unsafe_code)] // the outcome is written and read through a cell

#[cfg(all(loom, test))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use core::mem::MaybeUninit;

use crate::sync::{AtomicU32, Ordering, UnsafeCell};

const CANCEL_REQUESTED: u32 = 1;
const CLAIMED: u32 = 2;
const DONE: u32 = 4;

/// The outcome of one transfer: completed once by its lane, polled by any thread.
#[derive(Debug)]
pub struct CompletionSlot<T: Copy> {
    /// The bits above.
    state: AtomicU32,
    /// Initialised once `DONE` is set, and never written after.
    outcome: UnsafeCell<MaybeUninit<T>>,
}

/// What a cancel request met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelState {
    /// The lane will see the request; the transfer still completes, cancelled or not. Quiet is proved by `poll`.
    Requested,
    /// The transfer had completed before: its outcome is in the slot, and nothing moves any more.
    AlreadyDone,
}

// SAFETY: `outcome` is written by the one call that set `CLAIMED`, before `DONE`, and only read after; reading is
// copying a `T` to another thread, which `T: Send` allows.
unsafe impl<T: Copy + Send> Sync for CompletionSlot<T> {}
// SAFETY: owns its `T`.
unsafe impl<T: Copy + Send> Send for CompletionSlot<T> {}

impl<T: Copy> CompletionSlot<T> {
    /// A slot of a transfer that is pending.
    pub fn new() -> Self {
        Self { state: AtomicU32::new(0), outcome: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Leaves the outcome; returns whether a cancel had been requested. Called by the lane, once: a second call
    /// leaves the first outcome.
    #[inline]
    pub fn complete(&self, outcome: T) -> bool {
        let before = self.state.fetch_or(CLAIMED, Ordering::Relaxed);
        if before & CLAIMED != 0 {
            return before & CANCEL_REQUESTED != 0;
        }
        self.outcome.with_mut(|cell| {
            // SAFETY: this call alone set `CLAIMED`, and nobody reads before `DONE`.
            unsafe { (*cell).write(outcome) };
        });
        self.state.fetch_or(DONE, Ordering::Release) & CANCEL_REQUESTED != 0
    }

    /// The outcome, once there is one.
    #[inline]
    pub fn poll(&self) -> Option<T> {
        if self.state.load(Ordering::Acquire) & DONE == 0 {
            return None;
        }
        // SAFETY: `DONE` was set after the outcome was written, and it is not written again.
        Some(self.outcome.with(|cell| unsafe { (*cell).assume_init() }))
    }

    /// Asks the lane to give the transfer up.
    pub fn request_cancel(&self) -> CancelState {
        let before = self.state.fetch_or(CANCEL_REQUESTED, Ordering::Acquire);
        if before & DONE == 0 { CancelState::Requested } else { CancelState::AlreadyDone }
    }

    /// Whether a cancel has been requested: the lane looks here while it has the transfer in hand.
    #[inline]
    pub fn cancel_requested(&self) -> bool {
        self.state.load(Ordering::Relaxed) & CANCEL_REQUESTED != 0
    }
}

impl<T: Copy> Default for CompletionSlot<T> {
    fn default() -> Self {
        Self::new()
    }
}
