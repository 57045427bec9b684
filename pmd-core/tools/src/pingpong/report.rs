//! What a ping-pong comes to.

use std::time::Duration;

use pmd_host::backend::Transport;
use serde::Serialize;

use super::game::{Played, Rules, Side};
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
    /// Whether the peer acknowledged the last message. A client may leave before; it knows what it got.
    acknowledged: bool,
}

impl Report {
    /// A report of a game that came to its end, every message verified.
    pub(super) fn new(transport: Transport, device: &str, rules: &Rules, played: Played) -> Self {
        let Played { exchanges, is_acknowledged } = played;
        let seconds = exchanges.iter().sum::<Duration>().as_secs_f64().max(f64::MIN_POSITIVE);
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
            exchange: Summary::new(exchanges, 1),
            gbps: bytes as f64 / seconds / 1e9,
            verified: true,
            acknowledged: is_acknowledged,
        }
    }

    /// A line for people.
    pub(super) fn text(&self) -> String {
        let Self { transport, device, role, size, iters, gbps, .. } = self;
        let times = self.exchange.map_or_else(String::new, |times| {
            format!(", an exchange takes {:.2} us (p50), {:.2} us (p99)", times.p50_us, times.p99_us)
        });
        let left =
            if self.acknowledged { "" } else { ", the client left before it acknowledged the last answer" };
        format!(
            "{role} over {transport} ({device}): {iters} exchanges of {size} bytes, all verified{times}, {gbps:.3} GB/s{left}\n"
        )
    }
}
