//! The ways in which a workload is moved, each done once and looked at, then timed.
#![allow(unsafe_code)] // copies between plain addresses

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pmd_core::accelerator::{
    AcceleratorError, BlockCopies, BlockPair, BlockTable, CopyDirection, CopyRange, DeviceMemory, Stream,
};

use super::{
    Workload,
    baseline::Baseline,
    content::{Content, pairs},
    report::{Report, Row, Times},
    target::{Target, straight},
};
use crate::context::{Context, Pinned, address};

/// What is needed for one workload.
pub(super) struct Bench<'a> {
    context: &'a Context,
    workload: Workload,
    iterations: u32,
    source: Box<dyn DeviceMemory>,
    target: Target,
    pairs: Vec<BlockPair>,
    stream: Arc<dyn Stream>,
    baseline: Baseline,
    seed: u64,
}

/// From where to where, in which pieces.
#[derive(Clone, Copy, Debug)]
struct Way {
    direction: CopyDirection,
    from: u64,
    to: u64,
}

/// The host's memory that the largest workload is not tried with.
const MOST_OF_HOST: u64 = 1 << 30;

impl<'a> Bench<'a> {
    pub(super) fn new(context: &'a Context, workload: Workload, iterations: u32) -> Result<Self, String> {
        let text = |error: AcceleratorError| error.to_string();
        Ok(Self {
            context,
            workload,
            iterations,
            target: Target::open(context, workload)?,
            source: context.accelerator.allocate(workload.bytes()).map_err(text)?,
            pairs: pairs(workload),
            stream: context.accelerator.open_stream().map_err(text)?,
            baseline: Baseline::of(context),
            seed: 0,
        })
    }

    /// All ways.
    pub(super) fn run(mut self, report: &mut Report) {
        self.within(report);
        if self.workload.bytes() <= MOST_OF_HOST {
            self.host(report);
        }
        self.target.close();
    }

    /// Between the two processes, within the device.
    fn within(&mut self, report: &mut Report) {
        let (from, to) = (address(&*self.source), address(self.target.memory()));
        let way = Way { direction: CopyDirection::DeviceToDevice, from, to };
        let path = if self.target.is_shared() { "D2D, two processes" } else { "D2D, one process" };
        let plain = self.measure(report, path, "plain", None, true, |bench| bench.plain(way));
        if self.workload.blocks == 1 {
            return;
        }
        self.measure(report, path, "blocks", plain, false, |bench| bench.blocks(way));
        self.measure(report, path, "ranges", plain, false, |bench| bench.ranges(way));
        if self.baseline.has_copy() {
            self.measure(report, path, "call a block", plain, false, |bench| bench.calls(way));
        }
        if self.baseline.has_batch() {
            self.measure(report, path, "batch call", plain, false, |bench| bench.batch(way));
        }
    }

    /// Between pinned memory of the host and the device.
    fn host(&mut self, report: &mut Report) {
        let host = self.context.pinned(&vec![0; self.workload.bytes() as usize]);
        let to = address(self.target.memory());
        let there = Way { direction: CopyDirection::HostToDevice, from: host.address(), to };
        let path = "H2D, pinned";
        let plain = self.measure_host(report, &host, path, "plain", None, |bench| bench.plain(there));
        if self.workload.blocks > 1 {
            self.measure_host(report, &host, path, "ranges", plain, |bench| bench.ranges(there));
        }
        let from = address(&*self.source);
        let back = Way { direction: CopyDirection::DeviceToHost, from, to: host.address() };
        let path = "D2H, pinned";
        let plain = self.measure_host(report, &host, path, "plain", None, |bench| bench.plain(back));
        if self.workload.blocks > 1 {
            self.measure_host(report, &host, path, "ranges", plain, |bench| bench.ranges(back));
        }
    }

    /// Within the device; what a second of it moves.
    fn measure(
        &mut self,
        report: &mut Report,
        path: &'static str,
        way: &'static str,
        plain: Option<f64>,
        straight_on: bool,
        post: impl Fn(&Self) -> Result<(), AcceleratorError>,
    ) -> Option<f64> {
        let content = self.next();
        content.write(self.context, &*self.source);
        let once = self.once(&post);
        let expected = if straight_on { straight(self.workload) } else { self.pairs.clone() };
        let right = once.is_ok() && self.target.holds(self.context, content, &expected, straight_on);
        let timed = once.and_then(|()| self.time(&post));
        report.add(Row::new(self.workload, path, way, plain, right, timed))
    }

