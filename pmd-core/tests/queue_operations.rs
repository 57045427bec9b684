//! Every operation, driven through [`QueueProvider`] against the device in `queue_device`.

mod queue_device;

use pmd_core::provider::{
    Completion, CompletionKind, Operation, Payload, PostError, Provider, SendFlags, SendRequest,
};
use queue_device::{Rang, number, setup::Plan};

const SIGNALED: SendFlags = SendFlags::SIGNALED;

fn done(id: u64, queue_pair: usize, kind: CompletionKind) -> Completion {
    let queue_pair = number(queue_pair);
    Completion { id, queue_pair, byte_length: 0, immediate: None, result: Ok(kind) }
}

#[test]
fn write_moves_bytes_and_completes_at_the_writer_only() {
    let mut setup = Plan::default().build();
    setup.buffer.write(0, b"forty-two");
    let local = [setup.sge(0, 9)];
    let remote = setup.remote(4096);
    setup.send(1, Operation::Write { remote, local: Payload::Gather(&local) }, SIGNALED);
    assert_eq!(setup.poll(), [done(1, 0, CompletionKind::Write)]);
    assert_eq!(setup.buffer.read(4095, 11), b"\0forty-two\0");
}

#[test]
fn read_brings_bytes_and_their_number() {
    let mut setup = Plan::default().build();
    setup.buffer.write(8192, b"remote bytes");
    let local = [setup.sge(0, 7), setup.sge(100, 5)];
    let remote = setup.remote(8192);
    setup.send(2, Operation::Read { remote, local: &local }, SIGNALED);
    assert_eq!(setup.poll(), [Completion { byte_length: 12, ..done(2, 0, CompletionKind::Read) }]);
    assert_eq!(setup.buffer.read(0, 7), b"remote ");
    assert_eq!(setup.buffer.read(100, 5), b"bytes");

    let one = [setup.sge(200, 6)];
    setup.send(3, Operation::Read { remote, local: &one }, SIGNALED);
    assert_eq!(setup.poll(), [Completion { byte_length: 6, ..done(3, 0, CompletionKind::Read) }]);
    assert_eq!(setup.buffer.read(200, 7), b"remote\0");
}

#[test]
fn write_with_immediate_consumes_a_receive() {
    let mut setup = Plan::default().build();
    setup.receive(70, &[]);
    setup.buffer.write(0, b"block");
    let local = [setup.sge(0, 5)];
    let remote = setup.remote(512);
    let local = Payload::Gather(&local);
    setup.send(3, Operation::WriteImmediate { remote, local, immediate: 0x0102_0304 }, SIGNALED);
    let received = Completion {
        byte_length: 5,
        immediate: Some(0x0102_0304),
        ..done(70, 1, CompletionKind::ReceiveWriteImmediate)
    };
    assert_eq!(setup.poll(), [received, done(3, 0, CompletionKind::Write)]);
    assert_eq!(setup.buffer.read(512, 5), b"block");
}

#[test]
fn send_fills_receives_in_order() {
    let mut setup = Plan::default().build();
    let scatter = [[setup.sge(1000, 4), setup.sge(1100, 60)], [setup.sge(2000, 64), setup.sge(2100, 0)]];
    setup.receive(71, &scatter[0]);
    setup.receive(72, &scatter[1]);
    setup.send(4, Operation::Send { local: Payload::Inline(b"first one"), immediate: None }, SIGNALED);
    setup.send(5, Operation::Send { local: Payload::Inline(b"second"), immediate: Some(9) }, SIGNALED);
    let completions = setup.poll();
    let first = Completion { byte_length: 9, ..done(71, 1, CompletionKind::Receive) };
    let second = Completion { byte_length: 6, immediate: Some(9), ..done(72, 1, CompletionKind::Receive) };
    assert_eq!(
        completions,
        [first, done(4, 0, CompletionKind::Send), second, done(5, 0, CompletionKind::Send)]
    );
    assert_eq!(setup.buffer.read(1000, 4), b"firs");
    assert_eq!(setup.buffer.read(1100, 5), b"t one");
    assert_eq!(setup.buffer.read(2000, 6), b"second");
}

#[test]
fn atomics_return_the_old_value() {
    let mut setup = Plan::default().build();
    setup.buffer.write(64, &7u64.to_ne_bytes());
    let (remote, local) = (setup.remote(64), setup.sge(0, 8));
    let old = |setup: &queue_device::setup::Setup| {
        u64::from_ne_bytes(setup.buffer.read(0, 8).try_into().expect("eight bytes"))
    };
    let value = |setup: &queue_device::setup::Setup| {
        u64::from_ne_bytes(setup.buffer.read(64, 8).try_into().expect("eight bytes"))
    };
    setup.send(6, Operation::CompareSwap { remote, local, compare: 7, swap: 40 }, SIGNALED);
    let swapped = Completion { byte_length: 8, ..done(6, 0, CompletionKind::CompareSwap) };
    assert_eq!(setup.poll(), [swapped]);
    assert_eq!((old(&setup), value(&setup)), (7, 40));
    setup.send(7, Operation::CompareSwap { remote, local, compare: 7, swap: 99 }, SIGNALED);
    assert_eq!(setup.ids(), [7]);
    assert_eq!((old(&setup), value(&setup)), (40, 40));
    setup.send(8, Operation::FetchAdd { remote, local, add: u64::MAX }, SIGNALED);
    let added = Completion { byte_length: 8, ..done(8, 0, CompletionKind::FetchAdd) };
    assert_eq!(setup.poll(), [added]);
    assert_eq!((old(&setup), value(&setup)), (40, 39));
}

