//! What moves: layers, and blocks or tokens of them.

use std::ops::Range;

use crate::layout::CacheLayout;

/// Which part of a cache moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection<'a> {
    /// Layers of both sides.
    pub layers: LayerMap,
    /// Blocks of each tensor of those layers.
    pub blocks: BlockMap<'a>,
}

/// Which layers go where: the sending side's `source` to as many of the receiving side, from `destination` on.
///
/// A range converts into the map that keeps the numbers. They differ where pipeline stages hold layers under numbers of
/// their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LayerMap {
    /// Layers of the sending side, half-open.
    pub source: Range<u32>,
    /// Layer of the receiving side that the first of them goes to.
    pub destination: u32,
}

/// Which block goes where. Block numbers index a tensor's blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlockMap<'a> {
    /// Every block to the block of the same number; both caches have equally many.
    Identity,
    /// Block `source[i]` of the sending side to block `destination[i]` of the receiving side.
    Table {
        /// Block numbers where the bytes come from; may repeat.
        source: &'a [u32],
        /// Block numbers where they go; none twice.
        destination: &'a [u32],
    },
    /// As [`BlockMap::Table`], for tables of equal steps.
    Strided {
        /// Block numbers where the bytes come from.
        source: BlockRun,
        /// Block numbers where they go.
        destination: BlockRun,
    },
    /// The same tokens, whatever blocks each side cuts them into: token `source.first + i` of the sending side becomes
    /// token `destination.first + i` of the receiving side. Both caches say what is in a block
    /// ([`CacheLayout::of_tokens`]).
    Tokens {
        /// Where the tokens come from.
        source: TokenSpan<'a>,
        /// Where they go.
        destination: TokenSpan<'a>,
        /// How many.
        count: u64,
    },
}

/// Block numbers at one distance: `first`, `first + step`, and so on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BlockRun {
    /// First number.
    pub first: u32,
    /// From one to the next.
    pub step: u32,
    /// How many.
    pub count: u32,
}

/// A sequence's tokens on one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TokenSpan<'a> {
    /// The sequence's blocks, in the order of its tokens. On the receiving side none twice.
    pub blocks: &'a [u32],
    /// First token that moves, counted from the beginning of the first block.
    pub first: u64,
}

impl<'a> Selection<'a> {
    /// Blocks of some layers; a range of layers keeps their numbers.
    #[must_use]
    pub fn new(layers: impl Into<LayerMap>, blocks: BlockMap<'a>) -> Self {
        Self { layers: layers.into(), blocks }
    }

    /// Everything.
    #[must_use]
    pub const fn whole(layout: &CacheLayout) -> Self {
        Self { layers: LayerMap { source: 0..layout.layers(), destination: 0 }, blocks: BlockMap::Identity }
    }
}

impl LayerMap {
    /// Layers on the receiving side.
    #[must_use]
    pub fn destinations(&self) -> Range<u32> {
        self.destination..self.destination.saturating_add(self.source.end.saturating_sub(self.source.start))
    }

    /// Layers that move.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.source.len() as u32
    }
}

impl From<Range<u32>> for LayerMap {
    fn from(layers: Range<u32>) -> Self {
        Self { destination: layers.start, source: layers }
    }
}

impl BlockRun {
    /// Number at a place of the run.
    #[must_use]
    pub const fn number(&self, place: u32) -> u32 {
        self.first + place * self.step
    }

    /// The last number, or `None` when there is none or it does not fit.
    pub(super) fn last(&self) -> Option<u32> {
        self.count.checked_sub(1)?.checked_mul(self.step)?.checked_add(self.first)
    }
}
