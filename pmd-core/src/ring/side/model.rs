//! Loom models: two processes connect, one moves bytes into the other's memory, and the other closes or gives up.
#![allow(unsafe_code)] // facts and memory are reached through cells

use loom::thread;

use super::*;
use crate::ring::{packet, quiesce::Activity};
use crate::sync::{Arc, UnsafeCell, spin_hint};

/// The memory of a link, one side's memory for bytes, and the engine of the other.
struct Link {
    sides: [Side; 2],
    /// What each side says of itself: written before it attaches.
    facts: [UnsafeCell<u32>; 2],
    /// Activity of the engine at side 1.
    activity: Activity,
    /// Memory of side 0 that side 1 may copy into.
    bytes: UnsafeCell<u32>,
}

// SAFETY: what the models prove: states, keys and the activity order all accesses.
unsafe impl Sync for Link {}
// SAFETY: numbers.
unsafe impl Send for Link {}

impl Link {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            sides: [Side::new(), Side::new()],
            facts: [UnsafeCell::new(0), UnsafeCell::new(0)],
            activity: Activity::new(),
            bytes: UnsafeCell::new(0),
        })
    }

    fn attach(&self, side: usize) {
        // SAFETY: the other side looks once this one is attached.
        self.facts[side].with_mut(|fact| unsafe { *fact = 7 + side as u32 });
        self.sides[side].attach();
    }

    fn wait_attached(&self, side: usize) -> SideState {
        loop {
            match self.sides[side].state() {
                SideState::New => spin_hint(),
                state => return state,
            }
        }
    }

    fn assert_fact(&self, side: usize) {
        // SAFETY: attached, and facts do not change after that.
        assert_eq!(self.facts[side].with(|fact| unsafe { *fact }), 7 + side as u32);
    }

    /// A round of side 1's engine: copies into side 0's memory if that is open.
    fn copy(&self) {
        let active = self.activity.enter();
        if self.sides[0].is_open(&active) {
            // SAFETY: validated, and within the round.
            self.bytes.with_mut(|bytes| unsafe { *bytes += 1 });
        }
    }

    /// Waits until side 1's engine cannot touch side 0's memory, and uses it.
    fn reclaim(&self, revoked: &Revoked) {
        let snapshot = self.activity.snapshot(revoked);
        while !snapshot.is_quiet(&self.activity) {
            spin_hint();
        }
        // SAFETY: quiet.
        self.bytes.with_mut(|bytes| unsafe { *bytes = 0 });
    }
}

/// Each side sees what the other said of itself before it attached.
#[test]
fn facts_come_before_the_attachment() {
    loom::model(|| {
        let link = Link::new();
        let other = link.clone();
        let taking = thread::spawn(move || {
            other.attach(1);
            other.wait_attached(0);
            other.assert_fact(0);
        });
        link.wait_attached(1);
        link.assert_fact(1);
        link.attach(0);
        taking.join().unwrap();
    });
}

/// After close and quiet nothing is written, whether the other engine was idle, in a round, or in the next one.
#[test]
fn nothing_is_copied_after_close_and_quiet() {
    loom::model(|| {
        let link = Link::new();
        link.attach(0);
        let other = link.clone();
        let engine = thread::spawn(move || {
            other.wait_attached(0);
            other.copy();
            other.copy();
        });
        link.reclaim(&link.sides[0].close());
        engine.join().unwrap();
        // SAFETY: all threads have ended.
        assert_eq!(link.bytes.with(|bytes| unsafe { *bytes }), 0);
    });
}

/// A side that gives up while the other is faster and copies already: the same.
#[test]
fn nothing_is_copied_after_giving_up_and_quiet() {
    loom::model(|| {
        let link = Link::new();
        link.attach(0);
        let other = link.clone();
        let engine = thread::spawn(move || {
            if other.wait_attached(0) == SideState::Attached {
                other.assert_fact(0);
                other.copy();
            }
        });
        link.reclaim(&link.sides[0].abandon());
        assert_eq!(link.sides[0].state(), SideState::Abandoned);
        engine.join().unwrap();
        // SAFETY: all threads have ended.
        assert_eq!(link.bytes.with(|bytes| unsafe { *bytes }), 0);
    });
}

/// Who sees the other side closed, and looks at the ring once more, finds its last words.
#[test]
fn last_words_are_found_after_the_close() {
    loom::model(|| {
        let side = Arc::new(Side::new());
        side.attach();
        let (mut out, mut incoming) = packet::ring(2).unwrap();
        let closing = side.clone();
        let leaving = thread::spawn(move || {
            out.push(&[9]).unwrap();
            closing.close();
            out
        });
        if side.state() == SideState::Closed {
            let packet = incoming.peek().unwrap().expect("closed without a word");
            packet.release();
        }
        leaving.join().unwrap();
    });
}
