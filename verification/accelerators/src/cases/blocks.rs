//! Blocks between block tables, against a naive result.
#![allow(unsafe_code)] // copies between plain addresses

use pmd_core::accelerator::{AcceleratorError, BlockCopies, BlockPair, BlockTable, CopyDirection, Stream};

use super::{Case, case};
use crate::context::{Context, Outcome, Random, address, pattern};

pub(super) const CASES: &[Case] = &[
    case("blocks::permutations_of_blocks_are_what_a_loop_makes", permutations),
    case("blocks::blocks_go_from_and_to_the_host", host),
    case("blocks::no_blocks_copy_nothing", nothing),
    case("blocks::a_block_beyond_the_address_space_is_refused", beyond),
];

/// Tables of so many blocks, and strides that are more than a block.
#[derive(Clone, Copy)]
struct Shape {
    blocks: usize,
    bytes: usize,
    from_stride: usize,
    to_stride: usize,
}

const SHAPES: &[Shape] = &[
    Shape { blocks: 1, bytes: 1, from_stride: 1, to_stride: 3 },
    Shape { blocks: 65, bytes: 61, from_stride: 64, to_stride: 61 },
    Shape { blocks: 300, bytes: 256, from_stride: 256, to_stride: 512 },
    Shape { blocks: 1000, bytes: 4096, from_stride: 4096, to_stride: 4096 },
];

impl Shape {
    /// Every other block of a permutation, so that some are left alone.
    fn pairs(&self, seed: u64) -> Vec<BlockPair> {
        let mut random = Random::new(seed);
        let (from, to) = (random.permutation(self.blocks), random.permutation(self.blocks));
        let pairs = from.into_iter().zip(to).map(|(from, to)| BlockPair { from, to });
        pairs.take(self.blocks.div_ceil(2).max(1)).collect()
    }

    /// What a loop makes of it.
    fn naive(&self, pairs: &[BlockPair], from: &[u8], to: &mut [u8]) {
        for pair in pairs {
            let (read, written) = (pair.from as usize * self.from_stride, pair.to as usize * self.to_stride);
            to[written..written + self.bytes].copy_from_slice(&from[read..read + self.bytes]);
        }
    }

    fn copies<'a>(
        &self,
        from: u64,
        to: u64,
        pairs: &'a [BlockPair],
        direction: CopyDirection,
    ) -> BlockCopies<'a> {
        BlockCopies {
            from: BlockTable { base: from, stride: self.from_stride as u64 },
            to: BlockTable { base: to, stride: self.to_stride as u64 },
            block_bytes: self.bytes as u64,
            pairs,
            direction,
        }
    }
}

/// The case keeps both tables until it has waited.
fn copy(stream: &dyn Stream, copies: &BlockCopies<'_>) -> Result<(), AcceleratorError> {
    // SAFETY: the case's promise; pairs are of permutations, and the tables are apart.
    unsafe { stream.copy_blocks(copies) }
}

fn permutations(context: &Context) -> Outcome {
    let stream = context.stream();
    for (seed, shape) in (0..).zip(SHAPES) {
        let pairs = shape.pairs(seed);
        let source = pattern(20 + seed, shape.blocks * shape.from_stride);
        let mut wanted = pattern(40 + seed, shape.blocks * shape.to_stride);
        let (from, to) = (context.uploaded(&source), context.uploaded(&wanted));
        let copies = shape.copies(address(&*from), address(&*to), &pairs, CopyDirection::DeviceToDevice);
        copy(&*stream, &copies).expect("copying");
        context.finish(&*stream);
        shape.naive(&pairs, &source, &mut wanted);
        assert!(context.download(&*to, 0, wanted.len()) == wanted, "{} blocks", shape.blocks);
    }
    Ok(())
}

fn host(context: &Context) -> Outcome {
    let shape = &SHAPES[2];
    let (pairs, stream) = (shape.pairs(9), context.stream());
    let source = pattern(60, shape.blocks * shape.from_stride);
    let mut wanted = pattern(61, shape.blocks * shape.to_stride);
    let (host, device) = (context.pinned(&source), context.uploaded(&wanted));
    let there = shape.copies(host.address(), address(&*device), &pairs, CopyDirection::HostToDevice);
    copy(&*stream, &there).expect("copying");
    context.finish(&*stream);
    shape.naive(&pairs, &source, &mut wanted);
    assert!(context.download(&*device, 0, wanted.len()) == wanted, "to the device");

    let device = context.uploaded(&source);
    let mut wanted = pattern(62, shape.blocks * shape.to_stride);
    let host = context.pinned(&wanted);
    let back = shape.copies(address(&*device), host.address(), &pairs, CopyDirection::DeviceToHost);
    copy(&*stream, &back).expect("copying");
    context.finish(&*stream);
    shape.naive(&pairs, &source, &mut wanted);
    assert!(host.read() == wanted, "to the host");
    Ok(())
}

fn nothing(context: &Context) -> Outcome {
    let memory = context.uploaded(&pattern(1, 512));
    let stream = context.stream();
    let base = address(&*memory);
    copy(&*stream, &SHAPES[1].copies(base, base + 256, &[], CopyDirection::DeviceToDevice))
        .expect("no blocks");
    context.finish(&*stream);
    assert!(context.download(&*memory, 0, 512) == pattern(1, 512));
    Ok(())
}

fn beyond(context: &Context) -> Outcome {
    let memory = context.uploaded(&pattern(1, 512));
    let (stream, pairs) = (context.stream(), [BlockPair { from: u32::MAX, to: 0 }]);
    let shape = Shape { from_stride: 1 << 40, ..SHAPES[1] };
    let copies = shape.copies(u64::MAX - 4096, address(&*memory), &pairs, CopyDirection::DeviceToDevice);
    let refused = copy(&*stream, &copies).expect_err("beyond the address space");
    assert!(matches!(refused, AcceleratorError::Range { .. }), "{refused}");
    assert!(context.download(&*memory, 0, 512) == pattern(1, 512));
    Ok(())
}
