//! What two engines say to each other about memory that is not registered.
//!
//! ```text
//!  write:  asker fills a buffer of its own    ---- ASK (buffer, pieces) ---->  reads the buffer into one of its own,
//!                                             <--- ANSWER -----------------    copies to the pieces
//!  read:                                      ---- ASK (buffer, pieces) ---->  copies the pieces to a buffer of its own,
//!          empties its buffer                 <--- ANSWER -----------------    writes it into the asker's
//!  the asker has no more time                 ---- CANCEL ----------------->  drops what it has not begun
//! ```
//! Every ASK has one ANSWER. Those of one peer are done in order.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

use crate::hixl::Status;

/// Event kinds. Their bodies are [`Ask`], [`Answer`] and [`Cancel`].
pub(in crate::hixl) const ASK: u16 = 2;
pub(in crate::hixl) const ANSWER: u16 = 3;
pub(in crate::hixl) const CANCEL: u16 = 4;

/// Most pieces of one [`Ask`].
pub(super) const PIECES: usize = 4096;

/// Bytes of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Piece {
    pub(super) address: u64,
    pub(super) length: u64,
}

/// Moves bytes between the asker's buffer and memory of the one that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ask {
    /// The asker's number for it.
    pub(super) number: u64,
    /// Into the pieces, or out of them.
    pub(super) write: bool,
    /// First byte of the asker's buffer.
    pub(super) buffer: u64,
    /// How long the asker waits.
    pub(super) patience_in_millis: u32,
    /// Where the bytes are to go or come from, one after the other in the buffer.
    pub(super) pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Answer {
    pub(super) number: u64,
    pub(super) outcome: Result<(), StageFault>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cancel {
    pub(super) number: u64,
}

/// Why a peer did not stage its memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[non_exhaustive]
pub enum StageFault {
    /// Its option BufferPool is `0:0`.
    #[error("its option BufferPool is 0:0; register the memory there")]
    Off,
    /// Its `PMD_HIXL_STAGE_FOR` leaves this peer out.
    #[error(
        "it stages for its own host only; register the memory there, or set PMD_HIXL_STAGE_FOR=all there"
    )]
    NotAllowed,
    /// Bytes that it cannot read or write.
    #[error("it cannot access the byte at {address:#x}")]
    BadAddress {
        /// First such byte.
        address: u64,
    },
    /// The kernel does not let it copy with a check.
    #[error("process_vm_readv is not permitted there; register the memory")]
    CopyNotPermitted,
    /// Too much waits for it already.
    #[error("too much waits for it already")]
    Busy,
    /// More bytes than one of its buffers holds: both sides need the same BufferPool.
    #[error("{bytes} bytes do not fit into its buffers of {limit}; give both sides the same BufferPool")]
    TooLarge {
        /// Bytes asked for.
        bytes: u64,
        /// Bytes of its buffers.
        limit: u64,
    },
    /// It had no buffer or no bytes in time.
    #[error("it was not done in time")]
    Timeout,
    /// It was asked to stop before it began.
    #[error("cancelled")]
    Cancelled,
    /// Bytes did not move between the two buffers.
    #[error("moving the bytes failed: {detail}")]
    Failed {
        /// For people.
        detail: String,
    },
}

impl StageFault {
    /// HIXL's number for it.
    #[must_use]
    pub const fn status(&self) -> Status {
        match self {
            Self::Off | Self::BadAddress { .. } | Self::TooLarge { .. } => Status::ParamInvalid,
            Self::NotAllowed | Self::CopyNotPermitted => Status::Unsupported,
            Self::Busy => Status::ResourceExhausted,
            Self::Timeout => Status::Timeout,
            Self::Cancelled | Self::Failed { .. } => Status::Failed,
        }
    }
}

pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    // Only a failing writer makes this fail, and a vector does not.
    postcard::to_allocvec(value).unwrap_or_default()
}

/// `None` for what a peer of another release sends.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    postcard::take_from_bytes(bytes).ok().filter(|(_, rest)| rest.is_empty()).map(|(value, _)| value)
}
