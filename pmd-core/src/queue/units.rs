//! The send queue's memory as a ring of 16-byte units, written from the front of one WQE to its end.

#![allow(unsafe_code)] // Queue memory is shared with a device and known by address only.

use core::ptr::NonNull;

use super::lines::{Block, Lines};
use crate::wire::{
    BASIC_BLOCK, UNIT, UNITS_PER_BLOCK, Unit,
    inline::{self, InlineHeader},
};

/// Memory of a send queue: a power of two of 64-byte slots.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnitRing {
    lines: Lines,
    /// Slots - 1.
    mask: u32,
}

impl UnitRing {
    /// # Safety
    /// `buffer` is 64-byte aligned and valid for writes of `count` slots while this value or a copy of it lives,
    /// and accessed by nobody but the device; `count` is a power of two.
    pub(super) unsafe fn new(buffer: NonNull<u8>, count: u32) -> Self {
        Self { lines: Lines::new(buffer), mask: count - 1 }
    }

    #[inline(always)]
    pub(super) fn mask(&self) -> u32 {
        self.mask
    }

    pub(super) fn buffer(&self) -> NonNull<u8> {
        self.lines.base()
    }

    /// Writes a whole slot: a WQE of up to four units, the rest zero.
    #[inline(always)]
    pub(super) fn write_block(&mut self, position: u32, block: Block) {
        let slot = (position & self.mask) as usize;
        // SAFETY: a masked slot lies in the buffer (`new`'s contract).
        unsafe { self.lines.write_line(slot, block) }
    }

    /// Writes a whole slot whose last two units are an inline segment: its header and as many bytes as it has room for, or
    /// fewer.
    #[inline(always)]
    pub(super) fn write_inline_block(&mut self, position: u32, mut block: Block, bytes: &[u8]) {
        debug_assert!(bytes.len() <= 2 * UNIT - inline::HEADER);
        let mut header = [0; inline::HEADER];
        InlineHeader { length: bytes.len() as u32 }.emit(&mut header);
        block[2][..inline::HEADER].copy_from_slice(&header);
        self.write_block(position, block);
        let start = (position & self.mask) as usize * BASIC_BLOCK + 2 * UNIT + inline::HEADER;
        // SAFETY: the bytes end with the slot at the latest, which lies in the buffer. `bytes` is borrowed, the buffer is
        // not: they do not overlap.
        unsafe {
            match bytes.first_chunk::<8>() {
                // One store: most of what is this short is one word.
                Some(word) if bytes.len() == 8 => self.lines.write_bytes(start, word),
                _ => self.lines.write_bytes(start, bytes),
            }
        }
    }

    /// A writer that starts at a slot and wraps at the end of the buffer unit by unit.
    #[inline]
    pub(super) fn writer(&mut self, position: u32) -> UnitWriter<'_> {
        let first = (position & self.mask) * UNITS_PER_BLOCK as u32;
        UnitWriter { ring: self, unit: first }
    }

    fn unit_mask(&self) -> u32 {
        self.mask * UNITS_PER_BLOCK as u32 + (UNITS_PER_BLOCK as u32 - 1)
    }
}

/// Writes the units of one WQE.
#[derive(Debug)]
pub(super) struct UnitWriter<'a> {
    ring: &'a mut UnitRing,
    /// Next unit, counted from the start of the buffer; masked when used.
    unit: u32,
}

impl UnitWriter<'_> {
    /// Writes one segment of 16 bytes.
    #[inline]
    pub(super) fn push(&mut self, unit: Unit) {
        let index = (self.unit & self.ring.unit_mask()) as usize;
        // SAFETY: a masked unit lies in the buffer (`UnitRing::new`'s contract).
        unsafe { self.ring.lines.write_unit(index, unit) };
        self.unit = self.unit.wrapping_add(1);
    }

    /// Writes an inline segment: header and bytes, which go on at the beginning where they reach the end of the
    /// buffer. Bytes up to the next unit are left as they are.
    pub(super) fn push_inline(&mut self, bytes: &[u8]) {
        let start = (self.unit & self.ring.unit_mask()) as usize * UNIT;
        let mut header = [0; inline::HEADER];
        InlineHeader { length: bytes.len() as u32 }.emit(&mut header);
        self.copy(start, &header);
        let start = start + inline::HEADER;
        let end = (self.ring.mask as usize + 1) * BASIC_BLOCK;
        let (before, after) = bytes.split_at(bytes.len().min(end - start));
        self.copy(start, before);
        self.copy(0, after);
        self.unit = self.unit.wrapping_add(inline::units(bytes.len()) as u32);
    }

    /// Copies bytes to an offset of the buffer, at which they fit.
    fn copy(&mut self, offset: usize, bytes: &[u8]) {
        debug_assert!(offset + bytes.len() <= (self.ring.mask as usize + 1) * BASIC_BLOCK);
        // SAFETY: `push_inline` cuts what it copies at the end of the buffer, and a WQE is never longer than the
        // buffer (`SendQueue::post` refuses it), so that the second piece ends before the first one starts.
        // `bytes` is borrowed, the buffer is not: they do not overlap.
        unsafe { self.ring.lines.write_bytes(offset, bytes) }
    }
}
