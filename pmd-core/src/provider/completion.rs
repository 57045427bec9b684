//! Completions: what callers poll through the upper seam.

use thiserror::Error;

use super::QueuePairNumber;
use crate::wire::Syndrome;

/// One finished work request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// `id` of the request.
    pub id: u64,
    /// Queue pair it was posted to.
    pub queue_pair: QueuePairNumber,
    /// Bytes moved: for receives the length of the message, for reads and atomics the bytes returned; zero for
    /// writes and sends.
    pub byte_length: u32,
    /// Immediate that came with a receive, host byte order.
    pub immediate: Option<u32>,
    /// What finished, or why it failed.
    pub result: Result<CompletionKind, CompletionError>,
}

impl Completion {
    /// Filler for the slice handed to `poll`.
    pub const EMPTY: Self = Self {
        id: 0,
        queue_pair: QueuePairNumber(0),
        byte_length: 0,
        immediate: None,
        result: Ok(CompletionKind::Nop),
    };
}

/// What kind of request finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CompletionKind {
    /// NOP.
    Nop,
    /// SEND or SEND with immediate.
    Send,
    /// RDMA WRITE, with or without immediate, at the writer.
    Write,
    /// RDMA READ.
    Read,
    /// Compare and swap.
    CompareSwap,
    /// Fetch and add.
    FetchAdd,
    /// A receive filled by a SEND.
    Receive,
    /// A receive consumed by a WRITE with immediate; the bytes are where the writer put them.
    ReceiveWriteImmediate,
}

/// Why a work request failed. Its queue pair is in the error state; all later requests are flushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("work request failed: {syndrome} (vendor code {vendor:#04x})")]
pub struct CompletionError {
    /// What the device says went wrong.
    pub syndrome: Syndrome,
    /// The device's own detail, opaque.
    pub vendor: u8,
    /// Whether it was a receive.
    pub is_receive: bool,
}

/// The completion queue is unusable; every queue pair on it is in the error state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CompletionQueueError {
    /// More completions than the queue holds: some are lost.
    #[error("completion queue of {capacity} entries overran: poll more often or create a deeper queue")]
    Overrun {
        /// Entries of the queue.
        capacity: u32,
    },
    /// A completion for a queue pair or a request that is not here.
    #[error(
        "completion for queue pair {queue_pair:#x}, work-queue index {index}, which has nothing outstanding"
    )]
    Foreign {
        /// Queue pair number in the entry.
        queue_pair: u32,
        /// Work-queue index in the entry.
        index: u16,
    },
    /// An entry that is not a completion this driver knows.
    #[error("completion entry with unknown opcode {opcode:#x}")]
    Malformed {
        /// Opcode nibble of the entry.
        opcode: u8,
    },
    /// The device's own library failed to poll.
    #[error("polling through the device library failed: errno {errno}")]
    Library {
        /// Error number it gave.
        errno: i32,
    },
}
