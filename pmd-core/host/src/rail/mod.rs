//! Rails: several ways to one peer, and the protocol that moves transfers over them.
//!
//! A rail is a route of its own: queue pairs on a NIC, an address or a lane at each end. This module decides and moves
//! nothing: it has no sockets, no threads and no clock. Whoever drives it tells what happened and at what time, and carries
//! out what it answers. So the same code runs over devices, and in simulations of thousands of nodes.
//!
//! ```text
//!  transfer, cut into chunks                                         outcome
//!        | Bundle::submit                                               ^ Finish
//!   bundle     which chunk goes on which rail; what goes again; when the peer may be told
//!        | Post, Notify, Open, Probe, Close, Tell     ^ landed, returned, notified, opened, answered, closed, heard
//!   driver     routes of rails, the control connection
//! ```
//! | module | |
//! |---|---|
//! | [`bundle`](Bundle) | the protocol, one for each peer at each end |
//! | [`state`](RailState) | the life of a rail |
//! | [`load`](Load) | what a rail has in hand, and how fast it is |
//! | [`once`](Inbox) | notifications that come again are taken once |
//! | [`pairing`](Pairing) | which of our NICs goes with which of theirs |
//!
//! # A rail
//! ```text
//!         it is time (the end that opens)    both ends open    the first round trip
//!   Down -----------------------> Opening ------> Probing ------> Up
//!    ^                               | failed        | lost        | lost: failed, stalled, or the peer says so
//!    |                               v               v             v
//!    '------ both ends are quiet -- Quieting <---------------------'
//! ```
//! One end opens, the other awaits; each opening is a new **life** with the next number, and whatever is told of another
//! life than the present one is ignored. An end that loses a rail closes its queue pairs, waits until every chunk has come
//! back and nothing of the life can touch its memory, and tells the peer so over the control connection, whose frames keep
//! their order. The rail is down once both have said it, and is opened again after a pause that grows with each failure. No
//! end has to be told of a loss in another way: an end whose peer says that it is quiet has lost the rail. What it has in hand
//! then comes back by itself within a bounded time: the peer's end said why it went down, a refusal for one, over the rail, and
//! that may arrive later than the word.
//!
//! A rail that was opened again carries nothing before a probe has come back: a cable that is out connects to nobody. Which
//! NICs a life is opened on is for the end that opens to choose: see [`Pairing`].
//! A rail that has something in hand and shows no progress is lost, unless it is the only one left: then there is nothing
//! better, and the control plane decides whether the peer is down. One that has nothing in hand is probed from time to time by
//! the end that opens, and lost when the probe does not come back, be it the last or not: so it is known to be dead before
//! something is given to it, at most [`BundleConfig::idle`] and [`BundleConfig::probe`] after it has died.
//!
//! # A chunk
//! ```text
//!   Waiting --Post--> on a rail --landed--> Landed
//!      ^                  | came back unfinished
//!      '------------------'
//! ```
//! A chunk is on at most one rail at a time. Rails have no more in hand than keeps them busy, and one that has room takes the
//! next chunk, unless by what it has in hand and the rate at which it has moved bytes lately it would be done with it only
//! after all rails together are done with everything: then the chunk waits for a faster one.
//! A transfer is done when all of its chunks have landed, counted; order across rails has no part in it.
//!
//! # Why going again is safe
//! RDMA WRITEs and READs of the same bytes to the same place are idempotent as long as source and target stay as they are,
//! which the transfer's owner grants until the outcome. So the danger is a straggler: a piece of an attempt that was given
//! up, which lands after somebody was told that the memory is free or filled.
//!
//! - The bytes of a READ are written by the queue pair of this process. A chunk comes back only when that is quiet, and
//!   with it goes everything that could write here.
//! - The bytes of a WRITE are written by the peer's end of the rail, which may have pieces in hand long after ours has
//!   closed. So a transfer **owes** each rail that gave a WRITE back unfinished the peer's word that its end is quiet. The chunk
//!   goes again at once; the notification, and the outcome whatever it is, wait until nothing is owed. If the peer goes down
//!   first, nothing is owed any more: a process that is gone is told nothing.
//!
//! What is not idempotent is sent once everything else is counted: a notification has a **sequence number**. Where its rail is
//! lost before the peer's device had it, it is owed the same word, and then goes again under the same number; the receiver
//! takes each number once. Atomics do not go through bundles.
//!
//! # Bounds
//! A chunk or a notification that came back so often that the fault is likely its own fails its transfer with what was said
//! last ([`BundleConfig::attempts`]). A chunk that was refused (a key, a range) fails its transfer at once and never visits another
//! rail. [`Bundle::fail`] posts nothing more of a transfer and has it end once nothing is in hand and nothing owed.
//!
//! # A peer that leaves
//! A peer that says goodbye has answered for what it has carried out, and those answers take other ways than its goodbye.
//! [`Bundle::peer_left`] therefore leaves in hand what is in hand, and posts nothing more: what is posted in full ends by its
//! answers, the rest fails. That is over within a bounded time, by which the driver takes the rails down. A peer that is gone
//! without a goodbye ([`Bundle::peer_down`]) has its rails closed at once.
mod bundle;
mod load;
mod once;
mod pairing;
mod progress;
mod rails;
mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use bundle::Bundle;
pub use load::Load;
pub use once::{Inbox, NOTICE_BYTES, Taken, WINDOW};
pub use pairing::{DISCOVERY, Pairing, Port, Reach, pairs};
pub use state::RailState;

