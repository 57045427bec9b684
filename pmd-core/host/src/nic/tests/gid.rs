use std::net::IpAddr;

use super::{
    super::{
        GidChoice, GidScope, GidType, LinkLayer,
        gid::{address as of_union, choose, raw},
        mtu,
    },
    address, entry, roce_table,
};
use crate::backend::SetupError;

fn chosen(choice: GidChoice) -> Option<u32> {
    choose(choice, LinkLayer::Ethernet, &roce_table()).map(|entry| entry.index)
}

#[test]
fn roce_v2_over_ipv4_is_chosen_by_itself() {
    assert_eq!(chosen(GidChoice::Auto), Some(3));
}

#[test]
fn without_ipv4_a_routable_address_is_chosen_then_a_link_local_one() {
    let mut table = roce_table();
    table.retain(|entry| GidScope::of(entry.gid) != GidScope::Ipv4);
    let chosen = |table: &[_]| choose(GidChoice::Auto, LinkLayer::Ethernet, table).map(|entry| entry.index);
    assert_eq!(chosen(&table), Some(5));
    table.retain(|entry| GidScope::of(entry.gid) == GidScope::LinkLocal);
    assert_eq!(chosen(&table), Some(1));
    table.retain(|entry| entry.gid_type == GidType::RoceV1);
    assert_eq!(chosen(&table), Some(0));
    assert_eq!(chosen(&[]), None);
}

#[test]
fn equal_entries_give_the_lowest_index() {
    let table = [
        entry(7, "::ffff:10.0.0.9", GidType::RoceV2),
        entry(3, "::ffff:10.0.0.1", GidType::RoceV2),
        entry(5, "::ffff:10.0.0.5", GidType::RoceV2),
    ];
    assert_eq!(choose(GidChoice::Auto, LinkLayer::Ethernet, &table).map(|entry| entry.index), Some(3));
}

#[test]
fn an_address_is_found_in_its_v2_entry() {
    let by = |text: &str| chosen(GidChoice::Address(text.parse::<IpAddr>().expect("an address")));
    assert_eq!(by("10.0.0.1"), Some(3));
    assert_eq!(by("::ffff:10.0.0.1"), Some(3));
    assert_eq!(by("2001:db8::1"), Some(5));
    assert_eq!(by("fe80::1"), Some(1));
    assert_eq!(by("10.0.0.2"), None);
}

#[test]
fn an_index_is_taken_as_it_is() {
    assert_eq!(chosen(GidChoice::Index(0)), Some(0));
    assert_eq!(chosen(GidChoice::Index(4)), Some(4));
    assert_eq!(chosen(GidChoice::Index(6)), None);
}

#[test]
fn infiniband_takes_the_first() {
    let table = [entry(1, "fe80::2", GidType::InfiniBand), entry(0, "fe80::1", GidType::InfiniBand)];
    assert_eq!(choose(GidChoice::Auto, LinkLayer::InfiniBand, &table).map(|entry| entry.index), Some(0));
}

#[test]
fn only_equal_kinds_of_addresses_reach_each_other() {
    let kinds = ["::ffff:10.0.0.1", "fe80::1", "2001:db8::1"];
    for local in kinds {
        for remote in kinds {
            let reached = entry(0, local, GidType::RoceV2).reaches(address(remote));
            assert_eq!(reached.is_ok(), local == remote, "{local} to {remote}: {reached:?}");
        }
    }
    let nothing = entry(0, "fe80::1", GidType::RoceV2).reaches(address("::"));
    assert_eq!(nothing, Err("the peer has no GID: give its port an IP address"));
}

#[test]
fn addresses_pass_through_the_c_union() {
    for text in ["::ffff:10.0.0.1", "fe80::c42:a103:ab:cdef"] {
        assert_eq!(of_union(&raw(address(text))), address(text));
    }
}

#[test]
fn the_smaller_mtu_counts() {
    let path = |asked, local, remote| mtu::path(asked, local, remote).ok();
    assert_eq!(path(None, 4096, 1024), Some(1024));
    assert_eq!(path(None, 1024, 4096), Some(1024));
    assert_eq!(path(Some(512), 4096, 1024), Some(512));
    assert_eq!(path(Some(2048), 4096, 1024), None, "above the peer's");
    assert_eq!(path(Some(1000), 4096, 4096), None, "no MTU");
    assert_eq!(path(None, 4096, 0), None, "a peer that says nothing");
    let refused = mtu::path(Some(2048), 1024, 4096);
    assert!(matches!(refused, Err(SetupError::Limit { wanted: 2048, limit: 1024, .. })), "{refused:?}");
}

#[test]
fn mtu_codes_and_bytes_are_each_others_inverse() {
    for (code, bytes) in [(1, 256), (2, 512), (3, 1024), (4, 2048), (5, 4096)] {
        assert_eq!((mtu::bytes(code), mtu::code(bytes)), (bytes, Some(code)));
    }
    assert_eq!((mtu::bytes(0), mtu::bytes(6), mtu::code(4200)), (256, 256, None));
}
