//! Cancel, deadline, PeerDown, close: nothing is outstanding once the outcome is given.

use pmd_core::wire::Syndrome;

use super::*;
use crate::transfer::{CancelOutcome, KeepAlive, RouteFault, SubmitError, TransferError};

/// Posts and completions that happen in a number of further turns.
fn activity(rig: &mut Rig) -> usize {
    let before = rig.net.posts(0).len();
    rig.turns(50);
    rig.net.posts(0).len() - before
}

#[test]
fn cancel_stops_posting_and_waits_for_what_is_outstanding() {
    let mut rig = Rig::new(LaneConfig::default());
    rig.net.script(0, |script| script.per_poll = 1);
    let route = rig.route_with_slots(64);
    let work = list(10_000);
    let transfer = submit(&route, &work);
    rig.turns(10);
    let posted = rig.net.posts(0).len();
    assert_eq!(rig.driver.cancel(&transfer), CancelOutcome::Cancelled);
    assert_eq!(rig.net.posts(0).len(), posted);
    assert_eq!(activity(&mut rig), 0);
    assert_eq!(Arc::strong_count(&work), 1);
    assert_eq!(rig.net.with(0, |device| device.stops), [0, 0, 0]);
    let next = submit(&route, &list(3));
    assert!(rig.finish(&next).is_ok(), "the route goes on");
}

#[test]
fn cancel_fails_the_queue_pair_when_work_does_not_finish() {
    let mut rig = Rig::new(short_grace());
    let route = rig.route(1);
    rig.net.script(0, |script| script.frozen = true);
    let keep = Arc::new(());
    let options = TransferOptions { keep_alive: Some(KeepAlive(keep.clone())), ..TransferOptions::default() };
    let transfer = route.submit(&list(100), options).unwrap();
    let other = submit(&route, &list(2));
    rig.turns(3);
    assert_eq!(rig.driver.cancel(&transfer), CancelOutcome::Cancelled);
    assert_eq!(rig.net.with(0, |device| device.stops), [1, 0, 0]);
    assert_eq!(Arc::strong_count(&keep), 1);
    let cause = RouteFault::Unresponsive;
    assert_eq!(rig.finish(&other), Err(WaitError::Failed(TransferError::Flushed { cause })));
    assert_eq!(activity(&mut rig), 0);
    assert_eq!(route.fault(), Some(cause));
    let refused = route.submit(&list(1), TransferOptions::default());
    assert!(matches!(refused, Err(SubmitError::RouteFailed(RouteFault::Unresponsive))));
}

#[test]
fn a_queue_pair_without_flush_completions_is_reset() {
    let mut rig = Rig::new(short_grace());
    let route = rig.route(1);
    rig.net.script(0, |script| (script.frozen, script.mute_failure) = (true, true));
    let transfer = submit(&route, &list(100));
    rig.turns(3);
    assert_eq!(rig.driver.cancel(&transfer), CancelOutcome::Cancelled);
    assert_eq!(rig.net.with(0, |device| device.stops), [1, 1, 0]);
    assert_eq!(activity(&mut rig), 0);
}

#[test]
fn a_queue_pair_that_a_stopped_peer_writes_for_is_asked_again_while_other_routes_go_on() {
    let mut rig = Rig::new(short_grace());
    let (stuck, other) = (rig.route(1), rig.route(1));
    rig.net.script(0, |script| {
        (script.frozen, script.mute_failure, script.peer_writes) = (true, true, true);
    });
    let transfer = submit(&stuck, &list(3));
    rig.turns(3);
    transfer.request_cancel();
    // Until it has been failed, and then asked whether it is quiet.
    let until = soon().unwrap();
    while rig.net.with(0, |device| device.quiesced) < 3 {
        rig.driver.turn();
        assert!(Instant::now() < until);
    }
    assert!(!transfer.is_done());
    rig.net.script(0, |script| script.frozen = false);
    for _ in 0..3 {
        let beside = submit(&other, &list(5));
        assert!(rig.finish(&beside).is_ok(), "another route goes on");
    }
    assert!(!transfer.is_done());
    assert_eq!(rig.net.with(0, |device| device.stops), [1, 0, 0]);
    rig.net.script(0, |script| script.peer_writes = false);
    assert_eq!(rig.finish(&transfer), Err(WaitError::Failed(TransferError::Cancelled)));
    assert_eq!(rig.net.with(0, |device| device.stops), [1, 1, 0]);
}

