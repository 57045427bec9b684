//! Reset, detach and reuse: what an earlier life left behind is never attributed to a later one.

#![allow(unsafe_code)] // Attaches queues by hand.

mod queue_device;

use pmd_core::{
    provider::{
        Completion, CompletionKind, Operation, Payload, PostError, Provider, QueuePairNumber, SendFlags,
        SendRequest, SharedReceiveHandle,
    },
    queue::{AttachError, HandleError, QueueError, QueuePairState, ReceiveSource},
    wire::Syndrome,
};
use queue_device::{
    Device, number,
    setup::{Plan, Setup},
};

const SIGNALED: SendFlags = SendFlags::SIGNALED;

/// Resets queue pair `index`, device first.
fn reset(setup: &mut Setup, index: usize) -> Vec<u64> {
    setup.provider.hardware_mut().reset(index);
    let handle = setup.handles[index];
    let discarded = setup.provider.reset(handle).expect("attached");
    assert_eq!(setup.provider.state(handle), QueuePairState::Reset);
    setup.connect(handle);
    discarded
}

fn nop(setup: &mut Setup, index: usize, id: u64) {
    let request = SendRequest { id, operation: Operation::Nop, flags: SIGNALED };
    setup.provider.post_send(setup.handles[index], &request).expect("room");
    setup.provider.ring_send(setup.handles[index]);
}

#[test]
fn stale_entries_go_and_others_keep_their_order() {
    for cqe_size in [64, 128] {
        // Entries of both queue pairs in every pattern, at every place of the completion queue.
        for pattern in 0u32..64 {
            for start in 0..8 {
                let mut setup = Plan { cqe_count: 8, cqe_size, ..Plan::default() }.build();
                (0..start).for_each(|id| nop(&mut setup, 1, id));
                assert_eq!(setup.ids().len(), start as usize);
                let of_first = |position: u32| pattern >> position & 1 == 0;
                (0..6).for_each(|position| {
                    nop(&mut setup, usize::from(!of_first(position)), u64::from(position))
                });
                assert!(reset(&mut setup, 0).is_empty());
                nop(&mut setup, 0, 100);
                let kept = (0..6).filter(|position| !of_first(*position)).map(u64::from);
                assert_eq!(setup.ids(), kept.chain([100]).collect::<Vec<u64>>());
                assert_eq!(setup.provider.hardware().consumed(), start as u32 + 7);
            }
        }
    }
}

#[test]
fn a_full_completion_queue_is_cleaned() {
    let mut setup = Plan { cqe_count: 8, ..Plan::default() }.build();
    (0..8).for_each(|id| nop(&mut setup, 0, id));
    reset(&mut setup, 0);
    (0..8).for_each(|id| nop(&mut setup, 0, 20 + id));
    assert_eq!(setup.ids(), (20..28).collect::<Vec<u64>>());
}

#[test]
fn a_failed_queue_pair_works_again_after_reset() {
    let mut setup = Plan::default().build();
    for round in 0..5u64 {
        setup.provider.hardware_mut().inject = Some(Syndrome::RetryExceeded);
        nop(&mut setup, 0, 1);
        nop(&mut setup, 0, 2);
        assert_eq!(setup.poll().len(), 2);
        assert_eq!(setup.provider.state(setup.handles[0]), QueuePairState::Error);
        reset(&mut setup, 0);
        let record = &setup.provider.hardware().queue_pairs[0].record;
        assert_eq!((record.word(0), record.word(1)), (0, 0));
        setup.buffer.write(0, &round.to_ne_bytes());
        let (local, remote) = ([setup.sge(0, 8)], setup.remote(512));
        setup.send(3, Operation::Write { remote, local: Payload::Gather(&local) }, SIGNALED);
        assert_eq!(setup.ids(), [3]);
        assert_eq!(setup.buffer.read(512, 8), round.to_ne_bytes());
    }
}

#[test]
fn reset_forgets_outstanding_requests_and_frees_the_queues() {
    let mut setup = Plan { send_slots: 8, receive_slots: 4, ..Plan::default() }.build();
    setup.provider.hardware_mut().budget = Some(0);
    (0..8).for_each(|id| nop(&mut setup, 1, id));
    (0..4).for_each(|id| setup.receive(id, &[]));
    assert_eq!(setup.provider.send_room(setup.handles[1]), 0);
    reset(&mut setup, 1);
    assert_eq!(setup.provider.send_room(setup.handles[1]), 8);
    assert!(setup.poll().is_empty());
    setup.provider.hardware_mut().budget = None;
    let target = [setup.sge(0, 8)];
    setup.receive(70, &target);
    setup.send(1, Operation::Send { local: Payload::Inline(b"again"), immediate: None }, SIGNALED);
    assert_eq!(setup.ids(), [70, 1]);
    assert_eq!(setup.buffer.read(0, 5), b"again");
}

