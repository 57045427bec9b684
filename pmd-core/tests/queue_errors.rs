//! What fails, and what stays usable: error entries, flushes, broken completion queues.

mod queue_device;

use pmd_core::{
    memory::{RemoteAddress, RemoteKey},
    provider::{
        Completion, CompletionError, CompletionKind, CompletionQueueError, Operation, Payload, PostError,
        Provider, ReceiveRequest, SendFlags, SendRequest,
    },
    queue::QueuePairState,
    wire::{
        Cqe, ErrorCompletion, Opcode, Received, RequesterCompletion, ResponderCompletion, Scatter, Side,
        Syndrome,
    },
};
use queue_device::{
    number,
    setup::{Plan, Setup},
};

const SIGNALED: SendFlags = SendFlags::SIGNALED;

fn failure(completion: &Completion) -> CompletionError {
    completion.result.expect_err("a failed request")
}

fn post(setup: &mut Setup, id: u64, remote: RemoteAddress, flags: SendFlags) {
    let local = [setup.sge(0, 8)];
    let operation = Operation::Write { remote, local: Payload::Gather(&local) };
    setup.provider.post_send(setup.handles[0], &SendRequest { id, operation, flags }).expect("room");
}

#[test]
fn a_failed_request_flushes_what_follows_and_retires_what_went_before() {
    let mut setup = Plan::default().build();
    let (handle, good) = (setup.handles[0], setup.remote(4096));
    let bad = RemoteAddress { key: RemoteKey(0xbad), ..good };
    // Two that succeed silently, one that fails though unsignalled, three that are flushed.
    for (id, remote, flags) in [
        (1, good, SendFlags::empty()),
        (2, good, SendFlags::empty()),
        (3, bad, SendFlags::empty()),
        (4, good, SendFlags::empty()),
        (5, good, SIGNALED),
        (6, good, SendFlags::empty()),
    ] {
        post(&mut setup, id, remote, flags);
    }
    setup.provider.ring_send(handle);
    let completions = setup.poll();
    let ids: Vec<u64> = completions.iter().map(|completion| completion.id).collect();
    assert_eq!(ids, [3, 4, 5, 6]);
    let first = CompletionError { syndrome: Syndrome::RemoteAccess, vendor: 0x77, is_receive: false };
    assert_eq!(failure(&completions[0]), first);
    for flushed in &completions[1..] {
        assert_eq!(failure(flushed).syndrome, Syndrome::Flushed);
        assert_eq!((flushed.queue_pair, flushed.byte_length, flushed.immediate), (number(0), 0, None));
    }
    assert_eq!(setup.provider.state(handle), QueuePairState::Error);
    assert_eq!(setup.provider.state(setup.handles[1]), QueuePairState::ReadyToSend);
    assert_eq!(setup.provider.send_room(handle), 64);
    let request = SendRequest { id: 7, operation: Operation::Nop, flags: SIGNALED };
    let refused = PostError::WrongState { state: QueuePairState::Error };
    assert_eq!(setup.provider.post_send(handle, &request), Err(refused));
}

#[test]
fn what_was_posted_but_not_rung_is_flushed_once_rung() {
    let mut setup = Plan::default().build();
    let (handle, good) = (setup.handles[0], setup.remote(4096));
    let bad = RemoteAddress { key: RemoteKey(0xbad), ..good };
    post(&mut setup, 1, bad, SIGNALED);
    setup.provider.ring_send(handle);
    post(&mut setup, 2, good, SIGNALED);
    assert_eq!(failure(&setup.poll()[0]).syndrome, Syndrome::RemoteAccess);
    assert!(setup.poll().is_empty());
    setup.provider.ring_send(handle);
    let flushed = setup.poll();
    assert_eq!((flushed[0].id, failure(&flushed[0]).syndrome), (2, Syndrome::Flushed));
    assert_eq!(setup.provider.send_room(handle), 64);
}

