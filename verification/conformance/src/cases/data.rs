//! The bytes of every operation arrive, at the edges of every size, and nothing beside them is touched.

use pmd_core::provider::{CompletionKind, Operation, Payload};

use super::{Case, case, case_with};
use crate::{
    bed::Ability,
    context::{Context, pattern},
    stage::{Stage, send, write},
};

pub(super) const CASES: &[Case] = &[
    case("data::writes_of_every_size", writes),
    case("data::reads_of_every_size", reads),
    case("data::messages_of_every_size", messages),
    case("data::immediates_arrive_with_and_without_bytes", immediates),
    case("data::atomics_give_the_old_value", atomics),
    case_with("data::a_nop_completes", &[Ability::Nop], nop),
    case("data::both_directions_at_once", both_directions),
];

/// Bytes left alone on both sides of what is written.
const MARGIN: usize = 64;

/// Sizes at the edges of packets, pages, inline payloads, budgets and messages.
fn sizes(context: &Context) -> Vec<usize> {
    let mut sizes = vec![0, 1, 2, 3, 7, 8, 9, 63, 64, 65, 255, 256, 257, 1023, 1024, 1025, 4095, 4096, 4097];
    sizes.extend([65_535, 65_536, 65_537]);
    match context.effort {
        crate::context::Effort::Quick => sizes.extend([1 << 20]),
        crate::context::Effort::Full => {
            let large = [18, 20, 21, 22, 23].map(|shift| 1_usize << shift);
            sizes.extend(
                large.iter().flat_map(|size| [size - 1, *size, size + 1]).filter(|size| *size <= 8 << 20),
            );
        }
    }
    sizes
}

/// The target holds the bytes between two untouched margins.
fn arrived(target: &crate::memory::Memory, expected: &[u8]) {
    let length = expected.len();
    assert!(target.read(MARGIN, length) == expected, "{length} bytes differ");
    assert_eq!(target.read(0, MARGIN), [0xee; MARGIN], "in front of {length} bytes");
    assert_eq!(target.read(MARGIN + length, MARGIN), [0xee; MARGIN], "behind {length} bytes");
}

fn writes(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let sizes = sizes(context);
    let (here, there) = stage.memories(sizes.iter().max().unwrap_or(&0) + 2 * MARGIN);
    for (id, length) in (0..).zip(sizes) {
        let bytes = pattern(id, length);
        here.write(3, &bytes);
        there.fill(0xee);
        let local = [here.sge(3, length)];
        let done = stage.done(link.left, id, write(there.remote(MARGIN), &local), CompletionKind::Write);
        assert_eq!((done.byte_length, done.immediate), (0, None));
        arrived(&there, &bytes);
    }
    stage.nothing_more();
}

fn reads(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let sizes = sizes(context);
    let (here, there) = stage.memories(sizes.iter().max().unwrap_or(&0) + 2 * MARGIN);
    for (id, length) in (0..).zip(sizes) {
        let bytes = pattern(id, length);
        there.write(5, &bytes);
        here.fill(0xee);
        let operation = Operation::Read { remote: there.remote(5), local: &[here.sge(MARGIN, length)] };
        let done = stage.done(link.left, id, operation, CompletionKind::Read);
        assert_eq!((done.byte_length as usize, done.immediate), (length, None));
        arrived(&here, &bytes);
    }
    stage.nothing_more();
}

fn messages(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let sizes = sizes(context);
    let (here, there) = stage.memories(sizes.iter().max().unwrap_or(&0) + 2 * MARGIN);
    for (id, length) in (0..).zip(sizes) {
        let bytes = pattern(id, length);
        here.write(1, &bytes);
        there.fill(0xee);
        // A receive with room to spare, and one of exactly the size.
        let room = if id % 2 == 0 { length + MARGIN } else { length };
        stage.receive(link.right, 1000 + id, &[there.sge(MARGIN, room)]);
        stage.done(link.left, id, send(&[here.sge(1, length)]), CompletionKind::Send);
        let received = stage.wait(link.right, 1)[0];
        assert_eq!((received.id, received.result), (1000 + id, Ok(CompletionKind::Receive)));
        assert_eq!((received.byte_length as usize, received.immediate), (length, None));
        arrived(&there, &bytes);
    }
    stage.nothing_more();
}

