//! The inline segment: a four-byte header and the payload itself, in the send queue.
//!
//! ConnectX PRM, "Inline Data Segment"; rdma-core `struct mlx5_wqe_inl_data_seg`, `MLX5_INLINE_SEG`. Where the
//! payload reaches the end of the send queue it goes on at the queue's beginning.

use core::ops::Range;

use super::UNIT;
use super::bytes::{load32, store32};
use super::error::WireError;

/// Byte ranges of the segment.
pub mod field {
    use super::Range;

    /// Length in bytes, with the top bit ([`MARK`](super::MARK)) set.
    pub const LENGTH: Range<usize> = 0..4;
}

/// The bit of the length that tells an inline segment from a data segment.
pub const MARK: u32 = 0x8000_0000;

/// Bytes of the header, before the payload.
pub const HEADER: usize = field::LENGTH.end;

/// The length of the payload that follows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InlineHeader {
    /// Payload bytes, below 2^31.
    pub length: u32,
}

impl InlineHeader {
    /// Writes the four bytes.
    #[inline]
    pub fn emit(&self, out: &mut [u8; HEADER]) {
        store32(out, field::LENGTH, self.length | MARK);
    }

    /// Reads the header.
    ///
    /// # Errors
    /// [`WireError::NotThisSegment`] when the inline bit is not set.
    #[inline]
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Self, WireError> {
        let word = load32(bytes, field::LENGTH);
        if word & MARK == 0 {
            return Err(WireError::NotThisSegment("inline"));
        }
        Ok(Self { length: word & !MARK })
    }
}

/// Whether the segment that begins with these bytes is inline.
#[inline]
#[must_use]
pub const fn is_inline(segment: &[u8; UNIT]) -> bool {
    segment[0] & 0x80 != 0
}

/// The 16-byte units that `length` bytes of inline payload take, header and padding included.
#[inline]
#[must_use]
pub const fn units(length: usize) -> usize {
    (HEADER + length).div_ceil(UNIT)
}
