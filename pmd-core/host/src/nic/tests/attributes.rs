use pmd_sys::verbs::*;

use super::{
    super::{
        LinkLayer,
        attributes::{Local, bare, init, ready_to_receive, ready_to_send},
        gid,
    },
    address, limits, port,
};
use crate::backend::{ConnectOptions, FabricAddress, SetupError};

fn remote(gid: &str, lid: u16) -> FabricAddress {
    FabricAddress { queue_pair: 0x00ab_cdef, packet_sequence: 0x12_3456, lid, gid: address(gid), mtu: 1024 }
}

/// The transition to ReadyToReceive of a port of this kind.
fn received(
    link_layer: LinkLayer,
    remote: &FabricAddress,
    options: &ConnectOptions,
) -> Result<(ibv_qp_attr, u32), SetupError> {
    let (port, limits) = (port(link_layer), limits());
    let gid = *port.gids.iter().max_by_key(|entry| entry.index == 3).expect("a GID");
    let local = Local { port: &port, gid, device: "mlx5_0", limits: &limits, packet_sequence: 9 };
    ready_to_receive(&local, remote, options)
}

#[test]
fn init_sets_what_the_transition_requires() {
    let (attributes, mask) = init(2);
    assert_eq!(mask, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS);
    assert_eq!((attributes.qp_state, attributes.port_num, attributes.pkey_index), (IBV_QPS_INIT, 2, 0));
    let access = IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_ATOMIC;
    assert_eq!(attributes.qp_access_flags, access);
}

#[test]
fn roce_is_addressed_by_gid() {
    let options = ConnectOptions { traffic_class: 106, service_level: 3, ..Default::default() };
    let remote = remote("::ffff:10.0.0.2", 0);
    let (attributes, mask) = received(LinkLayer::Ethernet, &remote, &options).expect("attributes");
    let required = IBV_QP_STATE
        | IBV_QP_AV
        | IBV_QP_PATH_MTU
        | IBV_QP_DEST_QPN
        | IBV_QP_RQ_PSN
        | IBV_QP_MAX_DEST_RD_ATOMIC
        | IBV_QP_MIN_RNR_TIMER;
    assert_eq!(mask, required);
    assert_eq!((attributes.qp_state, attributes.path_mtu), (IBV_QPS_RTR, IBV_MTU_1024));
    assert_eq!((attributes.dest_qp_num, attributes.rq_psn), (0x00ab_cdef, 0x12_3456));
    assert_eq!((attributes.max_dest_rd_atomic, attributes.min_rnr_timer), (16, 12));
    let path = attributes.ah_attr;
    assert_eq!((path.is_global, path.dlid, path.sl, path.port_num), (1, 0, 3, 1));
    assert_eq!(gid::address(&path.grh.dgid), remote.gid);
    assert_eq!((path.grh.sgid_index, path.grh.traffic_class, path.grh.hop_limit), (3, 106, 64));
}

#[test]
fn infiniband_is_addressed_by_lid_within_its_subnet() {
    let options = ConnectOptions::default();
    let near =
        received(LinkLayer::InfiniBand, &remote("fe80::2", 5), &options).expect("attributes").0.ah_attr;
    assert_eq!((near.is_global, near.dlid), (0, 5));
    let far = remote("2001:db8:1::2", 5);
    let far_path = received(LinkLayer::InfiniBand, &far, &options).expect("attributes").0.ah_attr;
    assert_eq!((far_path.is_global, far_path.dlid), (1, 5));
    assert_eq!(gid::address(&far_path.grh.dgid), far.gid);
    let without_lid = received(LinkLayer::InfiniBand, &remote("fe80::2", 0), &options);
    assert_eq!(without_lid.expect("attributes").0.ah_attr.is_global, 1);
    let without_gid = received(LinkLayer::InfiniBand, &remote("::", 5), &options);
    assert_eq!(without_gid.expect("attributes").0.ah_attr.is_global, 0);
}

#[test]
fn a_peer_that_no_gid_reaches_is_refused() {
    let options = ConnectOptions::default();
    for (link_layer, gid) in [(LinkLayer::Ethernet, "2001:db8::2"), (LinkLayer::InfiniBand, "::")] {
        let refused = received(link_layer, &remote(gid, 0), &options);
        let Err(SetupError::NoUsableGid { device, port: 1, gid: peer, advice }) = refused else {
            panic!("{gid} was not refused as it should");
        };
        assert_eq!((device.as_str(), peer), ("mlx5_0", address(gid)));
        assert!(!advice.is_empty());
    }
}

#[test]
fn sending_sets_what_the_transition_requires() {
    let (port, limits) = (port(LinkLayer::Ethernet), limits());
    let local = Local { port: &port, gid: port.gids[3], device: "d", limits: &limits, packet_sequence: 9 };
    let options = ConnectOptions { timeout: 17, retry_count: 5, rnr_retry: 2, ..Default::default() };
    let (attributes, mask) = ready_to_send(&local, &options).expect("attributes");
    let required = IBV_QP_STATE
        | IBV_QP_TIMEOUT
        | IBV_QP_RETRY_CNT
        | IBV_QP_RNR_RETRY
        | IBV_QP_SQ_PSN
        | IBV_QP_MAX_QP_RD_ATOMIC;
    assert_eq!(mask, required);
    assert_eq!((attributes.qp_state, attributes.sq_psn, attributes.timeout), (IBV_QPS_RTS, 9, 17));
    assert_eq!((attributes.retry_cnt, attributes.rnr_retry, attributes.max_rd_atomic), (5, 2, 16));
}

#[test]
fn values_that_the_fields_do_not_hold_are_refused() {
    let good = ConnectOptions::default();
    let bad = [
        ConnectOptions { service_level: 16, ..good },
        ConnectOptions { minimum_rnr_timer: 32, ..good },
        ConnectOptions { mtu: Some(9000), ..good },
    ];
    for options in bad {
        let refused = received(LinkLayer::Ethernet, &remote("::ffff:10.0.0.2", 0), &options).map(|_| ());
        assert!(matches!(refused, Err(SetupError::Limit { .. })), "{options:?}: {refused:?}");
    }
    let wide = FabricAddress { queue_pair: 1 << 24, ..remote("::ffff:10.0.0.2", 0) };
    let refused = received(LinkLayer::Ethernet, &wide, &good).map(|_| ());
    assert!(matches!(refused, Err(SetupError::Limit { wanted: 0x100_0000, .. })), "{refused:?}");
    let (port, limits) = (port(LinkLayer::Ethernet), limits());
    let local = Local { port: &port, gid: port.gids[3], device: "d", limits: &limits, packet_sequence: 9 };
    for options in [
        ConnectOptions { timeout: 32, ..good },
        ConnectOptions { retry_count: 8, ..good },
        ConnectOptions { rnr_retry: 8, ..good },
    ] {
        assert!(matches!(ready_to_send(&local, &options), Err(SetupError::Limit { .. })), "{options:?}");
    }
}

#[test]
fn reset_and_error_set_the_state_alone() {
    for state in [IBV_QPS_RESET, IBV_QPS_ERR] {
        let (attributes, mask) = bare(state);
        assert_eq!((attributes.qp_state, mask), (state, IBV_QP_STATE));
    }
}
