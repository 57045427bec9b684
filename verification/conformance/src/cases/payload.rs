//! Where payloads come from and go to: inline, gathered, scattered.

use pmd_core::{
    memory::Sge,
    provider::{CompletionKind, Operation, Payload, PostError, SendFlags},
};
use pmd_host::backend::QueuePairConfig;

use super::{Case, case};
use crate::{
    context::{Context, Random, pattern},
    memory::Memory,
    stage::{Stage, config, send, write},
};

pub(super) const CASES: &[Case] = &[
    case("payload::inline_bytes_of_every_length_arrive", inline),
    case("payload::inline_bytes_are_taken_when_posting", inline_is_a_copy),
    case("payload::more_inline_bytes_than_asked_for_are_refused", inline_limit),
    case("payload::writes_gather_up_to_thirty_pieces", gather_writes),
    case("payload::messages_gather_and_scatter", gather_messages),
    case("payload::reads_scatter_up_to_thirty_pieces", scatter_reads),
    case("payload::too_many_pieces_are_refused", too_many),
];

/// Most pieces of a request.
const PIECES: usize = 30;

fn wide() -> QueuePairConfig {
    QueuePairConfig { sges: PIECES as u32, ..config() }
}

fn inline(context: &Context) {
    for limit in [1, 28, 44, 60, 128, 220] {
        let mut stage = Stage::new(context);
        let link = stage.link(&QueuePairConfig { inline_bytes: limit, ..config() });
        let there = stage.memory(crate::bed::Place::Right, 1024);
        let step = context.scale(7, 1);
        // Every length up to the limit, the limit itself included.
        for length in (0..=limit as usize).rev().step_by(step) {
            let bytes = pattern(length as u64, length);
            there.fill(0xee);
            let operation = Operation::Write { remote: there.remote(8), local: Payload::Inline(&bytes) };
            stage.done(link.left, 1, operation, CompletionKind::Write);
            assert_eq!(there.read(8, length), bytes, "{length} of {limit}");
            stage.receive(link.right, 2, &[there.sge(512, length)]);
            let operation = Operation::Send { local: Payload::Inline(&bytes), immediate: None };
            stage.done(link.left, 3, operation, CompletionKind::Send);
            assert_eq!(stage.wait(link.right, 1)[0].byte_length as usize, length);
            assert_eq!(there.read(512, length), bytes, "{length} of {limit}");
            let rest = [(0, 8), (8 + length, 512 - 8 - length), (512 + length, 512 - length)];
            assert!(
                rest.iter().all(|(at, length)| there.read(*at, *length).iter().all(|byte| *byte == 0xee))
            );
        }
        stage.nothing_more();
    }
}

/// The caller's bytes are free when the post returns, before the doorbell.
fn inline_is_a_copy(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let there = stage.memory(crate::bed::Place::Right, 4096);
    for round in 0..context.scale(5, 50) {
        let expected = pattern(round, 20 * 40);
        for index in 0..20 {
            let mut bytes = expected[index * 40..][..40].to_vec();
            let operation =
                Operation::Write { remote: there.remote(index * 40), local: Payload::Inline(&bytes) };
            let flags = if index == 19 { SendFlags::SIGNALED } else { SendFlags::empty() };
            stage.post_flagged(link.left, index as u64, operation, flags);
            bytes.fill(0);
        }
        stage.ring(link.left);
        assert_eq!(stage.wait(link.left, 1)[0].id, 19);
        assert!(there.read(0, 800) == expected);
    }
    stage.nothing_more();
}

fn inline_limit(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let (there, bytes) = (stage.memory(crate::bed::Place::Right, 8), vec![0; 4096]);
    let room = stage.room(link.left);
    let operation = Operation::Write { remote: there.remote(0), local: Payload::Inline(&bytes) };
    let refused = stage.try_post(link.left, 1, operation, SendFlags::SIGNALED);
    assert!(
        matches!(refused, Err(PostError::InlineTooLong { given: 4096, limit }) if limit >= config().inline_bytes),
        "{refused:?}"
    );
    assert_eq!(stage.room(link.left), room, "nothing was taken");
    stage.nothing_more();
}

