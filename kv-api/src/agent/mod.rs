//! NIXL's agent semantics over this driver, in layers:
//!
//! ```text
//!  nixl plug-in (C++)     an application that thinks in NIXL's terms
//!        |                          |
//!        |                       Agent        names, descriptor lists, metadata
//!        v                          v
//!     backend    registrations, connections, requests, notifications
//!        v
//!     messages   active messages of any size
//!        v
//!     fabric     memory by address
//! ```
//! | module | holds |
//! |---|---|
//! | [`backend`] | what a NIXL back-end plug-in needs |
//! | [`messages`] | active messages: header, payload, a handler at the receiver |
//!
//! # Quick start
//! One agent offers memory, the other writes into it; here in one process, and the metadata goes by hand.
//! ```
//! use std::time::{Duration, Instant};
//!
//! use kv_api::agent::{Agent, AgentConfig, DescriptorList, Status};
//! use pmd_host::{soft::ArenaOptions, transfer::Direction};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let decode = Agent::open(AgentConfig::new("decode"))?;
//! let prefill = Agent::open(AgentConfig::new("prefill"))?;
//! let room = decode.allocate(1 << 20, ArenaOptions::default())?;
//! let computed = prefill.allocate(1 << 20, ArenaOptions::default())?;
//! // SAFETY: no transfer touches the memory yet.
//! unsafe { (computed.address() as *mut u8).write_bytes(7, 1 << 20) };
//!
//! prefill.load_remote_metadata(&decode.local_metadata())?;
//! let blocks = |start: u64| DescriptorList::dram((0..64).map(move |block| (start + block * 16384, 16384)));
//! let local = prefill.prepare_local(&blocks(computed.address()))?;
//! let remote = prefill.prepare_remote("decode", &blocks(room.address()))?;
//! let request = prefill.make_request(Direction::Write, &local, &[0, 1, 2], &remote, &[63, 7, 8])?;
//!
//! request.post(Some(b"layer 0"))?;
//! let deadline = Instant::now() + Duration::from_secs(10);
//! assert_eq!(request.wait(Some(deadline))?, Status::Success);
//! let notifications = decode.wait_notifications(deadline);
//! assert_eq!((&*notifications[0].agent, &*notifications[0].bytes), ("prefill", &b"layer 0"[..]));
//! // SAFETY: the transfer is done.
//! let block = unsafe { std::slice::from_raw_parts((room.address() + 63 * 16384) as *const u8, 16384) };
//! assert!(block.iter().all(|byte| *byte == 7));
//! # Ok(())
//! # }
//! ```
//!
//! # Requests
//! | phase | [`check`](Request::check) says | may be |
//! |---|---|---|
//! | prepared | `NIXL_ERR_NOT_POSTED` | posted, released |
//! | active | `NIXL_IN_PROG` | released: it is aborting then |
//! | done, failed | `NIXL_SUCCESS`, why it failed | posted again, released |
//! | aborting | `NIXL_ERR_CANCELED`; posting and releasing are errors | released again |
//! | aborted | `NIXL_ERR_CANCELED` | posted again, released |
//!
//! Release never waits. Once it has returned `Ok`, or the phase is anything but active and aborting, nothing writes the
//! memory on the request's behalf. A request that failed names the descriptors that are not certain to have arrived
//! ([`Request::invalid_descriptors`]).
//!
//! # Lives
//! An agent draws an incarnation when it opens, and its metadata carries it. An agent that was restarted under the same
//! name is another one: what was loaded of the former is an error ([`AgentError::Stale`],
//! [`AgentError::Down`]) and never reaches the new one's memory.
#![allow(unsafe_code)] // registers memory on the caller's word

pub mod backend;
mod descriptors;
mod error;
mod exchange;
pub mod messages;
mod metadata;
mod prepared;
mod registry;
mod status;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use pmd_core::memory::RegionDescription;
use pmd_host::{identity::DeviceId, soft::ArenaOptions, transfer::Direction};

pub use backend::{BackendConfig, CostEstimate, Notification, Phase, Request, RequestTelemetry};
pub use descriptors::{Descriptor, DescriptorList, MemoryType};
pub use error::{AgentError, Side};
pub use exchange::Exchange;
pub use prepared::PreparedList;
pub use status::Status;

use self::{
    backend::{Backend, Registration, RemoteRegistration},
    exchange::Listener,
    metadata::{Metadata, Numbered},
    prepared::{IndexedPairs, Registrations},
    registry::Registry,
};

/// How an agent is made.
#[derive(Clone, Debug)]
pub struct AgentConfig {
    /// Name, devices, where to listen, bounds.
    pub backend: BackendConfig,
    /// Whether [`Agent::telemetry`] tells what transfers took.
    pub telemetry: bool,
}

