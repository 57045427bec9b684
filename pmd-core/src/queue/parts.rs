//! A send request taken apart into the segments of its WQE, for the general posting path.

use super::error::QueuePairLimits;
use crate::{
    memory::{RemoteAddress, Sge},
    provider::{CompletionKind, Operation, Payload, PostError},
    wire::{AtomicSegment, Opcode, inline},
};

/// Segments of one send WQE, in their order.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) opcode: Opcode,
    pub(super) kind: CompletionKind,
    pub(super) remote: Option<RemoteAddress>,
    pub(super) atomic: Option<AtomicSegment>,
    pub(super) data: Payload<'a>,
    pub(super) immediate: u32,
}

impl<'a> Parts<'a> {
    /// Takes an operation apart.
    pub(super) fn new(operation: &'a Operation<'a>) -> Self {
        let plain =
            |opcode, kind, data| Self { opcode, kind, remote: None, atomic: None, data, immediate: 0 };
        match operation {
            Operation::Nop => plain(Opcode::Nop, CompletionKind::Nop, Payload::EMPTY),
            Operation::Write { remote, local } => {
                plain(Opcode::RdmaWrite, CompletionKind::Write, *local).at(remote)
            }
            Operation::WriteImmediate { remote, local, immediate } => {
                let parts = plain(Opcode::RdmaWriteImmediate, CompletionKind::Write, *local).at(remote);
                Self { immediate: *immediate, ..parts }
            }
            Operation::Read { remote, local } => {
                plain(Opcode::RdmaRead, CompletionKind::Read, Payload::Gather(local)).at(remote)
            }
            Operation::Send { local, immediate: None } => plain(Opcode::Send, CompletionKind::Send, *local),
            Operation::Send { local, immediate: Some(immediate) } => {
                let parts = plain(Opcode::SendImmediate, CompletionKind::Send, *local);
                Self { immediate: *immediate, ..parts }
            }
            Operation::CompareSwap { remote, local, compare, swap } => {
                let atomic = AtomicSegment { swap_or_add: *swap, compare: *compare };
                let parts = plain(Opcode::CompareAndSwap, CompletionKind::CompareSwap, one(local)).at(remote);
                Self { atomic: Some(atomic), ..parts }
            }
            Operation::FetchAdd { remote, local, add } => {
                let atomic = AtomicSegment { swap_or_add: *add, compare: 0 };
                let parts = plain(Opcode::FetchAndAdd, CompletionKind::FetchAdd, one(local)).at(remote);
                Self { atomic: Some(atomic), ..parts }
            }
        }
    }

    fn at(self, remote: &RemoteAddress) -> Self {
        Self { remote: Some(*remote), ..self }
    }

    /// Checks the operation against what the queue pair was created for.
    pub(super) fn check(&self, limits: &QueuePairLimits) -> Result<(), PostError> {
        let length = self.data.length();
        match self.data {
            Payload::Inline(bytes) if bytes.len() > limits.inline as usize => {
                Err(PostError::InlineTooLong { given: bytes.len(), limit: limits.inline })
            }
            Payload::Gather(list) if self.atomic.is_some() && length != 8 => {
                let given = list.first().map_or(0, |entry| entry.length);
                Err(PostError::AtomicLength { given })
            }
            Payload::Gather(list) if list.len() > limits.send_sges as usize => {
                Err(PostError::TooManySges { given: list.len(), limit: limits.send_sges })
            }
            _ if length > u64::from(limits.message) => {
                Err(PostError::MessageTooLong { given: length, limit: u64::from(limits.message) })
            }
            _ => Ok(()),
        }
    }

    /// 16-byte units of the WQE (`ds`).
    pub(super) fn units(&self) -> u32 {
        let data = match self.data {
            Payload::Gather(list) => list.iter().filter(|entry| entry.length != 0).count(),
            Payload::Inline([]) => 0,
            Payload::Inline(bytes) => inline::units(bytes.len()),
        };
        self.units_before_data() + data as u32
    }

    /// Units of the control, remote-address and atomic segments.
    pub(super) fn units_before_data(&self) -> u32 {
        1 + u32::from(self.remote.is_some()) + u32::from(self.atomic.is_some())
    }

    /// Bytes that come back to this side.
    pub(super) fn returned_length(&self) -> u32 {
        if self.returns_data() { self.data.length() as u32 } else { 0 }
    }

    /// Whether the data segments are written by the device: reads and atomics.
    pub(super) fn returns_data(&self) -> bool {
        self.atomic.is_some() || matches!(self.opcode, Opcode::RdmaRead)
    }
}

fn one(entry: &Sge) -> Payload<'_> {
    Payload::Gather(core::slice::from_ref(entry))
}
