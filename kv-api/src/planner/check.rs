//! Whether a selection fits both caches.

use super::{BlockMap, BlockRun, LayerMap, PlanError, TokenSpan};
use crate::layout::{CacheLayout, TokenFormat};

/// The caches agree in what one layer and one token is made of.
pub(super) fn layouts(local: &CacheLayout, remote: &CacheLayout) -> Result<(), PlanError> {
    let per_layer = (u64::from(local.tensors_per_layer()), u64::from(remote.tensors_per_layer()));
    same("tensors per layer", per_layer.0, per_layer.1)?;
    match (local.format(), remote.format()) {
        (None, None) => same("bytes per block", local.block_bytes(), remote.block_bytes()),
        (Some(local), Some(remote)) => formats(local, remote),
        (None, Some(_)) => Err(PlanError::NoFormat { side: "local" }),
        (Some(_), None) => Err(PlanError::NoFormat { side: "remote" }),
    }
}

fn formats(local: &TokenFormat, remote: &TokenFormat) -> Result<(), PlanError> {
    same("bytes per head", u64::from(local.head_bytes()), u64::from(remote.head_bytes()))?;
    let (ours, theirs) = (local.heads(), remote.heads());
    same("heads of the model", u64::from(ours.total), u64::from(theirs.total))?;
    let common = ours.first.max(theirs.first)..ours.range().end.min(theirs.range().end);
    if common.is_empty() {
        return Err(PlanError::NoCommonHeads { local_first: ours.first, remote_first: theirs.first });
    }
    Ok(())
}

pub(super) fn layers(
    layers: &LayerMap,
    source: &CacheLayout,
    destination: &CacheLayout,
) -> Result<(), PlanError> {
    let sides = [
        ("source", layers.source.clone(), source.layers()),
        ("destination", layers.destinations(), destination.layers()),
    ];
    let wrong = |(_, range, layers): &(_, std::ops::Range<u32>, u32)| range.is_empty() || range.end > *layers;
    match sides.into_iter().find(wrong) {
        Some((side, range, layers)) => {
            Err(PlanError::Layers { side, start: range.start, end: range.end, layers })
        }
        None => Ok(()),
    }
}

/// All but that no block of a table is written twice ([`unique`]).
pub(super) fn blocks(
    blocks: &BlockMap<'_>,
    source: &CacheLayout,
    destination: &CacheLayout,
    local_is_source: bool,
) -> Result<(), PlanError> {
    let (source_blocks, destination_blocks) = (source.blocks(), destination.blocks());
    if let BlockMap::Tokens { source: from, destination: to, count } = blocks {
        return tokens((source, from), (destination, to), *count, local_is_source);
    }
    same_tokens(source, destination, local_is_source)?;
    match blocks {
        BlockMap::Identity => counts(source_blocks as usize, destination_blocks as usize),
        BlockMap::Table { source, destination } => {
            counts(source.len(), destination.len())?;
            range("source", source, source_blocks)?;
            range("destination", destination, destination_blocks)
        }
        BlockMap::Strided { source, destination } => {
            counts(source.count as usize, destination.count as usize)?;
            run_range("source", source, source_blocks)?;
            run_range("destination", destination, destination_blocks)?;
            if destination.step == 0 && destination.count > 1 {
                return Err(PlanError::DuplicateDestination { index: 1, block: destination.first });
            }
            Ok(())
        }
        BlockMap::Tokens { .. } => Ok(()),
    }
}

/// Whole blocks move only between blocks of equally many tokens.
fn same_tokens(
    source: &CacheLayout,
    destination: &CacheLayout,
    local_is_source: bool,
) -> Result<(), PlanError> {
    let tokens = |layout: &CacheLayout| layout.format().map_or(0, |format| u64::from(format.tokens()));
    let (from, to) = (tokens(source), tokens(destination));
    let (local, remote) = if local_is_source { (from, to) } else { (to, from) };
    same("tokens per block (select them with BlockMap::Tokens)", local, remote)
}

fn tokens(
    source: (&CacheLayout, &TokenSpan<'_>),
    destination: (&CacheLayout, &TokenSpan<'_>),
    count: u64,
    local_is_source: bool,
) -> Result<(), PlanError> {
    let sides = [("source", source, local_is_source), ("destination", destination, !local_is_source)];
    for (side, (layout, span), is_local) in sides {
        let missing = PlanError::NoFormat { side: if is_local { "local" } else { "remote" } };
        let format = layout.format().ok_or(missing)?;
        range(side, span.blocks, layout.blocks())?;
        let held = span.blocks.len() as u64 * u64::from(format.tokens());
        if span.first.checked_add(count).is_none_or(|end| end > held) {
            return Err(PlanError::TokenRange { side, first: span.first, count, held });
        }
    }
    unique(destination.1.blocks, destination.0.blocks())
}

fn same(what: &'static str, local: u64, remote: u64) -> Result<(), PlanError> {
    if local == remote { Ok(()) } else { Err(PlanError::Mismatch { what, local, remote }) }
}

fn counts(source_blocks: usize, destination: usize) -> Result<(), PlanError> {
    if source_blocks == destination {
        return Ok(());
    }
    Err(PlanError::BlockCounts { source_blocks, destination })
}

fn range(side: &'static str, table: &[u32], blocks: u32) -> Result<(), PlanError> {
    // Without a way out of it the loop takes many entries at once.
    let largest = table.iter().fold(0, |largest, block| largest.max(*block));
    if largest < blocks {
        return Ok(());
    }
    match table.iter().position(|block| *block >= blocks) {
        Some(index) => Err(PlanError::BlockRange { side, index, block: table[index], blocks }),
        None => Ok(()),
    }
}

fn run_range(side: &'static str, run: &BlockRun, blocks: u32) -> Result<(), PlanError> {
    if run.count == 0 || run.last().is_some_and(|last| last < blocks) {
        return Ok(());
    }
    let step = u64::from(run.step.max(1));
    let index = (u64::from(blocks).saturating_sub(u64::from(run.first))).div_ceil(step) as u32;
    let block = u64::from(run.first) + u64::from(index) * u64::from(run.step);
    let block = u32::try_from(block).unwrap_or(u32::MAX);
    Err(PlanError::BlockRange { side, index: index as usize, block, blocks })
}

/// Whether every block is in the table at most once; all are below `blocks`.
pub(super) fn unique(table: &[u32], blocks: u32) -> Result<(), PlanError> {
    if table.is_sorted_by(|one, next| one < next) {
        return Ok(());
    }
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
