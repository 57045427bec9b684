//! Queues that fill, wrap, and outlive their 16-bit indexes.

use pmd_core::{
    memory::Sge,
    provider::{CompletionKind, Operation, PostError, Provider, ReceiveRequest, SendFlags},
};
use pmd_host::backend::QueuePairConfig;

use super::{Case, case};
use crate::{
    context::{Context, pattern},
    stage::{Stage, config, send, write},
};

pub(super) const CASES: &[Case] = &[
    case("queues::a_full_send_queue_gives_the_request_back", full_send),
    case("queues::a_full_receive_queue_gives_the_request_back", full_receive),
    case("queues::a_request_larger_than_the_queue_is_named_so", larger_than_queue),
    case("queues::requests_of_every_size_wrap_everywhere", wraps),
    case("queues::send_indexes_outlive_sixteen_bits", many_sends),
    case("queues::receive_indexes_outlive_sixteen_bits", many_receives),
];

/// More than sixteen bits count.
const MANY: u64 = 66_000;

fn full_send(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let (here, there) = stage.memories(4096);
    let room = stage.room(link.left);
    assert!(room >= config().send_slots, "room for {room}");
    for round in 0..context.scale(3, 10_u64) {
        let local = [here.sge(0, 8)];
        let request = write(there.remote(0), &local);
        for id in 0..u64::from(room) {
            stage.post(link.left, id, request);
        }
        for _ in 0..3 {
            let refused = stage.try_post(link.left, 999, request, SendFlags::SIGNALED);
            assert_eq!(refused, Err(PostError::QueueFull { needed: 1, free: 0, capacity: room }), "{round}");
        }
        assert_eq!(stage.room(link.left), 0);
        stage.ring(link.left);
        let ids: Vec<u64> = stage.wait(link.left, room as usize).iter().map(|one| one.id).collect();
        assert_eq!(ids, (0..u64::from(room)).collect::<Vec<_>>());
        stage.done(link.left, 999, request, CompletionKind::Write);
        assert_eq!(stage.room(link.left), room);
    }
    stage.nothing_more();
}

fn full_receive(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let (here, there) = stage.memories(4096);
    let scatter = [there.sge(0, 64)];
    let mut posted = 0;
    let refused = loop {
        let request = ReceiveRequest { id: posted, scatter: &scatter };
        let right = link.right;
        match stage.backend(right.place).post_receive(right.handle, &request) {
            Ok(()) => posted += 1,
            Err(error) => break error,
        }
        assert!(posted < 100_000, "the queue never fills");
    };
    assert!(posted >= u64::from(config().receives), "only {posted} receives");
    assert!(matches!(refused, PostError::QueueFull { needed: 1, free: 0, .. }), "{refused:?}");
    stage.backend(link.right.place).ring_receive(link.right.handle);
    for id in 0..posted {
        stage.done(link.left, id, send(&[here.sge(0, 8)]), CompletionKind::Send);
        assert_eq!(stage.wait(link.right, 1)[0].id, id);
        // What was taken makes room for another.
        stage.receive(link.right, posted + id, &scatter);
    }
    for id in 0..posted {
        stage.done(link.left, id, send(&[here.sge(0, 8)]), CompletionKind::Send);
        assert_eq!(stage.wait(link.right, 1)[0].id, posted + id);
    }
    stage.nothing_more();
}

/// Back ends that count requests rather than slots have room for it.
fn larger_than_queue(context: &Context) {
    let mut stage = Stage::new(context);
    let link = stage.link(&QueuePairConfig { send_slots: 4, sges: 30, ..config() });
    let (here, there) = stage.memories(4096);
    let list: Vec<Sge> = (0..30).map(|piece| here.sge(piece * 8, 8)).collect();
    let room = stage.room(link.left);
    match stage.try_post(link.left, 1, write(there.remote(0), &list), SendFlags::SIGNALED) {
        Ok(()) => {
            stage.ring(link.left);
            assert_eq!(stage.wait(link.left, 1)[0].id, 1);
        }
        Err(PostError::LargerThanQueue { needed, capacity }) => {
            assert!(needed > capacity && capacity == room, "{needed} {capacity} {room}");
        }
        Err(other) => panic!("{other}"),
    }
    stage.done(link.left, 2, write(there.remote(0), &list[..1]), CompletionKind::Write);
    stage.nothing_more();
}

