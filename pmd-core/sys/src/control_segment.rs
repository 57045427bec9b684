//! The one struct that bindgen lays out wrongly, written by hand; `bindings::mlx5` uses it.

/// Control segment, the first 16 bytes of every work-queue entry (rdma-core 44.0, `infiniband/mlx5dv.h`).
///
/// C declares it packed and 4-aligned at once, which places a two-byte field at offset 9; an array of bytes in that
/// place gives the same offsets in Rust. All fields are big-endian.
#[allow(non_camel_case_types)]
#[repr(C, align(4))]
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct mlx5_wqe_ctrl_seg {
    /// Opcode modifier (8 bits), producer index in 64-byte blocks (16 bits), opcode (8 bits).
    pub opmod_idx_opcode: u32,
    /// Queue pair number (24 bits), size in 16-byte units (8 bits).
    pub qpn_ds: u32,
    /// Signature of the entry, where signatures are on.
    pub signature: u8,
    /// Stream of a dynamically connected initiator, big-endian.
    pub dci_stream_channel_id: [u8; 2],
    /// Fence mode, completion and event mode, solicited event.
    pub fm_ce_se: u8,
    /// Immediate data in network order, or the remote key to invalidate.
    pub imm: u32,
}

#[cfg(test)]
mod tests {
    use super::mlx5_wqe_ctrl_seg;
    use std::mem::{align_of, offset_of, size_of};

    #[test]
    fn the_layout_is_that_of_the_header() {
        assert_eq!((size_of::<mlx5_wqe_ctrl_seg>(), align_of::<mlx5_wqe_ctrl_seg>()), (16, 4));
        let offsets = [
            offset_of!(mlx5_wqe_ctrl_seg, opmod_idx_opcode),
            offset_of!(mlx5_wqe_ctrl_seg, qpn_ds),
            offset_of!(mlx5_wqe_ctrl_seg, signature),
            offset_of!(mlx5_wqe_ctrl_seg, dci_stream_channel_id),
            offset_of!(mlx5_wqe_ctrl_seg, fm_ce_se),
            offset_of!(mlx5_wqe_ctrl_seg, imm),
        ];
        assert_eq!(offsets, [0, 4, 8, 9, 11, 12]);
    }
}
