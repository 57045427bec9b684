//! Notifications that may come more than once are taken once. The bundle numbers them; the receiver of a rail's messages
//! asks the [`Inbox`].

use std::collections::BTreeSet;

/// Notifications that a sender may have unsettled at a time, so that a receiver has to remember no more.
pub const WINDOW: u64 = 1024;

/// Bytes that go before what a notification says: its number, and the number below which everything is settled.
pub const NOTICE_BYTES: usize = 16;

/// What a notification was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is new: hand it on.
    New,
    /// It has been here before, or its sender has given it up: drop it.
    Again,
    /// No sender that keeps to the protocol says this: the connection is at fault.
    Nonsense,
}

/// The receiver's memory of one sender: all rails of a bundle share it.
#[derive(Clone, Debug, Default)]
pub struct Inbox {
    /// Everything below is settled at the sender, and comes no more or for nothing.
    settled: u64,
    /// What was taken from there on.
    taken: BTreeSet<u64>,
}

impl Inbox {
    /// A notification has come with its number and the number below which everything is settled.
    pub fn take(&mut self, sequence: u64, settled: u64) -> Taken {
        if settled > sequence || sequence - settled >= WINDOW {
            return Taken::Nonsense;
        }
        // One that was on its way for long knows less than others since.
        if settled > self.settled {
            self.settled = settled;
            self.taken = self.taken.split_off(&settled);
        }
        let is_new = sequence >= self.settled && self.taken.insert(sequence);
        if is_new { Taken::New } else { Taken::Again }
    }

    /// Numbers that it remembers; at most [`WINDOW`].
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.taken.len()
    }
}

/// The sender's numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Outbox {
    next: u64,
    unsettled: BTreeSet<u64>,
}

impl Outbox {
    /// The next number, unless too many are unsettled.
    pub(super) fn number(&mut self) -> Option<u64> {
        if self.next - self.settled() >= WINDOW {
            return None;
        }
        self.unsettled.insert(self.next);
        self.next += 1;
        Some(self.next - 1)
    }

    /// The peer has it, or it is not sent any more.
    pub(super) fn settle(&mut self, sequence: u64) {
        self.unsettled.remove(&sequence);
    }

    /// Everything below is settled.
    pub(super) fn settled(&self) -> u64 {
        self.unsettled.first().copied().unwrap_or(self.next)
    }
}
