//! Fixed-stride slots of receive queues, own and shared: writing data segments and keeping their shadow.

#![allow(unsafe_code)] // Queue memory is shared with a device and known by address only.

use alloc::boxed::Box;
use core::ptr::NonNull;

use super::{
    error::{QueueError, check_alignment, check_count},
    lines::Lines,
};
use crate::{
    memory::Sge,
    provider::PostError,
    wire::{DataSegment, UNIT, Unit, data},
};

/// Most receive slots: their counters have 16 bits.
const MAX_SLOTS: u32 = 1 << 15;
/// Log2 of the largest slot.
const MAX_STRIDE_SHIFT: u32 = 12;

/// Slots of `1 << stride_shift` bytes, in which `reserved` units stand before the data segments.
#[derive(Debug)]
pub(super) struct Slots {
    lines: Lines,
    mask: u32,
    /// Units from one slot to the next.
    stride: u32,
    /// Units in front of the data segments.
    reserved: u32,
    /// Entries that a request may have.
    max_sges: u32,
    /// Shadow of what was posted, `max_sges` entries a slot; empty when not kept.
    lists: Box<[Sge]>,
}

impl Slots {
    /// Takes over slots.
    ///
    /// # Errors
    /// [`QueueError`] when the description does not fit together.
    ///
    /// # Safety
    /// `buffer` is valid for writes of `count << stride_shift` bytes while this value lives, and accessed by
    /// nobody but the device.
    pub(super) unsafe fn new(
        buffer: NonNull<u8>,
        count: u32,
        stride_shift: u32,
        reserved: u32,
        max_sges: u32,
        keep_lists: bool,
    ) -> Result<Self, QueueError> {
        let least = if reserved == 0 { 4 } else { 5 };
        check_count(count, MAX_SLOTS)?;
        check_alignment(buffer, UNIT)?;
        if !(least..=MAX_STRIDE_SHIFT).contains(&stride_shift) {
            return Err(QueueError::Stride { shift: stride_shift, least });
        }
        let stride = 1 << (stride_shift - 4);
        let max_sges = max_sges.min(stride - reserved);
        let kept = if keep_lists { count * max_sges } else { 0 };
        let lists = alloc::vec![Sge::default(); kept as usize].into_boxed_slice();
        Ok(Self { lines: Lines::new(buffer), mask: count - 1, stride, reserved, max_sges, lists })
    }

    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.mask + 1
    }

    #[inline]
    pub(super) fn mask(&self) -> u32 {
        self.mask
    }

    pub(super) fn keeps_lists(&self) -> bool {
        !self.lists.is_empty()
    }

    /// Whether a list fits into a slot.
    #[inline]
    pub(super) fn check(&self, list: &[Sge]) -> Result<(), PostError> {
        if list.len() > self.max_sges as usize {
            return Err(PostError::TooManySges { given: list.len(), limit: self.max_sges });
        }
        match list.iter().find(|entry| entry.length > data::MAX_LENGTH) {
            Some(entry) => Err(PostError::MessageTooLong {
                given: u64::from(entry.length),
                limit: u64::from(data::MAX_LENGTH),
            }),
            None => Ok(()),
        }
    }

    /// Writes a checked list into a slot and ends it where the slot has room for more.
    #[inline]
    pub(super) fn write(&mut self, slot: u32, list: &[Sge]) {
        let mut unit = self.reserved;
        for entry in list.iter().filter(|entry| entry.length != 0) {
            let segment = DataSegment { length: entry.length, lkey: entry.key.0, address: entry.address };
            self.store(slot, unit, segment);
            unit += 1;
        }
        if unit < self.stride {
            self.store(slot, unit, DataSegment::TERMINATOR);
        }
        if self.keeps_lists() {
            self.keep(slot, list);
        }
    }

    /// Writes the unit in front of the data segments.
    #[inline]
    pub(super) fn write_reserved(&mut self, slot: u32, unit: Unit) {
        debug_assert!(self.reserved == 1);
        let index = ((slot & self.mask) * self.stride) as usize;
        // SAFETY: a masked slot lies in the buffer (`new`'s contract), and its first unit is within it.
        unsafe { self.lines.write_unit(index, unit) };
    }

    /// What was posted to a slot; empty when lists are not kept.
    pub(super) fn list(&self, slot: u32) -> impl Iterator<Item = Sge> + '_ {
        let first = (slot * self.max_sges) as usize;
        let kept = self.lists.get(first..first + self.max_sges as usize).unwrap_or_default();
        kept.iter().copied().take_while(|entry| entry.length != 0)
    }

    #[cold]
    fn keep(&mut self, slot: u32, list: &[Sge]) {
        let first = (slot * self.max_sges) as usize;
        let Some(kept) = self.lists.get_mut(first..first + self.max_sges as usize) else { return };
        kept.fill(Sge::default());
        let posted = list.iter().filter(|entry| entry.length != 0);
        for (shadow, entry) in kept.iter_mut().zip(posted) {
            *shadow = *entry;
        }
    }

    #[inline]
    fn store(&mut self, slot: u32, unit: u32, segment: DataSegment) {
        debug_assert!(unit < self.stride);
        let mut bytes = [0; UNIT];
        segment.emit(&mut bytes);
        let index = ((slot & self.mask) * self.stride + unit) as usize;
        // SAFETY: a masked slot lies in the buffer (`new`'s contract); `unit` is below the stride, because `check`
        // bounds the list by the units behind the reserved one.
        unsafe { self.lines.write_unit(index, bytes) };
    }
}
