//! Pairs of ports.

use super::*;

const ANY: Port = Port { distance: 0, fabric: None };

const fn on(fabric: u64) -> Port {
    Port { distance: 0, fabric: Some(fabric) }
}

#[test]
fn every_port_is_used_and_evenly_with_equal_and_unequal_counts() {
    for ours in 1..9 {
        for theirs in 1..9 {
            let pairs = pairs(&vec![ANY; ours], &vec![ANY; theirs], Reach::Any);
            assert_eq!(pairs.len(), ours.max(theirs));
            let mut distinct = pairs.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), pairs.len());
            let uses = |side: &dyn Fn(&(usize, usize)) -> usize, count: usize| {
                let of = |number| pairs.iter().filter(|pair| side(pair) == number).count();
                (0..count).map(of).collect::<Vec<_>>()
            };
            for uses in [uses(&|pair| pair.0, ours), uses(&|pair| pair.1, theirs)] {
                let (least, most) = (uses.iter().min().unwrap(), uses.iter().max().unwrap());
                assert!(*least >= 1 && most - least <= 1, "{ours} and {theirs}: {pairs:?}");
            }
        }
    }
}

#[test]
fn a_fabric_of_rails_only_is_declared_or_found() {
    assert_eq!(pairs(&[ANY; 4], &[ANY; 4], Reach::SameNumber), [(0, 0), (1, 1), (2, 2), (3, 3)]);
    assert_eq!(pairs(&[ANY; 2], &[ANY; 4], Reach::SameNumber), [(0, 0), (1, 1)]);
    // In another order at the other side.
    let (ours, theirs) = ([on(7), on(8), on(9)], [on(9), on(7), on(5)]);
    assert_eq!(pairs(&ours, &theirs, Reach::SameFabric), [(0, 1), (2, 0)]);
    assert_eq!(pairs(&[on(1)], &[on(2)], Reach::SameFabric), []);
    assert_eq!(pairs(&[ANY], &[on(2)], Reach::SameFabric), [(0, 0)], "what is not known is tried");
}

#[test]
fn the_nearest_ports_have_the_first_rails() {
    let at = |distance| Port { distance, fabric: None };
    assert_eq!(pairs(&[at(4), at(0)], &[at(0)], Reach::Any), [(1, 0), (0, 0)]);
    assert_eq!(pairs(&[at(0)], &[at(4), at(0)], Reach::Any), [(0, 1), (0, 0)]);
}

#[test]
fn nothing_reaches_nobody() {
    assert_eq!(pairs(&[], &[ANY], Reach::Any), []);
    assert_eq!(pairs(&[ANY], &[], Reach::Any), []);
}
