//! Durations by logarithmic buckets. The recorders feed one for each peer and phase; [`Summary`] is what is told of it.

/// Each octave has 2^4 buckets, so a bucket is at most 1/16 wider than its lower bound.
const SUB_BITS: u32 = 4;
const SUB: usize = 1 << SUB_BITS;

/// Durations from 2^41 ns (36 minutes) on share the last bucket.
const LAST_OCTAVE: u32 = 40;
const BUCKETS: usize = (LAST_OCTAVE - SUB_BITS + 2) as usize * SUB;

/// Counts of durations, in nanoseconds. 4.9 kB, whatever is recorded; recording neither allocates nor fails.
#[derive(Clone, Debug)]
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
