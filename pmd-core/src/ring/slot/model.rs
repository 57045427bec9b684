//! Loom model: a lane that completes against a holder that polls and cancels.

use loom::thread;

use super::*;
use crate::sync::{Arc, spin_hint};

/// A transfer: bytes that the lane moves, and the slot that says so.
struct Transfer {
    bytes: UnsafeCell<u32>,
    slot: CompletionSlot<u32>,
}

// SAFETY: what the model proves: the slot orders the lane's writes before the holder's reads.
unsafe impl Sync for Transfer {}
// SAFETY: numbers.
unsafe impl Send for Transfer {}

impl Transfer {
    fn new() -> Arc<Self> {
        Arc::new(Self { bytes: UnsafeCell::new(0), slot: CompletionSlot::new() })
    }

    /// The lane's side.
    fn run(&self) -> bool {
        // SAFETY: the holder reads after completion only.
        self.bytes.with_mut(|bytes| unsafe { *bytes = 7 });
        self.slot.complete(70)
    }

    fn assert_landed(&self) {
        // SAFETY: the lane has completed.
        assert_eq!(self.bytes.with(|bytes| unsafe { *bytes }), 7);
    }
}

/// Who polls an outcome sees it whole, and the bytes of the transfer.
#[test]
fn an_outcome_comes_after_the_bytes() {
    loom::model(|| {
        let transfer = Transfer::new();
        let lane = {
            let transfer = transfer.clone();
            thread::spawn(move || transfer.run())
        };
        let outcome = loop {
            match transfer.slot.poll() {
                Some(outcome) => break outcome,
                None => spin_hint(),
            }
        };
        assert_eq!(outcome, 70);
        transfer.assert_landed();
        assert!(!lane.join().unwrap());
    });
}

/// Lane and holder agree whether the cancel came in time; one that came too late proves that nothing moves any more.
#[test]
fn a_late_cancel_proves_quiet() {
    loom::model(|| {
        let transfer = Transfer::new();
        let lane = {
            let transfer = transfer.clone();
            thread::spawn(move || transfer.run())
        };
        let cancel = transfer.slot.request_cancel();
        if cancel == CancelState::AlreadyDone {
            transfer.assert_landed();
        }
        let seen_by_lane = lane.join().unwrap();
        assert_eq!(seen_by_lane, cancel == CancelState::Requested);
        assert_eq!(transfer.slot.poll(), Some(70));
        transfer.assert_landed();
    });
}

/// A lane that completes twice, even from two threads, leaves one outcome and no race.
#[test]
fn a_second_completion_changes_nothing() {
    loom::model(|| {
        let slot = Arc::new(CompletionSlot::new());
        let other = {
            let slot = slot.clone();
            thread::spawn(move || slot.complete(1))
        };
        slot.complete(2);
        let seen = slot.poll();
        other.join().unwrap();
        let outcome = slot.poll();
        assert!(outcome == Some(1) || outcome == Some(2));
        assert!(seen.is_none() || seen == outcome);
    });
}
