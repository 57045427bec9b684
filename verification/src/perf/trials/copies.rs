//! Copy kernels by size: of bytes that the caches hold, of bytes that they do not, and with the reader whom bytes are for.
#![allow(unsafe_code)] // runs kernels

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use super::{
    Effort, TrialError,
    figure::{Figure, nanoseconds},
    kernel::{Kernel, Move, read},
    region::{Backing, Region, is_permuted, permuted},
};

/// Bytes of a block, and as the table has them.
const SIZES: [(usize, &str); 4] =
    [(64, "64 B"), (4 << 10, "4 KiB"), (16 << 10, "16 KiB"), (1 << 20, "1 MiB")];

/// Where the bytes are before they are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// One block, copied to one place over and over.
    Warm,
    /// Every block of the footprint once, to a permutation's places.
    Cold,
}

/// Nanoseconds of a block for each kernel, size and place; a block as large as the footprint ends the table.
pub(super) fn kernels(effort: Effort) -> Result<Vec<Figure>, TrialError> {
    let mut source = Region::map(Backing::Anonymous, effort.bytes)?;
    let mut target = Region::map(Backing::Anonymous, effort.bytes)?;
    target.bytes().fill(0xff);
    let whole = (effort.bytes, "all at once");
    let mut figures = Vec::new();
    for (bytes, size) in SIZES.into_iter().chain([whole]).filter(|(bytes, _)| *bytes <= effort.bytes) {
        source.number(bytes);
        for place in [Place::Warm, Place::Cold] {
            if place == Place::Warm && bytes == effort.bytes {
                continue;
            }
            let what = format!("copy, {size}, {}", if place == Place::Warm { "warm" } else { "cold" });
            for kernel in Kernel::ALL {
                figures.push(figure(effort, (&what, place), kernel, bytes, (&mut source, &mut target))?);
            }
        }
    }
    Ok(figures)
}

fn figure(
    effort: Effort,
    (what, place): (&str, Place),
    kernel: Kernel,
    bytes: usize,
    (source, target): (&mut Region, &mut Region),
) -> Result<Figure, TrialError> {
    if !kernel.is_here() {
        return Ok(Figure::missing(what, kernel.name(), "ns", "not of this processor"));
    }
    let moves = match place {
        Place::Cold => permuted(source, target, bytes),
        Place::Warm => {
            vec![Move { from: source.base(), to: target.base() }; (effort.bytes / bytes).min(1 << 16)]
        }
    };
    if place == Place::Cold {
        target.bytes().fill(0xff);
    }
    // SAFETY: the kernel is here; blocks are multiples of 64 bytes, lie within mappings of whole pages, one of which is
    // the source's and one the target's.
    let nanoseconds = nanoseconds(effort, || unsafe {
        kernel.copy(&moves, bytes);
        Ok(())
    })?;
    if place == Place::Cold && !is_permuted(target, bytes) {
        return Err(TrialError::Corrupt { what: format!("{what}, {}", kernel.name()) });
    }
    let value = nanoseconds / moves.len() as f64;
    let rate = bytes as f64 / value;
    let figure = Figure::new(what, kernel.name(), value, "ns").noting(format!("{rate:.1} GB/s"));
    Ok(figure.default_if(kernel == Kernel::Memcpy))
}

/// Bytes of a transfer that is read when it is over, and as the table has them.
const TRANSFERS: [(usize, &str); 4] =
    [(256 << 10, "256 KiB"), (1 << 20, "1 MiB"), (8 << 20, "8 MiB"), (64 << 20, "64 MiB")];

/// Bytes of its blocks.
const BLOCK: usize = 16 << 10;

/// Who reads what was copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// The thread that has copied it.
    Here,
    /// Another, on another processor where there is one.
    There,
}

/// Nanoseconds of a block of 16 KiB that is copied out of cold memory and read once the transfer is over: what stores past
/// the caches save the one who copies, the one who reads may have to pay.
pub(super) fn handed_on(effort: Effort) -> Result<Vec<Figure>, TrialError> {
    let mut source = Region::map(Backing::Anonymous, effort.bytes)?;
    let mut target = Region::map(Backing::Anonymous, effort.bytes)?;
    source.number(BLOCK);
    let mut figures = Vec::new();
    for (reader, by) in [(Reader::Here, "copied and read"), (Reader::There, "read by another thread")] {
        for (bytes, size) in TRANSFERS.into_iter().filter(|(bytes, _)| *bytes <= effort.bytes) {
            let what = format!("{size} of 16 KiB blocks, {by}");
            for kernel in Kernel::ALL {
                if !kernel.is_here() {
                    figures.push(Figure::missing(&what, kernel.name(), "ns", "not of this processor"));
                    continue;
                }
                target.bytes().fill(0xff);
                let moves = permuted(&mut source, &mut target, BLOCK);
                // SAFETY: the kernel is here; blocks lie within two mappings of whole pages.
                let nanoseconds = unsafe { transfers(effort, kernel, &moves, bytes / BLOCK, reader) }?;
                if !is_permuted(&mut target, BLOCK) {
                    return Err(TrialError::Corrupt { what: format!("{what}, {}", kernel.name()) });
                }
                let value = nanoseconds / moves.len() as f64;
                figures.push(
                    Figure::new(&what, kernel.name(), value, "ns").default_if(kernel == Kernel::Memcpy),
                );
            }
        }
    }
    Ok(figures)
}

