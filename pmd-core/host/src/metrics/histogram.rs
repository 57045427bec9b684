//! Durations by logarithmic buckets: [`Histogram`] of one owner, [`HistogramCells`] of one that counts while others look.
//!
//! Lanes feed the cells; `af-api`'s recorders feed plain ones, one for each peer and phase. [`Summary`] is what is told of
//! them, [`Histogram::up_to`] what Prometheus is told.

use pmd_core::sync::{AtomicU64, Ordering};

/// Each octave has 2^4 buckets, so a bucket is at most 1/16 wider than its lower bound.
const SUB_BITS: u32 = 4;
const SUB: usize = 1 << SUB_BITS;

/// Durations from 2^41 ns (36 minutes) on share the last bucket.
const LAST_OCTAVE: u32 = 40;
const BUCKETS: usize = (LAST_OCTAVE - SUB_BITS + 2) as usize * SUB;

/// Counts of durations, in nanoseconds. 4.9 kB, whatever is recorded; recording neither allocates nor fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Histogram {
    buckets: Box<[u64; BUCKETS]>,
    count: u64,
    sum: u64,
    minimum: u64,
    maximum: u64,
}

/// What a [`Histogram`] says, in nanoseconds; all zero where nothing was recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many durations.
    pub count: u64,
    /// Their mean.
    pub mean: u64,
    /// The shortest.
    pub minimum: u64,
    /// Half of them are not longer. This and the next two are at most 1/16 above the true value.
    pub p50: u64,
    /// Nine of ten are not longer.
    pub p90: u64,
    /// 99 of 100 are not longer.
    pub p99: u64,
    /// The longest, exactly.
    pub maximum: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: Box::new([0; BUCKETS]), count: 0, sum: 0, minimum: u64::MAX, maximum: 0 }
    }
}

impl Histogram {
    /// Counts a duration in nanoseconds.
    #[inline]
    pub fn record(&mut self, nanoseconds: u64) {
        self.buckets[bucket(nanoseconds)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(nanoseconds);
        self.minimum = self.minimum.min(nanoseconds);
        self.maximum = self.maximum.max(nanoseconds);
    }

    /// Durations that were counted.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Their sum in nanoseconds.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.sum
    }

    /// The duration in nanoseconds that `share` (0 to 1) of all do not exceed, at most 1/16 too high; 0 when empty.
    #[must_use]
    pub fn quantile(&self, share: f64) -> u64 {
        let rank = ((share.clamp(0.0, 1.0) * self.count as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let holds = |count: &u64| {
            seen += count;
            seen >= rank
        };
        match self.buckets.iter().position(holds) {
            Some(index) => highest(index).clamp(self.minimum, self.maximum),
            None => 0,
        }
    }

    /// The figures that are usually told.
    #[must_use]
    pub fn summary(&self) -> Summary {
        if self.count == 0 {
            return Summary::default();
        }
        Summary {
            count: self.count,
            mean: self.sum / self.count,
            minimum: self.minimum,
            p50: self.quantile(0.5),
            p90: self.quantile(0.9),
            p99: self.quantile(0.99),
            maximum: self.maximum,
        }
    }

    /// How many durations are at most so long, for bounds from `first` octave (durations below 2^`first` ns) through
    /// `last`, each octave in 2^`steps` parts (at most 16): pairs of the longest duration of a part in nanoseconds, and
    /// the durations that do not exceed it. Bounds and counts rise.
    pub fn up_to(&self, first: u32, last: u32, steps: u32) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (first, last) = (first.clamp(SUB_BITS, LAST_OCTAVE), last.clamp(SUB_BITS, LAST_OCTAVE));
        let parts = 1 << steps.min(SUB_BITS);
        let width = SUB / parts;
        // The bucket after the last one below 2^octave.
        let end = |octave: u32| (octave - SUB_BITS + 1) as usize * SUB;
        let mut seen = self.buckets[..end(first) - width].iter().sum::<u64>();
        (end(first)..=end(last)).step_by(width).map(move |end| {
            seen += self.buckets[end - width..end].iter().sum::<u64>();
            (highest(end - 1), seen)
        })
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (ours, theirs) in self.buckets.iter_mut().zip(other.buckets.iter()) {
            *ours += theirs;
        }
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.minimum = self.minimum.min(other.minimum);
        self.maximum = self.maximum.max(other.maximum);
    }
}

/// The form that one thread feeds while others look.
///
/// No ordering is needed: nobody concludes anything from one cell about another. A reader sums the buckets itself, so the
/// count of what it sees is that of its buckets; the sum and the extremes may be ahead of or behind them by what is being
/// recorded at that moment. Whoever knows by other means that a duration was recorded (the outcome of its transfer was
/// given after it, with release and acquire) sees it in every cell.
#[derive(Debug)]
pub(crate) struct HistogramCells {
    buckets: Box<[AtomicU64; BUCKETS]>,
    sum: AtomicU64,
    minimum: AtomicU64,
    maximum: AtomicU64,
}

impl Default for HistogramCells {
    fn default() -> Self {
        let minimum = AtomicU64::new(u64::MAX);
        let buckets = Box::new([const { AtomicU64::new(0) }; BUCKETS]);
        Self { buckets, sum: AtomicU64::new(0), minimum, maximum: AtomicU64::new(0) }
    }
}

impl HistogramCells {
    /// Counts a duration in nanoseconds. One thread only calls this, hence no read-modify-write.
    #[inline]
    pub(crate) fn record(&self, nanoseconds: u64) {
        let change = |cell: &AtomicU64, with: fn(u64, u64) -> u64, value: u64| {
            cell.store(with(cell.load(Ordering::Relaxed), value), Ordering::Relaxed);
        };
        change(&self.buckets[bucket(nanoseconds)], u64::wrapping_add, 1);
        change(&self.sum, u64::saturating_add, nanoseconds);
        change(&self.minimum, u64::min, nanoseconds);
        change(&self.maximum, u64::max, nanoseconds);
    }

    /// What was recorded.
    pub(crate) fn read(&self) -> Histogram {
        let mut histogram = Histogram::default();
        for (ours, cell) in histogram.buckets.iter_mut().zip(self.buckets.iter()) {
            *ours = cell.load(Ordering::Relaxed);
        }
        histogram.count = histogram.buckets.iter().sum();
        histogram.sum = self.sum.load(Ordering::Relaxed);
        histogram.maximum = self.maximum.load(Ordering::Relaxed);
        histogram.minimum = self.minimum.load(Ordering::Relaxed).min(histogram.maximum);
        if histogram.count == 0 { Histogram::default() } else { histogram }
    }
}

/// Short durations have a bucket each; of longer ones the octave and its next four bits tell the bucket.
const fn bucket(nanoseconds: u64) -> usize {
    if nanoseconds < SUB as u64 {
        return nanoseconds as usize;
    }
    let octave = nanoseconds.ilog2();
    if octave > LAST_OCTAVE {
        return BUCKETS - 1;
    }
    let sub = (nanoseconds >> (octave - SUB_BITS)) as usize & (SUB - 1);
    (octave - SUB_BITS + 1) as usize * SUB + sub
}

/// The longest duration of a bucket.
const fn highest(index: usize) -> u64 {
    if index < SUB {
        return index as u64;
    }
    if index == BUCKETS - 1 {
        return u64::MAX;
    }
    let shift = (index / SUB - 1) as u32;
    let next = (SUB + index % SUB + 1) as u64;
    (next << shift) - 1
}
