//! What happened between two scrapes of one process.

use std::time::Duration;

use serde::Serialize;

use super::{
    page::{Sample, Samples},
    scrape::Scrape,
};

/// A process, as one line and one JSON object. Rates are per second of the time between two scrapes.
#[derive(Debug, Serialize)]
pub(super) struct Process {
    pub(super) address: String,
    pub(super) name: String,
    incarnation: String,
    #[serde(flatten)]
    pub(super) flow: Flow,
    /// Time that half of the transfers took at most, in microseconds; `null` when there were none, or they are not timed.
    pub(super) p50_us: Option<f64>,
    /// The same of 99 of 100.
    pub(super) p99_us: Option<f64>,
    pub(super) registered_bytes: u64,
    /// Requests that had to wait for a receive, on either side, since the process started; 0 of NICs, which do not tell.
    pub(super) receiver_not_ready: u64,
    pub(super) peers: Vec<Peer>,
}

/// A peer of a process.
#[derive(Debug, Serialize)]
pub(super) struct Peer {
    pub(super) name: String,
    pub(super) connection: String,
    pub(super) transport: String,
    pub(super) keep_alive_misses: u64,
    #[serde(flatten)]
    pub(super) flow: Flow,
    /// Ways for large transfers; what goes over them is not in the peer's own figures.
    pub(super) rails: Vec<Rail>,
}

/// A rail to a peer.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Rail {
    pub(super) rail: String,
    pub(super) state: String,
    pub(super) bytes_per_s: f64,
    /// Moved by transfers of the process, in all of the rail's lives.
    pub(super) bytes: u64,
    /// What those came in.
    pub(super) chunks: u64,
    /// Times that it was opened.
    pub(super) lives: u64,
}

/// What lanes or routes did.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Flow {
    pub(super) read_bytes_per_s: f64,
    pub(super) write_bytes_per_s: f64,
    pub(super) transfers_per_s: f64,
    pub(super) work_requests_per_s: f64,
    pub(super) messages_per_s: f64,
    /// Since the process started.
    pub(super) transfers: u64,
    /// Since the process started.
    pub(super) bytes: u64,
    /// Since the process started.
    pub(super) failed_transfers: u64,
    /// Requests that were given up because the peer did not answer, since the process started.
    pub(super) retry_exceeded: u64,
    /// Requests that were given up because the peer had no receive, since the process started.
    pub(super) receiver_not_ready_exceeded: u64,
    /// Now.
    pub(super) active_transfers: u64,
    /// Now.
    pub(super) outstanding_work_requests: u64,
}

impl Process {
    /// What `new` says, and how much more that is than `old` said; all of it where `old` is another incarnation's.
    pub(super) fn between(address: &str, old: Option<&Scrape>, new: &Scrape) -> Self {
        let incarnation = identity(&new.samples, "incarnation");
        let old = old.filter(|old| identity(&old.samples, "incarnation") == incarnation);
        let span = Span {
            old: old.map(|old| &old.samples),
            new: &new.samples,
            time: old.map(|old| new.at - old.at),
        };
        let infos = new.samples.named("pmd_peer_info");
        let peers = infos.map(|info| {
            let connection = info.label("connection");
            let of = [("connection", connection)];
            Peer {
                name: info.label("peer").to_owned(),
                connection: connection.to_owned(),
                transport: info.label("transport").to_owned(),
                keep_alive_misses: span.now("pmd_peer_keep_alive_misses_total", &of),
                flow: span.flow("pmd_peer", &of),
                rails: span.rails(connection),
            }
        });
        Self {
            address: address.to_owned(),
            name: identity(&new.samples, "name"),
            incarnation,
            flow: span.flow("pmd_lane", &[]),
            p50_us: span.quantile(0.5),
            p99_us: span.quantile(0.99),
            registered_bytes: span.now("pmd_registered_bytes", &[]),
            receiver_not_ready: span.now("pmd_lane_receiver_not_ready_total", &[]),
            peers: peers.collect(),
        }
    }
}

