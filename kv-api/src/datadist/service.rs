//! Answers what linked clusters ask. Runs on the control thread, so nothing here waits.

use std::{sync::Arc, thread};

use pmd_host::{
    control::{DownReason, Refusal},
    endpoint::Peer,
};

use super::{
    caches::{Caches, LocalCache, settle},
    links::Links,
    protocol::{
        CONSUMED, Consumed, GONE, LINK, LOOK_UP, Link, NO_SUCH_CACHE, PROCESSING, UNLINK, WRONG_CLUSTER,
        Wanted, decode, encode,
    },
};
use crate::fabric::Handler;

/// What peers reach: the caches and the links of one process.
pub(super) struct Service {
    pub(super) cluster_id: u64,
    pub(super) caches: Caches,
    pub(super) links: Links,
}

impl Service {
    pub(super) fn new(cluster_id: u64) -> Self {
        Self { cluster_id, caches: Caches::new(), links: Links::new() }
    }

    /// Tells every linked cluster that a cache is no more.
    pub(super) fn announce_gone(&self, cache_id: i64) {
        for link in self.links.all() {
            // A cluster that cannot be told is down, and forgets everything.
            let _ = link.peer.connection().event(GONE, encode(&cache_id));
        }
    }

    fn link(&self, peer: &Peer, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let from = self.asker(body)?;
        if self.links.accept(self.cluster_id, from, peer) {
            return Ok(Vec::new());
        }
        let detail = format!("cluster {} links or unlinks cluster {from} itself just now", self.cluster_id);
        Err(Refusal { code: PROCESSING, detail })
    }

    fn unlink(&self, peer: &Peer, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.links.dismiss(self.asker(body)?, peer);
        Ok(Vec::new())
    }

    /// The cluster that asks, if it means this one.
    fn asker(&self, body: &[u8]) -> Result<u64, Refusal> {
        let Link { from, to } = decode(body)?;
        if to == self.cluster_id && from != to {
            return Ok(from);
        }
        Err(Refusal { code: WRONG_CLUSTER, detail: self.cluster_id.to_string() })
    }

    fn look_up(&self, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let wanted: Wanted = decode(body)?;
        let missing = || Refusal { code: NO_SUCH_CACHE, detail: format!("no cache {wanted:?}") };
        self.caches.look_up(&wanted).map(|found| encode(&found)).ok_or_else(missing)
    }

    fn consumed(&self, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let consumed: Consumed = decode(body)?;
        if let Some(cache) = self.caches.consume(&consumed) {
            self.retire(cache);
        }
        Ok(Vec::new())
    }

    /// Ends a cache that is out of the table, without waiting here for what still moves its bytes.
    fn retire(&self, cache: Arc<LocalCache>) {
        self.announce_gone(cache.id);
        // Without a thread the last holder ends it; only memory that was allocated here ends this way.
        let _ = thread::Builder::new().name("datadist-retire".into()).spawn(move || settle(cache));
    }
}

impl Handler for Service {
    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        match kind {
            LINK => self.link(peer, body),
            UNLINK => self.unlink(peer, body),
            LOOK_UP => self.look_up(body),
            CONSUMED => self.consumed(body),
            _ => Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind}") }),
        }
    }

    fn event(&self, peer: &Peer, kind: u16, body: &[u8]) {
        if kind == GONE
            && let (Some(link), Ok(cache_id)) = (self.links.of(peer), decode(body))
        {
            link.forget(cache_id);
        }
    }

    fn down(&self, peer: &Peer, _: &DownReason) {
        self.links.down(peer);
    }
}
