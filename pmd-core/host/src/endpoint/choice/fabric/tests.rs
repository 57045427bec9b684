//! NICs that reach each other and NICs that do not, and what the kernel says of ways on this machine.

use std::net::{Ipv4Addr, SocketAddr};

use super::*;

fn roce(gid: &str) -> FabricTerms {
    let gid = match gid.parse::<IpAddr>().expect("an address") {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    };
    FabricTerms { mlx5: true, ethernet: true, gid, routable: true, mtu: 4096, path_mtu: None, active: true }
}

fn never(_: IpAddr, _: IpAddr) -> Way {
    panic!("the kernel was asked")
}

#[test]
fn what_cannot_fit_is_found_without_asking_for_a_route() {
    let (ours, theirs) = (roce("10.0.0.1"), roce("10.0.0.2"));
    let found = |ours: &FabricTerms, theirs: &FabricTerms| ours.obstacle(theirs, never);
    let down = FabricTerms { active: false, ..ours.clone() };
    assert_eq!(found(&down, &theirs), Some(FabricObstacle::PortDown));
    let infiniband = FabricTerms { ethernet: false, ..theirs.clone() };
    assert_eq!(found(&ours, &infiniband), Some(FabricObstacle::OtherLinkLayer));
    assert_eq!(found(&ours, &roce("fd00::2")), Some(FabricObstacle::OtherGidKind));
    let first_version = FabricTerms { routable: false, ..theirs.clone() };
    assert_eq!(found(&ours, &first_version), Some(FabricObstacle::OtherGidKind));
    assert_eq!(found(&roce("fe80::1"), &roce("fe80::2")), Some(FabricObstacle::Unproven));
    for (ours_wants, theirs_wants) in [(Some(2048), None), (None, Some(2048)), (Some(256), Some(2048))] {
        let ours = FabricTerms { path_mtu: ours_wants, mtu: 1024, ..ours.clone() };
        let theirs = FabricTerms { path_mtu: theirs_wants, ..theirs.clone() };
        let too_long = Some(FabricObstacle::Mtu { wanted: 2048, active: 1024 });
        assert_eq!((found(&ours, &theirs), found(&theirs, &ours)), (too_long, too_long));
    }
    assert_eq!(found(&ours, &ours), None, "a NIC reaches itself");
}

#[test]
fn the_kernel_is_asked_for_the_way_between_the_addresses() {
    for (way, obstacle) in [
        (Way::Open, None),
        (Way::Closed, Some(FabricObstacle::NoRoute)),
        (Way::Unknown, Some(FabricObstacle::Unproven)),
    ] {
        let asked = roce("10.0.0.1").obstacle(&roce("10.0.0.2"), |from, to| {
            assert_eq!((from, to), (Ipv4Addr::new(10, 0, 0, 1).into(), Ipv4Addr::new(10, 0, 0, 2).into()));
            way
        });
        assert_eq!(asked, obstacle);
    }
}

#[test]
fn infiniband_reaches_its_own_subnet() {
    let infiniband = |gid| FabricTerms { ethernet: false, ..roce(gid) };
    let found = |theirs| infiniband("fe80::1").obstacle(&infiniband(theirs), never);
    assert_eq!(found("fe80::2:c903:0:1"), None);
    assert_eq!(found("fe80:0:0:1::2"), Some(FabricObstacle::OtherSubnet));
}

#[test]
fn an_address_of_no_interface_proves_nothing() {
    let nobodys = IpAddr::from([192, 0, 2, 77]);
    assert_eq!(way(nobodys, Ipv4Addr::LOCALHOST.into()), Way::Unknown);
    let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
    assert_eq!(way(loopback, SocketAddr::from(([127, 0, 0, 2], 0)).ip()), Way::Open);
    assert_eq!(interface::holding(loopback).as_deref(), Some("lo"));
}

#[test]
fn names_of_drivers_are_told() {
    assert_eq!(roce("10.0.0.1").driver(), Transport::Mlx5);
    assert_eq!(FabricTerms { mlx5: false, ..roce("10.0.0.1") }.driver(), Transport::Verbs);
}
