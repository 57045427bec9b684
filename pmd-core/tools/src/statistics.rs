//! What a run of latencies says: percentiles by nearest rank, no interpolation.

use std::time::Duration;

use serde::Serialize;

/// Summary of a run, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) min_us: f64,
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    pub(crate) p999_us: f64,
    pub(crate) max_us: f64,
    pub(crate) average_us: f64,
}

impl Summary {
    /// Sums up `samples`, each first divided by `divisor` (2 makes half a round trip). `None` of no samples.
    pub(crate) fn new(mut samples: Vec<Duration>, divisor: u32) -> Option<Self> {
        samples.sort_unstable();
        let microseconds = |sample: Duration| sample.as_nanos() as f64 / 1e3 / f64::from(divisor);
        let total: Duration = samples.iter().sum();
        Some(Self {
            min_us: microseconds(*samples.first()?),
            p50_us: microseconds(percentile(&samples, 500)?),
            p99_us: microseconds(percentile(&samples, 990)?),
            p999_us: microseconds(percentile(&samples, 999)?),
            max_us: microseconds(*samples.last()?),
            average_us: microseconds(total) / samples.len() as f64,
        })
    }
}

/// The smallest sample that `per_mille` thousandths of all samples do not exceed.
fn percentile(sorted: &[Duration], per_mille: usize) -> Option<Duration> {
    let rank = (sorted.len() * per_mille).div_ceil(1000);
    sorted.get(rank.max(1) - 1).copied()
}

#[cfg(test)]
mod tests;
