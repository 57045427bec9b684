//! Revoking a region while engines of other processes may be moving its bytes.
//!
//! Each soft HCA engine has an [`Activity`] in memory that all processes of the host share, and each device a
//! [`Roster`] that says how many of them were ever used; each region has a [`KeyCell`] in its owner's table, likewise
//! shared. Deregistering a region ends with the proof that no engine
//! touches it, without the engine taking a lock for each transfer.
//!
//! ```
//! use pmd_core::ring::quiesce::{Activity, KeyCell};
//!
//! let (activity, cell) = (Activity::new(), KeyCell::new());
//! cell.grant(7);
//! let round = activity.enter();
//! assert!(cell.validate(&round, 7)); // the engine may move bytes now
//!
//! let snapshot = activity.snapshot(&cell.revoke());
//! assert!(!snapshot.is_quiet(&activity));
//! drop(round);
//! assert!(snapshot.is_quiet(&activity)); // the memory is the owner's again
//! ```
//!
//! # States and orderings
//! `Activity` counts: even is idle, odd is moving bytes. `KeyCell` holds the region's current key, or 0.
//! ```text
//!  engine                                   revoker
//!  activity = odd          (release)        key = 0
//!  fence                   (SeqCst)         fence                   (SeqCst)
//!  key valid? move bytes   (acquire)        snapshot = activity     (acquire)
//!  activity = even         (release)        odd: until activity != snapshot  (acquire)
//! ```
//! - The two fences: of the engine's "I am active" and the revoker's "the key is gone" at least one is seen by
//!   the other side. So an engine whose snapshot is even, or that has moved on since, refuses the old key.
//! - Even is stored with release and read with acquire: what the engine moved happens before the revoker goes on.
//!   Odd is stored with release as well, because a revoker may find an engine already in its next round, and that
//!   value then has to carry the bytes of the round before.
//! - The key is granted with release and validated with acquire: an engine that accepts a key sees the table entry
//!   that the key stands for.
//!
//! - The roster counts an engine before its first round, so the same two fences decide: a revoker that does not find
//!   the engine counted is seen by it, and its key refused.
//! - A device that is dropped in order closes its roster (release) behind the last round of all of its engines; who
//!   finds it closed (acquire) need not look at their activities any more.
//!
//! A process that dies while odd stays odd: that it is dead is the caller's knowledge, and as good as quiet.

#[cfg(all(loom, test))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use crate::sync::{AtomicU32, Ordering, fence};

/// Whether one engine is moving bytes. Lives in shared memory, which starts zeroed: idle.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Activity {
    /// Even: idle. Odd: moving bytes.
    count: AtomicU32,
}

impl Activity {
    /// An idle engine, as zeroed memory is.
    pub fn new() -> Self {
        Self { count: AtomicU32::new(0) }
    }

    /// Marks the engine as moving bytes until the guard is dropped.
    ///
    /// One engine owns an activity and is in one round at a time: with two at once an early end of the first would
    /// pass for the end of both.
    #[inline]
    pub fn enter(&self) -> Active<'_> {
        // Odd here is what a process that died left behind: then the next odd number, so that it counts as ended.
        let round = self.count.load(Ordering::Relaxed).wrapping_add(1) | 1;
        self.count.store(round, Ordering::Release);
        fence(Ordering::SeqCst);
        Active { activity: self, round }
    }

    /// Notes what the engine is doing, after `revoked` took the key away.
    pub fn snapshot(&self, _revoked: &Revoked) -> Snapshot {
        Snapshot { count: self.count.load(Ordering::Acquire) }
    }
}

impl Default for Activity {
    fn default() -> Self {
        Self::new()
    }
}

/// An engine's round of moving bytes: keys are validated under it, and it ends when dropped.
#[derive(Debug)]
#[must_use = "dropping it ends the round"]
pub struct Active<'activity> {
    activity: &'activity Activity,
    /// The odd number of this round.
    round: u32,
}

impl Drop for Active<'_> {
    #[inline]
    fn drop(&mut self) {
        let idle = self.round.wrapping_add(1);
        self.activity.count.store(idle, Ordering::Release);
    }
}

/// The engines of one device, for revokers. Lives in shared memory, which starts zeroed: no engine, open.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Roster {
    /// Activities from this one on were never used.
    used: AtomicU32,
    /// Not 0: none of the engines exists any more.
    closed: AtomicU32,
}

impl Roster {
    /// Without engines, as zeroed memory is.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts the engine with the activity `index`. Called before its first round.
    pub fn count(&self, index: u32) {
        self.used.fetch_max(index + 1, Ordering::Relaxed);
    }

    /// How many activities, from the first on, there are to take snapshots of after `revoked` took a key away.
    pub fn counted(&self, _revoked: &Revoked) -> usize {
        self.used.load(Ordering::Relaxed) as usize
    }

    /// Says that no engine exists any more: each has ended its last round.
    pub fn close(&self) {
        self.closed.store(1, Ordering::Release);
    }

    /// Whether that was said: nothing that was revoked is touched any more.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) != 0
    }
}

/// The current key of one region, or 0 for none. Lives in shared memory, which starts zeroed: no key.
#[derive(Debug)]
#[repr(transparent)]
pub struct KeyCell(AtomicU32);

impl KeyCell {
    /// A cell without a key, as zeroed memory is.
    pub fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    /// Whether `key` is the region's key, for a transfer within the round `_active`. Key 0 is never valid.
    #[inline]
    pub fn validate(&self, _active: &Active<'_>, key: u32) -> bool {
        key != 0 && self.0.load(Ordering::Acquire) == key
    }

    /// Makes the region reachable with `key`; its table entry is complete before.
    pub fn grant(&self, key: u32) {
        self.0.store(key, Ordering::Release);
    }

    /// Takes the key away. Rounds that validated it before may still be moving bytes: take a
    /// [`snapshot`](Activity::snapshot) of each engine now, and wait until each is quiet.
    ///
    /// Several keys can be revoked in a row and one snapshot taken after the last.
    pub fn revoke(&self) -> Revoked {
        self.0.store(0, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        Revoked(())
    }
}

impl Default for KeyCell {
    fn default() -> Self {
        Self::new()
    }
}

/// Says that a key was taken away and that the fence after it was passed.
#[derive(Debug)]
pub struct Revoked(());

/// What an engine was doing after a revoke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snapshot {
    count: u32,
}

impl Snapshot {
    /// Whether the engine can no longer touch a region revoked before the snapshot. True stays true.
    ///
    /// `activity` is the one the snapshot was taken of.
    #[inline]
    pub fn is_quiet(&self, activity: &Activity) -> bool {
        self.count.is_multiple_of(2) || activity.count.load(Ordering::Acquire) != self.count
    }
}
