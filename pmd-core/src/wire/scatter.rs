//! Scatter-to-CQE: small received payloads that a device puts into the completion queue instead of memory.
//!
//! ConnectX PRM, "Scatter to CQE"; rdma-core `MLX5_INLINE_SCATTER_32`, `MLX5_INLINE_SCATTER_64` in `cqe->op_own`.
//! libmlx5 asks for it unless told otherwise, for receives and for READ and atomic results alike; a direct
//! poller either turns it off for its queue pairs or copies the payload out with [`payload`].

use core::ops::Range;

use super::bytes::take;
use super::cqe::OP_OWN;
use super::error::WireError;
use super::{Cqe64, Cqe128};

/// Where a payload of up to 32 bytes lies in a 64-byte entry (format 0x4).
pub const IN_ENTRY: Range<usize> = 0..32;

/// Where a payload of up to 64 bytes lies in a 128-byte entry (format 0x8): before its second half.
pub const PRECEDING: Range<usize> = 0..64;

/// Index of the 64-byte form within a 128-byte entry.
pub const ENTRY: usize = 1;

/// Bits of `op_own` that hold the format.
pub const FORMAT_MASK: u8 = 0x0c;
/// Format bit: the payload is in the entry's first 32 bytes.
pub const FORMAT_IN_ENTRY: u8 = 0x04;
/// Format bit: the payload is in the 64 bytes before the entry.
pub const FORMAT_PRECEDING: u8 = 0x08;

/// Where the payload of a completion is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scatter {
    /// In the memory that the work request names: the ordinary case.
    #[default]
    Memory,
    /// In the first 32 bytes of the entry, in place of the path fields; the byte count says how many count.
    InEntry([u8; 32]),
    /// In the first half of the 128-byte entry.
    Preceding,
}

impl Scatter {
    /// Reads the format bits of an entry, and its payload where that is inside.
    ///
    /// # Errors
    /// [`WireError::Compressed`] when both format bits are set.
    #[inline]
    pub fn parse(entry: &Cqe64) -> Result<Self, WireError> {
        match entry[OP_OWN] & FORMAT_MASK {
            0 => Ok(Self::Memory),
            FORMAT_IN_ENTRY => Ok(Self::InEntry(take(entry, IN_ENTRY))),
            FORMAT_PRECEDING => Ok(Self::Preceding),
            _ => Err(WireError::Compressed),
        }
    }

    /// The format bits of `op_own`.
    #[inline]
    #[must_use]
    pub const fn format(&self) -> u8 {
        match self {
            Self::Memory => 0,
            Self::InEntry(_) => FORMAT_IN_ENTRY,
            Self::Preceding => FORMAT_PRECEDING,
        }
    }
}

/// The payload that a 128-byte entry carries, if it does: `byte_count` bytes, at most 32 or 64.
#[must_use]
pub fn payload(cqe: &Cqe128, byte_count: u32) -> Option<&[u8]> {
    let [preceding, entry] = cqe;
    payload64(entry, byte_count).or_else(|| {
        (entry[OP_OWN] & FORMAT_MASK == FORMAT_PRECEDING).then(|| &preceding[..clip(byte_count, PRECEDING)])
    })
}

/// The payload that a 64-byte entry carries, if it does: `byte_count` bytes, at most 32.
#[must_use]
pub fn payload64(entry: &Cqe64, byte_count: u32) -> Option<&[u8]> {
    (entry[OP_OWN] & FORMAT_MASK == FORMAT_IN_ENTRY).then(|| &entry[..clip(byte_count, IN_ENTRY)])
}

fn clip(byte_count: u32, place: Range<usize>) -> usize {
    place.len().min(byte_count as usize)
}
