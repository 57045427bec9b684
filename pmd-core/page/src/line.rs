//! Lines of a plot, and the curve of a distribution. Called by plots.

/// A curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// Places from left to right; those that an axis does not have are left out.
    pub points: Vec<(f64, f64)>,
}

/// Shares of samples at which a distribution is drawn; the longest sample is drawn as well.
const SHARES: [f64; 19] = [
    0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995, 0.9999,
    0.99999,
];

impl Line {
    /// A line with these points.
    #[must_use]
    pub fn new(name: &str, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.to_owned(), points }
    }

    /// For every share (0 to 1) the smallest sample that this share of all samples does not exceed: what
    /// [`Scale::Percentile`](crate::Scale::Percentile) takes. Shares that so few samples cannot tell are left out.
    #[must_use]
    pub fn distribution(name: &str, samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let last = 1.0 - 1.0 / count.max(1) as f64;
        let at = |share: f64| {
            let rank = (share * count as f64).ceil().max(1.0) as usize;
            sorted.get(rank - 1).map(|sample| (share, *sample))
        };
        let mut points: Vec<(f64, f64)> =
            SHARES.into_iter().filter(|share| *share < last).filter_map(at).collect();
        // One in all of them took this long.
        points.extend(sorted.last().map(|longest| (last, *longest)));
        Self::new(name, points)
    }
}
