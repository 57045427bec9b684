//! What StepMesh's benchmarks tell of their round trips: mean, minimum, percentiles, maximum.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Figures of many durations, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Statistics {
    pub(crate) mean: f64,
    pub(crate) min: f64,
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Statistics {
    /// Of durations; zeros of none.
    pub(crate) fn of(durations: impl IntoIterator<Item = Duration>) -> Self {
        Self::of_microseconds(durations.into_iter().map(|duration| duration.as_secs_f64() * 1e6))
    }

    /// Of durations in microseconds; zeros of none.
    pub(crate) fn of_microseconds(values: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let mean = sorted.iter().sum::<f64>() / sorted.len().max(1) as f64;
        let at = |percent| percentile(&sorted, percent);
        Self { mean, min: at(0), p50: at(50), p90: at(90), p99: at(99), max: at(100) }
    }

    /// Cells of a table: mean, p50, p90, p99, max.
    pub(crate) fn cells(&self) -> impl Iterator<Item = String> {
        [self.mean, self.p50, self.p90, self.p99, self.max].into_iter().map(|value| format!("{value:.1}"))
    }
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
        let of = |values: &[f64]| Statistics::of_microseconds(values.iter().copied());
        let hundred: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        let expected = Statistics { mean: 50.5, min: 1.0, p50: 50.0, p90: 90.0, p99: 99.0, max: 100.0 };
        assert_eq!(of(&hundred), expected);
        assert_eq!(of(&[50.0, 15.0, 20.0, 40.0, 35.0]).p50, 35.0);
        assert_eq!(of(&[7.0]).p99, 7.0);
        assert_eq!(of(&[]), Statistics::default());
    }

    #[test]
    fn durations_are_told_in_microseconds() {
        let both = Statistics::of([Duration::from_millis(1), Duration::from_millis(3)]);
        assert_eq!((both.mean, both.min, both.max), (2000.0, 1000.0, 3000.0));
    }
}
