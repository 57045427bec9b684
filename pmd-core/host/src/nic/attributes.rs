//! Attributes of the transitions that connect a reliable queue pair (ibv_modify_qp(3), table for IBV_QPT_RC).
//!
//! [`super::QueuePair`] applies them in order: Init, ReadyToReceive, ReadyToSend. Each comes with the mask of what it
//! sets, which is exactly what the transition requires.

use pmd_sys::verbs::*;

use super::{GidEntry, LinkLayer, Port, device::Limits, gid, mtu};
use crate::backend::{ConnectOptions, FabricAddress, SetupError};

/// Reads and atomics that a queue pair has under way, or serves, at once; every device in use offers them.
const MAX_READS: u32 = 16;
/// Routers that a packet may cross.
const HOP_LIMIT: u8 = 64;
/// Largest 24-bit number.
const MAX_NUMBER: u32 = (1 << 24) - 1;

/// Attributes and what of them is set.
pub(super) type Transition = (ibv_qp_attr, ibv_qp_attr_mask);

/// This side of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Local<'a> {
    pub(super) port: &'a Port,
    pub(super) gid: GidEntry,
    pub(super) device: &'a str,
    pub(super) limits: &'a Limits,
    /// First sequence number of what this side sends.
    pub(super) packet_sequence: u32,
}

/// Towards a state that needs nothing else: Reset and Error.
pub(super) fn bare(state: ibv_qp_state) -> Transition {
    (ibv_qp_attr { qp_state: state, ..Default::default() }, IBV_QP_STATE)
}

/// Reset to Init: the port, and what peers may do through the queue pair. Regions restrict that further.
pub(super) fn init(port: u8) -> Transition {
    let access = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_ATOMIC;
    let attributes = ibv_qp_attr {
        qp_state: IBV_QPS_INIT,
        pkey_index: 0,
        port_num: port,
        qp_access_flags: access,
        ..Default::default()
    };
    (attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS)
}

/// Init to ReadyToReceive: the peer and the path to it.
///
/// # Errors
/// [`SetupError::NoUsableGid`], and [`SetupError::Limit`] for a path MTU or a number that cannot be.
pub(super) fn ready_to_receive(
    local: &Local<'_>,
    remote: &FabricAddress,
    options: &ConnectOptions,
) -> Result<Transition, SetupError> {
    check("peer's queue pair number", remote.queue_pair, MAX_NUMBER)?;
    check("peer's packet sequence number", remote.packet_sequence, MAX_NUMBER)?;
    check("minimum RNR timer", options.minimum_rnr_timer.into(), 31)?;
    let path = mtu::path(options.mtu, local.port.mtu, remote.mtu)?;
    let attributes = ibv_qp_attr {
        qp_state: IBV_QPS_RTR,
        path_mtu: mtu::code(path).unwrap_or(IBV_MTU_256),
        rq_psn: remote.packet_sequence,
        dest_qp_num: remote.queue_pair,
        ah_attr: address_handle(local, remote, options)?,
        max_dest_rd_atomic: reads(local.limits.reads_served),
        min_rnr_timer: options.minimum_rnr_timer,
        ..Default::default()
    };
    let mask = IBV_QP_STATE
        | IBV_QP_AV
        | IBV_QP_PATH_MTU
        | IBV_QP_DEST_QPN
        | IBV_QP_RQ_PSN
        | IBV_QP_MAX_DEST_RD_ATOMIC
        | IBV_QP_MIN_RNR_TIMER;
    Ok((attributes, mask))
}

/// ReadyToReceive to ReadyToSend: how this side sends and repeats.
///
/// # Errors
/// [`SetupError::Limit`] for a timeout or retry count that cannot be.
pub(super) fn ready_to_send(local: &Local<'_>, options: &ConnectOptions) -> Result<Transition, SetupError> {
    check("timeout exponent", options.timeout.into(), 31)?;
    check("retry count", options.retry_count.into(), 7)?;
    check("RNR retry count", options.rnr_retry.into(), 7)?;
    let attributes = ibv_qp_attr {
        qp_state: IBV_QPS_RTS,
        sq_psn: local.packet_sequence,
        timeout: options.timeout,
        retry_cnt: options.retry_count,
        rnr_retry: options.rnr_retry,
        max_rd_atomic: reads(local.limits.reads_started),
        ..Default::default()
    };
    let mask = IBV_QP_STATE
        | IBV_QP_TIMEOUT
        | IBV_QP_RETRY_CNT
        | IBV_QP_RNR_RETRY
        | IBV_QP_SQ_PSN
        | IBV_QP_MAX_QP_RD_ATOMIC;
    Ok((attributes, mask))
}

/// The path: by GID on RoCE, by LID within an InfiniBand subnet, by both across InfiniBand subnets.
fn address_handle(
    local: &Local<'_>,
    remote: &FabricAddress,
    options: &ConnectOptions,
) -> Result<ibv_ah_attr, SetupError> {
    check("service level", options.service_level.into(), 15)?;
    let needs_gid = match local.port.link_layer {
        LinkLayer::Ethernet => {
            local.gid.reaches(remote.gid).map_err(|advice| no_gid(local, remote, advice))?;
            true
        }
        LinkLayer::InfiniBand => needs_global_route(local, remote)?,
    };
    let mut attributes = ibv_ah_attr {
        dlid: if local.port.link_layer == LinkLayer::Ethernet { 0 } else { remote.lid },
        sl: options.service_level,
        port_num: local.port.number,
        ..Default::default()
    };
    if needs_gid {
        attributes.is_global = 1;
        attributes.grh = ibv_global_route {
            dgid: gid::raw(remote.gid),
            flow_label: 0,
            sgid_index: check("GID index", local.gid.index, 255)? as u8,
            hop_limit: HOP_LIMIT,
            traffic_class: options.traffic_class,
        };
    }
    Ok(attributes)
}

/// Whether a peer on InfiniBand is in another subnet, or has no LID to address it by.
fn needs_global_route(local: &Local<'_>, remote: &FabricAddress) -> Result<bool, SetupError> {
    let prefix = |gid: std::net::Ipv6Addr| gid.segments()[..4].to_vec();
    if remote.gid.is_unspecified() {
        let advice = "the peer has neither LID nor GID: start the subnet manager";
        return if remote.lid == 0 { Err(no_gid(local, remote, advice)) } else { Ok(false) };
    }
    Ok(remote.lid == 0 || prefix(remote.gid) != prefix(local.gid.gid))
}

fn no_gid(local: &Local<'_>, remote: &FabricAddress, advice: &'static str) -> SetupError {
    SetupError::NoUsableGid {
        device: local.device.to_owned(),
        port: local.port.number,
        gid: remote.gid,
        advice,
    }
}

fn reads(limit: u32) -> u8 {
    limit.min(MAX_READS) as u8
}

fn check(what: &'static str, wanted: u32, limit: u32) -> Result<u32, SetupError> {
    if wanted <= limit {
        Ok(wanted)
    } else {
        Err(SetupError::Limit { what, wanted: wanted.into(), limit: limit.into() })
    }
}
