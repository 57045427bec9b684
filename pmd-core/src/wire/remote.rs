//! The remote-address segment: where at the peer a READ, WRITE or atomic works.
//!
//! ConnectX PRM, "Remote Address Segment"; rdma-core `struct mlx5_wqe_raddr_seg`.

use core::ops::Range;

use super::Unit;
use super::bytes::{is_zero, load32, load64, store32, store64};
use super::error::WireError;

/// Byte ranges of the segment.
pub mod field {
    use super::Range;

    /// Virtual address at the peer.
    pub const ADDRESS: Range<usize> = 0..8;
    /// The peer's key.
    pub const RKEY: Range<usize> = 8..12;
    /// Zero.
    pub const RESERVED: Range<usize> = 12..16;
}

/// An address at the peer and the key that opens it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoteSegment {
    /// Virtual address at the peer.
    pub address: u64,
    /// The peer's remote key.
    pub rkey: u32,
}

impl RemoteSegment {
    /// Writes the 16 bytes.
    #[inline]
    pub fn emit(&self, out: &mut Unit) {
        store64(out, field::ADDRESS, self.address);
        store32(out, field::RKEY, self.rkey);
        store32(out, field::RESERVED, 0);
    }

    /// Reads the segment; the reserved word is not looked at. Every byte pattern is valid.
    #[inline]
    #[must_use]
    pub fn parse(bytes: &Unit) -> Self {
        Self { address: load64(bytes, field::ADDRESS), rkey: load32(bytes, field::RKEY) }
    }

    /// As [`parse`](Self::parse), and refuses a reserved word that is not zero.
    ///
    /// # Errors
    /// [`WireError::Reserved`].
    pub fn parse_strict(bytes: &Unit) -> Result<Self, WireError> {
        if is_zero(&bytes[field::RESERVED]) {
            Ok(Self::parse(bytes))
        } else {
            Err(WireError::Reserved("remote address"))
        }
    }
}
