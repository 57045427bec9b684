//! Shared receive queues: several queue pairs take their receives from one.

use pmd_core::{
    memory::Sge,
    provider::{
        CompletionKind, Operation, Payload, PostError, Provider, ReceiveRequest, SendFlags,
        SharedReceiveHandle,
    },
    wire::Syndrome,
};
use pmd_host::backend::{Backend, QueuePairConfig};

use super::{Case, case, errors::failed};
use crate::{
    bed::Place,
    context::{Context, pattern},
    stage::{Link, Stage, config, send},
};

pub(super) const CASES: &[Case] = &[
    case("shared::queue_pairs_take_receives_in_the_order_of_posting", in_order),
    case("shared::a_full_queue_gives_the_request_back", full),
    case("shared::indexes_outlive_sixteen_bits", many),
    case("shared::a_failed_queue_pair_leaves_the_others_their_receives", one_fails),
    case("shared::a_message_that_is_too_long_fails_its_queue_pair_only", too_long),
    case("shared::the_queue_outlives_its_queue_pairs", outlives),
];

/// Receives of the queue.
const RECEIVES: u32 = 16;

fn create(stage: &mut Stage) -> SharedReceiveHandle {
    stage.backend(Place::Right).create_shared_receive_queue(RECEIVES, 2).expect("a shared receive queue")
}

/// A link whose right end takes its receives from the queue.
fn link(stage: &mut Stage, queue: SharedReceiveHandle) -> Link {
    let shared = QueuePairConfig { shared_receive: Some(queue), ..config() };
    let options = stage.context.bed.options();
    stage.link_with([&config(), &shared], &options)
}

fn post(stage: &mut Stage, queue: SharedReceiveHandle, id: u64, scatter: &[Sge]) -> Result<(), PostError> {
    let backend = stage.backend(Place::Right);
    backend.post_shared_receive(queue, &ReceiveRequest { id, scatter })?;
    backend.ring_shared_receive(queue);
    Ok(())
}

fn in_order(context: &Context) {
    let mut stage = Stage::new(context);
    let queue = create(&mut stage);
    let links = [(); 3].map(|()| link(&mut stage, queue));
    let there = stage.memory(Place::Right, 4096);
    let mut random = context.random(20);
    for round in 0..context.scale(10, 100) {
        there.fill(0);
        for id in 0..8 {
            let scatter = [there.sge(id * 100, 30), there.sge(id * 100 + 50, 34)];
            post(&mut stage, queue, id as u64, &scatter).expect("room");
        }
        for id in 0..8_usize {
            let message = pattern(round * 10 + id as u64, 1 + random.below(64));
            let sender = links[random.below(3)];
            let local = Payload::Inline(&message);
            let immediate = (id % 2 == 0).then_some(id as u32);
            stage.done(sender.left, 1, Operation::Send { local, immediate }, CompletionKind::Send);
            // Whoever sends, the oldest receive is filled.
            let received = stage.wait(sender.right, 1)[0];
            assert_eq!((received.id, received.result), (id as u64, Ok(CompletionKind::Receive)));
            assert_eq!((received.byte_length as usize, received.immediate), (message.len(), immediate));
            let parts = [there.read(id * 100, 30), there.read(id * 100 + 50, 34)].concat();
            assert_eq!(parts[..message.len()], message);
        }
    }
    let own = ReceiveRequest { id: 1, scatter: &[] };
    let refused = stage.backend(Place::Right).post_receive(links[0].right.handle, &own);
    assert_eq!(refused, Err(PostError::UsesSharedQueue));
    stage.nothing_more();
}

fn full(context: &Context) {
    let mut stage = Stage::new(context);
    let queue = create(&mut stage);
    let link = link(&mut stage, queue);
    let there = stage.memory(Place::Right, 64);
    let scatter = [there.sge(0, 64)];
    let mut posted = 0;
    let refused = loop {
        match post(&mut stage, queue, posted, &scatter) {
            Ok(()) => posted += 1,
            Err(error) => break error,
        }
        assert!(posted < 100_000, "the queue never fills");
    };
    assert!(matches!(refused, PostError::QueueFull { needed: 1, free: 0, .. }), "{refused:?}");
    // Rings of linked entries keep one of them back.
    assert!(posted + 1 >= u64::from(RECEIVES), "{posted} receives");
    for id in 0..3 * posted {
        stage.done(link.left, id, send(&[]), CompletionKind::Send);
        assert_eq!(stage.wait(link.right, 1)[0].id, id);
        post(&mut stage, queue, posted + id, &scatter).expect("room");
    }
    stage.nothing_more();
}

