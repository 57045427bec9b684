//! Memory that driver and device share: zeroed, aligned, reached by raw pointers only.

use std::ptr::NonNull;

use crate::memory::Heap;

/// Zeroed memory that starts a page.
#[derive(Debug)]
pub(super) struct Block {
    heap: Heap,
    length: usize,
}

impl Block {
    pub(super) fn new(length: usize) -> Self {
        Self { heap: Heap::new(length), length }
    }

    pub(super) const fn pointer(&self) -> NonNull<u8> {
        self.heap.base()
    }

    pub(super) const fn length(&self) -> usize {
        self.length
    }

    pub(super) fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.length);
        // SAFETY: within the block; queues are read on the thread that posts to them.
        unsafe { std::slice::from_raw_parts(self.pointer().as_ptr().add(offset), length).to_vec() }
    }

    pub(super) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.length);
        // SAFETY: within the block, and `bytes` is other memory.
        unsafe { self.pointer().as_ptr().add(offset).copy_from(bytes.as_ptr(), bytes.len()) };
    }

    /// A big-endian word.
    pub(super) fn word(&self, index: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.read(index * 4, 4));
        u32::from_be_bytes(word)
    }
}