/// Most rails of a bundle.
pub const MOST_RAILS: usize = 64;

/// One life of a rail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RailId {
    /// Which rail, from 0; the same at both ends.
    pub number: u16,
    /// Which life of it, from 1; the end that opens counts.
    pub life: u32,
}

/// A transfer of a bundle; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TransferId(pub u64);

/// A chunk: its transfer and its place in there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId {
    /// Its transfer.
    pub transfer: TransferId,
    /// Its place in the list that was submitted.
    pub index: u32,
}

/// Some of a bundle's rails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RailSet(pub u64);

impl RailSet {
    /// All of them.
    pub const ALL: Self = Self(u64::MAX);

    /// These.
    pub fn of(numbers: impl IntoIterator<Item = u16>) -> Self {
        let bit = |number: u16| 1_u64.checked_shl(u32::from(number)).unwrap_or(0);
        Self(numbers.into_iter().fold(0, |set, number| set | bit(number)))
    }

    /// Whether a rail is among them.
    #[must_use]
    pub const fn contains(self, number: u16) -> bool {
        (number as usize) < MOST_RAILS && self.0 >> number & 1 == 1
    }
}

/// Which end of a bundle this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Opens rails, at first and again.
    Opens,
    /// Waits for the peer to open them.
    Awaits,
}

/// How a bundle behaves. Times are those of whoever drives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleConfig {
    /// Bytes that a rail may have in hand; one chunk is always allowed.
    pub window: u64,
    /// A rail with chunks in hand of which none has landed for this long, or for eight times what one is expected to take if
    /// that is longer, is lost, unless it is the last one up.
    pub stall: Duration,
    /// Pause before a rail is opened again; it doubles with each failure.
    pub reopen: Duration,
    /// Longest pause.
    pub reopen_limit: Duration,
    /// Pause before a rail that could not take a chunk (a full ring) is offered one again, if nothing lands before.
    pub refused: Duration,
    /// Time after which a rail that is up and over which nothing has come back is probed by the end that opens; zero never
    /// probes one that was up.
    pub idle: Duration,
    /// A rail with nothing in hand whose probe has not come back after this long is lost: one that was opened, or one that was
    /// idle.
    pub probe: Duration,
    /// Age at which the measured rate of an idle rail counts no more.
    pub forget_rate: Duration,
    /// Times that a chunk, or a notification, may come back unfinished before its transfer fails.
    pub attempts: u32,
}

