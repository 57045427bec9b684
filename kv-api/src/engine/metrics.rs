//! What an engine has done so far, in total and for each peer, and its rendering for Prometheus.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use pmd_core::sync::{AtomicU64, Ordering};
use pmd_host::{
    backend::Transport,
    endpoint::Peer,
    metrics::{Family, Page, Value},
    transfer::{TransferEnd, TransferError},
};

use super::estimate::{LinkFigures, LinkModel};

/// Counts of an engine or of one of its peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TransferCounters {
    /// Transfers posted.
    pub posted: u64,
    /// Transfers that moved every byte.
    pub completed: u64,
    /// Transfers that failed, those cancelled or overdue not counted.
    pub failed: u64,
    /// Transfers that were cancelled.
    pub cancelled: u64,
    /// Transfers whose deadline passed.
    pub overdue: u64,
    /// Bytes of completed transfers.
    pub bytes: u64,
    /// Work requests of completed transfers.
    pub work_requests: u64,
    /// Notifications received, those of layers included.
    pub notifications: u64,
    /// Transfers of peers that they said have failed.
    pub reported: u64,
}

/// Counts and link figures of one peer.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerMetrics {
    /// Its name.
    pub name: String,
    /// Drawn when it started; tells apart peers of one name.
    pub incarnation: String,
    /// Number of the control connection: tells apart two of one peer.
    pub connection: u64,
    /// What carries the bytes.
    pub transport: Transport,
    /// Counts since it connected.
    pub counters: TransferCounters,
    /// What transfers to it cost.
    pub link: LinkFigures,
}

/// Counts of an engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Metrics {
    /// Over all peers, those that are gone included.
    pub total: TransferCounters,
    /// Caches registered now.
    pub caches: u64,
    /// Peers connected now.
    pub peers: Vec<PeerMetrics>,
}

/// One counter as Prometheus knows it: name, help, and the value. `_total` is added to the name.
type Counter = (&'static str, &'static str, fn(&TransferCounters) -> u64);

const FAMILIES: [Counter; 9] = [
    ("posted_transfers", "Transfers posted.", |counters| counters.posted),
    ("completed_transfers", "Transfers that moved every byte.", |counters| counters.completed),
    ("failed_transfers", "Transfers that failed.", |counters| counters.failed),
    ("cancelled_transfers", "Transfers that were cancelled.", |counters| counters.cancelled),
    ("overdue_transfers", "Transfers whose deadline passed.", |counters| counters.overdue),
    ("bytes", "Bytes of completed transfers.", |counters| counters.bytes),
    ("work_requests", "Work requests of completed transfers.", |counters| counters.work_requests),
    ("notifications", "Notifications received.", |counters| counters.notifications),
    ("reported_failures", "Failed transfers reported by peers.", |counters| counters.reported),
];

impl Metrics {
    /// The counts in Prometheus' text format, version 0.0.4.
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut page = Page::default();
        self.write(&mut page);
        page.into_string()
    }

    /// Writes the same behind what others wrote.
    pub fn write(&self, page: &mut Page) {
        for (name, help, value) in FAMILIES {
            page.counter(&format!("pmd_kv_{name}"), help).sample(&[], value(&self.total));
        }
        page.gauge("pmd_kv_caches", "Caches registered now.").sample(&[], self.caches);
        for (name, help, value) in FAMILIES {
            let family = page.counter(&format!("pmd_kv_peer_{name}"), help);
            self.for_peers(family, |peer| value(&peer.counters).into());
        }
        let rate = page.gauge("pmd_kv_peer_link_bytes_per_second", "Bandwidth learned from transfers.");
        self.for_peers(rate, |peer| peer.link.bytes_per_second.into());
        let help = "Cost of a work request learned from transfers.";
        let cost = page.gauge("pmd_kv_peer_link_request_seconds", help);
        self.for_peers(cost, |peer| peer.link.request_seconds.into());
    }

    /// One sample for each peer. One that is connected twice, each side having asked the other, has two connections.
    fn for_peers(&self, mut family: Family<'_>, value: impl Fn(&PeerMetrics) -> Value) {
        for peer in &self.peers {
            let connection = peer.connection.to_string();
            let labels = [
                ("peer", peer.name.as_str()),
                ("incarnation", peer.incarnation.as_str()),
                ("connection", connection.as_str()),
                ("transport", peer.transport.name()),
            ];
            family.sample(&labels, value(peer));
        }
    }
}

/// The atomic form of [`TransferCounters`].
#[derive(Debug, Default)]
pub(super) struct CounterCells([AtomicU64; 9]);

/// One of the counters.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(super) enum Count {
    Posted,
    Completed,
    Failed,
    Cancelled,
    Overdue,
    Bytes,
    WorkRequests,
    Notifications,
    Reported,
}

impl CounterCells {
    pub(super) fn add(&self, count: Count, amount: u64) {
        self.0[count as usize].fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> TransferCounters {
        let value = |count: Count| self.0[count as usize].load(Ordering::Relaxed);
        TransferCounters {
            posted: value(Count::Posted),
            completed: value(Count::Completed),
            failed: value(Count::Failed),
            cancelled: value(Count::Cancelled),
            overdue: value(Count::Overdue),
            bytes: value(Count::Bytes),
            work_requests: value(Count::WorkRequests),
            notifications: value(Count::Notifications),
            reported: value(Count::Reported),
        }
    }
}

/// What an engine counts and learns of one peer.
#[derive(Debug)]
pub(super) struct PeerRecord {
    name: String,
    incarnation: String,
    connection: u64,
    transport: Transport,
    counters: CounterCells,
    link: Mutex<LinkModel>,
}

impl PeerRecord {
    pub(super) fn new(peer: &Peer) -> Self {
        let identity = peer.identity();
        Self {
            name: identity.name.clone(),
            incarnation: identity.incarnation.0.iter().map(|byte| format!("{byte:02x}")).collect(),
            connection: peer.connection().number(),
            transport: peer.transport(),
            counters: CounterCells::default(),
            link: Mutex::new(LinkModel::new(peer.transport())),
        }
    }

    /// Counts here and in the engine's total.
    pub(super) fn count(&self, total: &CounterCells, count: Count, amount: u64) {
        self.counters.add(count, amount);
        total.add(count, amount);
    }

    /// A transfer has ended. Runs on a lane.
    pub(super) fn ended(&self, total: &CounterCells, end: &TransferEnd, begun: Instant, work_requests: u64) {
        match end.outcome {
            Ok(outcome) => {
                self.count(total, Count::Completed, 1);
                self.count(total, Count::Bytes, outcome.bytes);
                self.count(total, Count::WorkRequests, work_requests);
                // A lane does not wait for those who look at the figures: it learns the next time.
                if let Ok(mut link) = self.link.try_lock() {
                    link.ended(begun, Instant::now(), outcome.bytes, work_requests);
                }
            }
            Err(TransferError::Cancelled) => self.count(total, Count::Cancelled, 1),
            Err(TransferError::DeadlineExceeded) => self.count(total, Count::Overdue, 1),
            Err(_) => self.count(total, Count::Failed, 1),
        }
    }

    pub(super) fn figures(&self) -> LinkFigures {
        self.link().figures()
    }

    pub(super) fn read(&self) -> PeerMetrics {
        PeerMetrics {
            name: self.name.clone(),
            incarnation: self.incarnation.clone(),
            connection: self.connection,
            transport: self.transport,
            counters: self.counters.read(),
            link: self.figures(),
        }
    }

    fn link(&self) -> MutexGuard<'_, LinkModel> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
