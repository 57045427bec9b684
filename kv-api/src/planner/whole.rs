//! Blocks that are one piece each on both sides: what most transfers are made of, so they do not pay for those that are
//! cut.

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey};
use pmd_host::transfer::{LocalPiece, WorkListBuilder};

use super::{BlockMap, Direction, Origin, Piece, Plan, cut::Ends};
use crate::layout::TensorPlace;

/// A tensor whose blocks are moved whole: from block numbers to pieces.
#[derive(Clone, Copy)]
struct Whole {
    local: TensorPlace,
    remote: TensorPlace,
    length: u64,
}

impl Plan<'_> {
    /// Whether every block that moves is one piece.
    pub(super) const fn has_whole_blocks(&self) -> bool {
        self.whole.pieces() == 1 && !matches!(self.blocks, BlockMap::Tokens { .. })
    }

    /// One loop for each kind of map, each without a branch on anything but the pieces.
    pub(super) fn add_whole_blocks(&self, place: Ends<TensorPlace>, list: &mut WorkListBuilder) {
        let whole = self.whole_tensor(place);
        let piece = |(here, there): (u32, u32)| whole.piece(here, there);
        let pull = self.direction == Direction::Pull;
        match (&self.blocks, &self.order) {
            (_, Some(order)) => list.extend(order.pairs().map(piece)),
            (BlockMap::Table { source, destination }, None) => {
                let (here, there) = if pull { (destination, source) } else { (source, destination) };
                list.extend(here.iter().copied().zip(there.iter().copied()).map(piece));
            }
            (BlockMap::Strided { source, destination }, None) => {
                let (here, there) = if pull { (destination, source) } else { (source, destination) };
                list.extend((0..here.count).map(|at| piece((here.number(at), there.number(at)))));
            }
            _ => list.extend((0..self.local.layout.blocks()).map(|block| piece((block, block)))),
        }
    }

    /// The same pieces in the same order, each with its origin.
    #[inline]
    pub(super) fn for_each_whole_block(
        &self,
        layer: Ends<u32>,
        place: Ends<TensorPlace>,
        sink: &mut impl FnMut(Origin, Piece),
    ) {
        let whole = self.whole_tensor(place);
        let mut give = |local: u32, remote: u32| {
            let (piece, at) = whole.piece(local, remote);
            let LocalPiece { address, length, key } = piece;
            let piece = Piece { local: address, local_key: key, remote: at, length };
            sink(Origin { layer, block: Ends { local, remote } }, piece);
        };
        match &self.order {
            Some(order) => order.pairs().for_each(|(local, remote)| give(local, remote)),
            None => self.for_each_part(|part| {
                let block = self.ends(part.source.block, part.destination.block);
                give(block.local, block.remote);
            }),
        }
    }

    /// The caches may hold more of a token than what moves of it, so a piece may begin within its block.
    const fn whole_tensor(&self, place: Ends<TensorPlace>) -> Whole {
        let start = self.cut.start(Ends { local: 0, remote: 0 });
        let Ends { local, remote } = place;
        Whole {
            local: TensorPlace { address: local.address + start.local, ..local },
            remote: TensorPlace { address: remote.address + start.remote, ..remote },
            length: self.whole.length(),
        }
    }
}

impl Whole {
    #[inline]
    const fn piece(&self, here: u32, there: u32) -> (LocalPiece, RemoteAddress) {
        let Self { local, remote, length } = self;
        let piece = LocalPiece { address: local.block(here), length: *length, key: LocalKey(local.key) };
        (piece, RemoteAddress { address: remote.block(there), key: RemoteKey(remote.key) })
    }
}
