//! Endpoints: a process that talks to peers, with its devices, lanes and control plane put together.
//!
//! `kv-api` and `af-api` open one each. For every peer an endpoint chooses the transport once, opens a route on that
//! transport's lanes at both ends, and watches the peer over the control connection:
//!
//! ```text
//!  connect(address)                                    the peer
//!     | control connection, Hello (incarnation, host)     |
//!     | terms ------------------------------------------> | looks how it reaches this end
//!     | <-------------------- its terms, and what it found |
//!     | choose: shared memory, else a NIC, else TCP       |
//!     | open(choice, addresses) ------------------------> | chooses the same, opens its ends, connects them
//!     | <--------------------------------- its addresses  |
//!     | connect the routes; ready -----------------------> | PeerService::connected
//! ```
//! Routes are opened in the number and with the queue pairs that the connecting side has lanes and asks for; the other
//! side spreads its ends over its own lanes.
//!
//! The choice is reported by [`Peer::choice`]; a wish that cannot be met is an error, never another transport.
//! Large transfers may go over several [rails](RailsConfig) beside the route ([`Peer::submit`]).
//! When the control plane finds the peer down, its route fails
//! ([`RouteFault::PeerDown`](crate::transfer::RouteFault::PeerDown)), so everything that waits for it returns. When the peer
//! has said goodbye it takes nothing more, and fails once what is posted has been answered for, within 5 seconds at most: the
//! acknowledgements that a peer gives before it leaves take other ways than its goodbye, over which packets may be lost. So
//! does each rail.

mod choice;
mod devices;
mod error;
mod handshake;
mod memory;
mod observe;
mod opening;
mod peer;
mod ports;
mod rails;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

pub use choice::{Choice, ChoiceError, End, NotTaken, Obstacle, fabric::FabricObstacle};
pub use error::{EndpointError, MissingReason};
pub use memory::{RegisterError, Registered};
pub use peer::{Peer, PeerService, TransportChoice};
use pmd_core::{
    accelerator::DeviceMemory,
    memory::{Access, RegionDescription, RegionSource},
};
pub use rails::{RailPort, RailReport, RailsConfig, RailsTextError};

use self::{devices::Devices, memory::KeptOut};
use crate::{
    backend::{ConnectOptions, QueuePairConfig, Transport},
    control::{ControlConfig, ControlPlane, PeerIdentity, Service},
    identity::{DeviceId, HostId},
    lane::{Counters, Lane, LaneConfig},
    metrics::{ControlMetrics, MetricsConfig, Server},
    nic::{self, NicOptions},
    registration::{CacheCounters, CacheError, CacheLimits, Cached, RegistrationCache},
    security::Security,
    soft::{self, AllocateError, Arena, ArenaOptions},
};

/// Most routes to one peer.
pub const MOST_ROUTES: usize = 64;

/// Most queue pairs of all routes to one peer.
pub const MOST_QUEUE_PAIRS: usize = 1024;

/// How an endpoint is made.
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Name told to peers.
    pub name: String,
    /// Control address to listen on; `None` only connects. Port 0 lets the system choose.
    pub listen: Option<SocketAddr>,
    /// Which transports may be used.
    pub transport: TransportChoice,
    /// How the lanes that drive each transport's queue pairs run. The first is pinned to its core, the others to the
    /// cores after that.
    pub lane: LaneConfig,
    /// Lanes for each transport that is used. A peer that is connected to gets a route on each, at most
    /// [`MOST_ROUTES`]; to use more than [`Peer::route`] is up to the application.
    pub lanes: usize,
    /// Queue pairs of each route to a peer that is connected to; the other end follows.
    pub queue_pairs: usize,
    /// Size of each queue pair.
    pub queue_pair: QueuePairConfig,
    /// Path attributes of NIC queue pairs.
    pub connect: ConnectOptions,
    /// Longest message in bytes.
    pub message_bytes: usize,
    /// Messages a peer may send before this side has taken one.
    pub message_receives: u32,
    /// Interval of keep-alives. Below the bounds of all peers, else they and this side refuse each other.
    pub keep_alive: Duration,
    /// Silence after which a peer is down.
    pub down_after: Duration,
    /// Longest wait for a peer's answer while connecting.
    pub patience: Duration,
    /// The soft HCA.
    pub soft: soft::DeviceConfig,
    /// Which NIC, where one may be used.
    pub nic: NicOptions,
    /// Several ways to each peer for large transfers.
    pub rails: RailsConfig,
    /// Bounds of what [`Endpoint::register_cached`] keeps.
    pub registrations: CacheLimits,
    /// Whom metrics are told. Durations are counted where [`LaneConfig::latencies`] asks for it.
    pub metrics: MetricsConfig,
    /// What peers must know, over the control connection and over TCP; it takes the place of
    /// [`DeviceConfig::security`](soft::DeviceConfig::security) in [`EndpointConfig::soft`].
    pub security: Security,
}

