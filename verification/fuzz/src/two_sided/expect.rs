//! What the model remembers of requests until they complete.

use pmd_core::{provider::CompletionKind, wire::Syndrome};

use super::memory::Slot;

/// A send-side request that has not completed.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) id: u64,
    pub(super) signalled: bool,
    pub(super) kind: CompletionKind,
    /// Bytes that come back.
    pub(super) returned: u32,
    pub(super) effect: Effect,
}

/// What a request leaves behind.
#[derive(Debug)]
pub(super) enum Effect {
    /// Nothing that can be looked at here: NOPs, and messages, which the receiver looks at.
    Nothing,
    /// Bytes in a slot of the peer.
    Landed(Slot, Vec<u8>),
    /// Bytes in a slot of this side.
    Returned(Slot, Vec<u8>),
    /// Some bytes in a slot of this side, which depend on when the window was read.
    ReturnedAny(Slot),
    /// It must not succeed, and fails with this.
    Refused(Syndrome),
}

impl Effect {
    /// The slot of the requester that it fills.
    pub(super) fn own_slot(&self) -> Option<Slot> {
        match self {
            Self::Returned(slot, _) | Self::ReturnedAny(slot) => Some(*slot),
            _ => None,
        }
    }
}

/// A message that its receiver has not completed.
#[derive(Debug)]
pub(super) struct Message {
    /// The request that sends it.
    pub(super) id: u64,
    pub(super) immediate: Option<u32>,
    /// Bytes of a SEND; the length of a WRITE.
    pub(super) payload: Payload,
}

/// What a message brings.
#[derive(Debug)]
pub(super) enum Payload {
    /// Bytes into the receive.
    Bytes(Vec<u8>),
    /// Bytes that were written elsewhere.
    Written(usize),
}

impl Message {
    /// Whether a receive of so many bytes takes it.
    pub(super) fn fits(&self, capacity: usize) -> bool {
        match &self.payload {
            Payload::Bytes(bytes) => bytes.len() <= capacity,
            Payload::Written(_) => true,
        }
    }
}

/// A receive that has not completed.
#[derive(Debug)]
pub(super) struct Receive {
    pub(super) id: u64,
    pub(super) slot: Slot,
    pub(super) capacity: usize,
}
