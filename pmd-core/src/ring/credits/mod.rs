//! Credits: how many messages may be on their way, so that no message ever arrives where no receive is posted.
//!
//! Two lanes, one at each end of a connection, send each other messages. Each posts receives and tells the other, in
//! the messages that it sends anyway or in an empty one, how many it may use. `pmd-host`'s lanes are the callers: the
//! threads of the application [`take`](Credits::take) before they hand a message to their lane, the lane keeps the
//! [`Account`].
//!
//! ```
//! use pmd_core::ring::credits::{Account, Arrived, Credits};
//!
//! let (credits, mut account) = (Credits::new(), Account::new(8, 4));
//! credits.give(4); // a peer has at least the agreed minimum from the start
//! assert!(credits.take());
//!
//! // A message from the peer, with two credits: it wants its receive back.
//! let free = account.arrived(Arrived::Message, 2, 0);
//! credits.give(free);
//! assert!(account.owes());
//! assert_eq!(account.attach(), 5); // four that the minimum left out, and the one just used
//! ```
//!
//! # States
//! Of the `receives` that one side posts for messages, each is at any time one of
//! - **held** by the peer, as a credit in [`Credits`], or set aside there for notifications;
//! - **used** by a message on its way here;
//! - **due**: taken in here and posted again, and not yet given back;
//! - **on its way** back, in a message to the peer.
//!
//! Every call moves a credit from one of these to the next and makes or loses none, so no more messages than receives
//! are ever under way. From the start the peer holds the agreed minimum, and the rest is due.
//!
//! # Empty messages
//! A side that sends nothing must give credits back all the same, in an empty message, once half of its receives is
//! due. An empty message takes no credit: it could never be sent by a side that has none, and both would wait. Instead
//! [`RESERVED`] receives are posted beyond those that credits stand for. At most three empty messages can be under way:
//! each but the first follows half of the credits being used, and a peer that has not taken those messages in cannot
//! use more than all it held. Their receives are posted again without being given back.
//!
//! # Orderings
//! A credit is a number and orders nothing: the message that it admits travels through the lane's ring, which does.
//! Hence read-modify-writes without an ordering, and every one of them matters: application threads take while the lane
//! gives.

#[cfg(all(loom, test))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::sync::{AtomicU32, Ordering};

/// Receives to post beyond those that credits stand for, for empty messages.
pub const RESERVED: u32 = 4;

/// Messages that the peer has receives for and nobody has claimed. Shared by a lane and its application's threads.
#[derive(Debug)]
pub struct Credits {
    free: AtomicU32,
}

impl Credits {
    /// None.
    pub fn new() -> Self {
        Self { free: AtomicU32::new(0) }
    }

    /// Claims the right to send one message.
    #[inline]
    pub fn take(&self) -> bool {
        let less = |free: u32| free.checked_sub(1);
        self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    /// Makes `credits` more available: those that came from the peer, or one whose message was not sent after all.
    #[inline]
    pub fn give(&self, credits: u32) {
        // Saturating: a peer that gives more than it can have only harms its own receives.
        let more = |free: u32| Some(free.saturating_add(credits));
        let _ = self.free.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }
}

impl Default for Credits {
    fn default() -> Self {
        Self::new()
    }
}

/// What arrived in a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrived {
    /// A message that took a credit: its receive is given back.
    Message,
    /// Credits alone.
    Empty,
}

/// What a lane knows of the receives at both ends of one connection. Owned by the lane.
#[derive(Debug)]
pub struct Account {
    /// Credits of the peer's that are kept for notifications.
    reserved: u32,
    /// Credits that the peer is to be given.
    due: u32,
    /// So many are due before an empty message goes.
    threshold: u32,
    /// The peer has sent something, so it is there.
    heard: bool,
}

impl Account {
    /// An account of a side that posts `receives` (and [`RESERVED`] more), of which its peer holds `minimum` from the
    /// start. Without receives for messages both are 0.
    pub fn new(receives: u32, minimum: u32) -> Self {
        let due = receives.saturating_sub(minimum);
        Self { reserved: 0, due, threshold: receives.div_ceil(2).max(1), heard: false }
    }

    /// Whether an empty message has to carry credits back.
    #[inline]
    pub fn owes(&self) -> bool {
        self.heard && self.due >= self.threshold
    }

    /// The credits that go with the next message to the peer; they count as given.
    #[inline]
    pub fn attach(&mut self) -> u16 {
        let credits = self.due.min(u32::from(u16::MAX)) as u16;
        self.due -= u32::from(credits);
        credits
    }

    /// Takes back what [`attach`](Self::attach) gave to a message that was not sent after all.
    #[inline]
    pub fn detach(&mut self, credits: u16) {
        self.due += u32::from(credits);
    }

    /// Notes what arrived, with `credits` from the peer, its receive having been posted again (or being posted before
    /// the next [`attach`](Self::attach)). Keeps as many as `waiting` notifications need, and returns those that are
    /// for anybody: give them to [`Credits`].
    #[inline]
    pub fn arrived(&mut self, arrived: Arrived, credits: u16, waiting: u32) -> u32 {
        self.heard = true;
        self.due += u32::from(arrived == Arrived::Message);
        let kept = waiting.saturating_sub(self.reserved).min(u32::from(credits));
        self.reserved += kept;
        u32::from(credits) - kept
    }

    /// Takes a credit that was kept for notifications.
    #[inline]
    pub fn take_reserved(&mut self) -> bool {
        let some = self.reserved > 0;
        self.reserved -= u32::from(some);
        some
    }

    /// Keeps the credit of a notification that was not sent after all.
    #[inline]
    pub fn put_reserved(&mut self) {
        self.reserved += 1;
    }

    /// Lets go of what is kept for more than `waiting` notifications, some having been given up: credits for anybody,
    /// for [`Credits`].
    pub fn release_reserved(&mut self, waiting: u32) -> u32 {
        let more = self.reserved.saturating_sub(waiting);
        self.reserved -= more;
        more
    }
}