impl Default for EndpointConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            listen: None,
            transport: TransportChoice::Auto,
            lane: LaneConfig::default(),
            lanes: 1,
            queue_pairs: 1,
            queue_pair: QueuePairConfig::default(),
            connect: ConnectOptions::default(),
            message_bytes: 1024,
            message_receives: 64,
            keep_alive: Duration::from_secs(1),
            down_after: Duration::from_secs(5),
            patience: Duration::from_secs(10),
            soft: soft::DeviceConfig::default(),
            nic: NicOptions::default(),
            rails: RailsConfig::default(),
            registrations: CacheLimits::default(),
            metrics: MetricsConfig::default(),
            security: Security::default(),
        }
    }
}

/// A process that talks to peers. Clones are handles to the same endpoint; the last one to go says goodbye to all peers.
#[derive(Clone)]
pub struct Endpoint(Arc<Handle>);

/// Drop order: nobody looks any more; the control plane goes next, so that peers hear a goodbye before lanes end.
struct Handle {
    metrics: Option<Server>,
    plane: ControlPlane,
    inner: Arc<Inner>,
}

struct Inner {
    config: EndpointConfig,
    identity: PeerIdentity,
    devices: Arc<Devices>,
    /// Keeps what [`Endpoint::register_cached`] registered.
    registrations: RegistrationCache<Arc<Devices>>,
    service: Arc<dyn PeerService>,
    peers: Mutex<Vec<KnownPeer>>,
    /// Peers that came and went.
    control: Mutex<ControlMetrics>,
}

/// A peer and whether the application has been told of it.
struct KnownPeer {
    peer: Peer,
    announced: bool,
}

