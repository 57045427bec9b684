//! Unreliable connections and datagrams: what is wrong at the other end is silence.

use pmd_core::wire::{
    AddressVector, ControlFlags, Cqe, DataSegment, Opcode, Received, RemoteSegment, address_vector,
};

use super::{
    bench::{ALL, Fabric, Plan, Region, path, register},
    raw::{Raw, data_unit, pair, remote_unit},
};
use crate::{
    config::Link,
    lint::seen,
    port::Port,
    state::{ConnectedPath, QueuePairKind, state},
};

const UC: Plan =
    Plan { kind: QueuePairKind::Unreliable, slots: 16, scatter_to_cqe: false, signal_all: false, shared: 0 };
const UD: Plan = Plan { kind: QueuePairKind::Datagram, ..UC };
const KEY: u32 = 0x1111_1111;

fn local(region: &Region, length: u32) -> DataSegment {
    DataSegment { address: region.address(), length, lkey: region.key }
}

#[test]
fn an_unreliable_connection_writes_and_sends_and_drops_what_is_not_taken() {
    let fabric = Fabric::new();
    let (mut left, mut right) = pair(&fabric, UC);
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    source.fill(0, b"payload!");
    let at = |key| RemoteSegment { address: target.address() + 32, rkey: key };
    left.post_send(local(&source, 8));
    left.post_write(local(&source, 8), at(target.key ^ 1));
    assert_eq!(target.bytes(), [0; 64]);
    left.post_write(local(&source, 8), at(target.key));
    right.post_receive(local(&target, 16));
    right.post_receive(local(&target, 16));
    left.post_send(local(&source, 8));
    let mut control = left.control(Opcode::RdmaWriteImmediate, 2);
    control.immediate = 77;
    left.post(&[control.to_bytes(), remote_unit(at(0))]);
    assert_eq!(left.poll_syndromes(), [(0, 0), (1, 0), (2, 0), (3, 0), (4, 0)]);
    assert_eq!([&target.bytes()[..8], &target.bytes()[32..40]], [b"payload!"; 2]);
    let arrived: Vec<_> = right.poll().into_iter().map(received).collect();
    assert_eq!(arrived, [(Received::Send, 8), (Received::WriteImmediate(77), 0)]);
    assert_eq!((left.state(), right.state()), (state::RTS, state::RTS));
    left.post_write(local(&source, 65), at(target.key));
    left.post_send(local(&source, 8));
    assert_eq!(left.poll_syndromes(), [(5, 0x04), (6, 0x05)]);
    assert_eq!(left.state(), state::SQE, "receives of an unreliable queue pair go on");
    assert_eq!(seen::take().len(), 0);
}

fn received(cqe: Cqe) -> (Received, u32) {
    match cqe {
        Cqe::Responder(completion) => (completion.received, completion.byte_count),
        other => panic!("{other:?}"),
    }
}

fn datagrams(link: Link) -> (Raw, Raw) {
    let mut fabric = Fabric::new();
    fabric.config.link = link;
    let (left, right) = (Raw::new(&fabric, UD), Raw::new(&fabric, UD));
    left.connect(path(0));
    right.connect(ConnectedPath { q_key: KEY, ..path(0) });
    (left, right)
}

/// A SEND of `length` bytes to `address`.
fn send(from: &mut Raw, address: AddressVector, segment: DataSegment) {
    let mut vector = [0; address_vector::LENGTH];
    address.emit(&mut vector);
    let mut control = from.control(Opcode::SendImmediate, 5);
    control.immediate = 0xabcd;
    control.flags = ControlFlags::CQ_UPDATE | ControlFlags::SOLICITED;
    let mut units = vec![control.to_bytes()];
    units.extend_from_slice(vector.as_chunks().0);
    units.push(data_unit(segment));
    from.post(&units);
}

fn to(receiver: &Raw) -> AddressVector {
    AddressVector {
        queue_key: KEY,
        destination: receiver.number(),
        extended: true,
        remote_lid: 1,
        ..AddressVector::default()
    }
}

