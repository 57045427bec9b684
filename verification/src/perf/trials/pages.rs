//! Pages: what huge ones save a permuted copy, and what a page costs when it is first used.
#![allow(unsafe_code)] // maps memory and touches it

use nix::sys::mman::{MapFlags, MmapAdvise};

use super::{
    Effort, TrialError,
    figure::{Figure, nanoseconds, shortest},
    kernel::Kernel,
    region::{Backing, Region, is_permuted, permuted},
};

/// Bytes of a small page.
const PAGE: usize = 4096;

/// Memory by what is behind it and which pages are asked for, and as the table has it. The first is the driver's arenas.
const MEMORY: [(&str, Backing, Option<MmapAdvise>); 5] = [
    ("memory file", Backing::File, None),
    ("memory file, MADV_HUGEPAGE", Backing::File, Some(MmapAdvise::MADV_HUGEPAGE)),
    ("memory file of 2 MiB pages", Backing::HugeFile, None),
    ("anonymous, MADV_NOHUGEPAGE", Backing::Anonymous, Some(MmapAdvise::MADV_NOHUGEPAGE)),
    ("anonymous, MADV_HUGEPAGE", Backing::Anonymous, Some(MmapAdvise::MADV_HUGEPAGE)),
];

/// Bytes from which and to which blocks go where caches hold both, though not those of one processor.
const WARM: usize = 4 << 20;

/// Nanoseconds of a permuted block of 4 KiB and of 16 KiB, by the pages below, of bytes that caches do not hold and that
/// they do.
pub(super) fn huge(effort: Effort) -> Result<Vec<Figure>, TrialError> {
    let mut figures = Vec::new();
    for (footprint, place) in [(effort.bytes, "cold"), (WARM.min(effort.bytes), "warm")] {
        for (bytes, size) in [(4 << 10, "4 KiB"), (16 << 10, "16 KiB")] {
            let what = format!("permuted blocks of {size}, {place}");
            for (variant, backing, advice) in MEMORY {
                let figure = match memory(backing, advice, footprint) {
                    Ok(pair) => block(effort, (&what, variant), bytes, pair)?,
                    Err(refused) => Figure::missing(&what, variant, "ns", &refused.to_string()),
                };
                figures.push(figure.default_if(variant == MEMORY[0].0));
            }
        }
    }
    Ok(figures)
}

/// A source and a target, all of whose pages are there.
fn memory(
    backing: Backing,
    advice: Option<MmapAdvise>,
    bytes: usize,
) -> Result<(Region, Region), TrialError> {
    let region = || {
        let region = Region::map(backing, bytes)?;
        advice.map_or(Ok(()), |advice| region.advise(advice))?;
        region.advise(MmapAdvise::MADV_POPULATE_WRITE)?;
        Ok::<_, TrialError>(region)
    };
    Ok((region()?, region()?))
}

fn block(
    effort: Effort,
    (what, variant): (&str, &str),
    bytes: usize,
    (mut source, mut target): (Region, Region),
) -> Result<Figure, TrialError> {
    source.number(bytes);
    let moves = permuted(&mut source, &mut target, bytes);
    // SAFETY: every processor has memcpy; blocks lie within two mappings of whole pages.
    let nanoseconds = nanoseconds(effort, || unsafe {
        Kernel::Memcpy.copy(&moves, bytes);
        Ok(())
    })?;
    if !is_permuted(&mut target, bytes) {
        return Err(TrialError::Corrupt { what: format!("{what}, {variant}") });
    }
    let huge = (source.huge_bytes() + target.huge_bytes()) >> 20;
    let of = (source.bytes().len() + target.bytes().len()) >> 20;
    let figure = Figure::new(what, variant, nanoseconds / moves.len() as f64, "ns");
    Ok(figure.noting(format!("{huge} of {of} MiB in huge pages by smaps")))
}

/// How pages come to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fill {
    /// By the first store to each.
    Touch,
    /// While the memory is mapped.
    Map,
    /// By one call afterwards.
    Advise,
    /// They are there: a store to each, and nothing else.
    Mapped,
}

/// Nanoseconds of a page from mapping it to having stored into it.
pub(super) fn faults(effort: Effort) -> Result<Vec<Figure>, TrialError> {
    let fills = [
        ("MADV_POPULATE_WRITE", Fill::Advise),
        ("MAP_POPULATE", Fill::Map),
        ("first touch", Fill::Touch),
        ("mapped before", Fill::Mapped),
    ];
    let mut figures = Vec::new();
    for (name, backing) in [("memory file", Backing::File), ("anonymous", Backing::Anonymous)] {
        let what = format!("a page of 4 KiB, {name}");
        for (variant, fill) in fills {
            let value = page(effort, backing, fill)?;
            figures.push(Figure::new(&what, variant, value, "ns").default_if(fill == Fill::Advise));
        }
    }
    Ok(figures)
}

fn page(effort: Effort, backing: Backing, fill: Fill) -> Result<f64, TrialError> {
    let pages = (effort.bytes / PAGE) as f64;
    if fill == Fill::Mapped {
        let mut region = Region::map(backing, effort.bytes)?;
        region.bytes().fill(1);
        return Ok(nanoseconds(effort, || {
            region.touch(PAGE);
            Ok(())
        })? / pages);
    }
    let flags = if fill == Fill::Map { MapFlags::MAP_POPULATE } else { MapFlags::empty() };
    // Files and their storage are made, and all is given back, outside of what is timed: only mapping is.
    let mut times = Vec::new();
    for _ in 0..effort.passes {
        let (region, nanoseconds) = Region::timed(backing, effort.bytes, flags, |region| {
            if backing == Backing::Anonymous {
                region.advise(MmapAdvise::MADV_NOHUGEPAGE)?;
            }
            if fill == Fill::Advise {
                region.advise(MmapAdvise::MADV_POPULATE_WRITE)?;
            }
            region.touch(PAGE);
            Ok(())
        })?;
        drop(region);
        times.push(nanoseconds);
    }
    Ok(shortest(&times) / pages)
}
