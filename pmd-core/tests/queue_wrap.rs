//! Queues that fill, wrap at the end of their memory, and outlive their 16-bit index.

mod queue_device;

use pmd_core::{
    memory::Sge,
    provider::{Operation, Payload, PostError, Provider, SendFlags, SendRequest},
};
use queue_device::setup::{Plan, Setup};

const SIGNALED: SendFlags = SendFlags::SIGNALED;

fn nops(setup: &mut Setup, count: u32) {
    for _ in 0..count {
        setup.send(0, Operation::Nop, SIGNALED);
    }
    assert_eq!(setup.ids().len(), count as usize);
}

/// Every WQE size at every offset of a queue of 16 slots.
#[test]
fn gather_lists_wrap_at_every_offset() {
    for offset in 0..16 {
        for pieces in [1usize, 2, 3, 5, 6, 7, 13, 14, 15, 29, 30] {
            let mut setup = Plan { send_slots: 16, ..Plan::default() }.build();
            nops(&mut setup, offset);
            let pattern: Vec<u8> = (0..pieces * 3).map(|byte| byte as u8 + 1).collect();
            setup.buffer.write(0, &pattern);
            let local: Vec<Sge> = (0..pieces).map(|piece| setup.sge(piece * 3, 3)).collect();
            let remote = setup.remote(4096);
            setup.send(7, Operation::Write { remote, local: Payload::Gather(&local) }, SIGNALED);
            assert_eq!(setup.ids(), [7]);
            assert_eq!(setup.buffer.read(4096, pattern.len()), pattern, "{pieces} at {offset}");
            assert_eq!(setup.provider.send_room(setup.handles[0]), 16);
        }
    }
}

#[test]
fn inline_payload_wraps_at_every_offset() {
    let bytes: Vec<u8> = (0..900).map(|byte| (byte % 251) as u8).collect();
    for offset in 0..16 {
        let mut setup = Plan { send_slots: 16, inline: 900, ..Plan::default() }.build();
        nops(&mut setup, offset);
        let remote = setup.remote(0);
        for length in [1, 12, 13, 28, 29, 60, 61, 400, 899, 900] {
            setup.buffer.write(0, &[0; 1000]);
            setup.send(7, Operation::Write { remote, local: Payload::Inline(&bytes[..length]) }, SIGNALED);
            assert_eq!(setup.ids(), [7]);
            assert_eq!(setup.buffer.read(0, length), bytes[..length], "{length} at {offset}");
            assert_eq!(setup.buffer.read(length, 1), [0]);
        }
    }
}

#[test]
fn indexes_wrap_after_sixteen_bits() {
    let mut setup = Plan { send_slots: 8, receive_slots: 4, cqe_count: 16, ..Plan::default() }.build();
    let remote = setup.remote(256);
    for round in 0..70_001u64 {
        setup.buffer.write(0, &round.to_ne_bytes());
        let local = [setup.sge(0, 8)];
        setup.receive(round | 1 << 40, &[]);
        let local = Payload::Gather(&local);
        setup.send(round, Operation::WriteImmediate { remote, local, immediate: round as u32 }, SIGNALED);
        let completions = setup.poll();
        let ids: Vec<u64> = completions.iter().map(|completion| completion.id).collect();
        assert_eq!(ids, [round | 1 << 40, round]);
        assert_eq!(completions[0].immediate, Some(round as u32));
        assert_eq!(setup.buffer.read(256, 8), round.to_ne_bytes());
    }
}

