//! Every trial gives its lines, and moves bytes to where they belong; no test looks at a time.
#![allow(unsafe_code)] // runs kernels

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Effort, TRIALS,
    figure::{Figure, ratio, render},
    kernel::{Kernel, Move, UNIT},
    region::{Backing, Region, huge_bytes, is_block, is_permuted, permuted},
};

/// Everything is done, as little as possible of it.
const LITTLE: Effort = Effort { bytes: 1 << 20, passes: 1, milliseconds: 1 };

#[test]
fn every_trial_gives_its_lines() {
    let names: BTreeSet<&str> = TRIALS.iter().map(|trial| trial.name).collect();
    assert_eq!(names.len(), TRIALS.len());
    for trial in &TRIALS {
        let figures = (trial.run)(LITTLE).unwrap_or_else(|error| panic!("{}: {error}", trial.name));
        let mut groups: BTreeMap<&str, Vec<&Figure>> = BTreeMap::new();
        figures.iter().for_each(|figure| groups.entry(&figure.what).or_default().push(figure));
        for (group, figures) in groups {
            let variants: BTreeSet<&str> = figures.iter().map(|figure| figure.variant.as_str()).collect();
            assert_eq!(variants.len(), figures.len(), "{group} has a variant twice");
            assert!(figures.len() > 1, "{group} has nothing beside it");
            let defaults: Vec<_> = figures.iter().filter(|figure| figure.is_default).collect();
            assert!(matches!(defaults[..], [default] if default.value.is_some()), "{group}: {defaults:?}");
            for figure in &figures {
                // What is missing says why.
                assert!(
                    figure.value.is_some_and(|value| value > 0.0) || !figure.note.is_empty(),
                    "{figure:?}"
                );
                assert_eq!(figure.unit, defaults[0].unit);
            }
        }
    }
}

#[test]
fn every_kernel_copies_exactly() {
    for kernel in Kernel::ALL.into_iter().filter(|kernel| kernel.is_here()) {
        for length in [UNIT, 3 * UNIT, 4096, 5 * 4096] {
            // Three blocks with gaps behind them, written from back to front.
            let stride = length + UNIT;
            let mut source = Region::map(Backing::Anonymous, 3 * stride).expect("memory");
            let mut target = Region::map(Backing::Anonymous, 3 * stride).expect("memory");
            let noise = |at: usize| (at.wrapping_mul(2_654_435_761) >> 7) as u8;
            source.bytes().iter_mut().enumerate().for_each(|(at, byte)| *byte = noise(at));
            target.bytes().fill(0xaa);
            let each = |block: usize| Move {
                from: source.base().wrapping_add(block * stride).cast_const(),
                to: target.base().wrapping_add((2 - block) * stride),
            };
            let moves = [0, 1, 2].map(each);
            // SAFETY: the kernel is here; blocks and their gaps are multiples of 64 bytes within two mappings.
            unsafe { kernel.copy(&moves, length) };
            for (at, byte) in target.bytes().iter().enumerate() {
                let (block, offset) = (2 - at / stride, at % stride);
                let expected = if offset < length { noise(block * stride + offset) } else { 0xaa };
                assert_eq!(*byte, expected, "{kernel:?} of {length}, byte {at}");
            }
        }
        // SAFETY: nothing is moved.
        unsafe { kernel.copy(&[], UNIT) };
    }
}

#[test]
fn permuted_moves_fill_every_place_once() {
    let (blocks, bytes) = (256, 4096);
    let mut source = Region::map(Backing::Anonymous, blocks * bytes).expect("memory");
    let mut target = Region::map(Backing::File, blocks * bytes).expect("memory");
    source.number(bytes);
    assert!((0..blocks).all(|number| is_block(&source.bytes()[number * bytes..][..bytes], number)));
    let moves = permuted(&mut source, &mut target, bytes);
    let places: BTreeSet<usize> = moves.iter().map(|each| each.to.addr() - target.base().addr()).collect();
    assert_eq!(places, (0..blocks).map(|block| block * bytes).collect());
    // SAFETY: every processor has memcpy; blocks lie within two mappings.
    unsafe { Kernel::Memcpy.copy(&moves, bytes) };
    assert!(is_permuted(&mut target, bytes));
    target.bytes()[17 * bytes + 4095] ^= 1;
    assert!(!is_permuted(&mut target, bytes));
}

#[test]
fn huge_pages_are_read_from_the_mapping_that_holds_an_address() {
    let smaps = "1000-3000 rw-p 00000000 00:00 0\nSize: 8 kB\nAnonHugePages:      2048 kB\nShmemPmdMapped:        0 kB\n\
                 3000-5000 rw-s 00000000 00:01 7 /memfd:x\nAnonHugePages: 0 kB\nShmemPmdMapped: 4096 kB\n";
    assert_eq!(huge_bytes(smaps, 0x1000), 2 << 20);
    assert_eq!(huge_bytes(smaps, 0x2fff), 2 << 20);
    assert_eq!(huge_bytes(smaps, 0x3000), 4 << 20);
    assert_eq!(huge_bytes(smaps, 0x5000), 0);
}

#[test]
fn lines_stand_beside_the_drivers() {
    let figures = [
        Figure::new("a copy", "plainly", 2.0, "ns").default_if(true),
        Figure::new("a copy", "cleverly", 1.0, "ns").noting("with luck"),
        Figure::missing("a copy", "magically", "ns", "no wand"),
        Figure::new("a call", "once", 7.0, "us"),
    ];
    assert_eq!(ratio(&figures[1], &figures), Some(0.5));
    assert_eq!(ratio(&figures[2], &figures), None);
    assert_eq!(ratio(&figures[3], &figures), None);
    let text = render(&figures);
    let line = |variant: &str| {
        let line = text.lines().find(|line| line.contains(variant)).expect(variant);
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("plainly").last().map(String::as_str), Some("driver"));
    assert!(line("cleverly").join(" ").ends_with("ns 0.50 with luck"));
    assert!(line("magically").join(" ").ends_with("- ns no wand"));
}
