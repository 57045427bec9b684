//! From block tables to pieces of memory: checks a selection against both caches and walks it, tensor by tensor,
//! block by block, in an order that lets neighbouring blocks merge.
//!
//! Called by the engine once per transfer; the pieces go straight into a
//! [`WorkListBuilder`](pmd_host::transfer::WorkListBuilder), which does the merging.

use std::ops::Range;

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey};
use thiserror::Error;

use crate::layout::{CacheLayout, Placement};

/// Which part of a cache moves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection<'a> {
    /// Layers, half-open; the same on both sides.
    pub layers: Range<u32>,
    /// Blocks of each tensor of those layers.
    pub blocks: BlockMap<'a>,
}

impl Selection<'_> {
    /// Everything.
    #[must_use]
    pub const fn whole(layout: &CacheLayout) -> Self {
        Self { layers: 0..layout.layers(), blocks: BlockMap::Identity }
    }
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
}

/// Which way the bytes go, seen from the local side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Remote to local, by RDMA READ.
    Pull,
    /// Local to remote, by RDMA WRITE.
    Push,
}

/// A cache as one side of a transfer.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// Shape.
    pub layout: &'a CacheLayout,
    /// Addresses, with lkeys on the local side and rkeys on the remote one.
    pub placement: &'a Placement,
}

/// One contiguous piece of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Address in this process.
    pub local: u64,
    /// Its key.
    pub local_key: LocalKey,
    /// Address and key at the peer.
    pub remote: RemoteAddress,
    /// Bytes.
    pub length: u64,
}

/// A selection that was checked against both sides.
#[derive(Debug)]
pub struct Plan<'a> {
    direction: Direction,
    local: Side<'a>,
    remote: Side<'a>,
    layers: Range<u32>,
    blocks: BlockMap<'a>,
    /// Entries of the table in the order in which they merge best, where that is not the table's own.
    order: Option<Vec<u32>>,
}

impl<'a> Plan<'a> {
    /// Checks `selection` against both caches.
    ///
    /// # Errors
    /// [`PlanError`] names the first thing that does not fit.
    pub fn new(
        direction: Direction,
        local: Side<'a>,
        remote: Side<'a>,
        selection: Selection<'a>,
    ) -> Result<Self, PlanError> {
        check_layouts(local.layout, remote.layout)?;
        check_layers(&selection.layers, local.layout)?;
        let (source, destination) = match direction {
            Direction::Pull => (remote.layout, local.layout),
            Direction::Push => (local.layout, remote.layout),
        };
        check_blocks(&selection.blocks, source.blocks(), destination.blocks())?;
        let order = match (direction, &selection.blocks) {
            (_, BlockMap::Identity) => None,
            (Direction::Pull, BlockMap::Table { source, .. }) => by_remote_block(source, remote),
            (Direction::Push, BlockMap::Table { destination, .. }) => by_remote_block(destination, remote),
        };
        Ok(Self { direction, local, remote, layers: selection.layers, blocks: selection.blocks, order })
    }

    /// Pieces before merging.
    #[must_use]
    pub fn pieces(&self) -> u64 {
        let per_tensor = match &self.blocks {
            BlockMap::Identity => u64::from(self.local.layout.blocks()),
            BlockMap::Table { source, .. } => source.len() as u64,
        };
        self.tensors().len() as u64 * per_tensor
    }

    /// Bytes that move.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.pieces() * self.local.layout.block_bytes()
    }

    /// Hands every piece to `sink`: layers in order, within a tensor the blocks in the order of the table, or of their
    /// place at the peer where that lets more of them share a work request.
    pub fn for_each_piece(&self, mut sink: impl FnMut(Piece)) {
        let length = self.local.layout.block_bytes();
        for tensor in self.tensors() {
            let (Some(local), Some(remote)) =
                (self.local.placement.tensor(tensor), self.remote.placement.tensor(tensor))
            else {
                continue; // Placements place every tensor of their layout, and both layouts agree.
            };
            let mut piece = |source: u32, destination: u32| {
                let (local_block, remote_block) = match self.direction {
                    Direction::Pull => (destination, source),
                    Direction::Push => (source, destination),
                };
                sink(Piece {
                    local: local.block(local_block),
                    local_key: LocalKey(local.key),
                    remote: RemoteAddress { address: remote.block(remote_block), key: RemoteKey(remote.key) },
                    length,
                });
            };
            match (&self.blocks, &self.order) {
                (BlockMap::Identity, _) => {
                    (0..self.local.layout.blocks()).for_each(|block| piece(block, block));
                }
                (BlockMap::Table { source, destination }, Some(order)) => order
                    .iter()
                    .for_each(|entry| piece(source[*entry as usize], destination[*entry as usize])),
                (BlockMap::Table { source, destination }, None) => {
                    source.iter().zip(*destination).for_each(|(from, to)| piece(*from, *to));
                }
            }
        }
    }

    fn tensors(&self) -> Range<u32> {
        let per_layer = self.local.layout.tensors_per_layer();
        self.layers.start * per_layer..self.layers.end * per_layer
    }
}