/// Nanoseconds of all moves, `count` in a transfer, each of which is read before the next begins.
///
/// # Safety
/// As [`Kernel::copy`], of blocks of [`BLOCK`] bytes.
unsafe fn transfers(
    effort: Effort,
    kernel: Kernel,
    moves: &[Move],
    count: usize,
    reader: Reader,
) -> Result<f64, TrialError> {
    let handover = Handover::new(moves, count);
    thread::scope(|scope| {
        if reader == Reader::There {
            scope.spawn(|| handover.read_all());
        }
        let value = nanoseconds(effort, || {
            for transfer in moves.chunks(count) {
                // SAFETY: the caller's promise.
                unsafe { kernel.copy(transfer, BLOCK) };
                match reader {
                    // SAFETY: the same.
                    Reader::Here => unsafe { read(transfer, BLOCK) },
                    Reader::There => handover.give(),
                }
            }
            Ok(())
        });
        handover.end();
        value
    })
}

/// Transfers that one thread makes and another reads, in turns.
struct Handover<'a> {
    moves: &'a [Move],
    /// Moves of a transfer.
    count: usize,
    /// Transfers made, over all passes; [`Handover::OVER`] when there will be no more.
    made: AtomicUsize,
    /// Transfers read.
    read: AtomicUsize,
}

// SAFETY: the moves are addresses, which are read by both and changed by none. The bytes at them are one thread's at a time:
// `made` and `read` hand them over and back, with release and acquire.
unsafe impl Sync for Handover<'_> {}

impl<'a> Handover<'a> {
    const OVER: usize = usize::MAX;

    const fn new(moves: &'a [Move], count: usize) -> Self {
        Self { moves, count, made: AtomicUsize::new(0), read: AtomicUsize::new(0) }
    }

    /// Hands a transfer over and waits until it is read.
    fn give(&self) {
        let made = self.made.load(Ordering::Relaxed) + 1;
        self.made.store(made, Ordering::Release);
        while self.read.load(Ordering::Acquire) != made {
            thread::yield_now();
        }
    }

    /// Tells the reader that nothing more comes.
    fn end(&self) {
        self.made.store(Self::OVER, Ordering::Release);
    }

    /// Reads what is handed over, until the end; gives how many transfers that were.
    fn read_all(&self) -> usize {
        let mut transfers = self.moves.chunks(self.count).cycle();
        loop {
            let done = self.read.load(Ordering::Relaxed);
            match self.made.load(Ordering::Acquire) {
                Self::OVER => return done,
                made if made == done => thread::yield_now(),
                _ => {
                    let transfer = transfers.next().unwrap_or_default();
                    // SAFETY: readable blocks by the promise of `transfers`, and this thread's turn.
                    unsafe { read(transfer, BLOCK) };
                    self.read.store(done + 1, Ordering::Release);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_reads_each_transfer_once_and_ends() {
        let mut source = Region::map(Backing::Anonymous, 8 * BLOCK).expect("memory");
        let mut target = Region::map(Backing::Anonymous, 8 * BLOCK).expect("memory");
        let moves = permuted(&mut source, &mut target, BLOCK);
        let handover = Handover::new(&moves, 3);
        thread::scope(|scope| {
            let reader = scope.spawn(|| handover.read_all());
            let each = |_| {
                handover.give();
                handover.read.load(Ordering::Acquire)
            };
            let read: Vec<usize> = (0..7).map(each).collect();
            handover.end();
            assert_eq!(reader.join().ok(), Some(7));
            assert_eq!(read, [1, 2, 3, 4, 5, 6, 7]);
        });
    }

    #[test]
    fn what_is_read_elsewhere_has_arrived() {
        let effort = Effort { bytes: 8 * BLOCK, passes: 2, milliseconds: 1 };
        for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_here()) {
            for reader in [Reader::Here, Reader::There] {
                let mut source = Region::map(Backing::Anonymous, effort.bytes).expect("memory");
                let mut target = Region::map(Backing::Anonymous, effort.bytes).expect("memory");
                source.number(BLOCK);
                let moves = permuted(&mut source, &mut target, BLOCK);
                // SAFETY: the kernel is here; blocks lie within two mappings of whole pages.
                let nanoseconds = unsafe { transfers(effort, kernel, &moves, 3, reader) };
                assert!(nanoseconds.is_ok_and(|time| time > 0.0), "{kernel:?}, {reader:?}");
                assert!(is_permuted(&mut target, BLOCK), "{kernel:?}, {reader:?}");
            }
        }
    }
}
