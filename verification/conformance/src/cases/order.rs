//! What comes after what: completions of one queue pair, and the bytes that its requests move.

use pmd_core::provider::{CompletionKind, Operation, Payload, SendFlags};

use super::{Case, case};
use crate::{
    context::{Context, pattern},
    memory::Memory,
    stage::{End, Stage, config, send, write},
};

pub(super) const CASES: &[Case] = &[
    case("order::requests_complete_in_the_order_of_posting", completions),
    case("order::later_writes_win", later_writes),
    case("order::a_message_follows_the_writes_before_it", message_after_writes),
    case("order::a_read_sees_the_writes_before_it", read_after_write),
    case("order::receives_are_filled_in_order", receives),
    case("order::unsignalled_requests_retire_with_the_next_signalled_one", unsignalled),
    case("order::a_fence_waits_for_reads", fence_after_read),
    case("order::a_fence_waits_for_atomics", fence_after_atomic),
    case("order::queue_pairs_do_not_wait_for_each_other", independent),
];

fn completions(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let (here, there) = stage.memories(1 << 16);
    let mut random = context.random(0);
    for _ in 0..context.scale(20, 200) {
        let count = 1 + random.below(16) as u64;
        let mut expected = Vec::new();
        for id in 0..count {
            let (length, remote) = (random.below(6000), there.remote(0));
            let local = [here.sge(8192, length)];
            let (operation, kind) = match random.below(4) {
                0 => (write(remote, &local), CompletionKind::Write),
                1 => (Operation::Read { remote, local: &local }, CompletionKind::Read),
                2 => {
                    let operation =
                        Operation::FetchAdd { remote: there.remote(32_768), local: here.sge(0, 8), add: 1 };
                    (operation, CompletionKind::FetchAdd)
                }
                _ => {
                    stage.receive(link.right, id, &[there.sge(16_384, 6000)]);
                    (send(&local), CompletionKind::Send)
                }
            };
            stage.post(link.left, id, operation);
            expected.push((id, Ok(kind)));
        }
        stage.ring(link.left);
        let done: Vec<_> =
            stage.wait(link.left, count as usize).iter().map(|one| (one.id, one.result)).collect();
        assert_eq!(done, expected);
        let messages = expected.iter().filter(|(_, kind)| *kind == Ok(CompletionKind::Send)).count();
        let sent = expected.iter().filter(|(_, kind)| *kind == Ok(CompletionKind::Send)).map(|(id, _)| *id);
        let received: Vec<u64> = stage.wait(link.right, messages).iter().map(|one| one.id).collect();
        assert_eq!(received, sent.collect::<Vec<_>>());
    }
    stage.nothing_more();
}

/// Overlapping writes of one queue pair: the place holds what was posted last.
fn later_writes(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let (here, there) = stage.memories(1 << 16);
    here.write(0, &pattern(9, 1 << 16));
    let mut random = context.random(1);
    for _ in 0..context.scale(20, 300) {
        let mut expected = there.read(0, 4096);
        for id in 0..32 {
            let (offset, from) = (random.below(4096), random.below(1 << 15));
            let length = random.below(4096 - offset) + 1;
            expected[offset..offset + length].copy_from_slice(&here.read(from, length));
            let flags = if id == 31 { SendFlags::SIGNALED } else { SendFlags::empty() };
            stage.post_flagged(link.left, id, write(there.remote(offset), &[here.sge(from, length)]), flags);
        }
        stage.ring(link.left);
        assert_eq!(stage.wait(link.left, 1)[0].result, Ok(CompletionKind::Write));
        assert!(there.read(0, 4096) == expected, "writes were reordered");
    }
    stage.nothing_more();
}

/// When a message or an immediate is received, the bytes of all writes before it are there.
fn message_after_writes(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let length = context.scale(40_000, 300_000);
    let (here, there) = stage.memories(4 * length + 64);
    for round in 0..context.scale(4, 20) {
        let bytes = pattern(round, 4 * length);
        here.write(0, &bytes);
        stage.receive(link.right, round, &[there.sge(4 * length, 64)]);
        for part in 0..4 {
            let local = [here.sge(part * length, length)];
            stage.post_flagged(link.left, 1, write(there.remote(part * length), &local), SendFlags::empty());
        }
        let operation = if round % 2 == 0 {
            Operation::Send { local: Payload::Inline(b"all there"), immediate: None }
        } else {
            Operation::WriteImmediate { remote: there.remote(0), local: Payload::EMPTY, immediate: 5 }
        };
        stage.post(link.left, 2, operation);
        stage.ring(link.left);
        // Looked at when the receive completes, whatever the sender knows.
        assert_eq!(stage.wait(link.right, 1)[0].id, round);
        assert!(there.read(0, 4 * length) == bytes, "the message overtook a write");
        assert_eq!(stage.wait(link.left, 1)[0].id, 2);
    }
    stage.nothing_more();
}

