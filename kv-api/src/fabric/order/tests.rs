use proptest::prelude::*;

use super::*;

fn order_of(addresses: &[u64], length: u64, spares: &PlanSpares) -> Option<Order> {
    by_remote_address(addresses.len(), |at| (addresses[at], length), spares)
}

/// The order of pieces of 8 bytes whose ranks are known, and how many of them; and whether addresses were sorted for it.
fn order_by(ranks: &[u32], below: usize) -> (Option<Vec<u32>>, bool) {
    let spares = PlanSpares::default();
    let ranks_and_below = Some((|at: usize| ranks[at], below));
    let place = |at: usize| (u64::from(ranks[at]) * 64, 8);
    let places = Places { count: ranks.len(), place, ranks: ranks_and_below };
    let order = places.order(&spares).map(|order| order.to_vec());
    (order, spares.keys.count() > 0)
}

fn expected_by(ranks: &[u32]) -> Option<Vec<u32>> {
    Some(expected(&ranks.iter().map(|rank| u64::from(*rank)).collect::<Vec<_>>()))
}

fn order(addresses: &[u64]) -> Option<Vec<u32>> {
    order_of(addresses, 1, &PlanSpares::default()).map(|order| order.to_vec())
}

fn expected(addresses: &[u64]) -> Vec<u32> {
    let mut order: Vec<u32> = (0..addresses.len() as u32).collect();
    order.sort_by_key(|place| addresses[*place as usize]);
    order
}

proptest! {
    #[test]
    fn sorts_as_a_stable_sort_does(
        addresses in prop::collection::vec(any::<u64>(), FEW..2000),
        (keep, shift) in (1_u32..64, 0_u32..48),
    ) {
        let addresses: Vec<u64> =
            addresses.iter().map(|address| (address >> (64 - keep)).wrapping_shl(shift)).collect();
        prop_assert_eq!(order(&addresses), Some(expected(&addresses)));
    }
}

#[test]
fn the_ends_of_the_address_space_and_equal_addresses_are_sorted_too() {
    for addresses in [vec![7; 600], vec![0; 40], (0..700).map(|at| [u64::MAX, 0][at % 2]).collect()] {
        assert_eq!(order(&addresses), Some(expected(&addresses)), "{:?}", &addresses[..2]);
    }
}

proptest! {
    #[test]
    fn ranks_give_the_order_that_addresses_do(
        ranks in Just((0..4096_u32).collect::<Vec<_>>()).prop_shuffle(),
        count in 2048_usize..=4096,
    ) {
        prop_assert_eq!(order_by(&ranks[..count], 4096), (expected_by(&ranks[..count]), false));
    }
}

#[test]
fn ranks_that_are_shared_or_few_among_many_are_not_used() {
    let falling: Vec<u32> = (0..4096).rev().collect();
    let twice: Vec<u32> = falling.iter().map(|rank| rank / 2).collect();
    assert_eq!(order_by(&falling, 4096), (expected_by(&falling), false));
    assert_eq!(
        order_by(&twice, 4096),
        (expected_by(&twice), true),
        "the first of two at one address stays first"
    );
    assert_eq!(order_by(&falling, 4 * 4096), (expected_by(&falling), false));
    assert_eq!(order_by(&falling, 5 * 4096), (expected_by(&falling), true));
}

#[test]
fn few_and_long_ones_keep_their_order() {
    assert_eq!(order_by(&[3, 2, 1], 4).0, None);
    let places: Vec<u64> = (0..64).rev().map(|at| at << 20).collect();
    assert!(order_of(&places, LONG, &PlanSpares::default()).is_some());
    assert!(order_of(&places, LONG + 1, &PlanSpares::default()).is_none());
}

#[test]
fn what_sorting_took_is_left_for_the_next_time() {
    let spares = PlanSpares::default();
    let addresses: Vec<u64> = (0..10_000).rev().collect();
    for _ in 0..3 {
        drop(order_of(&addresses, 1, &spares));
        assert_eq!((spares.orders.count(), spares.keys.count()), (1, 2));
    }
}

/// Whether these places, with their bytes, are in order.
fn ordered(places: impl IntoIterator<Item = (u64, u64)>) -> bool {
    let places: Vec<_> = places.into_iter().collect();
    is_in_order(places.len(), |at| places[at])
}

#[test]
fn long_runs_keep_their_order_and_short_ones_do_not() {
    let runs =
        |of: u64| (0..4096 / of).rev().flat_map(move |run| (0..of).map(move |at| ((run * of + at) * 8, 8)));
    assert!(ordered((0..4096).map(|at| (at * 64, 8))), "gaps, but ascending");
    assert!(ordered(runs(128)));
    assert!(!ordered(runs(16)));
    assert!(!ordered((0..4096).rev().map(|at| (at * 8, 8))));
    // Two rows, each in order, whose blocks are neighbours: K and V side by side.
    let rows = (0..2).flat_map(|row| (0..2048).map(move |at| (at * 16 + row * 8, 8)));
    assert!(!ordered(rows));
    assert!(ordered([]));
}

/// What a list gathers of pieces of 8 bytes, and which of them are asked for.
fn gathered(places: &[u64], wrong: &[usize]) -> (Result<usize, usize>, Vec<usize>) {
    let mut asked = Vec::new();
    let kind = (Direction::Write, WorkListLimits::default());
    let place = |at: usize| (places[at], 8);
    let mut piece = |at: usize| {
        asked.push(at);
        let local = LocalPiece { address: 64 * at as u64, length: 8, key: LocalKey(1) };
        let remote = RemoteAddress { address: places[at], key: RemoteKey(2) };
        if wrong.contains(&at) { Err(at) } else { Ok(Piece::new(local, remote)) }
    };
    let places = Places { count: places.len(), place, ranks: None::<(NoRanks, usize)> };
    let pieces = |numbers: Numbers<'_>, into: &mut Vec<Piece>| {
        (0..numbers.count()).try_for_each(|position| {
            into.push(piece(numbers.at(position))?);
            Ok(())
        })
    };
    let list = gather(&PlanSpares::default(), kind, &places, pieces, |_, _| {});
    (list.map(|(list, _)| list.entries().len()), asked)
}

#[test]
fn each_piece_is_asked_for_once_and_the_first_that_fails_is_told() {
    let (rising, falling): (Vec<u64>, Vec<u64>) =
        ((0..1000).map(|at| 8 * at).collect(), (0..1000).rev().map(|at| 8 * at).collect());
    let requests = 1000_usize.div_ceil(usize::from(WorkListLimits::default().max_sges));
    let all: Vec<usize> = (0..1000).collect();
    assert_eq!(gathered(&rising, &[]), (Ok(requests), all.clone()));
    assert_eq!(gathered(&falling, &[]), (Ok(requests), all.into_iter().rev().collect()));
    assert_eq!(gathered(&rising, &[700, 300]).0, Err(300));
    assert_eq!(gathered(&falling, &[700, 300]).0, Err(300));
}
