//! Memory of one side: bytes, the regions in it, and where each block lies by plain counting.

use std::ops::Range;

use kv_api::layout::{Placement, TensorRun};

use super::case::{Base, Shape};

/// One side's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Memory {
    pub(super) bytes: Vec<u8>,
    /// Address of the first byte.
    base: u64,
    runs: Vec<TensorRun>,
    /// Key and addresses of each region; runs that share a key share a region.
    regions: Vec<(u32, Range<u64>)>,
    /// First byte of each block of each tensor.
    places: Vec<Vec<usize>>,
    block_bytes: usize,
    shape: Shape,
}

impl PartialEq for Shape {
    fn eq(&self, other: &Self) -> bool {
        self.layout == other.layout
    }
}

impl Eq for Shape {}

impl Memory {
    /// Lays a cache out; every byte differs from the other side's byte in the same place.
    pub(super) fn new(shape: &Shape, first_key: u32, fill: u8) -> Self {
        let layout = &shape.layout;
        let (blocks, size) = (u64::from(layout.blocks()), layout.block_bytes());
        let (mut runs, mut places, mut next) = (Vec::<TensorRun>::new(), Vec::new(), 0);
        for (number, run) in shape.runs.iter().enumerate() {
            let (step, count) = (size + run.gap, u64::from(run.tensors));
            let (tensor_stride, block_stride) =
                if run.interleaved { (step, step * count) } else { (step * blocks, step) };
            let first = next + run.before;
            for tensor in 0..count {
                let place = |block| (first + tensor * tensor_stride + block * block_stride) as usize;
                places.push((0..blocks).map(place).collect());
            }
            let key = match runs.last() {
                Some(last) if run.same_key => last.key,
                _ => first_key + number as u32,
            };
            runs.push(TensorRun { first, tensor_stride, block_stride, count: run.tensors, key });
            next = first + step * blocks * count;
        }
        let base = match shape.base {
            Base::Zero => 0,
            Base::Middle => 0x7f00_0000_0000,
            // The last address itself is never used: a range's end must be an address too.
            Base::Last => u64::MAX - next,
        };
        runs.iter_mut().for_each(|run| run.first += base);
        let bytes = (0..next).map(|index| fill ^ (index % 251) as u8).collect();
        let block_bytes = size as usize;
        let regions = regions(&runs, base + next);
        Self { bytes, base, runs, regions, places, block_bytes, shape: shape.clone() }
    }

    /// The same as the product describes it.
    pub(super) fn placement(&self) -> Placement {
        Placement::new(&self.shape.layout, self.runs.clone()).expect("a placement of the layout")
    }

    /// The bytes of a block, found without the product's help.
    pub(super) fn block(&self, tensor: u32, block: u32) -> &[u8] {
        let first = self.places[tensor as usize][block as usize];
        &self.bytes[first..first + self.block_bytes]
    }

    pub(super) fn write_block(&mut self, tensor: u32, block: u32, bytes: &[u8]) {
        let first = self.places[tensor as usize][block as usize];
        self.bytes[first..first + self.block_bytes].copy_from_slice(bytes);
    }

    /// Where an access lies, which must be inside of the region of its key.
    pub(super) fn at(&self, key: u32, address: u64, length: u32) -> Range<usize> {
        let end = address.checked_add(u64::from(length)).expect("no access wraps");
        let region = self.regions.iter().find(|(known, _)| *known == key);
        let (_, range) = region.expect("a key that was given out");
        assert!(range.start <= address && end <= range.end, "{address:#x}..{end:#x} of {range:#x?}");
        (address - self.base) as usize..(end - self.base) as usize
    }
}

/// A region reaches from its first run to where the next region begins.
fn regions(runs: &[TensorRun], end: u64) -> Vec<(u32, Range<u64>)> {
    let mut regions: Vec<(u32, Range<u64>)> = Vec::new();
    for run in runs {
        match regions.last_mut() {
            Some((key, _)) if *key == run.key => {}
            last => {
                if let Some((_, range)) = last {
                    range.end = run.first;
                }
                regions.push((run.key, run.first..end));
            }
        }
    }
    regions
}
