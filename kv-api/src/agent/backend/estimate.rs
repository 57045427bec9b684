//! How long a transfer will take: a model of the transport, corrected by what transfers to the same agent took.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use pmd_host::backend::Transport;

/// Weight of the newest measurement.
const NEWEST: f64 = 0.25;

/// How long a transfer is expected to take. NIXL's `estimateXferCost`, method `ANALYTICAL_BACKEND`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostEstimate {
    /// From posting until it is done.
    pub duration: Duration,
    /// Around that, either way.
    pub margin: Duration,
}

/// What transfers to one agent took, compared with the model.
#[derive(Debug, Default)]
pub(super) struct Estimate(Mutex<Experience>);

#[derive(Clone, Copy, Debug)]
struct Experience {
    /// Measured time by modelled time.
    factor: f64,
    /// Mean distance of measurements from the factor, as a part of it.
    deviation: f64,
    /// Whether anything was measured.
    measured: bool,
}

impl Default for Experience {
    fn default() -> Self {
        Self { factor: 1.0, deviation: 1.0, measured: false }
    }
}

/// Nanoseconds: for each transfer, each work request, each byte. Of an idle machine of 2025; only their relation to each
/// other matters once something was measured.
const fn model(transport: Transport) -> (f64, f64, f64) {
    match transport {
        Transport::SharedMemory => (5_000.0, 150.0, 0.12),
        Transport::Mlx5 => (3_000.0, 60.0, 0.03),
        // Verbs, and what may come.
        _ => (15_000.0, 300.0, 0.1),
    }
}

fn modelled(transport: Transport, work_requests: usize, bytes: u64) -> f64 {
    let (each, request, byte) = model(transport);
    each + request * work_requests as f64 + byte * bytes as f64
}

impl Estimate {
    pub(super) fn of(&self, transport: Transport, work_requests: usize, bytes: u64) -> CostEstimate {
        let experience = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let nanoseconds = modelled(transport, work_requests, bytes) * experience.factor;
        let duration = Duration::from_nanos(nanoseconds as u64);
        CostEstimate { duration, margin: duration.mul_f64(experience.deviation.clamp(0.0, 1e3)) }
    }

    pub(super) fn learn(&self, transport: Transport, work_requests: usize, bytes: u64, took: Duration) {
        let ratio = took.as_nanos() as f64 / modelled(transport, work_requests, bytes);
        let mut experience = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !experience.measured {
            *experience = Experience { factor: ratio, deviation: 0.5, measured: true };
            return;
        }
        let off = (ratio / experience.factor - 1.0).abs();
        experience.deviation += NEWEST * (off - experience.deviation);
        experience.factor += NEWEST * (ratio - experience.factor);
    }
}
