//! The families of an endpoint; [`super`] lists them. Called by the endpoint's [`Server`](super::Server).

use super::{LaneMetrics, Latencies, Metrics, Page, PeerMetrics, page::Labels};
use crate::{endpoint::RailReport, lane::Counters, rail::RailState};

/// Buckets of lanes' histograms: four to the octave.
const LANE_STEPS: u32 = 2;

/// Those of peers, of which there may be many: one to the octave.
const PEER_STEPS: u32 = 0;

impl Metrics {
    /// Writes every family of [`crate::metrics`].
    pub fn write(&self, page: &mut Page) {
        let info = [("name", self.name.as_str()), ("incarnation", self.incarnation.as_str())];
        page.gauge("pmd_endpoint_info", "The endpoint; always 1.").sample(&info, 1_u64);
        let lanes: Vec<_> = self.lanes.iter().map(Subject::lane).collect();
        let peers: Vec<_> = self.peers.iter().map(Subject::peer).collect();
        write_subjects(page, "pmd_lane", "of each lane", &lanes);
        self.write_lanes(page, &lanes);
        write_subjects(page, "pmd_peer", "to each peer", &peers);
        self.write_peers(page, &peers);
        self.write_registrations(page);
        let mut family = page.counter(
            "pmd_registration_cache_events",
            "Look-ups in and removals from the cache of registrations.",
        );
        let cache = self.cache;
        for (event, count) in [
            ("hit", cache.hits),
            ("miss", cache.misses),
            ("merged", cache.merged),
            ("evicted", cache.evicted),
            ("invalidated", cache.invalidated),
        ] {
            family.sample(&[("event", event)], count);
        }
    }

