//! Each error that hardware reports by a completion, provoked as a driver or its peer would.

use pmd_core::{
    memory::Access,
    wire::{AtomicSegment, DataSegment, Opcode, RemoteSegment, Syndrome},
};

use super::{
    bench::{ALL, Fabric, Plan, Region, path, register},
    raw::{Raw, data_unit, pair, remote_unit},
};
use crate::{
    device::{Attributes, Event, ModifyQueuePair},
    state::{AsynchronousKind, ConnectedPath, state},
};

fn local(region: &Region, length: u32) -> DataSegment {
    DataSegment { address: region.address(), length, lkey: region.key }
}

fn remote(region: &Region) -> RemoteSegment {
    RemoteSegment { address: region.address(), rkey: region.key }
}

/// Syndromes of the left side after two WRITEs of which the first is wrong.
fn write_fails(
    wrong: impl FnOnce(&mut DataSegment, &mut RemoteSegment),
    access: Access,
) -> (Vec<(u16, u8)>, Raw, Raw) {
    let fabric = Fabric::new();
    let (mut left, right) = pair(&fabric, Plan::default());
    let (source, target) = (register(&left.device, 64, Access::empty()), register(&right.device, 64, access));
    let (mut from, mut to) = (local(&source, 64), remote(&target));
    wrong(&mut from, &mut to);
    left.post_write(from, to);
    left.post_write(local(&source, 64), remote(&target));
    assert_eq!(target.bytes(), [0; 64]);
    (left.poll_syndromes(), left, right)
}

#[test]
fn wrong_local_keys_and_bounds_are_protection_errors() {
    let ruins: [fn(&mut DataSegment); 4] =
        [|from| from.lkey ^= 1, |from| from.lkey = 0x100, |from| from.address -= 1, |from| from.address += 1];
    for ruin in ruins {
        let (told, left, right) = write_fails(|from, _| ruin(from), ALL);
        assert_eq!(told, [(0, 0x04), (1, 0x05)]);
        assert_eq!((left.state(), right.state()), (state::ERR, state::RTS), "the peer saw nothing");
    }
}

#[test]
fn wrong_remote_keys_bounds_and_rights_are_remote_access_errors() {
    let ruins: [fn(&mut RemoteSegment); 3] =
        [|to| to.rkey ^= 1, |to| to.address -= 1, |to| to.address = u64::MAX - 3];
    for ruin in ruins {
        let (told, left, right) = write_fails(|_, to| ruin(to), ALL);
        assert_eq!(told, [(0, 0x13), (1, 0x05)]);
        assert_eq!((left.state(), right.state()), (state::ERR, state::ERR));
        let events = right.device.take_events();
        let kind = AsynchronousKind::QueuePairAccessError;
        assert!(
            matches!(events[..], [Event::Asynchronous { kind: told, number, .. }] if told == kind && number == right.number()),
            "{events:?}"
        );
    }
    let (told, ..) = write_fails(|_, _| {}, Access::LOCAL_WRITE | Access::REMOTE_READ);
    assert_eq!(told, [(0, 0x13), (1, 0x05)]);
}

#[test]
fn operations_that_the_queue_pair_does_not_open_are_invalid_requests() {
    let fabric = Fabric::new();
    let (mut left, right) = pair(&fabric, Plan::default());
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    let mask = Attributes::ACCESS;
    let change = ModifyQueuePair { mask, access: Access::REMOTE_WRITE.bits(), ..Default::default() };
    right.device.modify_queue_pair(right.number(), &change).expect("allowed in RTS");
    left.post_write(local(&source, 8), remote(&target));
    let control = left.control(Opcode::RdmaRead, 3).to_bytes();
    left.post(&[control, remote_unit(remote(&target)), data_unit(local(&source, 8))]);
    assert_eq!(left.poll_syndromes(), [(0, 0), (1, 0x12)]);
    let events = right.device.take_events();
    let kind = AsynchronousKind::QueuePairRequestError;
    assert!(matches!(events[..], [Event::Asynchronous { kind: told, .. }] if told == kind));
}

