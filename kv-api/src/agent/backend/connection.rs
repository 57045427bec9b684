//! Remote agents: how they are reached, and the connection once there is one.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::ifaddrs::getifaddrs;
use pmd_core::sync::{AtomicBool, Ordering};
use pmd_host::{
    control::PeerIdentity,
    endpoint::{Endpoint, Peer},
    identity::{DeviceId, HostId},
};
use serde::{Deserialize, Serialize};

use super::estimate::Estimate;
use crate::agent::{AgentError, messages::Messenger};

/// First bytes of connection information, and its version.
const MAGIC: [u8; 4] = *b"PMD1";

/// How an agent is reached, and which life of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionInfo {
    /// Name of the agent.
    pub agent: String,
    /// Drawn when the agent started: a restarted one has another.
    pub incarnation: DeviceId,
    /// Where it runs.
    pub host: HostId,
    /// Where its control plane listens; any of them will do.
    pub addresses: Vec<SocketAddr>,
}

impl ConnectionInfo {
    pub(in crate::agent) fn of(endpoint: &Endpoint) -> Self {
        let PeerIdentity { incarnation, name, host } = endpoint.identity().clone();
        let addresses = endpoint.local_address().map(reachable).unwrap_or_default();
        Self { agent: name, incarnation, host, addresses }
    }

    /// As bytes for another agent; never empty.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Neither numbers nor strings can fail to encode.
        let body = postcard::to_allocvec(self).unwrap_or_default();
        [&MAGIC[..], &body].concat()
    }

    /// What another agent's bytes say.
    ///
    /// # Errors
    /// [`AgentError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, AgentError> {
        let malformed = || AgentError::Malformed { what: "connection information", length: bytes.len() };
        let body = bytes.strip_prefix(&MAGIC).ok_or_else(malformed)?;
        postcard::from_bytes(body).map_err(|_| malformed())
    }

    /// Addresses in the order in which they are worth trying from `host`.
    fn candidates(&self, host: &HostId) -> Vec<SocketAddr> {
        let near = self.host.boot == host.boot && self.host.network_namespace == host.network_namespace;
        let mut candidates = self.addresses.clone();
        candidates.retain(|address| near || !address.ip().is_loopback());
        candidates.sort_by_key(|address| address.ip().is_loopback() != near);
        candidates
    }
}

/// An agent that listens everywhere is reached at each of its host's addresses.
fn reachable(listening: SocketAddr) -> Vec<SocketAddr> {
    if !listening.ip().is_unspecified() {
        return vec![listening];
    }
    let here = match listening {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
    };
    let interfaces = getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
    });
    let others =
        interfaces.filter(|ip| ip.is_ipv4() == here.is_ipv4() && !ip.is_loopback() && !is_link_local(*ip));
    std::iter::once(here).chain(others).map(|ip| SocketAddr::new(ip, listening.port())).collect()
}

/// Such an address means nothing without an interface.
fn is_link_local(ip: IpAddr) -> bool {
    matches!(ip, IpAddr::V6(ip) if ip.segments()[0] & 0xffc0 == 0xfe80)
}

/// A remote agent whose connection information is loaded, or oneself.
#[derive(Debug)]
pub(in crate::agent) struct Remote {
    pub(super) info: ConnectionInfo,
    pub(super) estimate: Estimate,
    /// Held while connecting, so that one thread does it. Never held with `peer` for long: what closes the connection
    /// must not wait for what makes it.
    connecting: Mutex<()>,
    peer: Mutex<Option<Peer>>,
    invalidated: AtomicBool,
}

impl Remote {
    pub(super) fn new(info: ConnectionInfo) -> Arc<Self> {
        let estimate = Estimate::default();
        let invalidated = AtomicBool::new(false);
        Arc::new(Self { info, estimate, connecting: Mutex::default(), peer: Mutex::default(), invalidated })
    }

    pub(in crate::agent) fn agent(&self) -> &str {
        &self.info.agent
    }

    /// The connection, made if there is none or the one there was broke.
    ///
    /// # Errors
    /// [`AgentError::Unreachable`], [`AgentError::Stale`], [`AgentError::Invalidated`].
    pub(super) fn connect(&self, messenger: &Messenger) -> Result<Peer, AgentError> {
        self.check()?;
        if let Some(peer) = self.live() {
            return Ok(peer);
        }
        let _connecting = self.connecting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = self.live() {
            return Ok(peer);
        }
        let peer = self.reach(messenger)?;
        let former = self.slot().replace(peer.clone());
        former.inspect(Peer::close);
        // Invalidated while it was being connected to: nobody else would close it.
        self.check().inspect_err(|_| peer.close())?;
        Ok(peer)
    }

    /// As [`Remote::connect`], but an agent that went down is not tried again: its metadata has to be loaded anew.
    pub(super) fn connected(&self, messenger: &Messenger) -> Result<Peer, AgentError> {
        if self.is_down() {
            return Err(AgentError::Down { agent: self.agent().to_owned() });
        }
        self.connect(messenger)
    }

    /// Takes over a connection that was made to ask the agent something. Whether it did.
    pub(super) fn adopt(&self, peer: &Peer) -> bool {
        let wanted = peer.identity().incarnation == self.info.incarnation && self.check().is_ok();
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(is_live) || !wanted {
            return false;
        }
        *slot = Some(peer.clone());
        true
    }

    /// Nothing is done with this agent any more; what is in flight to it fails.
    pub(super) fn invalidate(&self) {
        self.invalidated.store(true, Ordering::Release);
        if let Some(peer) = self.slot().take() {
            peer.close();
        }
    }

    pub(super) fn check(&self) -> Result<(), AgentError> {
        if self.invalidated.load(Ordering::Acquire) {
            return Err(AgentError::Invalidated { agent: self.agent().to_owned() });
        }
        Ok(())
    }

    /// Whether the agent is known to be gone.
    pub(super) fn is_down(&self) -> bool {
        self.slot().as_ref().is_some_and(|peer| peer.down_reason().is_some())
    }

    fn reach(&self, messenger: &Messenger) -> Result<Peer, AgentError> {
        let agent = || self.agent().to_owned();
        let addresses = self.info.candidates(&messenger.fabric().endpoint().identity().host);
        let mut source = None;
        for address in &addresses {
            match messenger.connect(*address) {
                Ok(peer) if peer.identity().incarnation == self.info.incarnation => return Ok(peer),
                Ok(peer) => {
                    peer.close();
                    return Err(AgentError::Stale { agent: agent() });
                }
                Err(error) => source = Some(Box::new(error)),
            }
        }
        Err(AgentError::Unreachable { agent: agent(), addresses, source })
    }

    fn live(&self) -> Option<Peer> {
        self.slot().clone().filter(is_live)
    }

    fn slot(&self) -> MutexGuard<'_, Option<Peer>> {
        self.peer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_live(peer: &Peer) -> bool {
    peer.down_reason().is_none() && peer.routes().all(|route| route.fault().is_none())
}
