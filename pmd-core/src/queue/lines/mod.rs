//! Memory that a queue shares with its device, in lines of 64 bytes: the only place that reads and writes it.
//!
//! Work-queue entries are written here, completion entries read. Outside of loom each function is one access, and a
//! queue's other memory, its doorbell record, is [`mmio`](crate::mmio)'s. Under loom a line is tracked objects, so that
//! the models beside the queues find every access that no barrier orders.
#![allow(unsafe_code)] // queue memory is shared with a device and known by address only

#[cfg(loom)]
pub(super) mod model;

use core::ptr::NonNull;

#[cfg(not(loom))]
use crate::wire::{Cqe64, cqe};
use crate::wire::{UNITS_PER_BLOCK, Unit};

/// Four units: a WQE that fits into one slot, or the 64-byte form of a completion entry.
pub(super) type Block = [Unit; UNITS_PER_BLOCK];

/// Bytes of a line.
pub(super) const LINE: usize = size_of::<Block>();

/// Lines of one queue.
///
/// What every function asks for: the line (or the whole range) lies in the queue's memory, which is valid for reads and
/// writes, and the device does not write it at the same time, save for the byte of [`Lines::ownership`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    base: NonNull<u8>,
}

impl Lines {
    pub(super) const fn new(base: NonNull<u8>) -> Self {
        Self { base }
    }

    pub(super) const fn base(self) -> NonNull<u8> {
        self.base
    }
}

#[cfg(not(loom))]
impl Lines {
    /// Writes a whole line.
    ///
    /// # Safety
    /// As for all, see [`Lines`].
    #[inline(always)]
    pub(super) unsafe fn write_line(self, line: usize, block: Block) {
        // SAFETY: the caller's promise; blocks are aligned as bytes are.
        unsafe { self.base.cast::<Block>().add(line).write(block) }
    }

    /// Writes the 16-byte unit of this number.
    ///
    /// # Safety
    /// As for all, see [`Lines`].
    #[inline(always)]
    pub(super) unsafe fn write_unit(self, unit: usize, bytes: Unit) {
        // SAFETY: the caller's promise.
        unsafe { self.base.cast::<Unit>().add(unit).write(bytes) }
    }

    /// Copies bytes to an offset.
    ///
    /// # Safety
    /// As for all, see [`Lines`]; `bytes` is other memory.
    #[inline]
    pub(super) unsafe fn write_bytes(self, offset: usize, bytes: &[u8]) {
        // SAFETY: the caller's promise.
        unsafe { self.base.add(offset).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) }
    }

    /// Copies one line over another.
    ///
    /// # Safety
    /// As for all, see [`Lines`]; the lines are different.
    pub(super) unsafe fn copy_line(self, from: usize, to: usize) {
        let lines = self.base.cast::<Block>();
        // SAFETY: the caller's promise.
        unsafe { lines.add(to).copy_from_nonoverlapping(lines.add(from), 1) }
    }

    /// Reads the byte that hands the completion entry in this line over; the device may be writing it.
    ///
    /// # Safety
    /// As for all, see [`Lines`].
    #[inline(always)]
    pub(super) unsafe fn ownership(self, line: usize) -> u8 {
        // SAFETY: the byte lies in the line.
        unsafe { self.base.add(line * LINE + cqe::OP_OWN).read_volatile() }
    }

    /// Writes that byte, for an entry that software owns.
    ///
    /// # Safety
    /// As for all, see [`Lines`].
    pub(super) unsafe fn set_ownership(self, line: usize, op_own: u8) {
        // SAFETY: the byte lies in the line.
        unsafe { self.base.add(line * LINE + cqe::OP_OWN).write_volatile(op_own) }
    }

    /// The bytes of a line, for as long as software owns them.
    ///
    /// # Safety
    /// As for all, see [`Lines`], for as long as the reference lives.
    #[inline(always)]
    pub(super) unsafe fn entry<'a>(self, line: usize) -> &'a Cqe64 {
        // SAFETY: the caller's promise; bytes need no alignment.
        unsafe { self.base.cast::<Cqe64>().add(line).as_ref() }
    }
}