fn read_after_write(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let length = context.scale(20_000, 200_000);
    let (here, there) = stage.memories(2 * length);
    for round in 0..context.scale(4, 20) {
        let bytes = pattern(round, length);
        here.write(0, &bytes);
        let written = [here.sge(0, length)];
        stage.post_flagged(link.left, 1, write(there.remote(length), &written), SendFlags::empty());
        let operation = Operation::Read { remote: there.remote(length), local: &[here.sge(length, length)] };
        stage.done(link.left, 2, operation, CompletionKind::Read);
        assert!(here.read(length, length) == bytes, "the read overtook the write");
    }
    stage.nothing_more();
}

fn receives(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let (here, there) = stage.memories(1 << 16);
    for round in 0..context.scale(10, 100) {
        let bytes = pattern(round, 16 * 100);
        here.write(0, &bytes);
        for slot in 0..16 {
            stage.receive(link.right, 100 + slot as u64, &[there.sge(slot * 256, 256)]);
        }
        for slot in 0..16 {
            let local = [here.sge(slot * 100, 40 + slot)];
            let flags = if slot == 15 { SendFlags::SIGNALED } else { SendFlags::empty() };
            stage.post_flagged(link.left, slot as u64, send(&local), flags);
        }
        stage.ring(link.left);
        for (slot, received) in stage.wait(link.right, 16).iter().enumerate() {
            assert_eq!((received.id, received.byte_length as usize), (100 + slot as u64, 40 + slot));
            assert!(there.read(slot * 256, 40 + slot) == bytes[slot * 100..slot * 100 + 40 + slot]);
        }
        assert_eq!(stage.wait(link.left, 1)[0].id, 15);
    }
    stage.nothing_more();
}

fn unsignalled(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let (here, there) = stage.memories(4096);
    let room = stage.room(link.left);
    for round in 0..context.scale(30, 300_u64) {
        here.set_word(0, round);
        for index in 0..24_usize {
            let local = [here.sge(0, 8)];
            let operation = write(there.remote(index * 8), &local);
            let flags = if index % 8 == 7 { SendFlags::SIGNALED } else { SendFlags::empty() };
            stage.post_flagged(link.left, round * 100 + index as u64, operation, flags);
        }
        stage.ring(link.left);
        let ids: Vec<u64> = stage.wait(link.left, 3).iter().map(|one| one.id).collect();
        assert_eq!(ids, [7, 15, 23].map(|index| round * 100 + index));
        assert_eq!(there.read(0, 192), round.to_ne_bytes().repeat(24));
        assert_eq!(stage.room(link.left), room, "all slots are free again");
    }
    stage.nothing_more();
}

/// Reads into a buffer, and writes the buffer elsewhere with a fence: the bytes that were read go.
fn fence_after_read(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let length = context.scale(30_000, 100_000);
    let (here, there) = stage.memories(2 * length);
    for round in 0..context.scale(5, 40) {
        let bytes = pattern(round, length);
        there.write(0, &bytes);
        here.fill(0xaa);
        let buffer = [here.sge(0, length)];
        let read = Operation::Read { remote: there.remote(0), local: &buffer };
        stage.post_flagged(link.left, 1, read, SendFlags::empty());
        fenced(&mut stage, link.left, write(there.remote(length), &buffer));
        assert!(there.read(length, length) == bytes, "the write did not wait for the read");
    }
    stage.nothing_more();
}

fn fence_after_atomic(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let (here, there) = stage.memories(64);
    for round in 0..context.scale(10, 100_u64) {
        let operation = Operation::FetchAdd { remote: there.remote(0), local: here.sge(8, 8), add: 3 };
        here.set_word(8, u64::MAX);
        stage.post_flagged(link.left, 1, operation, SendFlags::empty());
        fenced(&mut stage, link.left, write(there.remote(16), &[here.sge(8, 8)]));
        assert_eq!((there.word(16), there.word(0)), (3 * round, 3 * round + 3));
    }
    stage.nothing_more();
}

fn fenced(stage: &mut Stage, end: End, operation: Operation<'_>) {
    stage.post_flagged(end, 2, operation, SendFlags::SIGNALED | SendFlags::FENCE);
    stage.ring(end);
    let done = stage.wait(end, 1)[0];
    assert_eq!((done.id, done.result), (2, Ok(CompletionKind::Write)));
}

/// A queue pair whose message finds no receive does not hold up another one.
fn independent(context: &Context) {
    let mut stage = Stage::new(context);
    let options = pmd_host::backend::ConnectOptions { rnr_retry: 7, ..context.bed.options() };
    let [stuck, free] = [(); 2].map(|()| stage.link_with([&config(), &config()], &options));
    let (here, there): (Memory, Memory) = stage.memories(4096);
    stage.start(stuck.left, 1, send(&[here.sge(0, 8)]));
    for id in 0..20 {
        here.set_word(64, id);
        stage.done(free.left, id, write(there.remote(64), &[here.sge(64, 8)]), CompletionKind::Write);
        assert_eq!(there.word(64), id);
    }
    assert!(stage.take(stuck.left).is_empty(), "there was no receive for the message");
    stage.receive(stuck.right, 9, &[there.sge(0, 8)]);
    assert_eq!((stage.wait(stuck.left, 1)[0].id, stage.wait(stuck.right, 1)[0].id), (1, 9));
    stage.nothing_more();
}
