//! The atomic segment: the operands of a compare-and-swap or fetch-and-add.
//!
//! ConnectX PRM, "Atomic Segment"; rdma-core `struct mlx5_wqe_atomic_seg`.

use core::ops::Range;

use super::Unit;
use super::bytes::{load64, store64};

/// Byte ranges of the segment.
pub mod field {
    use super::Range;

    /// The new value of a compare-and-swap, or the addend of a fetch-and-add.
    pub const SWAP_OR_ADD: Range<usize> = 0..8;
    /// The expected value of a compare-and-swap; not used by a fetch-and-add.
    pub const COMPARE: Range<usize> = 8..16;
}

/// Operands of a 64-bit atomic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AtomicSegment {
    /// The new value of a compare-and-swap, or the addend of a fetch-and-add.
    pub swap_or_add: u64,
    /// The expected value of a compare-and-swap; emit zero for a fetch-and-add, and do not trust it on
    /// reading one: libmlx5 leaves what was there before.
    pub compare: u64,
}

impl AtomicSegment {
    /// Writes the 16 bytes.
    #[inline]
    pub fn emit(&self, out: &mut Unit) {
        store64(out, field::SWAP_OR_ADD, self.swap_or_add);
        store64(out, field::COMPARE, self.compare);
    }

    /// Reads the segment. Every byte pattern is valid.
    #[inline]
    #[must_use]
    pub fn parse(bytes: &Unit) -> Self {
        Self { swap_or_add: load64(bytes, field::SWAP_OR_ADD), compare: load64(bytes, field::COMPARE) }
    }
}
