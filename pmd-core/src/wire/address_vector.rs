//! The address vector: where a datagram goes. 48 bytes after the control segment of UD WQEs.
//!
//! ConnectX PRM, "UD Address Vector"; rdma-core `struct mlx5_wqe_av`. The dynamically connected key that
//! shares bytes 0 to 8 is not described here.

use core::ops::Range;

use super::UNIT;
use super::bytes::{is_zero, load16, load32, store16, store32, take};
use super::error::WireError;

/// Byte ranges of the segment.
pub mod field {
    use super::Range;

    /// Q_Key.
    pub const QUEUE_KEY: Range<usize> = 0..4;
    /// Zero.
    pub const RESERVED_KEY: Range<usize> = 4..8;
    /// Extended-vector bit and destination queue pair.
    pub const DESTINATION: Range<usize> = 8..12;
    /// Static rate << 4 | service level.
    pub const RATE_SERVICE_LEVEL: Range<usize> = 12..13;
    /// Source path bits (InfiniBand).
    pub const PATH_BITS: Range<usize> = 13..14;
    /// Destination LID (InfiniBand), UDP source port (RoCE v2).
    pub const REMOTE_LID: Range<usize> = 14..16;
    /// Zero.
    pub const RESERVED: Range<usize> = 16..20;
    /// Destination MAC (RoCE).
    pub const REMOTE_MAC: Range<usize> = 20..26;
    /// Traffic class.
    pub const TRAFFIC_CLASS: Range<usize> = 26..27;
    /// Hop limit.
    pub const HOP_LIMIT: Range<usize> = 27..28;
    /// Global-route bit, source GID index, flow label.
    pub const ROUTE: Range<usize> = 28..32;
    /// Destination GID.
    pub const REMOTE_GID: Range<usize> = 32..48;
}

/// Bytes of the segment.
pub const LENGTH: usize = 48;

/// 16-byte units of the segment.
pub const UNITS: usize = LENGTH / UNIT;

/// Top bit of the destination word: the vector is of the 48-byte form.
const EXTENDED: u32 = 0x8000_0000;
/// Reserved bits of the destination word, between the extended bit and the queue-pair number.
const DESTINATION_RESERVED: u32 = 0x7f00_0000;

/// The path to a datagram's receiver, in host order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressVector {
    /// Q_Key that the receiver checks.
    pub queue_key: u32,
    /// Destination queue pair, 24 bits; higher bits are not emitted.
    pub destination: u32,
    /// Whether the vector is of the 48-byte form, as libmlx5 always sets it.
    pub extended: bool,
    /// Static rate << 4 | service level (RoCE: priority << 1).
    pub rate_service_level: u8,
    /// Source path bits (InfiniBand).
    pub path_bits: u8,
    /// Destination LID (InfiniBand) or UDP source port (RoCE v2).
    pub remote_lid: u16,
    /// Destination MAC (RoCE).
    pub remote_mac: [u8; 6],
    /// Traffic class.
    pub traffic_class: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// 1 << 30 when a global route is used | source GID index << 20 | flow label.
    pub route: u32,
    /// Destination GID in network order.
    pub remote_gid: [u8; 16],
}

impl AddressVector {
    /// Writes the 48 bytes.
    #[inline]
    pub fn emit(&self, out: &mut [u8; LENGTH]) {
        let extended = if self.extended { EXTENDED } else { 0 };
        store32(out, field::QUEUE_KEY, self.queue_key);
        store32(out, field::RESERVED_KEY, 0);
        store32(out, field::DESTINATION, extended | self.destination & 0x00ff_ffff);
        out[field::RATE_SERVICE_LEVEL.start] = self.rate_service_level;
        out[field::PATH_BITS.start] = self.path_bits;
        store16(out, field::REMOTE_LID, self.remote_lid);
        store32(out, field::RESERVED, 0);
        out[field::REMOTE_MAC].copy_from_slice(&self.remote_mac);
        out[field::TRAFFIC_CLASS.start] = self.traffic_class;
        out[field::HOP_LIMIT.start] = self.hop_limit;
        store32(out, field::ROUTE, self.route);
        out[field::REMOTE_GID].copy_from_slice(&self.remote_gid);
    }

    /// Reads the segment; reserved fields are not looked at. Every byte pattern is valid.
    #[must_use]
    pub fn parse(bytes: &[u8; LENGTH]) -> Self {
        let destination = load32(bytes, field::DESTINATION);
        Self {
            queue_key: load32(bytes, field::QUEUE_KEY),
            destination: destination & 0x00ff_ffff,
            extended: destination & EXTENDED != 0,
            rate_service_level: bytes[field::RATE_SERVICE_LEVEL.start],
            path_bits: bytes[field::PATH_BITS.start],
            remote_lid: load16(bytes, field::REMOTE_LID),
            remote_mac: take(bytes, field::REMOTE_MAC),
            traffic_class: bytes[field::TRAFFIC_CLASS.start],
            hop_limit: bytes[field::HOP_LIMIT.start],
            route: load32(bytes, field::ROUTE),
            remote_gid: take(bytes, field::REMOTE_GID),
        }
    }

    /// As [`parse`](Self::parse), and refuses reserved fields that are not zero.
    ///
    /// # Errors
    /// [`WireError::Reserved`].
    pub fn parse_strict(bytes: &[u8; LENGTH]) -> Result<Self, WireError> {
        let reserved_bits = load32(bytes, field::DESTINATION) & DESTINATION_RESERVED;
        if reserved_bits == 0 && is_zero(&bytes[field::RESERVED_KEY]) && is_zero(&bytes[field::RESERVED]) {
            Ok(Self::parse(bytes))
        } else {
            Err(WireError::Reserved("address vector"))
        }
    }
}