#[test]
fn nop_completes() {
    let mut setup = Plan::default().build();
    setup.send(9, Operation::Nop, SIGNALED);
    assert_eq!(setup.poll(), [done(9, 0, CompletionKind::Nop)]);
}

#[test]
fn thirty_entries_gather_and_scatter_in_order() {
    let mut setup = Plan { stride_shift: 9, ..Plan::default() }.build();
    let pattern: Vec<u8> = (0..30 * 7).map(|byte| byte as u8).collect();
    (0..30).for_each(|piece| setup.buffer.write(piece * 100, &pattern[piece * 7..][..7]));
    let local: Vec<_> = (0..30).map(|piece| setup.sge(piece * 100, 7)).collect();
    let remote = setup.remote(20_000);
    setup.send(1, Operation::Write { remote, local: Payload::Gather(&local) }, SIGNALED);
    assert_eq!(setup.ids(), [1]);
    assert_eq!(setup.buffer.read(20_000, 210), pattern);

    let target: Vec<_> = (0..30).map(|piece| setup.sge(30_000 + piece * 100, 7)).collect();
    setup.send(2, Operation::Read { remote, local: &target }, SIGNALED);
    assert_eq!(setup.ids(), [2]);
    let target: Vec<_> = (0..30).map(|piece| setup.sge(40_000 + piece * 100, 7)).collect();
    setup.receive(3, &target);
    setup.send(4, Operation::Send { local: Payload::Gather(&local), immediate: None }, SIGNALED);
    assert_eq!(setup.ids(), [3, 4]);
    for piece in 0..30 {
        assert_eq!(setup.buffer.read(30_000 + piece * 100, 7), pattern[piece * 7..][..7]);
        assert_eq!(setup.buffer.read(40_000 + piece * 100, 7), pattern[piece * 7..][..7]);
    }
}

#[test]
fn zero_length_entries_are_skipped_and_empty_messages_complete() {
    let mut setup = Plan::default().build();
    setup.buffer.write(0, b"ab");
    let remote = setup.remote(300);
    let empty = setup.sge(0, 0);
    let mixed = [empty, setup.sge(0, 1), empty, setup.sge(1, 1), empty];
    setup.send(1, Operation::Write { remote, local: Payload::Gather(&mixed) }, SIGNALED);
    setup.send(2, Operation::Write { remote, local: Payload::Gather(&[empty]) }, SIGNALED);
    setup.send(3, Operation::Write { remote, local: Payload::EMPTY }, SIGNALED);
    setup.send(4, Operation::Write { remote, local: Payload::Inline(&[]) }, SIGNALED);
    setup.send(5, Operation::Read { remote, local: &[empty] }, SIGNALED);
    setup.receive(70, &[]);
    setup.send(6, Operation::Send { local: Payload::EMPTY, immediate: None }, SIGNALED);
    assert_eq!(setup.ids(), [1, 2, 3, 4, 5, 70, 6]);
    assert_eq!(setup.buffer.read(299, 4), b"\0ab\0");
}

#[test]
fn inline_of_every_size_arrives_from_every_slot() {
    let limit = 220;
    let mut setup = Plan { send_slots: 8, inline: limit, ..Plan::default() }.build();
    let bytes: Vec<u8> = (0..limit).map(|byte| byte as u8 ^ 0x3c).collect();
    let remote = setup.remote(1000);
    for length in 0..=limit as usize {
        for _ in 0..3 {
            setup.buffer.write(1000, &[0xee; 256]);
            let local = Payload::Inline(&bytes[..length]);
            setup.send(length as u64, Operation::Write { remote, local }, SIGNALED);
            assert_eq!(setup.ids(), [length as u64]);
            assert_eq!(setup.buffer.read(1000, length), bytes[..length]);
            assert_eq!(setup.buffer.read(1000 + length, 1), [0xee]);
        }
    }
    let handle = setup.handles[0];
    let local = Payload::Inline(&[0; 221]);
    let request = SendRequest { id: 0, operation: Operation::Write { remote, local }, flags: SIGNALED };
    let refused = setup.provider.post_send(handle, &request);
    assert_eq!(refused, Err(PostError::InlineTooLong { given: 221, limit: 220 }));
}

