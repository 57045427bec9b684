//! The server's recorder: figures of each worker, and the stamps of the last requests for workers that ask.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    PeerNumber, PeerReport, RecorderConfig, ServerStamps,
    message::{Answer, MessageError, Query},
    now,
    peers::{Peers, lock},
    ring::Ring,
};

/// A server's traces. Clones are handles to the same.
#[derive(Clone, Debug)]
pub struct ServerRecorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    enabled: bool,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    peers: Peers,
    ring: Ring<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// None once the worker has come again: its tags may mean others then.
    worker: Option<PeerNumber>,
    tag: u64,
    stamps: ServerStamps,
}

impl ServerRecorder {
    /// A recorder; all memory that it records into is allocated here and in [`ServerRecorder::add_peer`].
    #[must_use]
    pub fn new(config: RecorderConfig) -> Self {
        let ring = Ring::new(if config.enabled { config.kept } else { 0 });
        let state = Mutex::new(State { peers: Peers::default(), ring });
        Self(Arc::new(Inner { enabled: config.enabled, state }))
    }

    /// A worker that requests will come from. A name that is known keeps its number and its figures, but requests of
    /// before are not answered any more: the worker has come again, and may use the same tags.
    pub fn add_peer(&self, name: &str) -> PeerNumber {
        let state = &mut *self.state();
        let (number, _) = state.peers.add(name);
        state
            .ring
            .iter_mut()
            .filter(|entry| entry.worker == Some(number))
            .for_each(|entry| entry.worker = None);
        number
    }

    /// The clock, for a stamp; 0, without reading it, where nothing is recorded.
    #[inline]
    #[must_use]
    pub fn now(&self) -> u64 {
        if self.0.enabled { now() } else { 0 }
    }

    /// Records a request that was answered, or that ended without an answer (`sent` is 0). `tag` is the number that
    /// travelled in its header. Takes one lock for some hundred nanoseconds, and allocates nothing.
    pub fn complete(&self, worker: PeerNumber, tag: u64, stamps: ServerStamps) {
        if !self.0.enabled {
            return;
        }
        let State { peers, ring } = &mut *self.state();
        let Some(peer) = peers.at(worker) else { return };
        if stamps.sent == 0 {
            peer.failed += 1;
        } else {
            peer.requests += 1;
            peer.record(stamps.phases());
        }
        ring.push(Entry { worker: Some(worker), tag, stamps });
    }

    /// Answers a worker's query: the stamps of those of its requests that are still kept.
    ///
    /// # Errors
    /// [`MessageError`] where the query is not one.
    pub fn answer(&self, worker: PeerNumber, query: &[u8]) -> Result<Vec<u8>, MessageError> {
        let wanted = Query::decode(query)?.tags;
        let state = self.state();
        // The youngest of a tag wins.
        let ours = state.ring.iter().filter(|entry| entry.worker == Some(worker));
        let known: HashMap<u64, ServerStamps> = ours.map(|entry| (entry.tag, entry.stamps)).collect();
        drop(state);
        Ok(Answer::encode(wanted.into_iter().filter_map(|tag| Some((tag, *known.get(&tag)?)))))
    }

    /// Figures of each worker, in the order in which they were added.
    #[must_use]
    pub fn peers(&self) -> Vec<PeerReport> {
        self.state().peers.reports()
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
