use proptest::prelude::*;

use super::*;

fn pieces(addresses: &[u64]) -> Vec<Piece> {
    let piece = |remote: &u64| Piece { remote: *remote, local: 0, length: 1, rkey: 0, lkey: 0 };
    addresses.iter().map(piece).collect()
}

fn order(addresses: &[u64]) -> Option<Vec<u32>> {
    by_remote_address(&pieces(addresses), &PlanSpares::default()).map(|order| order.to_vec())
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
    let mut long = pieces(&(0..64).rev().map(|at| at << 20).collect::<Vec<u64>>());
    assert!(by_remote_address(&long, &PlanSpares::default()).is_some());
    long.iter_mut().for_each(|piece| piece.length = LONG + 1);
    assert!(by_remote_address(&long, &PlanSpares::default()).is_none());
}

#[test]
fn what_sorting_took_is_left_for_the_next_time() {
    let spares = PlanSpares::default();
    let addresses: Vec<u64> = (0..10_000).rev().collect();
    for _ in 0..3 {
        drop(by_remote_address(&pieces(&addresses), &spares));
        assert_eq!((spares.orders.count(), spares.keys.count()), (1, 2));
    }
}

#[test]
fn long_runs_keep_their_order_and_short_ones_do_not() {
    let runs =
        |of: u64| (0..4096 / of).rev().flat_map(move |run| (0..of).map(move |at| ((run * of + at) * 8, 8)));
    assert!(is_in_order(4096, (0..4096).map(|at| (at * 64, 8))), "gaps, but ascending");
    assert!(is_in_order(4096, runs(128)));
    assert!(!is_in_order(4096, runs(16)));
    assert!(!is_in_order(4096, (0..4096).rev().map(|at| (at * 8, 8))));
    // Two rows, each in order, whose blocks are neighbours: K and V side by side.
    let rows = (0..2).flat_map(|row| (0..2048).map(move |at| (at * 16 + row * 8, 8)));
    assert!(!is_in_order(4096, rows));
    assert!(is_in_order(0, std::iter::empty()));
}