#[test]
fn an_inline_limit_below_a_slot_holds() {
    let mut setup = Plan { inline: 4, ..Plan::default() }.build();
    let remote = setup.remote(0);
    setup.send(1, Operation::Write { remote, local: Payload::Inline(&[7; 4]) }, SIGNALED);
    assert_eq!(setup.ids(), [1]);
    let operation = Operation::Write { remote, local: Payload::Inline(&[7; 5]) };
    let refused =
        setup.provider.post_send(setup.handles[0], &SendRequest { id: 2, operation, flags: SIGNALED });
    assert_eq!(refused, Err(PostError::InlineTooLong { given: 5, limit: 4 }));
}

#[test]
fn blue_flame_takes_a_single_inline_request_that_fits() {
    let mut setup = Plan { blue_flame: 128, ..Plan::default() }.build();
    let remote = setup.remote(0);
    let write = |bytes| Operation::Write { remote, local: Payload::Inline(bytes) };
    setup.send(1, write(&[7; 92]), SIGNALED);
    let queue = setup.provider.hardware().queue_pairs[0].send.read(0, 128);
    assert_eq!(setup.provider.hardware().rings, [(0, Rang::BlueFlame { bytes: queue, record: 2 })]);
    setup.send(2, write(&[7; 93]), SIGNALED);
    let local = [setup.sge(0, 4)];
    setup.send(3, Operation::Write { remote, local: Payload::Gather(&local) }, SIGNALED);
    let handle = setup.handles[0];
    for id in [4, 5] {
        let request = SendRequest { id, operation: write(&[1; 4]), flags: SIGNALED };
        setup.provider.post_send(handle, &request).expect("room");
    }
    setup.provider.ring_send(handle);
    // Inline first, then gathered, under one doorbell.
    let mixed = [write(&[1; 4]), Operation::Write { remote, local: Payload::Gather(&local) }];
    for (id, operation) in (6..).zip(mixed) {
        setup.provider.post_send(handle, &SendRequest { id, operation, flags: SIGNALED }).expect("room");
    }
    setup.provider.ring_send(handle);
    let plain = &setup.provider.hardware().rings[1..];
    assert_eq!(plain.len(), 4);
    assert!(plain.iter().all(|(_, rang)| matches!(rang, Rang::Plain { .. })), "{plain:?}");
    assert_eq!(setup.ids(), [1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn ringing_without_posting_rings_nothing() {
    let mut setup = Plan::default().build();
    let handle = setup.handles[0];
    setup.provider.ring_send(handle);
    setup.send(1, Operation::Nop, SIGNALED);
    setup.provider.ring_send(handle);
    assert_eq!(setup.provider.hardware().rings.len(), 1);
    setup.provider.ring_receive(handle);
    assert_eq!(setup.ids(), [1]);
}

#[test]
fn a_batch_takes_one_doorbell() {
    let mut setup = Plan::default().build();
    let (handle, remote) = (setup.handles[0], setup.remote(0));
    let local = [setup.sge(64, 8)];
    for id in 0..10 {
        let operation = Operation::Write { remote, local: Payload::Gather(&local) };
        let flags = if id == 9 { SIGNALED } else { SendFlags::empty() };
        setup.provider.post_send(handle, &SendRequest { id, operation, flags }).expect("room");
    }
    assert!(setup.provider.hardware().rings.is_empty());
    assert_eq!(setup.provider.send_room(handle), 54);
    setup.provider.ring_send(handle);
    assert_eq!(setup.provider.hardware().rings.len(), 1);
    assert_eq!(setup.ids(), [9]);
    assert_eq!(setup.provider.send_room(handle), 64);
}

#[test]
fn requests_past_the_limits_are_refused_by_name() {
    let mut setup = Plan { send_slots: 4, ..Plan::default() }.build();
    let (handle, remote, local) = (setup.handles[0], setup.remote(0), setup.sge(0, 1 << 29));
    let long = [local; 3];
    let list = [setup.sge(0, 8); 31];
    let short = setup.sge(0, 4);
    let mut post = |operation| {
        let request = SendRequest { id: 0, operation, flags: SIGNALED };
        setup.provider.post_send(handle, &request).expect_err("refused")
    };
    assert_eq!(
        post(Operation::Write { remote, local: Payload::Gather(&list) }),
        PostError::TooManySges { given: 31, limit: 30 }
    );
    assert_eq!(
        post(Operation::Read { remote, local: &list[..30] }),
        PostError::LargerThanQueue { needed: 8, capacity: 4 }
    );
    assert_eq!(
        post(Operation::Write { remote, local: Payload::Gather(&long) }),
        PostError::MessageTooLong { given: 3 << 29, limit: 1 << 30 }
    );
    assert_eq!(
        post(Operation::FetchAdd { remote, local: short, add: 1 }),
        PostError::AtomicLength { given: 4 }
    );
    assert_eq!(setup.provider.send_room(handle), 4);
    let unknown = pmd_core::provider::QueuePairHandle(9);
    let request = SendRequest { id: 0, operation: Operation::Nop, flags: SIGNALED };
    let refused = setup.provider.post_send(unknown, &request);
    assert_eq!(refused, Err(PostError::UnknownQueuePair { handle: 9 }));
}