/// Lists of every number of pieces at every place of a small queue.
fn wraps(context: &Context) {
    let mut stage = Stage::new(context);
    let link = stage.link(&QueuePairConfig { send_slots: 16, sges: 30, inline_bytes: 128, ..config() });
    let (here, there) = stage.memories(4096);
    here.write(0, &pattern(4, 4096));
    let step = context.scale(5, 1);
    for pieces in (1..=30).step_by(step) {
        let list: Vec<Sge> = (0..pieces).map(|piece| here.sge(piece * 100, 3 + piece % 5)).collect();
        let expected: Vec<u8> = (0..pieces).flat_map(|piece| here.read(piece * 100, 3 + piece % 5)).collect();
        for shift in 0..16 {
            there.fill(0);
            stage.done(link.left, 1, write(there.remote(0), &list), CompletionKind::Write);
            assert!(there.read(0, expected.len()) == expected, "{pieces} pieces, {shift}");
            // Moves on by one slot more than the lists take.
            stage.done(link.left, 2, write(there.remote(4000), &list[..1]), CompletionKind::Write);
        }
    }
    stage.nothing_more();
}

/// Writes in batches, most of them unsignalled, of one slot and of several.
fn many_sends(context: &Context) {
    let mut stage = Stage::new(context);
    let link = stage.link(&QueuePairConfig { sges: 8, ..config() });
    let (here, there) = stage.memories(1024);
    let room = stage.room(link.left);
    let mut random = context.random(5);
    let mut id = 0;
    while id < MANY {
        here.set_word(0, id);
        let count = 1 + random.below(16) as u64;
        for part in 1..=count {
            let pieces = if random.once_in(8) { 8 } else { 1 };
            let list: Vec<Sge> = (0..pieces).map(|piece| here.sge(piece * 8, 8)).collect();
            let flags = if part == count { SendFlags::SIGNALED } else { SendFlags::empty() };
            stage.post_flagged(link.left, id + part, write(there.remote(0), &list), flags);
        }
        stage.ring(link.left);
        let done = stage.wait(link.left, 1)[0];
        assert_eq!((done.id, done.result), (id + count, Ok(CompletionKind::Write)));
        assert_eq!(there.word(0), id);
        assert_eq!(stage.room(link.left), room);
        id += count;
    }
    stage.nothing_more();
}

/// Messages and immediates in batches, with a different receive for each.
fn many_receives(context: &Context) {
    let mut stage = Stage::new(context);
    let link = stage.link(&QueuePairConfig { receives: 8, ..config() });
    let (here, there) = stage.memories(1024);
    let mut id = 0;
    while id < MANY {
        for part in 0..8 {
            stage.receive(link.right, id + part, &[there.sge(part as usize * 8, 8)]);
        }
        for part in 0..8 {
            here.set_word(part as usize * 8, id + part);
            let local = [here.sge(part as usize * 8, 8)];
            let immediate = (part % 2 == 0).then_some((id + part) as u32);
            let operation = Operation::Send { local: pmd_core::provider::Payload::Gather(&local), immediate };
            let flags = if part == 7 { SendFlags::SIGNALED } else { SendFlags::empty() };
            stage.post_flagged(link.left, id + part, operation, flags);
        }
        stage.ring(link.left);
        assert_eq!(stage.wait(link.left, 1)[0].id, id + 7);
        for (part, received) in (0..).zip(stage.wait(link.right, 8)) {
            let immediate = (part % 2 == 0).then_some((id + part) as u32);
            let told = (received.id, received.immediate, received.byte_length, received.result);
            assert_eq!(told, (id + part, immediate, 8, Ok(CompletionKind::Receive)));
            assert_eq!(there.word(part as usize * 8), id + part);
        }
        id += 8;
    }
    stage.nothing_more();
}
