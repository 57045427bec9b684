//! The slot's transitions, one by one and between threads.
extern crate std;

use alloc::vec::Vec;
use std::thread;

use super::*;
use crate::sync::Arc;

#[test]
fn completes_once_and_is_polled_often() {
    let slot = CompletionSlot::new();
    assert_eq!(slot.poll(), None);
    assert!(!slot.complete(7));
    assert_eq!((slot.poll(), slot.poll()), (Some(7), Some(7)));
    assert!(!slot.complete(8));
    assert_eq!(slot.poll(), Some(7));
}

#[test]
fn a_cancel_before_completion_is_seen_by_the_lane_and_still_completes() {
    let slot = CompletionSlot::default();
    assert!(!slot.cancel_requested());
    assert_eq!(slot.request_cancel(), CancelState::Requested);
    assert_eq!(slot.request_cancel(), CancelState::Requested);
    assert!(slot.cancel_requested());
    assert_eq!(slot.poll(), None);
    assert!(slot.complete("cancelled"));
    assert_eq!(slot.poll(), Some("cancelled"));
    assert!(slot.complete("again"));
    assert_eq!(slot.poll(), Some("cancelled"));
}

#[test]
fn a_cancel_after_completion_comes_too_late() {
    let slot = CompletionSlot::new();
    assert!(!slot.complete([1u64; 4]));
    assert_eq!(slot.request_cancel(), CancelState::AlreadyDone);
    assert_eq!(slot.poll(), Some([1; 4]));
}

#[test]
fn lane_and_holder_agree_on_each_of_many_slots() {
    let slots: Arc<Vec<CompletionSlot<[u64; 2]>>> =
        Arc::new((0..20_000).map(|_| CompletionSlot::new()).collect());
    let lane = {
        let slots = slots.clone();
        let complete =
            move |(index, slot): (usize, &CompletionSlot<_>)| slot.complete([index as u64, !(index as u64)]);
        thread::spawn(move || slots.iter().enumerate().map(complete).collect::<Vec<_>>())
    };
    let holder: Vec<_> = slots.iter().map(|slot| slot.request_cancel() == CancelState::Requested).collect();
    assert_eq!(lane.join().unwrap(), holder);
    for (index, slot) in slots.iter().enumerate() {
        assert_eq!(slot.poll(), Some([index as u64, !(index as u64)]));
    }
}
