//! Failing work requests, back ends that refuse, panic or break.

use pmd_core::{
    memory::RemoteAddress,
    provider::{CompletionQueueError, PostError},
    wire::Syndrome,
};

use super::*;
use crate::transfer::{LaneFault, RouteFault, TransferError};

const ACCESS: Syndrome = Syndrome::RemoteAccess;

#[test]
fn a_failure_in_the_middle_names_the_entry() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let address = 0x100 + 32 * 45;
    rig.net.script(0, |script| script.poison = Some((address, ACCESS)));
    let before = submit(&route, &list_at(0x8000_0000, 4, 16));
    let transfer = submit(&route, &list(100));
    let after = submit(&route, &list_at(0x9000_0000, 500, 16));
    assert!(rig.finish(&before).is_ok());
    let remote = RemoteAddress { address, key: RemoteKey(2) };
    let failed = TransferError::Failed { syndrome: ACCESS, vendor: 0x11, entry: 45, remote };
    assert_eq!(rig.finish(&transfer), Err(WaitError::Failed(failed)));
    let cause = RouteFault::WorkRequest { syndrome: ACCESS, vendor: 0x11 };
    assert_eq!(rig.finish(&after), Err(WaitError::Failed(TransferError::Flushed { cause })));
    assert_eq!(route.fault(), Some(cause));
}

/// Both are posted in one batch, and neither has a request in it that is signalled but the one that is refused.
#[test]
fn a_transfer_without_a_completion_of_its_own_is_done_when_a_later_one_is_refused() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let address = 0x100 + 32 * 5;
    rig.net.script(0, |script| script.poison = Some((address, ACCESS)));
    let before = submit(&route, &list_at(0x8000_0000, 4, 16));
    let transfer = submit(&route, &list(10));
    assert!(rig.finish(&before).is_ok());
    assert_eq!(rig.finish(&transfer), refused(5, address));
}

#[test]
fn a_failure_on_one_queue_pair_fails_the_transfer_once_all_are_quiet() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(3);
    let work = list_at(0, 300, 4096);
    rig.net.script(0, |script| script.poison = Some((8192 * 150, ACCESS)));
    let transfer = submit(&route, &work);
    let remote = RemoteAddress { address: 8192 * 150, key: RemoteKey(2) };
    let failed = TransferError::Failed { syndrome: ACCESS, vendor: 0x11, entry: 150, remote };
    assert_eq!(rig.finish(&transfer), Err(WaitError::Failed(failed)));
    let posted = rig.net.posts(0).len();
    rig.turns(20);
    assert_eq!(rig.net.posts(0).len(), posted);
}

/// How a transfer ends one of whose entries, that to this address, was refused.
fn refused(entry: u32, address: u64) -> Result<Outcome, WaitError> {
    let remote = RemoteAddress { address, key: RemoteKey(2) };
    Err(WaitError::Failed(TransferError::Failed { syndrome: ACCESS, vendor: 0x11, entry, remote }))
}

#[test]
fn a_refusal_is_told_although_the_route_was_given_up_before_it_was_looked_at() {
    for given_up in [RouteFault::Disconnected, RouteFault::PeerDown] {
        let mut rig = Rig::new(LaneConfig::default());
        let route = rig.route(1);
        let address = 0x100 + 32 * 5;
        rig.net.script(0, |script| {
            (script.frozen, script.poisoned_late, script.poison) = (true, true, Some((address, ACCESS)));
        });
        let [before, after] = [0x8000_0000, 0x9000_0000].map(|base| list_at(base, 3, 16));
        let [before, transfer, after] = [before, list(10), after].map(|work| submit(&route, &work));
        rig.turns(3);
        route.fail(given_up);
        if given_up == RouteFault::PeerDown {
            // What comes of that is no news.
            assert_eq!(rig.finish(&transfer), Err(WaitError::Failed(TransferError::PeerDown)));
            continue;
        }
        assert_eq!(rig.finish(&transfer), refused(5, address));
        assert!(rig.finish(&before).is_ok(), "requests are carried out in order");
        let flushed = TransferError::Flushed { cause: given_up };
        assert_eq!(rig.finish(&after), Err(WaitError::Failed(flushed)));
        assert_eq!(route.fault(), Some(given_up));
    }
}

#[test]
fn what_is_posted_when_the_peers_end_closes_may_still_be_refused() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route_with_slots(64);
    let address = 0x100 + 32 * 5;
    rig.net.script(0, |script| (script.frozen, script.poison) = (true, Some((address, ACCESS))));
    // More than is posted at a time.
    let transfer = submit(&route, &list(10_000));
    rig.turns(5);
    let posted = rig.net.posts(0).len();
    route.peer_closed(Duration::from_secs(60));
    rig.turns(5);
    assert_eq!(rig.net.with(0, |device| device.stops), [0, 0, 0], "its queue pair lives on");
    assert_eq!(transfer.poll(), None);
    assert_eq!(route.fault(), Some(RouteFault::Disconnected));
    rig.net.script(0, |script| script.frozen = false);
    assert_eq!(rig.finish(&transfer), refused(5, address));
    assert_eq!(rig.net.posts(0).len(), posted, "nothing more is posted");
}

