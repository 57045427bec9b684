//! The structs that `pmd-core`'s wire formats are compared with have the sizes and offsets of the ConnectX PRM
//! ("Work Queue Entry Format", "Completion Queue Entry"). bindgen's own assertions compare them with the headers.

use std::mem::{offset_of, size_of};

use pmd_sys::mlx5::*;

#[test]
fn segments_fill_their_sixteen_byte_units() {
    let sizes = [
        ("control", size_of::<mlx5_wqe_ctrl_seg>(), 16),
        ("remote address", size_of::<mlx5_wqe_raddr_seg>(), 16),
        ("data", size_of::<mlx5_wqe_data_seg>(), 16),
        ("atomic", size_of::<mlx5_wqe_atomic_seg>(), 16),
        ("address vector", size_of::<mlx5_wqe_av>(), 48),
        ("datagram", size_of::<mlx5_wqe_datagram_seg>(), 48),
        ("inline header", size_of::<mlx5_wqe_inl_data_seg>(), 4),
        ("shared receive next", size_of::<mlx5_wqe_srq_next_seg>(), 16),
        ("multi-packet receive", size_of::<mlx5_mprq_wqe>(), 32),
        ("completion", size_of::<mlx5_cqe64>(), 64),
        ("error completion", size_of::<mlx5_err_cqe>(), 64),
    ];
    for (segment, size, expected) in sizes {
        assert_eq!(size, expected, "{segment}");
    }
}

#[test]
fn segment_fields_are_where_the_manual_puts_them() {
    assert_eq!(offset_of!(mlx5_wqe_ctrl_seg, fm_ce_se), 11);
    assert_eq!(offset_of!(mlx5_wqe_ctrl_seg, imm), 12);
    assert_eq!(offset_of!(mlx5_wqe_raddr_seg, rkey), 8);
    assert_eq!(offset_of!(mlx5_wqe_data_seg, lkey), 4);
    assert_eq!(offset_of!(mlx5_wqe_data_seg, addr), 8);
    assert_eq!(offset_of!(mlx5_wqe_atomic_seg, compare), 8);
    assert_eq!(offset_of!(mlx5_wqe_srq_next_seg, next_wqe_index), 2);
    assert_eq!(offset_of!(mlx5_wqe_av, dqp_dct), 8);
    assert_eq!(offset_of!(mlx5_wqe_av, rmac), 20);
    assert_eq!(offset_of!(mlx5_wqe_av, grh_gid_fl), 28);
    assert_eq!(offset_of!(mlx5_wqe_av, rgid), 32);
}

#[test]
fn completion_fields_are_where_the_manual_puts_them() {
    assert_eq!(offset_of!(mlx5_cqe64, srqn_uidx), 32);
    assert_eq!(offset_of!(mlx5_cqe64, imm_inval_pkey), 36);
    assert_eq!(offset_of!(mlx5_cqe64, byte_cnt), 44);
    assert_eq!(offset_of!(mlx5_cqe64, timestamp), 48);
    assert_eq!(offset_of!(mlx5_cqe64, sop_drop_qpn), 56);
    assert_eq!(offset_of!(mlx5_cqe64, wqe_counter), 60);
    assert_eq!(offset_of!(mlx5_cqe64, op_own), 63);
    assert_eq!(offset_of!(mlx5_err_cqe, vendor_err_synd), 54);
    assert_eq!(offset_of!(mlx5_err_cqe, syndrome), 55);
    assert_eq!(offset_of!(mlx5_err_cqe, s_wqe_opcode_qpn), 56);
    assert_eq!(offset_of!(mlx5_err_cqe, wqe_counter), 60);
}

#[test]
fn the_opcodes_are_the_manual_s() {
    let opcodes = [
        (MLX5_OPCODE_NOP, 0x00),
        (MLX5_OPCODE_RDMA_WRITE, 0x08),
        (MLX5_OPCODE_RDMA_WRITE_IMM, 0x09),
        (MLX5_OPCODE_SEND, 0x0a),
        (MLX5_OPCODE_SEND_IMM, 0x0b),
        (MLX5_OPCODE_RDMA_READ, 0x10),
        (MLX5_OPCODE_ATOMIC_CS, 0x11),
        (MLX5_OPCODE_ATOMIC_FA, 0x12),
        (MLX5_CQE_REQ_ERR, 13),
        (MLX5_CQE_RESP_ERR, 14),
        (MLX5_CQE_INVALID, 15),
    ];
    for (constant, value) in opcodes {
        assert_eq!(constant, value);
    }
}
