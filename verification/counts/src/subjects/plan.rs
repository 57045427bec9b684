//! Planning: from a block table to the work requests that move its blocks, as `kv-api`'s engine does it.

use std::hint::black_box;

use kv_api::{
    layout::{CacheLayout, Placement},
    planner::{BlockMap, Direction, Plan, Selection, Side},
};
use pmd_host::transfer::{self, Spares, WorkBuffers, WorkListBuilder, WorkListLimits};

use super::{SubjectError, permutation};
use crate::meter::Meter;

/// Bytes of a block.
const BLOCK: u64 = 4096;

/// Name, blocks of a table, and how often it is planned.
const TABLES: [(&str, u32, u64); 3] =
    [("plan-block-of-1", 1, 1000), ("plan-block-of-1k", 1000, 10), ("plan-block-of-1m", 1_000_000, 1)];

/// Where both caches would be.
const ADDRESSES: [u64; 2] = [1 << 40, 1 << 41];

pub(super) fn run(meter: &mut Meter) -> Result<(), SubjectError> {
    TABLES.into_iter().try_for_each(|(name, blocks, times)| plan(meter, name, blocks, times))
}

/// Plans a permutation of all blocks, in memory that a plan before it has left.
fn plan(meter: &mut Meter, name: &str, blocks: u32, times: u64) -> Result<(), SubjectError> {
    let layout = CacheLayout::new(1, 1, blocks, BLOCK)?;
    let [here, there] = [0, 1].map(|end| Placement::contiguous(&layout, ADDRESSES[end], 1));
    let (here, there) = (here?, there?);
    let source: Vec<u32> = (0..blocks).collect();
    let destination = permutation(blocks);
    let (orders, lists) = (Spares::<Vec<u32>>::default(), Spares::<WorkBuffers>::default());
    let once = || -> Result<usize, SubjectError> {
        let map = BlockMap::Table { source: black_box(&source), destination: black_box(&destination) };
        let plan = Plan::reusing(
            &orders,
            Direction::Push,
            Side { layout: &layout, placement: &here },
            Side { layout: &layout, placement: &there },
            Selection::new(0..1, map),
        )?;
        let limits = WorkListLimits::default();
        let pieces = plan.pieces() as usize;
        let mut list = WorkListBuilder::reusing(&lists, transfer::Direction::Write, limits, pieces);
        plan.add_to(&mut list);
        Ok(black_box(list.finish()).sges().len())
    };
    once()?;
    for _ in 0..times {
        let pieces = meter.span(once)?;
        // Some neighbours of a permutation are neighbours of the table too, and merge.
        let most = blocks as usize;
        if !(most - most / 100..=most).contains(&pieces) {
            return Err(format!("{name}: {pieces} pieces of {blocks} blocks").into());
        }
    }
    meter.end(name, times * u64::from(blocks));
    Ok(())
}