#[test]
fn what_the_peers_closed_end_said_last_is_not_waited_for_longer_than_that() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    rig.net.script(0, |script| script.frozen = true);
    let transfer = submit(&route, &list(3));
    rig.turns(5);
    route.peer_closed(Duration::from_millis(5));
    let cause = RouteFault::Disconnected;
    assert_eq!(rig.finish(&transfer), Err(WaitError::Failed(TransferError::Flushed { cause })));
    assert_eq!(rig.net.with(0, |device| device.stops), [1, 0, 0]);
    // Who knows more says so later.
    route.fail(RouteFault::PeerDown);
    assert_eq!(route.fault(), Some(RouteFault::PeerDown));
}

#[test]
fn a_refusal_on_one_queue_pair_is_told_although_another_is_found_closed_before() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(2);
    rig.net.script(0, |script| script.frozen = true);
    let work = list_at(0, 300, 4096);
    let transfer = submit(&route, &work);
    rig.turns(5);
    let on_second = rig.net.posts(0).into_iter().filter(|post| post.queue == 1);
    let address = on_second.map(|post| post.remote).min().unwrap();
    rig.net.script(0, |script| script.poison = Some((address, ACCESS)));
    rig.net.with(0, |device| device.fail_first());
    rig.turns(5);
    assert_eq!((transfer.poll(), route.fault()), (None, Some(RouteFault::Disconnected)));
    assert_eq!(rig.net.with(0, |device| device.stops), [0, 0, 0], "the other one lives on");
    rig.net.script(0, |script| script.frozen = false);
    assert_eq!(rig.finish(&transfer), refused((address / 8192) as u32, address));
}

#[test]
fn a_goodbye_names_the_end_of_a_route_that_was_found_closed_before() {
    for queues in [1, 2] {
        let mut rig = Rig::new(LaneConfig::default());
        let route = rig.route(queues);
        rig.net.script(0, |script| script.frozen = true);
        let transfer = submit(&route, &list(100));
        rig.turns(5);
        rig.net.with(0, |device| device.fail_first());
        rig.turns(5);
        assert_eq!(route.fault(), Some(RouteFault::Disconnected));
        route.peer_left(Duration::from_secs(60));
        assert_eq!(route.fault(), Some(RouteFault::PeerDown));
        rig.net.script(0, |script| script.frozen = false);
        rig.turns(5);
        assert!(transfer.poll().is_some());
        assert_eq!(route.fault(), Some(RouteFault::PeerDown), "{queues}");
    }
}

#[test]
fn a_queue_pair_that_the_device_takes_down_flushes_with_that_cause() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    rig.net.script(0, |script| script.frozen = true);
    let transfer = submit(&route, &list(10));
    rig.turns(3);
    rig.net.with(0, |device| device.fail_all());
    let cause = RouteFault::Disconnected;
    assert_eq!(rig.finish(&transfer), Err(WaitError::Failed(TransferError::Flushed { cause })));
}

#[test]
fn a_refused_request_fails_its_transfer_and_the_route_goes_on() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let error = PostError::MessageTooLong { given: 16, limit: 8 };
    rig.net.script(0, |script| script.refuse = Some((0x100 + 32 * 5, error)));
    let refused = submit(&route, &list(10));
    let other = submit(&route, &list_at(0x8000_0000, 100, 16));
    let failed = TransferError::Refused { entry: 5, error };
    assert_eq!(rig.finish(&refused), Err(WaitError::Failed(failed)));
    assert_eq!(rig.finish(&other), Ok(Outcome { bytes: 1600 }));
    assert_eq!(route.fault(), None);
}

#[test]
fn a_broken_completion_queue_ends_the_lane() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    rig.net.script(0, |script| script.frozen = true);
    let transfer = submit(&route, &list(10));
    rig.turns(3);
    rig.net.script(0, |script| script.broken_completion_queue = true);
    let fault = LaneFault::CompletionQueue(CompletionQueueError::Overrun { capacity: 4 });
    let error = WaitError::Failed(TransferError::LaneEnded { fault });
    assert_eq!(rig.finish(&transfer), Err(error));
    assert_eq!(rig.lane.fault(), Some(fault));
    assert!(rig.net.with(0, |device| device.dropped));
    assert!(!rig.driver.turn());
}

#[test]
fn a_panicking_back_end_ends_the_lane() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let transfer = submit(&route, &list(10));
    rig.net.script(0, |script| script.panic_in_poll = true);
    let error = TransferError::LaneEnded { fault: LaneFault::Panicked };
    assert_eq!(rig.finish(&transfer), Err(WaitError::Failed(error)));
    assert_eq!(route.fault(), Some(RouteFault::LaneEnded(LaneFault::Panicked)));
}
