//! Field ranges and constants against rdma-core's own structs, as bindgen read them from Debian's headers.

use core::mem::size_of;
use core::ops::Range;

use memoffset::span_of;
use pmd_core::wire::{
    self, ControlFlags, CqeOpcode, Opcode, Syndrome, address_vector, atomic, control, cqe, cqe_error, data,
    doorbell, inline, remote, scatter, shared_receive,
};
use pmd_sys::mlx5 as sys;
use pmd_sys::mlx5::{
    mlx5_cqe64, mlx5_cqe64__bindgen_ty_1__bindgen_ty_1 as mlx5_cqe64_path, mlx5_err_cqe, mlx5_wqe_atomic_seg,
    mlx5_wqe_av, mlx5_wqe_av__bindgen_ty_1__bindgen_ty_1 as mlx5_wqe_qkey, mlx5_wqe_ctrl_seg,
    mlx5_wqe_data_seg, mlx5_wqe_inl_data_seg, mlx5_wqe_raddr_seg, mlx5_wqe_srq_next_seg,
};

/// Pairs of a range of ours and the span of the struct's field.
fn assert_spans<const N: usize>(pairs: [(Range<usize>, Range<usize>); N]) {
    for (number, (ours, theirs)) in pairs.into_iter().enumerate() {
        assert_eq!(ours, theirs, "pair {number}");
    }
}

#[test]
fn control_segment() {
    assert_eq!(size_of::<mlx5_wqe_ctrl_seg>(), wire::UNIT);
    assert_spans([
        (control::field::OPMOD_INDEX_OPCODE, span_of!(mlx5_wqe_ctrl_seg, opmod_idx_opcode)),
        (control::field::QUEUE_PAIR_UNITS, span_of!(mlx5_wqe_ctrl_seg, qpn_ds)),
        (control::field::SIGNATURE, span_of!(mlx5_wqe_ctrl_seg, signature)),
        (control::field::STREAM, span_of!(mlx5_wqe_ctrl_seg, dci_stream_channel_id)),
        (control::field::FLAGS, span_of!(mlx5_wqe_ctrl_seg, fm_ce_se)),
        (control::field::IMMEDIATE, span_of!(mlx5_wqe_ctrl_seg, imm)),
    ]);
}

#[test]
fn segments_of_one_unit() {
    assert_eq!(size_of::<mlx5_wqe_raddr_seg>(), wire::UNIT);
    assert_eq!(size_of::<mlx5_wqe_data_seg>(), wire::UNIT);
    assert_eq!(size_of::<mlx5_wqe_atomic_seg>(), wire::UNIT);
    assert_eq!(size_of::<mlx5_wqe_srq_next_seg>(), wire::UNIT);
    assert_eq!(size_of::<mlx5_wqe_inl_data_seg>(), inline::HEADER);
    assert_spans([
        (remote::field::ADDRESS, span_of!(mlx5_wqe_raddr_seg, raddr)),
        (remote::field::RKEY, span_of!(mlx5_wqe_raddr_seg, rkey)),
        (remote::field::RESERVED, span_of!(mlx5_wqe_raddr_seg, reserved)),
        (data::field::LENGTH, span_of!(mlx5_wqe_data_seg, byte_count)),
        (data::field::LKEY, span_of!(mlx5_wqe_data_seg, lkey)),
        (data::field::ADDRESS, span_of!(mlx5_wqe_data_seg, addr)),
        (atomic::field::SWAP_OR_ADD, span_of!(mlx5_wqe_atomic_seg, swap_add)),
        (atomic::field::COMPARE, span_of!(mlx5_wqe_atomic_seg, compare)),
        (shared_receive::field::NEXT_INDEX, span_of!(mlx5_wqe_srq_next_seg, next_wqe_index)),
        (shared_receive::field::SIGNATURE, span_of!(mlx5_wqe_srq_next_seg, signature)),
        (inline::field::LENGTH, span_of!(mlx5_wqe_inl_data_seg, byte_count)),
    ]);
}

