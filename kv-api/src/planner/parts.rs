//! Which tokens of which blocks go where: the block map walked part by part.

use super::{BlockMap, cut::Ends};

/// Tokens that are in one block on either side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) source: Slot,
    pub(super) destination: Slot,
    pub(super) tokens: u32,
}

/// A token's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) block: u32,
    pub(super) token: u32,
}

/// Tokens of a block, on the sending and on the receiving side.
#[derive(Clone, Copy, Debug)]
pub(super) struct BlockTokens {
    pub(super) source: u32,
    pub(super) destination: u32,
}

impl BlockTokens {
    pub(super) const fn new(tokens: Ends<u32>, local_is_source: bool) -> Self {
        if local_is_source {
            Self { source: tokens.local, destination: tokens.remote }
        } else {
            Self { source: tokens.remote, destination: tokens.local }
        }
    }
}

/// Hands every part to `sink`, in the order of the map.
#[inline]
pub(super) fn for_each(blocks: &BlockMap<'_>, tokens: BlockTokens, all: u32, mut sink: impl FnMut(Part)) {
    let mut whole = |source: u32, destination: u32| {
        let slot = |block| Slot { block, token: 0 };
        sink(Part { source: slot(source), destination: slot(destination), tokens: tokens.source });
    };
    match blocks {
        BlockMap::Identity => (0..all).for_each(|block| whole(block, block)),
        BlockMap::Table { source, destination } => {
            source.iter().zip(*destination).for_each(|(from, to)| whole(*from, *to));
        }
        BlockMap::Strided { source, destination } => {
            (0..source.count).for_each(|place| whole(source.number(place), destination.number(place)));
        }
        BlockMap::Tokens { source, destination, count } => {
            let mut done = 0;
            while done < *count {
                let (from, from_left) = slot(source.blocks, source.first + done, tokens.source);
                let (to, to_left) = slot(destination.blocks, destination.first + done, tokens.destination);
                let together = u64::from(from_left.min(to_left)).min(count - done);
                sink(Part { source: from, destination: to, tokens: together as u32 });
                done += together;
            }
        }
    }
}

/// Where a sequence's token is, and how many tokens are left in its block from there on.
fn slot(blocks: &[u32], token: u64, per_block: u32) -> (Slot, u32) {
    let (block, within) = (token / u64::from(per_block), (token % u64::from(per_block)) as u32);
    (Slot { block: blocks[block as usize], token: within }, per_block - within)
}
