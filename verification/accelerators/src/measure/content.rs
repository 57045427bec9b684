//! What blocks hold, made and looked at window by window, so that gigabytes need little of the host.

use pmd_core::accelerator::{BlockPair, DeviceMemory};

use super::Workload;
use crate::context::{Context, Pinned, Random, address, copy, pattern, to_device, to_host};

/// Bytes that go through the host at a time.
const WINDOW: u64 = 32 << 20;
/// Bytes that have a seed of their own.
const CHUNK: u64 = 1 << 20;

/// Bytes of a workload, by a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) workload: Workload,
    pub(super) seed: u64,
}

/// Which block goes where: every block of the one table to one of the other.
pub(super) fn pairs(workload: Workload) -> Vec<BlockPair> {
    let (mut from, mut to) = (Random::new(1), Random::new(2));
    let count = workload.blocks as usize;
    let both = from.permutation(count).into_iter().zip(to.permutation(count));
    both.map(|(from, to)| BlockPair { from, to }).collect()
}

impl Content {
    /// A block, from one chunk to the next.
    fn chunks(self, block: u32) -> impl Iterator<Item = (u64, Vec<u8>)> {
        let Workload { block_bytes, .. } = self.workload;
        (0..block_bytes.div_ceil(CHUNK)).map(move |chunk| {
            let offset = chunk * CHUNK;
            let seed = self.seed.wrapping_mul(0x1_0000_0001) ^ u64::from(block) << 20 ^ chunk;
            (offset, pattern(seed, CHUNK.min(block_bytes - offset) as usize))
        })
    }

    /// The content of a source table, block behind block.
    pub(super) fn write(self, context: &Context, memory: &dyn DeviceMemory) {
        let mut window = Window::new(context, memory, self.workload);
        for block in 0..self.workload.blocks {
            let start = u64::from(block) * self.workload.block_bytes;
            self.chunks(block).for_each(|(offset, bytes)| window.put(start + offset, &bytes));
        }
        window.flush();
    }

    /// The same in memory of the host.
    pub(super) fn table(self) -> Vec<u8> {
        (0..self.workload.blocks).flat_map(|block| self.chunks(block).flat_map(|(_, bytes)| bytes)).collect()
    }

    /// Whether a target holds the source's blocks where the pairs say.
    pub(super) fn is_in(self, context: &Context, memory: &dyn DeviceMemory, pairs: &[BlockPair]) -> bool {
        let mut window = Window::new(context, memory, self.workload);
        let mut ordered = pairs.to_vec();
        ordered.sort_unstable_by_key(|pair| pair.to);
        ordered.iter().all(|pair| {
            let start = u64::from(pair.to) * self.workload.block_bytes;
            self.chunks(pair.from).all(|(offset, bytes)| window.holds(start + offset, &bytes))
        })
    }
}

/// A part of device memory in memory of the host.
struct Window<'a> {
    context: &'a Context,
    base: u64,
    end: u64,
    pinned: Pinned,
    start: u64,
    filled: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(context: &'a Context, memory: &dyn DeviceMemory, workload: Workload) -> Self {
        let end = workload.bytes();
        let pinned = context.pinned(&vec![0; WINDOW.min(end) as usize]);
        Self { context, base: address(memory), end, pinned, start: 0, filled: Vec::new() }
    }

    /// Bytes behind those before.
    fn put(&mut self, offset: u64, bytes: &[u8]) {
        if (self.filled.len() + bytes.len()) as u64 > WINDOW.min(self.end) {
            self.flush();
            self.start = offset;
        }
        self.filled.extend_from_slice(bytes);
    }

    fn flush(&mut self) {
        self.pinned.write(&self.filled);
        let stream = self.context.stream();
        copy(&*stream, to_device(self.pinned.address(), self.base + self.start, self.filled.len()));
        self.context.finish(&*stream);
        self.filled.clear();
    }

    /// Whether these bytes are there.
    fn holds(&mut self, offset: u64, bytes: &[u8]) -> bool {
        let ends = |window: &Self| window.start + window.filled.len() as u64;
        if offset < self.start || offset + bytes.len() as u64 > ends(self) {
            let length = WINDOW.min(self.end - offset) as usize;
            let stream = self.context.stream();
            copy(&*stream, to_host(self.base + offset, self.pinned.address(), length));
            self.context.finish(&*stream);
            (self.start, self.filled) = (offset, self.pinned.read());
            self.filled.truncate(length);
        }
        let at = (offset - self.start) as usize;
        self.filled[at..at + bytes.len()] == *bytes
    }
}
