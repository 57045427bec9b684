//! Requests that must fail: with their syndrome, the queue pair in the error state, everything else flushed, and no
//! byte moved.

use pmd_core::{
    memory::{Access, LocalKey, RemoteAddress, RemoteKey, Sge},
    provider::{Completion, CompletionKind, Operation, Payload},
    queue::QueuePairState,
    wire::Syndrome,
};

use super::{Case, case, lifetime::works};
use crate::{
    bed::{Ability, Place},
    context::{Context, pattern},
    memory::Memory,
    stage::{Link, Stage, all, send, write},
};

pub(super) const CASES: &[Case] = &[
    case("errors::a_wrong_local_key", wrong_local_key),
    case("errors::local_bounds", local_bounds),
    case("errors::local_memory_of_another_domain", foreign_local),
    case("errors::results_need_the_right_to_write", local_right),
    case("errors::a_wrong_remote_key", wrong_remote_key),
    case("errors::remote_bounds", remote_bounds),
    case("errors::a_missing_remote_right", remote_right),
    case("errors::remote_memory_of_another_domain", foreign_remote),
    case("errors::memory_that_was_deregistered", deregistered),
    case("errors::a_misaligned_atomic", misaligned),
    case("errors::a_receive_that_is_too_short", short_receive),
    case("errors::a_receive_that_may_not_be_written", unwritable_receive),
    case("errors::what_came_before_an_error_is_done", before_the_error),
    case("errors::other_queue_pairs_go_on", others_go_on),
];

/// A completion failed; with this syndrome where the bed names errors exactly.
pub(super) fn failed(context: &Context, completion: &Completion, id: u64, syndrome: Syndrome) {
    assert_eq!(completion.id, id, "{completion:?}");
    let found = completion.result.expect_err("a request that must fail").syndrome;
    if context.has(Ability::ExactErrors) || syndrome == Syndrome::Flushed {
        assert_eq!(found, syndrome, "{completion:?}");
    }
}

/// Memory that failing requests are about, and a link between its owners.
struct Scene {
    stage: Stage,
    link: Link,
    here: Memory,
    there: Memory,
}

impl Scene {
    fn new(context: &Context) -> Self {
        let (stage, link) = Stage::connected(context);
        let (here, there) = stage.memories(8192);
        Self { stage, link, here, there }
    }

    /// `operation` fails with `syndrome`, changes nothing, and takes both sides down; then they work again.
    fn fails(&mut self, syndrome: Syndrome, operation: Operation<'_>) {
        self.fails_somehow(syndrome, operation);
        let Self { here, there, .. } = self;
        assert!(there.read(64, 8128) == pattern(2, 8192)[64..], "a failed request, or one behind it, wrote");
        assert!(here.read(64, 8128) == pattern(1, 8192)[64..], "a failed request wrote back");
    }

    /// As [`Scene::fails`], where what was changed before the error was found is not known: the result of a read or
    /// atomic is looked at last, and requests behind it may have reached the peer; of several pieces some may be written.
    fn fails_somehow(&mut self, syndrome: Syndrome, operation: Operation<'_>) {
        let Self { stage, link, here, there } = self;
        let context = stage.context.clone();
        here.write(0, &pattern(1, 8192));
        there.write(0, &pattern(2, 8192));
        stage.receive(link.left, 1000, &[here.sge(0, 8)]);
        stage.receive(link.right, 1001, &[there.sge(0, 8)]);
        stage.post(link.left, 1, operation);
        let follower = [here.sge(512, 64)];
        stage.post(link.left, 2, write(there.remote(512), &follower));
        stage.ring(link.left);
        let mut done = stage.wait(link.left, 3);
        done.sort_by_key(|one| one.id);
        failed(&context, &done[0], 1, syndrome);
        assert!(!done[0].result.is_err_and(|error| error.is_receive));
        failed(&context, &done[1], 2, Syndrome::Flushed);
        failed(&context, &done[2], 1000, Syndrome::Flushed);
        assert_eq!(stage.state(link.left), QueuePairState::Error);
        let at_peer = !matches!(syndrome, Syndrome::LocalProtection);
        if at_peer && context.has(Ability::RefusalFailsPeer) {
            let flushed = stage.wait(link.right, 1)[0];
            failed(&context, &flushed, 1001, Syndrome::Flushed);
            assert_eq!(stage.state(link.right), QueuePairState::Error);
        }
        *link = stage.renew(*link);
        works(stage, *link, (here, there), 5);
    }

