//! Memory that driver and device share: aligned, zeroed, reached by pointers only, and exactly as long as it says, so
//! that the address sanitiser sees a byte too far.
#![allow(unsafe_code)] // that is what it is

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    ptr::NonNull,
};

/// Zeroed memory, freed with the value.
#[derive(Debug)]
pub struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

impl Block {
    /// `bytes` bytes at an address that suits queues.
    ///
    /// # Panics
    /// For no bytes at all.
    #[must_use]
    pub fn new(bytes: usize) -> Self {
        assert!(bytes > 0, "a block has bytes");
        let layout = Layout::from_size_align(bytes, 128).expect("a target's sizes are small");
        // SAFETY: the size is not zero.
        let Some(start) = NonNull::new(unsafe { alloc_zeroed(layout) }) else { handle_alloc_error(layout) };
        // Requests name this memory by its address.
        let _ = start.as_ptr().expose_provenance();
        Self { start, layout }
    }

    /// The first byte.
    #[must_use]
    pub const fn pointer(&self) -> NonNull<u8> {
        self.start
    }

    /// The first byte's address.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.start.addr().get() as u64
    }

    /// Bytes.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.layout.size()
    }

    /// Copies bytes out.
    #[must_use]
    pub fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        self.check(offset, length);
        // SAFETY: within the block; everything runs on one thread, so nobody writes meanwhile.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset), length).to_vec() }
    }

    /// Copies bytes in.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        self.check(offset, bytes.len());
        // SAFETY: within the block, and `bytes` is other memory.
        unsafe { self.start.as_ptr().add(offset).copy_from(bytes.as_ptr(), bytes.len()) }
    }

    /// Sets every byte.
    pub fn fill(&self, byte: u8) {
        // SAFETY: the whole block.
        unsafe { self.start.as_ptr().write_bytes(byte, self.layout.size()) }
    }

    fn check(&self, offset: usize, length: usize) {
        let end = offset.checked_add(length);
        assert!(end.is_some_and(|end| end <= self.layout.size()), "{length} bytes at {offset} of {self:?}");
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}
