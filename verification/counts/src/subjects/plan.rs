//! Planning: from a block table to the work requests that move its blocks, as `kv-api`'s engine does it; and from
//! indices into prepared lists, as its agents do.

use std::hint::black_box;

use kv_api::{
    agent::{Agent, AgentConfig, DescriptorList},
    layout::{CacheLayout, Placement},
    planner::{BlockMap, Direction, Plan, Selection, Side},
};
use pmd_host::{
    soft::ArenaOptions,
    transfer::{self, Spares, WorkBuffers, WorkListBuilder, WorkListLimits},
};

use super::{SubjectError, permutation};
use crate::meter::Meter;

/// Bytes of a block.
const BLOCK: u64 = 4096;

/// Name, blocks of a table, and how often it is planned.
const TABLES: [(&str, u32, u64); 3] =
    [("plan-block-of-1", 1, 1000), ("plan-block-of-1k", 1000, 10), ("plan-block-of-1m", 1_000_000, 1)];

/// Where both caches would be.
const ADDRESSES: [u64; 2] = [1 << 40, 1 << 41];

/// Name, and whether the remote list is runs of blocks: ranks are known then, and else addresses are sorted.
const LISTS: [(&str, bool); 2] = [("plan-descriptor-in-runs", true), ("plan-descriptor-apart", false)];

/// Descriptors of a request.
const DESCRIPTORS: u32 = 100_000;

/// Bytes of one.
const DESCRIPTOR: u64 = 64;

pub(super) fn run(meter: &mut Meter) -> Result<(), SubjectError> {
    TABLES.into_iter().try_for_each(|(name, blocks, times)| plan(meter, name, blocks, times))?;
    LISTS.into_iter().try_for_each(|(name, runs)| request(meter, name, runs))
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

/// Makes a request of all descriptors of two prepared lists of an agent's own memory, permuted.
fn request(meter: &mut Meter, name: &str, runs: bool) -> Result<(), SubjectError> {
    let agent = Agent::open(AgentConfig::new("counted"))?;
    let half = DESCRIPTOR * u64::from(DESCRIPTORS);
    let start = agent.allocate(2 * half as usize, ArenaOptions::default())?.address();
    let block = |from: u64, index: u32| (start + from + u64::from(index) * DESCRIPTOR, DESCRIPTOR);
    let local = DescriptorList::dram((0..DESCRIPTORS).map(|index| block(0, index)));
    let (in_order, permuted): (Vec<u32>, _) = ((0..DESCRIPTORS).collect(), permutation(DESCRIPTORS));
    let (places, indices) = if runs { (&in_order, &permuted) } else { (&permuted, &in_order) };
    let remote = DescriptorList::dram(places.iter().map(|index| block(half, *index)));
    let (local, remote) = (agent.prepare_local(&local)?, agent.prepare_remote("counted", &remote)?);
    let write = transfer::Direction::Write;
    let once = || agent.make_request(write, &local, black_box(&in_order), &remote, black_box(indices));
    once()?;
    let made = meter.span(once)?;
    // As many pieces as a work request takes are gathered into one, since all are in the order of the peer's memory.
    let most = DESCRIPTORS.div_ceil(WorkListLimits::default().max_sges.into()) as usize;
    if made.work_requests() > most || made.descriptors() != DESCRIPTORS as usize {
        return Err(format!("{name}: {} work requests, not {most}", made.work_requests()).into());
    }
    meter.end(name, DESCRIPTORS.into());
    Ok(())
}
