//! Every operation, with its bytes checked on both sides.

use pmd_core::provider::{Completion, CompletionKind, Operation, Payload, PostError, SendFlags, SendRequest};
use pmd_host::backend::Backend;

use super::{BYTES, Pair, gather, pattern};

/// Writes: gathered from several entries, inline, empty, and of many sizes.
pub(crate) fn writes<B: Backend>(pair: &mut Pair<B>) {
    pair.here.fill(0, &pattern(1, 4096));
    let entries = [pair.here.sge(100, 10), pair.here.sge(0, 0), pair.here.sge(2000, 1000)];
    let remote = pair.there.remote(64);
    pair.done(1, Operation::Write { remote, local: gather(&entries) }, CompletionKind::Write);
    let expected = [&pattern(1, 4096)[100..110], &pattern(1, 4096)[2000..3000]].concat();
    assert_eq!(pair.there.content(64, 1010), expected);
    assert_eq!(pair.there.content(0, 64), [0; 64], "bytes before the target");
    assert_eq!(pair.there.content(64 + 1010, 16), [0; 16], "bytes behind the target");

    for length in [1, 7, 8, 32, 44, 60, 64] {
        let bytes = pattern(length as u8, length);
        let remote = pair.there.remote(8192);
        pair.done(2, Operation::Write { remote, local: Payload::Inline(&bytes) }, CompletionKind::Write);
        assert_eq!(pair.there.content(8192, length), bytes);
    }
    let remote = pair.there.remote(8192);
    pair.done(3, Operation::Write { remote, local: Payload::EMPTY }, CompletionKind::Write);

    pair.here.fill(0, &pattern(9, BYTES));
    let entries = [pair.here.sge(0, BYTES)];
    let remote = pair.there.remote(0);
    pair.done(4, Operation::Write { remote, local: gather(&entries) }, CompletionKind::Write);
    assert_eq!(pair.there.content(0, BYTES), pattern(9, BYTES));
}

/// Reads scatter into several entries.
pub(crate) fn reads<B: Backend>(pair: &mut Pair<B>) {
    pair.there.fill(0, &pattern(3, 4096));
    let local = [pair.here.sge(10, 100), pair.here.sge(1000, 900)];
    let remote = pair.there.remote(50);
    let completion = pair.done(5, Operation::Read { remote, local: &local }, CompletionKind::Read);
    assert_eq!(completion.byte_length, 1000);
    assert_eq!(pair.here.content(10, 100), pattern(3, 4096)[50..150]);
    assert_eq!(pair.here.content(1000, 900), pattern(3, 4096)[150..1050]);
}

/// Sends and writes with immediate consume receives of the other side, in order.
pub(crate) fn messages<B: Backend>(pair: &mut Pair<B>) {
    pair.receive(101, 0, 256);
    pair.receive(102, 256, 256);
    pair.receive(103, 512, 256);
    pair.receive(104, 768, 256);
    pair.here.fill(0, &pattern(5, 256));
    let entries = [pair.here.sge(0, 200)];
    let remote = pair.there.remote(4096);
    let tag = *b"inline message of a test";
    pair.post(11, Operation::Send { local: gather(&entries), immediate: None });
    pair.post(12, Operation::Send { local: Payload::Inline(&tag), immediate: Some(0x0102_0304) });
    pair.post(13, Operation::WriteImmediate { remote, local: gather(&entries), immediate: 7 });
    pair.post(14, Operation::WriteImmediate { remote, local: Payload::EMPTY, immediate: u32::MAX });
    pair.backend.ring_send(pair.left);
    let completions = pair.wait(8);
    let (received, sent): (Vec<Completion>, Vec<Completion>) =
        completions.into_iter().partition(|completion| completion.id > 100);
    let told: Vec<_> =
        received.iter().map(|one| (one.id, one.byte_length, one.immediate, one.result)).collect();
    let (message, notice) = (Ok(CompletionKind::Receive), Ok(CompletionKind::ReceiveWriteImmediate));
    assert_eq!(
        told,
        [
            (101, 200, None, message),
            (102, tag.len() as u32, Some(0x0102_0304), message),
            (103, 200, Some(7), notice),
            (104, 0, Some(u32::MAX), notice),
        ]
    );
    assert_eq!(sent.iter().map(|one| one.id).collect::<Vec<_>>(), [11, 12, 13, 14]);
    assert!(sent.iter().all(|one| one.result.is_ok()));
    assert_eq!(pair.there.content(0, 200), pattern(5, 200));
    assert_eq!(pair.there.content(256, tag.len()), tag);
    assert_eq!(pair.there.content(4096, 200), pattern(5, 200));
}

