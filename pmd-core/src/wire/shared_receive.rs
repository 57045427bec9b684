//! The next segment: links the slots of a shared receive queue.
//!
//! ConnectX PRM, "SRQ WQE"; rdma-core `struct mlx5_wqe_srq_next_seg`. Data segments follow as in
//! [`receive`](super::receive).

use core::ops::Range;

use super::Unit;
use super::bytes::{is_zero, load16, store16};
use super::error::WireError;

/// Byte ranges of the segment.
pub mod field {
    use super::Range;

    /// Slot that follows this one in the list.
    pub const NEXT_INDEX: Range<usize> = 2..4;
    /// Signature, zero unless signatures are on (this format never turns them on).
    pub const SIGNATURE: Range<usize> = 4..5;
}

/// The link to the slot that follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NextSegment {
    /// Index of the next slot of the shared receive queue.
    pub next_index: u16,
}

impl NextSegment {
    /// Writes the 16 bytes.
    #[inline]
    pub fn emit(&self, out: &mut Unit) {
        *out = [0; 16];
        store16(out, field::NEXT_INDEX, self.next_index);
    }

    /// Reads the segment; reserved fields are not looked at. Every byte pattern is valid.
    #[inline]
    #[must_use]
    pub fn parse(bytes: &Unit) -> Self {
        Self { next_index: load16(bytes, field::NEXT_INDEX) }
    }

    /// As [`parse`](Self::parse), and refuses reserved fields that are not zero.
    ///
    /// # Errors
    /// [`WireError::Reserved`].
    pub fn parse_strict(bytes: &Unit) -> Result<Self, WireError> {
        if is_zero(&bytes[..field::NEXT_INDEX.start]) && is_zero(&bytes[field::NEXT_INDEX.end..]) {
            Ok(Self::parse(bytes))
        } else {
            Err(WireError::Reserved("shared receive queue next"))
        }
    }
}
