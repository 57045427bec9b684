//! Pairs of devices, and keys for as long as a region has them.

use super::{rail::Reach, *};
use crate::endpoint::{handshake, rails::answer};

const fn at(fabric: Fabric, distance: u32) -> PortTerms {
    PortTerms { fabric, distance }
}

const SOFT: PortTerms = at(Fabric::Soft, 0);
const ETHERNET: PortTerms = at(Fabric::Ethernet, 0);

fn subnet(prefix: u64) -> PortTerms {
    at(Fabric::InfiniBand(prefix), 0)
}

/// What rails begin with.
fn together(ours: &[PortTerms], theirs: &[PortTerms], reach: Reach) -> Vec<(usize, usize)> {
    let mut pairing = PortTerms::together(ours, theirs, reach, MOST_RAILS);
    assert_eq!(PortTerms::together(ours, theirs, reach, 1).rails(), pairing.rails().min(1));
    (0..).map_while(|rail| pairing.begin(rail)).collect()
}

#[test]
fn devices_of_a_kind_are_on_rails_together_those_near_accelerators_first() {
    let (far, near) = (at(Fabric::Ethernet, Distance::System as u32), at(Fabric::Ethernet, 1));
    assert_eq!(together(&[far, near], &[near, far], Reach::SameFabric), [(1, 0), (0, 1)]);
    assert_eq!(together(&[SOFT; 3], &[SOFT; 2], Reach::SameFabric), [(0, 0), (1, 1), (2, 0)]);
    assert_eq!(together(&[ETHERNET, SOFT], &[SOFT, ETHERNET], Reach::SameFabric), [(0, 1), (1, 0)]);
    assert_eq!(together(&[ETHERNET, SOFT], &[SOFT, ETHERNET], Reach::Any), [(0, 1), (1, 0)]);
    assert_eq!(together(&[SOFT], &[ETHERNET], Reach::Any), []);
    assert_eq!(together(&[ETHERNET], &[subnet(7)], Reach::Any), []);
    assert_eq!(together(&[SOFT; 2], &[], Reach::SameFabric), []);
}

#[test]
fn subnets_are_apart_unless_it_is_declared_otherwise() {
    let (ours, theirs) = ([subnet(7), subnet(8)], [subnet(8), subnet(9)]);
    assert_eq!(together(&ours, &theirs, Reach::SameFabric), [(1, 0)]);
    assert_eq!(together(&ours, &theirs, Reach::SameNumber), [(0, 0), (1, 1)]);
    assert_eq!(together(&ours, &theirs, Reach::Any).len(), 2);
    assert_eq!(together(&[SOFT; 2], &[SOFT; 3], Reach::SameNumber), [(0, 0), (1, 1)]);
    assert_eq!(together(&[SOFT, ETHERNET], &[ETHERNET, ETHERNET], Reach::SameNumber), [(1, 1)]);
}

fn keys(first: u32) -> Arc<[PortKeys]> {
    let keys = |key| PortKeys { local: LocalKey(key), remote: RemoteKey(key + 100) };
    [keys(first), keys(first + 1)].into()
}

