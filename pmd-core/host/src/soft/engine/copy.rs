//! Moving bytes and running atomics, by address. The only place that touches the memory of transfers.
//!
//! Callers have checked keys and bounds in the current activity round; everything here is unconditional.
#![allow(unsafe_code)] // transfers are between addresses, some of them of another process's memory

use std::ptr;

use pmd_core::sync::{AtomicU64, Ordering, fence};

/// What an atomic does to its eight bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Atomic {
    /// Replace `compare` by `swap`.
    CompareSwap {
        /// Expected value.
        compare: u64,
        /// New value.
        swap: u64,
    },
    /// Add, wrapping.
    FetchAdd(u64),
}

/// Copies `length` bytes; the ranges may overlap, since both can be memory of this process.
///
/// # Safety
/// `source` is readable and `target` writable for `length` bytes, and no reference to the target's bytes is live.
#[inline]
pub(super) unsafe fn copy(source: *const u8, target: *mut u8, length: usize) {
    // SAFETY: the caller's promise; the widths of the first arms are those of the accesses.
    unsafe {
        match length {
            8 => target.cast::<u64>().write_unaligned(source.cast::<u64>().read_unaligned()),
            0 => {}
            _ => ptr::copy(source, target, length),
        }
    }
}

/// Runs an atomic and returns the old value.
///
/// # Safety
/// `target` is 8-byte aligned and its eight bytes are readable and writable; they are only changed by atomics and
/// transfers meanwhile.
#[inline]
pub(super) unsafe fn atomic(target: *mut u8, operation: Atomic) -> u64 {
    // SAFETY: aligned and mapped, by the caller.
    let cell = unsafe { AtomicU64::from_ptr(target.cast()) };
    match operation {
        Atomic::FetchAdd(addend) => cell.fetch_add(addend, Ordering::AcqRel),
        Atomic::CompareSwap { compare, swap } => cell
            .compare_exchange(compare, swap, Ordering::AcqRel, Ordering::Acquire)
            .unwrap_or_else(|old| old),
    }
}

/// The last eight bytes of a message on their way: held back until all others are in place, so that a peer that
/// polls the end of a message sees all of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tail([u8; 8]);

/// Where in a message a piece belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Bytes of the whole message.
    pub(super) total: u64,
    /// Offset of the piece.
    pub(super) offset: u64,
    /// Bytes of the piece.
    pub(super) length: usize,
}

impl Tail {
    /// Copies a piece of a message that lands at `target`. Pieces come in order, one `Tail` for all of a message.
    ///
    /// # Safety
    /// `source` is readable for the piece; `target` is writable for the whole message; the piece ends within it.
    #[inline]
    pub(super) unsafe fn place(&mut self, piece: Piece, source: *const u8, target: *mut u8) {
        // SAFETY: the caller's promise.
        unsafe { self.place_by(piece, source, target, |source, target, length| copy(source, target, length)) }
    }

    /// The same, with all but the last eight bytes copied by `bulk_copy`, which is called once at most, with ranges of the piece,
    /// and orders its stores before later ones.
    ///
    /// # Safety
    /// As [`Tail::place`].
    #[inline]
    pub(super) unsafe fn place_by(
        &mut self,
        piece: Piece,
        source: *const u8,
        target: *mut u8,
        bulk_copy: impl FnOnce(*const u8, *mut u8, usize),
    ) {
        let Piece { total, offset, length } = piece;
        let held = total.saturating_sub(8);
        let bulk = held.saturating_sub(offset).min(length as u64) as usize;
        // SAFETY: the caller's promise; bytes at `held` and later go to the eight bytes of the tail.
        unsafe {
            if bulk > 0 {
                bulk_copy(source, target.wrapping_add(offset as usize), bulk);
            }
            if bulk < length {
                let place = (offset + bulk as u64 - held) as usize;
                copy(source.add(bulk), self.0.as_mut_ptr().add(place), length - bulk);
            }
            if offset + length as u64 == total {
                self.store(target.add(held as usize), (total - held) as usize);
            }
        }
    }

    /// Where the bytes from `at` on of a message that ends at `total` are held back.
    pub(super) fn place_of(&mut self, total: u64, at: u64) -> *mut u8 {
        let held = total.saturating_sub(8);
        self.0.as_mut_ptr().wrapping_add(at.saturating_sub(held) as usize)
    }

    /// Stores the end of the message behind everything that was copied before.
    ///
    /// # Safety
    /// `target` is writable for `length` bytes, at most 8.
    #[inline]
    pub(super) unsafe fn store(&self, target: *mut u8, length: usize) {
        // Message bytes, stored before: the poller of the last byte reads them after it.
        fence(Ordering::Release);
        // SAFETY: the caller's promise, and alignment is looked at.
        unsafe {
            if length == 8 && target.addr().is_multiple_of(8) {
                AtomicU64::from_ptr(target.cast()).store(u64::from_ne_bytes(self.0), Ordering::Release);
            } else {
                copy(self.0.as_ptr(), target, length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_any_size_and_cut_arrive_whole() {
        for total in [1, 2, 7, 8, 9, 15, 16, 17, 64, 100] {
            for cut in 1..=total {
                for shift in 0..3 {
                    let source: Vec<u8> = (0..total as u8).map(|byte| byte ^ 0x5a).collect();
                    let mut target = vec![0xff; total + shift + 1];
                    let mut tail = Tail::default();
                    for offset in (0..total).step_by(cut) {
                        let length = cut.min(total - offset);
                        let piece = Piece { total: total as u64, offset: offset as u64, length };
                        // SAFETY: both vectors hold the ranges.
                        unsafe {
                            tail.place(piece, source.as_ptr().add(offset), target.as_mut_ptr().add(shift));
                        }
                    }
                    assert_eq!(target[shift..shift + total], source, "{total} bytes cut by {cut}");
                    assert_eq!(target[shift + total], 0xff);
                }
            }
        }
    }

    #[test]
    fn atomics_return_the_old_value() {
        let mut word = 5u64;
        let target = (&raw mut word).cast::<u8>();
        // SAFETY: an aligned local.
        unsafe {
            assert_eq!(atomic(target, Atomic::FetchAdd(3)), 5);
            assert_eq!(atomic(target, Atomic::CompareSwap { compare: 9, swap: 1 }), 8);
            assert_eq!(atomic(target, Atomic::CompareSwap { compare: 8, swap: 1 }), 8);
            assert_eq!(atomic(target, Atomic::FetchAdd(u64::MAX)), 1);
        }
        assert_eq!(word, 0);
    }
}