#[test]
fn a_later_queue_pair_of_the_same_number_sees_nothing_of_the_earlier_one() {
    let plan = Plan::default();
    let mut setup = plan.build();
    nop(&mut setup, 0, 1);
    let old = setup.handles[0];
    setup.provider.detach(old).expect("attached");
    assert_eq!(setup.provider.find(number(0)), None);
    let request = SendRequest { id: 2, operation: Operation::Nop, flags: SIGNALED };
    assert_eq!(setup.provider.post_send(old, &request), Err(PostError::UnknownQueuePair { handle: old.0 }));
    assert_eq!(setup.provider.detach(old), Err(HandleError::UnknownQueuePair { handle: old.0 }));
    setup.provider.hardware_mut().reset(0);
    let new = setup.attach(0, plan.limits());
    assert_eq!((new, setup.provider.number(new)), (old, Some(number(0))));
    setup.connect(new);
    nop(&mut setup, 0, 3);
    assert_eq!(setup.ids(), [3]);
}

#[test]
fn shared_receives_that_stale_entries_consumed_come_back_by_id() {
    let mut setup = Plan { shared: true, receive_slots: 8, ..Plan::default() }.build();
    (0..7).for_each(|id| setup.receive(id, &[]));
    let send = Operation::Send { local: Payload::EMPTY, immediate: None };
    setup.send(10, send, SendFlags::empty());
    setup.send(11, send, SendFlags::empty());
    // Two receives of queue pair 1 are consumed and not polled.
    assert_eq!(reset(&mut setup, 1), [0, 1]);
    assert!(setup.poll().is_empty());
    setup.receive(20, &[]);
    setup.receive(21, &[]);
    // Queue pair 0's device side is where it was; queue pair 1 takes the next receives in order.
    for id in [2, 3, 4, 5, 6, 20, 21] {
        setup.send(12, send, SendFlags::empty());
        assert_eq!(setup.ids(), [id]);
    }
}

#[test]
fn wrong_attachments_are_refused() {
    let plan = Plan::default();
    let mut setup = plan.build();
    let send = setup.provider.hardware().send_memory(0);
    let mut attach = |number, send, receive| {
        // SAFETY: refused, or never rung.
        unsafe { setup.provider.attach(QueuePairNumber(number), send, receive, plan.limits()) }
    };
    let none = ReceiveSource::None;
    let used = number(0).0;
    assert_eq!(attach(used, send, none), Err(AttachError::NumberInUse { number: used }));
    let large = AttachError::NumberTooLarge { number: 1 << 24 };
    assert_eq!(attach(1 << 24, send, none), Err(large));
    let shared = ReceiveSource::Shared(SharedReceiveHandle(3));
    assert_eq!(attach(1, send, shared), Err(AttachError::UnknownSharedQueue { handle: 3 }));
    let mut odd = send;
    odd.wqe_count = 48;
    let count = QueueError::SlotCount { given: 48, limit: 1 << 15 };
    assert_eq!(attach(1, odd, none), Err(AttachError::Queue(count)));
    let mut shifted = send;
    // SAFETY: within the queue.
    shifted.buffer = unsafe { send.buffer.add(16) };
    let refused = attach(1, shifted, none);
    assert!(matches!(refused, Err(AttachError::Queue(QueueError::Misaligned { alignment: 64, .. }))));

    let device = Device::new(8, 64);
    let mut memory = device.completion_memory();
    memory.cqe_size = 32;
    // SAFETY: refused.
    let refused = unsafe { pmd_core::queue::CompletionQueue::new(memory) };
    assert_eq!(refused.err(), Some(QueueError::EntrySize { given: 32 }));
}

#[test]
fn many_queue_pairs_come_and_go() {
    let mut setup = Plan { queue_pairs: 40, send_slots: 4, receive_slots: 2, ..Plan::default() }.build();
    for gone in (0..40).step_by(3) {
        setup.provider.detach(setup.handles[gone]).expect("attached");
    }
    let left: Vec<usize> = (0..40).filter(|index| index % 3 != 0).collect();
    left.iter().for_each(|index| nop(&mut setup, *index, *index as u64));
    let completions = setup.poll();
    let expected = left.iter().map(|index| Completion {
        id: *index as u64,
        queue_pair: number(*index),
        byte_length: 0,
        immediate: None,
        result: Ok(CompletionKind::Nop),
    });
    assert_eq!(completions, expected.collect::<Vec<_>>());
}
