//! Links: the peers that this engine has connected to.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use pmd_host::endpoint::Peer;

use super::{HixlError, name::EngineName, options::LinkPool, requests::Requests};
use crate::fabric::Fabric;

/// How often a disconnecting thread looks whether the link is down.
const STEP: Duration = Duration::from_millis(1);

/// The links of an engine, and what is needed to make and unmake them. Used by its callers and by the threads of its
/// [`ConnectPool`](super::connect_pool::ConnectPool).
pub(super) struct Links {
    fabric: Fabric,
    /// Where this engine listens.
    own: Option<SocketAddr>,
    pool: Option<LinkPool>,
    requests: Arc<Requests>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    links: HashMap<SocketAddr, Slot>,
    closed: bool,
}

enum Slot {
    /// A thread makes or unmakes the link.
    Busy,
    Up(Arc<Link>),
}

/// A peer that this engine has connected to.
pub(super) struct Link {
    address: SocketAddr,
    peer: Peer,
}

impl Link {
    pub(super) const fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Number of the control connection.
    pub(super) fn number(&self) -> u64 {
        self.peer.connection().number()
    }

    fn is_alive(&self) -> bool {
        self.peer.down_reason().is_none() && self.peer.route().fault().is_none()
    }
}

impl Links {
    pub(super) fn new(
        fabric: Fabric,
        own: Option<SocketAddr>,
        pool: Option<LinkPool>,
        requests: Arc<Requests>,
    ) -> Self {
        Self { fabric, own, pool, requests, state: Mutex::default(), changed: Condvar::new() }
    }

    /// Connects. A link that broke is replaced.
    pub(super) fn connect(&self, remote: &str, deadline: Instant) -> Result<Arc<Link>, HixlError> {
        let address = EngineName::reachable(remote)?;
        if Some(address) == self.own {
            return Err(HixlError::IsSelf { given: remote.to_owned() });
        }
        let broken = self.reserve(address, remote, deadline)?;
        let reservation = Reservation { links: self, address };
        if let Some(broken) = broken {
            self.take_down(&broken, deadline);
        }
        let patience = deadline.saturating_duration_since(Instant::now());
        let peer = self.fabric.connect_within(address, patience)?;
        let link = Arc::new(Link { address, peer });
        reservation.fulfil(&link)?;
        Ok(link)
    }

    /// The link, made now if there is none.
    pub(super) fn find_or_connect(&self, remote: &str, deadline: Instant) -> Result<Arc<Link>, HixlError> {
        if let Ok(link) = self.find(remote) {
            return Ok(link);
        }
        self.make_room(deadline);
        match self.connect(remote, deadline) {
            // Another thread was faster.
            Err(HixlError::AlreadyConnected { .. }) => self.find(remote),
            result => result,
        }
    }

    /// The link, which is in order.
    pub(super) fn find(&self, remote: &str) -> Result<Arc<Link>, HixlError> {
        let address = EngineName::reachable(remote)?;
        let state = self.state();
        match state.links.get(&address) {
            Some(Slot::Up(link)) if link.is_alive() => Ok(Arc::clone(link)),
            _ => Err(not_connected(remote)),
        }
    }

    /// Takes the link down. When this returns, nothing of a transfer over it is outstanding.
    pub(super) fn disconnect(&self, remote: &str, deadline: Instant) -> Result<(), HixlError> {
        let address = EngineName::reachable(remote)?;
        let mut state = self.wait_idle(address, deadline)?;
        let Some(Slot::Up(link)) = state.links.insert(address, Slot::Busy) else {
            state.links.remove(&address);
            return Err(not_connected(remote));
        };
        drop(state);
        let _reservation = Reservation { links: self, address };
        self.take_down(&link, deadline);
        Ok(())
    }

