//! Answers what linked clusters ask. Runs on the control thread, so nothing here waits.

use std::{
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

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

/// Longest wait for a cluster to forget a cache.
const FORGET_PATIENCE: Duration = Duration::from_secs(1);

/// What peers reach: the caches and the links of one process.
pub(super) struct Service {
    pub(super) cluster_id: u64,
    pub(super) caches: Caches,
    pub(super) links: Links,
    /// Itself, for work that must not be done on the control thread.
    own: Weak<Self>,
}

impl Service {
    pub(super) fn new(cluster_id: u64) -> Arc<Self> {
        let (caches, links) = (Caches::new(), Links::new());
        Arc::new_cyclic(|own| Self { cluster_id, caches, links, own: Weak::clone(own) })
    }

    /// Ends a cache that is out of the table. Clusters that know it forget it first, so that none uses its keys when
    /// they end: a device takes that for an attack and drops the link. When this returns nothing reaches its memory.
    pub(super) fn end_cache(&self, cache: Arc<LocalCache>) {
        for link in self.links.all() {
            if cache.is_known_to(link.peer.connection().number()) {
                // One that does not answer is down, or soon is.
                let _ = link.peer.request(GONE, encode(&cache.id), FORGET_PATIENCE);
            }
        }
        settle(cache);
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

    fn look_up(&self, peer: &Peer, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let wanted: Wanted = decode(body)?;
        let missing = || Refusal { code: NO_SUCH_CACHE, detail: format!("no cache {wanted:?}") };
        self.caches
            .look_up(&wanted, peer.connection().number())
            .map(|found| encode(&found))
            .ok_or_else(missing)
    }

    fn consumed(&self, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let consumed: Consumed = decode(body)?;
        if let (Some(cache), Some(service)) = (self.caches.consume(&consumed), self.own.upgrade()) {
            // Without a thread the last holder ends it; only memory that was allocated here ends this way.
            let _ =
                thread::Builder::new().name("datadist-end".into()).spawn(move || service.end_cache(cache));
        }
        Ok(Vec::new())
    }

    fn gone(&self, peer: &Peer, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let cache_id = decode(body)?;
        if let Some(link) = self.links.of(peer) {
            link.forget(cache_id);
        }
        Ok(Vec::new())
    }
}

impl Handler for Service {
    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        match kind {
            LINK => self.link(peer, body),
            UNLINK => self.unlink(peer, body),
            LOOK_UP => self.look_up(peer, body),
            CONSUMED => self.consumed(body),
            GONE => self.gone(peer, body),
            _ => Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind}") }),
        }
    }

    fn down(&self, peer: &Peer, _: &DownReason) {
        self.links.down(peer);
    }
}
