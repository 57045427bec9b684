//! Loom model: an engine that moves bytes against an owner that revokes the region and uses its memory again.
#![allow(unsafe_code)] // the region's memory is reached through cells

use loom::thread;

use super::*;
use crate::sync::{Arc, UnsafeCell, spin_hint};

const KEY: u32 = 5;

/// What owner and engine share.
struct Host {
    roster: Roster,
    activity: Activity,
    key: KeyCell,
    /// The region's entry in its table: written before the grant.
    entry: UnsafeCell<u32>,
    /// The region's memory: the engine's while the key is valid, the owner's again once quiet.
    bytes: UnsafeCell<u32>,
}

// SAFETY: what the model proves: key and activity order all accesses.
unsafe impl Sync for Host {}
// SAFETY: numbers.
unsafe impl Send for Host {}

impl Host {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            roster: Roster::new(),
            activity: Activity::new(),
            key: KeyCell::new(),
            entry: UnsafeCell::new(0),
            bytes: UnsafeCell::new(0),
        })
    }

    fn register(&self) {
        // SAFETY: no engine has a key yet.
        self.entry.with_mut(|entry| unsafe { *entry = 50 });
        self.key.grant(KEY);
    }

    /// One transfer of the engine's.
    fn transfer(&self) {
        let active = self.activity.enter();
        if self.key.validate(&active, KEY) {
            // SAFETY: validated, and within the round.
            assert_eq!(self.entry.with(|entry| unsafe { *entry }), 50);
            // SAFETY: validated, and within the round.
            self.bytes.with_mut(|bytes| unsafe { *bytes += 1 });
        }
    }

    /// An engine that takes its seat first.
    fn sit_down_and_transfer(&self) {
        self.roster.count(0);
        self.transfer();
    }

    /// Takes the region back from the one engine that there is.
    fn deregister(&self) {
        let revoked = self.key.revoke();
        self.reclaim((self.roster.counted(&revoked) > 0).then(|| self.activity.snapshot(&revoked)));
    }

    /// Waits until the engine is quiet or gone, and checks that nobody else has the region.
    fn reclaim(&self, snapshot: Option<Snapshot>) {
        while snapshot.is_some_and(|snapshot| !snapshot.is_quiet(&self.activity) && !self.roster.is_closed())
        {
            spin_hint();
        }
        // SAFETY: quiet.
        self.entry.with_mut(|entry| unsafe { *entry = 0 });
        // SAFETY: quiet.
        self.bytes.with_mut(|bytes| unsafe { *bytes = 0 });
    }
}

/// After quiet no engine touches the region, whether it was idle, in a round, or already in the next.
#[test]
fn nothing_writes_after_quiet() {
    loom::model(|| {
        let host = Host::new();
        host.register();
        host.roster.count(0);
        let engine = {
            let host = host.clone();
            thread::spawn(move || {
                host.transfer();
                host.transfer();
            })
        };
        host.deregister();
        engine.join().unwrap();
        // SAFETY: all threads have ended.
        assert_eq!(host.bytes.with(|bytes| unsafe { *bytes }), 0);
    });
}

/// An engine that accepts a key sees the entry that it stands for.
#[test]
fn a_key_comes_after_its_entry() {
    loom::model(|| {
        let host = Host::new();
        let engine = {
            let host = host.clone();
            thread::spawn(move || host.transfer())
        };
        host.register();
        engine.join().unwrap();
    });
}

/// An engine that takes its seat while the region is revoked is either counted or refused.
#[test]
fn a_new_engine_is_counted_or_refused() {
    loom::model(|| {
        let host = Host::new();
        host.register();
        let engine = {
            let host = host.clone();
            thread::spawn(move || host.sit_down_and_transfer())
        };
        host.deregister();
        engine.join().unwrap();
        // SAFETY: all threads have ended.
        assert_eq!(host.bytes.with(|bytes| unsafe { *bytes }), 0);
    });
}

/// A device that was dropped in order is as good as quiet, its engine's last round being over.
#[test]
fn a_closed_roster_is_quiet() {
    loom::model(|| {
        let host = Host::new();
        host.register();
        let engine = {
            let host = host.clone();
            thread::spawn(move || {
                host.sit_down_and_transfer();
                host.roster.close();
            })
        };
        host.deregister();
        engine.join().unwrap();
    });
}
