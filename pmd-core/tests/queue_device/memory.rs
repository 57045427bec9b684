//! Memory that queue and device share: aligned, zeroed, reached by raw pointers only.

use std::{alloc::Layout, ptr::NonNull};

/// Zeroed memory, freed with the value.
#[derive(Debug)]
pub(crate) struct Block {
    start: NonNull<u8>,
    layout: Layout,
}

impl Block {
    pub(crate) fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes.max(1), 128).expect("a test's size");
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { std::alloc::alloc_zeroed(layout) }).expect("memory");
        // Requests name this memory by its address.
        let _ = start.as_ptr().expose_provenance();
        Self { start, layout }
    }

    pub(crate) fn pointer(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn address(&self) -> u64 {
        self.start.addr().get() as u64
    }

    pub(crate) fn len(&self) -> usize {
        self.layout.size()
    }

    pub(crate) fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.len());
        // SAFETY: within the block; nobody writes meanwhile, everything runs on one thread.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().add(offset), length).to_vec() }
    }

    pub(crate) fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len());
        // SAFETY: within the block, and `bytes` is other memory.
        unsafe { self.start.as_ptr().add(offset).copy_from(bytes.as_ptr(), bytes.len()) };
    }

    pub(crate) fn word(&self, index: usize) -> u32 {
        u32::from_be_bytes(self.read(index * 4, 4).try_into().expect("four bytes"))
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), self.layout) };
    }
}