#[test]
fn receives_fail_and_flush_too() {
    let mut setup = Plan::default().build();
    let short = [setup.sge(0, 4)];
    setup.receive(70, &short);
    setup.receive(71, &short);
    setup.send(1, Operation::Send { local: Payload::Inline(b"too long"), immediate: None }, SIGNALED);
    let completions = setup.poll();
    let ids: Vec<u64> = completions.iter().map(|completion| completion.id).collect();
    assert_eq!(ids, [70, 1, 71]);
    let too_long = CompletionError { syndrome: Syndrome::LocalLength, vendor: 0x88, is_receive: true };
    assert_eq!(failure(&completions[0]), too_long);
    assert_eq!(failure(&completions[1]).syndrome, Syndrome::RemoteInvalidRequest);
    let flushed = CompletionError { syndrome: Syndrome::Flushed, vendor: 0x88, is_receive: true };
    assert_eq!(failure(&completions[2]), flushed);
    for handle in [setup.handles[0], setup.handles[1]] {
        assert_eq!(setup.provider.state(handle), QueuePairState::Error);
    }
}

#[test]
fn every_syndrome_reaches_the_caller() {
    for syndrome in Syndrome::ALL {
        let mut setup = Plan::default().build();
        setup.provider.hardware_mut().inject = Some(syndrome);
        setup.send(1, Operation::Nop, SIGNALED);
        let completions = setup.poll();
        assert_eq!(failure(&completions[0]), CompletionError { syndrome, vendor: 0x77, is_receive: false });
        assert!(failure(&completions[0]).to_string().contains(syndrome.advice()));
    }
}

#[test]
fn other_queue_pairs_go_on_after_an_error() {
    let mut setup = Plan { queue_pairs: 4, ..Plan::default() }.build();
    setup.provider.hardware_mut().inject = Some(Syndrome::RetryExceeded);
    setup.send(1, Operation::Nop, SIGNALED);
    let request = SendRequest { id: 2, operation: Operation::Nop, flags: SIGNALED };
    setup.provider.post_send(setup.handles[2], &request).expect("room");
    setup.provider.ring_send(setup.handles[2]);
    let completions = setup.poll();
    assert_eq!(failure(&completions[0]).syndrome, Syndrome::RetryExceeded);
    let good = completions[1];
    assert_eq!((good.id, good.queue_pair, good.result), (2, number(2), Ok(CompletionKind::Nop)));
}

#[test]
fn an_overrun_breaks_the_queue_for_good() {
    let mut setup = Plan { cqe_count: 4, ..Plan::default() }.build();
    for id in 0..5 {
        setup.send(id, Operation::Nop, SIGNALED);
    }
    let mut some = [Completion::EMPTY; 8];
    let overrun = CompletionQueueError::Overrun { capacity: 4 };
    assert_eq!(setup.provider.poll(&mut some), Err(overrun));
    assert_eq!(setup.provider.poll(&mut some), Err(overrun));
    assert!(setup.handles.iter().all(|handle| setup.provider.state(*handle) == QueuePairState::Error));
}

fn good(queue_pair: u32, wqe_counter: u16, scatter: Scatter) -> Cqe {
    let operation = Opcode::RdmaWrite;
    let timestamp = 0;
    Cqe::Requester(RequesterCompletion {
        queue_pair,
        operation,
        wqe_counter,
        byte_count: 0,
        timestamp,
        scatter,
    })
}

#[test]
fn entries_that_complete_nothing_are_refused() {
    let mine = number(0).0;
    let error = |side, queue_pair, wqe_counter| {
        let (operation, syndrome, vendor, shared_receive_queue) = (0, Syndrome::Flushed, 0, 0);
        Cqe::Error(ErrorCompletion {
            side,
            queue_pair,
            operation,
            wqe_counter,
            syndrome,
            vendor,
            shared_receive_queue,
        })
    };
    // Outstanding: one WQE of two slots at index 1, rung; one at index 3, not rung.
    for (entry, queue_pair, index) in [
        (good(0x123, 1, Scatter::Memory), 0x123, 1),
        (good(mine, 0, Scatter::Memory), mine, 0),
        (good(mine, 2, Scatter::Memory), mine, 2),
        (good(mine, 3, Scatter::Memory), mine, 3),
        (good(mine, 1 + 64, Scatter::Memory), mine, 65),
        (error(Side::Requester, mine, 0xffff), mine, 0xffff),
        (error(Side::Responder, mine, 0), mine, 0),
        (error(Side::Responder, 0x77, 0), 0x77, 0),
    ] {
        let mut setup = Plan::default().build();
        setup.send(1, Operation::Nop, SIGNALED);
        assert_eq!(setup.ids(), [1]);
        setup.provider.hardware_mut().budget = Some(0);
        let remote = setup.remote(0);
        setup.send(2, Operation::Write { remote, local: Payload::Inline(&[1; 40]) }, SIGNALED);
        let request = SendRequest { id: 3, operation: Operation::Nop, flags: SIGNALED };
        setup.provider.post_send(setup.handles[0], &request).expect("room");
        let unrung = ReceiveRequest { id: 4, scatter: &[] };
        setup.provider.post_receive(setup.handles[0], &unrung).expect("room");
        setup.provider.hardware_mut().complete(entry, &[0; 64]);
        let refused = setup.provider.poll(&mut [Completion::EMPTY; 4]);
        assert_eq!(refused, Err(CompletionQueueError::Foreign { queue_pair, index }));
    }
}