    /// The requests that name local memory.
    fn fails_locally(&mut self, local: Sge) {
        let (remote, good) = (self.there.remote(64), self.here.sge(64, 8));
        self.fails(Syndrome::LocalProtection, write(remote, &[local]));
        // The first piece may be there already.
        self.fails_somehow(Syndrome::LocalProtection, write(remote, &[good, local]));
        self.fails(Syndrome::LocalProtection, send(&[local]));
        self.fails_to_write_back(local);
    }

    /// The requests whose result goes to local memory.
    fn fails_to_write_back(&mut self, local: Sge) {
        let remote = self.there.remote(64);
        self.fails_somehow(Syndrome::LocalProtection, Operation::Read { remote, local: &[local] });
        if local.length == 8 {
            self.fails_somehow(
                Syndrome::LocalProtection,
                Operation::CompareSwap { remote, local, compare: 0, swap: 1 },
            );
        }
    }

    /// The requests that name remote memory, of `length` bytes.
    fn fails_remotely(&mut self, remote: RemoteAddress, length: usize) {
        let local = [self.here.sge(64, length)];
        self.fails(Syndrome::RemoteAccess, write(remote, &local));
        let payload = Payload::Gather(&local);
        self.fails(
            Syndrome::RemoteAccess,
            Operation::WriteImmediate { remote, local: payload, immediate: 3 },
        );
        self.fails(Syndrome::RemoteAccess, Operation::Read { remote, local: &local });
        if length == 8 {
            let local = local[0];
            self.fails(Syndrome::RemoteAccess, Operation::FetchAdd { remote, local, add: 1 });
            self.fails(Syndrome::RemoteAccess, Operation::CompareSwap { remote, local, compare: 0, swap: 1 });
        }
    }
}

fn wrong_local_key(context: &Context) {
    let mut scene = Scene::new(context);
    let good = scene.here.sge(0, 8);
    for key in [good.key.0 ^ 1 << 20, good.key.0 ^ 1, 0, u32::MAX] {
        scene.fails_locally(Sge { key: LocalKey(key), ..good });
    }
    scene.stage.nothing_more();
}

fn local_bounds(context: &Context) {
    let mut scene = Scene::new(context);
    let inside = scene.here.sge(8184, 8);
    scene.fails_locally(Sge { length: 9, ..inside });
    scene.fails_locally(Sge { address: inside.address + 8, ..inside });
    scene.fails_locally(Sge { address: scene.here.address() - 8, ..inside });
    scene.fails_locally(Sge { address: u64::MAX - 15, ..inside });
    scene.stage.nothing_more();
}

fn foreign_local(context: &Context) {
    let mut scene = Scene::new(context);
    let foreign = scene.stage.device(Place::Left).foreign_memory(64, all());
    scene.fails_locally(foreign.sge(0, 8));
    scene.stage.nothing_more();
}

fn local_right(context: &Context) {
    let mut scene = Scene::new(context);
    let read_only = scene.stage.device(Place::Left).memory(64, Access::REMOTE_READ);
    scene.fails_to_write_back(read_only.sge(0, 8));
    assert_eq!(read_only.word(0), 0);
    scene.stage.nothing_more();
}

fn wrong_remote_key(context: &Context) {
    let mut scene = Scene::new(context);
    let good = scene.there.remote(64);
    for key in [good.key.0 ^ 1 << 20, good.key.0 ^ 1, 0, u32::MAX] {
        scene.fails_remotely(RemoteAddress { key: RemoteKey(key), ..good }, 8);
    }
    scene.stage.nothing_more();
}

