//! Work requests: what callers post through the upper seam.

use bitflags::bitflags;
use thiserror::Error;

use crate::{
    memory::{RemoteAddress, Sge},
    queue::QueuePairState,
};

bitflags! {
    /// Per-request options of a send request. Bit values are those of `enum ibv_send_flags`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
    pub struct SendFlags: u32 {
        /// Start only after all earlier reads and atomics of this queue pair have finished.
        const FENCE = 1;
        /// Give a completion. A request without it is retired by the next one that has it, or by an error.
        const SIGNALED = 1 << 1;
        /// The peer's completion counts as solicited (wakes a queue armed for solicited events only).
        const SOLICITED = 1 << 2;
    }
}

/// One send-side work request.
#[derive(Clone, Copy, Debug)]
pub struct SendRequest<'a> {
    /// Comes back in the completion (`wr_id`).
    pub id: u64,
    /// What to do.
    pub operation: Operation<'a>,
    /// How.
    pub flags: SendFlags,
}

/// What a send-side work request does.
#[derive(Clone, Copy, Debug)]
pub enum Operation<'a> {
    /// Nothing, in order.
    Nop,
    /// Local bytes to remote memory; the peer's software does not notice.
    Write {
        /// First byte written in the peer.
        remote: RemoteAddress,
        /// Bytes to write.
        local: Payload<'a>,
    },
    /// As [`Operation::Write`], then consume one of the peer's receives and complete it with `immediate`.
    WriteImmediate {
        /// First byte written in the peer; not looked at when the payload is empty.
        remote: RemoteAddress,
        /// Bytes to write.
        local: Payload<'a>,
        /// Handed to the peer, host byte order.
        immediate: u32,
    },
    /// Remote bytes to local memory.
    Read {
        /// First byte read in the peer.
        remote: RemoteAddress,
        /// Where the bytes go, in order.
        local: &'a [Sge],
    },
    /// Bytes into the memory of one of the peer's receives.
    Send {
        /// Bytes to send.
        local: Payload<'a>,
        /// Handed to the peer, host byte order, if there is one.
        immediate: Option<u32>,
    },
    /// If the 8 bytes at `remote` equal `compare`, replace them by `swap`; the old value goes to `local` either way.
    CompareSwap {
        /// Eight bytes, 8-byte aligned.
        remote: RemoteAddress,
        /// Receives the old value, host byte order; 8 bytes.
        local: Sge,
        /// Expected value.
        compare: u64,
        /// New value.
        swap: u64,
    },
    /// Add to the 8 bytes at `remote` (wrapping); the old value goes to `local`.
    FetchAdd {
        /// Eight bytes, 8-byte aligned.
        remote: RemoteAddress,
        /// Receives the old value, host byte order; 8 bytes.
        local: Sge,
        /// Addend.
        add: u64,
    },
}

/// Where the bytes of a write or send come from.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// Gathered from registered memory when the device executes the request; the memory must not change until then.
    Gather(&'a [Sge]),
    /// Copied into the queue entry while posting; the slice is free when the call returns.
    Inline(&'a [u8]),
}

impl Payload<'_> {
    /// No bytes at all.
    pub const EMPTY: Payload<'static> = Payload::Gather(&[]);

    /// Total bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        match self {
            Payload::Gather(entries) => entries.iter().map(|entry| u64::from(entry.length)).sum(),
            Payload::Inline(bytes) => bytes.len() as u64,
        }
    }
}

/// One receive-side work request.
#[derive(Clone, Copy, Debug)]
pub struct ReceiveRequest<'a> {
    /// Comes back in the completion (`wr_id`).
    pub id: u64,
    /// Memory that takes the bytes of one SEND, in order. May be empty where only immediates are expected.
    pub scatter: &'a [Sge],
}

/// Why a request was not posted. Nothing of it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PostError {
    /// The normal answer of a queue without room.
    #[error(
        "queue is full ({free} of {capacity} slots free, {needed} needed): poll completions, then post again"
    )]
    QueueFull {
        /// Slots the request takes.
        needed: u32,
        /// Slots free now.
        free: u32,
        /// Slots of the queue.
        capacity: u32,
    },
    /// Larger than the queue itself: it will never fit.
    #[error("request takes {needed} slots of a queue of {capacity}: split it or create a deeper queue")]
    LargerThanQueue {
        /// Slots the request takes.
        needed: u32,
        /// Slots of the queue.
        capacity: u32,
    },
    /// More scatter-gather entries than the queue pair was created for.
    #[error("{given} scatter-gather entries, the queue pair takes {limit}: split the request")]
    TooManySges {
        /// Entries in the request.
        given: usize,
        /// Entries allowed.
        limit: u32,
    },
    /// More inline bytes than the queue pair was created for.
    #[error("{given} inline bytes, the queue pair takes {limit}: post from registered memory instead")]
    InlineTooLong {
        /// Bytes in the request.
        given: usize,
        /// Bytes allowed.
        limit: u32,
    },
    /// More bytes than one message may have.
    #[error("message of {given} bytes, the limit is {limit}: split it")]
    MessageTooLong {
        /// Bytes in the request.
        given: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The operand of an atomic is not 8 bytes long.
    #[error("atomic operand of {given} bytes: the result takes exactly 8")]
    AtomicLength {
        /// Length of the local entry.
        given: u32,
    },
    /// The queue pair cannot take this request in its state.
    #[error("queue pair is in state {state:?}: {state_advice}", state_advice = state.posting_advice())]
    WrongState {
        /// State it is in.
        state: QueuePairState,
    },
    /// A receive into device memory that the NIC does not reach, or an atomic with it.
    #[error(
        "the NIC does not reach that device memory, and only WRITE, READ and SEND are staged: use memory of the host"
    )]
    NotStaged,
    /// The queue pair takes its receives from a shared receive queue.
    #[error("queue pair uses a shared receive queue: post to that queue")]
    UsesSharedQueue,
    /// No queue pair has this handle.
    #[error("no queue pair {handle}: it was destroyed or belongs to another provider")]
    UnknownQueuePair {
        /// The handle that was given.
        handle: u32,
    },
    /// No shared receive queue has this handle.
    #[error("no shared receive queue {handle}: it was destroyed or belongs to another provider")]
    UnknownSharedQueue {
        /// The handle that was given.
        handle: u32,
    },
    /// The back end does not offer this operation.
    #[error("this device does not offer {operation}")]
    Unsupported {
        /// Name of the operation.
        operation: &'static str,
    },
    /// The device's own library refused the request.
    #[error("the device library refused the request: errno {errno}")]
    Refused {
        /// Error number it gave.
        errno: i32,
    },
}
