//! Plain structs: what is known of an endpoint at one moment. [`super::render`] writes them out.

use std::net::SocketAddr;

use super::Histogram;
use crate::{
    backend::Transport,
    control::DownReason,
    endpoint::RailReport,
    lane::Counters,
    region::RegionPath,
    registration::CacheCounters,
    retries::Retries,
    transfer::{LaneFault, RouteFault},
};

/// Everything that an endpoint counts. Each number is as of some moment during the call that made it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// The endpoint's name.
    pub name: String,
    /// Its incarnation, in hexadecimal digits.
    pub incarnation: String,
    /// Lanes that were started, with all that they have done.
    pub lanes: Vec<LaneMetrics>,
    /// Peers that are connected now.
    pub peers: Vec<PeerMetrics>,
    /// Registrations by transport and path, those that were made through the cache among them.
    pub registrations: Vec<RegistrationMetrics>,
    /// Registrations that were refused.
    pub failed_registrations: u64,
    /// The cache of registrations.
    pub cache: CacheCounters,
    /// The control plane.
    pub control: ControlMetrics,
}

/// One lane.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LaneMetrics {
    /// What its queue pairs are on.
    pub transport: Transport,
    /// Its number among those of the transport; devices that rails have to themselves come behind the lanes of routes.
    pub number: usize,
    /// Counts since it started.
    pub counters: Counters,
    /// How long transfers took; `None` unless [`LaneConfig::latencies`](crate::lane::LaneConfig::latencies) asks for it.
    pub latencies: Option<Latencies>,
    /// Requests that had to wait for a receive; `None` where the device does not tell.
    pub retries: Option<Retries>,
    /// Why it ended, if it did.
    pub fault: Option<LaneFault>,
}

/// One connected peer, all routes to it together.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerMetrics {
    /// Its name.
    pub name: String,
    /// Its incarnation, in hexadecimal digits.
    pub incarnation: String,
    /// Number of the control connection.
    pub connection: u64,
    /// Address of the other end of the control connection.
    pub address: SocketAddr,
    /// What carries the bytes.
    pub transport: Transport,
    /// Why that, and what was against each better one; as [`Choice`](crate::endpoint::Choice) says it.
    pub reason: String,
    /// Routes to it.
    pub routes: usize,
    /// Counts of its routes; polls and parks are the lanes'.
    pub counters: Counters,
    /// Messages that were given back because the peer had no receive for them.
    pub refused_messages: u64,
    /// How long transfers took; `None` unless asked for.
    pub latencies: Option<Latencies>,
    /// The rails to it that were ever opened; what they carried is counted in `counters` of lanes, each chunk as a transfer.
    pub rails: Vec<RailReport>,
    /// Intervals of the keep-alive in which nothing came.
    pub keep_alive_misses: u64,
    /// What took the first of its routes down that is down.
    pub fault: Option<RouteFault>,
}

/// How long transfers took that moved every byte, from their submission to their outcome, in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latencies {
    /// Those that read.
    pub read: Histogram,
    /// Those that wrote.
    pub write: Histogram,
}

impl Latencies {
    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        self.read.merge(&other.read);
        self.write.merge(&other.write);
    }
}

/// Registrations of one transport that are reached in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistrationMetrics {
    /// The transport.
    pub transport: Transport,
    /// The way.
    pub path: RegionPath,
    /// Registrations made.
    pub registered: u64,
    /// Registrations there now.
    pub regions: u64,
    /// Bytes registered now.
    pub bytes: u64,
}

/// What the control plane saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ControlMetrics {
    /// Peers that were connected, in either direction.
    pub connected: u64,
    /// Peers that are gone.
    pub lost: LostPeers,
}

/// Peers that are gone, by the reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LostPeers {
    /// Their process is gone.
    pub closed: u64,
    /// They said goodbye.
    pub goodbye: u64,
    /// This side closed.
    pub local: u64,
    /// Nothing was heard of them for too long.
    pub silent: u64,
    /// What they said was not understood, or anything else.
    pub other: u64,
}

impl LostPeers {
    pub(crate) const fn count(&mut self, reason: &DownReason) {
        match reason {
            DownReason::Closed => self.closed += 1,
            DownReason::Goodbye => self.goodbye += 1,
            DownReason::Local => self.local += 1,
            DownReason::Silent(_) => self.silent += 1,
            _ => self.other += 1,
        }
    }

    /// Names as metrics have them, and the counts.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 5] {
        let Self { closed, goodbye, local, silent, other } = *self;
        [("closed", closed), ("goodbye", goodbye), ("local", local), ("silent", silent), ("other", other)]
    }
}
