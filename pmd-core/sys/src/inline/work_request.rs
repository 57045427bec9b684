//! Work requests built call by call on an extended queue pair: start, for each request an operation and its data,
//! complete. The queue pair comes from `ibv_qp_to_qp_ex`; `wr_id` and `wr_flags` are set in it before each operation.

use std::ffi::{c_int, c_void};

use super::forwards;
use crate::verbs::*;

forwards! { ibv_qp_ex:
    /// Begins a batch (`ibv_wr_start`); the provider may hold its lock until the batch is completed or aborted.
    ibv_wr_start() = wr_start;

    /// Hands the batch to the device, with one doorbell (`ibv_wr_complete`): 0, or an `errno` when none of it was
    /// posted.
    ibv_wr_complete() -> c_int = wr_complete;

    /// Drops the batch (`ibv_wr_abort`).
    ibv_wr_abort() = wr_abort;

    /// RDMA write to `remote_address` (`ibv_wr_rdma_write`).
    ibv_wr_rdma_write(rkey: u32, remote_address: u64) = wr_rdma_write;

    /// RDMA write that also completes a receive with `immediate`, in network order (`ibv_wr_rdma_write_imm`).
    ibv_wr_rdma_write_imm(rkey: u32, remote_address: u64, immediate: __be32) = wr_rdma_write_imm;

    /// RDMA read from `remote_address` (`ibv_wr_rdma_read`).
    ibv_wr_rdma_read(rkey: u32, remote_address: u64) = wr_rdma_read;

    /// Send (`ibv_wr_send`).
    ibv_wr_send() = wr_send;

    /// Send with `immediate`, in network order (`ibv_wr_send_imm`).
    ibv_wr_send_imm(immediate: __be32) = wr_send_imm;

    /// Send that invalidates a key of the receiver (`ibv_wr_send_inv`).
    ibv_wr_send_inv(rkey: u32) = wr_send_inv;

    /// Compares 8 bytes and swaps them when equal (`ibv_wr_atomic_cmp_swp`).
    ibv_wr_atomic_cmp_swp(rkey: u32, remote_address: u64, compare: u64, swap: u64) = wr_atomic_cmp_swp;

    /// Adds to 8 bytes (`ibv_wr_atomic_fetch_add`).
    ibv_wr_atomic_fetch_add(rkey: u32, remote_address: u64, add: u64) = wr_atomic_fetch_add;

    /// Writes 8 bytes at once, from host memory (`ibv_wr_atomic_write`).
    ibv_wr_atomic_write(rkey: u32, remote_address: u64, from: *const c_void) = wr_atomic_write;

    /// Binds a window of type 2 (`ibv_wr_bind_mw`).
    ibv_wr_bind_mw(window: *mut ibv_mw, rkey: u32, bind: *const ibv_mw_bind_info) = wr_bind_mw;

    /// Invalidates a key of this side (`ibv_wr_local_inv`).
    ibv_wr_local_inv(rkey: u32) = wr_local_inv;

    /// Destination of a datagram (`ibv_wr_set_ud_addr`).
    ibv_wr_set_ud_addr(address: *mut ibv_ah, remote_queue_pair: u32, remote_queue_key: u32) = wr_set_ud_addr;

    /// Shared receive queue of an extended connection (`ibv_wr_set_xrc_srqn`).
    ibv_wr_set_xrc_srqn(remote_queue: u32) = wr_set_xrc_srqn;

    /// The request's data, copied now (`ibv_wr_set_inline_data`).
    ibv_wr_set_inline_data(address: *mut c_void, length: usize) = wr_set_inline_data;

    /// The request's data from several places, copied now (`ibv_wr_set_inline_data_list`).
    ibv_wr_set_inline_data_list(count: usize, list: *const ibv_data_buf) = wr_set_inline_data_list;

    /// The request's data, one range (`ibv_wr_set_sge`).
    ibv_wr_set_sge(lkey: u32, address: u64, length: u32) = wr_set_sge;

    /// The request's data, several ranges (`ibv_wr_set_sge_list`).
    ibv_wr_set_sge_list(count: usize, list: *const ibv_sge) = wr_set_sge_list;
}
