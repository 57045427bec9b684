//! What a NIXL back-end plug-in needs, call by call: the agent above keeps names and lists, this moves bytes.
//!
//! [`Agent`](crate::agent::Agent) is built on it, and the plug-in for NIXL's own agent is a thin shell around it:
//!
//! | NIXL's `nixlBackendEngine` | here |
//! |---|---|
//! | `registerMem`, `deregisterMem` | [`Backend::register`], [`Backend::deregister`] |
//! | `getPublicData` | [`Registration::public_data`] |
//! | `getConnInfo` | [`Backend::connection_info`] |
//! | `loadRemoteConnInfo`, `connect`, `disconnect` | [`Backend::load_connection_info`], [`Backend::connect`], [`Backend::disconnect`] |
//! | `loadRemoteMD`, `loadLocalMD`, `unloadMD` | [`Backend::load_remote`], [`Backend::load_local`], dropping it |
//! | `prepXfer`, `postXfer`, `checkXfer`, `releaseReqH` | [`Backend::prepare`], [`Request::post`], [`Request::check`], [`Request::release`] |
//! | `getNotifs`, `genNotif` | [`Backend::take_notifications`], [`Backend::notify`] |
//! | `estimateXferCost` | [`Request::estimate`] |
//!
//! # Connections
//! Loading connection information connects to nobody. The first [`prepare`](Backend::prepare) or
//! [`notify`](Backend::notify) for an agent does, and so does [`connect`](Backend::connect); they wait for the other
//! agent's answer, at most [`BackendConfig::patience`] for each of its steps. Each direction has a connection of its own,
//! so that one agent's `disconnect` leaves the other one's transfers alone. An agent may connect to itself, under its
//! own name and without loading anything.
//!
//! # Keys
//! They do not travel in metadata. The first request that needs a registration asks its agent for the key, over the
//! control connection; what is deregistered there is forgotten here. So metadata is small, cannot open memory to a
//! stranger, and cannot name a key of an earlier life.
#![allow(unsafe_code)] // registers memory on the caller's word

mod connection;
mod estimate;
mod inbox;
mod plan;
mod registration;
mod request;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use pmd_core::{
    memory::RegionDescription,
    sync::{AtomicU64, Ordering},
};
use pmd_host::{
    endpoint::{EndpointConfig, Peer},
    identity::DeviceId,
    soft::ArenaOptions,
    transfer::Direction,
};

pub use connection::ConnectionInfo;
pub use estimate::CostEstimate;
pub use inbox::{Notification, Service};
pub use plan::{LocalDescriptor, Pairs, RemoteDescriptor};
pub use registration::{Registration, RemoteRegistration};
pub use request::{Phase, Request, RequestTelemetry};

use self::{
    connection::Remote,
    inbox::Inbox,
    plan::{Plan, RemoteSide},
    registration::PublicData,
};
use super::{
    AgentError,
    messages::{MessageLimits, Messenger, Receiver},
};
use crate::fabric::SegmentId;

/// Number of the active messages that are notifications.
const NOTIFICATION: u16 = 1;

/// How long a deregistration waits for transfers that it stopped; several times a lane's grace.
const STOPPING: Duration = Duration::from_secs(2);

/// How a backend is made.
#[derive(Clone, Debug)]
pub struct BackendConfig {
    /// Devices, transport, where to listen. Its name is the agent's.
    pub endpoint: EndpointConfig,
    /// Bounds of notifications under way.
    pub messages: MessageLimits,
    /// Bytes of notifications that are kept until they are taken; more stay with their senders.
    pub inbox_bytes: usize,
    /// Longest wait for another agent's answer, and for room for a notification.
    pub patience: Duration,
}

impl BackendConfig {
    /// An agent of this name that listens on a port of the system's choice of the loopback interface.
    #[must_use]
    pub fn new(agent: &str) -> Self {
        let listen = Some(([127, 0, 0, 1], 0).into());
        let endpoint = EndpointConfig { name: agent.to_owned(), listen, ..EndpointConfig::default() };
        Self {
            endpoint,
            messages: MessageLimits::default(),
            inbox_bytes: 64 << 20,
            patience: Duration::from_secs(10),
        }
    }
}

/// One agent's end of its transfers and notifications. Clones are handles to the same backend.
#[derive(Clone)]
pub struct Backend(Arc<Shared>);

