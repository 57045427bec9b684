//! Lines as loom sees them: bytes whose accesses are checked, and the ownership byte as an atomic without an ordering.
#![allow(unsafe_code)] // stands in for memory that is known by address only

use core::ptr::NonNull;

use super::{Block, LINE, Lines};
use crate::{
    sync::{AtomicU32, Ordering, UnsafeCell},
    wire::{Cqe64, UNIT, UNITS_PER_BLOCK, Unit, cqe},
};

/// A line of a model's queue memory.
#[derive(Debug)]
#[repr(align(64))]
pub(in super::super) struct TrackedLine {
    bytes: UnsafeCell<Cqe64>,
    /// The last byte, of a completion entry.
    ownership: AtomicU32,
}

// SAFETY: what the models check: barriers order all accesses.
unsafe impl Sync for TrackedLine {}

impl TrackedLine {
    /// A zeroed line.
    pub(in super::super) fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; LINE]), ownership: AtomicU32::new(0) }
    }

    /// The device fetches the line, as by DMA.
    pub(in super::super) fn fetch(&self) -> Cqe64 {
        // SAFETY: bytes; loom reports a write at the same time.
        self.bytes.with(|bytes| unsafe { *bytes })
    }

    /// The device writes a completion entry: its last byte last.
    pub(in super::super) fn complete(&self, entry: Cqe64) {
        // SAFETY: bytes; loom reports an access at the same time.
        self.bytes.with_mut(|bytes| unsafe { *bytes = entry });
        crate::sync::fence(Ordering::Release);
        self.ownership.store(entry[cqe::OP_OWN].into(), Ordering::Relaxed);
    }
}

/// As outside of loom, on tracked lines.
impl Lines {
    unsafe fn tracked<'a>(self, line: usize) -> &'a TrackedLine {
        // SAFETY: the caller's promise: a line of the queue, which under loom is a tracked one.
        unsafe { self.base.cast::<TrackedLine>().add(line).as_ref() }
    }

    unsafe fn change(self, line: usize, change: impl FnOnce(&mut Cqe64)) {
        // SAFETY: the caller's promise; loom reports an access at the same time.
        unsafe { self.tracked(line).bytes.with_mut(|bytes| change(&mut *bytes)) }
    }

    pub(in super::super) unsafe fn write_line(self, line: usize, block: Block) {
        // SAFETY: the caller's promise.
        unsafe { self.change(line, |bytes| bytes.copy_from_slice(block.as_flattened())) }
    }

    pub(in super::super) unsafe fn write_unit(self, unit: usize, value: Unit) {
        let start = unit % UNITS_PER_BLOCK * UNIT;
        // SAFETY: the caller's promise.
        unsafe { self.change(unit / UNITS_PER_BLOCK, |bytes| bytes[start..][..UNIT].copy_from_slice(&value)) }
    }

    pub(in super::super) unsafe fn write_bytes(self, offset: usize, source: &[u8]) {
        for (at, byte) in (offset..).zip(source) {
            // SAFETY: the caller's promise.
            unsafe { self.change(at / LINE, |bytes| bytes[at % LINE] = *byte) }
        }
    }

    pub(in super::super) unsafe fn copy_line(self, from: usize, to: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            let entry = self.tracked(from).fetch();
            self.change(to, |bytes| *bytes = entry);
            self.set_ownership(to, entry[cqe::OP_OWN]);
        }
    }

    pub(in super::super) unsafe fn ownership(self, line: usize) -> u8 {
        // SAFETY: the caller's promise.
        unsafe { self.tracked(line).ownership.load(Ordering::Relaxed) as u8 }
    }

    pub(in super::super) unsafe fn set_ownership(self, line: usize, op_own: u8) {
        // SAFETY: the caller's promise.
        unsafe { self.tracked(line).ownership.store(op_own.into(), Ordering::Relaxed) }
    }

    /// The access counts as made here, not where the bytes are looked at.
    pub(in super::super) unsafe fn entry<'a>(self, line: usize) -> &'a Cqe64 {
        // SAFETY: the caller's promise; loom reports a write before this without an order.
        unsafe { self.tracked(line).bytes.with(|bytes| NonNull::new_unchecked(bytes.cast_mut()).as_ref()) }
    }
}
