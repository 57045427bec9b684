//! The data segment: one piece of local memory, in send and in receive WQEs (a scatter-gather element).
//!
//! ConnectX PRM, "Memory Type Data Segment"; rdma-core `struct mlx5_wqe_data_seg`.

use core::ops::Range;

use super::Unit;
use super::bytes::{load32, load64, store32, store64};
use super::inline;

/// Byte ranges of the segment.
pub mod field {
    use super::Range;

    /// Length in bytes; the top bit would make it an inline segment.
    pub const LENGTH: Range<usize> = 0..4;
    /// The local key.
    pub const LKEY: Range<usize> = 4..8;
    /// Virtual address.
    pub const ADDRESS: Range<usize> = 8..16;
}

/// The key that ends a receive WQE's list early (`MLX5_INVALID_LKEY`).
pub const INVALID_LKEY: u32 = 0x100;

/// The largest length that a segment can state: the top bit means inline.
pub const MAX_LENGTH: u32 = inline::MARK - 1;

/// A piece of registered local memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DataSegment {
    /// Bytes. Zero means 2 GiB to hardware: a poster leaves zero-length elements out.
    pub length: u32,
    /// Local key of the memory region.
    pub lkey: u32,
    /// Virtual address.
    pub address: u64,
}

impl DataSegment {
    /// Ends a receive WQE that has fewer elements than its stride holds.
    pub const TERMINATOR: Self = Self { length: 0, lkey: INVALID_LKEY, address: 0 };

    /// Writes the 16 bytes.
    #[inline]
    pub fn emit(&self, out: &mut Unit) {
        store32(out, field::LENGTH, self.length);
        store32(out, field::LKEY, self.lkey);
        store64(out, field::ADDRESS, self.address);
    }

    /// Reads the segment. Every byte pattern is valid; check [`inline::is_inline`] first in a send WQE.
    #[inline]
    #[must_use]
    pub fn parse(bytes: &Unit) -> Self {
        Self {
            length: load32(bytes, field::LENGTH),
            lkey: load32(bytes, field::LKEY),
            address: load64(bytes, field::ADDRESS),
        }
    }

    /// Bytes as hardware counts them in a send WQE: zero stands for 2 GiB.
    #[inline]
    #[must_use]
    pub const fn device_length(&self) -> u64 {
        if self.length == 0 { 1 << 31 } else { self.length as u64 }
    }

    /// Whether this ends a receive WQE's list.
    #[inline]
    #[must_use]
    pub const fn is_terminator(&self) -> bool {
        self.length == 0 && self.lkey == INVALID_LKEY
    }
}
