//! Memory of one queue: zeroed, aligned to a page, shared with nobody but the driver's half in this process.
#![allow(unsafe_code)] // queue memory is written by the driver through pointers of the lower seam

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ptr::NonNull,
};

use pmd_core::wire::{BASIC_BLOCK, Cqe64, UNITS_PER_BLOCK, Unit, doorbell};

use crate::backend::SetupError;

/// Page: also satisfies the 64-byte alignment of send queues and the entry alignment of completion queues.
const ALIGNMENT: usize = 4096;

/// Bytes that both the driver and the engine reach through pointers, on one thread.
#[derive(Debug)]
pub(in super::super) struct QueueMemory {
    pointer: NonNull<u8>,
    layout: Layout,
}

// SAFETY: the memory is reached by the thread that owns the back end only, whichever that is.
unsafe impl Send for QueueMemory {}

impl QueueMemory {
    /// Allocates `bytes`, zeroed; at least one.
    pub(in super::super) fn new(bytes: usize) -> Result<Self, SetupError> {
        let limit =
            SetupError::Limit { what: "queue memory", wanted: bytes as u64, limit: isize::MAX as u64 };
        let Ok(layout) = Layout::from_size_align(bytes.max(1), ALIGNMENT) else { return Err(limit) };
        // SAFETY: the size is not zero.
        let pointer = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or_else(|| SetupError::System {
            call: "allocation of queue memory",
            source: std::io::ErrorKind::OutOfMemory.into(),
        })?;
        Ok(Self { pointer, layout })
    }

    /// First byte.
    #[inline]
    pub(in super::super) fn pointer(&self) -> NonNull<u8> {
        self.pointer
    }

    /// The bytes from `offset`, `length` of them.
    #[inline]
    pub(in super::super) fn bytes(&self, offset: usize, length: usize) -> &[u8] {
        assert!(offset + length <= self.layout.size());
        // SAFETY: inside of the allocation, initialised; the driver writes only while the engine is not running,
        // on this same thread, and engine code holds no such slice across a return to the driver.
        unsafe { std::slice::from_raw_parts(self.pointer.as_ptr().add(offset), length) }
    }

    /// The four units at `offset`, a multiple of 64.
    #[inline]
    pub(in super::super) fn block(&self, offset: usize) -> &[Unit; UNITS_PER_BLOCK] {
        assert!(offset + BASIC_BLOCK <= self.layout.size());
        // SAFETY: as for `bytes`; units are bytes.
        unsafe { self.pointer.add(offset).cast().as_ref() }
    }

    /// The 64 bytes at `offset`, to be written.
    #[inline]
    pub(in super::super) fn entry_mut(&mut self, offset: usize) -> &mut Cqe64 {
        assert!(offset + size_of::<Cqe64>() <= self.layout.size());
        // SAFETY: as for `bytes`.
        unsafe { self.pointer.add(offset).cast().as_mut() }
    }

    /// The big-endian word at `offset`, a doorbell record.
    #[inline]
    pub(in super::super) fn record(&self, offset: usize) -> u32 {
        assert!(offset.is_multiple_of(4) && offset + 4 <= self.layout.size());
        // SAFETY: inside of the allocation and aligned; volatile, since the driver writes it through its pointer.
        doorbell::record_value(unsafe { self.pointer.as_ptr().add(offset).cast::<u32>().read_volatile() })
    }

    /// Writes `bytes` at `offset`.
    #[inline]
    pub(in super::super) fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.layout.size());
        // SAFETY: inside of the allocation; the source is a borrowed slice elsewhere.
        unsafe { self.pointer.as_ptr().add(offset).copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }

    /// Back to all zeroes.
    pub(in super::super) fn clear(&mut self) {
        // SAFETY: the whole allocation, which this owns.
        unsafe { self.pointer.as_ptr().write_bytes(0, self.layout.size()) }
    }
}

impl Drop for QueueMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.pointer.as_ptr(), self.layout) }
    }
}
