//! Polling an extended completion queue: start, read the fields wanted, next, end. `status` and `wr_id` stand in the
//! queue itself.

use std::ffi::{c_int, c_uint};

use super::forwards;
use crate::verbs::*;

forwards! { ibv_cq_ex:
    /// Moves to the first completion (`ibv_start_poll`): 0, `ENOENT` when there is none (then no
    /// [`ibv_end_poll`]), or another `errno`.
    ibv_start_poll(attributes: *mut ibv_poll_cq_attr) -> c_int = start_poll;

    /// Moves to the next completion (`ibv_next_poll`): 0, `ENOENT` when there is none, or another `errno`.
    ibv_next_poll() -> c_int = next_poll;

    /// Ends a poll that started (`ibv_end_poll`).
    ibv_end_poll() = end_poll;

    /// What completed (`ibv_wc_read_opcode`).
    ibv_wc_read_opcode() -> ibv_wc_opcode = read_opcode;

    /// The vendor's own error code (`ibv_wc_read_vendor_err`).
    ibv_wc_read_vendor_err() -> u32 = read_vendor_err;

    /// Bytes moved (`ibv_wc_read_byte_len`).
    ibv_wc_read_byte_len() -> u32 = read_byte_len;

    /// Immediate data in network order (`ibv_wc_read_imm_data`), or the invalidated key in host order, as
    /// `ibv_wc_read_invalidated_rkey` returns it.
    ibv_wc_read_imm_data() -> __be32 = read_imm_data;

    /// Number of the local queue pair (`ibv_wc_read_qp_num`).
    ibv_wc_read_qp_num() -> u32 = read_qp_num;

    /// Number of the sender's queue pair, for datagrams (`ibv_wc_read_src_qp`).
    ibv_wc_read_src_qp() -> u32 = read_src_qp;

    /// Bits of `ibv_wc_flags` (`ibv_wc_read_wc_flags`).
    ibv_wc_read_wc_flags() -> c_uint = read_wc_flags;

    /// The sender's local identifier, for datagrams (`ibv_wc_read_slid`).
    ibv_wc_read_slid() -> u32 = read_slid;

    /// Service level, for datagrams (`ibv_wc_read_sl`).
    ibv_wc_read_sl() -> u8 = read_sl;

    /// Path bits of the local identifier, for datagrams (`ibv_wc_read_dlid_path_bits`).
    ibv_wc_read_dlid_path_bits() -> u8 = read_dlid_path_bits;

    /// Time of the completion in the device's ticks (`ibv_wc_read_completion_ts`).
    ibv_wc_read_completion_ts() -> u64 = read_completion_ts;

    /// Time of the completion in nanoseconds of the wall clock (`ibv_wc_read_completion_wallclock_ns`).
    ibv_wc_read_completion_wallclock_ns() -> u64 = read_completion_wallclock_ns;
}

/// The plain queue inside an extended one (`ibv_cq_ex_to_cq`): the extended struct begins with it.
pub fn ibv_cq_ex_to_cq(queue: *mut ibv_cq_ex) -> *mut ibv_cq {
    queue.cast()
}