fn remote_bounds(context: &Context) {
    let mut scene = Scene::new(context);
    let good = scene.there.remote(0);
    for (address, length) in [
        (good.address + 8185, 8),
        (good.address + 8192, 1),
        (good.address - 1, 2),
        (good.address + 4096, 4097),
        (u64::MAX - 3, 8),
        (0, 8),
    ] {
        let remote = RemoteAddress { address, ..good };
        let local = [scene.here.sge(64, length)];
        scene.fails(Syndrome::RemoteAccess, write(remote, &local));
        scene.fails(Syndrome::RemoteAccess, Operation::Read { remote, local: &local });
    }
    scene.stage.nothing_more();
}

fn remote_right(context: &Context) {
    let mut scene = Scene::new(context);
    let device = scene.stage.device(Place::Right).clone();
    let memory = |access| device.memory(64, access);
    let (readable, writable) =
        (memory(Access::REMOTE_READ), memory(Access::LOCAL_WRITE | Access::REMOTE_WRITE));
    let (both, local) = (memory(Access::READ_WRITE), scene.here.sge(64, 8));
    scene.fails(Syndrome::RemoteAccess, write(readable.remote(0), &[local]));
    scene.fails(Syndrome::RemoteAccess, Operation::Read { remote: writable.remote(0), local: &[local] });
    let remote = both.remote(0);
    scene.fails(Syndrome::RemoteAccess, Operation::FetchAdd { remote, local, add: 1 });
    scene.fails(Syndrome::RemoteAccess, Operation::CompareSwap { remote, local, compare: 0, swap: 9 });
    assert!([&readable, &writable, &both].iter().all(|memory| memory.read(0, 64) == [0; 64]));
    scene.stage.nothing_more();
}

fn foreign_remote(context: &Context) {
    let mut scene = Scene::new(context);
    let foreign = scene.stage.device(Place::Right).foreign_memory(64, all());
    scene.fails_remotely(foreign.remote(0), 8);
    assert_eq!(foreign.read(0, 64), [0; 64]);
    scene.stage.nothing_more();
}

fn deregistered(context: &Context) {
    let mut scene = Scene::new(context);
    let (mut here, mut there) = scene.stage.memories(64);
    works(&mut scene.stage, scene.link, (&here, &there), 6);
    let bytes = (here.read(0, 64), there.read(0, 64));
    here.deregister();
    there.deregister();
    scene.fails_locally(here.sge(0, 8));
    scene.fails_remotely(there.remote(0), 8);
    assert_eq!((here.read(0, 64), there.read(0, 64)), bytes);
    scene.stage.nothing_more();
}

fn misaligned(context: &Context) {
    let mut scene = Scene::new(context);
    let local = scene.here.sge(64, 8);
    for offset in [1, 4, 7] {
        let remote = scene.there.remote(64 + offset);
        scene.fails(Syndrome::RemoteInvalidRequest, Operation::FetchAdd { remote, local, add: 1 });
        let swap = Operation::CompareSwap { remote, local, compare: 0, swap: 1 };
        scene.fails(Syndrome::RemoteInvalidRequest, swap);
    }
    scene.stage.nothing_more();
}

fn short_receive(context: &Context) {
    let (mut stage, mut link) = Stage::connected(context);
    let (here, there) = stage.memories(200_000);
    for (room, length) in [(0, 1), (8, 9), (64, 4096), (8, 100_000), (5000, 5001)] {
        there.fill(0xee);
        stage.receive(link.right, 1000, &[there.sge(64, room)]);
        stage.receive(link.right, 1001, &[]);
        stage.post(link.left, 1, send(&[here.sge(0, length)]));
        stage.post(link.left, 2, write(there.remote(0), &[here.sge(0, 8)]));
        stage.ring(link.left);
        let (sent, received) = (stage.wait(link.left, 2), stage.wait(link.right, 2));
        failed(context, &sent[0], 1, Syndrome::RemoteInvalidRequest);
        failed(context, &sent[1], 2, Syndrome::Flushed);
        failed(context, &received[0], 1000, Syndrome::LocalLength);
        failed(context, &received[1], 1001, Syndrome::Flushed);
        assert!(received.iter().all(|one| one.result.is_err_and(|error| error.is_receive)));
        let states = [stage.state(link.left), stage.state(link.right)];
        assert_eq!(states, [QueuePairState::Error; 2]);
        assert_eq!(there.read(64 + room, 64), [0xee; 64], "beyond the receive");
        if context.has(Ability::MessageOrder) {
            assert_eq!(there.read(0, 64), [0xee; 64], "the write behind the message");
        }
        link = stage.renew(link);
        works(&mut stage, link, (&here, &there), 7);
    }
    stage.nothing_more();
}