struct Shared {
    messenger: Messenger,
    inbox: Arc<Inbox>,
    info: ConnectionInfo,
    patience: Duration,
    next_number: AtomicU64,
    /// By name; oneself too, once that was needed.
    remotes: Mutex<HashMap<String, Arc<Remote>>>,
    /// Requests that are posted and not known to be quiet.
    active: Mutex<HashMap<u64, Weak<request::Inner>>>,
}

impl Backend {
    /// Opens the devices and listens.
    ///
    /// # Errors
    /// [`AgentError::Fabric`].
    pub fn open(config: BackendConfig) -> Result<Self, AgentError> {
        Self::open_with(config, None)
    }

    /// As [`Backend::open`], with somebody who answers what other agents ask.
    ///
    /// # Errors
    /// [`AgentError::Fabric`].
    pub fn open_with(config: BackendConfig, service: Option<Arc<dyn Service>>) -> Result<Self, AgentError> {
        let BackendConfig { endpoint, messages, inbox_bytes, patience } = config;
        let inbox = Arc::new(Inbox::new(inbox_bytes, service));
        let receiver = Arc::clone(&inbox) as Arc<dyn Receiver>;
        let messenger = Messenger::open(endpoint, messages, receiver)?;
        let info = ConnectionInfo::of(messenger.fabric().endpoint());
        let next_number = AtomicU64::new(1);
        let (remotes, active) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Shared { messenger, inbox, info, patience, next_number, remotes, active })))
    }

    /// Name of the agent.
    #[must_use]
    pub fn agent(&self) -> &str {
        &self.0.info.agent
    }

    /// Messages and memory below.
    #[must_use]
    pub fn messenger(&self) -> &Messenger {
        &self.0.messenger
    }

    /// How other agents reach this one; the same bytes for as long as it lives. Never empty.
    #[must_use]
    pub fn connection_info(&self) -> &ConnectionInfo {
        &self.0.info
    }

    /// Registers one contiguous region of this process's memory for transfers in both directions. Ranges may overlap.
    ///
    /// # Errors
    /// [`AgentError::Empty`], [`AgentError::Fabric`].
    ///
    /// # Safety
    /// The range stays mapped until [`Backend::deregister`] has returned `Ok` for it, or all clones of the registration,
    /// the requests prepared with it and its transfers are gone; its bytes are not borrowed while a transfer may touch
    /// them, other agents' transfers included.
    pub unsafe fn register(&self, memory: &RegionDescription) -> Result<Registration, AgentError> {
        if memory.length == 0 {
            return Err(AgentError::Empty);
        }
        // SAFETY: passed on to the caller.
        unsafe { Registration::register(self.0.messenger.fabric(), memory) }
    }

    /// As [`Backend::register`], with NIXL's number of the device: memory of an accelerator has to be on the one of this
    /// number, of those that the backend was opened with. For memory of the host, and where there are no accelerators, the
    /// number says nothing.
    ///
    /// # Errors
    /// As [`Backend::register`].
    ///
    /// # Safety
    /// As [`Backend::register`].
    pub unsafe fn register_on(
        &self,
        memory: &RegionDescription,
        device: u64,
    ) -> Result<Registration, AgentError> {
        if memory.length == 0 {
            return Err(AgentError::Empty);
        }
        // SAFETY: passed on to the caller.
        unsafe { Registration::register_on(self.0.messenger.fabric(), memory, device) }
    }

    /// Allocates zeroed memory that agents of this host can map, and registers it: the fastest kind. It is freed with
    /// the registration.
    ///
    /// # Errors
    /// [`AgentError::Fabric`].
    pub fn allocate(&self, bytes: usize, options: ArenaOptions) -> Result<Registration, AgentError> {
        Registration::allocate(self.0.messenger.fabric(), bytes, options)
    }

    /// Takes a registration back: stops this agent's transfers with it, and when it returns `Ok` nothing of this agent's
    /// or of others touches the memory any more. Requests prepared with it cannot be posted any more.
    ///
    /// # Errors
    /// [`AgentError::Deregistered`] when it was done before; [`AgentError::InUse`] when a transfer does not stop: then
    /// the memory is registered still.
    pub fn deregister(&self, registration: &Registration) -> Result<(), AgentError> {
        let segment = registration.take()?;
        let deadline = Instant::now() + STOPPING;
        while segment.is_shared() {
            self.0.stop_requests_using(registration);
            if Instant::now() >= deadline {
                registration.put_back(segment);
                let (address, length) = (registration.address(), registration.length());
                return Err(AgentError::InUse { address, length });
            }
            thread::sleep(Duration::from_micros(50));
        }
        Ok(())
    }

    /// Takes note of how a remote agent is reached. Connects to nobody. Information that is loaded already changes
    /// nothing; that of a new life replaces the old one's if the old one is known to be down.
    ///
    /// # Errors
    /// [`AgentError::Malformed`]; [`AgentError::Changed`]; [`AgentError::Oneself`]; [`AgentError::WrongAgent`] when the
    /// bytes name another agent than `agent`.
    pub fn load_connection_info(&self, agent: &str, bytes: &[u8]) -> Result<(), AgentError> {
        let info = ConnectionInfo::from_bytes(bytes)?;
        if info.agent != agent {
            return Err(AgentError::WrongAgent { owner: info.agent, agent: agent.to_owned() });
        }
        self.0.load(info)
    }

    /// Connects now, rather than when it is needed.
    ///
    /// # Errors
    /// [`AgentError::UnknownAgent`], [`AgentError::Unreachable`], [`AgentError::Stale`].
    pub fn connect(&self, agent: &str) -> Result<(), AgentError> {
        self.0.remote(agent)?.connect(&self.0.messenger).map(drop)
    }

    /// Forgets a remote agent: its connection closes, what is in flight to it fails, and handles made for it are void.
    ///
    /// # Errors
    /// [`AgentError::UnknownAgent`].
    pub fn disconnect(&self, agent: &str) -> Result<(), AgentError> {
        let remote = self.0.remotes().remove(agent);
        let unknown = || AgentError::UnknownAgent { agent: agent.to_owned() };
        remote.map(|remote| remote.invalidate()).ok_or_else(unknown)
    }

    /// A remote agent's registration, from what its [`Registration::public_data`] says. Its connection information has
    /// to be loaded.
    ///
    /// # Errors
    /// [`AgentError::UnknownAgent`]; [`AgentError::Malformed`]; [`AgentError::Stale`] when it is of another life of the
    /// agent.
    pub fn load_remote(&self, agent: &str, public_data: &[u8]) -> Result<RemoteRegistration, AgentError> {
        let remote = self.0.remote(agent)?;
        let malformed = |_| AgentError::Malformed { what: "a registration", length: public_data.len() };
        let data: PublicData = postcard::from_bytes(public_data).map_err(malformed)?;
        if data.incarnation != remote.info.incarnation {
            return Err(AgentError::Stale { agent: agent.to_owned() });
        }
        let PublicData { id, address, length, .. } = data;
        Ok(RemoteRegistration { remote, id, address, length })
    }

    /// Which life of an agent is loaded.
    pub(super) fn incarnation_of(&self, agent: &str) -> Result<DeviceId, AgentError> {
        Ok(self.0.remote(agent)?.info.incarnation)
    }

    /// Makes registrations of the life of an agent that is loaded, of number, first byte and bytes.
    pub(super) fn remote_registrations(
        &self,
        agent: &str,
    ) -> Result<impl Fn(u64, u64, u64) -> RemoteRegistration + use<>, AgentError> {
        let remote = self.0.remote(agent)?;
        Ok(move |number, address, length| {
            let (remote, id) = (Arc::clone(&remote), SegmentId(number));
            RemoteRegistration { remote, id, address, length }
        })
    }

    /// Uses a connection that was made to ask an agent something for transfers with it too, or closes it.
    pub(super) fn adopt(&self, peer: &Peer) {
        let remote = self.0.remote(&peer.identity().name);
        if !remote.is_ok_and(|remote| remote.adopt(peer)) {
            peer.close();
        }
    }

    /// Requests that are posted and not known to be quiet.
    #[cfg(test)]
    pub(super) fn active_requests(&self) -> usize {
        self.0.active().len()
    }

    /// Where notifications come in.
    #[cfg(test)]
    pub(super) fn inbox(&self) -> &Inbox {
        &self.0.inbox
    }

    /// Longest wait for another agent's answer.
    pub(super) fn patience(&self) -> Duration {
        self.0.patience
    }

    /// A registration of this agent as the remote side of transfers with itself.
    ///
    /// # Errors
    /// [`AgentError::Deregistered`].
    pub fn load_local(&self, registration: &Registration) -> Result<RemoteRegistration, AgentError> {
        registration.segment()?;
        let remote = self.0.remote(self.agent())?;
        let (id, address, length) = (registration.id(), registration.address(), registration.length());
        Ok(RemoteRegistration { remote, id, address, length })
    }

    /// Checks pairs of descriptors against both sides' registrations and plans their transfer: neighbours become one
    /// work request. Pairs are asked for in any order. Connects if need be. The time it takes is linear in the pairs.
    ///
    /// # Errors
    /// [`AgentError`]: which descriptor does not fit, or why the agent is not reached.
    pub fn prepare<'a>(
        &self,
        direction: Direction,
        agent: &str,
        pairs: &impl Pairs<'a>,
    ) -> Result<Request, AgentError> {
        let remote = &self.0.remote(agent)?;
        let peer = &remote.connect(&self.0.messenger)?;
        let (fabric, patience) = (self.0.messenger.fabric(), self.0.patience);
        let side = RemoteSide { fabric, remote, peer, patience };
        let plan = Plan::new(&side, direction, pairs)?;
        Ok(Request::new(&self.0, remote, peer, plan))
    }

    /// Sends a notification of any size, in order with others to the same agent, in none with transfers. Connects if
    /// need be; waits while too many are under way.
    ///
    /// # Errors
    /// [`AgentError::UnknownAgent`], why the agent is not reached, [`AgentError::Message`].
    pub fn notify(&self, agent: &str, bytes: &[u8]) -> Result<(), AgentError> {
        let peer = self.0.remote(agent)?.connect(&self.0.messenger)?;
        let deadline = Some(Instant::now() + self.0.patience);
        Ok(self.0.messenger.post(&peer, NOTIFICATION, &[], bytes, deadline)?)
    }

    /// Everything that remote agents have said since the last call.
    #[must_use]
    pub fn take_notifications(&self) -> Vec<Notification> {
        let (notifications, awaited) = self.0.inbox.take();
        if awaited {
            self.0.messenger.resume();
        }
        notifications
    }

    /// As [`Backend::take_notifications`], and waits until there is one, at most until `deadline`.
    #[must_use]
    pub fn wait_notifications(&self, deadline: Instant) -> Vec<Notification> {
        self.0.inbox.wait(deadline);
        self.take_notifications()
    }

    /// Waits until other agents have taken every notification sent so far, or are down. Whether they have.
    #[must_use]
    pub fn flush(&self, deadline: Instant) -> bool {
        self.0.messenger.flush(deadline)
    }
}

