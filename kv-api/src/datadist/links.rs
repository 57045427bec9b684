//! The links of this process: one for each cluster, made here or by the cluster.
//!
//! | state | linking | unlinking | pulls and pushes |
//! |---|---|---|---|
//! | none | becomes busy | tells the cluster, if it can be reached | not linked |
//! | busy | refused: processing | refused: processing | not linked |
//! | up | refused: linked already | becomes busy | run |
//! | down | becomes busy | goes; not confirmed | link down |

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use pmd_host::endpoint::Peer;

use super::{
    DataDistError,
    error::LinkFault,
    protocol::{Description, Wanted},
};

/// Links by cluster.
pub(super) struct Links(Mutex<Table>);

struct Table {
    next_token: u64,
    entries: HashMap<u64, Entry>,
}

enum Entry {
    Busy { token: Token, linking: bool },
    Linked(Arc<Link>),
}

/// Whose turn it is at an entry that is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token(u64);

/// A link to a cluster.
pub(super) struct Link {
    pub(super) cluster_id: u64,
    pub(super) peer: Peer,
    /// Whether this side asked for it. The other side's ends are forgotten when they are down.
    made_here: bool,
    /// Caches that the cluster was asked for.
    known: Mutex<HashMap<i64, Arc<Description>>>,
    operations: Mutex<usize>,
    idle: Condvar,
}

/// A pull or push that runs on a link.
pub(super) struct Operation(Arc<Link>);

impl Links {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Table { next_token: 1, entries: HashMap::new() }))
    }

    /// The link to a cluster, if it is up.
    pub(super) fn find(&self, cluster_id: u64) -> Result<Arc<Link>, DataDistError> {
        match self.lock().entries.get(&cluster_id) {
            Some(Entry::Linked(link)) => link.check().map(|()| Arc::clone(link)),
            Some(Entry::Busy { .. }) | None => Err(DataDistError::NotLinked { cluster_id }),
        }
    }

    /// Links that are up, and those that are being made.
    pub(super) fn live(&self) -> usize {
        let is_live = |entry: &&Entry| match entry {
            Entry::Linked(link) => link.fault().is_none(),
            Entry::Busy { linking, .. } => *linking,
        };
        self.lock().entries.values().filter(is_live).count()
    }

    /// Makes an entry busy in order to link.
    pub(super) fn begin_link(&self, cluster_id: u64) -> Result<Token, DataDistError> {
        let mut table = self.lock();
        match table.entries.get(&cluster_id) {
            Some(Entry::Busy { .. }) => return Err(DataDistError::Linking { cluster_id }),
            Some(Entry::Linked(link)) if link.fault().is_none() => {
                return Err(DataDistError::AlreadyLinked { cluster_id });
            }
            Some(Entry::Linked(link)) => link.peer.close(),
            None => {}
        }
        Ok(table.make_busy(cluster_id, true))
    }

    /// The link is made: the cluster has accepted it, which it does not while it makes one itself. So one that it made
    /// meanwhile is older, and it has let go of that. `false` when it is being unlinked already.
    pub(super) fn finish_link(&self, token: Token, cluster_id: u64, peer: &Peer) -> bool {
        let mut table = self.lock();
        match table.entries.get(&cluster_id) {
            Some(Entry::Busy { token: of, .. }) if *of != token => return false,
            Some(Entry::Linked(link)) => link.peer.close(),
            _ => {}
        }
        table.entries.insert(cluster_id, Entry::Linked(Arc::new(Link::new(cluster_id, peer, true))));
        true
    }

    /// Leaves the entry. Returns whether there is a link now, made by the cluster.
    pub(super) fn give_up(&self, token: Token, cluster_id: u64) -> bool {
        let mut table = self.lock();
        if table.is_busy(cluster_id, token) {
            table.entries.remove(&cluster_id);
        }
        matches!(table.entries.get(&cluster_id), Some(Entry::Linked(link)) if link.fault().is_none())
    }

    /// Makes an entry busy in order to unlink; the link that was there.
    pub(super) fn begin_unlink(&self, cluster_id: u64) -> Result<(Token, Option<Arc<Link>>), DataDistError> {
        let mut table = self.lock();
        let link = match table.entries.get(&cluster_id) {
            Some(Entry::Busy { .. }) => return Err(DataDistError::Linking { cluster_id }),
            Some(Entry::Linked(link)) => Some(Arc::clone(link)),
            None => None,
        };
        Ok((table.make_busy(cluster_id, false), link))
    }

    /// A cluster links itself with this one. One that asks has no link here that is up, so one that seems to be is of
    /// an earlier incarnation. `false` when it has to wait: of two that ask each other the one with the lower number
    /// goes first.
    pub(super) fn accept(&self, ours: u64, cluster_id: u64, peer: &Peer) -> bool {
        let mut table = self.lock();
        match table.entries.get(&cluster_id) {
            Some(Entry::Busy { linking, .. }) if !linking || ours < cluster_id => return false,
            Some(Entry::Linked(link)) if link.peer != *peer => link.peer.close(),
            _ => {}
        }
        table.entries.insert(cluster_id, Entry::Linked(Arc::new(Link::new(cluster_id, peer, false))));
        true
    }

    /// A cluster takes its link down.
    pub(super) fn dismiss(&self, cluster_id: u64, peer: &Peer) {
        let mut table = self.lock();
        if let Some(Entry::Linked(link)) = table.entries.get(&cluster_id) {
            // The one who asks closes the connection that it asks over.
            if link.peer != *peer {
                link.peer.close();
            }
            table.entries.remove(&cluster_id);
        }
    }

    /// A peer is gone.
    pub(super) fn down(&self, peer: &Peer) {
        self.lock().entries.retain(|_, entry| match entry {
            Entry::Linked(link) if link.peer == *peer => {
                link.known().clear();
                link.made_here
            }
            _ => true,
        });
    }

    /// The link of a peer.
    pub(super) fn of(&self, peer: &Peer) -> Option<Arc<Link>> {
        self.lock().entries.values().find_map(|entry| match entry {
            Entry::Linked(link) if link.peer == *peer => Some(Arc::clone(link)),
            _ => None,
        })
    }

    /// Takes every link out.
    pub(super) fn take(&self) -> Vec<Arc<Link>> {
        let links = self.all();
        self.lock().entries.clear();
        links
    }

    /// Every link, up or down.
    pub(super) fn all(&self) -> Vec<Arc<Link>> {
        let link = |entry: &Entry| match entry {
            Entry::Linked(link) => Some(Arc::clone(link)),
            Entry::Busy { .. } => None,
        };
        self.lock().entries.values().filter_map(link).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn make_busy(&mut self, cluster_id: u64, linking: bool) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        self.entries.insert(cluster_id, Entry::Busy { token, linking });
        token
    }

    fn is_busy(&self, cluster_id: u64, token: Token) -> bool {
        matches!(self.entries.get(&cluster_id), Some(Entry::Busy { token: of, .. }) if *of == token)
    }
}

