//! What is refused at once and given back: too much, too long, too wide; and no space.

mod faults_support;

use std::{sync::Arc, time::Instant};

use faults_support::{Memory, Node, PATIENCE, Seen, carry_out, list, open, open_with, outcome};
use pmd_core::memory::{Access, MemoryKind, RegionDescription};
use pmd_host::{
    endpoint::Peer,
    soft::{AllocateError, ArenaOptions, HugePages},
    transfer::{
        Direction, Notification, Outcome, SendError, SubmitError, Transfer, TransferError, TransferOptions,
        WorkList,
    },
};

const LENGTH: usize = 4096;

fn notifying(bytes: &[u8]) -> TransferOptions {
    let notify = Some(Notification { bytes: bytes.to_vec(), immediate: Some(7) });
    TransferOptions { notify, ..TransferOptions::default() }
}

/// Every byte of one memory into the other.
fn whole(from: &Memory, to: &Memory) -> Arc<WorkList> {
    list(Direction::Write, 1 << 20, [(from.piece(0, LENGTH), to.remote(0))])
}

fn memories(client: &Node, server: &Node) -> (Memory, Memory) {
    let from = Memory::heap(&client.endpoint, LENGTH, Access::READ_WRITE);
    let to = Memory::arena(&server.endpoint, LENGTH, Access::READ_WRITE);
    from.fill(1);
    (from, to)
}

/// Makes the lane of `stopped` wait in its application. Returns once it does.
fn stop_lane(stopped: &Node, by: &Peer) {
    stopped.application.shut_gate();
    by.route().send(b"stop", None).unwrap();
    while !matches!(stopped.sees(), Seen::Message(_, bytes) if bytes == b"stop") {}
}

#[test]
fn a_full_submission_ring_gives_the_options_back() {
    let server = open("server");
    let client = open_with("client", |config| {
        config.lane.submissions = 4;
        config.lane.transfers = 2;
    });
    let peer = client.connect(&server);
    let back = server.peer("client");
    let (from, to) = memories(&client, &server);
    let work = whole(&from, &to);
    stop_lane(&client, &back);
    let mut transfers: Vec<Transfer> = Vec::new();
    let returned = loop {
        match peer.route().submit(&work, notifying(b"landed")) {
            Ok(transfer) => transfers.push(transfer),
            Err(SubmitError::Full(options)) => break options,
            Err(error) => panic!("{error}"),
        }
        assert!(transfers.len() <= 16, "the ring is not bounded");
    };
    assert!(!transfers.is_empty());
    assert_eq!(returned.notify, notifying(b"landed").notify);
    let late = peer.route().submit_waiting(&work, returned, Some(Instant::now()));
    let Err(SubmitError::Full(returned)) = late else { panic!("{late:?}") };
    assert!(transfers.iter().all(|transfer| !transfer.is_done()));
    client.application.open_gate();
    transfers.push(peer.route().submit_waiting(&work, returned, None).unwrap());
    let landed = transfers.len();
    for mut transfer in transfers {
        let done = outcome(transfer.wait(Some(Instant::now() + PATIENCE)));
        assert_eq!(done, Ok(Outcome { bytes: LENGTH as u64 }));
    }
    assert!(to.holds_only(&[1]));
    for _ in 0..landed {
        let seen = loop {
            match server.sees() {
                Seen::Connected(_) => {}
                seen => break seen,
            }
        };
        assert_eq!(seen, Seen::Message("client".into(), b"landed".to_vec()));
    }
}

