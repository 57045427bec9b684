//! Copies of whole pages and more, past the caches where those do not hold the target.
//!
//! Who stores to a line that no cache of its core holds has it read out of memory first, only to overwrite it, and later
//! written back. Stores past the caches (non-temporal ones: Intel's manual, volume 1, 10.4.6.2) spare both, and what the caches
//! hold stays there. Where they do hold the target such stores are slower, so that the pages that were written lately are kept
//! in mind. Figures are in `verification/PERFORMANCE.md`, "Copy kernels".
//!
//! Such stores are not ordered with others, nor by a release: each copy ends with a fence of its own, so that whatever is
//! stored after it (the end of a message, a completion, a word for the peer) is seen after its bytes.
#![allow(unsafe_code)] // copies between checked addresses

use std::ptr;

use super::copy;

/// What is kept in mind of the target.
const PAGE: usize = 4096;

/// Pieces from this size on: a page, of which the last eight bytes go by themselves.
const SMALLEST: usize = PAGE - 8;

/// What a store past the caches should fill, whole and aligned.
#[cfg(any(target_arch = "x86_64", test))]
const LINE: usize = 64;

/// How this processor stores past the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg(target_arch = "x86_64")]
enum Kernel {
    /// 32 bytes at a time.
    Wide,
    /// 16 bytes at a time, as every one of this architecture can.
    Narrow,
}

/// The pages that an engine has written last, and copies that go by them.
#[derive(Debug)]
pub(super) struct Recent {
    /// Low bits of the numbers of pages, each at the place that they give; zero, as nobody maps page zero, where there is none.
    /// Empty where nothing goes past the caches.
    pages: Box<[u32]>,
    #[cfg(target_arch = "x86_64")]
    kernel: Kernel,
}

impl Recent {
    /// Takes the last `bytes` written for cached, rounded up to a power of two pages; with 0 everything, always.
    pub(super) fn new(bytes: usize) -> Self {
        let count = if cfg!(target_arch = "x86_64") { bytes.div_ceil(PAGE) } else { 0 };
        let count = if count == 0 { 0 } else { count.next_power_of_two() };
        Self {
            pages: vec![0; count].into(),
            #[cfg(target_arch = "x86_64")]
            kernel: if std::arch::is_x86_feature_detected!("avx") { Kernel::Wide } else { Kernel::Narrow },
        }
    }

    /// As [`copy::copy`]. Whatever is stored after it is seen after its bytes.
    ///
    /// # Safety
    /// That of [`copy::copy`].
    #[inline]
    pub(super) unsafe fn copy(&mut self, source: *const u8, target: *mut u8, length: usize) {
        // SAFETY: the caller's promise.
        unsafe {
            if length < SMALLEST {
                copy::copy(source, target, length);
            } else {
                self.copy_pages(source, target, length);
            }
        }
    }

    /// # Safety
    /// That of [`copy::copy`].
    unsafe fn copy_pages(&mut self, source: *const u8, target: *mut u8, length: usize) {
        let is_cached = self.note(target.addr(), length);
        // SAFETY: the caller's promise, and the ranges of the second are looked at.
        unsafe {
            if is_cached || source.addr().abs_diff(target.addr()) < length {
                copy::copy(source, target, length);
            } else {
                self.copy_past(source, target, length);
            }
        }
    }

    /// Notes that these bytes are written. Whether all of their pages were lately.
    fn note(&mut self, target: usize, length: usize) -> bool {
        let Some(mask) = self.pages.len().checked_sub(1) else { return true };
        let (first, last) = (target / PAGE, (target + (length - 1)) / PAGE);
        (first..=last).fold(true, |recent, page| {
            let place = &mut self.pages[page & mask];
            // Another of the same bits is taken for this one: the slower way of two that are right.
            let is_it = *place == page as u32;
            *place = page as u32;
            recent && is_it
        })
    }

    /// # Safety
    /// That of [`copy::copy`], of ranges that do not overlap.
    #[cfg(target_arch = "x86_64")]
    unsafe fn copy_past(&self, source: *const u8, target: *mut u8, length: usize) {
        use std::arch::x86_64::_mm_sfence;
        let head = (target.addr().wrapping_neg() % LINE).min(length);
        // The last bytes, one at least, are left to an ordinary copy: checks of addresses that do not see the others see it.
        let lines = (length - head).saturating_sub(1) / LINE;
        let done = head + lines * LINE;
        // SAFETY: three pieces of the ranges, of which the second begins at a line of the target and ends before the end; AVX is
        // there, by `new`. The fence follows the stores past the caches before anything else is stored.
        unsafe {
            ptr::copy_nonoverlapping(source, target, head);
            match self.kernel {
                Kernel::Wide => wide(source.add(head), target.add(head), lines),
                Kernel::Narrow => narrow(source.add(head), target.add(head), lines),
            }
            _mm_sfence();
            ptr::copy_nonoverlapping(source.add(done), target.add(done), length - done);
        }
    }

