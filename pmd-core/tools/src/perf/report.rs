//! Figures, for people and as JSON.

use std::{fmt::Write, time::Duration};

use pmd_host::backend::{Backend, Transport};
use serde::Serialize;

use super::{
    plan::{Idle, MemoryChoice, Plan, Test},
    side::Side,
};
use crate::statistics::Summary;

/// What one size gave; also its JSON object.
#[derive(Debug, Serialize)]
pub(super) struct Measurement {
    op: &'static str,
    transport: &'static str,
    device: String,
    memory: MemoryChoice,
    /// How the memory's bytes are reached.
    path: &'static str,
    idle: Idle,
    size: u32,
    iters: u64,
    /// Payload of the measured iterations, one direction.
    bytes: u64,
    inline: bool,
    #[serde(flatten)]
    figures: Figures,
    verified: bool,
    /// What was compared.
    verification: &'static str,
}

/// Figures of a test.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Figures {
    /// One message at a time.
    Latency {
        /// What the times are of.
        latency: &'static str,
        #[serde(flatten)]
        summary: Summary,
    },
    /// A queue of messages.
    Bandwidth { seconds: f64, gbps: f64, messages_per_second: f64, queue_depth: u32, batch: u32 },
}

impl Figures {
    /// Of times that were divided by `parts`.
    pub(super) const fn latency(summary: Summary, parts: u32) -> Self {
        let latency = if parts == 2 { "half round trip" } else { "post to completion" };
        Self::Latency { latency, summary }
    }

    /// Of `iterations` messages of `size` bytes in `elapsed`.
    pub(super) fn bandwidth(elapsed: Duration, size: u32, iterations: u64, plan: &Plan) -> Self {
        let seconds = elapsed.as_secs_f64().max(1e-9);
        Self::Bandwidth {
            seconds,
            gbps: iterations as f64 * f64::from(size) / seconds / 1e9,
            messages_per_second: iterations as f64 / seconds,
            queue_depth: plan.queue_depth,
            batch: plan.batch,
        }
    }
}

impl Measurement {
    /// What a round gave whose contents have been compared on both sides.
    pub(super) fn new<B: Backend>(
        side: &Side<B>,
        size: u32,
        transport: Transport,
        device: &str,
        figures: Figures,
    ) -> Self {
        let plan = &side.plan;
        let iters = plan.iterations(size);
        Self {
            op: plan.test.name(),
            transport: transport.name(),
            device: device.to_owned(),
            memory: plan.memory,
            path: side.incoming.path(),
            idle: plan.idle,
            size,
            iters,
            bytes: iters * u64::from(size),
            inline: plan.is_inline(size),
            figures,
            verified: true,
            verification: verification(plan.test),
        }
    }

    /// A line of the table.
    fn row(&self) -> String {
        let Self { size, iters, figures, .. } = self;
        match figures {
            Figures::Latency { summary: s, .. } => format!(
                "{size:>9} {iters:>9} {:>10.3} {:>10.3} {:>10.3} {:>10.3} {:>10.3} {:>10.3}",
                s.min_us, s.p50_us, s.p99_us, s.p999_us, s.max_us, s.average_us
            ),
            Figures::Bandwidth { gbps, messages_per_second, .. } => {
                format!("{size:>9} {iters:>9} {gbps:>10.3} {messages_per_second:>14.0}")
            }
        }
    }

    /// What stands above the table.
    fn heading(&self) -> String {
        let Self { op, transport, device, path, verification, .. } = self;
        let (what, columns) = match self.figures {
            Figures::Latency { latency, .. } => (
                format!("{latency}, microseconds"),
                format!(
                    "{:>10} {:>10} {:>10} {:>10} {:>10} {:>10}",
                    "t_min", "p50", "p99", "p99.9", "max", "average"
                ),
            ),
            Figures::Bandwidth { queue_depth, batch, .. } => (
                format!("{queue_depth} in flight, {batch} per doorbell"),
                format!("{:>10} {:>14}", "GB/s", "messages/s"),
            ),
        };
        format!(
            "{op} over {transport} ({device}, {path} memory): {what}\nverified: {verification}\n{:>9} {:>9} {columns}",
            "bytes", "iters"
        )
    }
}

/// What a test compares.
const fn verification(test: Test) -> &'static str {
    match test {
        Test::WriteLat => "the last byte of each message, every byte at the end",
        Test::SendLat => "length and last byte of each message, every byte of the last ones at the end",
        Test::ReadLat | Test::ReadBw | Test::WriteBw | Test::Post | Test::Poll => "every byte at the end",
    }
}

/// The table of a run.
pub(super) fn table(measurements: &[Measurement]) -> String {
    let mut out = measurements.first().map(Measurement::heading).unwrap_or_default();
    for measurement in measurements {
        // Writing to a string cannot fail.
        let _ = write!(out, "\n{}", measurement.row());
    }
    out.push('\n');
    out
}

/// The JSON object of a run over several sizes.
#[derive(Debug, Serialize)]
pub(super) struct Sizes<'a> {
    pub(super) op: &'static str,
    pub(super) verified: bool,
    pub(super) results: &'a [Measurement],
}
