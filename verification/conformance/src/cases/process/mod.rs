//! Peers in processes of their own, which are killed at a place in their work that the seed decides.
//!
//! The peer is this program again, with a part to play in its environment; both sides are endpoints. What has to hold:
//! everything outstanding gets an outcome, what was told to be done is whole, nothing is written once the route is
//! down, and other peers go on.
#![allow(unsafe_code)] // registers memory with endpoints

mod child;
mod memory;
mod survivor;

pub use child::run_if_asked;

use std::{
    sync::{Arc, atomic::Ordering},
    thread,
    time::Instant,
};

use pmd_host::{
    endpoint::Peer,
    lane::Route,
    transfer::{Direction, SubmitError, TransferOptions, WaitError, WorkList},
};

use self::{
    child::{Child, Order},
    memory::{BLOCK, HALF, ROUNDS, Shared, list},
    survivor::Survivor,
};
use super::{Case, case_with};
use crate::{
    bed::Ability,
    context::{Context, Random, pattern},
};

pub(super) const CASES: &[Case] = &[
    case_with("process::a_living_peer_gets_and_gives_everything", &[Ability::Processes], living),
    case_with(
        "process::killed_peers_fail_what_is_outstanding_and_nothing_else",
        &[Ability::Processes],
        killed,
    ),
];

fn living(context: &Context) {
    let survivor = Survivor::open(context);
    let child = Child::start(context);
    let peer = survivor.connect(&child);
    survivor.expect_pushes();
    child.order(&peer, &Order { inbox: survivor.inbox_for_peer(), die_after: None });
    let mine = survivor.memory(2 * HALF);
    for _ in 0..context.scale(3, 10) {
        whole_copy(&survivor, &peer, &mine, &child);
    }
    survivor.until("all pushes", || survivor.pushed().len() as u64 == ROUNDS);
    assert_eq!(survivor.pushed(), (0..ROUNDS).map(|round| (round, true)).collect::<Vec<_>>());
    assert_eq!(survivor.downs(), 0);
}

/// Reads the peer's half and compares, then writes this side's half.
fn whole_copy(survivor: &Survivor, peer: &Peer, mine: &Shared, child: &Child) {
    mine.write(0, &vec![0; HALF]);
    for work in [reading(peer, mine, child), writing(peer, mine, child)] {
        let submitted = peer.route().submit_waiting(&work, TransferOptions::default(), survivor.deadline());
        let outcome = submitted.expect("the peer lives").wait(survivor.deadline());
        assert_eq!(outcome.expect("the peer lives").bytes as usize, HALF);
    }
    assert!(mine.read(0, HALF) == pattern(child::CONTENT, HALF), "the peer's bytes");
}

fn reading(peer: &Peer, mine: &Shared, child: &Child) -> Arc<WorkList> {
    list(Direction::Read, [(mine.piece(peer.transport(), 0, HALF), child.remote(0))])
}

fn writing(peer: &Peer, mine: &Shared, child: &Child) -> Arc<WorkList> {
    list(Direction::Write, [(mine.piece(peer.transport(), HALF, HALF), child.remote(HALF))])
}

fn killed(context: &Context) {
    let survivor = Survivor::open(context);
    let bystander = Child::start(context);
    let living = survivor.connect(&bystander);
    let mine = survivor.memory(2 * HALF);
    for seed in 0..context.seeds {
        kill_one(context, &survivor, &mine, seed);
        assert_eq!(survivor.downs(), seed + 1, "told once of each peer");
        whole_copy(&survivor, &living, &mine, &bystander);
        assert_eq!(living.route().fault(), None);
    }
}

