//! Keys, rounds and snapshots without concurrency; the interleavings are the model's.

use super::*;

#[test]
fn the_layout_is_what_processes_share() {
    assert_eq!((size_of::<Activity>(), align_of::<Activity>()), (64, 64));
    assert_eq!((size_of::<KeyCell>(), align_of::<KeyCell>()), (4, 4));
    assert_eq!((size_of::<Roster>(), align_of::<Roster>()), (8, 4));
    assert_eq!((size_of::<crate::ring::side::Side>(), align_of::<crate::ring::side::Side>()), (8, 4));
}

#[test]
fn a_key_is_valid_from_grant_to_revoke() {
    let (activity, key) = (Activity::new(), KeyCell::new());
    assert!(!key.validate(&activity.enter(), 0));
    assert!(!key.validate(&activity.enter(), 5));
    key.grant(5);
    assert!(key.validate(&activity.enter(), 5));
    assert!(!key.validate(&activity.enter(), 6));
    key.revoke();
    assert!(!key.validate(&activity.enter(), 5));
    assert!(!key.validate(&activity.enter(), 0));
}

#[test]
fn an_idle_engine_is_quiet_at_once_and_stays_quiet() {
    let (activity, key) = (Activity::default(), KeyCell::default());
    drop(activity.enter());
    let snapshot = activity.snapshot(&key.revoke());
    assert!(snapshot.is_quiet(&activity));
    let _active = activity.enter();
    assert!(snapshot.is_quiet(&activity));
}

#[test]
fn an_active_engine_is_quiet_once_its_round_has_ended() {
    let (activity, key) = (Activity::new(), KeyCell::new());
    let active = activity.enter();
    let snapshot = activity.snapshot(&key.revoke());
    assert!(!snapshot.is_quiet(&activity));
    drop(active);
    assert!(snapshot.is_quiet(&activity));
    let _next = activity.enter();
    assert!(snapshot.is_quiet(&activity));
}

#[test]
fn a_round_that_its_process_left_open_ends_with_the_next() {
    let (activity, key) = (Activity::new(), KeyCell::new());
    core::mem::forget(activity.enter());
    let snapshot = activity.snapshot(&key.revoke());
    assert!(!snapshot.is_quiet(&activity));
    let next = activity.enter();
    assert!(snapshot.is_quiet(&activity));
    let second = activity.snapshot(&key.revoke());
    assert!(!second.is_quiet(&activity));
    drop(next);
    assert!(second.is_quiet(&activity));
}

#[test]
fn the_count_wraps() {
    let activity = Activity { count: AtomicU32::new(u32::MAX - 1) };
    let snapshot = {
        let _active = activity.enter();
        activity.snapshot(&KeyCell::new().revoke())
    };
    assert_eq!(snapshot, Snapshot { count: u32::MAX });
    assert!(snapshot.is_quiet(&activity));
    assert_eq!(activity.count.load(Ordering::Relaxed), 0);
}
