//! Copies between a buffer and memory that nobody vouches for, without ever faulting: the kernel does it
//! (`process_vm_readv` and `process_vm_writev` on this process itself) and refuses bytes that are not mapped, or not
//! writable. To look before copying would not do: memory can be unmapped in between.
//!
//! An engine with accelerators asks them first whether a piece is theirs; those pieces their streams copy.
#![allow(unsafe_code)] // gives the kernel addresses

use std::{
    io::{IoSlice, IoSliceMut},
    slice,
    sync::Arc,
};

use nix::{
    errno::Errno,
    sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev},
    unistd::Pid,
};

use pmd_core::accelerator::{AcceleratorError, CopyDirection, CopyRange, DeviceMemory};

use super::protocol::Piece;
use crate::fabric::{Fabric, FabricError, Segment};

/// Pieces that the kernel takes in one call.
const BATCH: usize = 1024;

/// Why bytes were not copied. Some may have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CopyError {
    /// Not mapped, or not writable.
    BadAddress { address: u64 },
    /// The kernel does not permit the calls.
    NotPermitted(Errno),
    /// An accelerator does not copy it.
    Accelerator(AcceleratorError),
}

/// A buffer that is this thread's alone for as long as nobody has been given its address.
pub(super) struct Buffer<'a> {
    bytes: &'a mut [u8],
    /// Knows the accelerators.
    fabric: &'a Fabric,
}

impl<'a> Buffer<'a> {
    /// The first `length` bytes of a segment that the fabric allocated; fewer if it has fewer.
    ///
    /// # Safety
    /// No transfer and no other thread touches the segment while the value lives.
    pub(super) unsafe fn new(segment: &'a mut Segment, fabric: &'a Fabric, length: usize) -> Self {
        let bytes = segment.arena().map_or(&mut [][..], |arena| {
            let length = length.min(arena.length());
            // SAFETY: the arena is that long and lives as long as the segment, which is borrowed; the caller promises
            // that nobody else touches it.
            unsafe { slice::from_raw_parts_mut(arena.as_ptr(), length) }
        });
        Self { bytes, fabric }
    }

    /// Fills the buffer with the pieces, one after the other.
    pub(super) fn gather(self, pieces: &[Piece]) -> Result<(), CopyError> {
        self.each_side(pieces, CopyDirection::DeviceToHost, |bytes, pieces| {
            move_all(pieces, bytes.len(), |at, remote| {
                process_vm_readv(Pid::this(), &mut [IoSliceMut::new(&mut bytes[at..])], remote)
            })
        })
    }

    /// Empties the buffer into the pieces, one after the other.
    pub(super) fn scatter(self, pieces: &[Piece]) -> Result<(), CopyError> {
        self.each_side(pieces, CopyDirection::HostToDevice, |bytes, pieces| {
            move_all(pieces, bytes.len(), |at, remote| {
                process_vm_writev(Pid::this(), &[IoSlice::new(&bytes[at..])], remote)
            })
        })
    }

    /// Has `host` copy the pieces that lie in memory of the host, and accelerators those that lie in theirs.
    fn each_side(
        self,
        pieces: &[Piece],
        direction: CopyDirection,
        host: impl Fn(&mut [u8], &[Piece]) -> Result<(), CopyError>,
    ) -> Result<(), CopyError> {
        let Self { bytes, fabric } = self;
        if fabric.accelerators().is_empty() {
            return host(bytes, pieces);
        }
        let mut left = &mut *bytes;
        for piece in pieces {
            let length = usize::try_from(piece.length).ok().filter(|length| *length <= left.len());
            let length = length.ok_or(CopyError::BadAddress { address: piece.address })?;
            let (here, rest) = left.split_at_mut(length);
            left = rest;
            match device_memory(fabric, piece)? {
                Some(memory) => copy_by_device(fabric, &*memory, here, piece, direction)?,
                None => host(here, slice::from_ref(piece))?,
            }
        }
        Ok(())
    }
}

/// The memory of a piece, where it is an accelerator's.
fn device_memory(fabric: &Fabric, piece: &Piece) -> Result<Option<Arc<dyn DeviceMemory>>, CopyError> {
    if piece.length == 0 {
        return Ok(None);
    }
    // SAFETY: whoever stages memory promises that it is there until the transfer has ended; the value goes before.
    match unsafe { fabric.adopt(piece.address, piece.length, None) } {
        Ok(memory) => Ok(Some(memory)),
        Err(FabricError::Accelerator(AcceleratorError::NotDeviceMemory { .. })) => Ok(None),
        Err(FabricError::Accelerator(error)) => Err(CopyError::Accelerator(error)),
        Err(_) => Err(CopyError::BadAddress { address: piece.address }),
    }
}

fn copy_by_device(
    fabric: &Fabric,
    memory: &dyn DeviceMemory,
    buffer: &mut [u8],
    piece: &Piece,
    direction: CopyDirection,
) -> Result<(), CopyError> {
    let (here, there) = (buffer.as_mut_ptr() as u64, piece.address);
    let (from, to) = if direction == CopyDirection::DeviceToHost { (there, here) } else { (here, there) };
    let copy = CopyRange { from, to, length: piece.length, direction };
    // SAFETY: the buffer is this thread's alone and as long as the piece, which the accelerator knows as its memory.
    // Both stay until the call returns, and then nothing of the copy is under way.
    unsafe { fabric.copy_by(&memory.accelerator(), &[copy]) }.map_err(CopyError::Accelerator)
}

/// Calls `step` with an offset into the buffer and what follows of the pieces, until all bytes have moved.
fn move_all(
    pieces: &[Piece],
    room: usize,
    mut step: impl FnMut(usize, &[RemoteIoVec]) -> nix::Result<usize>,
) -> Result<(), CopyError> {
    let mut position = Position { pieces, done: 0, at: 0 };
    while let Some(next) = position.next() {
        let remote = position.batch(room);
        match step(position.at, &remote) {
            // Nothing moved and no reason given, or more pieces than the buffer has room for: not from here.
            Ok(0) | Err(Errno::EFAULT) => return Err(CopyError::BadAddress { address: next }),
            Ok(moved) => position.advance(moved),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(CopyError::NotPermitted(error)),
        }
    }
    Ok(())
}

struct Position<'a> {
    /// What is left; the first of them from its byte `done`.
    pieces: &'a [Piece],
    done: u64,
    /// Offset into the buffer.
    at: usize,
}

impl Position<'_> {
    /// The first byte that is left.
    fn next(&mut self) -> Option<u64> {
        while let Some(piece) = self.pieces.first() {
            if self.done < piece.length {
                return Some(piece.address.wrapping_add(self.done));
            }
            self.done = 0;
            self.pieces = &self.pieces[1..];
        }
        None
    }

    fn batch(&self, room: usize) -> Vec<RemoteIoVec> {
        let mut skip = self.done;
        let mut left = room.saturating_sub(self.at);
        let mut batch = Vec::with_capacity(self.pieces.len().min(BATCH));
        for piece in self.pieces.iter().take(BATCH) {
            let length = usize::try_from(piece.length - skip).unwrap_or(usize::MAX).min(left);
            batch.push(RemoteIoVec { base: piece.address.wrapping_add(skip) as usize, len: length });
            (skip, left) = (0, left - length);
        }
        batch
    }

    fn advance(&mut self, moved: usize) {
        self.at += moved;
        self.done += moved as u64;
        while let Some(piece) = self.pieces.first().filter(|piece| self.done >= piece.length) {
            self.done -= piece.length;
            self.pieces = &self.pieces[1..];
        }
    }
}
