//! Completion entries of both sizes, payloads in them, and events.

use pmd_core::{
    memory::Access,
    provider::{CompletionKind, Operation, Payload, Provider, ReceiveRequest, SendFlags, SendRequest},
    wire::{Arm, ControlFlags, DataSegment, Opcode},
};

use super::{
    bench::{ALL, Fabric, Node, Plan, completion_queue, path, register},
    raw::{Raw, data_unit, pair},
};
use crate::{
    device::Event,
    lint::seen,
    state::{AsynchronousKind, state},
};

/// Two nodes with entries of `bytes` bytes, whose queue pairs take payloads in them.
fn scattering(bytes: u32) -> [(Node, pmd_core::provider::QueuePairHandle); 2] {
    let mut fabric = Fabric::new();
    fabric.config.scatter_to_cqe = true;
    let plan = Plan { scatter_to_cqe: true, signal_all: true, ..Plan::default() };
    let mut nodes = [Node::new(&fabric, 16, bytes), Node::new(&fabric, 16, bytes)];
    let made = nodes.each_mut().map(|node| node.queue_pair(plan));
    let [left, right] = &mut nodes;
    left.connect(made[0].0, made[1].1);
    right.connect(made[1].0, made[0].1);
    let [left, right] = nodes;
    [(left, made[0].0), (right, made[1].0)]
}

#[test]
fn payloads_that_fit_go_into_entries_of_either_size() {
    for (bytes, room) in [(64, 32), (128, 64)] {
        let [(mut left, here), (mut right, there)] = scattering(bytes);
        let (source, target) = (register(&left.device, 256, ALL), register(&right.device, 256, ALL));
        source.fill(0, &(0..200).collect::<Vec<u8>>());
        for length in [1, room, room + 1, 200] {
            let scatter = [target.sge(0, 200)];
            right.provider.post_receive(there, &ReceiveRequest { id: 7, scatter: &scatter }).expect("room");
            right.provider.ring_receive(there);
            let local = [source.sge(0, length)];
            let operation = Operation::Send { local: Payload::Gather(&local), immediate: Some(5) };
            let request = SendRequest { id: 1, operation, flags: SendFlags::SIGNALED };
            left.provider.post_send(here, &request).expect("room");
            target.fill(0, &[0xff; 200]);
            left.provider.ring_send(here);
            let in_entry = target.bytes()[..200] == [0xff; 200];
            assert_eq!(in_entry, length <= room, "{length} bytes in an entry of {bytes}");
            let [one] = right.poll()[..] else { panic!("one completion") };
            assert_eq!((one.result, one.byte_length), (Ok(CompletionKind::Receive), length));
            assert_eq!(one.immediate, Some(5));
            assert_eq!(target.bytes()[..length as usize], source.bytes()[..length as usize]);
            let local = [source.sge(0, length)];
            let operation = Operation::Read { remote: target.remote(0), local: &local };
            let request = SendRequest { id: 2, operation, flags: SendFlags::SIGNALED };
            left.provider.post_send(here, &request).expect("room");
            source.fill(0, &vec![0; length as usize]);
            left.provider.ring_send(here);
            let in_entry = source.bytes()[..length as usize].iter().all(|byte| *byte == 0);
            assert_eq!(in_entry, length <= room || length == 1);
            assert_eq!(left.poll().len(), 2);
            assert_eq!(source.bytes()[..length as usize], target.bytes()[..length as usize]);
        }
    }
}

#[test]
fn large_entries_wrap_with_their_owner_bit() {
    let fabric = Fabric::new();
    let mut nodes = [Node::new(&fabric, 8, 128), Node::new(&fabric, 8, 128)];
    let made = nodes.each_mut().map(|node| node.queue_pair(Plan::default()));
    nodes[0].connect(made[0].0, made[1].1);
    nodes[1].connect(made[1].0, made[0].1);
    let node = &mut nodes[0];
    for id in 0..1000 {
        let request = SendRequest { id, operation: Operation::Nop, flags: SendFlags::SIGNALED };
        node.provider.post_send(made[0].0, &request).expect("room");
        node.provider.ring_send(made[0].0);
        assert_eq!(node.poll().iter().map(|one| one.id).collect::<Vec<_>>(), [id]);
    }
    assert_eq!(seen::take().len(), 0);
}

#[test]
fn an_armed_queue_tells_once_and_one_that_has_entries_at_once() {
    let fabric = Fabric::new();
    let mut node = Node::new(&fabric, 16, 64);
    let (handle, number) = node.queue_pair(Plan::default());
    node.connect(handle, number);
    let nop = |node: &mut Node| {
        let request = SendRequest { id: 1, operation: Operation::Nop, flags: SendFlags::SIGNALED };
        node.provider.post_send(handle, &request).expect("room");
        node.provider.ring_send(handle);
    };
    nop(&mut node);
    assert_eq!(node.device.take_events(), [], "it was not armed");
    node.poll();
    node.provider.arm(false);
    assert_eq!(node.device.take_events(), [], "nothing new is there");
    nop(&mut node);
    nop(&mut node);
    let told = Event::Completion { number: 1, user_handle: 0xc1, channel: 77 };
    assert_eq!(node.device.take_events(), [told]);
    node.provider.event_received();
    node.provider.arm(false);
    assert_eq!(node.device.take_events(), [told], "two entries have not been looked at");
    node.provider.arm(false);
    nop(&mut node);
    assert_eq!(node.device.take_events(), [], "the event of before was not received");
    node.provider.event_received();
    node.poll();
    node.provider.arm(false);
    nop(&mut node);
    assert_eq!(node.device.take_events(), [told]);
    let tables = node.device.lock();
    assert_eq!(
        (tables.counters.events, tables.completion_queues.find(1).expect("it").events_reported),
        (3, 3)
    );
}