/// A peer that dies by its own hand in the middle of its pushes, or by this side's in the middle of ours.
fn kill_one(context: &Context, survivor: &Survivor, mine: &Shared, seed: u64) {
    let mut random = context.random(1000 + seed);
    let child = Child::start(context);
    let peer = survivor.connect(&child);
    survivor.expect_pushes();
    let suicide = seed.is_multiple_of(2);
    let die_after = suicide.then(|| random.below(ROUNDS as usize) as u64);
    child.order(&peer, &Order { inbox: survivor.inbox_for_peer(), die_after });
    let before = survivor.done.load(Ordering::Relaxed);
    thread::scope(|scope| {
        let reads = scope.spawn(|| reads_until_failure(survivor, &peer, mine, &child));
        let writes =
            scope.spawn(|| until_failure(survivor, peer.route(), &writing(&peer, mine, &child), || ()));
        if !suicide {
            kill_somewhere(survivor, &child, before, &mut random);
        }
        for stream in [reads, writes] {
            stream.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
    survivor.until("word of the peer's death", || peer.down_reason().is_some());
    survivor.until("the route's end", || peer.route().fault().is_some());
    let refused = peer.route().submit(&reading(&peer, mine, &child), TransferOptions::default());
    assert!(matches!(refused, Err(SubmitError::RouteFailed(_))), "seed {seed}: {refused:?}");
    survivor.until("the service to be told", || survivor.downs() > seed);
    whole_or_nothing(survivor, seed);
    child.reap();
}

/// Kills the child once this side has done so many transfers with it, and a little later.
fn kill_somewhere(survivor: &Survivor, child: &Child, before: u64, random: &mut Random) {
    let (transfers, turns) = (random.below(12) as u64, random.below(300));
    survivor.until("transfers", || survivor.done.load(Ordering::Relaxed) >= before + transfers);
    (0..turns).for_each(|_| thread::yield_now());
    child.kill();
}

fn reads_until_failure(survivor: &Survivor, peer: &Peer, mine: &Shared, child: &Child) {
    let expected = pattern(child::CONTENT, HALF);
    until_failure(survivor, peer.route(), &reading(peer, mine, child), || {
        assert!(mine.read(0, HALF) == expected, "a read that was done is whole");
        mine.write(0, &vec![0; HALF]);
    });
}

/// Submits again and again until the peer is gone; every transfer has an outcome.
fn until_failure(survivor: &Survivor, route: &Route, work: &Arc<WorkList>, check: impl Fn()) {
    let deadline = survivor.deadline();
    loop {
        assert!(deadline.is_some_and(|at| Instant::now() < at), "hanging: the peer's death goes unnoticed");
        let Ok(mut transfer) = route.submit_waiting(work, TransferOptions::default(), deadline) else {
            return;
        };
        match transfer.wait(deadline) {
            Ok(outcome) => {
                assert_eq!(outcome.bytes as usize, HALF);
                survivor.done.fetch_add(1, Ordering::Relaxed);
                check();
            }
            Err(WaitError::Failed(_)) => return,
            Err(WaitError::Timeout) => panic!("hanging: a transfer has no outcome"),
        }
    }
}

/// Every push that was told of is whole, the others hold nothing but their own bytes, and nothing changes any more.
fn whole_or_nothing(survivor: &Survivor, seed: u64) {
    let told = survivor.pushed();
    assert!(told.iter().all(|(_, whole)| *whole), "seed {seed}: {told:?}");
    assert!((0..).zip(&told).all(|(index, (round, _))| index == *round), "seed {seed}: {told:?}");
    let inbox = survivor.inbox();
    for round in 0..ROUNDS {
        let (found, expected) = (inbox.read(round as usize * BLOCK, BLOCK), pattern(round, BLOCK));
        let mixed = found.iter().zip(&expected).all(|(found, expected)| found == expected || *found == 0);
        assert!(mixed, "seed {seed}: block {round} holds foreign bytes");
        assert!(round as usize >= told.len() || found == expected, "seed {seed}: block {round} is not whole");
    }
    inbox.write(0, &vec![0xee; ROUNDS as usize * BLOCK]);
    (0..50).for_each(|_| thread::yield_now());
    let quiet = inbox.read(0, ROUNDS as usize * BLOCK).iter().all(|byte| *byte == 0xee);
    assert!(quiet, "seed {seed}: written after the route went down");
}
