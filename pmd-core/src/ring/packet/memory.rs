//! The ring's memory: the lines as both processes map them, and copying in and out of them.
//!
//! Used by the two ends only. No reference to body bytes is ever made, since the other process may write them.
#![allow(unsafe_code)] // shared memory is reached through pointers

use alloc::boxed::Box;
use core::ptr::NonNull;

use super::{Consumer, LINE_BYTES, MARKER_BYTES, NOTHING, Producer, SMALL_BODY};
#[cfg(loom)]
use crate::sync::Ordering;
use crate::sync::{Arc, AtomicU32, UnsafeCell};

/// One line of a ring. All zeroes is a line on which nothing was published.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Line {
    /// What starts here, if a packet does; payload if one only runs through.
    pub(super) marker: AtomicU32,
    /// The body's first bytes; it runs on into the lines that follow.
    pub(super) body: UnsafeCell<[u8; SMALL_BODY]>,
}

// SAFETY: the body is only reached through `Lines`, by the end that it belongs to.
unsafe impl Sync for Line {}

/// The word in which a consumer leaves how far it has come, on a cache line of its own. Starts zeroed.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct ConsumedLine {
    pub(super) position: AtomicU32,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Line>() == LINE_BYTES && size_of::<ConsumedLine>() == LINE_BYTES);

/// The number of lines cannot be that of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a ring of {lines} lines: take a power of two from 2 to 2^30")]
pub struct LineCount {
    /// The number asked for.
    pub lines: usize,
}

/// 64 GiB: positions of 32 bits still tell old from new.
const MOST_LINES: usize = 1 << 30;

/// Makes a ring in memory of this process, for two threads.
pub fn ring(lines: usize) -> Result<(Producer, Consumer), LineCount> {
    let storage = Storage::new(Lines::checked_count(lines)? as usize);
    let (lines, consumed) = storage.parts();
    Ok((Producer::new(lines, consumed, Some(storage.clone())), Consumer::new(lines, consumed, Some(storage))))
}

/// Memory that this process owns; both ends keep it alive.
#[derive(Debug)]
pub(super) struct Storage {
    lines: Box<[Line]>,
    consumed: Box<ConsumedLine>,
}

impl Storage {
    fn new(count: usize) -> Arc<Self> {
        let line = |_| Line { marker: AtomicU32::new(NOTHING), body: UnsafeCell::new([0; SMALL_BODY]) };
        let consumed = Box::new(ConsumedLine { position: AtomicU32::new(0) });
        Arc::new(Self { lines: (0..count).map(line).collect(), consumed })
    }

    fn parts(&self) -> (Lines, NonNull<ConsumedLine>) {
        let base = NonNull::from(&*self.lines).cast();
        (Lines { base, count: self.lines.len() as u32 }, NonNull::from(&*self.consumed))
    }
}

/// The lines of a ring that stays mapped as long as this is used (the promise made to `attach`).
#[derive(Clone, Copy, Debug)]
pub(super) struct Lines {
    base: NonNull<Line>,
    /// A power of two.
    count: u32,
}

impl Lines {
    /// # Safety
    /// `base` points to `count` lines that stay mapped, readable and writable, while the value is used.
    pub(super) unsafe fn attach(base: NonNull<Line>, count: usize) -> Result<Self, LineCount> {
        Ok(Self { base, count: Self::checked_count(count)? })
    }

    fn checked_count(lines: usize) -> Result<u32, LineCount> {
        match lines {
            2..=MOST_LINES if lines.is_power_of_two() => Ok(lines as u32),
            _ => Err(LineCount { lines }),
        }
    }

    #[inline]
    pub(super) fn count(&self) -> u32 {
        self.count
    }

    /// The line's place in the ring.
    #[inline]
    pub(super) fn index(&self, position: u32) -> u32 {
        position & (self.count - 1)
    }

    /// Lines from `position` to the end of the ring, that of `position` included.
    #[inline]
    pub(super) fn until_end(&self, position: u32) -> u32 {
        self.count - self.index(position)
    }

    #[inline]
    pub(super) fn marker(&self, position: u32) -> &AtomicU32 {
        // SAFETY: the index is below `count`, and the lines are mapped; a marker is only reached atomically while
        // its line is a header for either end.
        unsafe { &(*self.line(position).as_ptr()).marker }
    }

