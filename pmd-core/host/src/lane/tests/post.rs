//! Posting: order, doorbells, turns, several queue pairs.

use super::*;
use crate::transfer::SubmitError;

#[test]
fn entries_are_posted_in_order_and_the_last_is_signalled() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let transfer = submit(&route, &list(70));
    assert_eq!(rig.finish(&transfer), Ok(Outcome { bytes: 70 * 16 }));
    let posts = rig.net.posts(0);
    let addresses: Vec<_> = posts.iter().map(|post| post.remote).collect();
    assert_eq!(addresses, (0..70).map(|piece| 0x100 + 32 * piece).collect::<Vec<_>>());
    let signalled: Vec<_> = (0..70).filter(|&index| posts[index].signalled).collect();
    assert_eq!(signalled, [31, 63, 69]);
    let counters = rig.lane.counters();
    assert_eq!((counters.doorbells, counters.work_requests, counters.transfers), (3, 70, 1));
    assert_eq!(counters.bytes, 70 * 16);
}

#[test]
fn a_queue_that_drains_slowly_does_not_make_for_more_doorbells() {
    let mut rig = Rig::new(LaneConfig::default());
    rig.net.script(0, |script| script.per_poll = 5);
    let route = rig.route_with_slots(128);
    let transfer = submit(&route, &list(1000));
    assert_eq!(rig.finish(&transfer), Ok(Outcome { bytes: 16_000 }));
    assert_eq!(rig.lane.counters().doorbells, 1000_u64.div_ceil(32));
}

#[test]
fn a_queue_smaller_than_a_batch_still_moves_everything() {
    let mut rig = Rig::new(LaneConfig::default());
    for slots in [1, 2, 8, 9, 16] {
        let route = rig.route_with_slots(slots);
        let transfer = submit(&route, &list(40));
        assert_eq!(rig.finish(&transfer), Ok(Outcome { bytes: 640 }), "{slots} slots");
    }
}

#[test]
fn the_signal_interval_is_kept() {
    let mut rig = Rig::new(LaneConfig { signal_interval: 4, ..LaneConfig::default() });
    let route = rig.route(1);
    let transfer = submit(&route, &list(10));
    rig.finish(&transfer).unwrap();
    let posts = rig.net.posts(0);
    let signalled: Vec<_> = (0..10).filter(|&index| posts[index].signalled).collect();
    assert_eq!(signalled, [3, 7, 9]);
}

#[test]
fn a_list_can_be_submitted_many_times() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let work = list(5);
    let transfers: Vec<_> = (0..20).map(|_| submit(&route, &work)).collect();
    for transfer in &transfers {
        assert_eq!(rig.finish(transfer), Ok(Outcome { bytes: 80 }));
    }
    assert_eq!(rig.net.posts(0).len(), 100);
    assert_eq!(Arc::strong_count(&work), 1, "lane still holds the list");
}

#[test]
fn an_empty_list_is_done_at_once() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(1);
    let transfer = submit(&route, &list(0));
    assert_eq!(rig.finish(&transfer), Ok(Outcome { bytes: 0 }));
    assert!(rig.net.posts(0).is_empty());
}

#[test]
fn a_full_ring_gives_the_options_back() {
    let mut rig = Rig::new(LaneConfig { submissions: 4, ..LaneConfig::default() });
    let route = rig.route(1);
    let deadline = soon();
    let transfers: Vec<_> = (0..4).map(|_| submit(&route, &list(1))).collect();
    let options = TransferOptions { deadline, ..TransferOptions::default() };
    match route.submit(&list(1), options) {
        Err(SubmitError::Full(returned)) => assert_eq!(returned.deadline, deadline),
        other => panic!("{other:?}"),
    }
    for transfer in &transfers {
        assert!(rig.finish(transfer).is_ok());
    }
    let again = submit(&route, &list(1));
    assert!(rig.finish(&again).is_ok());
}

#[test]
fn more_transfers_than_the_lane_takes_wait_in_the_ring() {
    let mut rig = Rig::new(LaneConfig { transfers: 2, ..LaneConfig::default() });
    let route = rig.route(1);
    rig.net.script(0, |script| script.frozen = true);
    let transfers: Vec<_> = (0..6).map(|_| submit(&route, &list(1))).collect();
    rig.turns(10);
    assert_eq!(rig.net.posts(0).len(), 2);
    rig.net.script(0, |script| script.frozen = false);
    for transfer in &transfers {
        assert!(rig.finish(transfer).is_ok());
    }
}