#[test]
fn a_region_has_keys_in_the_table_until_it_is_gone() {
    let table = Arc::new(KeyTable::default());
    let name = |fabric, key| Names { fabric, local: LocalKey(key), remote: RemoteKey(key + 50) };
    // A soft HCA and a NIC give the same numbers.
    let first = table.list(vec![name(false, 1), name(true, 7)], &keys(10), Nearest::ALL);
    let second = table.list(vec![name(true, 1), name(false, 7)], &keys(20), Nearest::ALL);
    let local =
        |fabric, key| table.by_local(fabric, [LocalKey(key)]).map(|found| found.on_ports[&key][0].local.0);
    assert_eq!(
        [local(false, 1), local(true, 7), local(true, 1), local(false, 7)],
        [10, 10, 20, 20].map(Some)
    );
    let remote = |fabric, wanted: &[u32]| {
        let found = table.by_remote(fabric, wanted)?;
        Some(found.iter().map(|keys| keys[1].remote.0).collect::<Vec<_>>())
    };
    assert_eq!(remote(false, &[57, 51, 57]), Some(vec![121, 111, 121]));
    assert_eq!(remote(false, &[57, 52]), None, "one of them is not known");
    assert_eq!(table.by_local(false, [1, 7, 1].map(LocalKey)).map(|found| found.on_ports.len()), Some(2));
    assert!(table.by_local(false, [1, 2].map(LocalKey)).is_none());
    drop(first);
    assert_eq!((local(false, 1), local(true, 7), remote(false, &[51])), (None, None, None));
    assert_eq!((local(true, 1), remote(false, &[57])), (Some(20), Some(vec![121])));
    // The device gives a number out again.
    let again = table.list(vec![name(false, 1)], &keys(30), Nearest::ALL);
    assert_eq!(local(false, 1), Some(30));
    drop((second, again));
    assert!(table.keys().by_local.is_empty() && table.keys().by_remote.is_empty());
}

#[test]
fn a_peer_that_asks_is_told_all_keys_or_none() {
    let table = Arc::new(KeyTable::default());
    let name = |key| Names { fabric: true, local: LocalKey(key), remote: RemoteKey(key + 50) };
    let _listings = [
        table.list(vec![name(1)], &keys(10), Nearest::ALL),
        table.list(vec![name(2)], &keys(20), Nearest::ALL),
    ];
    // A number, whether the keys are a NIC's, and the keys; the number, devices, and a key on each for each.
    let told = |ask: &(u64, bool, Vec<u32>)| {
        let answer = answer(&table, &handshake::encode(ask)).unwrap();
        handshake::decode::<(u64, u16, Vec<u32>)>(&answer).unwrap()
    };
    assert_eq!(told(&(3, true, vec![52, 51])), (3, 2, vec![120, 121, 110, 111]));
    assert_eq!(told(&(4, true, vec![52, 53])), (4, 0, vec![]), "one is not known");
    assert_eq!(told(&(5, false, vec![52])), (5, 0, vec![]), "of another device");
    assert_eq!(told(&(6, true, vec![51; 4096])).2.len(), 2 * 4096);
    assert_eq!(told(&(7, true, vec![51; 4097])), (7, 0, vec![]), "more than are answered");
    assert_eq!(answer(&table, b"\x80"), None);
}

#[test]
fn rails_near_to_all_regions_of_a_transfer_are_preferred() {
    let table = Arc::new(KeyTable::default());
    let name = |key| Names { fabric: true, local: LocalKey(key), remote: RemoteKey(key) };
    let (first, last) = (Nearest::of(&[0]), Nearest::of(&[1, 63]));
    assert_eq!(Nearest::of(&[]), Nearest::ALL);
    let listed = [(1, first), (2, last), (3, last), (4, Nearest::ALL)];
    let _listings = listed.map(|(key, nearest)| table.list(vec![name(key)], &keys(10 * key), nearest));
    let nearest = |keys: &[u32]| table.by_local(true, keys.iter().copied().map(LocalKey)).unwrap().nearest;
    assert_eq!([nearest(&[1]), nearest(&[3, 2, 3]), nearest(&[4])], [first, last, Nearest::ALL]);
    assert_eq!([nearest(&[1, 2]), nearest(&[4, 1]), nearest(&[])], [Nearest::ALL; 3]);
    // The ports of this end that rails 0 to 3 are on.
    let on = [(0, 1), (1, 0), (2, 63), (3, 0)];
    assert_eq!(first.rails(on), RailSet::of([1, 3]));
    assert_eq!(last.rails(on), RailSet::of([0, 2]));
    assert_eq!(Nearest::ALL.rails(on), RailSet::ALL);
    assert_eq!(Nearest::of(&[7]).rails(on), RailSet::of([]), "then all that are up do");
}
