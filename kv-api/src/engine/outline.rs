//! What a transfer was planned from, as plain data: kept to find out, when it fails, which blocks are not valid. Holds no
//! memory registered and no route open.

use std::sync::Arc;

use pmd_host::transfer::{Lent, Spares, WorkListLimits};

use crate::{
    layout::{CacheDescriptor, CacheLayout, Placement},
    planner::{
        BlockMap, BlockRun, BlockSet, Direction, End, LayerMap, Plan, PlanError, Selection, Side, TokenSpan,
    },
};

/// A planned transfer's ingredients.
#[derive(Debug)]
pub(super) struct Outline {
    pub(super) direction: Direction,
    pub(super) layout: CacheLayout,
    pub(super) placement: Placement,
    pub(super) remote: Arc<CacheDescriptor>,
    pub(super) layers: LayerMap,
    pub(super) blocks: Arc<OwnedBlocks>,
    pub(super) limits: WorkListLimits,
}

/// A [`BlockMap`] that keeps its tables.
#[derive(Debug)]
pub(super) enum OwnedBlocks {
    Identity,
    Table { source: Lent<Vec<u32>>, destination: Lent<Vec<u32>> },
    Strided { source: BlockRun, destination: BlockRun },
    Tokens { source: OwnedSpan, destination: OwnedSpan, count: u64 },
}

/// A [`TokenSpan`] that keeps its table.
#[derive(Debug)]
pub(super) struct OwnedSpan {
    blocks: Lent<Vec<u32>>,
    first: u64,
}

impl Outline {
    pub(super) fn plan(&self, spares: &Spares<Vec<u32>>) -> Result<Plan<'_>, PlanError> {
        let local = Side { layout: &self.layout, placement: &self.placement };
        let remote = Side { layout: &self.remote.layout, placement: &self.remote.placement };
        let selection = Selection { layers: self.layers.clone(), blocks: self.blocks.as_map() };
        Plan::reusing(spares, self.direction, local, remote, selection)
    }

    /// Blocks of one end that are not proven to have moved, when the first `landed` work requests are.
    pub(super) fn unproven(&self, landed: u32, end: End) -> BlockSet {
        // It was planned before, so it can be planned again.
        let plan = self.plan(&Spares::default());
        plan.map(|plan| plan.unproven(self.limits, landed as usize, end)).unwrap_or_default()
    }
}

impl OwnedBlocks {
    pub(super) fn as_map(&self) -> BlockMap<'_> {
        match self {
            Self::Identity => BlockMap::Identity,
            Self::Table { source, destination } => BlockMap::Table { source, destination },
            Self::Strided { source, destination } => {
                BlockMap::Strided { source: *source, destination: *destination }
            }
            Self::Tokens { source, destination, count } => BlockMap::Tokens {
                source: source.as_span(),
                destination: destination.as_span(),
                count: *count,
            },
        }
    }

    /// The map with its tables, in memory of `spares`.
    pub(super) fn of(blocks: BlockMap<'_>, spares: &Spares<Vec<u32>>) -> Self {
        match blocks {
            BlockMap::Identity => Self::Identity,
            BlockMap::Table { source, destination } => {
                Self::Table { source: copy(source, spares), destination: copy(destination, spares) }
            }
            BlockMap::Strided { source, destination } => Self::Strided { source, destination },
            BlockMap::Tokens { source, destination, count } => Self::Tokens {
                source: OwnedSpan::of(source, spares),
                destination: OwnedSpan::of(destination, spares),
                count,
            },
        }
    }
}

fn copy(table: &[u32], spares: &Spares<Vec<u32>>) -> Lent<Vec<u32>> {
    let mut copy = spares.take();
    copy.extend_from_slice(table);
    copy
}

impl OwnedSpan {
    fn of(span: TokenSpan<'_>, spares: &Spares<Vec<u32>>) -> Self {
        Self { blocks: copy(span.blocks, spares), first: span.first }
    }

    fn as_span(&self) -> TokenSpan<'_> {
        TokenSpan { blocks: &self.blocks, first: self.first }
    }
}
