//! Moving bytes without the peer's help: through a mapping, or by the kernel in batches.
#![allow(unsafe_code)] // copies between checked addresses

use pmd_core::{
    memory::Access,
    wire::{DataItems, Syndrome},
};

use super::{Current, Sending, Stop};
use crate::soft::{
    Link,
    engine::{
        batch::Direction,
        copy::{self, Atomic, Piece},
        outstanding::Wait,
        pass::Pass,
    },
};

impl Sending {
    /// Copies into the peer's memory, as far as the budget goes.
    #[inline]
    pub(super) fn write_direct(
        &mut self,
        target: *mut u8,
        total: u64,
        data: &DataItems<'_>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<(), Stop> {
        self.flush_batch(pass)?;
        self.require_one_sided_done(link)?;
        let length = pass.budget.min(total - self.current.offset);
        let Current { mut offset, mut tail, .. } = self.current;
        let range = (offset, length);
        let recent = &mut *pass.recent;
        pass.keys
            .pieces(self.domain, data, range, Access::empty(), |source, length| {
                let piece = Piece { total, offset, length };
                // SAFETY: the source was checked by `pieces`, the whole target by `reach`, both in this round.
                unsafe {
                    tail.place_by(piece, source, target, |from, to, bytes| recent.copy(from, to, bytes))
                };
                offset += length as u64;
            })
            .map_err(Stop::Failed)?;
        self.current = Current { offset, tail, ..Current::default() };
        self.moved(length, total, pass)
    }

    /// Copies out of the peer's memory, as far as the budget goes.
    #[inline]
    pub(super) fn read_direct(
        &mut self,
        source: *const u8,
        total: u64,
        data: &DataItems<'_>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<(), Stop> {
        self.flush_batch(pass)?;
        self.require_all_done(link)?;
        let mut offset = self.current.offset;
        let length = pass.budget.min(total - offset);
        let recent = &mut *pass.recent;
        pass.keys
            .pieces(self.domain, data, (offset, length), Access::LOCAL_WRITE, |target, length| {
                // SAFETY: the target was checked by `pieces`, the whole source by `reach`, both in this round.
                unsafe { recent.copy(source.wrapping_add(offset as usize), target, length) };
                offset += length as u64;
            })
            .map_err(Stop::Failed)?;
        self.current.offset = offset;
        self.moved(length, total, pass)
    }

    /// Runs an atomic in the peer's memory; `result` is a checked local address.
    pub(super) fn atomic_direct(
        &mut self,
        target: *mut u8,
        operation: Atomic,
        result: u64,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<Wait, Stop> {
        self.flush_batch(pass)?;
        self.require_all_done(link)?;
        // SAFETY: eight aligned bytes (the caller looked), checked by `reach` in this round.
        let old = unsafe { copy::atomic(target, operation) };
        // SAFETY: eight bytes at `result`, checked by the caller in this round.
        unsafe { copy::copy(old.to_ne_bytes().as_ptr(), result as *mut u8, 8) };
        pass.spend(8);
        Ok(Wait::Done)
    }

    /// Adds a transfer to the batch, as much of it as the budget allows.
    pub(super) fn collect(
        &mut self,
        to: (Direction, i32),
        address: u64,
        total: u64,
        data: &DataItems<'_>,
        pass: &mut Pass<'_>,
        link: &mut Link,
    ) -> Result<(), Stop> {
        const MOST_PIECES: usize = 64;
        if !pass.batch.takes(to.0, to.1, MOST_PIECES) {
            self.flush_batch(pass)?;
        }
        match to.0 {
            Direction::Read => self.require_all_done(link)?,
            Direction::Write => self.require_one_sided_done(link)?,
        }
        if pass.batch.is_empty() {
            if !link.confirm_alive() {
                return Err(Stop::Failed(Syndrome::RetryExceeded));
            }
            self.batch_start = self.outstanding.next();
        }
        let offset = self.current.offset;
        let length = pass.budget.min(total - offset);
        self.add_to_batch(to, address.wrapping_add(offset), (offset, length), data, pass)?;
        self.current.offset += length;
        self.moved(length, total, pass)
    }

    fn add_to_batch(
        &self,
        to: (Direction, i32),
        address: u64,
        range: (u64, u64),
        data: &DataItems<'_>,
        pass: &mut Pass<'_>,
    ) -> Result<(), Stop> {
        let access = if to.0 == Direction::Read { Access::LOCAL_WRITE } else { Access::empty() };
        let (keys, batch) = (pass.keys, &mut *pass.batch);
        let before = batch.local_pieces();
        let collected =
            keys.pieces(self.domain, data, range, access, |piece, length| batch.add_local(piece, length));
        match collected {
            Ok(()) => batch.add_remote(to, self.outstanding.next(), address, range.1),
            Err(_) => batch.truncate_local(before),
        }
        collected.map_err(Stop::Failed)
    }

    /// Has the kernel move what was collected.
    #[inline]
    pub(super) fn flush_batch(&mut self, pass: &mut Pass<'_>) -> Result<(), Stop> {
        if pass.batch.is_empty() {
            return Ok(());
        }
        // SAFETY: every local piece was checked by `pieces` in this round, as the batch is empty between rounds.
        unsafe { pass.batch.flush() }.map_err(Stop::Batch)?;
        self.outstanding.settle_batch(self.batch_start, self.outstanding.next());
        Ok(())
    }

    /// Charges what was moved; stops here if the message is not all moved.
    #[inline]
    fn moved(&self, length: u64, total: u64, pass: &mut Pass<'_>) -> Result<(), Stop> {
        pass.spend(length);
        if self.current.offset == total { Ok(()) } else { Err(Stop::Later) }
    }
}
