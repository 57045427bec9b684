//! The worker's recorder: it gets each request once, when that is complete, and keeps figures and the last requests.

use std::sync::{Arc, Mutex, MutexGuard};

use super::{
    ClockOffset, Moment, PeerNumber, PeerReport, Phase, ServerStamps, StampCell, StragglerReport,
    WorkerStamps,
    message::{Answer, MessageError, Query},
    now,
    peers::{Peers, lock},
    ring::Ring,
    straggler::{self, Finish},
};

/// How much a recorder keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecorderConfig {
    /// Whether anything is recorded. Without it a stamp costs nothing and every report is empty.
    pub enabled: bool,
    /// Requests to one server of which the stamps are kept, the youngest ones; 168 bytes each at a worker, 56 at a
    /// server. Figures in histograms go back to the start, however many are kept here.
    pub kept: usize,
}

impl Default for RecorderConfig {
    fn default() -> Self {
        Self { enabled: true, kept: 4096 }
    }
}

/// A worker's traces. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    enabled: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    peers: Peers,
    ring: Ring<RequestTrace>,
}

/// One request to one server, complete: what the worker's code hands to [`Recorder::complete`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The server, as [`Recorder::add_peer`] numbered it.
    pub peer: PeerNumber,
    /// What both sides know this request by: the number that travelled in its header.
    pub tag: u64,
    /// Bytes pushed to this server.
    pub pushed: u64,
    /// Bytes pulled from it.
    pub pulled: u64,
    /// When. A response that did not arrive (`arrived` is 0) counts as a failure.
    pub stamps: WorkerStamps,
}

/// What is kept of one request to one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTrace {
    /// The worker's handle of the request, the same for all of its servers.
    pub request: u64,
    /// Server, tag, bytes and the worker's stamps.
    pub part: Part,
    /// The server's stamps, once they were fetched; all 0 where the server came again before they were.
    pub server: Option<ServerStamps>,
}

impl RequestTrace {
    /// StepMesh's `fetch_trace`: request {start, post send, post receive, process}, then response {start, post send,
    /// post receive, process}. Each in the clock of the side that noted it, 0 for what is not known (yet).
    #[must_use]
    pub fn numbers(&self) -> [u64; 8] {
        let (worker, server) = (self.part.stamps, self.server.unwrap_or_default());
        let request = [worker.event_done, worker.posted, server.received, server.processed];
        let response = [server.responded, server.sent, worker.arrived, worker.completed];
        let mut numbers = [0; 8];
        numbers[..4].copy_from_slice(&request);
        numbers[4..].copy_from_slice(&response);
        numbers
    }
}

impl Recorder {
    /// A recorder; all memory that it records into is allocated here and in [`Recorder::add_peer`].
    #[must_use]
    pub fn new(config: RecorderConfig) -> Self {
        let ring = Ring::new(if config.enabled { config.kept } else { 0 });
        let state = Mutex::new(State { peers: Peers::default(), ring });
        Self(Arc::new(Inner { enabled: config.enabled, state }))
    }

    /// A server that requests will go to. A name that is known keeps its number and its figures, but its clock and its
    /// tags are taken to be new: the server has come again.
    pub fn add_peer(&self, name: &str) -> PeerNumber {
        let state = &mut *self.state();
        let (number, new) = state.peers.add(name);
        if !new {
            let missing = |trace: &&mut RequestTrace| trace.part.peer == number && trace.server.is_none();
            state
                .ring
                .iter_mut()
                .filter(missing)
                .for_each(|trace| trace.server = Some(ServerStamps::default()));
            if let Some(peer) = state.peers.at(number) {
                peer.offset = None;
            }
        }
        number
    }

    /// The clock, for a stamp; 0, without reading it, where nothing is recorded.
    #[inline]
    #[must_use]
    pub fn now(&self) -> u64 {
        if self.0.enabled { now() } else { 0 }
    }

    /// Notes a moment in a request's cell.
    #[inline]
    pub fn note(&self, cell: &StampCell, moment: Moment) {
        if self.0.enabled {
            cell.note(moment, now());
        }
    }

    /// Records a request that is complete, with all of its servers. Takes one lock for some hundred nanoseconds, and
    /// allocates nothing. Parts of peers that this recorder did not number are left out.
    pub fn complete(&self, request: u64, parts: impl Iterator<Item = Part> + Clone) {
        if !self.0.enabled {
            return;
        }
        let State { peers, ring } = &mut *self.state();
        let finish = Finish::of(parts.clone());
        for part in parts {
            let Some(peer) = peers.at(part.peer) else { continue };
            if part.stamps.arrived == 0 {
                peer.failed += 1;
            } else {
                peer.requests += 1;
                peer.record(part.stamps.phases());
                finish.note(part.peer, &mut peer.straggled);
            }
            ring.push(RequestTrace { request, part, server: None });
        }
    }

    /// The question to put to a server for its stamps of those kept requests of which they are missing, or of one
    /// request only. Its answer goes to [`Recorder::merge`]. None where nothing is missing.
    #[must_use]
    pub fn query(&self, peer: PeerNumber, request: Option<u64>) -> Option<Vec<u8>> {
        let state = self.state();
        let wanted = |trace: &&RequestTrace| {
            trace.part.peer == peer
                && trace.server.is_none()
                && trace.part.stamps.arrived != 0
                && request.is_none_or(|request| trace.request == request)
        };
        let tags: Vec<u64> = state.ring.iter().filter(wanted).map(|trace| trace.part.tag).collect();
        (!tags.is_empty()).then(|| Query { tags }.encode())
    }

    /// Takes a server's answer to [`Recorder::query`]; how many requests it completed. Requests that the server has
    /// forgotten stay without its stamps.
    ///
    /// # Errors
    /// [`MessageError`]; nothing is taken then.
    pub fn merge(&self, peer: PeerNumber, answer: &[u8]) -> Result<usize, MessageError> {
        let answer = Answer::decode(answer)?;
        let State { peers, ring } = &mut *self.state();
        let Some(state) = peers.at(peer) else { return Ok(0) };
        let mut merged = 0;
        for trace in ring.iter_mut().filter(|trace| trace.part.peer == peer && trace.server.is_none()) {
            let Some(stamps) = answer.stamps(trace.part.tag) else { continue };
            trace.server = Some(stamps);
            merged += 1;
            let network = stamps.network(&trace.part.stamps).map(|network| (Phase::Network, network));
            state.record(stamps.phases().chain(network));
            if let Some(offset) = ClockOffset::of(&trace.part.stamps, &stamps) {
                state.offset = Some(state.offset.map_or(offset, |known| known.better(offset)));
            }
        }
        Ok(merged)
    }

    /// What is kept of one request: one trace for each of its servers, in the order in which they were handed in. Empty
    /// where the request is not complete yet, or was too long ago.
    #[must_use]
    pub fn request(&self, request: u64) -> Vec<RequestTrace> {
        self.state().ring.iter().filter(|trace| trace.request == request).copied().collect()
    }

    /// Every trace that is kept, the oldest first.
    #[must_use]
    pub fn traces(&self) -> Vec<RequestTrace> {
        self.state().ring.iter().copied().collect()
    }

    /// Figures of each server, in the order in which they were added.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerReport> {
        self.state().peers.reports()
    }

    /// Which server the others waited for, the worst first.
    #[must_use]
    pub fn stragglers(&self) -> Vec<StragglerReport> {
        straggler::report(&self.state().peers)
    }

    /// Forgets what was recorded, for instance after warming up; peers keep their numbers.
    pub fn reset(&self) {
        let state = &mut *self.state();
        state.peers.reset();
        state.ring.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}