impl Shared {
    fn load(&self, info: ConnectionInfo) -> Result<(), AgentError> {
        if info.agent == self.info.agent {
            return Err(AgentError::Oneself { agent: info.agent });
        }
        let mut remotes = self.remotes();
        if let Some(known) = remotes.get(&info.agent) {
            if known.info.incarnation == info.incarnation {
                return Ok(());
            }
            if !known.is_down() {
                return Err(AgentError::Changed { agent: info.agent });
            }
            known.invalidate();
        }
        remotes.insert(info.agent.clone(), Remote::new(info));
        Ok(())
    }

    fn remote(&self, agent: &str) -> Result<Arc<Remote>, AgentError> {
        let mut remotes = self.remotes();
        if agent == self.info.agent {
            let oneself = || Remote::new(self.info.clone());
            return Ok(Arc::clone(remotes.entry(agent.to_owned()).or_insert_with(oneself)));
        }
        let unknown = || AgentError::UnknownAgent { agent: agent.to_owned() };
        remotes.get(agent).map(Arc::clone).ok_or_else(unknown)
    }

    const fn messenger(&self) -> &Messenger {
        &self.messenger
    }

    fn next_number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    fn activate(&self, number: u64, request: &Arc<request::Inner>) {
        self.active().insert(number, Arc::downgrade(request));
    }

    fn deactivate(&self, number: u64) {
        self.active().remove(&number);
    }

    fn stop_requests_using(&self, registration: &Registration) {
        let active: Vec<_> = self.active().values().filter_map(Weak::upgrade).collect();
        active.iter().for_each(|request| request.stop_if_using(registration));
    }

    fn remotes(&self) -> MutexGuard<'_, HashMap<String, Arc<Remote>>> {
        self.remotes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn active(&self) -> MutexGuard<'_, HashMap<u64, Weak<request::Inner>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Backend").field("agent", &self.agent()).finish_non_exhaustive()
    }
}