#[test]
fn a_full_queue_takes_nothing_and_loses_nothing() {
    let mut setup = Plan { send_slots: 8, ..Plan::default() }.build();
    setup.provider.hardware_mut().budget = Some(2);
    let handle = setup.handles[0];
    let list: Vec<Sge> = (0..9).map(|piece| setup.sge(piece * 8, 8)).collect();
    let (remote, mut completed, mut refusals) = (setup.remote(1 << 15), Vec::new(), 0);
    for id in 0..200 {
        // Three slots: the queue of eight takes two of them.
        let operation = Operation::Write { remote, local: Payload::Gather(&list) };
        let request = SendRequest { id, operation, flags: SIGNALED };
        while let Err(refused) = setup.provider.post_send(handle, &request) {
            let free = setup.provider.send_room(handle);
            assert!(free < 3);
            assert_eq!(refused, PostError::QueueFull { needed: 3, free, capacity: 8 });
            refusals += 1;
            setup.provider.ring_send(handle);
            completed.extend(setup.ids());
        }
    }
    setup.provider.ring_send(handle);
    completed.extend(setup.ids());
    assert_eq!(completed, (0..200).collect::<Vec<u64>>());
    assert!(refusals >= 90, "{refusals}");
    assert_eq!(setup.provider.send_room(handle), 8);
}

#[test]
fn unsignalled_requests_retire_with_the_next_signalled_one() {
    let mut setup = Plan { send_slots: 16, ..Plan::default() }.build();
    let handle = setup.handles[0];
    let list: Vec<Sge> = (0..5).map(|piece| setup.sge(piece * 8, 8)).collect();
    let remote = setup.remote(1 << 15);
    for round in 0..50u64 {
        for part in 0..7u64 {
            let pieces = if part % 3 == 2 { 5 } else { 1 };
            let operation = Operation::Write { remote, local: Payload::Gather(&list[..pieces]) };
            let flags = if part == 3 || part == 6 { SIGNALED } else { SendFlags::empty() };
            let request = SendRequest { id: round * 10 + part, operation, flags };
            setup.provider.post_send(handle, &request).expect("room");
        }
        assert_eq!(setup.provider.send_room(handle), 7);
        setup.provider.ring_send(handle);
        let mut one = [pmd_core::provider::Completion::EMPTY];
        assert_eq!(setup.provider.poll(&mut one), Ok(1));
        assert_eq!((one[0].id, setup.provider.send_room(handle)), (round * 10 + 3, 12));
        assert_eq!(setup.provider.poll(&mut one), Ok(1));
        assert_eq!((one[0].id, setup.provider.send_room(handle)), (round * 10 + 6, 16));
    }
}

#[test]
fn a_full_receive_queue_takes_nothing() {
    let mut setup = Plan { receive_slots: 4, ..Plan::default() }.build();
    for id in 0..4 {
        setup.receive(id, &[]);
    }
    let request = pmd_core::provider::ReceiveRequest { id: 4, scatter: &[] };
    let refused = setup.provider.post_receive(setup.handles[1], &request);
    assert_eq!(refused, Err(PostError::QueueFull { needed: 1, free: 0, capacity: 4 }));
    let list = [setup.sge(0, 1); 5];
    let request = pmd_core::provider::ReceiveRequest { id: 4, scatter: &list };
    let refused = setup.provider.post_receive(setup.handles[1], &request);
    assert_eq!(refused, Err(PostError::TooManySges { given: 5, limit: 4 }));
    for id in 0..4 {
        setup.send(100 + id, Operation::Send { local: Payload::EMPTY, immediate: None }, SendFlags::empty());
        assert_eq!(setup.ids(), [id]);
    }
}

#[test]
fn the_consumer_index_is_told_once_a_poll() {
    let mut setup = Plan { cqe_count: 8, ..Plan::default() }.build();
    for round in 0..40 {
        for id in 0..5 {
            setup.send(id, Operation::Nop, SIGNALED);
        }
        let mut some = [pmd_core::provider::Completion::EMPTY; 3];
        assert_eq!(setup.provider.poll(&mut some), Ok(3));
        assert_eq!(setup.provider.hardware().consumed(), round * 5 + 3);
        assert_eq!(setup.provider.poll(&mut some), Ok(2));
        assert_eq!(setup.provider.hardware().consumed(), round * 5 + 5);
        assert_eq!(setup.provider.poll(&mut some), Ok(0));
    }
}