#[test]
fn messages_beyond_credits_are_refused_and_none_is_lost() {
    const MESSAGES: u32 = 300;
    let server = open_with("server", |config| config.message_receives = 16);
    let client = open_with("client", |config| config.message_receives = 16);
    let peer = client.connect(&server);
    assert_eq!(server.sees(), Seen::Connected("client".into()));
    stop_lane(&server, &peer);
    let mut next = 0_u32;
    let refused = loop {
        match peer.route().send(&next.to_le_bytes(), None) {
            Ok(()) => next += 1,
            Err(error) => break error,
        }
        assert!(next <= 16, "more than the server has receives for");
    };
    assert_eq!(refused, SendError::Full);
    assert!(next > 0);
    assert_eq!(peer.route().send(&[0; 4], None), Err(SendError::Full));
    server.application.open_gate();
    let deadline = Instant::now() + PATIENCE;
    while next < MESSAGES {
        match peer.route().send(&next.to_le_bytes(), None) {
            Ok(()) => next += 1,
            Err(SendError::Full) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
        assert!(Instant::now() < deadline);
    }
    for number in 0..MESSAGES {
        assert_eq!(server.sees(), Seen::Message("client".into(), number.to_le_bytes().to_vec()));
    }
    assert_eq!(peer.route().fault(), None);
}

#[test]
fn what_a_route_cannot_take_is_refused_with_the_limit() {
    let server = open_with("server", |config| config.message_bytes = 100);
    let client = open_with("client", |config| {
        config.message_bytes = 100;
        config.queue_pair.sges = 4;
    });
    let peer = client.connect(&server);
    assert_eq!(server.sees(), Seen::Connected("client".into()));
    let (from, to) = memories(&client, &server);
    let gathers = |pieces: usize| {
        list(Direction::Write, 1 << 20, (0..pieces).map(|at| (from.piece(at * 16, 8), to.remote(at * 8))))
    };
    let refused = peer.route().submit(&gathers(30), notifying(b"never"));
    let Err(SubmitError::TooManySges { given: 30, limit }) = refused else { panic!("{refused:?}") };
    assert!((4..30).contains(&limit));
    let refused = peer.route().submit(&gathers(2), notifying(&[0; 101]));
    assert!(
        matches!(refused, Err(SubmitError::NotificationTooLong { given: 101, limit: 100 })),
        "{refused:?}"
    );
    let refused = peer.route().send(&[0; 101], None);
    assert_eq!(refused, Err(SendError::TooLong { given: 101, limit: 100 }));
    assert!(to.holds_only(&[0]), "nothing was moved");
    assert_eq!(
        carry_out(peer.route(), &gathers(limit as usize)),
        Ok(Outcome { bytes: u64::from(limit) * 8 })
    );
    peer.route().send(&[9; 100], None).unwrap();
    assert_eq!(server.sees(), Seen::Message("client".into(), vec![9; 100]));
}

#[test]
fn a_closed_route_takes_nothing() {
    let (server, client) = (open("server"), open("client"));
    let peer = client.connect(&server);
    let (from, to) = memories(&client, &server);
    peer.route().close().unwrap();
    let refused = peer.route().submit(&whole(&from, &to), TransferOptions::default());
    let Err(SubmitError::RouteFailed(cause)) = refused else { panic!("{refused:?}") };
    assert_eq!(cause.transfer_error(), TransferError::RouteClosed);
    assert_eq!(peer.route().send(b"late", None), Err(SendError::RouteFailed(cause)));
}

#[test]
fn space_that_is_not_there_is_refused_and_nothing_is_kept() {
    let node = open("node");
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        // Kilobytes of address space: a mapping of this size would stand out.
        maps.lines()
            .filter(|line| line.contains("pmd-arena"))
            .filter(|line| is_larger_than(line, 1 << 40))
            .count()
    };
    for length in [1 << 44, 1 << 46, 1 << 55] {
        let refused = node.endpoint.allocate(length, ArenaOptions::default());
        let Err(AllocateError::NoSpace { length: named, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!((named, mapped()), (length, 0));
        let options = ArenaOptions { huge_pages: HugePages::Prefer, prefault: true };
        assert!(matches!(node.endpoint.allocate(length, options), Err(AllocateError::NoSpace { .. })));
        let options = ArenaOptions { huge_pages: HugePages::Require, prefault: false };
        let refused = node.endpoint.allocate(length, options);
        let pages = length / (2 << 20);
        assert!(
            matches!(refused, Err(AllocateError::NoHugePages { pages: named }) if named == pages),
            "{refused:?}"
        );
    }
    for length in [0, usize::MAX] {
        let refused = node.endpoint.allocate(length, ArenaOptions::default());
        assert!(matches!(refused, Err(AllocateError::Length { .. })), "{refused:?}");
    }
    assert_eq!(node.endpoint.allocate(LENGTH, ArenaOptions::default()).unwrap().length(), LENGTH);
}

fn is_larger_than(line: &str, bytes: u64) -> bool {
    let range = line.split(' ').next().and_then(|range| range.split_once('-'));
    let Some((first, end)) = range else { return false };
    let number = |text| u64::from_str_radix(text, 16).unwrap();
    number(end) - number(first) > bytes
}

#[test]
#[expect(unsafe_code, reason = "describes memory that cannot be registered")]
fn memory_that_cannot_be_is_not_registered() {
    let node = open("node");
    let local = [0_u8; 64];
    let first = local.as_ptr() as u64;
    for (address, length) in [(first, 0), (u64::MAX - 4, 64), (4096, 64), (0, 64)] {
        let memory = RegionDescription { address, length, kind: MemoryKind::Host, descriptor: None };
        // SAFETY: the registration is refused; were it not, nobody has a key for it and it ends at once.
        let registered = unsafe { node.endpoint.register_memory(&memory, Access::READ_WRITE) };
        assert!(registered.is_err(), "{length} bytes at {address:#x}: {registered:?}");
    }
}