#[test]
fn a_route_for_which_a_stopped_peer_writes_is_closed_later_and_others_go_on() {
    let mut rig = Rig::new(LaneConfig::default());
    let (stuck, other) = (rig.route(2), rig.route(1));
    let transfer = submit(&stuck, &list(3));
    rig.finish(&transfer).unwrap();
    rig.net.script(0, |script| script.peer_writes = true);
    drop((transfer, stuck));
    for _ in 0..3 {
        let beside = submit(&other, &list(5));
        assert!(rig.finish(&beside).is_ok(), "another route goes on");
    }
    assert!(rig.net.with(0, |device| device.quiesced) > 2);
    assert_eq!(rig.net.with(0, |device| device.stops[2]), 0);
    rig.net.script(0, |script| script.peer_writes = false);
    rig.turns(3);
    assert_eq!(rig.net.with(0, |device| device.stops[2]), 2);
}

#[test]
fn a_queue_pair_that_cannot_be_stopped_is_destroyed() {
    let mut rig = Rig::new(short_grace());
    let route = rig.route(1);
    rig.net.script(0, |script| (script.frozen, script.refused_stops) = (true, 2));
    let transfer = submit(&route, &list(100));
    rig.turns(3);
    assert_eq!(rig.driver.cancel(&transfer), CancelOutcome::Cancelled);
    assert_eq!(rig.net.with(0, |device| device.stops), [1, 1, 1]);
    assert_eq!(rig.lane.fault(), None);
    rig.driver.close(&route).unwrap();
    drop(rig.driver);
    assert_eq!(rig.net.with(0, |device| device.stops), [1, 1, 1], "its handle may be another's by now");
}

#[test]
fn a_device_that_cannot_stop_a_queue_pair_is_closed() {
    let mut rig = Rig::new(short_grace());
    let route = rig.route(1);
    rig.net.script(0, |script| (script.frozen, script.refused_stops) = (true, 3));
    let transfer = submit(&route, &list(100));
    rig.turns(3);
    assert_eq!(rig.driver.cancel(&transfer), CancelOutcome::Cancelled);
    assert!(rig.net.with(0, |device| device.dropped));
    assert_eq!(rig.lane.fault(), Some(crate::transfer::LaneFault::CannotStop));
}

#[test]
fn cancel_after_the_end_tells_what_happened() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let transfer = submit(&route, &list(2));
    rig.finish(&transfer).unwrap();
    assert_eq!(rig.driver.cancel(&transfer), CancelOutcome::Completed(Outcome { bytes: 32 }));
}

#[test]
fn cancel_before_the_lane_has_it_posts_nothing() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let transfer = submit(&route, &list(2000));
    assert_eq!(rig.driver.cancel(&transfer), CancelOutcome::Cancelled);
    assert_eq!(rig.net.posts(0).len(), 0);
}

#[test]
fn a_deadline_stops_a_transfer() {
    let mut rig = Rig::new(short_grace());
    let route = rig.route(1);
    rig.net.script(0, |script| script.frozen = true);
    let deadline = Some(Instant::now() + Duration::from_millis(5));
    let late = route.submit(&list(3), TransferOptions { deadline, ..TransferOptions::default() }).unwrap();
    let error = rig.finish(&late).unwrap_err();
    assert_eq!(error, WaitError::Failed(TransferError::DeadlineExceeded));
    assert!(Some(Instant::now()) >= deadline);
    assert_eq!(activity(&mut rig), 0);
}

#[test]
fn a_transfer_that_comes_after_its_deadline_is_not_posted() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let before = rig.net.posts(0).len();
    let deadline = Some(Instant::now() - Duration::from_millis(1));
    let late = route.submit(&list(3), TransferOptions { deadline, ..TransferOptions::default() }).unwrap();
    let error = rig.finish(&late).unwrap_err();
    assert_eq!(error, WaitError::Failed(TransferError::DeadlineExceeded));
    assert_eq!(rig.net.posts(0).len(), before, "nothing of it was posted");
    let next = submit(&route, &list(3));
    assert!(rig.finish(&next).is_ok(), "the route goes on");
}

