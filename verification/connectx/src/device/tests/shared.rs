//! Shared receive queues: order, limit, and what becomes of them when a queue pair fails.
#![allow(unsafe_code)] // writes queue memory

use std::ptr::NonNull;

use pmd_core::wire::{Cqe, DataSegment, NextSegment, Unit};

use super::{
    bench::{ALL, Fabric, Plan, Region, completion_queue, path, register, shared_receives},
    raw::{self, Raw},
};
use crate::{
    device::{Event, ModifyQueuePair},
    lint::{Rule, seen},
    state::{AsynchronousKind, state},
};

/// Posts receives of 32 bytes each into slots 0 to `count` of a shared queue.
fn fill((buffer, record): (NonNull<u8>, NonNull<u32>), count: u16, region: &Region) {
    for slot in 0..count {
        let segments = [segment(region, u64::from(slot) * 32, 32), DataSegment::TERMINATOR];
        for (place, segment) in segments.into_iter().enumerate() {
            let unit = usize::from(slot) * 4 + 1 + place;
            // SAFETY: a unit of the queue.
            unsafe { buffer.cast::<Unit>().add(unit).write(raw::data_unit(segment)) };
        }
    }
    // SAFETY: the queue's record.
    unsafe { record.write(u32::from(count).to_be()) };
}

fn segment(region: &Region, offset: u64, length: u32) -> DataSegment {
    DataSegment { address: region.address() + offset, length, lkey: region.key }
}

#[test]
fn two_queue_pairs_take_from_one_queue_and_its_limit_is_told_once() {
    let fabric = Fabric::new();
    let first = Raw::new(&fabric, Plan::default());
    let device = first.device.clone();
    let (shared, buffer, record) = shared_receives(&device);
    let plan = Plan { shared, ..Plan::default() };
    let mut receivers = [0, 1].map(|_| Raw::on(device.clone(), first.completions, plan));
    let mut senders = [0, 1].map(|_| Raw::new(&fabric, Plan::default()));
    for (sender, receiver) in senders.iter().zip(&receivers) {
        sender.connect(path(receiver.number()));
        receiver.connect(path(sender.number()));
    }
    let (target, source) = (register(&device, 512, ALL), register(&senders[0].device, 64, ALL));
    let other = register(&senders[1].device, 64, ALL);
    fill((buffer, record), 5, &target);
    device.set_shared_receive_limit(shared, 4).expect("within the queue");
    assert_eq!(device.take_events(), []);
    for (turn, letter) in b"abc".iter().enumerate() {
        let region = [source, other][turn % 2];
        region.fill(0, &[*letter; 32]);
        senders[turn % 2].post_send(segment(&region, 0, 32));
    }
    let told = |cqe| match cqe {
        Cqe::Responder(completion) => (completion.queue_pair, completion.wqe_counter),
        other => panic!("{other:?}"),
    };
    let slots: Vec<_> = receivers[0].poll().into_iter().map(told).collect();
    let [one, two] = [receivers[0].number(), receivers[1].number()];
    assert_eq!(slots, [(one, 0), (two, 1), (one, 2)]);
    assert_eq!(target.bytes()[..96], [[b'a'; 32], [b'b'; 32], [b'c'; 32]].concat());
    let kind = AsynchronousKind::SharedReceiveLimit;
    assert_eq!(device.take_events(), [Event::Asynchronous { kind, number: shared, user_handle: 0x5_0000 }]);
    let error =
        ModifyQueuePair { mask: crate::device::Attributes::STATE, state: state::ERR, ..Default::default() };
    device.modify_queue_pair(one, &error).expect("to ERR");
    assert_eq!(receivers[0].poll(), [], "receives of a shared queue are not flushed");
    let last = device.take_events();
    let kind = AsynchronousKind::LastReceiveReached;
    assert!(
        matches!(last[..], [Event::Asynchronous { kind: told, number, .. }] if told == kind && number == one)
    );
    assert_eq!(device.lock().counters.violations, 0);
}

#[test]
fn a_link_to_nowhere_is_the_receivers_mistake() {
    let fabric = Fabric::new();
    let device = fabric.open();
    let (shared, buffer, record) = shared_receives(&device);
    let completions = completion_queue(&device, 16, 64);
    let receiver = Raw::on(device.clone(), completions, Plan { shared, ..Plan::default() });
    let mut sender = Raw::new(&fabric, Plan::default());
    sender.connect(path(receiver.number()));
    receiver.connect(path(sender.number()));
    let (target, source) = (register(&device, 512, ALL), register(&sender.device, 64, ALL));
    fill((buffer, record), 2, &target);
    // SAFETY: the first unit of a slot.
    NextSegment { next_index: 16 }.emit(unsafe { buffer.cast().as_mut() });
    sender.post_send(segment(&source, 0, 8));
    let seen = seen::take();
    assert!(
        seen.iter().all(|one| one.rule == Rule::WrongLink { slot: 0, next: 16, slots: 16 } && !one.is_own)
    );
    assert_eq!((seen.len(), sender.poll_syndromes()), (1, vec![(0, 0)]));
}
