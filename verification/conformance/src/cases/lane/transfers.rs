//! Transfers of many pieces, alone and beside each other.

use std::sync::Arc;

use pmd_core::wire::Syndrome;
use pmd_host::transfer::{Direction, SubmitError, TransferError, TransferOptions};

use super::{Plan, list, piece, whole};
use crate::{
    bed::Ability,
    cases::{Case, case},
    context::{Context, pattern},
    memory::Memory,
};

pub(super) const CASES: &[Case] = &[
    case("lane::permuted_blocks_arrive_both_ways", permuted),
    case("lane::transfers_share_a_route", beside_each_other),
    case("lane::an_empty_list_is_done_at_once", empty),
    case("lane::a_refused_piece_fails_its_transfer_and_its_route", refused),
    case("lane::another_route_goes_on_after_one_failed", another_goes_on),
];

/// Places of `count` blocks in an order by chance.
fn shuffled(context: &Context, seed: u64, count: usize) -> Vec<usize> {
    let mut random = context.random(seed);
    let mut places: Vec<usize> = (0..count).collect();
    (1..count).rev().for_each(|last| places.swap(last, random.below(last + 1)));
    places
}

fn permuted(context: &Context) {
    let lanes = Plan { queue_pairs: 3, ..Plan::new(context) }.open(context);
    let (count, block) = (context.scale(100, 1000), 3000);
    let (here, there) = lanes.memories(count * block);
    for (round, direction) in (0..).zip([Direction::Write, Direction::Read, Direction::Write]) {
        let places = shuffled(context, round, count);
        let pieces =
            (0..count).map(|index| (piece(&here, index * block, block), there.remote(places[index] * block)));
        let work = list(direction, 10_000, pieces);
        let (source, target) = if direction == Direction::Write { (&here, &there) } else { (&there, &here) };
        source.write(0, &pattern(round, count * block));
        target.fill(0);
        let outcome = lanes.outcome(lanes.submit(0, &work, TransferOptions::default()));
        assert_eq!(outcome.expect("the transfer").bytes as usize, count * block);
        for (index, place) in places.iter().enumerate() {
            let (mine, theirs) = (here.read(index * block, block), there.read(place * block, block));
            assert!(mine == theirs, "block {index} to {place}");
        }
        assert!(source.read(0, count * block) == pattern(round, count * block));
    }
}

/// From both sides at once, in both directions, large and small.
fn beside_each_other(context: &Context) {
    let lanes = Plan::new(context).open(context);
    let rounds = context.scale(5, 40);
    let sizes = [1, 100, 5000, context.scale(100_000, 600_000)];
    let memories: Vec<(Memory, Memory)> =
        (0..4 * sizes.len()).map(|index| lanes.memories(sizes[index / 4])).collect();
    let work: Vec<_> = (0..memories.len())
        .map(|index| {
            let (left, right) = &memories[index];
            let (local, remote) = if index % 2 == 0 { (left, right) } else { (right, left) };
            let direction = if index / 2 % 2 == 0 { Direction::Write } else { Direction::Read };
            whole(direction, 64 << 10, local, remote)
        })
        .collect();
    for round in 0..rounds {
        for (index, (left, right)) in memories.iter().enumerate() {
            // Which side the bytes are on to begin with.
            let from_left = (index % 2 == 0) == (index / 2 % 2 == 0);
            let (source, target) = if from_left { (left, right) } else { (right, left) };
            source.write(0, &pattern(round * 100 + index as u64, source.length()));
            target.fill(0);
        }
        let transfers: Vec<_> = (0..work.len())
            .map(|index| lanes.submit(index % 2, &work[index], TransferOptions::default()))
            .collect();
        for (index, transfer) in transfers.into_iter().enumerate() {
            let outcome = lanes.outcome(transfer).unwrap_or_else(|error| panic!("transfer {index}: {error}"));
            let (left, right) = &memories[index];
            assert_eq!(outcome.bytes as usize, left.length());
            let expected = pattern(round * 100 + index as u64, left.length());
            assert!(left.read(0, left.length()) == expected && right.read(0, left.length()) == expected);
        }
    }
}

fn empty(context: &Context) {
    let lanes = Plan::new(context).open(context);
    let work = list(Direction::Write, 4096, []);
    for _ in 0..10 {
        let outcome = lanes.outcome(lanes.submit(0, &work, TransferOptions::default()));
        assert_eq!(outcome.expect("nothing to do").bytes, 0);
    }
}

/// A list whose piece in the middle has a wrong key.
fn broken(here: &Memory, there: &Memory) -> (Arc<pmd_host::transfer::WorkList>, usize) {
    let block = here.length() / 16;
    let pieces = (0..16).map(|index| {
        let mut remote = there.remote(index * block);
        remote.key.0 ^= u32::from(index == 9) << 20;
        (piece(here, index * block, block), remote)
    });
    (list(Direction::Write, 1 << 20, pieces), block)
}

fn refused(context: &Context) {
    let lanes = Plan { queue_pairs: 1, ..Plan::new(context) }.open(context);
    let (here, there) = lanes.memories(16 * 4096);
    let (work, block) = broken(&here, &there);
    let error = lanes.outcome(lanes.submit(0, &work, TransferOptions::default())).expect_err("a wrong key");
    let TransferError::Failed { syndrome, remote, .. } = error else { panic!("{error:?}") };
    if context.has(Ability::ExactErrors) {
        assert_eq!(syndrome, Syndrome::RemoteAccess);
    }
    let expected = there.address() + 9 * block as u64;
    assert_eq!(remote.address, expected, "the failed piece is named");
    lanes.until("the route's end", || lanes.routes[0].fault().is_some());
    let refused = lanes.routes[0].submit(&work, TransferOptions::default());
    assert!(matches!(refused, Err(SubmitError::RouteFailed(_))), "{refused:?}");
}

fn another_goes_on(context: &Context) {
    let plan = Plan::new(context);
    let lanes = plan.clone().open(context);
    let other = lanes.another_route(&plan);
    let (here, there) = lanes.memories(16 * 4096);
    let good = whole(Direction::Write, 8192, &here, &there);
    let (bad, _) = broken(&here, &there);
    let mut running: Vec<_> =
        (0..5).map(|_| other[0].submit(&good, TransferOptions::default()).expect("room")).collect();
    let failing = lanes.submit(0, &bad, TransferOptions::default());
    running.extend((0..5).map(|_| other[0].submit(&good, TransferOptions::default()).expect("room")));
    assert!(lanes.outcome(failing).is_err());
    for transfer in running {
        assert_eq!(lanes.outcome(transfer).expect("another route").bytes as usize, here.length());
    }
    assert_eq!(other[0].fault(), None);
}