#[test]
fn address_vector_segment() {
    assert_eq!(size_of::<mlx5_wqe_av>(), address_vector::LENGTH);
    assert_eq!(span_of!(mlx5_wqe_av, key).start, 0);
    assert_spans([
        (address_vector::field::QUEUE_KEY, span_of!(mlx5_wqe_qkey, qkey)),
        (address_vector::field::RESERVED_KEY, span_of!(mlx5_wqe_qkey, reserved)),
        (address_vector::field::DESTINATION, span_of!(mlx5_wqe_av, dqp_dct)),
        (address_vector::field::RATE_SERVICE_LEVEL, span_of!(mlx5_wqe_av, stat_rate_sl)),
        (address_vector::field::PATH_BITS, span_of!(mlx5_wqe_av, fl_mlid)),
        (address_vector::field::REMOTE_LID, span_of!(mlx5_wqe_av, rlid)),
        (address_vector::field::RESERVED, span_of!(mlx5_wqe_av, reserved0)),
        (address_vector::field::REMOTE_MAC, span_of!(mlx5_wqe_av, rmac)),
        (address_vector::field::TRAFFIC_CLASS, span_of!(mlx5_wqe_av, tclass)),
        (address_vector::field::HOP_LIMIT, span_of!(mlx5_wqe_av, hop_limit)),
        (address_vector::field::ROUTE, span_of!(mlx5_wqe_av, grh_gid_fl)),
        (address_vector::field::REMOTE_GID, span_of!(mlx5_wqe_av, rgid)),
    ]);
}

#[test]
fn completion_entries() {
    assert_eq!(size_of::<mlx5_cqe64>(), size_of::<wire::Cqe64>());
    assert_eq!(size_of::<mlx5_err_cqe>(), size_of::<wire::Cqe64>());
    assert_eq!(2 * size_of::<mlx5_cqe64>(), size_of::<wire::Cqe128>());
    assert_eq!(span_of!(mlx5_cqe64, __bindgen_anon_1), scatter::IN_ENTRY);
    assert_spans([
        (cqe::field::WQE_ID, span_of!(mlx5_cqe64_path, wqe_id)),
        (cqe::field::PATH_BITS, span_of!(mlx5_cqe64_path, ml_path)),
        (cqe::field::SOURCE_LID, span_of!(mlx5_cqe64_path, slid)),
        (cqe::field::FLAGS_SOURCE, span_of!(mlx5_cqe64_path, flags_rqpn)),
        (cqe::field::SHARED_RECEIVE_QUEUE, span_of!(mlx5_cqe64, srqn_uidx)),
        (cqe::field::IMMEDIATE, span_of!(mlx5_cqe64, imm_inval_pkey)),
        (cqe::field::BYTE_COUNT, span_of!(mlx5_cqe64, byte_cnt)),
        (cqe::field::TIMESTAMP, span_of!(mlx5_cqe64, timestamp)),
        (cqe::field::OPCODE_QUEUE_PAIR, span_of!(mlx5_cqe64, sop_drop_qpn)),
        (cqe::field::WQE_COUNTER, span_of!(mlx5_cqe64, wqe_counter)),
        (cqe::field::SIGNATURE, span_of!(mlx5_cqe64, signature)),
        (cqe::field::OP_OWN, span_of!(mlx5_cqe64, op_own)),
        (cqe_error::field::SHARED_RECEIVE_QUEUE, span_of!(mlx5_err_cqe, srqn)),
        (cqe_error::field::VENDOR, span_of!(mlx5_err_cqe, vendor_err_synd)),
        (cqe_error::field::SYNDROME, span_of!(mlx5_err_cqe, syndrome)),
        (cqe_error::field::OPCODE_QUEUE_PAIR, span_of!(mlx5_err_cqe, s_wqe_opcode_qpn)),
        (cqe_error::field::WQE_COUNTER, span_of!(mlx5_err_cqe, wqe_counter)),
        (cqe::field::OP_OWN, span_of!(mlx5_err_cqe, op_own)),
    ]);
}

#[test]
fn work_request_opcodes() {
    let theirs = [
        sys::MLX5_OPCODE_NOP,
        sys::MLX5_OPCODE_SEND_INVAL,
        sys::MLX5_OPCODE_RDMA_WRITE,
        sys::MLX5_OPCODE_RDMA_WRITE_IMM,
        sys::MLX5_OPCODE_SEND,
        sys::MLX5_OPCODE_SEND_IMM,
        sys::MLX5_OPCODE_TSO,
        sys::MLX5_OPCODE_RDMA_READ,
        sys::MLX5_OPCODE_ATOMIC_CS,
        sys::MLX5_OPCODE_ATOMIC_FA,
        sys::MLX5_OPCODE_ATOMIC_MASKED_CS,
        sys::MLX5_OPCODE_ATOMIC_MASKED_FA,
        sys::MLX5_OPCODE_UMR,
    ];
    assert_eq!(Opcode::ALL.map(|opcode| opcode as u32), theirs);
}