    /// Between the host and the device, in one piece or in blocks that keep their places.
    fn measure_host(
        &mut self,
        report: &mut Report,
        host: &Pinned,
        path: &'static str,
        way: &'static str,
        plain: Option<f64>,
        post: impl Fn(&Self) -> Result<(), AcceleratorError>,
    ) -> Option<f64> {
        let content = self.next();
        let in_pieces = way != "plain";
        let expected = if in_pieces { self.pairs.clone() } else { straight(self.workload) };
        let into_device = path.starts_with("H2D");
        if into_device {
            host.write(&content.table());
        } else {
            content.write(self.context, &*self.source);
        }
        let once = self.once(&post);
        let right = once.is_ok()
            && match into_device {
                true => self.target.holds(self.context, content, &expected, !in_pieces),
                false => holds(&host.read(), content, &expected),
            };
        let timed = once.and_then(|()| self.time(&post));
        report.add(Row::new(self.workload, path, way, plain, right, timed))
    }

    fn next(&mut self) -> Content {
        self.seed += 1;
        Content { workload: self.workload, seed: self.seed }
    }

    fn once(&self, post: &impl Fn(&Self) -> Result<(), AcceleratorError>) -> Result<(), AcceleratorError> {
        post(self)?;
        self.wait()
    }

    fn time(&self, post: &impl Fn(&Self) -> Result<(), AcceleratorError>) -> Result<Times, AcceleratorError> {
        let mut times = Times::default();
        for _ in 0..self.iterations {
            let begun = Instant::now();
            post(self)?;
            let posted = begun.elapsed();
            self.wait()?;
            times.add(posted, begun.elapsed());
        }
        Ok(times)
    }

    /// Without sleep, which would be most of a short copy.
    fn wait(&self) -> Result<(), AcceleratorError> {
        let (event, begun) = (self.stream.record()?, Instant::now());
        while !event.query()? {
            assert!(begun.elapsed() < self.context.patience + Duration::from_secs(1), "hanging: a copy");
            std::hint::spin_loop();
        }
        Ok(())
    }

    fn plain(&self, Way { direction, from, to }: Way) -> Result<(), AcceleratorError> {
        let length = self.workload.bytes();
        // SAFETY: both tables have so many bytes, and live until the copy was waited for.
        unsafe { self.stream.copy(&[CopyRange { from, to, length, direction }]) }
    }

    fn blocks(&self, way: Way) -> Result<(), AcceleratorError> {
        // SAFETY: as above; the pairs are a permutation, and the tables are apart.
        unsafe { self.stream.copy_blocks(&self.copies(way)) }
    }

    fn ranges(&self, way: Way) -> Result<(), AcceleratorError> {
        let ranges = self.all(way)?;
        // SAFETY: as above.
        unsafe { self.stream.copy(&ranges) }
    }

    fn calls(&self, way: Way) -> Result<(), AcceleratorError> {
        let ranges = self.all(way)?;
        // SAFETY: as above.
        ranges.iter().try_for_each(|range| unsafe { self.baseline.copy(&*self.stream, *range) })
    }

    fn batch(&self, way: Way) -> Result<(), AcceleratorError> {
        let ranges = self.all(way)?;
        // SAFETY: as above.
        unsafe { self.baseline.batch(&*self.stream, &ranges) }
    }

    fn copies(&self, Way { direction, from, to }: Way) -> BlockCopies<'_> {
        let stride = self.workload.block_bytes;
        BlockCopies {
            from: BlockTable { base: from, stride },
            to: BlockTable { base: to, stride },
            block_bytes: stride,
            pairs: &self.pairs,
            direction,
        }
    }

    fn all(&self, way: Way) -> Result<Vec<CopyRange>, AcceleratorError> {
        let copies = self.copies(way);
        self.pairs.iter().map(|pair| copies.copy_of(*pair)).collect()
    }
}

/// Whether a table of the host holds the source's blocks where the pairs say.
fn holds(table: &[u8], content: Content, pairs: &[BlockPair]) -> bool {
    let (source, length) = (content.table(), content.workload.block_bytes as usize);
    let block = |table: &[u8], block: u32| table[block as usize * length..][..length].to_vec();
    pairs.iter().all(|pair| block(&source, pair.from) == block(table, pair.to))
}
