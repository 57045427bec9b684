//! Turns of transfers of different priority, and what observers hear.

use std::sync::Mutex;

use pmd_core::wire::Syndrome;

use super::*;
use crate::transfer::{
    Observer, Priority, RouteFault, TransferEnd, TransferError, TransferObserver, TransferOptions,
};

/// Remote addresses from here on belong to the transfers of high priority.
const HIGH: u64 = 0x1_0000_0000;

fn submit_high(route: &Route, work: &Arc<WorkList>) -> Transfer {
    route.submit(work, TransferOptions { priority: Priority::High, ..TransferOptions::default() }).unwrap()
}

/// How many of the posts are of high priority.
fn high(posts: &[fake::Post]) -> usize {
    posts.iter().filter(|post| post.remote >= HIGH).count()
}

#[test]
fn high_priority_overtakes_what_is_not_posted() {
    let mut rig = Rig::new(LaneConfig { batch: 8, signal_interval: 8, ..LaneConfig::default() });
    let route = rig.route(1);
    let bulk: Vec<_> = (0..10).map(|index| submit(&route, &list_at(index * 0x10_0000, 1000, 16))).collect();
    rig.turns(5);
    let before = rig.net.posts(0).len();
    let urgent = submit_high(&route, &list_at(HIGH, 100, 16));
    rig.finish(&urgent).unwrap();
    let after = rig.net.posts(0).len() - before;
    // One turn in eight is left to the bulk, and a batch or two are on their way when the last entry is done.
    assert!(after < 100 * 8 / 7 + 3 * 8, "{after} requests went for the 100");
    assert!(bulk.iter().all(|transfer| transfer.poll().is_none()));
    bulk.iter().for_each(|transfer| assert!(rig.finish(transfer).is_ok()));
}

#[test]
fn high_priority_does_not_starve_the_others() {
    let mut rig = Rig::new(LaneConfig { batch: 8, signal_interval: 8, ..LaneConfig::default() });
    let route = rig.route(1);
    let urgent: Vec<_> =
        (0..4).map(|index| submit_high(&route, &list_at(HIGH + index * 0x100_0000, 5000, 16))).collect();
    let bulk = submit(&route, &list(500));
    rig.finish(&bulk).unwrap();
    assert!(urgent.iter().all(|transfer| transfer.poll().is_none()), "the bulk came to its turns in between");
    let posts = rig.net.posts(0);
    let (of_high, all) = (high(&posts), posts.len());
    let share = all - of_high;
    assert_eq!(share, 500);
    assert!(of_high >= share * 6 && of_high <= share * 8, "{of_high} of {all}");
    urgent.iter().for_each(|transfer| assert!(rig.finish(transfer).is_ok()));
}

#[test]
fn equals_still_take_turns() {
    let mut rig = Rig::new(LaneConfig { batch: 8, signal_interval: 8, ..LaneConfig::default() });
    let route = rig.route(1);
    let first = submit_high(&route, &list_at(HIGH, 100, 16));
    let second = submit_high(&route, &list_at(HIGH + 0x1_0000, 100, 16));
    rig.turns(1);
    let of_second = rig.net.posts(0).iter().filter(|post| post.remote >= HIGH + 0x1_0000).count();
    assert_eq!((rig.net.posts(0).len(), of_second), (8, 4));
    rig.finish(&first).unwrap();
    rig.finish(&second).unwrap();
}

#[test]
fn an_urgent_transfer_can_be_cancelled_between_its_turns() {
    let mut rig = Rig::new(LaneConfig::default());
    rig.net.script(0, |script| script.per_poll = 1);
    let route = rig.route_with_slots(64);
    let urgent = submit_high(&route, &list_at(HIGH, 10_000, 16));
    let bulk = submit(&route, &list(40));
    rig.turns(10);
    rig.driver.cancel(&urgent);
    let posted = high(&rig.net.posts(0));
    rig.finish(&bulk).unwrap();
    assert_eq!(high(&rig.net.posts(0)), posted);
}

#[derive(Default)]
struct Heard(Mutex<Vec<TransferEnd>>);

impl TransferObserver for Heard {
    fn ended(&self, end: TransferEnd) {
        self.0.lock().unwrap().push(end);
    }
}

struct Panics;

impl TransferObserver for Panics {
    fn ended(&self, _: TransferEnd) {
        panic!("planned panic");
    }
}

fn observed(observer: Arc<dyn TransferObserver>) -> TransferOptions {
    TransferOptions { observer: Some(Observer(observer)), ..TransferOptions::default() }
}

#[test]
fn observers_hear_what_has_landed() {
    let mut rig = Rig::new(LaneConfig { signal_interval: 1, ..LaneConfig::default() });
    let route = rig.route(1);
    let heard = Arc::new(Heard::default());
    let transfer = route.submit(&list(70), observed(heard.clone())).unwrap();
    rig.finish(&transfer).unwrap();
    let whole = TransferEnd { outcome: Ok(Outcome { bytes: 70 * 16 }), landed: 70 };
    assert_eq!(*heard.0.lock().unwrap(), [whole]);
    drop(transfer);
    assert_eq!(Arc::strong_count(&heard), 1, "the lane holds nothing of it");

    // Entry 20 fails: those before it are in place, and those after it are not.
    rig.net.script(0, |script| script.poison = Some((0x100 + 20 * 32, Syndrome::RemoteAccess)));
    let transfer = route.submit(&list(40), observed(heard.clone())).unwrap();
    let error = match rig.finish(&transfer) {
        Err(WaitError::Failed(error @ TransferError::Failed { entry: 20, .. })) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(heard.0.lock().unwrap()[1], TransferEnd { outcome: Err(error), landed: 20 });
}

#[test]
fn observers_hear_of_transfers_that_nobody_holds() {
    let mut rig = Rig::new(short_grace());
    let route = rig.route(1);
    rig.net.script(0, |script| script.frozen = true);
    let heard = Arc::new(Heard::default());
    let held = route.submit(&list(100), observed(heard.clone())).unwrap();
    drop(route.submit(&list(2), observed(heard.clone())).unwrap());
    rig.turns(3);
    rig.driver.cancel(&held);
    rig.turns(3);
    let cause = RouteFault::Unresponsive;
    for error in [TransferError::Cancelled, TransferError::Flushed { cause }] {
        let end = TransferEnd { outcome: Err(error), landed: 0 };
        assert_eq!(heard.0.lock().unwrap().iter().filter(|heard| **heard == end).count(), 1, "{error}");
    }
    // And of those that the lane never took.
    let late = route.submit(&list(2), observed(heard.clone()));
    assert!(late.is_err());
    assert_eq!(heard.0.lock().unwrap().len(), 2);
    let other = rig.route(1);
    drop(other.submit(&list(2), observed(heard.clone())).unwrap());
    drop(rig.driver);
    let last = *heard.0.lock().unwrap().last().unwrap();
    assert!(matches!(last, TransferEnd { outcome: Err(TransferError::LaneEnded { .. }), landed: 0 }));
}

#[test]
fn an_observer_that_panics_changes_nothing() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let transfer = route.submit(&list(3), observed(Arc::new(Panics))).unwrap();
    assert_eq!(rig.finish(&transfer), Ok(Outcome { bytes: 48 }));
    let next = submit(&route, &list(3));
    assert_eq!(rig.finish(&next), Ok(Outcome { bytes: 48 }));
}
