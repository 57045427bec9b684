//! What the benchmark's workers say to their parent.

use serde::{Deserialize, Serialize};

/// A worker has finished; everything verified, or it would have failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) transport: String,
    /// Round trips, in microseconds.
    pub(super) total: Vec<f64>,
    /// Until submitting returned.
    pub(super) post: Vec<f64>,
    /// Two copies of the same bytes, in microseconds; empty without `--compare-memcpy`.
    pub(super) memcpy: Vec<f64>,
    /// From the first measured iteration to the last.
    pub(super) seconds: f64,
    /// Posted by this worker for each round trip.
    pub(super) work_requests: f64,
    /// Phases as the trace has them, in microseconds.
    pub(super) phases: Vec<Phase>,
}

/// A part of the round trips to one server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Phase {
    pub(super) server: String,
    pub(super) name: String,
    pub(super) mean: f64,
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) max: f64,
}

/// Bit of a request's tag: the server checks what was pushed and answers with what can be checked.
pub(super) const VERIFIED: u32 = 1 << 31;
