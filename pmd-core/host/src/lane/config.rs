//! What a lane and its routes are made with.

use std::{fmt, io, sync::Arc, time::Duration};

use pmd_core::ring::credits;
use thiserror::Error;

use super::{MessageHandler, MessageRegistrar, worker::Buffers};
use crate::{
    backend::{QueuePairConfig, SetupError},
    topology::LanePinning,
    transfer::{LaneFault, RouteFault},
};

/// What a lane's thread does when there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Idle {
    /// Polls on: the lowest latency, one core.
    Spin,
    /// Polls, and lets other threads of the core run in between.
    Yield,
    /// Polls for a short while, then sleeps until the device or a submission wakes it.
    #[default]
    Park,
}

/// How a lane runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneConfig {
    /// Name of the thread.
    pub name: String,
    /// What to do when idle.
    pub idle: Idle,
    /// Processor core to pin the thread to. A lane that the caller drives is not pinned.
    pub core: Option<usize>,
    /// Which cores an [endpoint](crate::endpoint) chooses for its NIC's lanes where `core` names none.
    pub pinning: LanePinning,
    /// Submissions that can wait for the lane; rounded up to a power of two.
    pub submissions: usize,
    /// Transfers the lane works on at once; more wait in the ring.
    pub transfers: usize,
    /// Work requests per doorbell.
    pub batch: u32,
    /// A completion is asked for at least every so many work requests, and for the last one of a doorbell. At most
    /// `batch`.
    pub signal_interval: u32,
    /// How long a cancelled transfer may take to finish what is outstanding before its queue pairs are failed.
    pub grace: Duration,
    /// Longest sleep of a parked lane.
    pub longest_park: Duration,
    /// Count how long each transfer takes: [`Lane::latencies`](super::Lane::latencies). Two looks at the clock for each
    /// transfer, one by who submits it and one by the lane, and 10 kB for each route. Without it a transfer without a
    /// deadline costs none.
    pub latencies: bool,
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self {
            name: "pmd-lane".to_owned(),
            idle: Idle::default(),
            core: None,
            pinning: LanePinning::default(),
            submissions: 1024,
            transfers: 1024,
            batch: 32,
            signal_interval: 32,
            grace: Duration::from_millis(200),
            longest_park: Duration::from_millis(100),
            latencies: false,
        }
    }
}

/// What a route is made with.
pub struct RouteConfig {
    /// Queue pairs to the peer; a transfer is spread over them.
    pub queue_pairs: usize,
    /// Size of each.
    pub config: QueuePairConfig,
    /// Takes messages from the peer.
    pub handler: Option<Box<dyn MessageHandler>>,
    /// Gives registered memory for messages, at both ends of the route. Without it there are none: credits come back
    /// in messages, so an end that cannot receive cannot send either.
    pub memory: Option<Arc<dyn MessageRegistrar>>,
    /// Messages that the peer can send before this side has taken one; at least
    /// [`MINIMUM_RECEIVES`](super::MINIMUM_RECEIVES).
    pub message_receives: u32,
    /// Longest message in bytes, both ways.
    pub message_bytes: usize,
}

impl RouteConfig {
    /// Bytes of registered memory that the messages of a route take at one end; `None` where they cannot be counted.
    #[must_use]
    pub fn message_memory(message_receives: u32, message_bytes: usize) -> Option<usize> {
        Buffers::bytes_for(message_receives.saturating_add(credits::RESERVED), message_bytes)
    }
}

impl Default for RouteConfig {
    fn default() -> Self {
        Self {
            queue_pairs: 1,
            config: QueuePairConfig::default(),
            handler: None,
            memory: None,
            message_receives: 64,
            message_bytes: 1024,
        }
    }
}

impl fmt::Debug for RouteConfig {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("RouteConfig")
            .field("queue_pairs", &self.queue_pairs)
            .field("config", &self.config)
            .field("handler", &self.handler.is_some())
            .field("memory", &self.memory.is_some())
            .field("message_receives", &self.message_receives)
            .field("message_bytes", &self.message_bytes)
            .finish()
    }
}

/// Why a lane did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum LaneError {
    /// The thread could not be pinned.
    #[error("cannot pin the lane to core {core}: choose one of those that taskset -p shows")]
    Pin {
        /// Core asked for.
        core: usize,
        /// What sched_setaffinity(2) said.
        #[source]
        source: io::Error,
    },
    /// The thread could not be started.
    #[error("cannot start the lane's thread")]
    Thread(#[source] io::Error),
}

/// Why a route was not opened, connected or closed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The back end refused.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// A route has at least one queue pair.
    #[error("a route needs at least one queue pair")]
    NoQueuePairs,
    /// Too few receives for messages, or messages without a byte.
    #[error(
        "messages need at least {minimum} receives (given {receives}) of at least one byte (given {bytes})"
    )]
    MessageSize {
        /// Receives asked for.
        receives: u32,
        /// Fewest that work.
        minimum: u32,
        /// Bytes asked for.
        bytes: usize,
    },
    /// The peer's route has another number of queue pairs.
    #[error("{given} addresses for {queue_pairs} queue pairs: open both ends with the same number")]
    AddressCount {
        /// Addresses given.
        given: usize,
        /// Queue pairs of this route.
        queue_pairs: usize,
    },
    /// It is connected already.
    #[error("the route is connected already: open a new one")]
    AlreadyConnected,
    /// The route is down.
    #[error("the route is down: {0}")]
    Failed(RouteFault),
    /// The lane ended.
    #[error("the lane ended: {0}")]
    LaneEnded(LaneFault),
}
