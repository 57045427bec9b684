use proptest::prelude::*;

use super::*;

fn run(address: u64, stride: u64, count: u64, length: u64, registration: u32) -> Vec<Slot> {
    let slot =
        |index| Slot { address: address.wrapping_add(stride.wrapping_mul(index)), length, registration };
    (0..count).map(slot).collect()
}

/// How many runs a list is kept as; 0 for each descriptor by itself.
fn runs(slots: &[Slot]) -> usize {
    let kept = Slots::new(slots.to_vec());
    assert_eq!(kept.len(), slots.len());
    for (index, slot) in (0..).zip(slots) {
        assert_eq!(kept.at(index), *slot, "{index}");
    }
    match kept {
        Slots::Runs(runs) => runs.firsts.len(),
        Slots::Each(_) => 0,
    }
}

#[test]
fn blocks_of_tensors_are_kept_as_runs() {
    let tensor = |number: u64| run(number << 30, 4096, 100, 4096, number as u32);
    let whole = |numbers: std::ops::Range<u64>| numbers.flat_map(tensor).collect::<Vec<_>>();
    assert_eq!(runs(&whole(0..1)), 1);
    assert_eq!(runs(&whole(0..61)), 61);
    assert_eq!(runs(&whole(0..3)[..250]), 3, "the last may be shorter");
    assert_eq!(runs(&run(1 << 40, 0_u64.wrapping_sub(64), 100, 64, 0)), 1, "downwards");
    assert_eq!(runs(&run(1 << 40, 0, 100, 64, 0)), 1, "the same again and again");
}

#[test]
fn other_lists_are_kept_as_they_are() {
    let tensor = run(1 << 30, 4096, 100, 4096, 0);
    let changed = |change: fn(&mut Vec<Slot>)| {
        let mut slots = tensor.clone();
        change(&mut slots);
        slots
    };
    assert_eq!(runs(&[]), 0);
    assert_eq!(runs(&tensor[..1]), 0);
    assert_eq!(runs(&tensor[..SHORTEST_RUN]), 1);
    assert_eq!(runs(&tensor[..SHORTEST_RUN - 1]), 0);
    assert_eq!(runs(&changed(|slots| slots[50].length = 1)), 0);
    assert_eq!(runs(&changed(|slots| slots[50].address += 1)), 0);
    assert_eq!(runs(&changed(|slots| slots[50].registration = 1)), 0);
    assert_eq!(runs(&changed(|slots| slots.swap(3, 4))), 0);
}

/// Whether a list is ranked; where it is, ranks are compared with the addresses' order.
fn is_ranked(slots: &[Slot]) -> bool {
    let Slots::Runs(runs) = Slots::new(slots.to_vec()) else { return false };
    if runs.ranked {
        let indices: Vec<u32> = (0..slots.len() as u32).collect();
        let ranks = Ranks { line: runs.line(), indices: &indices, below: slots.len() };
        let mut addresses: Vec<u64> = slots.iter().map(|slot| slot.address).collect();
        addresses.sort_unstable();
        for (index, slot) in (0..).zip(slots) {
            assert_eq!(addresses[ranks.of(index as usize) as usize], slot.address, "{index}");
        }
        assert!(addresses.windows(2).all(|pair| pair[0] < pair[1]));
    }
    runs.ranked
}

#[test]
fn blocks_of_runs_that_are_apart_have_ranks() {
    let tensors = |order: &[u64]| -> Vec<Slot> {
        order.iter().flat_map(|number| run(number << 30, 4096, 100, 4096, *number as u32)).collect()
    };
    assert!(is_ranked(&tensors(&[0])));
    assert!(is_ranked(&tensors(&[0, 1, 2])));
    assert!(is_ranked(&tensors(&[2, 0, 3, 1])), "tensors need not ascend");
    assert!(is_ranked(&tensors(&[2, 0, 1])[..250]), "the last may be shorter");
    assert!(!is_ranked(&tensors(&[2, 0, 2])), "one tensor twice");
    assert!(!is_ranked(&run(1 << 40, 0_u64.wrapping_sub(64), 100, 64, 0)), "downwards");
    assert!(!is_ranked(&run(1 << 40, 0, 100, 64, 0)), "the same again and again");
    let side_by_side: Vec<Slot> = (0..2).flat_map(|row| run((1 << 40) + row * 64, 128, 100, 64, 0)).collect();
    assert!(!is_ranked(&side_by_side));
    assert!(is_ranked(&run(1 << 40, LONG, 100, LONG, 0)));
    assert!(!is_ranked(&run(1 << 40, LONG + 1, 100, LONG + 1, 0)), "not worth an order");
}

proptest! {
    #[test]
    fn whatever_a_list_is_kept_as_it_says_the_same(
        shapes in prop::collection::vec((any::<u64>(), 0_u64..100, 1_u64..80, 0_u32..3), 0..5),
        stride in 0_u64..100,
    ) {
        let slots: Vec<Slot> = shapes
            .iter()
            .flat_map(|(address, odd, count, registration)| {
                run(*address, if *odd < 90 { stride } else { *odd }, *count, 64, *registration)
            })
            .collect();
        runs(&slots);
        is_ranked(&slots);
    }
}
