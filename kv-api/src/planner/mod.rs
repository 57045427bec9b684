//! From block tables to pieces of memory: checks a selection against both caches and walks it, tensor by tensor,
//! block by block, in an order that lets neighbouring blocks merge.
//!
//! Where the two sides cut the cache differently (other block sizes, other tensor-parallel degrees, another order of
//! dimensions) each piece is the longest run of bytes that is contiguous on both:
//! ```text
//!  BlockMap -- parts: tokens that share a block on either side -- cut: heads both hold, dimensions folded -- pieces
//! ```
//! Called by the engine once per transfer; the pieces go straight into a [`WorkListBuilder`], which does the merging.

mod check;
mod cut;
mod error;
mod order;
mod parts;
mod selection;
mod unproven;
mod whole;

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey};
use pmd_host::transfer::{LocalPiece, Spares, WorkListBuilder};

pub use error::PlanError;
pub use selection::{BlockMap, BlockRun, LayerMap, Selection, TokenSpan};
pub use unproven::{BlockExtent, BlockSet, End};

use self::{
    cut::{Cut, Ends, Folded},
    order::ByRemoteBlock,
    parts::{BlockTokens, Part},
};
use crate::layout::{CacheLayout, Placement, TensorPlace};

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
    layers: LayerMap,
    blocks: BlockMap<'a>,
    cut: Cut,
    /// A whole block, cut.
    whole: Folded,
    /// A table's blocks in the order in which they merge best, where that is not the table's own.
    order: Option<ByRemoteBlock>,
}

