//! What waits and goes on: receivers that are not ready, peers that come late, drained queues, failed ones.

use pmd_core::wire::{DataSegment, Opcode, RemoteSegment};

use super::{
    bench::{ALL, Fabric, Plan, Region, connect, path, register, step},
    raw::{self, Raw},
    wait,
};
use crate::{
    device::{Attributes, Event, ModifyQueuePair},
    state::{AsynchronousKind, ConnectedPath, QueuePairKind, state},
};

fn local(region: &Region, length: u32) -> DataSegment {
    DataSegment { address: region.address(), length, lkey: region.key }
}

fn to(state: u8) -> ModifyQueuePair {
    ModifyQueuePair { mask: Attributes::STATE, state, ..ModifyQueuePair::default() }
}

/// A pair whose left side waits for receives as `rnr_retry` says.
fn patient(rnr_retry: u8) -> (Raw, Raw) {
    let fabric = Fabric::new();
    let (left, right) = (Raw::new(&fabric, Plan::default()), Raw::new(&fabric, Plan::default()));
    left.connect(ConnectedPath { rnr_retry, ..path(right.number()) });
    right.connect(path(left.number()));
    (left, right)
}

#[test]
fn a_send_waits_for_its_receive_and_keeps_its_place() {
    let (mut left, mut right) = patient(7);
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    source.fill(0, b"in order");
    left.post_send(local(&source, 8));
    left.post_write(local(&source, 2), RemoteSegment { address: target.address() + 32, rkey: target.key });
    for _ in 0..20 {
        let rest = left.device.run_due().expect("it waits");
        assert!(rest.as_micros() <= 10, "timer code 1 is ten microseconds");
        std::thread::sleep(rest);
    }
    assert_eq!((left.poll(), target.bytes()), (vec![], vec![0; 64]), "nothing overtakes it");
    right.post_receive(local(&target, 64));
    std::thread::sleep(std::time::Duration::from_micros(20));
    assert_eq!(left.device.run_due(), None);
    assert_eq!(left.poll_syndromes(), [(0, 0), (1, 0)]);
    assert_eq!(target.bytes()[..8], *b"in order");
    assert_eq!(target.bytes()[32..34], *b"in");
}

#[test]
fn rnr_retries_are_counted() {
    let (mut left, right) = patient(3);
    let source = register(&left.device, 64, ALL);
    left.post_send(local(&source, 8));
    wait(&left.device);
    assert_eq!(left.poll_syndromes(), [(0, 0x16)]);
    assert_eq!(right.state(), state::RTS, "the receiver is not at fault");
}

#[test]
fn a_peer_that_comes_before_the_last_retry_is_reached() {
    let fabric = Fabric::new();
    let (mut left, right) = (Raw::new(&fabric, Plan::default()), Raw::new(&fabric, Plan::default()));
    left.connect(ConnectedPath { retry_count: 7, timeout: 12, ..path(right.number()) });
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    source.fill(0, b"late");
    left.post_write(local(&source, 4), RemoteSegment { address: target.address(), rkey: target.key });
    assert!(left.device.run_due().is_some());
    right.connect(path(left.number()));
    wait(&left.device);
    assert_eq!(left.poll_syndromes(), [(0, 0)]);
    assert_eq!(target.bytes()[..4], *b"late");
}

#[test]
fn without_a_timeout_a_queue_pair_waits_for_ever() {
    let fabric = Fabric::new();
    let mut left = Raw::new(&fabric, Plan::default());
    left.connect(ConnectedPath { timeout: 0, ..path(0x5555) });
    let source = register(&left.device, 64, ALL);
    left.post_send(local(&source, 8));
    for _ in 0..3 {
        let number = left.number();
        left.device.lock().queue_pairs.find_mut(number).expect("it is there").send.due = 0;
        assert!(left.device.run_due().is_some());
    }
    assert_eq!(left.poll(), []);
    left.device.modify_queue_pair(left.number(), &to(state::ERR)).expect("to ERR");
    assert_eq!(left.poll_syndromes(), [(0, 0x05)]);
    assert_eq!(left.device.run_due(), None);
}

#[test]
fn error_flushes_both_queues_in_order_and_what_comes_later() {
    let (mut left, right) = patient(7);
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    left.post_receive(local(&source, 8));
    left.post_receive(local(&source, 8));
    for _ in 0..3 {
        left.post_send(local(&source, 8));
    }
    left.post_write(local(&source, 8), RemoteSegment { address: target.address(), rkey: target.key });
    left.device.modify_queue_pair(left.number(), &to(state::ERR)).expect("to ERR");
    assert_eq!(left.poll_syndromes(), [(0, 5), (1, 5), (2, 5), (3, 5), (0, 5), (1, 5)]);
    left.post_receive(local(&source, 8));
    left.post_send(local(&source, 8));
    assert_eq!(left.poll_syndromes(), [(4, 5)], "a send rings");
    assert_eq!(left.device.run_due(), None);
    assert_eq!(left.poll_syndromes(), [(2, 5)], "a receive does not");
    assert_eq!(target.bytes(), [0; 64]);
}

