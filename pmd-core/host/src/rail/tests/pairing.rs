//! Pairs of ports, and how those are found that reach each other.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

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

/// Two ends whose ports may all reach each other, as far as they know.
fn unknown(ours: usize, theirs: usize) -> Pairing {
    Pairing::new(&vec![ANY; ours], &vec![ANY; theirs], Reach::SameFabric)
}

/// Lives of a rail that do not come up, until there is one on another pair or none.
fn give_up(pairing: &mut Pairing, rail: u16) -> Option<(usize, usize)> {
    let first = pairing.begin(rail);
    (1..DISCOVERY).for_each(|_| assert_eq!(pairing.begin(rail), first));
    pairing.begin(rail)
}

#[test]
fn a_rail_has_three_lives_on_a_pair_and_goes_on_to_the_next() {
    let mut pairing = unknown(2, 2);
    assert_eq!(give_up(&mut pairing, 0), None, "each of its ports would be tried twice at a time");
    // The other one gives up, too.
    assert_eq!(give_up(&mut pairing, 1), Some((0, 1)));
    assert_eq!(pairing.begin(0), Some((1, 0)));
    pairing.came_up(0);
    pairing.came_up(1);
    for _ in 0..2 * DISCOVERY {
        assert_eq!([pairing.begin(0), pairing.begin(1)], [Some((1, 0)), Some((0, 1))], "they keep them");
    }
}

#[test]
fn ports_that_reach_nobody_of_their_own_share_those_of_others() {
    let mut pairing = unknown(2, 2);
    pairing.begin(0);
    pairing.came_up(0);
    // The other end's second port is out of order.
    assert_eq!(give_up(&mut pairing, 1), Some((0, 1)));
    let next: Vec<_> = (0..DISCOVERY).map(|_| pairing.begin(1)).collect();
    assert_eq!(next, [Some((0, 1)), Some((0, 1)), Some((1, 0))]);
    pairing.came_up(1);
    assert_eq!(pairing.begin(1), Some((1, 0)));
}

#[test]
fn what_was_given_up_is_tried_again_when_all_was_tried() {
    let mut pairing = unknown(1, 1);
    assert_eq!(give_up(&mut pairing, 0), Some((0, 0)), "there is no other");
    let mut pairing = Pairing::new(&[ANY; 2], &[ANY; 2], Reach::SameNumber);
    assert_eq!(give_up(&mut pairing, 0), None, "the other rail's first trial is not over");
    pairing.begin(1);
    pairing.came_up(1);
    assert_eq!(pairing.begin(0), Some((0, 0)), "declared to be the only one");
    assert_eq!(pairing.begin(2), None, "no such rail");
}

/// What there is between two sets of ports, and what the ends know of it.
#[derive(Clone, Debug)]
struct Network {
    ours: usize,
    theirs: usize,
    works: BTreeSet<(usize, usize)>,
    /// Known not to work.
    apart: BTreeSet<(usize, usize)>,
}

impl Network {
    /// Of so many ports, where the ends know of most pairs that do not work, or of none.
    fn of(ports: impl Strategy<Value = (usize, usize)>, is_known: bool) -> impl Strategy<Value = Self> {
        ports.prop_flat_map(move |(ours, theirs)| {
            let each = (0..ours).flat_map(|our| (0..theirs).map(move |their| (our, their)));
            let each: Vec<(usize, usize)> = each.collect();
            proptest::collection::vec((any::<bool>(), 0..4_u8), each.len()).prop_map(move |kinds| {
                let (mut works, mut apart) = (BTreeSet::new(), BTreeSet::new());
                for (pair, (is_one_that_works, kind)) in each.iter().zip(kinds) {
                    if is_one_that_works {
                        works.insert(*pair);
                    } else if is_known && kind > 0 {
                        apart.insert(*pair);
                    }
                }
                Self { ours, theirs, works, apart }
            })
        })
    }

    fn pairing(&self) -> Pairing {
        let joins = |our: usize, their: usize| !self.apart.contains(&(our, their));
        Pairing::where_joined(&vec![ANY; self.ours], &vec![ANY; self.theirs], usize::MAX, &joins)
    }

    /// Pairs that work and leave both of their ports on no rail that is up.
    fn missing(&self, up: &BTreeSet<(usize, usize)>) -> BTreeSet<(usize, usize)> {
        let is_used = |&(our, their): &(usize, usize)| up.iter().any(|pair| pair.0 == our || pair.1 == their);
        self.works.iter().filter(|pair| !is_used(pair)).copied().collect()
    }

    /// Opens rails in an order of `seed` until none is missing; a pair that works comes up at the latest at the last life. The
    /// pairs that are up then.
    fn discover(&self, mut seed: u64) -> BTreeSet<(usize, usize)> {
        let mut pairing = self.pairing();
        let mut random = move |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % below
        };
        // What each rail's present life is on, and the lives of each pair.
        let mut lives: Vec<Option<(usize, usize)>> = vec![None; pairing.rails()];
        let mut opened = BTreeMap::<(usize, usize), u32>::new();
        let mut up = BTreeSet::new();
        let mut proven = BTreeSet::new();
        let mut turns = 0..200_000;
        while !self.missing(&up).is_empty() {
            assert!(turns.next().is_some(), "{:?} are missing", self.missing(&up));
            let rail = random(lives.len());
            if proven.contains(&rail) {
                continue;
            }
            let Some(pair) = lives[rail].take() else {
                lives[rail] = pairing.begin(rail as u16);
                if let Some(pair) = lives[rail] {
                    assert!(!self.apart.contains(&pair), "{pair:?} is known not to work");
                    *opened.entry(pair).or_default() += 1;
                }
                continue;
            };
            if self.works.contains(&pair) && (opened[&pair] == DISCOVERY || random(2) == 0) {
                pairing.came_up(rail as u16);
                proven.insert(rail);
                up.insert(pair);
            }
        }
        assert!(opened.values().all(|lives| *lives <= DISCOVERY), "nothing twice: {opened:?}");
        assert!(opened.len() <= self.ours * self.theirs);
        up
    }
}

/// Whether some of these pairs have no port in common, and no pair that works could be added to them.
fn hold_a_maximal_matching(pairs: &BTreeSet<(usize, usize)>, net: &Network) -> bool {
    let pairs: Vec<_> = pairs.iter().copied().collect();
    (0..1_u32 << pairs.len()).any(|chosen| {
        let chosen = (0..pairs.len()).filter(|index| chosen >> index & 1 == 1);
        let chosen: BTreeSet<_> = chosen.map(|index| pairs[index]).collect();
        let ours: BTreeSet<_> = chosen.iter().map(|pair| pair.0).collect();
        let theirs: BTreeSet<_> = chosen.iter().map(|pair| pair.1).collect();
        ours.len() == chosen.len() && theirs.len() == chosen.len() && net.missing(&chosen).is_empty()
    })
}

proptest! {
    /// Whatever the ends know beforehand, and however many ports they have.
    #[test]
    fn no_two_ports_that_reach_each_other_are_left_without_a_rail(
        net in Network::of((1..6_usize, 1..6_usize), true),
        seed in any::<u64>(),
    ) {
        net.discover(seed);
    }

    #[test]
    fn equal_numbers_of_ports_find_a_maximal_matching(
        net in Network::of((1..6_usize).prop_map(|ports| (ports, ports)), false),
        seed in any::<u64>(),
    ) {
        let up = net.discover(seed);
        prop_assert!(hold_a_maximal_matching(&up, &net), "{up:?} of {:?}", net.works);
    }
}
