//! Buffers of `pmd perf` and `pmd pingpong`: registered memory that peers write while this side looks on, with
//! patterns and their check.
#![allow(unsafe_code)] // transfers change these bytes, so they are reached by pointer

use std::ptr::NonNull;

use pmd_core::{
    memory::{RemoteAddress, Sge},
    sync::{Ordering, fence},
};
use pmd_host::{region::Region, soft::Arena};
use thiserror::Error;

/// Registered memory of one test.
#[derive(Debug)]
pub(crate) struct Memory {
    // Goes first: the range must be mapped until it is deregistered.
    region: Region,
    base: NonNull<u8>,
    length: usize,
    _owner: Owner,
}

// SAFETY: the pointer leads into what the value owns, which any thread may read and write, one at a time: writing needs
// `&mut self`, and peers write whatever thread has it.
unsafe impl Send for Memory {}

/// What keeps the bytes mapped.
#[derive(Debug)]
pub(crate) enum Owner {
    Arena(Arena),
    Heap(Vec<u64>),
}

impl Owner {
    /// Ordinary memory, zeroed.
    pub(crate) fn heap(length: u64) -> Self {
        Self::Heap(vec![0; (length as usize).div_ceil(size_of::<u64>())])
    }

    /// First byte.
    pub(crate) fn base(&mut self) -> *mut u8 {
        match self {
            Self::Arena(arena) => arena.as_ptr(),
            Self::Heap(words) => words.as_mut_ptr().cast(),
        }
    }

    fn length(&self) -> usize {
        match self {
            Self::Arena(arena) => arena.length(),
            Self::Heap(words) => words.len() * size_of::<u64>(),
        }
    }
}

/// A message that does not lie inside of its buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{size} bytes at {offset} are not inside the buffer of {length}")]
pub(crate) struct Outside {
    size: u64,
    offset: u64,
    length: u64,
}

/// Bytes that should be something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("byte {offset} of a message of {size} is {found:#04x} and should be {expected:#04x}")]
pub(crate) struct Mismatch {
    pub(crate) offset: usize,
    pub(crate) size: usize,
    pub(crate) found: u8,
    pub(crate) expected: u8,
}

impl Memory {
    /// The bytes of `owner`, which `region` registers.
    pub(crate) fn new(region: Region, mut owner: Owner) -> Self {
        let length = (region.length() as usize).min(owner.length());
        let base = NonNull::new(owner.base()).unwrap_or(NonNull::dangling());
        Self { region, base, length, _owner: owner }
    }

    /// How its bytes are reached.
    pub(crate) fn path(&self) -> &'static str {
        self.region.path().name()
    }

    /// Scatter-gather entry of one message.
    pub(crate) fn sge(&self, offset: u64, size: u32) -> Result<Sge, Outside> {
        let outside = Outside { size: size.into(), offset, length: self.length as u64 };
        self.region.sge(offset, size).ok_or(outside)
    }

    /// Where a peer reaches the first byte.
    pub(crate) fn remote(&self) -> RemoteAddress {
        self.region.remote_address(0).unwrap_or_default()
    }

    /// The byte at `offset`, as it is now; what was written before it is seen afterwards.
    #[inline]
    pub(crate) fn byte(&self, offset: usize) -> u8 {
        assert!(offset < self.length);
        // SAFETY: inside of the buffer; the byte is changed by others, hence volatile.
        let byte = unsafe { self.base.add(offset).read_volatile() };
        fence(Ordering::Acquire);
        byte
    }

    /// Changes the byte at `offset`. No request that reads it is under way.
    #[inline]
    pub(crate) fn stamp(&mut self, offset: usize, byte: u8) {
        assert!(offset < self.length);
        // SAFETY: as for `byte`.
        unsafe { self.base.add(offset).write_volatile(byte) };
    }

    /// The `size` bytes at `offset`, of a buffer that no peer writes; empty where they are not inside of it.
    #[inline]
    pub(crate) fn outgoing(&self, offset: u64, size: u32) -> &[u8] {
        let (offset, size) = (offset as usize, size as usize);
        if offset > self.length || size > self.length - offset {
            return &[];
        }
        // SAFETY: inside of the buffer; an outgoing buffer is written by this thread only, through `&mut self`.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr().add(offset), size) }
    }

    /// Writes message `seed` to `offset`.
    pub(crate) fn fill(&mut self, offset: u64, size: u32, seed: u64) {
        for index in 0..size as usize {
            self.stamp(offset as usize + index, pattern(seed, index));
        }
    }

    /// Makes everything differ from every message: a byte that did not arrive is found.
    pub(crate) fn poison(&mut self) {
        // SAFETY: the whole buffer; no request that writes it is under way yet.
        unsafe { self.base.write_bytes(POISON, self.length) };
    }

    /// Compares the `size` bytes at `offset` with message `seed`, but for the last byte where `stamp` is given.
    pub(crate) fn check(&self, offset: u64, size: u32, seed: u64, stamp: Option<u8>) -> Result<(), Mismatch> {
        let size = size as usize;
        for index in 0..size {
            let wanted = stamp.filter(|_| index + 1 == size).unwrap_or_else(|| pattern(seed, index));
            let found = self.byte(offset as usize + index);
            if found != wanted {
                return Err(Mismatch { offset: index, size, found, expected: wanted });
            }
        }
        Ok(())
    }
}

/// In incoming memory before anything arrives. No pattern has it, and write_lat's first stamp is 1.
pub(crate) const POISON: u8 = 0;

/// Byte `index` of message `seed`: never [`POISON`], differs from place to place and from message to message.
fn pattern(seed: u64, index: usize) -> u8 {
    let mixed = (index as u64 ^ seed.wrapping_mul(0x9e37_79b9)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56;
    (mixed as u8).max(1)
}

#[cfg(test)]
mod tests;
