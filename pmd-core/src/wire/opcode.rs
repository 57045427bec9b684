//! Opcodes of work requests and of completions.
//!
//! ConnectX PRM, "WQE opcodes" and "CQE opcodes"; rdma-core `mlx5dv.h` (`MLX5_OPCODE_*`, `MLX5_CQE_*`).

use super::error::WireError;

/// What a work request asks for: the low byte of a control segment's first word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Opcode {
    /// Does nothing but complete.
    Nop = 0x00,
    /// Send, and invalidate a key at the peer.
    SendInvalidate = 0x01,
    /// Write to the peer's memory.
    RdmaWrite = 0x08,
    /// Write to the peer's memory and complete a receive there with an immediate.
    RdmaWriteImmediate = 0x09,
    /// Send into the peer's next receive.
    Send = 0x0a,
    /// Send with an immediate.
    SendImmediate = 0x0b,
    /// Segmented Ethernet send; named only so that it can be refused by name.
    Tso = 0x0e,
    /// Read from the peer's memory.
    RdmaRead = 0x10,
    /// Compare a peer's 64-bit value and swap it when equal.
    CompareAndSwap = 0x11,
    /// Add to a peer's 64-bit value.
    FetchAndAdd = 0x12,
    /// Masked compare and swap; named only so that it can be refused by name.
    MaskedCompareAndSwap = 0x14,
    /// Masked fetch and add; named only so that it can be refused by name.
    MaskedFetchAndAdd = 0x15,
    /// User-mode memory registration; named only so that it can be refused by name.
    UserMemoryRegistration = 0x25,
}

impl Opcode {
    /// All opcodes, in the order of their values.
    pub const ALL: [Self; 13] = [
        Self::Nop,
        Self::SendInvalidate,
        Self::RdmaWrite,
        Self::RdmaWriteImmediate,
        Self::Send,
        Self::SendImmediate,
        Self::Tso,
        Self::RdmaRead,
        Self::CompareAndSwap,
        Self::FetchAndAdd,
        Self::MaskedCompareAndSwap,
        Self::MaskedFetchAndAdd,
        Self::UserMemoryRegistration,
    ];

    /// The opcode with this value.
    ///
    /// # Errors
    /// [`WireError::UnknownOpcode`] when there is none.
    #[inline]
    pub const fn from_byte(byte: u8) -> Result<Self, WireError> {
        Ok(match byte {
            0x00 => Self::Nop,
            0x01 => Self::SendInvalidate,
            0x08 => Self::RdmaWrite,
            0x09 => Self::RdmaWriteImmediate,
            0x0a => Self::Send,
            0x0b => Self::SendImmediate,
            0x0e => Self::Tso,
            0x10 => Self::RdmaRead,
            0x11 => Self::CompareAndSwap,
            0x12 => Self::FetchAndAdd,
            0x14 => Self::MaskedCompareAndSwap,
            0x15 => Self::MaskedFetchAndAdd,
            0x25 => Self::UserMemoryRegistration,
            other => return Err(WireError::UnknownOpcode(other)),
        })
    }

    /// The manual's name, as rdma-core spells it after `MLX5_OPCODE_`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nop => "NOP",
            Self::SendInvalidate => "SEND_INVAL",
            Self::RdmaWrite => "RDMA_WRITE",
            Self::RdmaWriteImmediate => "RDMA_WRITE_IMM",
            Self::Send => "SEND",
            Self::SendImmediate => "SEND_IMM",
            Self::Tso => "TSO",
            Self::RdmaRead => "RDMA_READ",
            Self::CompareAndSwap => "ATOMIC_CS",
            Self::FetchAndAdd => "ATOMIC_FA",
            Self::MaskedCompareAndSwap => "ATOMIC_MASKED_CS",
            Self::MaskedFetchAndAdd => "ATOMIC_MASKED_FA",
            Self::UserMemoryRegistration => "UMR",
        }
    }
}

/// What a completion-queue entry reports: the high nibble of its last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CqeOpcode {
    /// A work request of a send queue is done.
    Requester = 0,
    /// A write with immediate arrived.
    ResponderWriteImmediate = 1,
    /// A send arrived.
    ResponderSend = 2,
    /// A send with immediate arrived.
    ResponderSendImmediate = 3,
    /// A send that invalidated a key arrived.
    ResponderSendInvalidate = 4,
    /// The last entry before a resized queue's new memory.
    Resize = 5,
    /// A signature check failed.
    SignatureError = 12,
    /// A work request of a send queue failed.
    RequesterError = 13,
    /// A receive failed.
    ResponderError = 14,
    /// Never written by the device: software sets it before first use.
    Invalid = 15,
}

impl CqeOpcode {
    /// The opcode in the high nibble of `op_own`.
    ///
    /// # Errors
    /// [`WireError::UnknownCqeOpcode`] when there is none with this value.
    #[inline]
    pub const fn from_op_own(op_own: u8) -> Result<Self, WireError> {
        Ok(match op_own >> 4 {
            0 => Self::Requester,
            1 => Self::ResponderWriteImmediate,
            2 => Self::ResponderSend,
            3 => Self::ResponderSendImmediate,
            4 => Self::ResponderSendInvalidate,
            5 => Self::Resize,
            12 => Self::SignatureError,
            13 => Self::RequesterError,
            14 => Self::ResponderError,
            15 => Self::Invalid,
            other => return Err(WireError::UnknownCqeOpcode(other)),
        })
    }

    /// The manual's name, as rdma-core spells it after `MLX5_CQE_`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Requester => "REQ",
            Self::ResponderWriteImmediate => "RESP_WR_IMM",
            Self::ResponderSend => "RESP_SEND",
            Self::ResponderSendImmediate => "RESP_SEND_IMM",
            Self::ResponderSendInvalidate => "RESP_SEND_INV",
            Self::Resize => "RESIZE_CQ",
            Self::SignatureError => "SIG_ERR",
            Self::RequesterError => "REQ_ERR",
            Self::ResponderError => "RESP_ERR",
            Self::Invalid => "INVALID",
        }
    }
}
