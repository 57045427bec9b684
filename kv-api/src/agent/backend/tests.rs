//! Backends of one process, connected with each other and with themselves.

use std::{
    slice,
    time::{Duration, Instant},
};

use pmd_core::memory::{MemoryKind, RegionDescription};
use pmd_host::{soft::ArenaOptions, transfer::Direction};

use super::*;
use crate::agent::{Status, messages::MessageError};

const PATIENCE: Duration = Duration::from_secs(20);

fn soon() -> Instant {
    Instant::now() + PATIENCE
}

fn backend(agent: &str) -> Backend {
    let mut config = BackendConfig::new(agent);
    // None is taken for dead because the machine is busy.
    config.endpoint.down_after = PATIENCE;
    Backend::open(config).expect("a backend")
}

/// Two backends that know each other.
fn pair() -> (Backend, Backend) {
    let (here, there) = (backend("here"), backend("there"));
    here.load_connection_info("there", &there.connection_info().to_bytes()).expect("loaded");
    there.load_connection_info("here", &here.connection_info().to_bytes()).expect("loaded");
    (here, there)
}

fn memory(backend: &Backend, bytes: usize) -> Registration {
    backend.allocate(bytes, ArenaOptions::default()).expect("memory")
}

fn register(backend: &Backend, memory: &mut [u8]) -> Registration {
    let (address, length) = (memory.as_mut_ptr() as u64, memory.len() as u64);
    let memory = RegionDescription { address, length, kind: MemoryKind::Host, descriptor: None };
    // SAFETY: the tests keep the memory for longer than the registration, and do not look at it during a transfer.
    unsafe { backend.register(&memory) }.expect("registered")
}

#[expect(clippy::mut_from_ref, reason = "the memory is not Rust's")]
fn bytes(registration: &Registration) -> &mut [u8] {
    // SAFETY: the tests look at memory only while no transfer runs, and drop the slice before the next one.
    unsafe { slice::from_raw_parts_mut(registration.address() as *mut u8, registration.length() as usize) }
}

/// Block `index` of `block` bytes here with block `turned(index)` there.
fn pairs<'a>(
    local: &'a Registration,
    remote: &'a RemoteRegistration,
    block: u64,
    turned: impl Fn(u64) -> u64 + 'a,
) -> impl Pairs<'a> {
    let pair = move |index: usize| {
        let index = index as u64;
        let here =
            LocalDescriptor { address: local.address() + index * block, length: block, registration: local };
        let address = remote.address() + turned(index) * block;
        (here, RemoteDescriptor { address, length: block, registration: remote })
    };
    ((local.length() / block) as usize, pair)
}

/// A request of such pairs.
fn prepare<'a>(here: &Backend, direction: Direction, agent: &str, pairs: impl Pairs<'a>) -> Request {
    here.prepare(direction, agent, &pairs).expect("prepared")
}

fn finish(request: &Request) {
    assert_eq!(request.wait(Some(soon())).expect("it ends well"), Status::Success);
}

fn fill(registration: &Registration, block: usize) {
    for (index, byte) in bytes(registration).iter_mut().enumerate() {
        *byte = (index / block) as u8;
    }
}

#[test]
fn blocks_move_both_ways_with_notifications() {
    let (here, there) = pair();
    let near = memory(&here, 1 << 16);
    let mut heap = vec![0; 1 << 16];
    let far = register(&there, &mut heap);
    fill(&near, 256);
    let remote = here.load_remote("there", &far.public_data()).expect("loaded");

    let turned = |index| 255 - index;
    let write = prepare(&here, Direction::Write, "there", pairs(&near, &remote, 256, turned));
    for round in 0..3_u8 {
        write.post(Some(&[round])).expect("posted");
        finish(&write);
        let notifications = there.wait_notifications(soon());
        assert_eq!(notifications, [Notification { agent: "here".into(), bytes: vec![round] }]);
    }
    assert!(bytes(&far).iter().enumerate().all(|(index, byte)| usize::from(*byte) == 255 - index / 256));

    bytes(&near).fill(0);
    let read = prepare(&here, Direction::Read, "there", pairs(&near, &remote, 256, turned));
    read.post(None).expect("posted");
    finish(&read);
    assert!(bytes(&near).iter().enumerate().all(|(index, byte)| usize::from(*byte) == index / 256));
    assert_eq!((read.phase(), read.invalid_descriptors()), (Phase::Done, Vec::new()));
    // Turned around, they are neighbours there: gathered 30 at a time.
    assert_eq!(read.work_requests(), 256_usize.div_ceil(30));
}

#[test]
fn an_agent_moves_bytes_to_itself() {
    let alone = backend("alone");
    let from = memory(&alone, 4096);
    let to = memory(&alone, 4096);
    bytes(&from).fill(9);
    let remote = alone.load_local(&to).expect("loaded");
    let request = prepare(&alone, Direction::Write, "alone", pairs(&from, &remote, 4096, |index| index));
    request.post(Some(b"done")).expect("posted");
    finish(&request);
    assert!(bytes(&to).iter().all(|byte| *byte == 9));
    assert_eq!(alone.wait_notifications(soon())[0].bytes, b"done");
    alone.notify("alone", b"hello").expect("sent");
    let notifications = alone.wait_notifications(soon());
    assert_eq!(notifications, [Notification { agent: "alone".into(), bytes: b"hello".to_vec() }]);
}