#[test]
fn a_wait_that_times_out_leaves_the_transfer_running() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    rig.net.script(0, |script| script.frozen = true);
    let transfer = submit(&route, &list(3));
    let passed = Some(Instant::now());
    assert_eq!(rig.driver.run_until(&transfer, passed), Err(WaitError::Timeout));
    rig.net.script(0, |script| script.frozen = false);
    assert!(rig.finish(&transfer).is_ok());
}

#[test]
fn a_driver_whose_caller_goes_on_with_something_else_keeps_nothing_back() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let settled = |rig: &Rig| rig.net.with(0, |device| device.settled);
    assert!(settled(&rig), "the route is connected");
    let transfer = submit(&route, &list(3));
    rig.turns(1);
    assert!(!settled(&rig), "another turn follows");
    assert!(rig.finish(&transfer).is_ok());
    assert!(settled(&rig));
    rig.net.script(0, |script| script.frozen = true);
    let frozen = submit(&route, &list(3));
    assert_eq!(rig.driver.run_until(&frozen, Some(Instant::now())), Err(WaitError::Timeout));
    assert!(settled(&rig));
}

#[test]
fn peer_down_fails_everything_on_its_route_only() {
    let mut rig = Rig::new(LaneConfig::default());
    let (route, other) = (rig.route(2), rig.route(1));
    rig.net.script(0, |script| script.frozen = true);
    let transfers: Vec<_> = (0..3).map(|_| submit(&route, &list_at(0, 100, 4096))).collect();
    rig.turns(5);
    route.fail(RouteFault::PeerDown);
    for transfer in &transfers {
        assert_eq!(rig.finish(transfer), Err(WaitError::Failed(TransferError::PeerDown)));
    }
    rig.net.script(0, |script| script.frozen = false);
    let survivor = submit(&other, &list(10));
    assert!(rig.finish(&survivor).is_ok());
    assert_eq!(route.fault(), Some(RouteFault::PeerDown));
    assert_eq!(other.fault(), None);
}

#[test]
fn what_is_posted_when_a_peer_leaves_may_still_be_answered_for() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route_with_slots(64);
    rig.net.script(0, |script| script.frozen = true);
    let (posted, long) = (submit(&route, &list(3)), submit(&route, &list(10_000)));
    rig.turns(5);
    route.peer_left(Duration::from_secs(60));
    let before = rig.net.posts(0).len();
    assert_eq!(activity(&mut rig), 0, "nothing more is posted");
    let refused = route.submit(&list(1), TransferOptions::default());
    assert!(matches!(refused, Err(SubmitError::RouteFailed(RouteFault::PeerDown))));
    assert_eq!(route.fault(), Some(RouteFault::PeerDown));
    assert_eq!(rig.net.with(0, |device| device.stops), [0, 0, 0], "its queue pair lives on");
    assert_eq!(rig.driver.run_until(&posted, Some(Instant::now())), Err(WaitError::Timeout));
    rig.net.script(0, |script| script.frozen = false);
    assert!(rig.finish(&posted).is_ok());
    assert_eq!(rig.finish(&long), Err(WaitError::Failed(TransferError::PeerDown)));
    rig.turns(2);
    assert_eq!(rig.net.with(0, |device| device.stops), [1, 0, 0], "until the last answer");
    assert_eq!(rig.net.posts(0).len(), before);
}

#[test]
fn a_peer_that_left_is_not_waited_for_longer_than_that() {
    let mut rig = Rig::new(LaneConfig::default());
    let (route, other) = (rig.route(1), rig.route(1));
    rig.net.script(0, |script| script.frozen = true);
    let (transfer, stopped) = (submit(&route, &list(3)), submit(&other, &list(3)));
    rig.turns(5);
    route.peer_left(Duration::from_millis(5));
    assert_eq!(rig.finish(&transfer), Err(WaitError::Failed(TransferError::PeerDown)));
    // Who does not want to wait need not.
    other.peer_left(Duration::from_secs(600));
    rig.turns(5);
    other.fail(RouteFault::Closed);
    assert_eq!(rig.finish(&stopped), Err(WaitError::Failed(TransferError::PeerDown)));
    assert_eq!(rig.net.with(0, |device| device.stops), [2, 0, 0]);
    assert_eq!(activity(&mut rig), 0);
}

