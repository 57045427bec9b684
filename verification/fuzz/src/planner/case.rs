//! A transfer as an input describes it, and whether it may be planned.

use std::ops::Range;

use arbitrary::{Result, Unstructured};
use kv_api::{layout::CacheLayout, planner::Direction};
use pmd_host::transfer::WorkListLimits;

/// A transfer between two small caches.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) direction: Direction,
    pub(super) local: Shape,
    pub(super) remote: Shape,
    pub(super) layers: Range<u32>,
    /// None for all blocks to those of the same numbers.
    pub(super) table: Option<Table>,
    pub(super) limits: WorkListLimits,
}

/// Block numbers, of lengths that may differ.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) source: Vec<u32>,
    pub(super) destination: Vec<u32>,
}

/// A cache and how it lies in memory.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) layout: CacheLayout,
    pub(super) runs: Vec<Run>,
    /// Address of the first byte.
    pub(super) base: Base,
}

/// Tensors that lie in one region.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) tensors: u32,
    /// Blocks of all tensors side by side, rather than tensor after tensor.
    pub(super) interleaved: bool,
    /// Bytes that belong to nobody, after each block.
    pub(super) gap: u64,
    /// Bytes that belong to nobody, before the run.
    pub(super) before: u64,
    /// Shares the key of the run before it.
    pub(super) same_key: bool,
}

/// Where memory begins.
#[derive(Clone, Copy, Debug)]
pub(super) enum Base {
    /// At address zero.
    Zero,
    /// Somewhere in the middle.
    Middle,
    /// So that it ends with the address space.
    Last,
}

impl Case {
    /// Reads a case; every byte counts from the front, so that inputs can be made by hand.
    pub(super) fn read(input: &mut Unstructured<'_>) -> Result<Self> {
        let direction = if bit(input)? { Direction::Pull } else { Direction::Push };
        let (layers, per_layer) = (small(input, 1, 4)?, small(input, 1, 3)?);
        let (local_blocks, remote_blocks) = (small(input, 1, 16)?, small(input, 1, 16)?);
        let block_bytes = u64::from(small(input, 1, 40)?);
        // Now and then the caches differ in shape.
        let odd = byte(input)?;
        let more = |chosen: u8| u32::from(odd == chosen);
        let remote_bytes = block_bytes + u64::from(more(255));
        let local = Shape::read(input, layers, per_layer, local_blocks, block_bytes)?;
        let (layers_there, per_layer_there) = (layers + more(254), per_layer + more(253));
        let remote = Shape::read(input, layers_there, per_layer_there, remote_blocks, remote_bytes)?;
        let (start, end) = (small(input, 0, 5)?, small(input, 0, 5)?);
        let limits = WorkListLimits {
            max_sges: u16::from(byte(input)? % 32),
            max_message: match byte(input)? {
                0 => WorkListLimits::default().max_message,
                bytes => u32::from(bytes) - 1,
            },
        };
        let (source_blocks, destination_blocks) = match direction {
            Direction::Pull => (remote_blocks, local_blocks),
            Direction::Push => (local_blocks, remote_blocks),
        };
        let table =
            if bit(input)? { Some(Table::read(input, source_blocks, destination_blocks)?) } else { None };
        Ok(Self { direction, local, remote, layers: start..end, table, limits })
    }

    /// Whether it may be planned, told naively.
    pub(super) fn fits(&self) -> bool {
        let (local, remote) = (&self.local.layout, &self.remote.layout);
        let same_shape = local.tensors_per_layer() == remote.tensors_per_layer()
            && local.block_bytes() == remote.block_bytes();
        let layers = !self.layers.is_empty() && self.layers.end <= local.layers().min(remote.layers());
        let (source, destination) = match self.direction {
            Direction::Pull => (remote.blocks(), local.blocks()),
            Direction::Push => (local.blocks(), remote.blocks()),
        };
        let blocks = match &self.table {
            None => source == destination,
            Some(table) => {
                let twice = |(place, block)| table.destination[..place].contains(block);
                table.source.len() == table.destination.len()
                    && table.source.iter().all(|block| *block < source)
                    && table.destination.iter().all(|block| *block < destination)
                    && !table.destination.iter().enumerate().any(twice)
            }
        };
        same_shape && layers && blocks
    }