    /// # Safety
    /// That of [`copy::copy`].
    #[cfg(not(target_arch = "x86_64"))]
    unsafe fn copy_past(&self, source: *const u8, target: *mut u8, length: usize) {
        // SAFETY: the caller's promise.
        unsafe { ptr::copy(source, target, length) }
    }
}

/// Copies lines with stores of 32 bytes past the caches.
///
/// # Safety
/// The ranges hold `lines` lines and do not overlap, the target begins at one, and a fence follows before any other store.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn wide(source: *const u8, target: *mut u8, lines: usize) {
    use std::arch::x86_64::{__m256i, _mm256_loadu_si256, _mm256_stream_si256};
    const SIZE: usize = size_of::<__m256i>();
    for line in 0..lines {
        // SAFETY: two halves of a line of both ranges; the target's is aligned.
        unsafe {
            let (from, to) = (source.add(line * LINE), target.add(line * LINE));
            let halves = [0, SIZE].map(|offset| _mm256_loadu_si256(from.add(offset).cast()));
            _mm256_stream_si256(to.cast(), halves[0]);
            _mm256_stream_si256(to.add(SIZE).cast(), halves[1]);
        }
    }
}

/// The same with stores of 16 bytes.
///
/// # Safety
/// That of [`wide`].
#[cfg(target_arch = "x86_64")]
unsafe fn narrow(source: *const u8, target: *mut u8, lines: usize) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
    const SIZE: usize = size_of::<__m128i>();
    for quarter in 0..lines * (LINE / SIZE) {
        // SAFETY: a quarter of a line of both ranges; the target's is aligned.
        unsafe {
            let bytes = _mm_loadu_si128(source.add(quarter * SIZE).cast());
            _mm_stream_si128(target.add(quarter * SIZE).cast(), bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies between vectors and compares everything, what lies around the target included.
    fn check(recent: &mut Recent, length: usize, from: usize, to: usize) {
        let source: Vec<u8> = (0..length + from).map(|index| (index * 31 % 251) as u8).collect();
        let mut target = vec![0xff; length + to + LINE];
        // SAFETY: both vectors hold the ranges.
        unsafe { recent.copy(source.as_ptr().add(from), target.as_mut_ptr().add(to), length) };
        let what = format!("{length} bytes from {from} to {to}");
        assert_eq!(target[to..to + length], source[from..], "{what}");
        let around = target[..to].iter().chain(&target[to + length..]);
        assert!(around.into_iter().all(|byte| *byte == 0xff), "{what}: stored beside the target");
    }

    #[test]
    fn bytes_arrive_whole_at_every_place_and_length() {
        for past in [false, true] {
            let lengths = [0, 1, 8, 64, SMALLEST - 1].into_iter().chain(SMALLEST..SMALLEST + 2 * LINE + 2);
            for length in lengths.chain([3 * PAGE + 17, 64 << 10]) {
                for (from, to) in [(0, 0), (0, 1), (1, 0), (7, 33), (63, 63), (32, 16), (5, 48)] {
                    // What is forgotten after each is never taken for cached.
                    check(&mut Recent::new(if past { PAGE } else { 0 }), length, from, to);
                }
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn both_kernels_copy_whole_lines() {
        for kernel in [Kernel::Narrow, Kernel::Wide] {
            if kernel == Kernel::Wide && !std::arch::is_x86_feature_detected!("avx") {
                continue;
            }
            for to in 0..LINE {
                let mut recent = Recent { pages: vec![0; 1].into(), kernel };
                check(&mut recent, 2 * PAGE + to, to / 2, to);
            }
        }
    }

    #[test]
    fn ranges_that_overlap_are_copied_as_one_that_does_not() {
        for (from, to) in [(0, 100), (100, 0), (0, 0)] {
            let mut bytes: Vec<u8> = (0..4 * PAGE).map(|index| (index * 31 % 251) as u8).collect();
            let expected = bytes[from..from + 3 * PAGE].to_vec();
            let base = bytes.as_mut_ptr();
            // SAFETY: the vector holds both ranges.
            unsafe { Recent::new(PAGE).copy(base.add(from), base.add(to), 3 * PAGE) };
            assert_eq!(bytes[to..to + 3 * PAGE], expected);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn pages_are_recent_until_as_many_others_were_written() {
        const BASE: usize = 1 << 30;
        let mut recent = Recent::new(4 * PAGE);
        assert!(!recent.note(BASE, PAGE), "never written");
        assert!(recent.note(BASE, PAGE), "just written");
        assert!(!recent.note(BASE, 2 * PAGE), "the second page is new");
        assert!(recent.note(BASE, 2 * PAGE));
        assert!(recent.note(BASE + 1, PAGE), "both of its pages were written");
        assert!(!recent.note(BASE - 8, PAGE), "the first page is new");
        assert!(!recent.note(BASE + 2 * PAGE, 4 * PAGE), "new ones, as many as are kept");
        assert!(!recent.note(BASE, PAGE), "those have taken its place");
        assert!(recent.note(BASE + 2 * PAGE, 2 * PAGE - 8), "these are still there");
    }

    #[test]
    fn without_a_window_everything_counts_as_cached() {
        assert!(Recent::new(0).note(1 << 30, 1 << 20));
    }
}
