//! What a ping-pong comes to.

use std::time::Duration;

use pmd_host::backend::Transport;
use serde::Serialize;

use super::game::{Rules, Side};
use crate::statistics::Summary;

/// The figures of one side. An exchange is a message there and one back.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    op: &'static str,
    transport: &'static str,
    device: String,
    role: &'static str,
    size: u32,
    iters: u64,
    bytes: u64,
    events: bool,
    #[serde(flatten)]
    exchange: Option<Summary>,
    gbps: f64,
    verified: bool,
}

impl Report {
    /// A report of a game that came to its end, every message verified.
    pub(super) fn new(transport: Transport, device: &str, rules: &Rules, samples: Vec<Duration>) -> Self {
        let seconds = samples.iter().sum::<Duration>().as_secs_f64().max(f64::MIN_POSITIVE);
        let bytes = rules.turns * u64::from(rules.size) * 2;
        Self {
            op: "pingpong",
            transport: transport.name(),
            device: device.to_owned(),
            role: if rules.side == Side::Client { "client" } else { "server" },
            size: rules.size,
            iters: rules.turns,
            bytes,
            events: rules.events,
            exchange: Summary::new(samples, 1),
            gbps: bytes as f64 / seconds / 1e9,
            verified: true,
        }
    }

    /// A line for people.
    pub(super) fn text(&self) -> String {
        let Self { transport, device, role, size, iters, gbps, .. } = self;
        let times = self.exchange.map_or_else(String::new, |times| {
            format!(", an exchange takes {:.2} us (p50), {:.2} us (p99)", times.p50_us, times.p99_us)
        });
        format!(
            "{role} over {transport} ({device}): {iters} exchanges of {size} bytes, all verified{times}, {gbps:.3} GB/s\n"
        )
    }
}