#[test]
fn a_datagram_arrives_behind_its_header() {
    let (mut left, mut right) = datagrams(Link::InfiniBand);
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 128, ALL));
    source.fill(0, b"datagram");
    right.post_receive(local(&target, 100));
    right.post_receive(local(&target, 100));
    send(&mut left, to(&right), local(&source, 8));
    assert_eq!(left.poll_syndromes(), [(0, 0)]);
    let [Cqe::Responder(one)] = right.poll()[..] else { panic!("one receive") };
    assert_eq!((one.byte_count, one.received), (48, Received::SendImmediate(0xabcd)));
    assert_eq!((one.path.source_queue_pair, one.path.source_lid), (left.number(), 1));
    assert_eq!((one.path.global_route, one.solicited), (0, true));
    assert_eq!(target.bytes()[40..48], *b"datagram");
    let gid = Port::new(Link::InfiniBand).gids[0].raw;
    send(&mut left, AddressVector { route: 1 << 30, remote_gid: gid, ..to(&right) }, local(&source, 8));
    let [Cqe::Responder(one)] = right.poll()[..] else { panic!("one receive") };
    assert_eq!(one.path.global_route, 1);
    assert_eq!([&target.bytes()[8..24], &target.bytes()[24..40]], [&gid; 2]);
    assert_eq!(seen::take().len(), 0);
}

#[test]
fn datagrams_over_ipv4_carry_an_ipv4_header_with_a_good_checksum() {
    let (mut left, mut right) = datagrams(Link::Ethernet);
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 128, ALL));
    right.post_receive(local(&target, 100));
    let gid = Port::new(Link::Ethernet).gids[3].raw;
    let address = AddressVector { route: 1 << 30 | 3 << 20, remote_gid: gid, hop_limit: 64, ..to(&right) };
    send(&mut left, address, local(&source, 8));
    assert_eq!(right.poll().len(), 1);
    let header = target.bytes()[20..40].to_vec();
    assert_eq!((header[0], header[8], header[9]), (0x45, 64, 17));
    assert_eq!([&header[12..16], &header[16..20]], [&gid[12..]; 2]);
    let sum: u32 = header.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum();
    assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the checksum makes the sum all ones");
}

#[test]
fn datagrams_that_nobody_takes_are_dropped() {
    let (mut left, mut right) = datagrams(Link::InfiniBand);
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 128, ALL));
    let good = to(&right);
    send(&mut left, good, local(&source, 8));
    right.post_receive(local(&target, 100));
    let wrong = [
        AddressVector { queue_key: 1, ..good },
        AddressVector { remote_lid: 2, ..good },
        AddressVector { destination: 0x55_5555, ..good },
        AddressVector { queue_key: 1 << 31, destination: 0x55_5555, ..good },
    ];
    for address in wrong {
        send(&mut left, address, local(&source, 8));
    }
    assert_eq!(left.poll_syndromes(), [0, 2, 4, 6, 8].map(|index| (index, 0)));
    assert_eq!((right.poll(), target.bytes()), (vec![], vec![0; 128]));
    send(&mut left, AddressVector { queue_key: 1 << 31, ..good }, local(&source, 8));
    assert_eq!(right.poll().len(), 1, "a controlled key stands for the sender's own");
}

#[test]
fn a_datagram_is_no_longer_than_the_mtu() {
    let (mut left, right) = datagrams(Link::InfiniBand);
    let source = register(&left.device, 8192, ALL);
    send(&mut left, to(&right), local(&source, 4097));
    assert_eq!(left.poll_syndromes(), [(0, 0x01)]);
    assert_eq!(left.state(), state::SQE);
}

#[test]
fn a_datagram_longer_than_its_receive_fails_the_receiver() {
    let (mut left, mut right) = datagrams(Link::InfiniBand);
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    right.post_receive(local(&target, 64));
    send(&mut left, to(&right), local(&source, 25));
    assert_eq!((left.poll_syndromes(), right.poll_syndromes()), (vec![(0, 0)], vec![(0, 0x01)]));
    assert_eq!((left.state(), right.state()), (state::RTS, state::ERR));
}