    #[inline]
    fn line(&self, position: u32) -> NonNull<Line> {
        // SAFETY: the index is below `count`, and the lines are one mapping.
        unsafe { self.base.add(self.index(position) as usize) }
    }
}

/// In real memory a body is contiguous.
#[cfg(not(loom))]
impl Lines {
    /// The body of the packet at `position`.
    #[inline]
    pub(super) fn body(&self, position: u32) -> NonNull<u8> {
        // SAFETY: the body starts inside of its line.
        unsafe { self.line(position).cast::<u8>().add(MARKER_BYTES) }
    }

    /// Copies into the body of the packet at `position`.
    ///
    /// # Safety
    /// The bytes lie in lines before the end of the ring that belong to the caller.
    #[inline]
    pub(super) unsafe fn copy_in(&self, position: u32, offset: usize, bytes: &[u8]) {
        // SAFETY: inside of the ring, by the caller; a borrowed slice does not overlap with shared memory.
        unsafe {
            self.body(position).add(offset).copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len())
        }
    }

    /// Copies out of the body of the packet at `position`.
    ///
    /// # Safety
    /// As for `copy_in`.
    #[inline]
    pub(super) unsafe fn copy_out(&self, position: u32, offset: usize, bytes: &mut [u8]) {
        let length = bytes.len();
        // SAFETY: inside of the ring, by the caller; a borrowed slice does not overlap with shared memory.
        unsafe { self.body(position).add(offset).copy_to_nonoverlapping(NonNull::from(bytes).cast(), length) }
    }
}

/// Under loom a line is tracked objects, so a copy goes piece by piece; payload over a marker is a relaxed store.
#[cfg(loom)]
impl Lines {
    /// Copies into the body of the packet at `position`.
    ///
    /// # Safety
    /// The bytes lie in lines before the end of the ring that belong to the caller.
    pub(super) unsafe fn copy_in(&self, position: u32, offset: usize, bytes: &[u8]) {
        let mut done = 0;
        for piece in self.pieces(position, offset, bytes.len()) {
            let source = &bytes[done..done + piece.length];
            done += piece.length;
            if piece.start < MARKER_BYTES {
                let mut word = piece.line.marker.load(Ordering::Relaxed).to_ne_bytes();
                word[piece.start..][..piece.length].copy_from_slice(source);
                piece.line.marker.store(u32::from_ne_bytes(word), Ordering::Relaxed);
                continue;
            }
            piece.line.body.with_mut(|body| {
                // SAFETY: the line belongs to the caller, which is what loom checks.
                let body = unsafe { &mut *body };
                body[piece.start - MARKER_BYTES..][..piece.length].copy_from_slice(source);
            });
        }
    }

    /// Copies out of the body of the packet at `position`.
    ///
    /// # Safety
    /// As for `copy_in`.
    pub(super) unsafe fn copy_out(&self, position: u32, offset: usize, bytes: &mut [u8]) {
        let mut done = 0;
        for piece in self.pieces(position, offset, bytes.len()) {
            let target = &mut bytes[done..done + piece.length];
            done += piece.length;
            if piece.start < MARKER_BYTES {
                let word = piece.line.marker.load(Ordering::Relaxed).to_ne_bytes();
                target.copy_from_slice(&word[piece.start..][..piece.length]);
                continue;
            }
            piece.line.body.with(|body| {
                // SAFETY: the line belongs to the caller, which is what loom checks.
                let body = unsafe { &*body };
                target.copy_from_slice(&body[piece.start - MARKER_BYTES..][..piece.length]);
            });
        }
    }

    /// Cuts an access to a body at the ends of lines and behind their markers.
    fn pieces(&self, position: u32, offset: usize, length: usize) -> impl Iterator<Item = Piece<'_>> {
        let mut next = MARKER_BYTES + offset;
        let end = next + length;
        core::iter::from_fn(move || {
            let start = next % LINE_BYTES;
            let limit = if start < MARKER_BYTES { MARKER_BYTES } else { LINE_BYTES };
            let length = (end - next).min(limit - start);
            let line = self.line(position.wrapping_add((next / LINE_BYTES) as u32));
            next += length;
            // SAFETY: a line of the ring.
            (length > 0).then_some(Piece { line: unsafe { line.as_ref() }, start, length })
        })
    }
}

/// Part of an access that lies in one line's marker or in its body.
#[cfg(loom)]
struct Piece<'lines> {
    line: &'lines Line,
    /// Offset in the line.
    start: usize,
    length: usize,
}
