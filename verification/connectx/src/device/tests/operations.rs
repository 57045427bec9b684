//! Every operation of a reliable connection, through the driver's own queue pair.

use pmd_core::{
    memory::Access,
    provider::{
        Completion, CompletionKind, Operation, Payload, Provider, QueuePairHandle, ReceiveRequest, SendFlags,
        SendRequest,
    },
};

use super::bench::{ALL, Fabric, Node, Plan, pair, register};

fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 7 + place / 251) as u8).collect()
}

fn post(node: &mut Node, queue_pair: QueuePairHandle, id: u64, operation: Operation<'_>) {
    let request = SendRequest { id, operation, flags: SendFlags::SIGNALED };
    node.provider.post_send(queue_pair, &request).expect("room");
    node.provider.ring_send(queue_pair);
}

fn receive(node: &mut Node, queue_pair: QueuePairHandle, id: u64, scatter: &[pmd_core::memory::Sge]) {
    node.provider.post_receive(queue_pair, &ReceiveRequest { id, scatter }).expect("room");
    node.provider.ring_receive(queue_pair);
}

fn kinds(completions: &[Completion]) -> Vec<(u64, CompletionKind)> {
    completions.iter().map(|one| (one.id, one.result.expect("good"))).collect()
}

#[test]
fn a_write_gathers_and_lands_whole() {
    let fabric = Fabric::new();
    let [(mut left, here), (right, _)] = pair(&fabric, Plan::default());
    let source = register(&left.device, 4096, Access::empty());
    let target = register(&right.device, 4096, ALL);
    source.fill(0, &pattern(4096));
    let local = [source.sge(100, 1000), source.sge(0, 50), source.sge(2000, 500)];
    post(&mut left, here, 1, Operation::Write { remote: target.remote(7), local: Payload::Gather(&local) });
    assert_eq!(kinds(&left.poll()), [(1, CompletionKind::Write)]);
    let bytes = pattern(4096);
    let sent = [&bytes[100..1100], &bytes[..50], &bytes[2000..2500]].concat();
    assert_eq!(target.bytes()[7..7 + 1550], sent);
    assert_eq!((target.bytes()[6], target.bytes()[7 + 1550]), (0, 0), "nothing beside it");
    assert_eq!(left.device.lock().counters.violations, 0);
}

#[test]
fn a_read_scatters_and_a_long_one_takes_several_turns() {
    let fabric = Fabric::new();
    let [(mut left, here), (right, _)] = pair(&fabric, Plan::default());
    let length = (2 * crate::device::requester::PIECE + 12_345) as usize;
    let source = register(&right.device, length, ALL);
    let target = register(&left.device, length, ALL);
    source.fill(0, &pattern(length));
    let half = (length / 2) as u32;
    let local = [target.sge(0, half), target.sge(half.into(), length as u32 - half)];
    post(&mut left, here, 1, Operation::Read { remote: source.remote(0), local: &local });
    let completions = left.poll();
    assert_eq!(kinds(&completions), [(1, CompletionKind::Read)]);
    assert_eq!(completions[0].byte_length as usize, length);
    assert!(target.bytes() == pattern(length), "the bytes differ");
}

#[test]
fn messages_fill_receives_in_order() {
    let fabric = Fabric::new();
    let [(mut left, here), (mut right, there)] = pair(&fabric, Plan::default());
    let source = register(&left.device, 4096, Access::empty());
    let target = register(&right.device, 4096, ALL);
    source.fill(0, &pattern(4096));
    receive(&mut right, there, 20, &[target.sge(0, 10), target.sge(100, 90)]);
    receive(&mut right, there, 21, &[target.sge(200, 64)]);
    receive(&mut right, there, 22, &[]);
    let local = [source.sge(0, 60)];
    post(&mut left, here, 1, Operation::Send { local: Payload::Gather(&local), immediate: None });
    let inline = Operation::Send { local: Payload::Inline(b"inline bytes"), immediate: Some(0xabcd) };
    post(&mut left, here, 2, inline);
    let (remote, local) = (target.remote(1000), Payload::Gather(&local));
    post(&mut left, here, 3, Operation::WriteImmediate { remote, local, immediate: 9 });
    let sent = [(1, CompletionKind::Send), (2, CompletionKind::Send), (3, CompletionKind::Write)];
    assert_eq!(kinds(&left.poll()), sent);
    let arrived = right.poll();
    let expected = [
        (20, CompletionKind::Receive),
        (21, CompletionKind::Receive),
        (22, CompletionKind::ReceiveWriteImmediate),
    ];
    assert_eq!(kinds(&arrived), expected);
    let immediates: Vec<_> = arrived.iter().map(|one| (one.byte_length, one.immediate)).collect();
    assert_eq!(immediates, [(60, None), (12, Some(0xabcd)), (60, Some(9))]);
    let (bytes, sent) = (target.bytes(), pattern(4096));
    assert_eq!([&bytes[..10], &bytes[100..150]].concat(), sent[..60]);
    assert_eq!(&bytes[200..212], b"inline bytes");
    assert_eq!(bytes[1000..1060], sent[..60]);
}