#[test]
fn notifications_of_any_size_arrive_in_order() {
    let (here, there) = pair();
    let sizes = [0_usize, 1, 100, 8192, 8193, 3 << 20, 5, 100_000, 7];
    for (index, size) in sizes.iter().enumerate() {
        here.notify("there", &vec![index as u8; *size]).expect("sent");
    }
    let mut came = Vec::new();
    while came.len() < sizes.len() {
        let more = there.wait_notifications(soon());
        assert!(!more.is_empty(), "{} of {} came", came.len(), sizes.len());
        came.extend(more);
    }
    for (index, (notification, size)) in came.iter().zip(sizes).enumerate() {
        assert_eq!((&*notification.agent, notification.bytes.len()), ("here", size));
        assert!(notification.bytes.iter().all(|byte| *byte == index as u8));
    }
    assert!(here.flush(soon()));
}

#[test]
fn a_long_notification_travels_with_a_transfer() {
    let (here, there) = pair();
    let (near, far) = (memory(&here, 4096), memory(&there, 4096));
    bytes(&near).fill(3);
    let remote = here.load_remote("there", &far.public_data()).expect("loaded");
    let request = prepare(&here, Direction::Write, "there", pairs(&near, &remote, 4096, |index| index));
    let long: Vec<u8> = (0..300_000_u32).map(|index| index as u8).collect();
    request.post(Some(&long)).expect("posted");
    finish(&request);
    assert_eq!(there.wait_notifications(soon())[0].bytes, long);
    assert!(bytes(&far).iter().all(|byte| *byte == 3));
    assert!(here.flush(soon()), "the payload was let go");
}

#[test]
fn an_inbox_that_nobody_empties_stops_the_sender_and_loses_nothing() {
    let small = |agent: &str| {
        let messages = MessageLimits { window_bytes: 4096, waiting_bytes: 4096, ..MessageLimits::default() };
        let patience = Duration::from_secs(1);
        let config = BackendConfig { inbox_bytes: 4096, messages, patience, ..BackendConfig::new(agent) };
        Backend::open(config).expect("a backend")
    };
    let (here, there) = (small("here"), small("there"));
    here.load_connection_info("there", &there.connection_info().to_bytes()).expect("loaded");
    let mut sent = 0_u32;
    let full = loop {
        match here.notify("there", &sent.to_le_bytes()) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 10_000, "there is no end of it");
    };
    assert!(matches!(full, AgentError::Message(MessageError::Full { .. })), "{full}");
    assert_eq!(full.status(), Status::Backend);
    let mut came = Vec::new();
    while came.len() < sent as usize {
        let more = there.wait_notifications(soon());
        assert!(!more.is_empty(), "{} of {sent} came", came.len());
        came.extend(more);
    }
    let numbers = came.iter().map(|one| u32::from_le_bytes(one.bytes[..].try_into().expect("four")));
    assert!(numbers.eq(0..sent));
    here.notify("there", b"more").expect("room again");
}

#[test]
fn an_agent_that_listens_everywhere_is_reached() {
    let mut config = BackendConfig::new("there");
    config.endpoint.listen = Some(([0, 0, 0, 0], 0).into());
    let there = Backend::open(config).expect("a backend");
    let addresses = &there.connection_info().addresses;
    assert!(addresses.iter().all(|address| !address.ip().is_unspecified()), "{addresses:?}");
    let here = backend("here");
    here.load_connection_info("there", &there.connection_info().to_bytes()).expect("loaded");
    here.notify("there", b"hello").expect("sent");
    assert_eq!(there.wait_notifications(soon())[0].bytes, b"hello");
}

#[test]
fn an_agent_that_does_not_listen_reaches_others() {
    let mut config = BackendConfig::new("here");
    config.endpoint.listen = None;
    let (here, there) = (Backend::open(config).expect("a backend"), backend("there"));
    here.load_connection_info("there", &there.connection_info().to_bytes()).expect("loaded");
    here.notify("there", b"hello").expect("sent");
    assert_eq!(&*there.wait_notifications(soon())[0].agent, "here");
    assert!(!here.connection_info().to_bytes().is_empty());
    there.load_connection_info("here", &here.connection_info().to_bytes()).expect("loaded");
    let unreachable = there.notify("here", b"?").expect_err("it does not listen");
    assert_eq!(unreachable.status(), Status::RemoteDisconnect, "{unreachable}");
}

#[test]
fn several_lanes_and_queue_pairs_carry_requests() {
    let wide = |agent: &str| {
        let mut config = BackendConfig::new(agent);
        (config.endpoint.lanes, config.endpoint.queue_pairs) = (2, 2);
        Backend::open(config).expect("a backend")
    };
    let (here, there) = (wide("here"), wide("there"));
    here.load_connection_info("there", &there.connection_info().to_bytes()).expect("loaded");
    let (near, far) = (memory(&here, 1 << 20), memory(&there, 1 << 20));
    fill(&near, 4096);
    let remote = here.load_remote("there", &far.public_data()).expect("loaded");
    let turned = |index| 255 - index;
    let make = || prepare(&here, Direction::Write, "there", pairs(&near, &remote, 4096, turned));
    let requests: Vec<Request> = (0..8).map(|_| make()).collect();
    for (index, request) in requests.iter().enumerate() {
        request.post(Some(&[index as u8])).expect("posted");
    }
    requests.iter().for_each(finish);
    let mut came = Vec::new();
    while came.len() < 8 {
        came.extend(there.wait_notifications(soon()).into_iter().map(|one| one.bytes[0]));
    }
    came.sort_unstable();
    assert!(came.into_iter().eq(0..8));
    assert!(bytes(&far).iter().enumerate().all(|(index, byte)| usize::from(*byte) == 255 - index / 4096));
}
