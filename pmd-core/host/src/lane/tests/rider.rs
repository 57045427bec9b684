//! Notifications that ride on the last WRITE: where they can, where they cannot, and what their credits come to.

use pmd_core::{
    memory::{LocalKey, RemoteAddress, RemoteKey},
    provider::{CompletionKind, PostError},
    wire::Syndrome,
};

use super::message::{PANIC, Pair, Taken};
use super::*;
use crate::transfer::{CancelOutcome, Notification, RouteFault, SendError, TransferError};

/// First remote address of `list`; its entries are 32 bytes apart.
const FIRST: u64 = 0x100;

/// Credits that a side has before it has heard of the other.
const FIRST_CREDITS: usize = 8;

fn rider(immediate: u32) -> TransferOptions {
    let notify = Some(Notification { bytes: Vec::new(), immediate: Some(immediate) });
    TransferOptions { notify, ..TransferOptions::default() }
}

fn alone(immediate: u32) -> Taken {
    (Vec::new(), Some(immediate))
}

/// Messages that the left side can send without hearing from the other.
fn credits(pair: &Pair) -> usize {
    (0..1000).take_while(|_| pair.routes[0].send(b"message", None).is_ok()).count()
}

#[test]
fn an_immediate_alone_rides_on_the_last_write() {
    let mut pair = Pair::new(8);
    let transfer = pair.routes[0].submit(&list(100), rider(7)).unwrap();
    assert_eq!(pair.finish(&transfer), Ok(Outcome { bytes: 1600 }));
    pair.turns(2);
    assert_eq!(pair.inboxes[1].take(), [alone(7)]);
    let posts = pair.net.posts(0);
    assert_eq!(posts.len(), 100, "no request more than entries");
    assert!(posts.iter().all(|post| post.kind == CompletionKind::Write));
    assert_eq!(posts[99].immediate, Some(7));
    assert!(posts[99].signalled && posts[..99].iter().all(|post| post.immediate.is_none()));
    let counters = [0, 1].map(|side| pair.routes[side].lane().counters());
    assert_eq!((counters[0].work_requests, counters[0].messages_sent), (100, 1));
    assert_eq!(counters[1].messages_received, 1);
}

#[test]
fn the_last_write_of_several_in_one_batch_is_signalled_each() {
    let mut pair = Pair::new(8);
    let transfers: Vec<Transfer> =
        (0..5).map(|index| pair.routes[0].submit(&list(3), rider(index)).unwrap()).collect();
    for transfer in &transfers {
        assert!(pair.finish(transfer).is_ok());
    }
    pair.turns(2);
    assert_eq!(pair.inboxes[1].take(), (0..5).map(alone).collect::<Vec<_>>());
    let posts = pair.net.posts(0);
    assert_eq!(posts.len(), 15);
    assert!(posts.iter().filter(|post| post.immediate.is_some()).all(|post| post.signalled));
}

#[test]
fn credits_of_riders_come_back() {
    let mut pair = Pair::new(8);
    let work = list(1);
    for round in 0..100_000 {
        let transfer = pair.routes[0].submit(&work, rider(round)).unwrap();
        assert_eq!(pair.finish(&transfer), Ok(Outcome { bytes: 16 }), "round {round}");
        if round % 64 == 63 {
            pair.turns(2);
            let expected: Vec<_> = (round - 63..=round).map(alone).collect();
            assert_eq!(pair.inboxes[1].take(), expected);
        }
    }
    pair.turns(5);
    assert_eq!(pair.inboxes[1].take().len(), 100_000 % 64);
    assert_eq!(pair.not_ready(), 0);
    let left = credits(&pair);
    assert!((5..=8).contains(&left), "{left} of 8, less than half of which may be on their way");
    pair.turns(20);
    assert_eq!(pair.inboxes[1].take().len(), left);
    assert_eq!(pair.not_ready(), 0);
}

#[test]
fn many_riders_at_once_keep_within_their_credits() {
    let mut pair = Pair::new(8);
    let transfers: Vec<Transfer> =
        (0..500).map(|index| pair.routes[0].submit(&list(2), rider(index)).unwrap()).collect();
    for transfer in &transfers {
        assert!(pair.finish(transfer).is_ok());
    }
    pair.turns(5);
    assert_eq!(pair.inboxes[1].take(), (0..500).map(alone).collect::<Vec<_>>());
    assert_eq!(pair.not_ready(), 0);
}