/// Cuts places of `memory` into pieces of any length, zero included; the places do not overlap.
fn cut(random: &mut Random, memory: &Memory, count: usize) -> Vec<Sge> {
    let place = memory.length() / count;
    let lengths = [0, 1, 7, 8, 63, 64, 65, 200];
    (0..count)
        .map(|piece| {
            let length = lengths[random.below(lengths.len())].min(place);
            memory.sge(piece * place + random.below(place - length + 1), length)
        })
        .collect()
}

/// The bytes of a list's pieces, in order.
fn bytes_of(memory: &Memory, list: &[Sge]) -> Vec<u8> {
    let piece = |sge: &Sge| memory.read((sge.address - memory.address()) as usize, sge.length as usize);
    list.iter().flat_map(piece).collect()
}

/// Numbers of pieces, again and again with other lengths.
fn counts(context: &Context) -> impl Iterator<Item = usize> {
    (0..context.scale(2, 10)).flat_map(|_| 1..=PIECES)
}

fn gather_writes(context: &Context) {
    let mut stage = Stage::new(context);
    let link = stage.link(&wide());
    let (here, there) = stage.memories(16_384);
    let mut random = context.random(2);
    here.write(0, &pattern(1, here.length()));
    for count in counts(context) {
        there.fill(0xee);
        let list = cut(&mut random, &here, count);
        stage.done(link.left, 1, write(there.remote(3), &list), CompletionKind::Write);
        let expected = bytes_of(&here, &list);
        assert!(there.read(3, expected.len()) == expected, "{list:?}");
        assert_eq!((there.read(0, 3), there.read(3 + expected.len(), 1)), (vec![0xee; 3], vec![0xee]));
    }
    stage.nothing_more();
}

fn gather_messages(context: &Context) {
    let mut stage = Stage::new(context);
    let link = stage.link(&wide());
    let (here, there) = stage.memories(16_384);
    let mut random = context.random(3);
    here.write(0, &pattern(2, here.length()));
    for count in counts(context) {
        there.fill(0xee);
        let list = cut(&mut random, &here, count);
        let expected = bytes_of(&here, &list);
        // Pieces of one length, and as many as the message needs and the receive may have.
        let piece = expected.len().div_ceil(1 + random.below(PIECES)).max(1);
        let pieces = expected.len().div_ceil(piece).max(1);
        let scatter: Vec<Sge> = (0..pieces).map(|index| there.sge(index * (piece + 1), piece)).collect();
        stage.receive(link.right, 9, &scatter);
        stage.done(link.left, 1, send(&list), CompletionKind::Send);
        assert_eq!(stage.wait(link.right, 1)[0].byte_length as usize, expected.len());
        assert!(bytes_of(&there, &scatter)[..expected.len()] == expected, "{list:?} into {scatter:?}");
        let gaps = (0..pieces).map(|index| there.read(index * (piece + 1) + piece, 1)[0]);
        assert!(gaps.into_iter().all(|byte| byte == 0xee), "between the pieces");
    }
    stage.nothing_more();
}

fn scatter_reads(context: &Context) {
    let mut stage = Stage::new(context);
    let link = stage.link(&wide());
    let (here, there) = stage.memories(16_384);
    let mut random = context.random(4);
    there.write(0, &pattern(3, there.length()));
    for count in counts(context) {
        here.fill(0xee);
        let list = cut(&mut random, &here, count);
        let length = list.iter().map(|sge| sge.length as usize).sum::<usize>();
        let read = Operation::Read { remote: there.remote(11), local: &list };
        let done = stage.done(link.left, 1, read, CompletionKind::Read);
        assert_eq!(done.byte_length as usize, length);
        assert!(bytes_of(&here, &list) == there.read(11, length), "{list:?}");
        let touched = here.read(0, here.length()).iter().filter(|byte| **byte != 0xee).count();
        assert!(touched <= length, "{touched} bytes changed for {length}");
    }
    stage.nothing_more();
}

fn too_many(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let (here, there) = stage.memories(4096);
    let list: Vec<Sge> = (0..40).map(|piece| here.sge(piece * 8, 8)).collect();
    let room = stage.room(link.left);
    let refused = stage.try_post(link.left, 1, write(there.remote(0), &list), SendFlags::SIGNALED);
    assert!(matches!(refused, Err(PostError::TooManySges { given: 40, .. })), "{refused:?}");
    assert_eq!(stage.room(link.left), room, "nothing was taken");
    stage.done(link.left, 2, write(there.remote(0), &list[..4]), CompletionKind::Write);
    stage.nothing_more();
}