#[test]
fn reset_forgets_and_the_queue_pair_can_be_used_again() {
    let (mut left, mut right) = patient(7);
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    left.post_send(local(&source, 8));
    left.device.modify_queue_pair(left.number(), &to(state::RESET)).expect("to RESET");
    assert_eq!((left.poll(), left.device.run_due()), (vec![], None));
    left.producer = 0;
    left.set_record(0);
    right.post_receive(local(&target, 64));
    left.connect(path(right.number()));
    left.post_send(local(&source, 8));
    assert_eq!((left.poll_syndromes(), right.poll_syndromes()), (vec![(0, 0)], vec![(0, 0)]));
}

/// The library zeroes the record after the kernel has reset the queue pair; a scan may come in between.
#[test]
fn the_record_of_before_a_reset_is_not_taken_for_new_work() {
    let (mut left, right) = patient(7);
    let nop = left.control(Opcode::Nop, 1).to_bytes();
    left.post(&[nop]);
    assert_eq!(left.poll_syndromes(), [(0, 0)]);
    left.device.modify_queue_pair(left.number(), &to(state::RESET)).expect("to RESET");
    left.device.run_moved();
    left.device.ring(raw::head(&nop));
    left.set_record(0);
    left.connect(path(right.number()));
    left.device.run_moved();
    assert_eq!(left.poll(), []);
}

#[test]
fn a_drained_queue_finishes_what_was_begun_and_tells() {
    let (mut left, mut right) = patient(7);
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    left.post_send(local(&source, 8));
    let mask = Attributes::STATE | Attributes::NOTIFY_DRAINED;
    let drain = ModifyQueuePair { notify_drained: true, ..ModifyQueuePair { mask, ..to(state::SQD) } };
    left.device.modify_queue_pair(left.number(), &drain).expect("to SQD");
    let unit = left.control(Opcode::Nop, 1).to_bytes();
    left.post(&[unit]);
    assert_eq!(left.device.take_events(), []);
    right.post_receive(local(&target, 64));
    std::thread::sleep(std::time::Duration::from_micros(20));
    left.device.run_due();
    assert_eq!(left.poll_syndromes(), [(0, 0)], "the second was not begun");
    let kind = AsynchronousKind::SendQueueDrained;
    let events = left.device.take_events();
    assert!(matches!(events[..], [Event::Asynchronous { kind: told, .. }] if told == kind), "{events:?}");
    left.device.modify_queue_pair(left.number(), &to(state::RTS)).expect("to RTS");
    assert_eq!(left.poll_syndromes(), [(1, 0)]);
}

#[test]
fn transitions_are_those_of_the_table() {
    let fabric = Fabric::new();
    for (kind, usable) in [(QueuePairKind::Reliable, false), (QueuePairKind::Datagram, true)] {
        let raw = Raw::new(&fabric, Plan { kind, ..Plan::default() });
        let number = raw.number();
        let change = |change: ModifyQueuePair| raw.device.modify_queue_pair(number, &change).is_ok();
        let path = path(number);
        assert!(!change(to(state::INIT)), "a port is missing");
        assert!(!change(step(kind, state::RTR, path)) && !change(to(state::ERR)), "RESET goes to INIT only");
        let other_port = ConnectedPath { port: 2, ..path };
        assert!(!change(step(kind, state::INIT, other_port)), "there is one port");
        assert!(change(step(kind, state::INIT, path)) && change(step(kind, state::INIT, path)));
        assert!(!change(step(kind, state::RTS, path)), "RTR comes first");
        let bare = change(to(state::RTR));
        assert_eq!(bare, usable, "only a datagram queue pair has no peer to be told of");
        assert!(bare || change(step(kind, state::RTR, path)));
        let surplus = ModifyQueuePair { mask: Attributes::STATE | Attributes::PORT, ..to(state::RTS) };
        assert!(!change(surplus), "the port is set once");
        assert!(change(step(kind, state::RTS, path)));
        assert!(!change(to(state::RTR)) && change(to(state::SQD)) && change(to(state::RTS)));
        assert!(change(to(state::ERR)) && !change(to(state::RTS)) && change(to(state::ERR)));
        assert!(change(to(state::RESET)) && raw.state() == state::RESET);
    }
    let stranger = fabric.open();
    let raw = Raw::new(&fabric, Plan::default());
    connect(&raw.device, raw.number(), path(raw.number()));
    assert!(stranger.modify_queue_pair(raw.number(), &to(state::ERR)).is_err(), "another process's");
}

#[test]
fn a_process_that_was_killed_does_not_answer() {
    let (mut left, right) = patient(7);
    let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("it starts");
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    // The right side belongs to the child from here on.
    let owner = right.device.process;
    left.device.lock().processes.find_mut(owner.into()).expect("it is there").pid = child.id();
    child.kill().expect("it runs");
    child.wait().expect("it ended");
    left.post_write(local(&source, 8), RemoteSegment { address: target.address(), rkey: target.key });
    left.post_send(local(&source, 8));
    wait(&left.device);
    assert_eq!(left.poll_syndromes(), [(0, 0x15), (1, 0x05)]);
    let tables = left.device.lock();
    assert!(tables.queue_pairs.find(right.number()).is_none(), "its objects are gone");
    assert!(tables.regions.find(target.key).is_none() && tables.regions.find(source.key).is_some());
}