/// The requests before the one that the device gave up have been carried out.
#[test]
fn the_end_of_the_connection_to_a_peer_that_left_is_no_news() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    rig.net.script(0, |script| (script.frozen, script.poison) = (true, Some((100, Syndrome::RetryExceeded))));
    let [done, lost, behind] = [0, 100, 200].map(|base| submit(&route, &list_at(base, 3, 1)));
    rig.turns(5);
    route.peer_left(Duration::from_secs(60));
    rig.turns(5);
    rig.net.script(0, |script| script.frozen = false);
    assert!(rig.finish(&done).is_ok());
    for transfer in [&lost, &behind] {
        assert_eq!(rig.finish(transfer), Err(WaitError::Failed(TransferError::PeerDown)));
    }
    assert_eq!(route.fault(), Some(RouteFault::PeerDown));
}

#[test]
fn dropping_a_transfer_leaves_it_running() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let work = list(100);
    drop(submit(&route, &work));
    rig.turns(20);
    assert_eq!(rig.net.posts(0).len(), 100);
    assert_eq!(rig.lane.counters().transfers, 1);
    assert_eq!(Arc::strong_count(&work), 1);
}

#[test]
fn a_route_closes_when_its_last_handle_and_transfer_are_gone() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(2);
    rig.net.script(0, |script| script.frozen = true);
    let transfer = submit(&route, &list(5));
    drop((route.clone(), route));
    rig.turns(10);
    assert_eq!(rig.net.with(0, |device| device.queues.iter().flatten().count()), 2);
    rig.net.script(0, |script| script.frozen = false);
    assert!(rig.finish(&transfer).is_ok());
    rig.turns(10);
    assert_eq!(rig.net.with(0, |device| device.queues.iter().flatten().count()), 0);
}

#[test]
fn close_fails_what_is_not_posted_and_waits_for_the_rest() {
    let mut rig = Rig::new(LaneConfig::default());
    rig.net.script(0, |script| script.per_poll = 1);
    let route = rig.route_with_slots(64);
    let (posted, waiting) = (submit(&route, &list(10)), submit(&route, &list(5000)));
    rig.turns(3);
    rig.driver.close(&route).unwrap();
    assert_eq!(posted.poll(), Some(Ok(Outcome { bytes: 160 })));
    assert_eq!(waiting.poll(), Some(Err(TransferError::RouteClosed)));
    assert_eq!(activity(&mut rig), 0);
    assert_eq!(rig.net.with(0, |device| device.queues.iter().flatten().count()), 0);
    let refused = route.submit(&list(1), TransferOptions::default());
    assert!(matches!(refused, Err(SubmitError::RouteFailed(RouteFault::Closed))));
    rig.driver.close(&route).unwrap();
}

#[test]
fn close_of_a_stuck_route_ends_after_the_grace_period() {
    let mut rig = Rig::new(short_grace());
    let route = rig.route(1);
    rig.net.script(0, |script| script.frozen = true);
    let transfer = submit(&route, &list(10));
    rig.turns(3);
    rig.driver.close(&route).unwrap();
    assert_eq!(transfer.poll(), Some(Err(TransferError::RouteClosed)));
}

#[test]
fn dropping_the_driver_fails_what_is_outstanding() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    rig.net.script(0, |script| script.frozen = true);
    let transfer = submit(&route, &list(10));
    rig.turns(3);
    let waiting = submit(&route, &list(10));
    drop(rig.driver);
    let ended = TransferError::LaneEnded { fault: crate::transfer::LaneFault::Shutdown };
    assert_eq!(transfer.poll(), Some(Err(ended)));
    assert_eq!(waiting.poll(), Some(Err(ended)));
    assert!(rig.net.with(0, |device| device.dropped));
    let refused = route.submit(&list(1), TransferOptions::default());
    assert!(matches!(refused, Err(SubmitError::RouteFailed(RouteFault::LaneEnded(_)))));
    assert!(matches!(
        rig.lane.open_route(RouteConfig::default()),
        Err(crate::lane::RouteError::LaneEnded(_))
    ));
}
