//! Limits of a queue pair, and why queues are not taken over.

use thiserror::Error;

use crate::wire::data;

/// Longest gather list of one request (ConnectX reports the same: 512-byte WQEs of 16-byte units).
pub const MAX_SGES: u32 = 30;

/// Longest inline payload that a WQE of 63 units holds behind control and remote-address segments.
pub const MAX_INLINE: u32 = (63 - 2) * 16 - 4;

/// Longest message of one request: what a data segment can state.
pub const MAX_MESSAGE: u32 = data::MAX_LENGTH;

/// What a queue pair was created for. Values above what the format holds are lowered to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueuePairLimits {
    /// Gather entries of a send request, at most [`MAX_SGES`].
    pub send_sges: u32,
    /// Scatter entries of a receive request, at most what the slot's stride holds.
    pub receive_sges: u32,
    /// Inline payload in bytes, at most [`MAX_INLINE`].
    pub inline: u32,
    /// Bytes of one message, at most [`MAX_MESSAGE`]; ConnectX ports report 2^30.
    pub message: u32,
    /// Whether the queue pair was created with scatter-to-CQE: small payloads of receives, reads and atomics then
    /// arrive in completion entries and are copied by `poll`. Without it such an entry is
    /// [`CompletionQueueError::Malformed`](crate::provider::CompletionQueueError::Malformed).
    pub scatter_to_completion: bool,
}

impl Default for QueuePairLimits {
    fn default() -> Self {
        Self {
            send_sges: MAX_SGES,
            receive_sges: 1,
            inline: 0,
            message: 1 << 30,
            scatter_to_completion: false,
        }
    }
}

/// Why memory was not taken over as a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QueueError {
    /// The number of slots or entries does not suit free-running indexes.
    #[error("{given} slots: a queue has a power of two, at most {limit}")]
    SlotCount {
        /// Slots in the description.
        given: u32,
        /// Most slots of this kind of queue.
        limit: u32,
    },
    /// A receive slot cannot hold what every slot must.
    #[error("slots of 2^{shift} bytes: from 2^{least} to 2^12 are possible")]
    Stride {
        /// Log2 of the slot's bytes.
        shift: u32,
        /// Smallest possible value.
        least: u32,
    },
    /// Completion entries have 64 or 128 bytes.
    #[error("completion entries of {given} bytes: 64 and 128 are possible")]
    EntrySize {
        /// Size in the description.
        given: u32,
    },
    /// The device addresses queues by aligned blocks.
    #[error("queue memory at {address:#x} is not aligned to {alignment} bytes")]
    Misaligned {
        /// Address in the description.
        address: usize,
        /// Bytes it has to be aligned to.
        alignment: usize,
    },
}

/// Why a queue pair was not attached to its provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AttachError {
    /// Its memory is not a queue.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// Numbers have 24 bits.
    #[error("queue pair number {number:#x} has more than 24 bits")]
    NumberTooLarge {
        /// The number given.
        number: u32,
    },
    /// A queue pair of this number is attached.
    #[error("queue pair {number:#x} is attached already: detach it first")]
    NumberInUse {
        /// The number given.
        number: u32,
    },
    /// No shared receive queue has this handle.
    #[error("no shared receive queue {handle}: it was detached or belongs to another provider")]
    UnknownSharedQueue {
        /// The handle given.
        handle: u32,
    },
}

/// Why a handle could not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HandleError {
    /// No queue pair has this handle.
    #[error("no queue pair {handle}: it was detached or belongs to another provider")]
    UnknownQueuePair {
        /// The handle given.
        handle: u32,
    },
    /// No shared receive queue has this handle.
    #[error("no shared receive queue {handle}: it was detached or belongs to another provider")]
    UnknownSharedQueue {
        /// The handle given.
        handle: u32,
    },
    /// Queue pairs still take their receives from it.
    #[error("shared receive queue {handle} has {queue_pairs} queue pairs: detach them first")]
    SharedQueueInUse {
        /// The handle given.
        handle: u32,
        /// Queue pairs that use it.
        queue_pairs: u32,
    },
    /// A reset gives back what it discards.
    #[error("set_state does not reset: reset the device's queue pair, then call reset")]
    CallReset,
    /// The state table does not have this transition.
    #[error(transparent)]
    Transition(#[from] super::ProhibitedTransition),
}

/// Checks that `count` is a power of two of at most `limit`.
pub(super) const fn check_count(count: u32, limit: u32) -> Result<(), QueueError> {
    if count.is_power_of_two() && count <= limit {
        Ok(())
    } else {
        Err(QueueError::SlotCount { given: count, limit })
    }
}

/// Checks that `address` is a multiple of `alignment`, a power of two.
pub(super) fn check_alignment<T>(address: core::ptr::NonNull<T>, alignment: usize) -> Result<(), QueueError> {
    let address = address.addr().get();
    if address & (alignment - 1) == 0 { Ok(()) } else { Err(QueueError::Misaligned { address, alignment }) }
}
