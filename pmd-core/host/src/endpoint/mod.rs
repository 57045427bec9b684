//! Endpoints: a process that talks to peers, with its devices, lanes and control plane put together.
//!
//! `kv-api` and `af-api` open one each. For every peer an endpoint chooses the transport once, opens a route on that
//! transport's lanes at both ends, and watches the peer over the control connection:
//!
//! ```text
//!  connect(address)                                    the peer
//!     | control connection, Hello (incarnation, host)     |
//!     | transports? ------------------------------------> | which it has
//!     | choose: shared memory on one host, else a NIC     |
//!     | open(transport, addresses) ---------------------> | opens its ends, connects them
//!     | <--------------------------------- its addresses  |
//!     | connect the routes; ready -----------------------> | PeerService::connected
//! ```
//! Routes are opened in the number and with the queue pairs that the connecting side has lanes and asks for; the other
//! side spreads its ends over its own lanes.
//!
//! The choice is reported by [`Peer::transport`]; a wish that cannot be met is an error, never another transport.
//! When the control plane finds the peer down, its route fails ([`RouteFault::PeerDown`]), so everything that waits for
//! it returns.

mod devices;
mod error;
mod handshake;
mod memory;
mod peer;
#[cfg(test)]
mod tests;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

pub use error::{EndpointError, MissingReason};
pub use memory::{RegisterError, Registered};
pub use peer::{Peer, PeerService, TransportChoice};
use pmd_core::{
    accelerator::DeviceMemory,
    memory::{Access, RegionDescription, RegionSource},
};

use self::{
    devices::Devices,
    handshake::{FIRST_RESERVED_KIND, Opened, Opening, RESERVED},
    peer::Relay,
};
use crate::{
    backend::{ConnectOptions, QueuePairAddress, QueuePairConfig, Transport},
    control::{
        Connection, ControlConfig, ControlPlane, DownReason, PeerIdentity, Refusal, RequestError, Service,
    },
    identity::{DeviceId, HostId},
    lane::{Counters, Lane, LaneConfig, Route, RouteConfig, RouteError},
    nic::{self, NicOptions},
    registration::{CacheCounters, CacheError, CacheLimits, Cached, RegistrationCache},
    soft::{self, AllocateError, Arena, ArenaOptions},
    transfer::RouteFault,
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
    /// Interval of keep-alives.
    pub keep_alive: Duration,
    /// Silence after which a peer is down.
    pub down_after: Duration,
    /// Longest wait for a peer's answer while connecting.
    pub patience: Duration,
    /// The soft HCA.
    pub soft: soft::DeviceConfig,
    /// Which NIC, where one may be used.
    pub nic: NicOptions,
    /// Bounds of what [`Endpoint::register_cached`] keeps.
    pub registrations: CacheLimits,
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
            registrations: CacheLimits::default(),
        }
    }
}

/// A process that talks to peers. Clones are handles to the same endpoint; the last one to go says goodbye to all peers.
#[derive(Clone)]
pub struct Endpoint(Arc<Handle>);

/// Drop order: the control plane goes first, so that peers hear a goodbye before lanes end.
struct Handle {
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
    peers: Mutex<Vec<Known>>,
}

/// A peer and whether the application has been told of it.
struct Known {
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
        let peers = Mutex::default();
        let inner = Arc::new(Inner { config, identity, devices, registrations, service, peers });
        let plane = ControlPlane::start(control, Arc::clone(&inner) as Arc<dyn Service>)?;
        Ok(Self(Arc::new(Handle { plane, inner })))
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
        self.0.inner.devices.register_device(memory, access)
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

/// What the peer connects each route to.
fn addresses((first, others): &(Route, Vec<Route>)) -> Vec<Vec<QueuePairAddress>> {
    std::iter::once(first).chain(others).map(|route| route.addresses().to_vec()).collect()
}

/// A peer that listens at any address is reached at the one from which it is heard.
fn seen_from(connection: &Connection, mut routes: Vec<Vec<QueuePairAddress>>) -> Vec<Vec<QueuePairAddress>> {
    for address in routes.iter_mut().flatten() {
        *address = address.seen_from(connection.remote());
    }
    routes
}

/// The connecting side.
impl Inner {
    fn open_peer(
        &self,
        connection: &Connection,
        patience: &dyn Fn() -> Duration,
    ) -> Result<Peer, EndpointError> {
        let theirs = connection.request(RESERVED.transports, Vec::new(), patience())?;
        let theirs = handshake::decode::<Vec<Transport>>(&theirs)?;
        let identity = connection.identity().map_err(RequestError::Down)?;
        let transport = self.devices.choose(&identity.host, &theirs)?;
        let relay = Relay::new(Arc::clone(&self.service));
        let routes =
            self.open_routes(transport, &relay, &vec![self.config.queue_pairs; self.config.lanes])?;
        let opening = Opening { transport, routes: addresses(&routes) };
        let answer = connection.request(RESERVED.open, handshake::encode(&opening), patience())?;
        let opened = handshake::decode::<Opened>(&answer)?;
        self.connect_routes(&routes, &seen_from(connection, opened.routes))?;
        let peer = Peer::new(connection.clone(), routes, transport)?;
        self.admit(&peer, &relay, true);
        connection.request(RESERVED.ready, Vec::new(), patience())?;
        Ok(peer)
    }

