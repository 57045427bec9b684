//! Timestamps.

use std::{thread, time::Duration};

use super::PATIENCE;
use crate::simple::{RESULTS_KEPT, TrackError, tracker::Tracker};

#[test]
fn a_result_is_taken_once() {
    let tracker = Tracker::default();
    let (first, second) = (tracker.begin(), tracker.begin());
    assert_eq!((first, second), (0, 1));
    assert!(!tracker.is_done(first));
    let timeout = tracker.take(first, Duration::ZERO);
    assert!(matches!(timeout, Err(TrackError::Timeout { timestamp: 0, .. })));
    tracker.finish(first, "done");
    tracker.finish(first, "again");
    assert_eq!(tracker.take(first, Duration::ZERO), Ok("done"));
    assert_eq!(tracker.take(first, PATIENCE), Err(TrackError::Taken { timestamp: 0 }));
    assert_eq!(tracker.take(7, PATIENCE), Err(TrackError::Unknown { timestamp: 7 }));
    tracker.forget(second);
    assert_eq!(tracker.take(second, PATIENCE), Err(TrackError::Taken { timestamp: 1 }));
}

#[test]
fn who_waits_is_woken() {
    let tracker = Tracker::default();
    let timestamp = tracker.begin();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| tracker.take(timestamp, PATIENCE));
        tracker.finish(timestamp, 5);
        assert_eq!(waiting.join().expect("no panic"), Ok(5));
    });
}

#[test]
fn results_that_nobody_takes_are_dropped_in_the_end() {
    let tracker = Tracker::default();
    let runs = tracker.begin();
    for _ in 0..=RESULTS_KEPT {
        tracker.finish(tracker.begin(), ());
    }
    assert_eq!(tracker.take(1, Duration::ZERO), Err(TrackError::Taken { timestamp: 1 }));
    assert_eq!(tracker.take(2, Duration::ZERO), Ok(()));
    tracker.finish(runs, ());
    assert_eq!(tracker.take(runs, Duration::ZERO), Ok(()), "what runs is not dropped");
}
