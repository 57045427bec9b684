//! What a world is made of: how many nodes, what is asked of them, and what is assumed of machines and networks.

use std::time::Duration;

use af_api::config::Shape;

use crate::clock::{Nanos, nanos};

/// A world to be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Nodes: one half workers, one half servers.
    pub nodes: u32,
    /// Servers that each worker links with.
    pub links: u32,
    /// Rails of each link; every node has as many NICs.
    pub rails: u16,
    /// Transfers that each end of a link makes in each round of traffic.
    pub transfers: u32,
    /// Chunks of a transfer, at most 64.
    pub chunks: u32,
    /// Messages that each end of a link sends in each round.
    pub messages: u32,
    /// All that is left to chance follows from it.
    pub seed: u64,
    /// What is not computed by code of the driver.
    pub assumptions: Assumptions,
}

impl Settings {
    /// A world of so many nodes, each worker linked with up to four servers over two rails.
    #[must_use]
    pub fn new(nodes: u32, seed: u64) -> Self {
        let servers = nodes / 2;
        Self {
            nodes,
            links: servers.min(4),
            rails: 2,
            transfers: 1,
            chunks: 8,
            messages: 48,
            seed,
            assumptions: Assumptions::default(),
        }
    }

    /// The shape of the cluster.
    #[must_use]
    pub const fn shape(&self) -> Shape {
        Shape { workers: self.nodes / 2, servers: self.nodes / 2, group_size: 1 }
    }
}

/// What is assumed, in place of machines and networks. None of it was measured here; all times are one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assumptions {
    /// Time within which all processes start.
    pub start_spread: Duration,
    /// Latency of control connections (TCP, kernel to kernel).
    pub control_latency: Duration,
    /// Most that chance adds to any latency.
    pub jitter: Duration,
    /// Bytes a second of the scheduler's port.
    pub control_bandwidth: u64,
    /// Frames of control connections that are lost, in a million.
    pub control_loss: u64,
    /// What a lost frame, and all after it, waits until TCP sends it again.
    pub retransmission: Duration,
    /// The scheduler looks at one socket once: a system call that finds nothing.
    pub look: Duration,
    /// The scheduler reads and understands one frame.
    pub handle: Duration,
    /// The scheduler queues one frame for one node.
    pub tell: Duration,
    /// The scheduler writes to one socket once.
    pub write: Duration,
    /// Latency of a rail.
    pub rail_latency: Duration,
    /// Bytes a second of a NIC.
    pub rail_bandwidth: u64,
    /// Time to create and connect one queue pair.
    pub queue_pair_setup: Duration,
    /// Time to close one end of a rail.
    pub closing: Duration,
    /// NICs that break in each round of traffic, in a thousand.
    pub broken_nics: u64,
    /// Longest time that a broken NIC stays so.
    pub broken_for: Duration,
}

impl Default for Assumptions {
    fn default() -> Self {
        Self {
            start_spread: Duration::from_secs(1),
            control_latency: Duration::from_micros(25),
            jitter: Duration::from_micros(5),
            control_bandwidth: 3_000_000_000,
            control_loss: 100,
            retransmission: Duration::from_millis(200),
            look: Duration::from_micros(3),
            handle: Duration::from_micros(3),
            tell: Duration::from_micros(1),
            write: Duration::from_micros(5),
            rail_latency: Duration::from_micros(2),
            rail_bandwidth: 50_000_000_000,
            queue_pair_setup: Duration::from_millis(1),
            closing: Duration::from_micros(300),
            broken_nics: 50,
            broken_for: Duration::from_millis(1500),
        }
    }
}

impl Assumptions {
    /// Time that bytes take at a rate in bytes a second.
    pub(crate) fn time_of(bytes: u64, rate: u64) -> Nanos {
        let time = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        Nanos::try_from(time).unwrap_or(Nanos::MAX)
    }

    /// A round trip on a control connection.
    pub(crate) const fn round_trip(&self) -> Nanos {
        2 * nanos(self.control_latency)
    }
}
