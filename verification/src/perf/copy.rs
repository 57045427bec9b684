//! memcpy loops: what a transfer within a host would cost if it were nothing but its copies.
#![allow(unsafe_code)] // runs a loop over addresses: one over slices costs more than the copies where nothing is optimised

use std::time::Instant;

use super::trials::{Kernel, Move};

/// Copies that are not timed: they touch the pages.
const WARM_UP: u32 = 2;

/// Copies whose times are taken.
const ITERATIONS: u32 = 20;

/// A loop over `blocks` blocks of `block_bytes` bytes, read in order and written at a permutation's places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CopyLoop {
    /// Blocks of one iteration.
    pub(super) blocks: usize,
    /// Bytes of a block.
    pub(super) block_bytes: usize,
}

impl CopyLoop {
    /// Median time of an iteration, in microseconds.
    pub(super) fn microseconds(self) -> f64 {
        let Self { blocks, block_bytes } = self;
        let source = vec![0x5a_u8; blocks * block_bytes];
        let mut target = vec![0_u8; blocks * block_bytes];
        let order = permutation(blocks);
        let mut times = Vec::new();
        let base = target.as_mut_ptr();
        let each = |(block, place): (&[u8], &usize)| Move {
            from: block.as_ptr(),
            to: base.wrapping_add(place * block_bytes),
        };
        let moves: Vec<Move> = source.chunks_exact(block_bytes).zip(&order).map(each).collect();
        for iteration in 0..WARM_UP + ITERATIONS {
            let start = Instant::now();
            // SAFETY: every processor has memcpy; blocks lie within two vectors, which nobody else has.
            unsafe { Kernel::Memcpy.copy(&moves, block_bytes) };
            if iteration >= WARM_UP {
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
        }
        median(&times)
    }

    /// GB/s (10^9 bytes a second) of an iteration of median time.
    pub(super) fn gigabytes(self) -> f64 {
        (self.blocks * self.block_bytes) as f64 / self.microseconds() / 1e3
    }
}

/// Every number below `count` once, in an order that looks random and is always the same.
pub(super) fn permutation(count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for last in (1..count).rev() {
        // xorshift64, Marsaglia 2003: good enough to defeat a prefetcher.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, (state % (last as u64 + 1)) as usize);
    }
    order
}

/// The middle of these figures, of an even number the mean of the two; not a number for none.
pub(super) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}