    /// Tensors that move, by their numbers in the cache.
    pub(super) fn tensors(&self) -> Range<u32> {
        let per_layer = self.local.layout.tensors_per_layer();
        self.layers.start * per_layer..self.layers.end * per_layer
    }

    /// Which block goes where.
    pub(super) fn pairs(&self) -> Vec<(u32, u32)> {
        match &self.table {
            None => (0..self.local.layout.blocks()).map(|block| (block, block)).collect(),
            Some(table) => table.source.iter().copied().zip(table.destination.iter().copied()).collect(),
        }
    }

    /// Bytes that move.
    pub(super) fn bytes(&self) -> u64 {
        self.tensors().len() as u64 * self.pairs().len() as u64 * self.local.layout.block_bytes()
    }
}

impl Table {
    fn read(input: &mut Unstructured<'_>, source_blocks: u32, destination_blocks: u32) -> Result<Self> {
        let length = small(input, 0, 20)?;
        // Block numbers beyond the cache are rare, so that most tables get further.
        let number = |input: &mut Unstructured<'_>, blocks: u32| {
            let byte = u32::from(byte(input)?);
            Ok(if byte == 255 { blocks } else { byte % blocks })
        };
        let source = (0..length).map(|_| number(input, source_blocks)).collect::<Result<Vec<_>>>()?;
        let mut destination =
            (0..length).map(|_| number(input, destination_blocks)).collect::<Result<Vec<_>>>()?;
        match byte(input)? {
            255 => destination.push(0),
            // A permutation, or the start of one: what tables mostly are.
            seed if seed & 1 == 1 => permute(&mut destination, destination_blocks, seed),
            _ => {}
        }
        Ok(Self { source, destination })
    }
}

/// Different block numbers, in an order that the seed decides.
fn permute(table: &mut Vec<u32>, blocks: u32, seed: u8) {
    let mut numbers: Vec<u32> = (0..blocks).collect();
    numbers.sort_by_key(|number| (number * u32::from(seed >> 1)) % 17);
    numbers.truncate(table.len());
    numbers.resize(table.len(), 0);
    *table = numbers;
}

impl Shape {
    fn read(
        input: &mut Unstructured<'_>,
        layers: u32,
        per_layer: u32,
        blocks: u32,
        block_bytes: u64,
    ) -> Result<Self> {
        let layout = CacheLayout::new(layers, per_layer, blocks, block_bytes).expect("small sizes");
        let base = match byte(input)? % 3 {
            0 => Base::Zero,
            1 => Base::Middle,
            _ => Base::Last,
        };
        let mut runs = Vec::new();
        let mut left = layout.tensors();
        while left > 0 {
            let flags = byte(input)?;
            let tensors = if flags & 1 == 0 { left } else { small(input, 1, left)? };
            let gap = if flags & 2 == 0 { 0 } else { u64::from(byte(input)? % 16) };
            let before = if flags & 4 == 0 { 0 } else { u64::from(byte(input)?) };
            let (interleaved, same_key) = (flags & 8 != 0, flags & 16 != 0);
            runs.push(Run { tensors, interleaved, gap, before, same_key });
            left -= tensors;
        }
        Ok(Self { layout, runs, base })
    }
}

fn byte(input: &mut Unstructured<'_>) -> Result<u8> {
    Ok(input.bytes(1)?[0])
}

fn bit(input: &mut Unstructured<'_>) -> Result<bool> {
    Ok(byte(input)? & 1 != 0)
}

/// A number of `least..=most`.
fn small(input: &mut Unstructured<'_>, least: u32, most: u32) -> Result<u32> {
    Ok(least + u32::from(byte(input)?) % (most - least + 1))
}
