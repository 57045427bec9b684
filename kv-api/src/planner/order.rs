//! The order in which a table's blocks merge best.

use pmd_host::transfer::{Lent, Spares};

use super::Side;

/// A table turned round: the local block of each block of the peer. A work request gathers pieces from anywhere in this
/// process but covers one range at the peer, so the order of the peer's blocks takes the fewest work requests; pieces
/// that are neighbours on both sides stay neighbours.
#[derive(Debug)]
pub(super) struct ByRemoteBlock(Lent<Vec<u32>>);

/// More blocks of the peer than this for each that moves, and neighbours are rare.
const SPARSEST: usize = 8;

/// In place of a local block: the peer's does not move. No block has this number, because a cache has fewer.
const NONE: u32 = u32::MAX;

impl ByRemoteBlock {
    /// `None` where the table's own order is as good: it ascends, a block of the peer is in it twice, the peer's blocks
    /// do not touch, or it names so few of them that neighbours are rare. All blocks exist.
    pub(super) fn new(
        spares: &Spares<Vec<u32>>,
        local: &[u32],
        remote: &[u32],
        side: Side<'_>,
    ) -> Option<Self> {
        let (blocks, size) = (side.layout.blocks() as usize, side.layout.block_extent());
        let touching = side.placement.series().iter().all(|series| series.run.block_stride == size);
        if !touching || remote.is_sorted() || blocks / SPARSEST > remote.len() {
            return None;
        }
        let mut turned = spares.take();
        turned.resize(blocks, NONE);
        let mut twice = false;
        for (here, there) in local.iter().zip(remote) {
            let place = &mut turned[*there as usize];
            twice |= *place != NONE;
            *place = *here;
        }
        (!twice).then_some(Self(turned))
    }

    /// Local and remote block of each pair, by the remote one.
    #[inline]
    pub(super) fn pairs(&self) -> impl Iterator<Item = (u32, u32)> {
        self.0.iter().copied().zip(0..).filter(|(here, _)| *here != NONE)
    }
}
