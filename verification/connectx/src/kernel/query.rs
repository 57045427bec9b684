//! Answers about the device and its port (`ib_uverbs_query_device_resp`, `ib_uverbs_ex_query_device_resp`,
//! `ib_uverbs_query_port_resp`).

use super::{
    abi::attribute,
    command::{Call, Reply},
    context::Context,
    error::CommandError,
    ioctl::Request,
    memory::{Answer, Fields},
};
use crate::{config::Link, port, state::Capacity};

/// Largest work queue, in basic blocks.
pub(super) const WORK_REQUESTS: u32 = 32 * 1024;
/// Gather and scatter elements of a work request.
pub(super) const ELEMENTS: u32 = 30;
/// Scatter elements of a receive in a shared receive queue.
pub(super) const SHARED_ELEMENTS: u32 = 31;
/// Receives of a shared receive queue.
pub(super) const SHARED_RECEIVES: u32 = 32 * 1024 - 1;
/// Entries of a completion queue.
pub(super) const COMPLETIONS: u32 = (1 << 22) - 1;
/// Outstanding READs and atomics of a queue pair, each way.
const READS: u32 = 16;
/// Completion vectors.
pub(super) const VECTORS: u32 = 4;
/// Bytes of `ib_uverbs_query_device_resp`.
const DEVICE_BYTES: usize = 176;
/// Bytes of `ib_uverbs_ex_query_device_resp`.
const DEVICE_EX_BYTES: usize = 304;
/// Bytes of `mlx5_ib_query_device_resp`.
const DRIVER_BYTES: usize = 104;
/// Bytes of `ib_uverbs_query_port_resp`.
const PORT_BYTES: usize = 40;

/// `IBV_DEVICE_PORT_ACTIVE_EVENT`, `SYS_IMAGE_GUID` and `RC_RNR_NAK_GEN`.
const CAPABILITIES: u32 = 1 << 10 | 1 << 11 | 1 << 12;

pub(super) fn device(_context: &Context, _call: &Call) -> Result<Reply, CommandError> {
    Ok(Reply::core(device_answer()))
}

pub(super) fn device_extended(_context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let length = call.answer.length.min(DEVICE_EX_BYTES) as u32;
    // No on-demand paging, no time stamps, no receive-side scaling, no tag matching, no device memory: zeros.
    let flags_at = DEVICE_BYTES + 8 + 24 + 16;
    let core = device_answer().u32(&[0, length]).pad(flags_at).u64(&[u64::from(CAPABILITIES)]);
    let driver = Answer::default().u32(&[0, DRIVER_BYTES as u32]).pad(DRIVER_BYTES);
    Ok(Reply { core: core.pad(DEVICE_EX_BYTES), driver })
}

pub(super) fn port_legacy(context: &Context, call: &Call) -> Result<Reply, CommandError> {
    let mut fields = Fields::new(&call.core);
    fields.u64()?;
    port_answer(context, fields.u8()?.into()).map(Reply::core)
}

/// `UVERBS_METHOD_QUERY_PORT`: the same answer, and `port_cap_flags2` after it.
pub(super) fn port_by_ioctl(context: &Context, request: &Request) -> Result<(), CommandError> {
    let answer = port_answer(context, request.value(attribute::QUERY_PORT_NUMBER)?)?;
    request.room(attribute::QUERY_PORT_RESPONSE).fill(&answer.pad(PORT_BYTES + 8))
}

fn port_answer(context: &Context, number: u64) -> Result<Answer, CommandError> {
    if number == 0 || number > port::PORTS.into() {
        return Err(CommandError::Invalid { what: "port", value: number });
    }
    let port = &context.port();
    let down = context.device().lock().link_down;
    let (state, physical_state) = if down { (1, 2) } else { (4, 5) };
    let ethernet = port.link == Link::Ethernet;
    // CM on both; SM-related bits on InfiniBand, IP-based GIDs on Ethernet.
    let capabilities: u32 = if ethernet { 1 << 16 | 1 << 26 } else { 1 << 16 | 1 << 11 | 1 << 14 };
    let (width, speed, subnet_timeout, link_layer, flags) =
        if ethernet { (2, 32, 0, 2, 1) } else { (2, 32, 18, 1, 0) };
    Ok(Answer::default()
        .u32(&[capabilities, 1 << 30, 0, 0, port.gids.len() as u32])
        .u16(&[port.partition_keys.len() as u16, port.lid, port.manager_lid])
        .u8(&[state, port.mtu, port.mtu, 0, if ethernet { 0 } else { 4 }, 0, subnet_timeout, 0])
        .u8(&[width, speed, physical_state, link_layer, flags])
        .pad(PORT_BYTES))
}

fn device_answer() -> Answer {
    let (major, minor, sub_minor) = port::FIRMWARE;
    let firmware = u64::from(major) << 32 | u64::from(minor) << 16 | u64::from(sub_minor);
    let pages = !0xfff_u64;
    Answer::default()
        .u64(&[firmware])
        .bytes(&port::NODE_GUID.to_be_bytes())
        .bytes(&port::NODE_GUID.to_be_bytes())
        // max_mr_size, page_size_cap
        .u64(&[u64::MAX, pages])
        // vendor_id, vendor_part_id, hw_ver
        .u32(&[0x2c9, port::PART.into(), 0])
        // max_qp, max_qp_wr, device_cap_flags, max_sge, max_sge_rd
        .u32(&[Capacity::QUEUE_PAIRS as u32 - 1, WORK_REQUESTS, CAPABILITIES, ELEMENTS, ELEMENTS])
        // max_cq, max_cqe, max_mr, max_pd
        .u32(&[Capacity::COMPLETION_QUEUES as u32 - 1, COMPLETIONS, Capacity::REGIONS as u32 - 1, 1 << 24])
        // max_qp_rd_atom, max_ee_rd_atom, max_res_rd_atom, max_qp_init_rd_atom, max_ee_init_rd_atom
        .u32(&[READS, 0, READS * (Capacity::QUEUE_PAIRS as u32 - 1), READS, 0])
        // atomic_cap: IBV_ATOMIC_HCA
        .u32(&[1])
        // max_ee, max_rdd, max_mw, max_raw_ipv6_qp, max_raw_ethy_qp, max_mcast_grp, max_mcast_qp_attach and its total
        .u32(&[0; 8])
        // max_ah, max_fmr, max_map_per_fmr
        .u32(&[1 << 20, 0, 0])
        // max_srq, max_srq_wr, max_srq_sge
        .u32(&[Capacity::SHARED_RECEIVES as u32 - 1, SHARED_RECEIVES, SHARED_ELEMENTS])
        // max_pkeys, local_ca_ack_delay, phys_port_cnt
        .u16(&[1])
        .u8(&[16, port::PORTS])
        .pad(DEVICE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_where_the_header_has_them() {
        let bytes = device_answer().0;
        assert_eq!(bytes.len(), DEVICE_BYTES);
        let at =
            |offset: usize| u32::from_ne_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"));
        // Offsets of vendor_id, max_sge, atomic_cap and max_srq_sge.
        assert_eq!((at(40), at(64), at(108), at(164)), (0x2c9, ELEMENTS, 1, SHARED_ELEMENTS));
        assert_eq!((bytes[170], bytes[171]), (16, 1));
    }
}
