//! Which blocks of a transfer are not proven to have moved.

use std::ops::Range;

use pmd_host::transfer::{self, LocalPiece, WorkListBuilder, WorkListLimits};
use serde::{Deserialize, Serialize};

use super::{Direction, Plan};

/// Blocks of some layers of one cache, in a few bytes for each stretch of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockSet {
    extents: Vec<BlockExtent>,
}

/// The same blocks of neighbouring layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockExtent {
    /// Layers, half-open.
    pub layers: Range<u32>,
    /// Block numbers, as ascending half-open ranges.
    pub blocks: Vec<Range<u32>>,
}

/// Which cache of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// This process's.
    Local,
    /// The peer's.
    Remote,
}

impl BlockSet {
    /// The stretches, in the order of the layers.
    #[must_use]
    pub fn extents(&self) -> &[BlockExtent] {
        &self.extents
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.extents.is_empty()
    }

    /// Whether a block is among them.
    #[must_use]
    pub fn contains(&self, layer: u32, block: u32) -> bool {
        let holds = |extent: &&BlockExtent| {
            extent.layers.contains(&layer) && extent.blocks.iter().any(|range| range.contains(&block))
        };
        self.extents.iter().any(|extent| holds(&extent))
    }

    /// How many there are, each layer's counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        let of = |extent: &BlockExtent| {
            let blocks: u64 = extent.blocks.iter().map(|range| range.len() as u64).sum();
            extent.layers.len() as u64 * blocks
        };
        self.extents.iter().map(of).sum()
    }

    /// Adds the blocks of the layer behind the last one.
    fn push(&mut self, layer: u32, mut blocks: Vec<u32>) {
        if blocks.is_empty() {
            return;
        }
        blocks.sort_unstable();
        let mut ranges = Vec::<Range<u32>>::new();
        for block in blocks {
            match ranges.last_mut() {
                Some(last) if block < last.end => {}
                Some(last) if block == last.end => last.end += 1,
                _ => ranges.push(block..block + 1),
            }
        }
        match self.extents.last_mut() {
            Some(last) if last.layers.end == layer && last.blocks == ranges => last.layers.end += 1,
            _ => self.extents.push(BlockExtent { layers: layer..layer + 1, blocks: ranges }),
        }
    }
}

impl Plan<'_> {
    /// Blocks of one end of which some bytes are not proven to have moved, when the first `landed` work requests are:
    /// of those that [`WorkListBuilder`] makes with these limits.
    #[must_use]
    pub fn unproven(&self, limits: WorkListLimits, landed: usize, end: End) -> BlockSet {
        let direction = match self.direction {
            Direction::Pull => transfer::Direction::Read,
            Direction::Push => transfer::Direction::Write,
        };
        let mut builder = WorkListBuilder::new(direction, limits);
        let (mut set, mut current, mut blocks) = (BlockSet::default(), None, Vec::new());
        self.walk(|origin, piece| {
            let local = LocalPiece { address: piece.local, length: piece.length, key: piece.local_key };
            builder.push(local, piece.remote);
            let (layer, block) = match end {
                End::Local => (origin.layer.local, origin.block.local),
                End::Remote => (origin.layer.remote, origin.block.remote),
            };
            if current != Some(layer) {
                set.push(current.unwrap_or(layer), std::mem::take(&mut blocks));
                current = Some(layer);
            }
            if builder.work_requests() > landed && blocks.last() != Some(&block) {
                blocks.push(block);
            }
        });
        if let Some(layer) = current {
            set.push(layer, blocks);
        }
        set
    }
}