fn immediates(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let large = context.scale(65_537, 3 << 20);
    let (here, there) = stage.memories(large + 2 * MARGIN);
    let values = [0, 1, 0x0102_0304, u32::MAX];
    for (id, immediate) in (0..).zip(values) {
        for length in [0, 1, 64, 4097, large] {
            let bytes = pattern(id, length);
            here.write(0, &bytes);
            there.fill(0xee);
            let entry = [here.sge(0, length)];
            let local = if length == 0 { Payload::EMPTY } else { Payload::Gather(&entry) };
            stage.receive(link.right, 70, &[there.sge(MARGIN, large)]);
            stage.done(
                link.left,
                7,
                Operation::Send { local, immediate: Some(immediate) },
                CompletionKind::Send,
            );
            let received = stage.wait(link.right, 1)[0];
            assert_eq!((received.id, received.result), (70, Ok(CompletionKind::Receive)));
            assert_eq!((received.byte_length as usize, received.immediate), (length, Some(immediate)));
            arrived(&there, &bytes);

            there.fill(0xee);
            stage.receive(link.right, 71, &[]);
            let operation = Operation::WriteImmediate { remote: there.remote(MARGIN), local, immediate };
            stage.done(link.left, 8, operation, CompletionKind::Write);
            let received = stage.wait(link.right, 1)[0];
            assert_eq!((received.id, received.result), (71, Ok(CompletionKind::ReceiveWriteImmediate)));
            assert_eq!((received.byte_length as usize, received.immediate), (length, Some(immediate)));
            arrived(&there, &bytes);
        }
    }
    stage.nothing_more();
}

fn atomics(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let (here, there) = stage.memories(256);
    let (remote, local) = (there.remote(16), here.sge(32, 8));
    for (start, add) in [(0, 1), (41, 0), (u64::MAX, 1), (1 << 32, u64::MAX), (7, 1 << 63)] {
        there.set_word(16, start);
        let operation = Operation::FetchAdd { remote, local, add };
        let done = stage.done(link.left, 1, operation, CompletionKind::FetchAdd);
        assert_eq!(done.byte_length, 8);
        assert_eq!((here.word(32), there.word(16)), (start, start.wrapping_add(add)));
    }
    let values = [(5, 5, 1 << 40), (5, 6, 9), (u64::MAX, u64::MAX, 0), (0, 0, u64::MAX), (1 << 63, 1, 2)];
    for (start, compare, swap) in values {
        there.set_word(16, start);
        let operation = Operation::CompareSwap { remote, local, compare, swap };
        let done = stage.done(link.left, 2, operation, CompletionKind::CompareSwap);
        assert_eq!(done.byte_length, 8);
        let expected = if start == compare { swap } else { start };
        assert_eq!((here.word(32), there.word(16)), (start, expected));
    }
    assert_eq!((there.word(8), there.word(24)), (0, 0), "only eight bytes change");
    assert_eq!((here.word(24), here.word(40)), (0, 0), "the result is eight bytes");
    stage.nothing_more();
}

fn nop(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    for id in 0..100 {
        let done = stage.done(link.left, id, Operation::Nop, CompletionKind::Nop);
        assert_eq!((done.byte_length, done.immediate), (0, None));
    }
    stage.nothing_more();
}

fn both_directions(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let length = context.scale(100_000, 1 << 20);
    let (here, there) = stage.memories(2 * length);
    for round in 0..4 {
        let (one, two) = (pattern(round, length), pattern(round + 100, length));
        here.write(0, &one);
        there.write(0, &two);
        stage.start(link.left, 1, write(there.remote(length), &[here.sge(0, length)]));
        stage.start(link.right, 2, write(here.remote(length), &[there.sge(0, length)]));
        let ids = [stage.wait(link.left, 1)[0], stage.wait(link.right, 1)[0]].map(|one| (one.id, one.result));
        assert_eq!(ids, [1, 2].map(|id| (id, Ok(CompletionKind::Write))));
        assert!(there.read(length, length) == one && here.read(length, length) == two);
    }
    stage.nothing_more();
}
