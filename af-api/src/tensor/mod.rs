//! Tensors: where in registered memory they lie, what they are made of, and their shape.
//!
//! The caller makes them once and gives them with each call: a worker pushes from them and has results pulled into them,
//! a server answers from them and finds pushed ones in its receive areas. Keys name what travels; they are not bound to
//! memory.
//!
//! | type | says |
//! |---|---|
//! | [`Memory`] | a registered range, allocated here or the caller's own; clones are the same range |
//! | [`Layout`] | [`DataType`] and shape, hence bytes |
//! | [`Tensor`] | a layout at an offset of a memory |
//! | [`Stager`] | copies bytes between the host and tensors, of device memory too |
//!
//! # Memory of accelerators
//! An endpoint that was opened with an accelerator registers its memory ([`Memory::allocate_on`], [`Memory::adopt`],
//! [`Memory::of_device`]); tensors there are pushed, pulled and answered with like any others. The processor touches none
//! of them: such tensors never travel inside of messages, and a server says of receive areas on a device that pushes must
//! be written. Over a NIC that does not reach a device, pushes are staged in pinned memory of the host, what is pulled lands
//! there before a stream brings it to the device, and pushes to such a server arrive in the host's memory
//! ([`Memory::path`], [`Memory::kind`]). What must be seen on the host goes through a [`Stager`].
#![allow(unsafe_code)] // reads and writes tensors through their addresses

mod data_type;
mod error;
mod landing;
mod layout;
mod memory;
mod stager;
#[cfg(test)]
mod tests;

use std::fmt;

pub use data_type::DataType;
pub use error::{CopyError, LandingError, MemoryError, TensorError};
pub(crate) use landing::Landing;
pub use layout::{LARGEST_TENSOR, Layout, MOST_DIMENSIONS};
pub use memory::Memory;
pub(crate) use memory::driven;
use pmd_host::{backend::Transport, transfer::LocalPiece};
pub use stager::Stager;

/// A tensor in registered memory. Clones are handles to the same bytes and keep the memory registered.
#[derive(Clone)]
pub struct Tensor {
    memory: Memory,
    offset: u64,
    layout: Layout,
}

impl Tensor {
    /// The tensor of `layout` that starts `offset` bytes into `memory`, its elements in row-major order without gaps.
    ///
    /// # Errors
    /// [`TensorError::OutOfBounds`] when it does not end within the memory.
    pub fn new(memory: &Memory, offset: u64, layout: Layout) -> Result<Self, TensorError> {
        let (bytes, room) = (u64::from(layout.bytes()), memory.length());
        if offset.checked_add(bytes).is_none_or(|end| end > room) {
            return Err(TensorError::OutOfBounds { offset, bytes, room });
        }
        Ok(Self { memory: memory.clone(), offset, layout })
    }

    /// The memory that holds it.
    #[must_use]
    pub const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Bytes of the memory before it.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Type and shape.
    #[must_use]
    pub const fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Type of its elements.
    #[must_use]
    pub const fn data_type(&self) -> DataType {
        self.layout.data_type()
    }

    /// Elements in each dimension, the slowest first.
    #[must_use]
    pub fn shape(&self) -> &[u64] {
        self.layout.shape()
    }

    /// Bytes.
    #[must_use]
    pub const fn bytes(&self) -> u32 {
        self.layout.bytes()
    }

    /// First byte.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.memory.address() + self.offset
    }

    /// First byte. Valid for as long as a clone of the tensor, or its memory, lives.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.address() as *mut u8
    }

    /// The same bytes with another type or shape.
    ///
    /// # Errors
    /// [`TensorError::OutOfBounds`] when `layout` needs more bytes than the memory has behind the offset.
    pub fn viewed_as(&self, layout: Layout) -> Result<Self, TensorError> {
        Self::new(&self.memory, self.offset, layout)
    }

    /// `count` rows (entries of the first dimension) from `first` on.
    ///
    /// # Errors
    /// [`TensorError::Rows`] for rows that it does not have.
    pub fn rows(&self, first: u64, count: u64) -> Result<Self, TensorError> {
        let rows = self.layout.rows();
        if first.checked_add(count).is_none_or(|end| end > rows) {
            return Err(TensorError::Rows { first, count, rows });
        }
        let layout = self.layout.with_rows(count)?;
        Self::new(&self.memory, self.offset + first * self.layout.row_bytes(), layout)
    }

    /// Copies the bytes out.
    ///
    /// # Safety
    /// The memory is readable by the processor and nothing writes the tensor meanwhile: no other thread, and no request
    /// in flight that pulls into it.
    #[must_use]
    pub unsafe fn read(&self) -> Vec<u8> {
        // SAFETY: the range lies within registered memory, which is mapped; the caller promises that it is quiet.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.bytes() as usize) }.to_vec()
    }

    /// Copies bytes in, from the first on.
    ///
    /// # Errors
    /// [`TensorError::OutOfBounds`] when they are more than the tensor has; nothing was written.
    ///
    /// # Safety
    /// The memory is writable by the processor and nothing reads or writes the tensor meanwhile.
    pub unsafe fn write(&self, bytes: &[u8]) -> Result<(), TensorError> {
        if bytes.len() as u64 > u64::from(self.bytes()) {
            let (bytes, room) = (bytes.len() as u64, u64::from(self.bytes()));
            return Err(TensorError::OutOfBounds { offset: 0, bytes, room });
        }
        // SAFETY: the range lies within registered memory, which is mapped; the caller promises that it is quiet, so
        // `bytes` is not a part of it.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.as_ptr(), bytes.len()) };
        Ok(())
    }

    /// `length` bytes from `offset` on as a piece of a work list; `None` when the memory has no key for the transport.
    pub(crate) fn piece(&self, offset: u64, length: u64, transport: Transport) -> Option<LocalPiece> {
        let key = self.memory.local_key(transport)?;
        Some(LocalPiece { address: self.address() + offset, length, key })
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Tensor({:?} at {:#x})", self.layout, self.address())
    }
}
