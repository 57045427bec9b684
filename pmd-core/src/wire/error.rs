//! What can be wrong with bytes that should be a queue entry.

use super::opcode::{CqeOpcode, Opcode};

/// Why bytes are not a valid queue entry. A device answers one in a send queue with
/// [`Syndrome::LocalQueuePairOperation`](super::Syndrome::LocalQueuePairOperation); in a completion queue it
/// means that the queue's memory, size or entry size is not what the device was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// The opcode byte of a control segment names no operation.
    #[error(
        "work-request opcode {0:#04x} is unknown: the send queue slot was not written, or not by this format"
    )]
    UnknownOpcode(u8),
    /// The operation exists, but its segments are not described here (TSO, masked atomics, UMR).
    #[error("work-request opcode {0:?} has segments that this format does not describe")]
    UnsupportedOpcode(Opcode),
    /// The opcode nibble of a completion-queue entry names nothing.
    #[error("completion opcode {0:#03x} is unknown: check the completion queue's entry size")]
    UnknownCqeOpcode(u8),
    /// The completion-queue entry carries no completion of a work request.
    #[error("completion-queue entry {0:?} holds no completion of a work request: check ownership first")]
    NotACompletion(CqeOpcode),
    /// The entry is compressed, which is only so when asked for.
    #[error("completion-queue entry is compressed: create the completion queue without compression")]
    Compressed,
    /// `ds` is zero or above 63, or the WQE does not fit into its queue.
    #[error("a WQE of {units} units (ds) is not within 1..={limit}")]
    UnitCount {
        /// The `ds` found.
        units: u8,
        /// The largest that this queue takes.
        limit: u8,
    },
    /// A segment that the operation needs lies past `ds`.
    #[error("{opcode:?} needs {needed} units before its data and has {units} (ds)")]
    MissingSegment {
        /// The operation.
        opcode: Opcode,
        /// Units of control, address vector, remote address and atomic segments together.
        needed: u8,
        /// The `ds` found.
        units: u8,
    },
    /// An inline segment says that it is longer than its WQE.
    #[error("inline data of {length} bytes passes the end of its WQE ({room} bytes left)")]
    InlineLength {
        /// Bytes that the inline header states.
        length: u32,
        /// Bytes between the header and the end of the WQE.
        room: u32,
    },
    /// The operation receives data (READ, atomics) and so cannot take it inline.
    #[error("{0:?} writes its result to memory, inline data makes no sense there: use a data segment")]
    InlineResult(Opcode),
    /// An atomic has another number of data segments than one.
    #[error("{opcode:?} takes exactly one data segment, not {segments}")]
    ResultSegments {
        /// The operation.
        opcode: Opcode,
        /// Data segments found.
        segments: u8,
    },
    /// The queue's memory is not a power of two of basic blocks.
    #[error("a send queue of {0} bytes is not a power of two of 64-byte blocks")]
    QueueLength(usize),
    /// A reserved field is not zero (strict parsing only).
    #[error("a reserved field of the {0} segment is not zero")]
    Reserved(&'static str),
    /// The segment does not carry the mark that tells its kind (inline bit, terminator key).
    #[error("these bytes are not a {0} segment")]
    NotThisSegment(&'static str),
}