/// Atomics give the old value and change the remote one.
pub(crate) fn atomics<B: Backend>(pair: &mut Pair<B>) {
    pair.there.fill(16, &41_u64.to_ne_bytes());
    let (remote, local) = (pair.there.remote(16), pair.here.sge(32, 8));
    pair.done(21, Operation::FetchAdd { remote, local, add: 1 }, CompletionKind::FetchAdd);
    assert_eq!((pair.here.word(32), pair.there.word(16)), (41, 42));
    let swap = |compare, swap| Operation::CompareSwap { remote, local, compare, swap };
    pair.done(22, swap(42, 1 << 40), CompletionKind::CompareSwap);
    assert_eq!((pair.here.word(32), pair.there.word(16)), (42, 1 << 40));
    let completion = pair.done(23, swap(42, 7), CompletionKind::CompareSwap);
    assert_eq!((pair.here.word(32), pair.there.word(16)), (1 << 40, 1 << 40), "a swap that does not match");
    assert_eq!(completion.byte_length, 8);
}

/// One signalled request in eight: one completion for each, and the room comes back. Many times around the ring.
pub(crate) fn batches<B: Backend>(pair: &mut Pair<B>) {
    let room = pair.backend.send_room(pair.left);
    for round in 0..200_u64 {
        pair.here.fill(0, &round.to_ne_bytes());
        for index in 0..8_usize {
            let entries = [pair.here.sge(0, 8)];
            let operation =
                Operation::Write { remote: pair.there.remote(index * 8), local: gather(&entries) };
            let flags = if index == 7 { SendFlags::SIGNALED } else { SendFlags::empty() };
            let request = SendRequest { id: round * 8 + index as u64, operation, flags };
            pair.backend.post_send(pair.left, &request).expect("posting");
        }
        pair.backend.ring_send(pair.left);
        assert_eq!(pair.wait(1)[0].id, round * 8 + 7);
        assert_eq!(pair.there.content(0, 64), round.to_ne_bytes().repeat(8));
        assert_eq!(pair.backend.send_room(pair.left), room);
    }
}

/// A full queue gives the request back; it goes in after polling.
pub(crate) fn full_queue<B: Backend>(pair: &mut Pair<B>) {
    let room = pair.backend.send_room(pair.left);
    assert!(room >= 64, "room for {room} requests");
    let entries = [pair.here.sge(0, 8)];
    let request = |id| SendRequest {
        id,
        operation: Operation::Write { remote: pair.there.remote(0), local: gather(&entries) },
        flags: SendFlags::SIGNALED,
    };
    for id in 0..u64::from(room) {
        pair.backend.post_send(pair.left, &request(id)).expect("there is room");
    }
    let full = pair.backend.post_send(pair.left, &request(999));
    assert_eq!(full, Err(PostError::QueueFull { needed: 1, free: 0, capacity: room }));
    pair.backend.ring_send(pair.left);
    let completions = super::poll(&mut pair.backend, room as usize);
    let ids: Vec<_> = completions.iter().map(|one| one.id).collect();
    assert_eq!(ids, (0..u64::from(room)).collect::<Vec<_>>());
    pair.backend.post_send(pair.left, &request(999)).expect("there is room again");
    pair.backend.ring_send(pair.left);
    assert_eq!(pair.wait(1)[0].id, 999);
}
