//! The engine: registered caches, peers, and the transfers between them.
//!
//! An inference process opens one [`Engine`]. It registers its [`Cache`]s under names, connects to peers or is connected
//! to, looks up a peer's cache ([`RemoteCache`]) and moves blocks:
//!
//! ```text
//!  block table ---- planner: pieces ---- WorkListBuilder: merged work requests ---- Route::submit ---- Transfer
//! ```
//! A [`Prepared`] transfer was planned once and can be posted any number of times.

mod cache;
mod error;
mod prepared;
mod remote;

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use pmd_core::sync::{AtomicU64, Ordering};
use pmd_host::{
    control::{DownReason, Refusal},
    endpoint::{Endpoint, EndpointConfig, Peer, PeerService},
    lane::Message,
    soft::ArenaOptions,
    transfer::KeepAlive,
};

pub use cache::{Cache, CacheMemory};
pub use error::EngineError;
pub use prepared::Prepared;
pub use remote::RemoteCache;

use self::remote::request;
use crate::layout::{CacheLayout, TensorRun};

/// An inference process's end of all its cache transfers. Clones are handles to the same engine.
#[derive(Clone)]
pub struct Engine {
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

/// A message that a peer sent beside its transfers, or the notification of one of them: raised only after every byte
/// of that transfer is in place.
#[derive(Clone, Debug)]
pub struct Notification {
    /// Who sent it.
    pub peer: Peer,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// Answers requests of an application above the engine.
pub trait Application: Send + Sync {
    /// Answers a request. Runs on the control thread: answer quickly.
    ///
    /// # Errors
    /// A [`Refusal`] travels back to the asker.
    fn request(&self, peer: &Peer, body: &[u8]) -> Result<Vec<u8>, Refusal>;
}

struct Shared {
    caches: Mutex<HashMap<String, Weak<cache::Inner>>>,
    next_id: AtomicU64,
    application: Option<Box<dyn Application>>,
    arrivals: Mutex<Arrivals>,
    arrived: Condvar,
}

#[derive(Default)]
struct Arrivals {
    connected: VecDeque<Peer>,
    down: VecDeque<(Peer, DownReason)>,
    notifications: VecDeque<Notification>,
}

impl Engine {
    /// Opens the devices and, if the configuration says so, listens for peers.
    ///
    /// # Errors
    /// [`EngineError::Endpoint`].
    pub fn open(config: EndpointConfig) -> Result<Self, EngineError> {
        Self::open_with(config, None)
    }

    /// As [`Engine::open`], with an application that answers requests of its own.
    ///
    /// # Errors
    /// [`EngineError::Endpoint`].
    pub fn open_with(
        config: EndpointConfig,
        application: Option<Box<dyn Application>>,
    ) -> Result<Self, EngineError> {
        let shared = Arc::new(Shared {
            caches: Mutex::default(),
            next_id: AtomicU64::new(1),
            application,
            arrivals: Mutex::default(),
            arrived: Condvar::new(),
        });
        let endpoint = Endpoint::open(config, Arc::clone(&shared) as Arc<dyn PeerService>)?;
        Ok(Self { endpoint, shared })
    }

    /// The endpoint below.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Address that peers connect to; `None` when the engine does not listen.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.endpoint.local_address()
    }

    /// A cache in memory that peers of this host can map: the fastest kind. Zeroed.
    ///
    /// # Errors
    /// [`EngineError`]: the name is taken, or there is not enough memory.
    pub fn allocate_cache(
        &self,
        name: &str,
        layout: CacheLayout,
        options: ArenaOptions,
    ) -> Result<Cache, EngineError> {
        self.shared.check_name(name)?;
        let bytes =
            usize::try_from(layout.total_bytes()).map_err(|_| crate::layout::LayoutError::TooLarge)?;
        let arena = self.endpoint.allocate(bytes, options)?;
        let cache = Cache::in_arena(&self.endpoint, self.shared.next_id(), name, layout, arena)?;
        self.shared.insert(&cache);
        Ok(cache)
    }

    /// A cache in memory of the caller: `runs` say where its tensors lie (their keys are not looked at).
    ///
    /// # Errors
    /// [`EngineError`]: the name is taken, the runs do not place the layout's tensors, or the memory cannot be
    /// registered.
    ///
    /// # Safety
    /// Every run's memory stays mapped for as long as the cache or a transfer with it lives, and its bytes are not
    /// borrowed while a transfer may touch them, peers' transfers included.
    #[expect(unsafe_code, reason = "takes addresses on the caller's word")]
    pub unsafe fn register_cache(
        &self,
        name: &str,
        layout: CacheLayout,
        runs: Vec<TensorRun>,
    ) -> Result<Cache, EngineError> {
        // SAFETY: passed on to the caller.
        unsafe { self.register_at(name, layout, runs, CacheMemory::Caller) }
    }