fn many(context: &Context) {
    let mut stage = Stage::new(context);
    let queue = create(&mut stage);
    let links = [(); 2].map(|()| link(&mut stage, queue));
    let there = stage.memory(Place::Right, 64);
    let mut id = 0_u64;
    while id < 66_000 {
        for part in 0..8 {
            let request = ReceiveRequest { id: id + part, scatter: &[there.sge(part as usize * 8, 8)] };
            stage.backend(Place::Right).post_shared_receive(queue, &request).expect("room");
        }
        stage.backend(Place::Right).ring_shared_receive(queue);
        let sender = links[(id / 8 % 2) as usize];
        for part in 0..8 {
            let bytes = (id + part).to_ne_bytes();
            let operation = Operation::Send { local: Payload::Inline(&bytes), immediate: None };
            let flags = if part == 7 { SendFlags::SIGNALED } else { SendFlags::empty() };
            stage.post_flagged(sender.left, id + part, operation, flags);
        }
        stage.ring(sender.left);
        for (part, received) in (0..).zip(stage.wait(sender.right, 8)) {
            assert_eq!((received.id, there.word(part as usize * 8)), (id + part, id + part));
        }
        assert_eq!(stage.wait(sender.left, 1)[0].id, id + 7);
        id += 8;
    }
    stage.nothing_more();
}

fn one_fails(context: &Context) {
    let mut stage = Stage::new(context);
    let queue = create(&mut stage);
    let mut links = [(); 2].map(|()| link(&mut stage, queue));
    let there = stage.memory(Place::Right, 64);
    for round in 0..context.scale(3, 20) {
        (0..6).for_each(|id| post(&mut stage, queue, id, &[there.sge(0, 8)]).expect("room"));
        stage.done(links[0].left, 1, send(&[]), CompletionKind::Send);
        assert_eq!(stage.wait(links[0].right, 1)[0].id, 0);
        // A receive that was taken and is not polled yet comes back with the queue pair that is failed.
        stage.backend(Place::Right).fail(links[0].right.handle).expect("failing");
        for id in 1..6 {
            stage.done(links[1].left, round, send(&[]), CompletionKind::Send);
            assert_eq!(stage.wait(links[1].right, 1)[0].id, id, "receives of a shared queue are not flushed");
        }
        assert!(stage.take(links[0].right).is_empty());
        links[0] = stage.renew(links[0]);
    }
    stage.nothing_more();
}

fn too_long(context: &Context) {
    let mut stage = Stage::new(context);
    let queue = create(&mut stage);
    let mut links = [(); 2].map(|()| link(&mut stage, queue));
    let (here, there) = stage.memories(256);
    for _ in 0..3 {
        post(&mut stage, queue, 1, &[there.sge(0, 16)]).expect("room");
        post(&mut stage, queue, 2, &[there.sge(128, 16)]).expect("room");
        stage.start(links[0].left, 7, send(&[here.sge(0, 100)]));
        failed(context, &stage.wait(links[0].right, 1)[0], 1, Syndrome::LocalLength);
        failed(context, &stage.wait(links[0].left, 1)[0], 7, Syndrome::RemoteInvalidRequest);
        stage.done(links[1].left, 8, send(&[here.sge(0, 16)]), CompletionKind::Send);
        assert_eq!(stage.wait(links[1].right, 1)[0].id, 2);
        links[0] = stage.renew(links[0]);
    }
    stage.nothing_more();
}

fn outlives(context: &Context) {
    let mut stage = Stage::new(context);
    let queue = create(&mut stage);
    let there = stage.memory(Place::Right, 64);
    (0..8).for_each(|id| post(&mut stage, queue, id, &[there.sge(0, 8)]).expect("room"));
    for id in 0..8 {
        let link = link(&mut stage, queue);
        stage.done(link.left, 1, send(&[]), CompletionKind::Send);
        assert_eq!(stage.wait(link.right, 1)[0].id, id);
        stage.backend(Place::Right).destroy_queue_pair(link.right.handle).expect("destroying");
        stage.backend(Place::Left).destroy_queue_pair(link.left.handle).expect("destroying");
    }
    stage.nothing_more();
}