impl AgentConfig {
    /// An agent of this name that listens on a port of the system's choice of the loopback interface, without telemetry.
    #[must_use]
    pub fn new(agent: &str) -> Self {
        Self { backend: BackendConfig::new(agent), telemetry: false }
    }
}

/// An agent: its memory, what it knows of others' memory, and transfers between them. Clones are handles to the same
/// agent. May be used from any thread.
#[derive(Clone)]
pub struct Agent(Arc<Inner>);

struct Inner {
    backend: Backend,
    telemetry: bool,
    local: Mutex<Registry<Registration>>,
    remote: Mutex<HashMap<String, RemoteTable>>,
}

/// What is known of a remote agent's memory.
struct RemoteTable {
    incarnation: DeviceId,
    registrations: Registry<RemoteRegistration>,
}

/// Registration and metadata.
impl Agent {
    /// Opens the devices and listens.
    ///
    /// # Errors
    /// [`AgentError::Fabric`].
    pub fn open(config: AgentConfig) -> Result<Self, AgentError> {
        let listener = Arc::new(Listener::default());
        let backend = Backend::open_with(config.backend, Some(Arc::clone(&listener) as _))?;
        let (local, remote) = (Mutex::default(), Mutex::default());
        let inner = Arc::new(Inner { backend, telemetry: config.telemetry, local, remote });
        exchange::introduce(&listener, &inner);
        Ok(Self(inner))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.backend.agent()
    }

    /// What moves the bytes.
    #[must_use]
    pub fn backend(&self) -> &Backend {
        &self.0.backend
    }

    /// Registers each descriptor as one region: all of them or none. NIXL's `registerMem`. Those of [`MemoryType::Vram`] lie
    /// on the accelerator of their device's number, as [`Backend::register_on`] has it.
    ///
    /// # Errors
    /// [`AgentError::Empty`], [`AgentError::Unsupported`], [`AgentError::Fabric`].
    ///
    /// # Safety
    /// As [`Backend::register`], until [`Agent::deregister`] has returned `Ok`.
    pub unsafe fn register(&self, list: &DescriptorList) -> Result<(), AgentError> {
        let kind = list.memory.kind()?;
        let register = |descriptor: &Descriptor| {
            let Descriptor { address, length, device } = *descriptor;
            let memory = RegionDescription { address, length, kind, descriptor: None };
            // SAFETY: passed on to the caller.
            unsafe { self.0.backend.register_on(&memory, device) }
        };
        let registrations: Vec<Registration> =
            list.descriptors.iter().map(register).collect::<Result<_, _>>()?;
        let mut local = self.0.local();
        for (registration, descriptor) in registrations.into_iter().zip(&list.descriptors) {
            let (number, memory, descriptor) = (registration.id().0, list.memory, *descriptor);
            local.insert(&Numbered { number, memory, descriptor }, registration);
        }
        if list.descriptors.is_empty() { Err(AgentError::Empty) } else { Ok(()) }
    }

    /// Allocates zeroed memory that agents of this host can map, and registers it as one region: the fastest kind. It is
    /// freed when it is deregistered and the returned handle is gone.
    ///
    /// # Errors
    /// [`AgentError::Fabric`].
    pub fn allocate(&self, bytes: usize, options: ArenaOptions) -> Result<Registration, AgentError> {
        let registration = self.0.backend.allocate(bytes, options)?;
        let (address, length) = (registration.address(), registration.length());
        let descriptor = Descriptor { address, length, device: 0 };
        let numbered = Numbered { number: registration.id().0, memory: MemoryType::Dram, descriptor };
        self.0.local().insert(&numbered, registration.clone());
        Ok(registration)
    }

    /// Takes registrations back; each descriptor is one that was registered. Transfers with them are stopped, and when
    /// this returns `Ok` nothing touches the memory any more.
    ///
    /// # Errors
    /// [`AgentError::NoSuchRegistration`]: nothing was taken back. [`AgentError::InUse`]: that one and those behind it
    /// are registered still.
    pub fn deregister(&self, list: &DescriptorList) -> Result<(), AgentError> {
        let find = |descriptor: &Descriptor| {
            let Descriptor { address, length, .. } = *descriptor;
            let missing = || AgentError::NoSuchRegistration { address, length };
            let local = self.0.local();
            let found = local.exactly(list.memory, descriptor).ok_or_else(missing)?;
            Ok((found.0, found.1.clone()))
        };
        let found: Vec<(u64, Registration)> =
            list.descriptors.iter().map(find).collect::<Result<_, AgentError>>()?;
        for (number, registration) in found {
            self.0.backend.deregister(&registration)?;
            self.0.local().remove(number);
        }
        Ok(())
    }