    /// As [`Engine::register_cache`], for memory that `owner` keeps mapped: held until the last handle of the cache and
    /// the last transfer with it are gone, and dropped by whichever thread holds the last.
    ///
    /// # Errors
    /// As [`Engine::register_cache`].
    ///
    /// # Safety
    /// Every run's memory stays mapped as long as `owner` is held, and its bytes are not borrowed while a transfer may
    /// touch them, peers' transfers included.
    #[expect(unsafe_code, reason = "takes addresses on the caller's word")]
    pub unsafe fn register_cache_kept(
        &self,
        name: &str,
        layout: CacheLayout,
        runs: Vec<TensorRun>,
        owner: KeepAlive,
    ) -> Result<Cache, EngineError> {
        // SAFETY: passed on to the caller; the cache holds the owner.
        unsafe { self.register_at(name, layout, runs, CacheMemory::Kept(owner)) }
    }

    /// # Safety
    /// As [`Engine::register_cache`], unless `memory` holds what keeps it.
    #[expect(unsafe_code, reason = "takes addresses on the caller's word")]
    unsafe fn register_at(
        &self,
        name: &str,
        layout: CacheLayout,
        runs: Vec<TensorRun>,
        memory: CacheMemory,
    ) -> Result<Cache, EngineError> {
        self.shared.check_name(name)?;
        // SAFETY: the caller promises what `Cache::at` needs.
        let cache = unsafe { Cache::at(&self.endpoint, self.shared.next_id(), name, layout, runs, memory)? };
        self.shared.insert(&cache);
        Ok(cache)
    }

    /// Connects to the engine that listens at `address`.
    ///
    /// # Errors
    /// [`EngineError::Endpoint`].
    pub fn connect(&self, address: SocketAddr) -> Result<Peer, EngineError> {
        Ok(self.endpoint.connect(address)?)
    }

    /// The next peer that has connected to this engine.
    ///
    /// # Errors
    /// [`EngineError::Timeout`].
    pub fn accept(&self, patience: Duration) -> Result<Peer, EngineError> {
        self.shared.wait_arrival(patience, "a peer to connect", |arrivals| arrivals.connected.pop_front())
    }

    /// The next peer that went down, and why.
    ///
    /// # Errors
    /// [`EngineError::Timeout`].
    pub fn wait_down(&self, patience: Duration) -> Result<(Peer, DownReason), EngineError> {
        self.shared.wait_arrival(patience, "a peer to go down", |arrivals| arrivals.down.pop_front())
    }

    /// Looks up a peer's cache by name. Asks the peer each time, so that a cache registered after connecting is found.
    ///
    /// # Errors
    /// [`EngineError::NoSuchCache`] when the peer has none of that name; otherwise what went wrong on the way.
    pub fn remote_cache(
        &self,
        peer: &Peer,
        name: &str,
        patience: Duration,
    ) -> Result<RemoteCache, EngineError> {
        RemoteCache::look_up(peer, name, patience)
    }

    /// Asks the [`Application`] of a peer.
    ///
    /// # Errors
    /// [`EngineError::Request`].
    pub fn ask(&self, peer: &Peer, body: Vec<u8>, patience: Duration) -> Result<Vec<u8>, EngineError> {
        Ok(peer.request(request::APPLICATION, body, patience)?)
    }

    /// The next notification, in the order in which they arrived.
    ///
    /// # Errors
    /// [`EngineError::Timeout`].
    pub fn wait_notification(&self, patience: Duration) -> Result<Notification, EngineError> {
        let next = |arrivals: &mut Arrivals| arrivals.notifications.pop_front();
        self.shared.wait_arrival(patience, "a notification", next)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Engine").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Shared {
    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn check_name(&self, name: &str) -> Result<(), EngineError> {
        match self.find(name) {
            Some(_) => Err(EngineError::NameTaken { name: name.to_owned() }),
            None => Ok(()),
        }
    }

    fn insert(&self, cache: &Cache) {
        self.caches().insert(cache.name().to_owned(), cache.downgrade());
    }

    fn find(&self, name: &str) -> Option<Cache> {
        Cache::upgrade(self.caches().get(name)?)
    }

    fn caches(&self) -> MutexGuard<'_, HashMap<String, Weak<cache::Inner>>> {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(&self, change: impl FnOnce(&mut Arrivals)) {
        change(&mut self.arrivals.lock().unwrap_or_else(PoisonError::into_inner));
        self.arrived.notify_all();
    }

    fn wait_arrival<T>(
        &self,
        patience: Duration,
        what: &'static str,
        mut take: impl FnMut(&mut Arrivals) -> Option<T>,
    ) -> Result<T, EngineError> {
        let deadline = Instant::now() + patience;
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(taken) = take(&mut arrivals) {
                return Ok(taken);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(EngineError::Timeout { what, patience });
            }
            arrivals = self.arrived.wait_timeout(arrivals, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl PeerService for Shared {
    fn connected(&self, peer: &Peer) {
        self.arrive(|arrivals| arrivals.connected.push_back(peer.clone()));
    }

    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        match (kind, &self.application) {
            (request::CACHE, _) => remote::describe(peer, body, |name| self.find(name)),
            (request::APPLICATION, Some(application)) => application.request(peer, body),
            _ => Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind}") }),
        }
    }

    fn message(&self, peer: &Peer, message: Message<'_>) {
        let notification = Notification { peer: peer.clone(), bytes: message.bytes.to_vec() };
        self.arrive(|arrivals| arrivals.notifications.push_back(notification));
    }

    fn down(&self, peer: &Peer, reason: &DownReason) {
        self.arrive(|arrivals| arrivals.down.push_back((peer.clone(), reason.clone())));
    }
}