    /// Takes the link down, if it is still the one for its address.
    pub(super) fn drop_link(&self, link: &Arc<Link>, deadline: Instant) {
        let mut state = self.state();
        match state.links.get(&link.address) {
            Some(Slot::Up(current)) if Arc::ptr_eq(current, link) => {
                state.links.remove(&link.address);
            }
            _ => return,
        }
        drop(state);
        self.take_down(link, deadline);
    }

    /// As [`Links::drop_link`], by the number of its control connection.
    pub(super) fn drop_number(&self, number: u64, deadline: Instant) {
        let found = self.up().into_iter().find(|link| link.number() == number);
        if let Some(link) = found {
            self.drop_link(&link, deadline);
        }
    }

    /// Takes all links down and lets nobody make another.
    pub(super) fn close(&self, deadline: Instant) {
        self.state().closed = true;
        self.changed.notify_all();
        for link in self.up() {
            self.drop_link(&link, deadline);
        }
    }

    /// Links that can be used.
    pub(super) fn up(&self) -> Vec<Arc<Link>> {
        let state = self.state();
        let up = state.links.values().filter_map(|slot| match slot {
            Slot::Up(link) => Some(Arc::clone(link)),
            Slot::Busy => None,
        });
        up.collect()
    }

    /// Takes idle links down when there are many of those that transfers made.
    fn make_room(&self, deadline: Instant) {
        let Some(pool) = self.pool else { return };
        let up = self.up();
        if up.len() >= pool.high {
            // The table holds one, `up` the other: a third is a transfer's.
            let idle = |link: &&Arc<Link>| Arc::strong_count(link) == 2 && !self.requests.uses(link.number());
            let excess = up.len() - pool.low;
            up.iter().filter(idle).take(excess).for_each(|link| self.drop_link(link, deadline));
        }
    }

    /// Makes the address this thread's to connect. Gives the broken link that was there.
    fn reserve(
        &self,
        address: SocketAddr,
        remote: &str,
        deadline: Instant,
    ) -> Result<Option<Arc<Link>>, HixlError> {
        let mut state = self.wait_idle(address, deadline)?;
        if state.closed {
            return Err(HixlError::NotInitialized);
        }
        let broken = match state.links.get(&address) {
            Some(Slot::Up(link)) if link.is_alive() => {
                return Err(HixlError::AlreadyConnected { remote: remote.to_owned() });
            }
            Some(Slot::Up(link)) => Some(Arc::clone(link)),
            _ => None,
        };
        state.links.insert(address, Slot::Busy);
        Ok(broken)
    }

    /// Waits until no other thread makes or unmakes the link.
    fn wait_idle(&self, address: SocketAddr, deadline: Instant) -> Result<MutexGuard<'_, State>, HixlError> {
        let mut state = self.state();
        while matches!(state.links.get(&address), Some(Slot::Busy)) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(HixlError::Timeout { what: "another thread's connecting" });
            }
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state)
    }

    /// Ends what is in flight over the link, says goodbye, and waits until the link is down.
    fn take_down(&self, link: &Link, deadline: Instant) {
        link.peer.close();
        self.requests.end_all_of(link.number());
        // Its route refuses everything from the moment that the control thread has seen the goodbye.
        while link.peer.down_reason().is_none() && Instant::now() < deadline {
            thread::sleep(STEP);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An address that this thread makes or unmakes a link for; given back when dropped.
struct Reservation<'a> {
    links: &'a Links,
    address: SocketAddr,
}

impl Reservation<'_> {
    fn fulfil(self, link: &Arc<Link>) -> Result<(), HixlError> {
        let mut state = self.links.state();
        if state.closed {
            link.peer.close();
            return Err(HixlError::NotInitialized);
        }
        state.links.insert(self.address, Slot::Up(Arc::clone(link)));
        Ok(())
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        let mut state = self.links.state();
        if matches!(state.links.get(&self.address), Some(Slot::Busy)) {
            state.links.remove(&self.address);
        }
        drop(state);
        self.links.changed.notify_all();
    }
}

fn not_connected(remote: &str) -> HixlError {
    HixlError::NotConnected { remote: remote.to_owned() }
}