/// Whatever was sent before a transfer was submitted is heard before its notification; notifications and messages keep
/// their order each.
#[test]
fn riders_do_not_overtake_messages() {
    let mut pair = Pair::new(16);
    let mut transfers = Vec::new();
    let mut sent = 0_u32;
    for step in 0..3000_u32 {
        match step % 11 {
            4 | 7 => sent += u32::from(pair.routes[0].send(&sent.to_le_bytes(), None).is_ok()),
            3 | 6 => pair.turns(1),
            // From time to time everything is let through.
            10 => pair.turns(1 + step as usize % 8 * 5),
            _ => transfers.push(pair.routes[0].submit(&list(1), rider(sent)).unwrap()),
        }
    }
    for transfer in &transfers {
        assert!(pair.finish(transfer).is_ok());
    }
    pair.turns(20);
    let taken = pair.inboxes[1].take();
    assert_eq!(taken.len(), sent as usize + transfers.len());
    let (mut messages, mut newest) = (0, 0);
    for (bytes, immediate) in taken {
        if let Some(sent_before) = immediate {
            assert!(bytes.is_empty() && messages >= sent_before && newest <= sent_before);
            newest = sent_before;
        } else {
            assert_eq!(bytes, u32::to_le_bytes(messages));
            messages += 1;
        }
    }
    assert_eq!((messages, pair.not_ready()), (sent, 0));
    let posts = pair.net.posts(0);
    let riding = |post: &&fake::Post| post.kind == CompletionKind::Write && post.immediate.is_some();
    assert!(posts.iter().filter(riding).count() > 100, "nothing rode");
    let alone = |post: &&fake::Post| post.kind == CompletionKind::Send && post.immediate.is_some();
    assert!(posts.iter().filter(alone).count() > 100, "nothing waited");
}

#[test]
fn without_a_credit_the_bytes_go_and_the_immediate_follows() {
    let mut pair = Pair::new(8);
    assert_eq!(credits(&pair), FIRST_CREDITS);
    let transfer = pair.routes[0].submit(&list(3), rider(7)).unwrap();
    for _ in 0..50 {
        pair.drivers[0].turn();
    }
    assert_eq!(transfer.poll(), None);
    assert_eq!(pair.net.posts(0).iter().filter(|post| post.kind == CompletionKind::Write).count(), 3);
    assert!(pair.finish(&transfer).is_ok());
    pair.turns(2);
    assert_eq!(pair.inboxes[1].take()[FIRST_CREDITS..], [alone(7)]);
    assert_eq!(pair.not_ready(), 0);
}

#[test]
fn a_rider_needs_one_queue_pair_and_writes() {
    let mut pair = Pair::with(RouteConfig { queue_pairs: 2, ..RouteConfig::default() });
    let transfer = pair.routes[0].submit(&list(3), rider(7)).unwrap();
    assert!(pair.finish(&transfer).is_ok());
    let mut builder = WorkListBuilder::new(Direction::Read, WorkListLimits::default());
    let local = LocalPiece { address: 0x10_0000, length: 16, key: LocalKey(1) };
    builder.push(local, RemoteAddress { address: FIRST, key: RemoteKey(2) });
    let mut single = Pair::new(64);
    let read = single.routes[0].submit(&Arc::new(builder.finish()), rider(8)).unwrap();
    assert!(single.finish(&read).is_ok());
    let empty = single.routes[0].submit(&list(0), rider(9)).unwrap();
    assert!(single.finish(&empty).is_ok());
    pair.turns(2);
    single.turns(2);
    assert_eq!(pair.inboxes[1].take(), [alone(7)]);
    assert_eq!(single.inboxes[1].take(), [alone(8), alone(9)]);
    for posts in [pair.net.posts(0), single.net.posts(0)] {
        let immediates = posts.iter().filter(|post| post.immediate.is_some());
        assert!(immediates.into_iter().all(|post| post.kind == CompletionKind::Send));
    }
}

#[test]
fn a_refused_rider_keeps_no_credit() {
    let mut pair = Pair::new(64);
    let error = PostError::TooManySges { given: 1, limit: 0 };
    pair.net.script(0, |script| script.refuse = Some((FIRST + 2 * 32, error)));
    let transfer = pair.routes[0].submit(&list(3), rider(7)).unwrap();
    pair.drivers[0].turn();
    pair.drivers[0].turn();
    assert_eq!(transfer.poll(), Some(Err(TransferError::Refused { entry: 2, error })));
    assert_eq!(credits(&pair), FIRST_CREDITS);
    pair.turns(20);
    assert_eq!(pair.inboxes[1].take().len(), FIRST_CREDITS, "the messages alone");
}

