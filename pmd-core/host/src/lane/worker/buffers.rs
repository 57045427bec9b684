//! Registered memory of one route's messages: receives first, then staging for messages that do not fit inline.
#![allow(unsafe_code)] // copies into and out of memory that a device uses too

use std::{fmt, slice};

use pmd_core::memory::Sge;

use super::messages::HEADER_BYTES;
use crate::lane::MessageMemory;

/// Messages that can be staged at once; more wait.
pub(super) const STAGED: u32 = 16;

/// One buffer per receive and staged message, each of `stride` bytes.
pub(in crate::lane) struct Buffers {
    memory: Box<dyn MessageMemory>,
    stride: usize,
    receives: u32,
    /// Staged messages outstanding; their buffers follow each other in a circle, as their completions do.
    staged: u32,
    /// Staged messages so far.
    next_staged: u32,
}

impl Buffers {
    /// Bytes of one buffer for messages of at most `message_bytes`.
    const fn stride(message_bytes: usize) -> usize {
        (message_bytes + HEADER_BYTES).next_multiple_of(64)
    }

    /// Bytes to allocate, `None` when they cannot be counted.
    pub(in crate::lane) fn bytes_for(receives: u32, message_bytes: usize) -> Option<usize> {
        let stride = message_bytes.checked_add(HEADER_BYTES + 64).map(|_| Self::stride(message_bytes))?;
        // A message is one scatter entry, whose length is 32 bits.
        u32::try_from(stride).ok()?;
        stride.checked_mul(receives as usize + STAGED as usize)
    }

    /// Divides `memory`, which has [`Buffers::bytes_for`] bytes; `None` when it is smaller.
    pub(super) fn new(memory: Box<dyn MessageMemory>, receives: u32, message_bytes: usize) -> Option<Self> {
        let enough = memory.length() >= Self::bytes_for(receives, message_bytes)?;
        let stride = Self::stride(message_bytes);
        enough.then_some(Self { memory, stride, receives, staged: 0, next_staged: 0 })
    }

    pub(super) const fn receives(&self) -> u32 {
        self.receives
    }

    /// Memory of one receive, for posting.
    pub(super) fn receive(&self, buffer: u32) -> Sge {
        self.sge(buffer, self.stride)
    }

    /// Bytes of a received message. The receive has completed and is not posted.
    pub(super) fn received(&self, buffer: u32, length: u32) -> &[u8] {
        if buffer >= self.receives {
            return &[];
        }
        let length = (length as usize).min(self.stride);
        // SAFETY: `buffer` is one of the receives, so the range is inside of the memory (`new`). The device has
        // completed this receive and does not have it again before it is posted, which takes `&mut` of the owner;
        // nobody else has a key for the memory (MessageMemory's promise).
        unsafe { slice::from_raw_parts(self.memory.address().as_ptr().add(self.offset(buffer)), length) }
    }

    /// Whether another message can be staged.
    pub(super) const fn has_staging(&self) -> bool {
        self.staged < STAGED
    }

    /// Copies a message into the next free staging buffer; `None` when there is none or it is too long.
    pub(super) fn stage(&mut self, message: &[u8]) -> Option<Sge> {
        if !self.has_staging() || message.len() > self.stride {
            return None;
        }
        let buffer = self.receives + self.next_staged % STAGED;
        let offset = self.offset(buffer);
        // SAFETY: inside of the memory (`new`), `message` is not longer than a buffer and is other memory, and the
        // device is not reading this buffer: of the STAGED buffers the `staged` last ones are outstanding.
        unsafe {
            let target = self.memory.address().as_ptr().add(offset);
            target.copy_from_nonoverlapping(message.as_ptr(), message.len());
        }
        self.staged += 1;
        self.next_staged = self.next_staged.wrapping_add(1);
        Some(self.sge(buffer, message.len()))
    }

    /// Takes back the message staged last, which was not posted.
    pub(super) const fn unstage(&mut self) {
        self.staged -= 1;
        self.next_staged = self.next_staged.wrapping_sub(1);
    }

    /// The oldest staged message has completed.
    pub(super) const fn release_staged(&mut self) {
        self.staged = self.staged.saturating_sub(1);
    }

    const fn offset(&self, buffer: u32) -> usize {
        buffer as usize * self.stride
    }

    fn sge(&self, buffer: u32, length: usize) -> Sge {
        let address = self.memory.address().as_ptr().addr() + self.offset(buffer);
        Sge { address: address as u64, length: length as u32, key: self.memory.key() }
    }
}

impl fmt::Debug for Buffers {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Buffers")
            .field("stride", &self.stride)
            .field("receives", &self.receives)
            .field("staged", &self.staged)
            .finish_non_exhaustive()
    }
}
