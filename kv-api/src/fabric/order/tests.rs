use proptest::prelude::*;

use super::*;

fn order_of(addresses: &[u64], length: u64, spares: &PlanSpares) -> Option<Order> {
    by_remote_address(addresses.len(), |at| (addresses[at], length), spares)
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

#[test]
fn few_and_long_ones_keep_their_order() {
    assert_eq!(order(&[3, 2, 1]), None);
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
    let piece = |at: usize| {
        asked.push(at);
        let local = LocalPiece { address: 64 * at as u64, length: 8, key: LocalKey(1) };
        let remote = RemoteAddress { address: places[at], key: RemoteKey(2) };
        if wrong.contains(&at) { Err(at) } else { Ok(Piece::new(local, remote)) }
    };
    let list = gather(&PlanSpares::default(), kind, places.len(), place, piece, |_| {});
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