impl Endpoint {
    /// Opens the devices and starts the control plane.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn open(config: EndpointConfig, service: Arc<dyn PeerService>) -> Result<Self, EndpointError> {
        if config.lanes == 0 {
            return Err(EndpointError::NoLanes);
        }
        let devices = Arc::new(Devices::open(&config)?);
        let registrations = RegistrationCache::new(Arc::clone(&devices), config.registrations);
        let identity = PeerIdentity {
            incarnation: DeviceId::random().map_err(EndpointError::identity)?,
            name: config.name.clone(),
            host: HostId::current().map_err(EndpointError::identity)?,
        };
        let mut control = ControlConfig::new(identity.clone(), config.listen);
        (control.interval, control.timeout) = (config.keep_alive, config.down_after);
        control.key.clone_from(&config.security.key);
        let (peers, seen) = (Mutex::default(), Mutex::default());
        let inner =
            Arc::new(Inner { config, identity, devices, registrations, service, peers, control: seen });
        let metrics = inner.serve_metrics()?;
        let plane = ControlPlane::start(control, Arc::clone(&inner) as Arc<dyn Service>)?;
        Ok(Self(Arc::new(Handle { metrics, plane, inner })))
    }

    /// Who this endpoint is to its peers: drawn when it was opened.
    #[must_use]
    pub fn identity(&self) -> &PeerIdentity {
        &self.0.inner.identity
    }

    /// Control address that peers connect to.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.0.plane.local_address()
    }

    /// Connects to the endpoint that listens at `address` and opens a route to it.
    ///
    /// # Errors
    /// [`EndpointError`]: unreachable, no transport in common, or refused.
    pub fn connect(&self, address: SocketAddr) -> Result<Peer, EndpointError> {
        let patience = self.0.inner.config.patience;
        self.connect_step_by_step(address, &|| patience)
    }

    /// As [`Endpoint::connect`], and all of its steps together take at most `patience`.
    ///
    /// # Errors
    /// As [`Endpoint::connect`].
    pub fn connect_within(&self, address: SocketAddr, patience: Duration) -> Result<Peer, EndpointError> {
        let start = Instant::now();
        // The system takes no time-out of nothing.
        let left = || patience.saturating_sub(start.elapsed()).max(Duration::from_millis(1));
        self.connect_step_by_step(address, &left)
    }

    /// Listens on another address from now on, or no more; see [`ControlPlane::listen`].
    ///
    /// # Errors
    /// [`EndpointError::Control`]; then nothing has changed.
    pub fn listen(&self, address: Option<SocketAddr>) -> Result<(), EndpointError> {
        Ok(self.0.plane.listen(address)?)
    }

    /// `patience` tells how long the next step may take.
    fn connect_step_by_step(
        &self,
        address: SocketAddr,
        patience: &dyn Fn() -> Duration,
    ) -> Result<Peer, EndpointError> {
        let _span = tracing::info_span!("connect", %address).entered();
        let connection = self.0.plane.connect(address, patience())?;
        self.0.inner.open_peer(&connection, patience).inspect_err(|_| connection.close())
    }

    /// Peers that are connected now.
    #[must_use]
    pub fn peers(&self) -> Vec<Peer> {
        self.0.inner.known().iter().map(|known| known.peer.clone()).collect()
    }

    /// Transports that this endpoint has devices for.
    #[must_use]
    pub fn transports(&self) -> Vec<Transport> {
        self.0.inner.devices.transports()
    }

    /// The accelerators whose memory it was opened to reach over shared memory.
    #[must_use]
    pub fn accelerators(&self) -> &soft::Accelerators {
        &self.0.inner.config.soft.accelerators
    }

    /// Why no NIC is used although the configuration would let one be; `None` when there is one or none was looked for.
    #[must_use]
    pub fn nic_missing(&self) -> Option<&nic::OpenError> {
        self.0.inner.devices.nic_missing()
    }

    /// Memory that peers of this host can map, zeroed.
    ///
    /// # Errors
    /// [`AllocateError`].
    pub fn allocate(&self, bytes: usize, options: ArenaOptions) -> Result<Arena, AllocateError> {
        self.0.inner.devices.allocate(bytes, options)
    }

    /// Registers memory with every device of the endpoint.
    ///
    /// # Errors
    /// [`RegisterError`].
    #[expect(unsafe_code, reason = "passes on the promise of `RegionSource`")]
    pub fn register(&self, source: &impl RegionSource, access: Access) -> Result<Registered, RegisterError> {
        // SAFETY: the implementer of `RegionSource` promises exactly this of what it describes.
        unsafe { self.0.inner.devices.register(&source.description(), access) }
    }

    /// Registers memory of an accelerator with every device of the endpoint that reaches it: the NIC by a dma-buf or as
    /// peer memory, the soft HCA where it was opened with the accelerator
    /// ([`DeviceConfig::accelerators`](crate::soft::DeviceConfig::accelerators) in [`EndpointConfig::soft`]).
    /// [`Registered::path`] tells how. The registration keeps the memory.
    ///
    /// # Errors
    /// [`RegisterError`]. Over shared memory alone,
    /// [`NoAccelerator`](crate::soft::RegisterError::NoAccelerator) where the endpoint was opened without it.
    pub fn register_device(
        &self,
        memory: Arc<dyn DeviceMemory>,
        access: Access,
    ) -> Result<Registered, RegisterError> {
        self.0.inner.devices.register_device(memory, access, KeptOut::Refused)
    }

    /// As [`Endpoint::register_device`], and where a NIC does not reach the memory, so that peers cannot be let into it, the
    /// memory is registered all the same: over that transport this side's own WRITEs, READs and SENDs are staged in
    /// pinned memory of the host ([`RegionPath::Staged`](crate::region::RegionPath::Staged)), peers get no key
    /// ([`Registered::remote_key`] is `None`), and [`Registered::refusals`] tells why.
    ///
    /// # Errors
    /// As [`Endpoint::register_device`], without
    /// [`nic::RegisterError::Unreachable`].
    pub fn register_device_or_stage(
        &self,
        memory: Arc<dyn DeviceMemory>,
        access: Access,
    ) -> Result<Registered, RegisterError> {
        self.0.inner.devices.register_device(memory, access, KeptOut::Staged)
    }

    /// Registers a range of this process's memory with every device of the endpoint.
    ///
    /// # Errors
    /// [`RegisterError`].
    ///
    /// # Safety
    /// The promises of [`RegionSource`]: the range stays mapped at the same address for as long as the returned value
    /// lives, and its bytes are not borrowed while a transfer may touch them.
    #[expect(unsafe_code, reason = "takes an address on the caller's word")]
    pub unsafe fn register_memory(
        &self,
        memory: &RegionDescription,
        access: Access,
    ) -> Result<Registered, RegisterError> {
        // SAFETY: the caller promises it.
        unsafe { self.0.inner.devices.register(memory, access) }
    }

    /// As [`Endpoint::register_memory`], through a cache: a range that is covered by an earlier registration costs a
    /// look-up. Unused registrations are kept until [`Endpoint::invalidate_registrations`] or until the cache is full.
    ///
    /// # Errors
    /// [`CacheError`].
    ///
    /// # Safety
    /// As [`RegistrationCache::acquire`]: the memory stays mapped until it was invalidated and every returned value for
    /// it is gone.
    #[expect(unsafe_code, reason = "takes an address on the caller's word")]
    pub unsafe fn register_cached(
        &self,
        memory: &RegionDescription,
        access: Access,
    ) -> Result<Cached<Registered>, CacheError<RegisterError>> {
        // SAFETY: the caller promises it.
        unsafe { self.0.inner.registrations.acquire(memory, access) }
    }

    /// Forgets cached registrations that touch the range; call it before the memory is unmapped. Returns how many.
    pub fn invalidate_registrations(&self, address: u64, length: u64) -> usize {
        self.0.inner.registrations.invalidate(address, length)
    }

    /// What the registration cache has done so far.
    #[must_use]
    pub fn registration_counters(&self) -> CacheCounters {
        self.0.inner.registrations.counters()
    }

    /// What the lanes of a transport have done so far; `None` when none has been needed yet.
    #[must_use]
    pub fn counters(&self, transport: Transport) -> Option<Counters> {
        let lanes = self.0.inner.devices.running(transport);
        lanes.iter().map(Lane::counters).reduce(Counters::plus)
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Endpoint")
            .field("name", &self.0.inner.config.name)
            .field("local_address", &self.local_address())
            .field("transports", &self.transports())
            .finish_non_exhaustive()
    }
}
