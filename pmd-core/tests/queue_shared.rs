//! Shared receive queues: posted in order, taken in order, given back in any order.

mod queue_device;

use pmd_core::{
    provider::{
        Operation, Payload, PostError, Provider, ReceiveRequest, SendFlags, SendRequest, SharedReceiveHandle,
    },
    queue::HandleError,
    wire::{Cqe, ReceivePath, Received, ResponderCompletion, Scatter},
};
use queue_device::{
    number,
    setup::{Plan, Setup},
};

const SILENT: SendFlags = SendFlags::empty();
const SEND: Operation<'static> = Operation::Send { local: Payload::EMPTY, immediate: None };

fn plan() -> Plan {
    Plan { queue_pairs: 4, shared: true, receive_slots: 8, ..Plan::default() }
}

/// The device completes the receive in `slot` for queue pair `index`.
fn complete(setup: &mut Setup, index: usize, slot: u16) {
    let completion = ResponderCompletion {
        received: Received::Send,
        queue_pair: number(index).0,
        path: ReceivePath::default(),
        shared_receive_queue: 0,
        byte_count: 0,
        wqe_counter: slot,
        solicited: false,
        timestamp: 0,
        scatter: Scatter::Memory,
    };
    setup.provider.hardware_mut().complete(Cqe::Responder(completion), &[0; 64]);
}

#[test]
fn receives_are_taken_in_order_by_any_queue_pair() {
    let mut setup = plan().build();
    for round in 0..20u64 {
        for id in 0..7 {
            let target = [setup.sge(id as usize * 8, 8)];
            setup.receive(round * 10 + id, &target);
        }
        for id in 0..7u64 {
            let handle = setup.handles[(id % 4) as usize];
            let payload = [id as u8 + round as u8; 8];
            let operation = Operation::Send { local: Payload::Inline(&payload), immediate: None };
            setup.provider.post_send(handle, &SendRequest { id, operation, flags: SILENT }).expect("room");
            setup.provider.ring_send(handle);
        }
        let completions = setup.poll();
        for (id, completion) in completions.iter().enumerate() {
            assert_eq!(completion.id, round * 10 + id as u64);
            // The receiver is the sender's partner.
            assert_eq!(completion.queue_pair, number((id % 4) ^ 1));
            assert_eq!(setup.buffer.read(id * 8, 8), [id as u8 + round as u8; 8]);
        }
        assert_eq!(completions.len(), 7);
        setup.provider.hardware_mut().queue_pairs.iter().for_each(|pair| assert!(!pair.failed));
        let flush = SendRequest { id: 99, operation: Operation::Nop, flags: SendFlags::SIGNALED };
        for handle in setup.handles.clone() {
            setup.provider.post_send(handle, &flush).expect("room");
            setup.provider.ring_send(handle);
        }
        assert_eq!(setup.ids(), [99; 4]);
    }
}

#[test]
fn slots_come_back_in_any_order_and_one_stays_free() {
    let mut setup = plan().build();
    (0..7).for_each(|id| setup.receive(id, &[]));
    let full =
        setup.provider.post_shared_receive(SharedReceiveHandle(0), &ReceiveRequest { id: 7, scatter: &[] });
    assert_eq!(full, Err(PostError::QueueFull { needed: 1, free: 0, capacity: 7 }));
    // Large messages finish late: slots 4, 1 and 6 first.
    for slot in [4, 1, 6] {
        complete(&mut setup, 1, slot);
    }
    assert_eq!(setup.ids(), [4, 1, 6]);
    // The free list is 7, 4, 1, with 6 at its end.
    (10..13).for_each(|id| setup.receive(id, &[]));
    for slot in [7, 4, 1, 0, 2, 3, 5] {
        complete(&mut setup, 3, slot);
    }
    assert_eq!(setup.ids(), [10, 11, 12, 0, 2, 3, 5]);
}

#[test]
fn a_slot_that_is_not_posted_completes_nothing() {
    use pmd_core::provider::{Completion, CompletionQueueError};
    for slot in [0, 3, 7, 8, 0xffff] {
        let mut setup = plan().build();
        (0..2).for_each(|id| setup.receive(id, &[]));
        complete(&mut setup, 1, 0);
        assert_eq!(setup.ids(), [0]);
        complete(&mut setup, 1, slot);
        let refused = setup.provider.poll(&mut [Completion::EMPTY; 2]);
        let queue_pair = number(1).0;
        assert_eq!(refused, Err(CompletionQueueError::Foreign { queue_pair, index: slot }));
    }
}

#[test]
fn the_queue_outlives_its_sixteen_bit_counter() {
    let mut setup = plan().build();
    for id in 0..70_001 {
        setup.receive(id, &[]);
        let flags = if id % 16 == 0 { SendFlags::SIGNALED } else { SILENT };
        setup.send(1 << 40, SEND, flags);
        let ids = setup.ids();
        assert_eq!(ids[0], id);
        assert_eq!(ids.len(), 1 + usize::from(id % 16 == 0));
    }
}

#[test]
fn it_is_used_only_through_its_own_handle() {
    let mut setup = plan().build();
    let request = ReceiveRequest { id: 1, scatter: &[] };
    assert_eq!(setup.provider.post_receive(setup.handles[0], &request), Err(PostError::UsesSharedQueue));
    let unknown = SharedReceiveHandle(5);
    let refused = setup.provider.post_shared_receive(unknown, &request);
    assert_eq!(refused, Err(PostError::UnknownSharedQueue { handle: 5 }));
    let shared = setup.shared.expect("a shared queue");
    let in_use = HandleError::SharedQueueInUse { handle: 0, queue_pairs: 4 };
    assert_eq!(setup.provider.detach_shared_receive(shared), Err(in_use));
    for handle in setup.handles.clone() {
        setup.provider.detach(handle).expect("attached");
    }
    assert_eq!(setup.provider.detach_shared_receive(shared), Ok(()));
    let gone = HandleError::UnknownSharedQueue { handle: 0 };
    assert_eq!(setup.provider.detach_shared_receive(shared), Err(gone));
}