#[test]
fn atomics_give_the_earlier_value() {
    let fabric = Fabric::new();
    let [(mut left, here), (right, _)] = pair(&fabric, Plan::default());
    let counter = register(&right.device, 64, ALL);
    let result = register(&left.device, 64, Access::LOCAL_WRITE);
    counter.fill(8, &5u64.to_ne_bytes());
    let remote = counter.remote(8);
    post(&mut left, here, 1, Operation::FetchAdd { remote, local: result.sge(0, 8), add: 37 });
    let swap =
        |expected| Operation::CompareSwap { remote, local: result.sge(8, 8), compare: expected, swap: 1 };
    post(&mut left, here, 2, swap(41));
    let refused = result.bytes();
    post(&mut left, here, 3, swap(42));
    let done =
        [(1, CompletionKind::FetchAdd), (2, CompletionKind::CompareSwap), (3, CompletionKind::CompareSwap)];
    let completions = left.poll();
    assert_eq!(kinds(&completions), done);
    assert!(completions.iter().all(|one| one.byte_length == 8));
    assert_eq!((&refused[..8], &refused[8..16]), (&5u64.to_ne_bytes()[..], &42u64.to_ne_bytes()[..]));
    assert_eq!(result.bytes()[8..16], 42u64.to_ne_bytes());
    assert_eq!(counter.bytes()[8..16], 1u64.to_ne_bytes());
}

#[test]
fn a_batch_takes_one_doorbell_and_long_runs_wrap_all_indexes() {
    let fabric = Fabric::new();
    let [(mut left, here), (right, _)] = pair(&fabric, Plan::default());
    let source = register(&left.device, 64, Access::empty());
    let target = register(&right.device, 64, ALL);
    let before = left.device.lock().counters;
    let local = [source.sge(0, 8)];
    for round in 0..9000u64 {
        for place in 0..8 {
            let flags = if place == 7 { SendFlags::SIGNALED } else { SendFlags::empty() };
            let operation = Operation::Write { remote: target.remote(0), local: Payload::Gather(&local) };
            let request = SendRequest { id: round * 8 + place, operation, flags };
            left.provider.post_send(here, &request).expect("room");
        }
        source.fill(0, &round.to_ne_bytes());
        left.provider.ring_send(here);
        assert_eq!(kinds(&left.poll()), [(round * 8 + 7, CompletionKind::Write)]);
        assert_eq!(target.bytes()[..8], round.to_ne_bytes());
    }
    let after = left.device.lock().counters;
    assert_eq!(after.doorbells - before.doorbells, 9000);
    assert_eq!(after.work_requests - before.work_requests, 72_000);
    assert_eq!(after.completions - before.completions, 9000);
    assert_eq!(after.violations, 0);
}

#[test]
fn inline_payload_goes_through_blue_flame() {
    let fabric = Fabric::new();
    let [(mut left, here), (right, _)] = pair(&fabric, Plan::default());
    let target = register(&right.device, 256, ALL);
    let payload = pattern(200);
    for id in 0..40 {
        let local = Payload::Inline(&payload);
        post(&mut left, here, id, Operation::Write { remote: target.remote(0), local });
        assert_eq!(kinds(&left.poll()), [(id, CompletionKind::Write)]);
    }
    assert_eq!(target.bytes()[..200], payload);
    let counters = left.device.lock().counters;
    assert_eq!((counters.doorbells, counters.blue_flames, counters.violations), (40, 40, 0));
}
