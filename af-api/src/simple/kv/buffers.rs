//! Registered memory for fronts, lengths and values that are copied: lent out for one request each and used again.
#![allow(unsafe_code)] // reads and writes tensors that no request touches

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use pmd_host::{endpoint::Endpoint, soft::ArenaOptions};

use super::PATIENCE;
use crate::tensor::{CopyError, Layout, Memory, MemoryError, Stager, Tensor, TensorError};

/// The smallest buffer; larger ones are powers of two.
const SMALLEST: usize = 4096;

/// Bytes that are kept for later; beyond them buffers are freed when their request has ended.
const KEPT: usize = 64 << 20;

/// Buffers that no request uses.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Memory>>);

/// Memory of one request. Its owner hands tensors of it to one request, and reads it when that has ended.
#[derive(Debug)]
pub(super) struct Buffer(Memory);

impl Buffers {
    pub(super) fn take(&self, endpoint: &Endpoint, bytes: usize) -> Result<Buffer, MemoryError> {
        let wanted = bytes.max(SMALLEST).next_power_of_two();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = kept.iter().position(|memory| memory.length() == wanted as u64);
        if let Some(at) = fits {
            return Ok(Buffer(kept.swap_remove(at)));
        }
        drop(kept);
        Ok(Buffer(Memory::allocate(endpoint, wanted, ArenaOptions::default())?))
    }

    /// The request has ended.
    pub(super) fn give(&self, buffer: Buffer) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held: u64 = kept.iter().map(Memory::length).sum();
        if held + buffer.0.length() <= KEPT as u64 {
            kept.push(buffer.0);
        }
    }
}

impl Buffer {
    /// Bytes of it as a tensor.
    pub(super) fn tensor(&self, offset: usize, bytes: usize) -> Result<Tensor, TensorError> {
        tensor_of(&self.0, offset as u64, bytes)
    }

    /// Copies bytes in, and tells their tensor.
    pub(super) fn fill(&self, offset: usize, bytes: &[u8]) -> Result<Tensor, TensorError> {
        let tensor = self.tensor(offset, bytes.len())?;
        // SAFETY: the memory is an arena's; its one request has not been submitted, so nothing else touches it.
        unsafe { tensor.write(bytes) }?;
        Ok(tensor)
    }
}

/// Bytes of a memory as a tensor.
pub(super) fn tensor_of(memory: &Memory, offset: u64, bytes: usize) -> Result<Tensor, TensorError> {
    let Ok(length) = u32::try_from(bytes) else {
        return Err(TensorError::OutOfBounds { offset, bytes: bytes as u64, room: u64::from(u32::MAX) });
    };
    Tensor::new(memory, offset, Layout::of_bytes(length))
}

/// What a tensor of a buffer holds whose request has ended.
pub(super) fn contents(tensor: &Tensor) -> Vec<u8> {
    // SAFETY: of a buffer of ours, in an arena; nobody writes it between the end of the transfer and its next use.
    unsafe { tensor.read() }
}

/// What was pushed with a request that has not been answered: into a receive area, of a device perhaps.
pub(super) fn pushed(tensor: &Tensor, stager: &mut Stager) -> Result<Vec<u8>, CopyError> {
    let deadline = Instant::now().checked_add(PATIENCE);
    // SAFETY: nobody writes the slot before the answer.
    unsafe { stager.download(tensor, deadline) }
}
