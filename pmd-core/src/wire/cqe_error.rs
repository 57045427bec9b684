//! Error entries of a completion queue: what failed, and why.
//!
//! ConnectX PRM, "Completion With Error"; rdma-core `struct mlx5_err_cqe`, `MLX5_CQE_SYNDROME_*`.

use core::fmt;
use core::ops::Range;

use super::Cqe64;
use super::bytes::{load16, load32, store16, store32};
use super::cqe;
use super::opcode::CqeOpcode;

/// Byte ranges that differ from those of a good entry ([`cqe::field`]).
pub mod field {
    use super::Range;

    /// Shared-receive-queue number.
    pub const SHARED_RECEIVE_QUEUE: Range<usize> = 32..36;
    /// Vendor's detail of the syndrome.
    pub const VENDOR: Range<usize> = 54..55;
    /// Why the work request failed.
    pub const SYNDROME: Range<usize> = 55..56;
    /// WQE opcode << 24 | queue-pair number.
    pub const OPCODE_QUEUE_PAIR: Range<usize> = 56..60;
    /// Index of the WQE's first basic block, or the receive WQE's counter.
    pub const WQE_COUNTER: Range<usize> = 60..62;
}

/// Which side of the connection the failed work request was on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Side {
    /// A work request of the send queue.
    #[default]
    Requester,
    /// A receive.
    Responder,
}

/// A work request that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorCompletion {
    /// Send queue or receive queue.
    pub side: Side,
    /// Queue-pair number, 24 bits.
    pub queue_pair: u32,
    /// Opcode byte of the failed WQE as the device reports it; not meaningful for a receive.
    pub operation: u8,
    /// Index of the WQE's first basic block (send), slot (shared receive queue) or counter (receive).
    pub wqe_counter: u16,
    /// Why.
    pub syndrome: Syndrome,
    /// The vendor's detail, for the vendor's support; the PRM does not list its values.
    pub vendor: u8,
    /// Shared-receive-queue number, zero without one.
    pub shared_receive_queue: u32,
}

impl ErrorCompletion {
    /// Reads an error entry of `side`. Every byte pattern is valid.
    #[must_use]
    pub fn parse(side: Side, entry: &Cqe64) -> Self {
        let opcode_queue_pair = load32(entry, field::OPCODE_QUEUE_PAIR);
        Self {
            side,
            queue_pair: opcode_queue_pair & 0x00ff_ffff,
            operation: (opcode_queue_pair >> 24) as u8,
            wqe_counter: load16(entry, field::WQE_COUNTER),
            syndrome: Syndrome::from_byte(entry[field::SYNDROME.start]),
            vendor: entry[field::VENDOR.start],
            shared_receive_queue: load32(entry, field::SHARED_RECEIVE_QUEUE),
        }
    }

    /// Writes the 64 bytes, `op_own` included.
    pub fn emit(&self, owner: bool, entry: &mut Cqe64) {
        *entry = [0; 64];
        store32(entry, field::SHARED_RECEIVE_QUEUE, self.shared_receive_queue);
        entry[field::VENDOR.start] = self.vendor;
        entry[field::SYNDROME.start] = self.syndrome.to_byte();
        let opcode_queue_pair = u32::from(self.operation) << 24 | self.queue_pair & 0x00ff_ffff;
        store32(entry, field::OPCODE_QUEUE_PAIR, opcode_queue_pair);
        store16(entry, field::WQE_COUNTER, self.wqe_counter);
        let opcode = match self.side {
            Side::Requester => CqeOpcode::RequesterError,
            Side::Responder => CqeOpcode::ResponderError,
        };
        entry[cqe::OP_OWN] = cqe::op_own(opcode, 0, false, owner);
    }
}

/// Why a work request failed. The text of [`Display`](fmt::Display) says what to check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Syndrome {
    /// 0x01: more arrived than the receive holds, or a request is longer than the device takes.
    LocalLength,
    /// 0x02: the WQE itself is not right.
    LocalQueuePairOperation,
    /// 0x04: a local segment is outside of its memory region, or its key is wrong.
    LocalProtection,
    /// 0x05: not executed, the queue pair was in the error state.
    Flushed,
    /// 0x06: a memory window could not be bound.
    MemoryWindowBind,
    /// 0x10: the answer from the peer was not the expected one.
    BadResponse,
    /// 0x11: the peer's write with immediate hit memory that this side does not open.
    LocalAccess,
    /// 0x12: the peer refused the request as invalid.
    RemoteInvalidRequest,
    /// 0x13: the peer refused the rkey, the bounds or the kind of access.
    RemoteAccess,
    /// 0x14: the peer could not complete the request.
    RemoteOperation,
    /// 0x15: no answer in the set number of retries.
    RetryExceeded,
    /// 0x16: the peer posted no receive in the set number of retries.
    ReceiverNotReadyExceeded,
    /// 0x22: the peer gave the operation up.
    RemoteAborted,
    /// A value that the PRM does not list.
    Unknown(u8),
}