impl Default for BundleConfig {
    fn default() -> Self {
        Self {
            window: 16 << 20,
            stall: Duration::from_secs(3),
            reopen: Duration::from_millis(200),
            reopen_limit: Duration::from_secs(5),
            refused: Duration::from_millis(1),
            idle: Duration::from_secs(2),
            probe: Duration::from_secs(2),
            forget_rate: Duration::from_secs(2),
            attempts: 8,
        }
    }
}

/// A transfer as a bundle takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Bytes of each chunk; none means that there is only the notification.
    pub chunks: &'a [u64],
    /// Which way they go.
    pub direction: crate::transfer::Direction,
    /// Whether the peer is notified when all have landed.
    pub notify: bool,
    /// Its turns among other transfers.
    pub priority: crate::transfer::Priority,
    /// Rails near the memory: others are used only when none of these is up.
    pub near: RailSet,
}

/// Why a chunk or a notification came back unfinished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate<F> {
    /// Its rail went down and took it along. It goes again.
    Lost(F),
    /// It was at fault itself (a key, a range) and took its rail down. Its transfer fails.
    Failed(F),
    /// It was stopped or not taken, and the peer's device has answered for everything that was posted of it: nothing of it
    /// is anywhere, and its rail goes on. Its transfer fails.
    Stopped(F),
}

/// What is to be done. `F` is what failures are told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action<F> {
    /// Post a chunk: answered by [`Bundle::landed`], [`Bundle::returned`] or [`Bundle::refused`].
    Post {
        /// Where.
        rail: RailId,
        /// What.
        chunk: ChunkId,
    },
    /// Send the transfer's notification: answered by [`Bundle::notified`] once the peer's device has it, or
    /// [`Bundle::unnotified`].
    Notify {
        /// Where.
        rail: RailId,
        /// Whose.
        transfer: TransferId,
        /// Its number, for [`Inbox::take`].
        sequence: u64,
        /// Every number below is settled, for [`Inbox::take`].
        settled: u64,
    },
    /// Open a rail at both ends: answered by [`Bundle::opened`], or by [`Bundle::lost`] where it did not work. Within a bounded
    /// time.
    Open {
        /// The life that begins.
        rail: RailId,
    },
    /// Make a round trip on a rail that carries nothing, yet or now: answered by [`Bundle::answered`] or [`Bundle::lost`]. The
    /// bundle itself loses one that takes too long ([`BundleConfig::probe`]).
    Probe {
        /// Which.
        rail: RailId,
    },
    /// Close this end of a rail: chunks come back ([`Bundle::landed`], [`Bundle::returned`]), notifications too, and once
    /// nothing of the life can touch this process's memory, [`Bundle::closed`]. What had arrived by then has been taken in.
    Close {
        /// Which.
        rail: RailId,
    },
    /// Post nothing more on a rail whose other end is quiet, and wait for what is in hand: it comes back ([`Bundle::landed`],
    /// [`Bundle::returned`]) with what that end said last. The driver sees to it that this takes a bounded time. With the last
    /// of it the rail is closed.
    Drain {
        /// Which.
        rail: RailId,
    },
    /// Tell the peer that this end of a rail is quiet: the peer's [`Bundle::heard`]. What is told keeps its order, with openings
    /// too.
    Tell {
        /// Which.
        rail: RailId,
    },
    /// Stop the chunks of a transfer that are in hand, if that is possible; they come back or land.
    Stop {
        /// Whose.
        transfer: TransferId,
    },
    /// A transfer has ended, and is quiet at both ends.
    Finish {
        /// Which.
        transfer: TransferId,
        /// Bytes that moved, or why not all did.
        outcome: Result<u64, F>,
        /// Chunks from the first on that have landed.
        landed: u32,
    },
}