    /// All metadata of this agent, for others: how it is reached and what it has registered now.
    #[must_use]
    pub fn local_metadata(&self) -> Vec<u8> {
        let registrations = self.0.local().numbered().map(|(numbered, _)| numbered).collect();
        Metadata::new(self.0.backend.connection_info(), true, true, registrations).to_bytes()
    }

    /// Metadata of some registrations: of those that hold the descriptors of the list. Of an empty list only how the
    /// agent is reached, whatever `with_connection` says.
    ///
    /// # Errors
    /// [`AgentError::NotRegistered`].
    pub fn local_partial_metadata(
        &self,
        list: &DescriptorList,
        with_connection: bool,
    ) -> Result<Vec<u8>, AgentError> {
        let prepared = PreparedList::local(&self.0.local(), list)?;
        let Registrations::Local(wanted) = &prepared.registrations else { return Err(AgentError::Empty) };
        let wanted: HashSet<u64> = wanted.iter().map(|registration| registration.id().0).collect();
        let local = self.0.local();
        let all = local.numbered().map(|(numbered, _)| numbered);
        let registrations = all.filter(|numbered| wanted.contains(&numbered.number)).collect();
        let with_connection = with_connection || list.descriptors.is_empty();
        Ok(Metadata::new(self.0.backend.connection_info(), with_connection, false, registrations).to_bytes())
    }

    /// Takes note of what another agent's metadata says, and returns its name. Connects to nobody. Complete metadata
    /// replaces what was known of its memory, partial metadata adds to it.
    ///
    /// # Errors
    /// [`AgentError::Malformed`]; [`AgentError::Oneself`]; [`AgentError::UnknownAgent`] when it does not say how the
    /// agent is reached and nothing was loaded before; [`AgentError::Changed`] and [`AgentError::Stale`] when it is of
    /// another life of the agent than what was loaded before.
    pub fn load_remote_metadata(&self, bytes: &[u8]) -> Result<String, AgentError> {
        let metadata = Metadata::from_bytes(bytes)?;
        let Metadata { agent, incarnation, connection, complete, .. } = &metadata;
        if agent == self.name() {
            return Err(AgentError::Oneself { agent: agent.clone() });
        }
        let mut remote = self.0.remote();
        if let Some(info) = connection {
            self.0.backend.load_connection_info(agent, &info.to_bytes())?;
        }
        let loaded = self.0.backend.incarnation_of(agent)?;
        if loaded != *incarnation {
            return Err(AgentError::Stale { agent: agent.clone() });
        }
        let fresh = || RemoteTable { incarnation: *incarnation, registrations: Registry::default() };
        let table = remote.entry(agent.clone()).or_insert_with(fresh);
        if *complete || table.incarnation != *incarnation {
            *table = fresh();
        }
        let known = self.0.backend.remote_registrations(agent)?;
        for numbered in metadata.registrations() {
            let Descriptor { address, length, .. } = numbered.descriptor;
            table.registrations.insert(&numbered, known(numbered.number, address, length));
        }
        Ok(metadata.agent)
    }

    /// Forgets another agent: its connection closes, transfers to it fail, and what was prepared for it is void.
    ///
    /// # Errors
    /// [`AgentError::Oneself`], [`AgentError::UnknownAgent`].
    pub fn invalidate_remote_metadata(&self, agent: &str) -> Result<(), AgentError> {
        if agent == self.name() {
            return Err(AgentError::Oneself { agent: agent.to_owned() });
        }
        self.0.remote().remove(agent);
        self.0.backend.disconnect(agent)
    }

    /// Whether metadata of an agent is loaded, and holds all descriptors of the list.
    ///
    /// # Errors
    /// [`AgentError::UnknownAgent`], [`AgentError::NotRegistered`].
    pub fn check_remote_metadata(&self, agent: &str, list: &DescriptorList) -> Result<(), AgentError> {
        let remote = self.0.remote();
        let unknown = || AgentError::UnknownAgent { agent: agent.to_owned() };
        let table = remote.get(agent).ok_or_else(unknown)?;
        PreparedList::remote(&table.registrations, agent, list).map(drop)
    }

    /// Connects to another agent now, rather than with the first request.
    ///
    /// # Errors
    /// As [`Backend::connect`].
    pub fn connect(&self, agent: &str) -> Result<(), AgentError> {
        self.0.backend.connect(agent)
    }
}

/// Transfers and notifications.
impl Agent {
    /// Finds the registrations of this agent's descriptors, for requests by index. NIXL's `prepXferDlist` for the local
    /// side.
    ///
    /// # Errors
    /// [`AgentError::NotRegistered`] names the first descriptor that is in no registration.
    pub fn prepare_local(&self, list: &DescriptorList) -> Result<PreparedList, AgentError> {
        PreparedList::local(&self.0.local(), list)
    }