#[test]
fn a_rider_waits_for_room_without_its_credit() {
    let config = QueuePairConfig { send_slots: 2, ..QueuePairConfig::default() };
    let mut pair = Pair::with(RouteConfig { config, message_receives: 8, ..RouteConfig::default() });
    pair.net.script(0, |script| script.frozen = true);
    let transfer = pair.routes[0].submit(&list(40), rider(7)).unwrap();
    for _ in 0..10 {
        pair.drivers[0].turn();
    }
    assert!(pair.net.posts(0).len() < 40);
    assert_eq!(credits(&pair), FIRST_CREDITS);
    pair.net.script(0, |script| script.frozen = false);
    assert!(pair.finish(&transfer).is_ok());
    pair.turns(20);
    assert_eq!(pair.inboxes[1].take().len(), FIRST_CREDITS + 1);
    assert_eq!(pair.not_ready(), 0);
}

#[test]
fn a_cancelled_transfer_takes_its_rider_with_it() {
    let config = QueuePairConfig { send_slots: 16, ..QueuePairConfig::default() };
    let mut pair = Pair::with(RouteConfig { config, ..RouteConfig::default() });
    pair.net.script(0, |script| script.frozen = true);
    let transfer = pair.routes[0].submit(&list(40), rider(7)).unwrap();
    pair.drivers[0].turn();
    transfer.request_cancel();
    pair.drivers[0].turn();
    pair.net.script(0, |script| script.frozen = false);
    assert_eq!(pair.finish(&transfer), Err(TransferError::Cancelled));
    assert_eq!(credits(&pair), FIRST_CREDITS);
    pair.turns(20);
    assert_eq!(pair.inboxes[1].take(), vec![(b"message".to_vec(), None); FIRST_CREDITS]);
}

#[test]
fn a_transfer_whose_rider_is_gone_is_done_although_it_was_cancelled_meanwhile() {
    let mut pair = Pair::new(64);
    let transfer = pair.routes[0].submit(&list(10), rider(7)).unwrap();
    pair.drivers[0].turn();
    assert_eq!(pair.net.posts(0).len(), 10, "posted to the end");
    assert_eq!(pair.drivers[0].cancel(&transfer), CancelOutcome::Completed(Outcome { bytes: 160 }));
    pair.turns(2);
    assert_eq!(pair.inboxes[1].take(), [alone(7)]);
}

#[test]
fn a_write_that_fails_takes_its_rider_with_it() {
    for entry in [0, 4, 9] {
        let mut pair = Pair::new(64);
        let poison = (FIRST + 32 * entry, Syndrome::RemoteAccess);
        pair.net.script(0, |script| script.poison = Some(poison));
        let transfer = pair.routes[0].submit(&list(10), rider(7)).unwrap();
        let failed = pair.finish(&transfer);
        assert!(matches!(failed, Err(TransferError::Failed { entry: at, .. }) if u64::from(at) == entry));
        pair.turns(20);
        assert_eq!(pair.inboxes[1].take(), []);
    }
}

#[test]
fn a_peer_that_dies_fails_a_rider_that_it_has_not_heard() {
    let mut pair = Pair::new(64);
    pair.net.script(0, |script| script.frozen = true);
    let transfer = pair.routes[0].submit(&list(10), rider(7)).unwrap();
    pair.drivers[0].turn();
    assert_eq!(pair.net.posts(0).len(), 10, "posted to the end");
    pair.routes[0].fail(RouteFault::PeerDown);
    assert_eq!(pair.finish(&transfer), Err(TransferError::PeerDown));
    pair.turns(20);
    assert_eq!(pair.inboxes[1].take(), []);
    assert_eq!(pair.routes[0].send(b"", None), Err(SendError::RouteFailed(RouteFault::PeerDown)));
}

#[test]
fn a_handler_that_panics_at_a_rider_takes_its_route_down_and_not_the_lane() {
    let mut pair = Pair::new(64);
    let transfer = pair.routes[0].submit(&list(1), rider(PANIC)).unwrap();
    assert!(pair.finish(&transfer).is_ok());
    pair.turns(20);
    assert_eq!(pair.routes[1].fault(), Some(RouteFault::HandlerPanicked));
    assert_eq!(pair.routes[1].lane().fault(), None);
}