    /// Opens this end of routes, one for each number of queue pairs, on the lanes in turn. Their messages go to the
    /// service once the relay knows the peer.
    fn open_routes(
        &self,
        transport: Transport,
        relay: &Relay,
        queue_pairs: &[usize],
    ) -> Result<(Route, Vec<Route>), EndpointError> {
        let (routes, sum) = (queue_pairs.len(), queue_pairs.iter().sum());
        let out_of_range = EndpointError::Routes {
            routes,
            queue_pairs: sum,
            route_limit: MOST_ROUTES,
            queue_pair_limit: MOST_QUEUE_PAIRS,
        };
        if routes > MOST_ROUTES || sum > MOST_QUEUE_PAIRS {
            return Err(out_of_range);
        }
        let numbered = queue_pairs.iter().enumerate();
        let mut opened = numbered.map(|(number, queue_pairs)| {
            self.open_route(transport, number % self.config.lanes, relay, *queue_pairs)
        });
        let first = opened.next().ok_or(out_of_range)??;
        Ok((first, opened.collect::<Result<_, _>>()?))
    }

    fn open_route(
        &self,
        transport: Transport,
        lane: usize,
        relay: &Relay,
        queue_pairs: usize,
    ) -> Result<Route, EndpointError> {
        let lane = self.devices.lane(transport, lane, &self.config)?;
        Ok(lane.open_route(RouteConfig {
            queue_pairs,
            config: self.config.queue_pair,
            handler: Some(Box::new(relay.clone())),
            memory: Some(self.devices.message_registrar(transport)),
            message_receives: self.config.message_receives,
            message_bytes: self.config.message_bytes,
        })?)
    }

    fn connect_routes(
        &self,
        (first, others): &(Route, Vec<Route>),
        remote: &[Vec<QueuePairAddress>],
    ) -> Result<(), EndpointError> {
        let given = remote.len();
        if given != 1 + others.len() {
            return Err(RouteError::AddressCount { given, queue_pairs: 1 + others.len() }.into());
        }
        let mut pairs = std::iter::once(first).chain(others).zip(remote);
        Ok(pairs.try_for_each(|(route, addresses)| route.connect(addresses, &self.config.connect))?)
    }

    fn admit(&self, peer: &Peer, relay: &Relay, announced: bool) {
        relay.introduce(peer);
        self.known().push(Known { peer: peer.clone(), announced });
        // The connection may have gone down before the peer was known here: then `down` found nobody to tell.
        if peer.down_reason().is_some() {
            self.forget(peer.connection());
        }
    }

    fn forget(&self, connection: &Connection) -> Option<Known> {
        let mut peers = self.known();
        let index = peers.iter().position(|known| known.peer.connection() == connection)?;
        let known = peers.swap_remove(index);
        drop(peers);
        known.peer.routes().for_each(|route| route.fail(RouteFault::PeerDown));
        Some(known)
    }

    fn find(&self, connection: &Connection) -> Result<Peer, Refusal> {
        let peers = self.known();
        let known = peers.iter().find(|known| known.peer.connection() == connection);
        known.map(|known| known.peer.clone()).ok_or_else(handshake::not_open)
    }

    fn known(&self) -> MutexGuard<'_, Vec<Known>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The side that is connected to.
impl Inner {
    fn accept_peer(&self, connection: &Connection, body: &[u8]) -> Result<Vec<u8>, EndpointError> {
        if self.find(connection).is_ok() {
            return Err(EndpointError::AlreadyOpen);
        }
        let opening = handshake::decode::<Opening>(body)?;
        let host = &connection.identity().map_err(RequestError::Down)?.host;
        let transport = self.devices.choose(host, &[opening.transport])?;
        let relay = Relay::new(Arc::clone(&self.service));
        let queue_pairs: Vec<usize> = opening.routes.iter().map(Vec::len).collect();
        let routes = self.open_routes(transport, &relay, &queue_pairs)?;
        self.connect_routes(&routes, &seen_from(connection, opening.routes))?;
        let opened = Opened { routes: addresses(&routes) };
        let peer = Peer::new(connection.clone(), routes, transport)?;
        self.admit(&peer, &relay, false);
        Ok(handshake::encode(&opened))
    }

    fn announce(&self, connection: &Connection) -> Result<Vec<u8>, Refusal> {
        let peer = self.find(connection)?;
        if let Some(known) = self.known().iter_mut().find(|known| known.peer.connection() == connection) {
            known.announced = true;
        }
        self.service.connected(&peer);
        Ok(Vec::new())
    }
}

impl Service for Inner {
    fn connected(&self, _: &Connection) {}

    fn request(&self, connection: &Connection, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        if kind < FIRST_RESERVED_KIND {
            return self.service.request(&self.find(connection)?, kind, body);
        }
        if kind == RESERVED.transports {
            Ok(handshake::encode(&self.devices.transports()))
        } else if kind == RESERVED.open {
            self.accept_peer(connection, body).map_err(|error| handshake::refused(&error))
        } else if kind == RESERVED.ready {
            self.announce(connection)
        } else {
            Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind:#x}") })
        }
    }

    fn event(&self, connection: &Connection, kind: u16, body: &[u8]) {
        if let Ok(peer) = self.find(connection) {
            self.service.event(&peer, kind, body);
        }
    }

    fn down(&self, connection: &Connection, reason: &DownReason) {
        if let Some(known) = self.forget(connection)
            && known.announced
        {
            self.service.down(&known.peer, reason);
        }
    }
}