    /// As [`Agent::prepare_local`], of another agent's descriptors; of its own too, as the remote side of transfers with
    /// itself.
    ///
    /// # Errors
    /// [`AgentError::UnknownAgent`], [`AgentError::NotRegistered`].
    pub fn prepare_remote(&self, agent: &str, list: &DescriptorList) -> Result<PreparedList, AgentError> {
        if agent == self.name() {
            return PreparedList::remote(&self.own_as_remote()?, agent, list);
        }
        let remote = self.0.remote();
        let unknown = || AgentError::UnknownAgent { agent: agent.to_owned() };
        let table = remote.get(agent).ok_or_else(unknown)?;
        PreparedList::remote(&table.registrations, agent, list)
    }

    /// A request that moves descriptor `local_indices[i]` of one list to or from `remote_indices[i]` of the other.
    /// Gathers, and looks nothing up but each registration's key once. NIXL's `makeXferReq`.
    ///
    /// # Errors
    /// [`AgentError`]: lists, counts, indices or lengths that do not fit; the remote agent is not reached.
    pub fn make_request(
        &self,
        direction: Direction,
        local: &PreparedList,
        local_indices: &[u32],
        remote: &PreparedList,
        remote_indices: &[u32],
    ) -> Result<Request, AgentError> {
        let wrong = |given, wanted| AgentError::WrongSide { given, wanted };
        let Registrations::Local(here) = &local.registrations else {
            return Err(wrong(Side::Remote, Side::Local));
        };
        let Registrations::Remote { agent, registrations: there } = &remote.registrations else {
            return Err(wrong(Side::Local, Side::Remote));
        };
        let (near, far) = (local_indices.len(), remote_indices.len());
        if near != far {
            return Err(AgentError::CountMismatch { local: near, remote: far });
        }
        local.check(local_indices)?;
        remote.check(remote_indices)?;
        let pairs =
            IndexedPairs { local: (local, here, local_indices), remote: (remote, there, remote_indices) };
        self.0.backend.prepare(direction, agent, &pairs)
    }

    /// A request of two lists of equal length. NIXL's `createXferReq`.
    ///
    /// # Errors
    /// As [`Agent::prepare_local`], [`Agent::prepare_remote`] and [`Agent::make_request`].
    pub fn create_request(
        &self,
        direction: Direction,
        local: &DescriptorList,
        remote: &DescriptorList,
        agent: &str,
    ) -> Result<Request, AgentError> {
        let (near, far) = (local.descriptors.len(), remote.descriptors.len());
        if near != far {
            return Err(AgentError::CountMismatch { local: near, remote: far });
        }
        let indices: Vec<u32> = (0..near as u32).collect();
        let local = self.prepare_local(local)?;
        self.make_request(direction, &local, &indices, &self.prepare_remote(agent, remote)?, &indices)
    }

    /// What the last posting of a request took.
    ///
    /// # Errors
    /// [`AgentError::NoTelemetry`] when the agent was made without; what [`Request::check`] says while it is not done.
    pub fn telemetry(&self, request: &Request) -> Result<RequestTelemetry, AgentError> {
        if !self.0.telemetry {
            return Err(AgentError::NoTelemetry);
        }
        request.check()?;
        request.telemetry().ok_or(AgentError::Active)
    }

    /// Sends a notification of any size. As [`Backend::notify`].
    ///
    /// # Errors
    /// As [`Backend::notify`].
    pub fn notify(&self, agent: &str, bytes: &[u8]) -> Result<(), AgentError> {
        self.0.backend.notify(agent, bytes)
    }

    /// Everything that agents have said since the last call.
    #[must_use]
    pub fn take_notifications(&self) -> Vec<Notification> {
        self.0.backend.take_notifications()
    }

    /// As [`Agent::take_notifications`], and waits until there is one, at most until `deadline`.
    #[must_use]
    pub fn wait_notifications(&self, deadline: Instant) -> Vec<Notification> {
        self.0.backend.wait_notifications(deadline)
    }

    fn own_as_remote(&self) -> Result<Registry<RemoteRegistration>, AgentError> {
        let mut own = Registry::default();
        for (numbered, registration) in self.0.local().numbered() {
            own.insert(&numbered, self.0.backend.load_local(registration)?);
        }
        Ok(own)
    }
}

impl Inner {
    fn local(&self) -> MutexGuard<'_, Registry<Registration>> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remote(&self) -> MutexGuard<'_, HashMap<String, RemoteTable>> {
        self.remote.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Agent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Agent").field("name", &self.name()).finish_non_exhaustive()
    }
}
