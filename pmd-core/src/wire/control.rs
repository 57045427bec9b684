//! The control segment: the first 16 bytes of every send WQE.
//!
//! ConnectX PRM, "Control Segment"; rdma-core `struct mlx5_wqe_ctrl_seg`.

use core::ops::Range;

use super::bytes::{is_zero, load32, store32};
use super::error::WireError;
use super::opcode::Opcode;
use super::{MAX_UNITS, Unit};

/// Byte ranges of the segment.
pub mod field {
    use super::Range;

    /// opmod << 24 | WQE index << 8 | opcode.
    pub const OPMOD_INDEX_OPCODE: Range<usize> = 0..4;
    /// Queue-pair number << 8 | units of the WQE (`ds`).
    pub const QUEUE_PAIR_UNITS: Range<usize> = 4..8;
    /// Signature, zero unless the queue pair was created with signatures (this format never does).
    pub const SIGNATURE: Range<usize> = 8..9;
    /// Stream of a dynamically connected initiator, zero elsewhere.
    pub const STREAM: Range<usize> = 9..11;
    /// Fence mode, completion mode, solicited event (`fm_ce_se`).
    pub const FLAGS: Range<usize> = 11..12;
    /// Immediate data, or the key that a SEND_INVAL invalidates.
    pub const IMMEDIATE: Range<usize> = 12..16;
}

bitflags::bitflags! {
    /// The byte `fm_ce_se`: fence mode, completion mode and solicited event.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct ControlFlags: u8 {
        /// The receiver's completion is a solicited event.
        const SOLICITED = 0x02;
        /// Write a completion-queue entry on success too; errors always write one.
        const CQ_UPDATE = 0x08;
        /// Start after the initiator's earlier local operations.
        const SMALL_FENCE = 0x20;
        /// Start after all earlier READs and atomics of this queue pair have completed.
        const FENCE = 0x80;
    }
}

/// What every send WQE begins with, in host order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlSegment {
    /// The operation.
    pub opcode: Opcode,
    /// Opcode modifier; zero for everything described here.
    pub opmod: u8,
    /// The producer index of the WQE's first basic block; its low 16 bits.
    pub index: u16,
    /// Queue-pair number, 24 bits; higher bits are not emitted.
    pub queue_pair: u32,
    /// 16-byte units of the WQE, this segment included (`ds`): 1 to 63.
    pub units: u8,
    /// Fences, completion, solicited event.
    pub flags: ControlFlags,
    /// Immediate data or invalidated rkey as a host value; the wire holds it in network order, so that the
    /// peer's completion shows the same four bytes. Zero for operations without one.
    pub immediate: u32,
}

impl ControlSegment {
    /// Writes the 16 bytes.
    #[inline]
    pub fn emit(&self, out: &mut Unit) {
        let first = u32::from(self.opmod) << 24 | u32::from(self.index) << 8 | self.opcode as u32;
        store32(out, field::OPMOD_INDEX_OPCODE, first);
        store32(out, field::QUEUE_PAIR_UNITS, self.queue_pair << 8 | u32::from(self.units));
        store32(out, field::SIGNATURE.start..field::FLAGS.end, u32::from(self.flags.bits()));
        store32(out, field::IMMEDIATE, self.immediate);
    }

    /// The 16 bytes by value.
    #[inline]
    #[must_use]
    pub fn to_bytes(&self) -> Unit {
        let mut out = [0; 16];
        self.emit(&mut out);
        out
    }

    /// Reads a control segment; signature and stream are not looked at, unknown flag bits are kept.
    ///
    /// # Errors
    /// [`WireError::UnknownOpcode`], or [`WireError::UnitCount`] when `ds` is 0 or above 63.
    #[inline]
    pub fn parse(bytes: &Unit) -> Result<Self, WireError> {
        let first = load32(bytes, field::OPMOD_INDEX_OPCODE);
        let second = load32(bytes, field::QUEUE_PAIR_UNITS);
        let units = second as u8;
        if units == 0 || units > MAX_UNITS {
            return Err(WireError::UnitCount { units, limit: MAX_UNITS });
        }
        Ok(Self {
            opcode: Opcode::from_byte(first as u8)?,
            opmod: (first >> 24) as u8,
            index: (first >> 8) as u16,
            queue_pair: second >> 8,
            units,
            flags: ControlFlags::from_bits_retain(bytes[field::FLAGS.start]),
            immediate: load32(bytes, field::IMMEDIATE),
        })
    }

    /// As [`parse`](Self::parse), and refuses a signature, a stream or a flag that has no meaning here.
    ///
    /// # Errors
    /// Those of `parse`, and [`WireError::Reserved`].
    pub fn parse_strict(bytes: &Unit) -> Result<Self, WireError> {
        let parsed = Self::parse(bytes)?;
        let unknown_flags = parsed.flags.bits() & !ControlFlags::all().bits();
        if !is_zero(&bytes[field::SIGNATURE.start..field::STREAM.end]) || unknown_flags != 0 {
            return Err(WireError::Reserved("control"));
        }
        Ok(parsed)
    }
}
