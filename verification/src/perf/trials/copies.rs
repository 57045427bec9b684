//! Copy kernels by size: of bytes that the caches hold, of bytes that they do not, and with the reader whom bytes are for.
#![allow(unsafe_code)] // runs kernels

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

/// Nanoseconds of a block of 16 KiB that is copied out of cold memory and read once the transfer is over: what stores past
/// the caches save the one who copies, the one who reads may have to pay.
pub(super) fn handed_on(effort: Effort) -> Result<Vec<Figure>, TrialError> {
    let mut source = Region::map(Backing::Anonymous, effort.bytes)?;
    let mut target = Region::map(Backing::Anonymous, effort.bytes)?;
    source.number(BLOCK);
    let mut figures = Vec::new();
    for (bytes, size) in TRANSFERS.into_iter().filter(|(bytes, _)| *bytes <= effort.bytes) {
        let what = format!("{size} of 16 KiB blocks, copied and read");
        for kernel in Kernel::ALL {
            if !kernel.is_here() {
                figures.push(Figure::missing(&what, kernel.name(), "ns", "not of this processor"));
                continue;
            }
            target.bytes().fill(0xff);
            let moves = permuted(&mut source, &mut target, BLOCK);
            // SAFETY: the kernel is here; blocks lie within two mappings of whole pages.
            let nanoseconds = nanoseconds(effort, || unsafe {
                for transfer in moves.chunks(bytes / BLOCK) {
                    kernel.copy(transfer, BLOCK);
                    read(transfer, BLOCK);
                }
                Ok(())
            })?;
            if !is_permuted(&mut target, BLOCK) {
                return Err(TrialError::Corrupt { what: format!("{what}, {}", kernel.name()) });
            }
            let value = nanoseconds / moves.len() as f64;
            figures.push(Figure::new(&what, kernel.name(), value, "ns").default_if(kernel == Kernel::Memcpy));
        }
    }
    Ok(figures)
}