/// Entries of a table by ascending block number at the peer. A work request gathers pieces from anywhere in this process
/// but covers one range at the peer, so this order takes the fewest; pieces that are neighbours on both sides stay
/// neighbours. `None` where the table's own order is as good: it ascends, a block repeats, the peer's blocks do not
/// touch, or the table names so few of them that neighbours are rare.
fn by_remote_block(table: &[u32], remote: Side<'_>) -> Option<Vec<u32>> {
    const SPARSEST: usize = 8;
    let (blocks, size) = (remote.layout.blocks() as usize, remote.layout.block_bytes());
    let touching = remote.placement.runs().iter().all(|run| run.block_stride == size);
    if !touching || table.is_sorted() || blocks / SPARSEST > table.len() {
        return None;
    }
    let mut entries = vec![u32::MAX; blocks];
    for (entry, block) in (0..).zip(table) {
        let place = &mut entries[*block as usize];
        if *place != u32::MAX {
            return None;
        }
        *place = entry;
    }
    entries.retain(|entry| *entry != u32::MAX);
    Some(entries)
}

fn check_layouts(local: &CacheLayout, remote: &CacheLayout) -> Result<(), PlanError> {
    let pairs = [
        ("layers", u64::from(local.layers()), u64::from(remote.layers())),
        ("tensors per layer", u64::from(local.tensors_per_layer()), u64::from(remote.tensors_per_layer())),
        ("bytes per block", local.block_bytes(), remote.block_bytes()),
    ];
    match pairs.into_iter().find(|(_, local, remote)| local != remote) {
        Some((what, local, remote)) => Err(PlanError::Mismatch { what, local, remote }),
        None => Ok(()),
    }
}

fn check_layers(layers: &Range<u32>, layout: &CacheLayout) -> Result<(), PlanError> {
    if layers.start >= layers.end || layers.end > layout.layers() {
        return Err(PlanError::Layers { start: layers.start, end: layers.end, layers: layout.layers() });
    }
    Ok(())
}

fn check_blocks(blocks: &BlockMap<'_>, source_blocks: u32, destination_blocks: u32) -> Result<(), PlanError> {
    match blocks {
        BlockMap::Identity if source_blocks == destination_blocks => Ok(()),
        BlockMap::Identity => Err(PlanError::BlockCounts {
            source_blocks: source_blocks as usize,
            destination: destination_blocks as usize,
        }),
        BlockMap::Table { source, destination } if source.len() != destination.len() => {
            Err(PlanError::BlockCounts { source_blocks: source.len(), destination: destination.len() })
        }
        BlockMap::Table { source, destination } => {
            check_range("source", source, source_blocks)?;
            check_range("destination", destination, destination_blocks)?;
            check_unique(destination, destination_blocks)
        }
    }
}

fn check_range(side: &'static str, table: &[u32], blocks: u32) -> Result<(), PlanError> {
    match table.iter().position(|block| *block >= blocks) {
        Some(index) => Err(PlanError::BlockRange { side, index, block: table[index], blocks }),
        None => Ok(()),
    }
}

fn check_unique(table: &[u32], blocks: u32) -> Result<(), PlanError> {
    let mut seen = vec![0_u64; (blocks as usize).div_ceil(64)];
    for (index, block) in table.iter().enumerate() {
        let (word, bit) = (&mut seen[*block as usize / 64], 1 << (block % 64));
        if *word & bit != 0 {
            return Err(PlanError::DuplicateDestination { index, block: *block });
        }
        *word |= bit;
    }
    Ok(())
}

/// Why a selection does not fit the two caches. Nothing was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The two caches differ in shape.
    #[error("the caches differ in {what}: {local} here, {remote} at the peer")]
    Mismatch {
        /// Which number.
        what: &'static str,
        /// Local value.
        local: u64,
        /// Peer's value.
        remote: u64,
    },
    /// The layer range is empty or beyond the cache.
    #[error("layers {start}..{end} of a cache of {layers} layers: give a non-empty range within it")]
    Layers {
        /// First layer.
        start: u32,
        /// One past the last.
        end: u32,
        /// Layers there are.
        layers: u32,
    },
    /// Sources and destinations cannot be paired.
    #[error(
        "{source_blocks} source blocks and {destination} destination blocks: each source needs one destination"
    )]
    BlockCounts {
        /// Sources.
        source_blocks: usize,
        /// Destinations.
        destination: usize,
    },
    /// A block number is beyond its cache.
    #[error("{side} block {block} (entry {index} of the table) of a cache of {blocks} blocks")]
    BlockRange {
        /// `source` or `destination`.
        side: &'static str,
        /// Position in the table.
        index: usize,
        /// Block number.
        block: u32,
        /// Blocks there are.
        blocks: u32,
    },
    /// Two sources would be written into one block.
    #[error("destination block {block} is named twice (again at entry {index} of the table)")]
    DuplicateDestination {
        /// Position of the second naming.
        index: usize,
        /// Block number.
        block: u32,
    },
}