impl Syndrome {
    /// All listed syndromes, in the order of their values.
    pub const ALL: [Self; 13] = [
        Self::LocalLength,
        Self::LocalQueuePairOperation,
        Self::LocalProtection,
        Self::Flushed,
        Self::MemoryWindowBind,
        Self::BadResponse,
        Self::LocalAccess,
        Self::RemoteInvalidRequest,
        Self::RemoteAccess,
        Self::RemoteOperation,
        Self::RetryExceeded,
        Self::ReceiverNotReadyExceeded,
        Self::RemoteAborted,
    ];

    /// The syndrome with this value; every byte has one.
    #[must_use]
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0x01 => Self::LocalLength,
            0x02 => Self::LocalQueuePairOperation,
            0x04 => Self::LocalProtection,
            0x05 => Self::Flushed,
            0x06 => Self::MemoryWindowBind,
            0x10 => Self::BadResponse,
            0x11 => Self::LocalAccess,
            0x12 => Self::RemoteInvalidRequest,
            0x13 => Self::RemoteAccess,
            0x14 => Self::RemoteOperation,
            0x15 => Self::RetryExceeded,
            0x16 => Self::ReceiverNotReadyExceeded,
            0x22 => Self::RemoteAborted,
            other => Self::Unknown(other),
        }
    }

    /// The value; the inverse of [`from_byte`](Self::from_byte).
    #[must_use]
    pub const fn to_byte(self) -> u8 {
        match self {
            Self::LocalLength => 0x01,
            Self::LocalQueuePairOperation => 0x02,
            Self::LocalProtection => 0x04,
            Self::Flushed => 0x05,
            Self::MemoryWindowBind => 0x06,
            Self::BadResponse => 0x10,
            Self::LocalAccess => 0x11,
            Self::RemoteInvalidRequest => 0x12,
            Self::RemoteAccess => 0x13,
            Self::RemoteOperation => 0x14,
            Self::RetryExceeded => 0x15,
            Self::ReceiverNotReadyExceeded => 0x16,
            Self::RemoteAborted => 0x22,
            Self::Unknown(byte) => byte,
        }
    }

    /// What happened, and what to look at.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::LocalLength => {
                "local length error: the receive is shorter than what arrived, or the request is longer than \
                 the port's maximum message"
            }
            Self::LocalQueuePairOperation => {
                "local queue pair operation error: the WQE is malformed; compare its bytes in a dump with the \
                 queue pair's number, type and limits"
            }
            Self::LocalProtection => {
                "local protection error: check the lkey, the bounds and the protection domain of each local \
                 segment, and that its region is still registered"
            }
            Self::Flushed => {
                "flushed: the queue pair was in the error state; look at the first failed completion, and reset \
                 the queue pair"
            }
            Self::MemoryWindowBind => {
                "memory window bind error: check the region's bind right and the window's bounds"
            }
            Self::BadResponse => {
                "bad response: the peer answered with an unexpected opcode; check that both sides are of one \
                 transport type and state"
            }
            Self::LocalAccess => {
                "local access error: the peer wrote where this side does not allow it; check the region's remote \
                 write right"
            }
            Self::RemoteInvalidRequest => {
                "remote invalid request: the peer does not take this operation; check its queue pair's access \
                 flags, the receive's size and the atomic's alignment"
            }
            Self::RemoteAccess => {
                "remote access error: check the rkey, the bounds, the protection domain and the remote right at \
                 the peer, and that the region is still registered there"
            }
            Self::RemoteOperation => {
                "remote operation error: the peer failed while it executed the request; look at its completions"
            }
            Self::RetryExceeded => {
                "transport retries exceeded: no answer from the peer; check that it lives, the path, GID and \
                 MTU, and the timeout and retry count"
            }
            Self::ReceiverNotReadyExceeded => {
                "receiver-not-ready retries exceeded: the peer posted no receive in time; post more receives or \
                 raise rnr_retry"
            }
            Self::RemoteAborted => "remote aborted: the peer gave the operation up; look at its completions",
            Self::Unknown(_) => "unlisted syndrome: look it up by the vendor's detail",
        }
    }
}

impl fmt::Display for Syndrome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} (syndrome {:#04x})", self.advice(), self.to_byte())
    }
}
