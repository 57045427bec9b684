//! What an engine's threads share, and what it does with what its peers ask and say.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use pmd_core::sync::Ordering;
use pmd_host::{
    control::{DownReason, Refusal},
    endpoint::{Peer, PeerService},
    lane::Message,
    metrics::Page,
};

use super::{
    Cache, EngineError, Event, Metrics, Notification, PeerRecord, Shared, TransferId, cache,
    failure::{LayerNote, Report},
    metrics::Count,
    remote::{self, request},
};

impl Shared {
    pub(super) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn next_transfer(&self) -> TransferId {
        TransferId(self.next_transfer.fetch_add(1, Ordering::Relaxed))
    }

    /// Refuses a name that is taken before anything is done for it.
    pub(super) fn check_name(&self, name: &str) -> Result<(), EngineError> {
        match self.find(name) {
            Some(_) => Err(EngineError::NameTaken { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    /// Lets peers find the cache, unless another one got the name first.
    pub(super) fn insert(&self, cache: &Cache) -> Result<(), EngineError> {
        let name = cache.name().to_owned();
        let mut caches = lock(&self.caches);
        if caches.get(&name).is_some_and(|(_, taken)| taken.strong_count() > 0) {
            return Err(EngineError::NameTaken { name });
        }
        caches.insert(name, (cache.id(), cache.downgrade()));
        Ok(())
    }

    /// The last handle of a cache is gone.
    pub(super) fn forget(&self, name: &str, id: u64) {
        let mut caches = lock(&self.caches);
        if caches.get(name).is_some_and(|(known, _)| *known == id) {
            caches.remove(name);
        }
    }

    /// What is counted of a peer.
    pub(super) fn record(&self, peer: &Peer) -> Arc<PeerRecord> {
        let number = peer.connection().number();
        let record = || Arc::new(PeerRecord::new(peer));
        let record = Arc::clone(lock(&self.peers).entry(number).or_insert_with(record));
        // It may have gone down before it was known here: then nobody else takes it out.
        if peer.down_reason().is_some() {
            lock(&self.peers).remove(&number);
        }
        record
    }

    pub(super) fn metrics(&self) -> Metrics {
        let mut peers: Vec<(u64, Arc<PeerRecord>)> =
            lock(&self.peers).iter().map(|(number, record)| (*number, Arc::clone(record))).collect();
        peers.sort_unstable_by_key(|(number, _)| *number);
        let caches = lock(&self.caches).values().filter(|(_, cache)| cache.strong_count() > 0).count();
        Metrics {
            total: self.counters.read(),
            caches: caches as u64,
            peers: peers.iter().map(|(_, record)| record.read()).collect(),
        }
    }

    fn find(&self, name: &str) -> Option<Cache> {
        Cache::upgrade(&lock::<HashMap<String, (u64, Weak<cache::Inner>)>>(&self.caches).get(name)?.1)
    }

    fn count(&self, peer: &Peer, count: Count) {
        self.record(peer).count(&self.counters, count, 1);
    }
}

impl PeerService for Shared {
    fn connected(&self, peer: &Peer) {
        self.record(peer);
        self.inbox.connected(peer);
    }

    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        match (kind, &self.application) {
            (request::CACHE, _) => remote::describe(peer, body, |name| self.find(name)),
            (request::APPLICATION, Some(application)) => application.request(peer, body),
            _ => Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind}") }),
        }
    }

    fn event(&self, peer: &Peer, kind: u16, body: &[u8]) {
        // A peer of another release may say more than is understood here.
        let (request::FAILED, Ok(report)) = (kind, postcard::from_bytes::<Report>(body)) else { return };
        self.count(peer, Count::Reported);
        if let Some(note) = report.layer {
            self.incoming.lost(peer, note, report.reason, report.blocks.clone());
        }
        self.inbox.arrived(Event::Failed(report.into_failure(peer)));
    }

    fn message(&self, peer: &Peer, message: Message<'_>) {
        self.count(peer, Count::Notifications);
        if message.immediate == Some(request::LAYER_LANDED) {
            if let Ok(note) = postcard::from_bytes::<LayerNote>(message.bytes) {
                self.incoming.landed(peer, note);
            }
            return;
        }
        let notification = Notification { peer: peer.clone(), bytes: message.bytes.to_vec() };
        self.inbox.arrived(Event::Notification(notification));
    }

    fn metrics(&self, page: &mut Page) {
        Shared::metrics(self).write(page);
    }

    fn down(&self, peer: &Peer, reason: &DownReason) {
        lock(&self.peers).remove(&peer.connection().number());
        self.incoming.look_again();
        self.inbox.arrived(Event::Down(peer.clone(), reason.clone()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