#[test]
fn completion_opcodes_and_syndromes() {
    let pairs = [
        (CqeOpcode::Requester, sys::MLX5_CQE_REQ),
        (CqeOpcode::ResponderWriteImmediate, sys::MLX5_CQE_RESP_WR_IMM),
        (CqeOpcode::ResponderSend, sys::MLX5_CQE_RESP_SEND),
        (CqeOpcode::ResponderSendImmediate, sys::MLX5_CQE_RESP_SEND_IMM),
        (CqeOpcode::ResponderSendInvalidate, sys::MLX5_CQE_RESP_SEND_INV),
        (CqeOpcode::Resize, sys::MLX5_CQE_RESIZE_CQ),
        (CqeOpcode::SignatureError, sys::MLX5_CQE_SIG_ERR),
        (CqeOpcode::RequesterError, sys::MLX5_CQE_REQ_ERR),
        (CqeOpcode::ResponderError, sys::MLX5_CQE_RESP_ERR),
        (CqeOpcode::Invalid, sys::MLX5_CQE_INVALID),
    ];
    for (ours, theirs) in pairs {
        assert_eq!(ours as u32, theirs, "{ours:?}");
    }
    let syndromes = [
        sys::MLX5_CQE_SYNDROME_LOCAL_LENGTH_ERR,
        sys::MLX5_CQE_SYNDROME_LOCAL_QP_OP_ERR,
        sys::MLX5_CQE_SYNDROME_LOCAL_PROT_ERR,
        sys::MLX5_CQE_SYNDROME_WR_FLUSH_ERR,
        sys::MLX5_CQE_SYNDROME_MW_BIND_ERR,
        sys::MLX5_CQE_SYNDROME_BAD_RESP_ERR,
        sys::MLX5_CQE_SYNDROME_LOCAL_ACCESS_ERR,
        sys::MLX5_CQE_SYNDROME_REMOTE_INVAL_REQ_ERR,
        sys::MLX5_CQE_SYNDROME_REMOTE_ACCESS_ERR,
        sys::MLX5_CQE_SYNDROME_REMOTE_OP_ERR,
        sys::MLX5_CQE_SYNDROME_TRANSPORT_RETRY_EXC_ERR,
        sys::MLX5_CQE_SYNDROME_RNR_RETRY_EXC_ERR,
        sys::MLX5_CQE_SYNDROME_REMOTE_ABORTED_ERR,
    ];
    assert_eq!(Syndrome::ALL.map(|syndrome| u32::from(syndrome.to_byte())), syndromes);
}

#[test]
fn flags_and_marks() {
    assert_eq!(u32::from(ControlFlags::CQ_UPDATE.bits()), sys::MLX5_WQE_CTRL_CQ_UPDATE);
    assert_eq!(u32::from(ControlFlags::SOLICITED.bits()), sys::MLX5_WQE_CTRL_SOLICITED);
    assert_eq!(u32::from(ControlFlags::FENCE.bits()), sys::MLX5_WQE_CTRL_FENCE);
    assert_eq!(u32::from(ControlFlags::SMALL_FENCE.bits()), sys::MLX5_WQE_CTRL_INITIATOR_SMALL_FENCE);
    assert_eq!(u32::from(scatter::FORMAT_IN_ENTRY), sys::MLX5_INLINE_SCATTER_32);
    assert_eq!(u32::from(scatter::FORMAT_PRECEDING), sys::MLX5_INLINE_SCATTER_64);
    assert_eq!(data::INVALID_LKEY, sys::MLX5_INVALID_LKEY);
    assert_eq!(inline::MARK, sys::MLX5_INLINE_SEG);
    assert_eq!(wire::BASIC_BLOCK as u32, sys::MLX5_SEND_WQE_BB);
    assert_eq!(doorbell::RECEIVE_RECORD as u32, sys::MLX5_RCV_DBR);
    assert_eq!(doorbell::SEND_RECORD as u32, sys::MLX5_SND_DBR);
    assert_eq!(doorbell::ARM_REGISTER as u32, sys::MLX5_CQ_DOORBELL);
}
