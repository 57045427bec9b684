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