impl Link {
    fn new(cluster_id: u64, peer: &Peer, made_here: bool) -> Self {
        let (known, operations, idle) = (Mutex::default(), Mutex::new(0), Condvar::new());
        Self { cluster_id, peer: peer.clone(), made_here, known, operations, idle }
    }

    /// What took it down; `None` while it is up.
    pub(super) fn fault(&self) -> Option<LinkFault> {
        let down = self.peer.down_reason().map(LinkFault::Down);
        down.or_else(|| self.peer.route().fault().map(LinkFault::Route))
    }

    pub(super) fn check(&self) -> Result<(), DataDistError> {
        match self.fault() {
            Some(reason) => Err(DataDistError::LinkDown { cluster_id: self.cluster_id, reason }),
            None => Ok(()),
        }
    }

    /// Counts a pull or push in, if there is room.
    pub(super) fn enter(self: &Arc<Self>, limit: Option<usize>) -> Result<Operation, DataDistError> {
        let mut operations = self.operations();
        if let Some(limit) = limit.filter(|limit| *operations >= *limit) {
            return Err(DataDistError::Busy { cluster_id: self.cluster_id, limit });
        }
        *operations += 1;
        Ok(Operation(Arc::clone(self)))
    }

    /// Says goodbye and waits until nothing of this side runs on it. What runs fails with its route, at once.
    pub(super) fn close(&self) {
        self.peer.close();
        let operations = self.operations();
        let idle = self.idle.wait_while(operations, |operations| *operations > 0);
        drop(idle.unwrap_or_else(PoisonError::into_inner));
    }

    /// What is known of a cache.
    pub(super) fn recall(&self, wanted: &Wanted) -> Option<(i64, Arc<Description>)> {
        let Wanted::Id(cache_id) = wanted else { return None };
        self.known().get(cache_id).map(|description| (*cache_id, Arc::clone(description)))
    }

    pub(super) fn remember(&self, cache_id: i64, description: &Arc<Description>) {
        self.known().insert(cache_id, Arc::clone(description));
    }

    pub(super) fn forget(&self, cache_id: i64) {
        self.known().remove(&cache_id);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<i64, Arc<Description>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn operations(&self) -> MutexGuard<'_, usize> {
        self.operations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        *self.0.operations() -= 1;
        self.0.idle.notify_all();
    }
}