#[test]
fn a_misaligned_atomic_is_an_invalid_request_and_one_of_another_length_is_local() {
    for (offset, length, syndrome) in [(4, 8, 0x12), (0, 4, 0x01)] {
        let fabric = Fabric::new();
        let (mut left, right) = pair(&fabric, Plan::default());
        let (result, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
        let mut operands = [0; 16];
        AtomicSegment { swap_or_add: 1, compare: 0 }.emit(&mut operands);
        let control = left.control(Opcode::FetchAndAdd, 4).to_bytes();
        let at = RemoteSegment { address: target.address() + offset, rkey: target.key };
        left.post(&[control, remote_unit(at), operands, data_unit(local(&result, length))]);
        assert_eq!(left.poll_syndromes(), [(0, syndrome)]);
        assert_eq!(target.bytes(), [0; 64]);
    }
}

#[test]
fn a_message_longer_than_its_receive_fails_on_both_sides() {
    let fabric = Fabric::new();
    let (mut left, mut right) = pair(&fabric, Plan::default());
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    right.post_receive(local(&target, 32));
    right.post_receive(local(&target, 64));
    left.post_send(local(&source, 33));
    assert_eq!(left.poll_syndromes(), [(0, 0x12)]);
    assert_eq!(right.poll_syndromes(), [(0, 0x01), (1, 0x05)]);
    assert_eq!((left.state(), right.state()), (state::ERR, state::ERR));
}

#[test]
fn a_receive_into_memory_that_is_not_open_fails_on_both_sides() {
    let fabric = Fabric::new();
    let (mut left, mut right) = pair(&fabric, Plan::default());
    let source = register(&left.device, 64, ALL);
    let target = register(&right.device, 64, Access::empty());
    right.post_receive(local(&target, 64));
    left.post_send(local(&source, 33));
    assert_eq!(left.poll_syndromes(), [(0, 0x14)]);
    assert_eq!(right.poll_syndromes(), [(0, 0x04)]);
}

#[test]
fn a_write_with_immediate_to_a_wrong_key_flushes_the_receive() {
    let fabric = Fabric::new();
    let (mut left, mut right) = pair(&fabric, Plan::default());
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    right.post_receive(local(&target, 64));
    let control = left.control(Opcode::RdmaWriteImmediate, 3).to_bytes();
    let wrong = RemoteSegment { rkey: target.key ^ 1, ..remote(&target) };
    left.post(&[control, remote_unit(wrong), data_unit(local(&source, 8))]);
    assert_eq!(left.poll_syndromes(), [(0, 0x13)]);
    assert_eq!(right.poll_syndromes(), [(0, 0x05)]);
}

#[test]
fn a_request_longer_than_a_message_can_be_is_a_length_error() {
    let (told, ..) = write_fails(|from, _| from.length = (1 << 30) + 1, ALL);
    assert_eq!(told, [(0, 0x01), (1, 0x05)]);
}

#[test]
fn unregistered_memory_is_not_reached_any_more() {
    let fabric = Fabric::new();
    let (mut left, right) = pair(&fabric, Plan::default());
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    left.post_write(local(&source, 8), remote(&target));
    right.device.lock().regions.remove(target.key);
    left.post_write(local(&source, 8), remote(&target));
    assert_eq!(left.poll_syndromes(), [(0, 0), (1, 0x13)]);
}

#[test]
fn memory_of_another_domain_is_not_reached() {
    let fabric = Fabric::new();
    let (mut left, right) = pair(&fabric, Plan::default());
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    right.device.lock().regions.find_mut(target.key).expect("it is there").domain = 2;
    left.post_write(local(&source, 8), remote(&target));
    assert_eq!(left.poll_syndromes(), [(0, 0x13)]);
    let (mut left, _right) = pair(&fabric, Plan::default());
    let source = register(&left.device, 64, ALL);
    left.device.lock().regions.find_mut(source.key).expect("it is there").domain = 2;
    left.post_write(local(&source, 8), remote(&target));
    assert_eq!(left.poll_syndromes(), [(0, 0x04)]);
}

#[test]
fn a_send_with_invalidate_takes_the_key_away() {
    let fabric = Fabric::new();
    let (mut left, mut right) = pair(&fabric, Plan::default());
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    let window = register(&right.device, 64, ALL);
    right.post_receive(local(&target, 64));
    left.post_write(local(&source, 8), remote(&window));
    let mut control = left.control(Opcode::SendInvalidate, 2);
    control.immediate = window.key;
    left.post(&[control.to_bytes(), data_unit(local(&source, 8))]);
    left.post_write(local(&source, 8), remote(&window));
    assert_eq!(left.poll_syndromes(), [(0, 0), (1, 0), (2, 0x13)]);
    assert_eq!(right.poll_syndromes(), [(0, 0)]);
}

#[test]
fn a_peer_that_is_not_there_or_not_connected_to_us_exceeds_the_retries() {
    let away: [fn(&mut ConnectedPath); 4] = [
        |path| path.remote = 0x77_7777,
        |path| path.lid = 9,
        |path| path.send_sequence = 5,
        |path| path.timeout = 1,
    ];
    for (turn, ruin) in away.into_iter().enumerate() {
        let fabric = Fabric::new();
        let (mut left, right) = (Raw::new(&fabric, Plan::default()), Raw::new(&fabric, Plan::default()));
        let mut there = path(right.number());
        ruin(&mut there);
        left.connect(there);
        let back = if turn == 3 { 0x77_7777 } else { left.number() };
        right.connect(path(back));
        let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
        left.post_write(local(&source, 8), remote(&target));
        assert_eq!(left.poll_syndromes(), [], "the first timeout has not passed");
        super::wait(&left.device);
        assert_eq!(left.poll_syndromes(), [(0, Syndrome::RetryExceeded.to_byte())]);
        assert_eq!(target.bytes(), [0; 64]);
    }
}

#[test]
fn a_peer_that_fails_is_not_reached() {
    let fabric = Fabric::new();
    let (mut left, right) = pair(&fabric, Plan::default());
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    let error = ModifyQueuePair { mask: Attributes::STATE, state: state::ERR, ..Default::default() };
    right.device.modify_queue_pair(right.number(), &error).expect("to ERR");
    left.post_write(local(&source, 8), remote(&target));
    super::wait(&left.device);
    assert_eq!(left.poll_syndromes(), [(0, 0x15)]);
}

#[test]
fn a_peer_without_a_receive_exceeds_the_rnr_retries() {
    let fabric = Fabric::new();
    let (mut left, right) = pair(&fabric, Plan::default());
    let source = register(&left.device, 64, ALL);
    left.post_send(local(&source, 8));
    assert_eq!(left.poll_syndromes(), [(0, 0x16)], "no retry was allowed");
    assert_eq!((left.state(), right.state()), (state::ERR, state::RTS));
}
