//! What a transfer to a peer costs, learned from those that were carried out.
//!
//! A transfer of `r` work requests and `b` bytes takes `r x request cost + b / bandwidth`. Both figures are fitted to
//! the transfers that ended well, younger ones counting more; relative errors are minimised, so that small transfers
//! count as much as large ones. As long as all have the same shape nothing tells the two figures apart: then the
//! defaults' proportion is kept, and their scale is measured.

use std::time::{Duration, Instant};

use pmd_host::backend::Transport;

/// How much an observation counts for the next one.
const MEMORY: f64 = 0.95;

/// How much the defaults' proportion counts against what was observed.
const PRIOR: f64 = 1e-3;

/// What a transfer will take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// From posting it to its outcome, with nothing else on the way.
    pub duration: Duration,
    /// Whether it comes from transfers to this peer; otherwise it is a guess of the transport's usual figures.
    pub measured: bool,
}

/// Figures of the link to a peer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinkFigures {
    /// Bytes a second, beside what work requests cost.
    pub bytes_per_second: f64,
    /// Seconds that a work request costs beside its bytes.
    pub request_seconds: f64,
    /// Transfers that they were learned from; 0 for the transport's usual figures.
    pub observations: u64,
}

impl LinkFigures {
    /// What a transfer of so many bytes and work requests will take.
    #[must_use]
    pub fn estimate(&self, bytes: u64, work_requests: u64) -> Estimate {
        let seconds = bytes as f64 / self.bytes_per_second + work_requests as f64 * self.request_seconds;
        let duration = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
        Estimate { duration, measured: self.observations > 0 }
    }

    const fn usual(transport: Transport) -> Self {
        let (bytes_per_second, request_seconds) = match transport {
            Transport::SharedMemory => (5e9, 4e-7),
            _ => (10e9, 5e-7),
        };
        Self { bytes_per_second, request_seconds, observations: 0 }
    }
}

/// Learns a link's figures.
#[derive(Clone, Debug)]
pub(super) struct LinkModel {
    usual: LinkFigures,
    observations: u64,
    /// Decayed sums over the observations' requests (x) and bytes (y), both as parts of the time taken.
    xx: f64,
    xy: f64,
    yy: f64,
    x: f64,
    y: f64,
    /// When the last transfer ended: one that waited behind it was not served before.
    last_end: Option<Instant>,
}

impl LinkModel {
    pub(super) const fn new(transport: Transport) -> Self {
        let usual = LinkFigures::usual(transport);
        Self { usual, observations: 0, xx: 0.0, xy: 0.0, yy: 0.0, x: 0.0, y: 0.0, last_end: None }
    }

    /// A transfer was posted at `begun` and has ended now.
    pub(super) fn ended(&mut self, begun: Instant, now: Instant, bytes: u64, work_requests: u64) {
        let served_from = self.last_end.map_or(begun, |last| last.max(begun));
        self.last_end = Some(now);
        self.observe(now.saturating_duration_since(served_from), bytes, work_requests);
    }

    fn observe(&mut self, took: Duration, bytes: u64, work_requests: u64) {
        if bytes == 0 && work_requests == 0 {
            return;
        }
        let seconds = took.as_secs_f64().max(1e-9);
        let x = work_requests as f64 * self.usual.request_seconds / seconds;
        let y = bytes as f64 / self.usual.bytes_per_second / seconds;
        self.xx = MEMORY * self.xx + x * x;
        self.xy = MEMORY * self.xy + x * y;
        self.yy = MEMORY * self.yy + y * y;
        self.x = MEMORY * self.x + x;
        self.y = MEMORY * self.y + y;
        self.observations += 1;
    }

