//! What a recorder keeps for each peer.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{ClockOffset, Histogram, Phase, Summary};

/// A peer's number in the recorder that gave it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerNumber(pub(super) u32);

/// What is known of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerReport {
    /// Its number in the recorder.
    pub peer: PeerNumber,
    /// The name that it was added with.
    pub name: String,
    /// Requests whose response arrived (at a worker) or was sent (at a server).
    pub requests: u64,
    /// Requests that ended without one.
    pub failed: u64,
    /// Each phase that was recorded at least once.
    pub phases: Vec<(Phase, Summary)>,
    /// Its clock minus ours, where a worker has fetched stamps of this server.
    pub offset: Option<ClockOffset>,
}

impl PeerReport {
    /// One phase's figures; all zero where it was not recorded.
    #[must_use]
    pub fn phase(&self, phase: Phase) -> Summary {
        self.phases
            .iter()
            .find(|(found, _)| *found == phase)
            .map_or_else(Summary::default, |(_, summary)| *summary)
    }
}

#[derive(Debug)]
pub(super) struct PeerState {
    pub(super) name: String,
    pub(super) requests: u64,
    pub(super) failed: u64,
    pub(super) offset: Option<ClockOffset>,
    pub(super) straggled: Straggled,
    histograms: [Histogram; Phase::ALL.len()],
}

/// How often a peer was the last of several, and by how much.
#[derive(Clone, Debug, Default)]
pub(super) struct Straggled {
    /// Requests that it shared with other peers.
    pub(super) shared: u64,
    /// Nanoseconds between the last but one and this one, for each request in which it was the last.
    pub(super) behind: Histogram,
}

impl PeerState {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            requests: 0,
            failed: 0,
            offset: None,
            straggled: Straggled::default(),
            histograms: Default::default(),
        }
    }

    pub(super) fn record(&mut self, spans: impl Iterator<Item = (Phase, u64)>) {
        spans.for_each(|(phase, span)| self.histograms[phase as usize].record(span));
    }

    fn report(&self, peer: PeerNumber) -> PeerReport {
        let phases = Phase::ALL.into_iter().map(|phase| (phase, self.histograms[phase as usize].summary()));
        PeerReport {
            peer,
            name: self.name.clone(),
            requests: self.requests,
            failed: self.failed,
            phases: phases.filter(|(_, summary)| summary.count > 0).collect(),
            offset: self.offset,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Peers(Vec<PeerState>);

impl Peers {
    /// The number of the peer with this name, and whether it is a new one.
    pub(super) fn add(&mut self, name: &str) -> (PeerNumber, bool) {
        let known = self.0.iter().position(|peer| peer.name == name);
        let index = known.unwrap_or_else(|| {
            self.0.push(PeerState::new(name));
            self.0.len() - 1
        });
        (PeerNumber(index as u32), known.is_none())
    }

    pub(super) fn at(&mut self, peer: PeerNumber) -> Option<&mut PeerState> {
        self.0.get_mut(peer.0 as usize)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (PeerNumber, &PeerState)> {
        self.0.iter().enumerate().map(|(index, peer)| (PeerNumber(index as u32), peer))
    }

    pub(super) fn reports(&self) -> Vec<PeerReport> {
        self.iter().map(|(number, peer)| peer.report(number)).collect()
    }

    /// Forgets figures, but not the peers.
    pub(super) fn reset(&mut self) {
        for peer in &mut self.0 {
            *peer = PeerState::new(&peer.name);
        }
    }
}

/// The recorders' locks guard plain figures: a thread that panicked while it held one leaves them usable.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