fn identity(samples: &Samples, label: &str) -> String {
    samples.named("pmd_endpoint_info").next().map(|info| info.label(label).to_owned()).unwrap_or_default()
}

struct Span<'a> {
    old: Option<&'a Samples>,
    new: &'a Samples,
    time: Option<Duration>,
}

impl Span<'_> {
    fn flow(&self, prefix: &str, of: &[(&str, &str)]) -> Flow {
        let name = |name: &str| format!("{prefix}_{name}");
        let with = |label| [of, &[label]].concat();
        let bytes = name("transfer_bytes_total");
        let (done, failed) = (with(("result", "done")), with(("result", "failed")));
        let given_up = |syndrome| self.now(&name("failed_completions_total"), &with(("syndrome", syndrome)));
        Flow {
            read_bytes_per_s: self.rate(&bytes, &with(("direction", "read"))),
            write_bytes_per_s: self.rate(&bytes, &with(("direction", "write"))),
            transfers_per_s: self.rate(&name("transfers_total"), &done),
            work_requests_per_s: self.rate(&name("work_requests_total"), of),
            messages_per_s: self.rate(&name("messages_total"), of),
            transfers: self.now(&name("transfers_total"), &done),
            bytes: self.now(&bytes, of),
            failed_transfers: self.now(&name("transfers_total"), &failed),
            retry_exceeded: given_up("retry_exceeded"),
            receiver_not_ready_exceeded: given_up("receiver_not_ready_exceeded"),
            active_transfers: self.now(&name("active_transfers"), of),
            outstanding_work_requests: self.now(&name("outstanding_work_requests"), of),
        }
    }

    /// The rails to the peer of a connection; each has one state that is its own.
    fn rails(&self, connection: &str) -> Vec<Rail> {
        let states = self.new.named("pmd_rail_state");
        let present = states.filter(|of| of.label("connection") == connection && of.value > 0.0);
        let rail = |of: &Sample| {
            let rail = of.label("rail");
            let labels = [("connection", connection), ("rail", rail)];
            Rail {
                rail: rail.to_owned(),
                state: of.label("state").to_owned(),
                bytes_per_s: self.rate("pmd_rail_bytes_total", &labels),
                bytes: self.now("pmd_rail_bytes_total", &labels),
                chunks: self.now("pmd_rail_chunks_total", &labels),
                lives: self.now("pmd_rail_lives_total", &labels),
            }
        };
        present.map(rail).collect()
    }

    fn now(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.new.sum(name, labels) as u64
    }

    fn rate(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let (Some(old), Some(time)) = (self.old, self.time.filter(|time| !time.is_zero())) else {
            return 0.0;
        };
        // What went away since (a peer, say) is no flow backwards.
        (self.new.sum(name, labels) - old.sum(name, labels)).max(0.0) / time.as_secs_f64()
    }

    /// The bound in microseconds that `share` of the transfers since `old` did not exceed.
    fn quantile(&self, share: f64) -> Option<f64> {
        const NAME: &str = "pmd_lane_transfer_duration_seconds_bucket";
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for sample in self.new.named(NAME) {
            let bound = match sample.label("le") {
                "+Inf" => f64::INFINITY,
                bound => bound.parse().ok()?,
            };
            match buckets.iter_mut().find(|(of, _)| *of == bound) {
                Some((_, count)) => *count += sample.value,
                None => buckets.push((bound, sample.value)),
            }
        }
        for (bound, count) in &mut buckets {
            let text = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
            *count -= self.old.map_or(0.0, |old| old.sum(NAME, &[("le", &text)]));
        }
        let total = buckets.last().map_or(0.0, |(_, count)| *count);
        let wanted = (total * share).ceil().max(1.0);
        let found = buckets.iter().find(|(bound, count)| *count >= wanted && bound.is_finite());
        found.map(|(bound, _)| bound * 1e6)
    }
}
