//! What a fabric may do to a driver that did nothing wrong: completions that do not come, peers that do not answer,
//! links that go down. `device` asks at each step whether one is due; [`crate::config::FAULTS`] names them.
//!
//! ```text
//! faults := fault ("," fault)*            an empty list is none
//! fault  := what "@" when
//! when   := N | N ".." M | "/" N          the Nth | the Nth and on, before the Mth | every Nth
//! what   := "delay=" MICROSECONDS         the WQE waits first (and so completes after those of other queue pairs)
//!         | "syndrome=" CODE              the WQE fails with this syndrome, 0x15 or 21
//!         | "retry-exceeded"              the same as syndrome=0x15
//!         | "no-answer"                   this attempt is not answered: retried as the queue pair's timeout says
//!         | "no-receive"                  this attempt is told that there is no receive
//!         | "link-down"                   the port goes down before attempt N, and up again before attempt M
//!         | "drop-cqe"                    the entry is not written
//!         | "twice"                       the doorbell is seen once more (in TRAP, where each of them is seen)
//! ```
//! WQEs are counted by attempt: a retry counts again. Attempts, completion entries and doorbells are counted from 1, each
//! by the process in whose environment the list is, so that a list can be given to one side of a test only.

mod parse;
#[cfg(test)]
mod tests;

use std::time::Duration;

use pmd_core::sync::{AtomicU64, Ordering};
use pmd_core::wire::Syndrome;

pub use parse::FaultError;

/// Something that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A WQE waits before it is executed.
    Delay(Duration),
    /// A WQE fails.
    Syndrome(Syndrome),
    /// An attempt is not answered.
    NoAnswer,
    /// An attempt is told that there is no receive.
    NoReceive,
    /// The port is down.
    LinkDown,
    /// A completion entry is not written.
    DropCompletion,
    /// A doorbell is seen twice.
    Twice,
}

/// What a fault's numbers count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Attempts,
    Completions,
    Doorbells,
}

impl Fault {
    const fn counted(self) -> Counted {
        match self {
            Self::DropCompletion => Counted::Completions,
            Self::Twice => Counted::Doorbells,
            _ => Counted::Attempts,
        }
    }
}

/// At which counts a fault happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// From the first, before the second.
    Range(u64, u64),
    /// Every so many.
    Every(u64),
}

impl When {
    const fn hits(self, count: u64) -> bool {
        match self {
            Self::Range(first, end) => first <= count && count < end,
            Self::Every(step) => count.is_multiple_of(step),
        }
    }
}

/// The faults of one process, and its counts.
#[derive(Debug, Default)]
pub struct Plan {
    faults: Vec<(Fault, When)>,
    attempts: AtomicU64,
    completions: AtomicU64,
    doorbells: AtomicU64,
}

impl Plan {
    /// Reads a fault list.
    ///
    /// # Errors
    /// [`FaultError`] names what is not understood.
    pub fn parse(text: &str) -> Result<Self, FaultError> {
        Ok(Self { faults: parse::list(text)?, ..Self::default() })
    }

    /// Counts an attempt at a WQE; what goes wrong with it.
    pub fn attempt(&self) -> Vec<Fault> {
        self.hits(&self.attempts, Counted::Attempts)
    }

    /// Counts a completion entry; whether it is dropped.
    pub fn drops_completion(&self) -> bool {
        !self.hits(&self.completions, Counted::Completions).is_empty()
    }

    /// Counts a doorbell; whether it is seen twice.
    pub fn repeats_doorbell(&self) -> bool {
        !self.hits(&self.doorbells, Counted::Doorbells).is_empty()
    }

    /// Whether the list says when the link is down.
    #[must_use]
    pub fn governs_link(&self) -> bool {
        self.faults.iter().any(|(fault, _)| *fault == Fault::LinkDown)
    }

    fn hits(&self, counter: &AtomicU64, counted: Counted) -> Vec<Fault> {
        if self.faults.is_empty() {
            return Vec::new();
        }
        let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
        let hit = |(fault, when): &&(Fault, When)| fault.counted() == counted && when.hits(count);
        self.faults.iter().filter(hit).map(|(fault, _)| *fault).collect()
    }
}
