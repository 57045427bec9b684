//! What was measured, and its percentiles.

use std::time::Duration;

/// One iteration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// From block tables to work requests.
    pub(super) plan: Duration,
    /// Until posting returned.
    pub(super) post: Duration,
    /// From the begin of posting to the completion.
    pub(super) total: Duration,
    /// Work requests that the blocks were merged into.
    pub(super) work_requests: usize,
    /// The same blocks copied within this process.
    pub(super) memcpy: Option<Duration>,
}

/// All iterations, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Summary {
    /// Median.
    pub(super) plan: f64,
    /// Median.
    pub(super) post: f64,
    pub(super) median: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
    pub(super) min: f64,
    /// Most of any iteration.
    pub(super) work_requests: usize,
    pub(super) baseline: Option<Baseline>,
}

/// The copies within one process.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Baseline {
    /// Median, in microseconds.
    pub(super) memcpy: f64,
    /// Median of each transfer's time over that of the copy of its own iteration.
    pub(super) ratio: f64,
}

impl Summary {
    pub(super) fn of(samples: &[Sample]) -> Self {
        let microseconds = |duration: Duration| duration.as_secs_f64() * 1e6;
        let each = |field: fn(&Sample) -> Duration| sorted(samples.iter().map(field).map(microseconds));
        let totals = each(|sample| sample.total);
        let memcpy = sorted(samples.iter().filter_map(|sample| sample.memcpy).map(microseconds));
        let ratio = |sample: &Sample| {
            Some(sample.total.as_secs_f64() / sample.memcpy?.max(Duration::from_nanos(1)).as_secs_f64())
        };
        let ratios = sorted(samples.iter().filter_map(ratio));
        let baseline = Baseline { memcpy: percentile(&memcpy, 50), ratio: percentile(&ratios, 50) };
        Self {
            plan: percentile(&each(|sample| sample.plan), 50),
            post: percentile(&each(|sample| sample.post), 50),
            median: percentile(&totals, 50),
            p99: percentile(&totals, 99),
            max: percentile(&totals, 100),
            min: percentile(&totals, 0),
            work_requests: samples.iter().map(|sample| sample.work_requests).max().unwrap_or(0),
            baseline: (!ratios.is_empty()).then_some(baseline),
        }
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

/// Nearest rank: the smallest value that at least `percent` in a hundred values do not exceed; 0 of no values.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_nearest_rank() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        for (percent, expected) in [(0, 1.0), (1, 1.0), (50, 50.0), (99, 99.0), (100, 100.0)] {
            assert_eq!(percentile(&hundred, percent), expected, "p{percent} of 100");
        }
        let five = [15.0, 20.0, 35.0, 40.0, 50.0];
        for (percent, expected) in [(5, 15.0), (30, 20.0), (40, 20.0), (41, 35.0), (50, 35.0), (99, 50.0)] {
            assert_eq!(percentile(&five, percent), expected, "p{percent} of 5");
        }
        assert_eq!(percentile(&[7.0], 50), 7.0);
        assert_eq!(percentile(&[], 50), 0.0);
    }

    #[test]
    fn a_summary_takes_each_ratio_from_its_own_iteration() {
        let sample = |total, memcpy| Sample {
            plan: Duration::from_micros(1),
            post: Duration::from_micros(2),
            total: Duration::from_micros(total),
            work_requests: total as usize,
            memcpy: Some(Duration::from_micros(memcpy)),
        };
        let summary = Summary::of(&[sample(30, 10), sample(10, 10), sample(20, 40)]);
        assert_eq!((summary.plan, summary.post, summary.work_requests), (1.0, 2.0, 30));
        assert_eq!((summary.min, summary.median, summary.p99, summary.max), (10.0, 20.0, 30.0, 30.0));
        assert_eq!(summary.baseline, Some(Baseline { memcpy: 10.0, ratio: 1.0 }));
        let without = Sample { memcpy: None, ..sample(30, 10) };
        assert_eq!(Summary::of(&[without]).baseline, None);
    }
}