    pub(super) fn figures(&self) -> LinkFigures {
        if self.observations == 0 {
            return self.usual;
        }
        // How much slower than usual, were both figures off by the same factor.
        let both = (self.x + self.y) / (self.xx + 2.0 * self.xy + self.yy);
        let prior = PRIOR * (self.xx + self.yy);
        let (xx, yy) = (self.xx + prior, self.yy + prior);
        let (x, y) = (self.x + prior * both, self.y + prior * both);
        let determinant = xx * yy - self.xy * self.xy;
        let (requests, bytes) = ((x * yy - y * self.xy) / determinant, (y * xx - x * self.xy) / determinant);
        let (requests, bytes) = match (requests > 0.0, bytes > 0.0) {
            (true, true) => (requests, bytes),
            (false, _) => (0.0, y / yy),
            (true, false) => (x / xx, f64::MIN_POSITIVE.sqrt()),
        };
        LinkFigures {
            bytes_per_second: self.usual.bytes_per_second / bytes,
            request_seconds: self.usual.request_seconds * requests,
            observations: self.observations,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a link of these figures takes.
    fn takes(bytes: u64, requests: u64, (rate, cost): (f64, f64)) -> Duration {
        Duration::from_secs_f64(bytes as f64 / rate + requests as f64 * cost)
    }

    fn is_about(found: Duration, wanted: Duration) -> bool {
        let ratio = found.as_secs_f64() / wanted.as_secs_f64();
        (0.95..1.05).contains(&ratio)
    }

    #[test]
    fn nothing_observed_is_a_guess() {
        let figures = LinkModel::new(Transport::SharedMemory).figures();
        let guess = figures.estimate(5_000_000_000, 0);
        assert_eq!(guess, Estimate { duration: Duration::from_secs(1), measured: false });
        assert!(!LinkModel::new(Transport::Verbs).figures().estimate(1, 1).measured);
        assert_eq!(figures.estimate(0, 0).duration, Duration::ZERO);
    }

    #[test]
    fn both_figures_are_learned_from_transfers_of_different_shape() {
        for link in [(1e9, 2e-6), (40e9, 1e-7), (5e7, 3e-5)] {
            let mut model = LinkModel::new(Transport::Mlx5);
            for round in 0..60_u64 {
                let (bytes, requests) = [(64 << 20, 8), (16 << 20, 4096), (64, 1)][(round % 3) as usize];
                model.observe(takes(bytes, requests, link), bytes, requests);
            }
            for (bytes, requests) in [(1 << 30, 128), (64 << 20, 16384), (4096, 1)] {
                let estimate = model.figures().estimate(bytes, requests);
                assert!(estimate.measured);
                assert!(is_about(estimate.duration, takes(bytes, requests, link)), "{link:?}: {estimate:?}");
            }
        }
    }

    #[test]
    fn transfers_of_one_shape_predict_that_shape() {
        for link in [(1e8, 2e-6), (40e9, 1e-9)] {
            let mut model = LinkModel::new(Transport::SharedMemory);
            for _ in 0..10 {
                model.observe(takes(1 << 20, 64, link), 1 << 20, 64);
            }
            let estimate = model.figures().estimate(1 << 20, 64);
            assert!(is_about(estimate.duration, takes(1 << 20, 64, link)), "{estimate:?}");
        }
    }

    #[test]
    fn a_link_that_changes_is_learned_anew() {
        let mut model = LinkModel::new(Transport::SharedMemory);
        for rate in [10e9, 1e9] {
            for _ in 0..200 {
                model.observe(takes(1 << 20, 1, (rate, 1e-7)), 1 << 20, 1);
                model.observe(takes(1 << 10, 1, (rate, 1e-7)), 1 << 10, 1);
            }
            let estimate = model.figures().estimate(1 << 28, 1);
            assert!(is_about(estimate.duration, takes(1 << 28, 1, (rate, 1e-7))), "{estimate:?}");
        }
    }

    #[test]
    fn what_waits_behind_another_is_not_slow() {
        let mut model = LinkModel::new(Transport::SharedMemory);
        let begun = Instant::now();
        for place in 1..=20 {
            let end = begun + Duration::from_millis(place);
            model.ended(begun, end, 1 << 20, 1);
        }
        let estimate = model.figures().estimate(1 << 20, 1);
        assert!(is_about(estimate.duration, Duration::from_millis(1)), "{estimate:?}");
    }

    #[test]
    fn nonsense_stays_finite() {
        let mut model = LinkModel::new(Transport::SharedMemory);
        model.observe(Duration::ZERO, 0, 0);
        assert_eq!(model.figures().observations, 0);
        model.observe(Duration::ZERO, 1 << 40, 1);
        model.observe(Duration::from_secs(100), 0, 1);
        let figures = model.figures();
        assert!(figures.bytes_per_second > 0.0 && figures.request_seconds >= 0.0, "{figures:?}");
        let _ = figures.estimate(u64::MAX, u64::MAX);
    }
}