fn unwritable_receive(context: &Context) {
    let (mut stage, mut link) = Stage::connected(context);
    // Longer than what fits into a completion entry.
    let (here, there) = stage.memories(100);
    let read_only = stage.device(Place::Right).memory(100, Access::REMOTE_READ);
    let wrong_key = Sge { key: LocalKey(there.local_key().0 ^ 1 << 20), ..there.sge(0, 100) };
    for scatter in [read_only.sge(0, 100), wrong_key] {
        stage.receive(link.right, 1000, &[scatter]);
        stage.start(link.left, 1, send(&[here.sge(0, 100)]));
        let (sent, received) = (stage.wait(link.left, 1)[0], stage.wait(link.right, 1)[0]);
        failed(context, &sent, 1, Syndrome::RemoteOperation);
        failed(context, &received, 1000, Syndrome::LocalProtection);
        assert_eq!(stage.state(link.right), QueuePairState::Error);
        link = stage.renew(link);
        works(&mut stage, link, (&here, &there), 8);
    }
    assert_eq!(read_only.read(0, 100), [0; 100]);
    stage.nothing_more();
}

/// Of a batch with a bad request in it, those before have moved their bytes, those after have not.
fn before_the_error(context: &Context) {
    let (mut stage, mut link) = Stage::connected(context);
    let (here, there) = stage.memories(16 * 512);
    for bad in context.scale(vec![5], (0..16).collect()) {
        here.write(0, &pattern(bad, 16 * 512));
        there.fill(0);
        for id in 0..16_u64 {
            let offset = id as usize * 512;
            let mut remote = there.remote(offset);
            remote.key.0 ^= u32::from(id == bad) << 20;
            stage.post(link.left, id, write(remote, &[here.sge(offset, 512)]));
        }
        stage.ring(link.left);
        for (id, done) in (0..).zip(stage.wait(link.left, 16)) {
            match id {
                _ if id < bad => assert_eq!((done.id, done.result), (id, Ok(CompletionKind::Write))),
                _ if id == bad => failed(context, &done, id, Syndrome::RemoteAccess),
                _ => failed(context, &done, id, Syndrome::Flushed),
            }
        }
        let moved = bad as usize * 512;
        assert!(there.read(0, moved) == here.read(0, moved), "requests before the bad one are done");
        assert!(
            there.read(moved, there.length() - moved).iter().all(|byte| *byte == 0),
            "later ones are not"
        );
        link = stage.renew(link);
    }
    stage.nothing_more();
}

fn others_go_on(context: &Context) {
    let (mut stage, bad) = Stage::connected(context);
    let good = stage.link(&crate::stage::config());
    let (here, there) = stage.memories(4096);
    let mut remote = there.remote(64);
    remote.key.0 ^= 1 << 20;
    for id in 0..20 {
        stage.start(good.left, id, write(there.remote(128), &[here.sge(0, 64)]));
        if id == 10 {
            stage.start(bad.left, 1, write(remote, &[here.sge(0, 64)]));
        }
    }
    failed(context, &stage.wait(bad.left, 1)[0], 1, Syndrome::RemoteAccess);
    let ids: Vec<_> = stage.wait(good.left, 20).iter().map(|one| (one.id, one.result)).collect();
    assert_eq!(ids, (0..20).map(|id| (id, Ok(CompletionKind::Write))).collect::<Vec<_>>());
    works(&mut stage, good, (&here, &there), 9);
    assert_eq!(stage.state(good.right), QueuePairState::ReadyToSend);
    stage.nothing_more();
}
