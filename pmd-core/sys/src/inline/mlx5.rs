//! mlx5 direct verbs: filling in segments, reading completion entries, and the work requests that only mlx5 has.
//!
//! `pmd-core` has its own wire formats for the data path; the ones here follow the header, so that tests can compare.

use std::ffi::{c_int, c_void};
use std::mem::size_of;

use super::forwards;
use crate::mlx5::*;
use crate::verbs::*;
use crate::{LoadError, Mlx5};

/// Fills in a control segment (`mlx5dv_set_ctrl_seg`). `immediate` is stored as it is: immediate data is already in
/// network order, a key to invalidate is to be given as `key.to_be()`.
#[allow(clippy::too_many_arguments)]
pub fn mlx5dv_set_ctrl_seg(
    segment: &mut mlx5_wqe_ctrl_seg,
    producer_index: u16,
    opcode: u8,
    opcode_modifier: u8,
    queue_pair: u32,
    fence_and_events: u8,
    sixteenths: u8,
    signature: u8,
    immediate: u32,
) {
    let index = u32::from(producer_index) << 8;
    segment.opmod_idx_opcode = (u32::from(opcode_modifier) << 24 | index | u32::from(opcode)).to_be();
    segment.qpn_ds = (queue_pair << 8 | u32::from(sixteenths)).to_be();
    segment.fm_ce_se = fence_and_events;
    segment.signature = signature;
    segment.imm = immediate;
}

/// Fills in a data segment (`mlx5dv_set_data_seg`).
pub fn mlx5dv_set_data_seg(segment: &mut mlx5_wqe_data_seg, length: u32, lkey: u32, address: u64) {
    segment.byte_count = length.to_be();
    segment.lkey = lkey.to_be();
    segment.addr = address.to_be();
}

/// Ownership bit of a completion entry (`mlx5dv_get_cqe_owner`).
pub fn mlx5dv_get_cqe_owner(entry: &mlx5_cqe64) -> u8 {
    entry.op_own & 1
}

/// Sets the ownership bit of a completion entry (`mlx5dv_set_cqe_owner`).
pub fn mlx5dv_set_cqe_owner(entry: &mut mlx5_cqe64, owner: u8) {
    entry.op_own = (owner & 1) | (entry.op_own & !1);
}

/// Whether a completion was solicited (`mlx5dv_get_cqe_se`).
pub fn mlx5dv_get_cqe_se(entry: &mlx5_cqe64) -> u8 {
    (entry.op_own >> 1) & 1
}

/// Format of a completion entry: where scattered data stands (`mlx5dv_get_cqe_format`).
pub fn mlx5dv_get_cqe_format(entry: &mlx5_cqe64) -> u8 {
    (entry.op_own >> 2) & 3
}

/// Opcode of a completion entry (`mlx5dv_get_cqe_opcode`).
pub fn mlx5dv_get_cqe_opcode(entry: &mlx5_cqe64) -> u8 {
    entry.op_own >> 4
}

/// A time of the device in nanoseconds (`mlx5dv_ts_to_ns`). Times further from the last update than half of the
/// counter's range count as before it.
pub fn mlx5dv_ts_to_ns(clock: &mlx5dv_clock_info, device_time: u64) -> u64 {
    let scale = u64::from(clock.mult);
    let later = device_time.wrapping_sub(clock.last_cycles) & clock.mask;
    if later > clock.mask / 2 {
        let earlier = clock.last_cycles.wrapping_sub(device_time) & clock.mask;
        let nanoseconds = earlier.wrapping_mul(scale).wrapping_sub(clock.frac) >> clock.shift;
        clock.nsec.wrapping_sub(nanoseconds)
    } else {
        let nanoseconds = later.wrapping_mul(scale).wrapping_add(clock.frac) >> clock.shift;
        clock.nsec.wrapping_add(nanoseconds)
    }
}

/// mlx5's own attributes of a port (`mlx5dv_query_port`): 0 or an `errno`.
///
/// # Errors
/// [`LoadError::SymbolMissing`]: rdma-core older than 35.
///
/// # Safety
/// `context` is an open mlx5 device; `port_attributes` can be written.
pub unsafe fn mlx5dv_query_port(
    mlx5: &Mlx5,
    context: *mut ibv_context,
    port: u32,
    port_attributes: *mut mlx5_ib_uapi_query_port,
) -> Result<c_int, LoadError> {
    // SAFETY: the caller's promise.
    unsafe { mlx5._mlx5dv_query_port(context, port, port_attributes, size_of::<mlx5_ib_uapi_query_port>()) }
}

forwards! { mlx5dv_qp_ex:
    /// Destination of a dynamically connected request (`mlx5dv_wr_set_dc_addr`).
    mlx5dv_wr_set_dc_addr(address: *mut ibv_ah, remote_target: u32, remote_key: u64) = wr_set_dc_addr;

    /// Makes a memory key of interleaved ranges (`mlx5dv_wr_mr_interleaved`).
    mlx5dv_wr_mr_interleaved(key: *mut mlx5dv_mkey, access: u32, repeat: u32, count: u16, ranges: *mut mlx5dv_mr_interleaved) = wr_mr_interleaved;

    /// Makes a memory key of a list of ranges (`mlx5dv_wr_mr_list`).
    mlx5dv_wr_mr_list(key: *mut mlx5dv_mkey, access: u32, count: u16, ranges: *mut ibv_sge) = wr_mr_list;

    /// Posts a work-queue entry that the caller has built (`mlx5dv_wr_raw_wqe`).
    mlx5dv_wr_raw_wqe(entry: *const c_void) = wr_raw_wqe;
}