#[test]
fn events_of_several_queues_come_in_the_order_of_their_completions() {
    let fabric = Fabric::new();
    let first = Raw::new(&fabric, Plan::default());
    let completions = completion_queue(&first.device, 16, 64);
    let second = Raw::on(first.device.clone(), completions, Plan::default());
    let mut raws = [first, second];
    for raw in &raws {
        raw.connect(path(raw.number()));
        let number = raw.completions.number;
        let arm = Arm { sequence: 0, solicited_only: false, consumer_index: 0, completion_queue: number };
        raw.set_arm_record(arm.record());
        raw.device.arm(u64::from_be(arm.register()));
    }
    for raw in raws.iter_mut().rev() {
        let control = raw.control(Opcode::Nop, 1).to_bytes();
        raw.post(&[control]);
    }
    let numbers = raws[0].device.take_events().into_iter().map(|event| match event {
        Event::Completion { number, .. } | Event::Asynchronous { number, .. } => number,
    });
    assert_eq!(numbers.collect::<Vec<_>>(), [raws[1].completions.number, raws[0].completions.number]);
    assert_eq!(seen::take().len(), 0);
}

#[test]
fn a_queue_armed_for_solicited_events_waits_for_one_or_for_an_error() {
    let fabric = Fabric::new();
    let (mut left, mut right) = pair(&fabric, Plan::default());
    let source = register(&left.device, 64, Access::empty());
    let target = register(&right.device, 64, ALL);
    let local = DataSegment { address: source.address(), length: 8, lkey: source.key };
    let number = right.completions.number;
    let arm = |right: &Raw, sequence, consumer_index| {
        let arm = Arm { sequence, solicited_only: true, consumer_index, completion_queue: number };
        right.set_arm_record(arm.record());
        right.device.arm(u64::from_be(arm.register()));
    };
    for _ in 0..3 {
        right.post_receive(DataSegment { address: target.address(), length: 64, lkey: target.key });
    }
    arm(&right, 0, 0);
    left.post_send(local);
    assert_eq!(right.device.take_events(), []);
    let mut control = left.control(Opcode::Send, 2);
    control.flags |= ControlFlags::SOLICITED;
    left.post(&[control.to_bytes(), data_unit(local)]);
    assert_eq!(right.device.take_events().len(), 1);
    assert_eq!(right.poll().len(), 2);
    arm(&right, 1, 2);
    assert_eq!(right.device.take_events(), []);
    left.post_send(DataSegment { length: 65, lkey: source.key, address: source.address() });
    left.post_send(local);
    assert_eq!(left.state(), state::ERR);
    assert_eq!(right.device.take_events(), [], "the peer's mistake is not ours");
    assert_eq!(seen::take().len(), 0);
}

#[test]
fn an_overrun_queue_fails_with_its_queue_pairs() {
    let fabric = Fabric::new();
    let device = fabric.open();
    let small = completion_queue(&device, 2, 64);
    let mut raws = [0, 1].map(|_| Raw::on(device.clone(), small, Plan::default()));
    for raw in &raws {
        raw.connect(path(raw.number()));
    }
    for _ in 0..3 {
        let unit = raws[0].control(Opcode::Nop, 1).to_bytes();
        raws[0].post(&[unit]);
    }
    assert!(raws.iter().all(|raw| raw.state() == state::ERR));
    let told: Vec<_> = device
        .take_events()
        .into_iter()
        .map(|event| match event {
            Event::Asynchronous { kind, number, .. } => (kind, number),
            other => panic!("{other:?}"),
        })
        .collect();
    let fatal = AsynchronousKind::QueuePairFatal;
    let expected = [
        (AsynchronousKind::CompletionQueueError, small.number),
        (fatal, raws[0].number()),
        (fatal, raws[1].number()),
    ];
    assert_eq!(told, expected);
    assert_eq!(raws[0].poll().len(), 2, "nothing is written any more");
    assert_eq!(seen::take().len(), 1);
    assert!(device.destroy_completion_queue(small.number).is_err(), "it is in use");
    for raw in &raws {
        device.destroy_queue_pair(raw.number()).expect("it is there");
    }
    assert!(device.destroy_completion_queue(small.number).expect("unused").overrun);
}

#[test]
fn events_of_what_was_destroyed_are_forgotten() {
    let fabric = Fabric::new();
    let (left, right) = pair(&fabric, Plan::default());
    left.device.set_link(false);
    left.device.set_link(false);
    left.device.set_link(true);
    let kinds = |raw: &Raw| -> Vec<_> {
        let events = raw.device.take_events().into_iter();
        events
            .map(|event| matches!(event, Event::Asynchronous { kind: AsynchronousKind::PortError, .. }))
            .collect()
    };
    assert_eq!((kinds(&left), kinds(&right)), (vec![true, false], vec![true, false]));
    let mut left = left;
    let source = register(&left.device, 64, ALL);
    let local = DataSegment { address: source.address(), length: 8, lkey: source.key };
    left.post_write(local, pmd_core::wire::RemoteSegment { address: 0, rkey: 0x1234 });
    right.device.destroy_queue_pair(right.number()).expect("it is there");
    assert_eq!(right.device.take_events(), []);
    assert!(right.device.destroy_queue_pair(right.number()).is_err());
}