#[test]
fn a_slot_inside_a_request_completes_nothing_though_it_once_began_one() {
    let mut setup = Plan::default().build();
    setup.provider.hardware_mut().budget = Some(0);
    setup.send(1, Operation::Nop, SIGNALED);
    setup.send(2, Operation::Nop, SIGNALED);
    setup.provider.hardware_mut().reset(0);
    setup.provider.reset(setup.handles[0]).expect("attached");
    setup.connect(setup.handles[0]);
    let remote = setup.remote(0);
    setup.send(3, Operation::Write { remote, local: Payload::Inline(&[1; 40]) }, SIGNALED);
    let queue_pair = number(0).0;
    setup.provider.hardware_mut().complete(good(queue_pair, 1, Scatter::Memory), &[0; 64]);
    let refused = setup.provider.poll(&mut [Completion::EMPTY; 4]);
    assert_eq!(refused, Err(CompletionQueueError::Foreign { queue_pair, index: 1 }));
}

#[test]
fn completions_before_a_bad_entry_are_delivered_first() {
    let mut setup = Plan::default().build();
    setup.send(1, Operation::Nop, SIGNALED);
    setup.send(2, Operation::Nop, SIGNALED);
    setup.provider.hardware_mut().complete(good(0x123, 0, Scatter::Memory), &[0; 64]);
    let mut some = [Completion::EMPTY; 4];
    assert_eq!(setup.provider.poll(&mut some), Ok(2));
    assert_eq!((some[0].id, some[1].id), (1, 2));
    let refused = setup.provider.poll(&mut some);
    assert_eq!(refused, Err(CompletionQueueError::Foreign { queue_pair: 0x123, index: 0 }));
    assert_eq!(setup.provider.state(setup.handles[0]), QueuePairState::Error);
}

#[test]
fn payload_in_an_entry_that_nobody_asked_for_is_refused() {
    let mut setup = Plan::default().build();
    setup.provider.hardware_mut().budget = Some(0);
    let (remote, local) = (setup.remote(0), [setup.sge(64, 8)]);
    setup.send(1, Operation::Read { remote, local: &local }, SIGNALED);
    let entry = good(number(0).0, 0, Scatter::InEntry([9; 32]));
    setup.provider.hardware_mut().complete(entry, &[0; 64]);
    let refused = setup.provider.poll(&mut [Completion::EMPTY; 4]);
    assert_eq!(refused, Err(CompletionQueueError::Malformed { opcode: 0 }));
    assert_eq!(setup.buffer.read(64, 8), [0; 8]);
}

/// A peer with other software may send so: it must not cost this side its completion queue.
#[test]
fn a_send_that_invalidates_completes_a_receive() {
    for shared in [false, true] {
        let mut setup = Plan { shared, ..Plan::default() }.build();
        setup.provider.hardware_mut().budget = Some(0);
        setup.receive(41, &[]);
        let entry = Cqe::Responder(ResponderCompletion {
            received: Received::SendInvalidate(0x1234),
            queue_pair: number(1).0,
            byte_count: 0,
            wqe_counter: 0,
            ..ResponderCompletion::default()
        });
        setup.provider.hardware_mut().complete(entry, &[0; 64]);
        let expected = Completion {
            id: 41,
            queue_pair: number(1),
            byte_length: 0,
            immediate: None,
            result: Ok(CompletionKind::Receive),
        };
        assert_eq!(setup.poll(), [expected]);
    }
}