#[test]
fn a_small_transfer_is_not_stuck_behind_a_large_one() {
    let mut rig = Rig::new(LaneConfig::default());
    rig.net.script(0, |script| script.per_poll = 16);
    let route = rig.route_with_slots(128);
    let large = submit(&route, &list(10_000));
    rig.turns(20);
    let small = submit(&route, &list_at(0x900_0000, 8, 16));
    rig.finish(&small).unwrap();
    assert!(large.poll().is_none());
    assert!(rig.net.posts(0).len() < 1000, "{} requests went before", rig.net.posts(0).len());
    rig.finish(&large).unwrap();
}

#[test]
fn transfers_take_turns_within_a_batch() {
    let mut rig = Rig::new(LaneConfig { batch: 8, signal_interval: 8, ..LaneConfig::default() });
    let route = rig.route(1);
    let first = submit(&route, &list_at(0, 100, 16));
    let second = submit(&route, &list_at(0x1_0000, 100, 16));
    rig.turns(1);
    let of_second = rig.net.posts(0).iter().filter(|post| post.remote >= 0x1_0000).count();
    assert_eq!((rig.net.posts(0).len(), of_second), (8, 4));
    rig.finish(&first).unwrap();
    rig.finish(&second).unwrap();
}

#[test]
fn a_transfer_spreads_over_the_queue_pairs_of_its_route() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(4);
    let work = list_at(0, 400, 4096);
    let transfer = submit(&route, &work);
    assert_eq!(rig.finish(&transfer), Ok(Outcome { bytes: work.bytes() }));
    let posts = rig.net.posts(0);
    for queue in 0..4 {
        let count = posts.iter().filter(|post| post.queue == queue).count();
        assert!((64..=128).contains(&count), "queue pair {queue} carried {count} of 400");
    }
    let mut addresses: Vec<_> = posts.iter().map(|post| post.remote).collect();
    addresses.sort_unstable();
    assert_eq!(addresses, (0..400).map(|piece| piece * 8192).collect::<Vec<_>>());
}

#[test]
fn few_large_entries_spread_too_and_few_small_ones_do_not() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(4);
    let transfer = submit(&route, &list_at(0, 8, 1 << 20));
    rig.finish(&transfer).unwrap();
    let posts = rig.net.posts(0);
    for queue in 0..4 {
        assert_eq!(posts.iter().filter(|post| post.queue == queue).count(), 2);
    }
    let transfer = submit(&route, &list(8));
    rig.finish(&transfer).unwrap();
    let last = &rig.net.posts(0)[8..];
    assert!(last.iter().all(|post| post.queue == last[0].queue));
}

#[test]
fn a_transfer_waits_for_all_of_its_parts() {
    let mut rig = Rig::new(LaneConfig::default());
    let route = rig.route(2);
    rig.net.script(0, |script| script.frozen = true);
    let transfer = submit(&route, &list_at(0, 64, 4096));
    rig.turns(5);
    assert_eq!(rig.net.posts(0).len(), 64);
    // One request a poll: the first queue pair is done 32 polls before the second one.
    rig.net.script(0, |script| (script.frozen, script.per_poll) = (false, 1));
    rig.turns(40);
    assert!(transfer.poll().is_none());
    rig.finish(&transfer).unwrap();
}

#[test]
fn work_the_route_cannot_take_is_refused() {
    let mut rig = Rig::new(LaneConfig::default());
    let config = QueuePairConfig { sges: 2, ..QueuePairConfig::default() };
    let route = rig.route_with(RouteConfig { config, ..RouteConfig::default() });
    let mut builder = WorkListBuilder::new(Direction::Read, WorkListLimits::default());
    for piece in 0..3 {
        let local = LocalPiece { address: 0x1000 * (piece + 1), length: 16, key: LocalKey(1) };
        builder.push(local, RemoteAddress { address: 16 * piece, key: RemoteKey(2) });
    }
    let refused = route.submit(&Arc::new(builder.finish()), TransferOptions::default());
    assert!(matches!(refused, Err(SubmitError::TooManySges { given: 3, limit: 2 })));
    let unconnected = rig.driver.open_route(&rig.lane, RouteConfig::default()).unwrap();
    let refused = unconnected.submit(&list(1), TransferOptions::default());
    assert!(matches!(refused, Err(SubmitError::NotConnected)));
}
