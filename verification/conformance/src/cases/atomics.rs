//! Atomics of many queue pairs on one word: nothing is lost, and every earlier value is told once.

use std::{collections::BTreeSet, thread};

use pmd_core::{
    memory::RemoteAddress,
    provider::{Completion, CompletionKind, Operation, Provider, SendFlags, SendRequest},
};
use pmd_host::backend::Backend;

use super::{Case, case};
use crate::{
    any::AnyBackend,
    bed::Place,
    context::Context,
    memory::Memory,
    stage::{Link, Stage, all, config},
};

pub(super) const CASES: &[Case] = &[
    case("atomics::sums_of_many_queue_pairs_are_exact", sums),
    case("atomics::swaps_of_many_queue_pairs_succeed_once_each", swaps),
    case("atomics::sums_of_many_threads_are_exact", threads),
];

/// Queue pairs that compete.
const RIVALS: usize = 4;

fn sums(context: &Context) {
    let mut stage = Stage::new(context);
    let links: Vec<Link> = (0..RIVALS).map(|_| stage.link(&config())).collect();
    let (here, there) = stage.memories(4096);
    let rounds = context.scale(20, 300_u64);
    let mut seen = BTreeSet::new();
    for _ in 0..rounds {
        for (rival, link) in links.iter().enumerate() {
            for part in 0..8 {
                let local = here.sge((rival * 8 + part) * 8, 8);
                let operation = Operation::FetchAdd { remote: there.remote(64), local, add: 1 };
                stage.post(link.left, part as u64, operation);
            }
        }
        links.iter().for_each(|link| stage.ring(link.left));
        for (rival, link) in links.iter().enumerate() {
            let done = stage.wait(link.left, 8);
            assert!(done.iter().all(|one| one.result == Ok(CompletionKind::FetchAdd)), "{done:?}");
            for part in 0..8 {
                assert!(seen.insert(here.word((rival * 8 + part) * 8)), "an earlier value was told twice");
            }
        }
    }
    let total = rounds * 8 * RIVALS as u64;
    assert_eq!(there.word(64), total);
    assert_eq!(seen, (0..total).collect(), "every earlier value was told once");
    stage.nothing_more();
}

/// Each rival counts the word up by compare and swap, and begins again where another was faster.
fn swaps(context: &Context) {
    let mut stage = Stage::new(context);
    let links: Vec<Link> = (0..RIVALS).map(|_| stage.link(&config())).collect();
    let (here, there) = stage.memories(4096);
    let each = context.scale(10, 150_u64);
    let mut expected = [0_u64; RIVALS];
    let mut won = [0_u64; RIVALS];
    while won.iter().any(|won| *won < each) {
        let begun: Vec<usize> = (0..RIVALS).filter(|rival| won[*rival] < each).collect();
        for rival in &begun {
            let (compare, local) = (expected[*rival], here.sge(rival * 8, 8));
            let operation =
                Operation::CompareSwap { remote: there.remote(0), local, compare, swap: compare + 1 };
            stage.start(links[*rival].left, 1, operation);
        }
        for rival in begun {
            assert_eq!(stage.wait(links[rival].left, 1)[0].result, Ok(CompletionKind::CompareSwap));
            let old = here.word(rival * 8);
            let success = old == expected[rival];
            won[rival] += u64::from(success);
            expected[rival] = old + u64::from(success);
        }
    }
    assert_eq!(there.word(0), each * RIVALS as u64);
    stage.nothing_more();
}

/// Rivals with back ends and threads of their own.
fn threads(context: &Context) {
    const THREADS: usize = 2;
    let mut stage = Stage::new(context);
    let there = stage.memory(Place::Right, 64);
    let adds = context.scale(100, 2000_u64);
    let options = context.bed.options();
    let mut rivals = Vec::new();
    for _ in 0..THREADS {
        let mut backend = stage.device(Place::Left).backend(256);
        let (handle, peer) = (
            backend.create_queue_pair(&config()).expect("a queue pair"),
            stage.create(Place::Right, &config()),
        );
        let address = backend.address(handle).expect("an address");
        let right = stage.backend(Place::Right);
        let peer_address = right.address(peer.handle).expect("an address");
        right.connect(peer.handle, &address, &options).expect("connecting");
        backend.connect(handle, &peer_address, &options).expect("connecting");
        let own = stage.device(Place::Left).memory(64, all());
        rivals.push((backend, handle, own));
    }
    let remote = there.remote(8);
    let mut running: Vec<_> = rivals
        .into_iter()
        .map(|(backend, handle, own)| Some(thread::spawn(move || add(backend, handle, &own, remote, adds))))
        .collect();
    let mut seen = BTreeSet::new();
    stage.until("the rivals' threads", |_| {
        for thread in &mut running {
            if thread.as_ref().is_some_and(thread::JoinHandle::is_finished) {
                seen.extend(thread.take().into_iter().flat_map(|thread| thread.join().expect("a rival")));
            }
        }
        running.iter().all(Option::is_none).then_some(())
    });
    let total = adds * THREADS as u64;
    assert_eq!((there.word(8), seen.len() as u64), (total, total));
    stage.nothing_more();
}

/// Adds one so many times; the earlier values.
fn add(
    mut backend: AnyBackend,
    handle: pmd_core::provider::QueuePairHandle,
    own: &Memory,
    remote: RemoteAddress,
    times: u64,
) -> Vec<u64> {
    let mut seen = Vec::new();
    for id in 0..times {
        let operation = Operation::FetchAdd { remote, local: own.sge(0, 8), add: 1 };
        let request = SendRequest { id, operation, flags: SendFlags::SIGNALED };
        backend.post_send(handle, &request).expect("room");
        backend.ring_send(handle);
        let mut done = [Completion::EMPTY];
        while backend.poll(&mut done).expect("polling") == 0 {
            thread::yield_now();
        }
        assert_eq!((done[0].id, done[0].result), (id, Ok(CompletionKind::FetchAdd)));
        seen.push(own.word(0));
    }
    seen
}