/// What a piece is a part of.
#[derive(Clone, Copy, Debug)]
struct Origin {
    layer: Ends<u32>,
    block: Ends<u32>,
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
        Self::reusing(&Spares::default(), direction, local, remote, selection)
    }

    /// As [`Plan::new`], with the memory of plans that were dropped.
    ///
    /// # Errors
    /// As [`Plan::new`].
    pub fn reusing(
        spares: &Spares<Vec<u32>>,
        direction: Direction,
        local: Side<'a>,
        remote: Side<'a>,
        selection: Selection<'a>,
    ) -> Result<Self, PlanError> {
        let Selection { layers, blocks } = selection;
        check::layouts(local.layout, remote.layout)?;
        let local_is_source = direction == Direction::Push;
        let (source, destination) =
            if local_is_source { (local.layout, remote.layout) } else { (remote.layout, local.layout) };
        check::layers(&layers, source, destination)?;
        check::blocks(&blocks, source, destination, local_is_source)?;
        let cut = Cut::new(local, remote);
        let whole = cut.fold(cut.tokens().local);
        let mut order = None;
        if let BlockMap::Table { source: from, destination: to } = &blocks {
            let (here, there) = if local_is_source { (from, to) } else { (to, from) };
            let unbroken = whole.length() == remote.layout.block_extent();
            order = Some(remote)
                .filter(|_| unbroken)
                .and_then(|side| ByRemoteBlock::new(spares, here, there, side));
            // What could be ordered by the peer's blocks has none of them twice.
            if !local_is_source || order.is_none() {
                check::unique(to, destination.blocks())?;
            }
        }
        Ok(Self { direction, local, remote, layers, blocks, cut, whole, order })
    }

    /// Which way the bytes go.
    #[must_use]
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// Pieces before merging.
    #[must_use]
    pub fn pieces(&self) -> u64 {
        let blocks = |count: u64| count * self.whole.pieces();
        let per_tensor = match &self.blocks {
            BlockMap::Identity => blocks(u64::from(self.local.layout.blocks())),
            BlockMap::Table { source, .. } => blocks(source.len() as u64),
            BlockMap::Strided { source, .. } => blocks(u64::from(source.count)),
            BlockMap::Tokens { .. } => {
                let mut pieces = 0;
                self.for_each_part(|part| pieces += self.fold(part.tokens).pieces());
                pieces
            }
        };
        self.tensors() * per_tensor
    }

    /// Bytes that move.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let blocks = |count: u64| count * u64::from(self.cut.tokens().local);
        let tokens = match &self.blocks {
            BlockMap::Identity => blocks(u64::from(self.local.layout.blocks())),
            BlockMap::Table { source, .. } => blocks(source.len() as u64),
            BlockMap::Strided { source, .. } => blocks(u64::from(source.count)),
            BlockMap::Tokens { count, .. } => *count,
        };
        self.tensors() * self.cut.bytes(tokens)
    }

    /// Hands every piece to `sink`: layers in order, within a tensor the blocks in the order of the table, or of their
    /// place at the peer where that lets more of them share a work request.
    pub fn for_each_piece(&self, mut sink: impl FnMut(Piece)) {
        self.walk(|_, piece| sink(piece));
    }

    /// Adds every piece to `list`, in the same order: the way to plan many blocks.
    pub fn add_to(&self, list: &mut WorkListBuilder) {
        if !self.has_whole_blocks() {
            self.walk(|_, piece| {
                let local = LocalPiece { address: piece.local, length: piece.length, key: piece.local_key };
                list.push(local, piece.remote);
            });
            return;
        }
        self.for_each_tensor(|_, place| self.add_whole_blocks(place, list));
    }

    #[inline]
    fn walk(&self, mut sink: impl FnMut(Origin, Piece)) {
        self.for_each_tensor(|layer, place| {
            if self.has_whole_blocks() {
                self.for_each_whole_block(layer, place, &mut sink);
            } else {
                self.for_each_part(|part| self.pieces_of(part, layer, place, &mut sink));
            }
        });
    }

    #[inline]
    fn for_each_tensor(&self, mut sink: impl FnMut(Ends<u32>, Ends<TensorPlace>)) {
        let per_layer = self.local.layout.tensors_per_layer();
        for number in 0..self.layers.count() {
            let layer = self.ends(self.layers.source.start + number, self.layers.destination + number);
            for tensor in 0..per_layer {
                let place = |side: Side<'a>, layer: u32| side.placement.tensor(layer * per_layer + tensor);
                let places = (place(self.local, layer.local), place(self.remote, layer.remote));
                // Placements place every tensor of their layout, and the layers were checked.
                let (Some(local), Some(remote)) = places else { continue };
                sink(layer, Ends { local, remote });
            }
        }
    }

    #[inline]
    fn pieces_of(
        &self,
        part: Part,
        layer: Ends<u32>,
        place: Ends<TensorPlace>,
        sink: &mut impl FnMut(Origin, Piece),
    ) {
        let block = self.ends(part.source.block, part.destination.block);
        let start = self.cut.start(self.ends(part.source.token, part.destination.token));
        let folded = self.fold(part.tokens);
        let local = place.local.block(block.local) + start.local;
        let remote = place.remote.block(block.remote) + start.remote;
        folded.for_each(|offset| {
            let address = remote + offset.remote;
            sink(
                Origin { layer, block },
                Piece {
                    local: local + offset.local,
                    local_key: LocalKey(place.local.key),
                    remote: RemoteAddress { address, key: RemoteKey(place.remote.key) },
                    length: folded.length(),
                },
            );
        });
    }

    fn fold(&self, tokens: u32) -> Folded {
        if tokens == self.cut.tokens().local { self.whole } else { self.cut.fold(tokens) }
    }

    fn for_each_part(&self, sink: impl FnMut(Part)) {
        let tokens = BlockTokens::new(self.cut.tokens(), self.direction == Direction::Push);
        parts::for_each(&self.blocks, tokens, self.local.layout.blocks(), sink);
    }

    /// What is the source's and the destination's, by side.
    const fn ends(&self, source: u32, destination: u32) -> Ends<u32> {
        match self.direction {
            Direction::Pull => Ends { local: destination, remote: source },
            Direction::Push => Ends { local: source, remote: destination },
        }
    }

    fn tensors(&self) -> u64 {
        u64::from(self.layers.count()) * u64::from(self.local.layout.tensors_per_layer())
    }
}
