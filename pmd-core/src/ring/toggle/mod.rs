//! Two words between a stream and the host: a launch asks, the host answers, any number of times and with the same values.
//!
//! A captured graph writes the same constants at each launch, so a count cannot go through it. `af-api` puts the device's
//! half of a toggle into a stream that is captured; its proxy takes what launches ask for and answers. No kernel waits: the
//! stream does, by its memory operations.
//!
//! ```text
//!  stream:  done <- 0    request <- 1    wait: done >= 1
//!                            |               ^
//!  host:                 take: request <- 0  |     answer: status, done <- 1
//! ```
//!
//! # States
//! | request | done | means |
//! |---|---|---|
//! | 0 | 0 or 1 | nothing is asked: before the first launch, or after the last |
//! | 1 | 0 | a launch asks |
//! | 0 | 0, taken | the host is at work |
//! | 1 | 0, taken | a second launch asks before the first was answered: [`Asked::Overlap`] with the answer |
//! | 1 | 1 | a second launch asked while the first was being answered, and goes on with it: [`Asked::Overlap`] |
//!
//! # Orderings
//! - *A launch goes on only with an answer that was given after it asked.* It clears `done` itself, in front of its
//!   `request`. Were `done` cleared behind the wait, two launches in two streams could wait for one answer, and the one that
//!   looks later would find it cleared by the other, for ever.
//! - *The host sees what the stream did in front of its request* and *the stream sees what the host did in front of its
//!   answer*: both words are written with release and read with acquire; a stream's write is behind a barrier for the whole
//!   system (the default of `cuStreamWriteValue64`).
//! - *No launch waits for ever*, however many overlap. Each writes `done` and then `request`. Take the one whose 0 in `done`
//!   is the last of all: its request is taken, or wiped out by the 0 with which another one was taken. Either way the host's 0
//!   in `request` is behind that request, and the host's next 1 in `done` must be behind the launch's 0: that is why a barrier
//!   stands between the two, here as at the device (with plain release stores each side's first could come last). It must
//!   also stand between that 0 in `request` and the look at `done`: a stale 1 would take a launch that waits for one that
//!   has gone on.
//!
//! Launches that overlap exactly, both asking before the host looks, are one launch to it. So whoever counts them must not let
//! them overlap: a stream does not, and launches of one executable graph do not.

#[cfg(all(loom, test))]
mod model;
#[cfg(all(not(loom), test))]
mod tests;

use alloc::sync::Arc;

use crate::{
    accelerator::{AcceleratorError, Flag, Stream},
    sync::{Ordering, fence},
};

/// The two words.
#[derive(Clone, Debug)]
pub struct Toggle {
    request: Arc<dyn Flag>,
    done: Arc<dyn Flag>,
}

/// What was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A launch, which waits for an answer.
    Launch,
    /// A launch that overlaps with the one before and has gone on with its answer: there is nothing to do for it.
    Overlap,
}

impl Toggle {
    /// Of two flags of one accelerator, which nobody else uses.
    pub fn new(request: Arc<dyn Flag>, done: Arc<dyn Flag>) -> Self {
        Self { request, done }
    }

    /// Puts a launch's half into a stream, or into a graph where that is captured: ask, and wait for the answer.
    ///
    /// # Errors
    /// Those of [`Stream::signal`] and [`Stream::wait_value`]; a beginning may be in the stream then.
    pub fn put(&self, stream: &dyn Stream) -> Result<(), AcceleratorError> {
        stream.signal(&self.done, 0)?;
        stream.signal(&self.request, 1)?;
        stream.wait_value(&self.done, 1)
    }

    /// Whether a launch asks. Called by the one thread that answers, which has answered whatever it took before.
    pub fn take(&self) -> Option<Asked> {
        if !self.is_asked() {
            return None;
        }
        self.clear_request();
        Some(if self.done.load() == 0 { Asked::Launch } else { Asked::Overlap })
    }

    /// Answers the launch that was taken, and tells whether another one goes on with this answer as well. What the caller
    /// did before is visible to the stream, and to whoever learns from the stream that it went on.
    pub fn answer(&self, before: impl FnOnce(Option<Asked>)) {
        let overlap = self.is_asked();
        if overlap {
            self.clear_request();
        }
        before(overlap.then_some(Asked::Overlap));
        self.done.store(1);
    }

    fn is_asked(&self) -> bool {
        self.request.load() != 0
    }

    fn clear_request(&self) {
        self.request.store(0);
        fence(Ordering::SeqCst);
    }
}