    fn write_lanes(&self, page: &mut Page, subjects: &[Subject<'_>]) {
        let mut family = page.counter("pmd_lane_polls", "Polls of the completion queue.");
        for of in subjects {
            family.sample(&of.labels(), of.counters.polls);
        }
        let mut family = page.counter("pmd_lane_parks", "Times that the lane went to sleep.");
        for of in subjects {
            family.sample(&of.labels(), of.counters.parks);
        }
        let help =
            "Times that a device said that it has no receive for a request: peers' devices, or this one.";
        let mut family = page.counter("pmd_lane_receiver_not_ready", help);
        for (of, lane) in subjects.iter().zip(&self.lanes) {
            let Some(retries) = lane.retries else { continue };
            family.sample(&of.with(&[("way", "heard")]), retries.heard);
            family.sample(&of.with(&[("way", "said")]), retries.said);
        }
        let mut family = page.gauge("pmd_lane_running", "1 for a lane that runs, 0 for one that ended.");
        for (of, lane) in subjects.iter().zip(&self.lanes) {
            family.sample(&of.labels(), lane.fault.is_none());
        }
    }

    fn write_peers(&self, page: &mut Page, subjects: &[Subject<'_>]) {
        let mut family =
            page.gauge("pmd_peer_info", "A connected peer, its address, and why it is reached so; always 1.");
        for (of, peer) in subjects.iter().zip(&self.peers) {
            let address = peer.address.to_string();
            family.sample(&of.with(&[("address", &address), ("reason", &peer.reason)]), 1_u64);
        }
        let help = "Messages given back to the sender because the peer had no receive for them.";
        let mut family = page.counter("pmd_peer_refused_messages", help);
        for (of, peer) in subjects.iter().zip(&self.peers) {
            family.sample(&of.labels(), peer.refused_messages);
        }
        let help = "Intervals of the keep-alive in which nothing came from the peer.";
        let mut family = page.counter("pmd_peer_keep_alive_misses", help);
        for (of, peer) in subjects.iter().zip(&self.peers) {
            family.sample(&of.labels(), peer.keep_alive_misses);
        }
        self.write_rails(page, subjects);
        page.gauge("pmd_peers", "Peers that are connected.").sample(&[], self.peers.len());
        page.counter("pmd_connected_peers", "Peers that were connected.").sample(&[], self.control.connected);
        let mut family = page.counter("pmd_lost_peers", "Peers that are gone, by the reason.");
        for (reason, count) in self.control.lost.named() {
            family.sample(&[("reason", reason)], count);
        }
    }

    fn write_rails(&self, page: &mut Page, subjects: &[Subject<'_>]) {
        let peers = || subjects.iter().zip(&self.peers);
        let rails = || peers().flat_map(|(of, peer)| peer.rails.iter().map(move |rail| (of, rail)));
        let number = |rail: &RailReport| rail.number.to_string();
        let mut family = page.gauge("pmd_rail_state", "Where a rail to a peer stands: 1 for that state.");
        for (of, rail) in rails() {
            for state in RailState::ALL {
                let labels = [("rail", number(rail)), ("state", state.name().to_owned())];
                let labels = labels.each_ref().map(|(name, value)| (*name, value.as_str()));
                family.sample(&of.with(&labels), rail.state == state);
            }
        }
        for (name, help, value) in RAIL_COUNTERS {
            let mut family = page.counter(name, help);
            for (of, rail) in rails() {
                family.sample(&of.with(&[("rail", &number(rail))]), value(rail));
            }
        }
        let help = "Bytes a second over a rail to a peer, as lately measured.";
        let mut family = page.gauge("pmd_rail_rate_bytes_per_second", help);
        for (of, rail) in rails() {
            if let Some(rate) = rail.rate {
                family.sample(&of.with(&[("rail", &number(rail))]), rate);
            }
        }
    }

    fn write_registrations(&self, page: &mut Page) {
        let ways: Vec<_> =
            self.registrations.iter().map(|of| (of.transport.name(), of.path.to_string())).collect();
        let labels = |index: usize| [("transport", ways[index].0), ("path", ways[index].1.as_str())];
        let mut family =
            page.counter("pmd_registrations", "Registrations of memory, by how the bytes are reached.");
        for (index, of) in self.registrations.iter().enumerate() {
            family.sample(&labels(index), of.registered);
        }
        let mut family = page.gauge("pmd_registered_regions", "Regions of memory that are registered.");
        for (index, of) in self.registrations.iter().enumerate() {
            family.sample(&labels(index), of.regions);
        }
        let mut family = page.gauge("pmd_registered_bytes", "Bytes that are registered.");
        for (index, of) in self.registrations.iter().enumerate() {
            family.sample(&labels(index), of.bytes);
        }
        let mut family = page.counter("pmd_failed_registrations", "Registrations that were refused.");
        family.sample(&[], self.failed_registrations);
    }
}

/// A lane or a peer, with its labels.
struct Subject<'a> {
    labels: Vec<(&'a str, String)>,
    counters: &'a Counters,
    latencies: Option<&'a Latencies>,
    steps: u32,
    /// Whether syndromes are told that never came: there are few lanes and many peers.
    all_syndromes: bool,
}

impl<'a> Subject<'a> {
    fn lane(lane: &'a LaneMetrics) -> Self {
        Self {
            labels: vec![("transport", lane.transport.name().into()), ("lane", lane.number.to_string())],
            counters: &lane.counters,
            latencies: lane.latencies.as_ref(),
            steps: LANE_STEPS,
            all_syndromes: true,
        }
    }

    fn peer(peer: &'a PeerMetrics) -> Self {
        let labels = vec![
            ("peer", peer.name.clone()),
            ("incarnation", peer.incarnation.clone()),
            ("connection", peer.connection.to_string()),
            ("transport", peer.transport.name().into()),
        ];
        let (counters, latencies) = (&peer.counters, peer.latencies.as_ref());
        Self { labels, counters, latencies, steps: PEER_STEPS, all_syndromes: false }
    }

    fn labels(&self) -> Vec<(&str, &str)> {
        self.with(&[])
    }

    fn with<'b>(&'b self, more: Labels<'b>) -> Vec<(&'b str, &'b str)> {
        let own = self.labels.iter().map(|(name, value)| (*name, value.as_str()));
        own.chain(more.iter().copied()).collect()
    }
}

/// One number of rails.
type OfRail = (&'static str, &'static str, fn(&RailReport) -> u64);

const RAIL_COUNTERS: [OfRail; 3] = [
    ("pmd_rail_bytes", "Bytes that this end's transfers have moved over a rail to a peer.", |of| of.bytes),
    ("pmd_rail_chunks", "Chunks that those came in.", |of| of.chunks),
    ("pmd_rail_lives", "Times that a rail to a peer was opened.", |of| of.lives.into()),
];

/// One number of lanes and of peers.
type Plain = (&'static str, &'static str, fn(&Counters) -> u64);

const COUNTERS: [Plain; 2] = [
    ("doorbells", "Doorbells of send queues", |of| of.doorbells),
    ("credit_waits", "Notifications that waited for a receive of the peer", |of| of.credit_waits),
];

const GAUGES: [Plain; 2] = [
    ("active_transfers", "Transfers in hand", Counters::active_transfers),
    (
        "outstanding_work_requests",
        "Work requests that have not completed",
        Counters::outstanding_work_requests,
    ),
];

/// One number of lanes and of peers for each value of one more label.
type Labelled = (&'static str, &'static str, &'static str, fn(&Subject<'_>) -> Vec<(&'static str, u64)>);

const LABELLED: [Labelled; 5] = [
    ("transfers", "Transfers that have an outcome", "result", |of| {
        vec![("done", of.counters.transfers), ("failed", of.counters.failed_transfers)]
    }),
    ("transfer_bytes", "Bytes of transfers that are done", "direction", |of| {
        vec![("read", of.counters.bytes_read), ("write", of.counters.bytes_written())]
    }),
    ("work_requests", "Work requests posted to send queues", "operation", |of| {
        of.counters.operations.named().to_vec()
    }),
    ("messages", "Messages, those that only carry credits among them", "way", |of| {
        vec![("sent", of.counters.messages_sent), ("received", of.counters.messages_received)]
    }),
    ("failed_completions", "Completions with an error", "syndrome", |of| {
        let all = of.all_syndromes;
        of.counters.failed_completions.named().filter(|(_, count)| all || *count > 0).collect()
    }),
];

fn write_subjects(page: &mut Page, prefix: &str, whose: &str, subjects: &[Subject<'_>]) {
    for (name, help, label, values) in LABELLED {
        let mut family = page.counter(&format!("{prefix}_{name}"), &format!("{help}, {whose}."));
        for of in subjects {
            for (value, count) in values(of) {
                family.sample(&of.with(&[(label, value)]), count);
            }
        }
    }
    for (name, help, value) in COUNTERS {
        let mut family = page.counter(&format!("{prefix}_{name}"), &format!("{help}, {whose}."));
        for of in subjects {
            family.sample(&of.labels(), value(of.counters));
        }
    }
    for (name, help, value) in GAUGES {
        let mut family = page.gauge(&format!("{prefix}_{name}"), &format!("{help}, {whose}."));
        for of in subjects {
            family.sample(&of.labels(), value(of.counters));
        }
    }
    let help = format!("From submission to outcome of transfers that are done, {whose}.");
    let mut family = page.histogram(&format!("{prefix}_transfer_duration_seconds"), &help);
    for of in subjects {
        let Some(latencies) = of.latencies else { continue };
        family.durations(&of.with(&[("direction", "read")]), &latencies.read, of.steps);
        family.durations(&of.with(&[("direction", "write")]), &latencies.write, of.steps);
    }
}
