//! The engine: registered caches, peers, and the transfers between them.
//!
//! An inference process opens one [`Engine`]. It registers its [`Cache`]s under names, connects to peers or is connected
//! to, looks up a peer's cache ([`RemoteCache`]) and moves blocks:
//!
//! ```text
//!  block table ---- planner: pieces ---- WorkListBuilder: merged work requests ---- Route::submit ---- Transfer
//! ```
//! A [`Prepared`] transfer was planned once and can be posted any number of times. A [`LayerStream`] is a transfer for
//! each layer, posted when the layer is released.
//!
//! | file | holds |
//! |---|---|
//! | `cache`, `remote` | the caches of both sides |
//! | `prepared`, `outline` | a planned transfer, and what it was planned from |
//! | `transfer`, `failure`, `courier` | a posted one; what its peer is told if it fails, and by whom |
//! | `stream` | layers one by one, on either side |
//! | `service`, `events` | what peers ask and say, and waiting for it |
//! | `names` | engines that find each other by name |
//! | `metrics`, `estimate` | counts, and what was learned from transfers |

mod cache;
mod courier;
mod error;
mod estimate;
mod events;
mod failure;
mod metrics;
mod names;
mod outline;
mod prepared;
mod remote;
mod service;
mod stream;
mod transfer;

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use pmd_core::{accelerator::DeviceMemory, sync::AtomicU64};
use pmd_host::{
    control::{DownReason, Refusal},
    endpoint::{Endpoint, EndpointConfig, Peer, PeerService},
    soft::{Accelerators, ArenaOptions},
    transfer::{KeepAlive, Spares, WorkBuffers},
};

pub use cache::{Cache, CacheMemory};
pub use error::EngineError;
pub use estimate::{Estimate, LinkFigures};
pub use events::{Event, Notification};
pub use failure::{FailureReason, TransferFailure, TransferId};
pub use metrics::{Metrics, PeerMetrics, TransferCounters};
pub use prepared::Prepared;
pub use remote::RemoteCache;
pub use stream::{
    Landing, LayerArrivals, LayerError, LayerStream, LayerSynchronizer, Sent, StreamError, StreamOptions,
};
pub use transfer::{CacheTransfer, PostOptions};

use self::{
    courier::Courier,
    events::Inbox,
    metrics::{CounterCells, PeerRecord},
    remote::request,
    stream::Incoming,
};
use crate::layout::{CacheLayout, TensorRun};

/// An inference process's end of all its cache transfers. Clones are handles to the same engine.
#[derive(Clone)]
pub struct Engine {
    endpoint: Endpoint,
    shared: Arc<Shared>,
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
    /// By name, with the number of the cache that has it.
    caches: Mutex<HashMap<String, (u64, Weak<cache::Inner>)>>,
    next_id: AtomicU64,
    next_transfer: AtomicU64,
    application: Option<Box<dyn Application>>,
    inbox: Inbox,
    incoming: Incoming,
    /// By the number of the control connection.
    peers: Mutex<HashMap<u64, Arc<PeerRecord>>>,
    counters: CounterCells,
    courier: Courier,
    spares: PlanSpares,
    /// What the engine was opened with.
    accelerators: Accelerators,
}

/// Memory of plans that were dropped, for the next ones: a plan of many blocks costs more to have pages mapped for than
/// to make.
#[derive(Clone, Default)]
struct PlanSpares {
    lists: Spares<WorkBuffers>,
    tables: Spares<Vec<u32>>,
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
            next_transfer: AtomicU64::new(1),
            application,
            inbox: Inbox::default(),
            incoming: Incoming::default(),
            peers: Mutex::default(),
            counters: CounterCells::default(),
            courier: Courier::default(),
            spares: PlanSpares::default(),
            accelerators: config.soft.accelerators.clone(),
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
        let cache = Cache::in_arena(&self.endpoint, &self.shared, name, layout, arena)?;
        self.shared.insert(&cache)?;
        Ok(cache)
    }

    /// A cache in memory of an accelerator, its tensors one behind the other from the first byte on. The cache holds the
    /// memory. [Device memory](crate#device-memory) says who reaches it, and how transfers and kernels are ordered.
    ///
    /// # Errors
    /// [`EngineError::TooSmall`]; [`EngineError::Register`], where the engine was not opened with the accelerator, for
    /// instance; [`EngineError::NameTaken`].
    pub fn register_device_cache(
        &self,
        name: &str,
        layout: CacheLayout,
        memory: Arc<dyn DeviceMemory>,
    ) -> Result<Cache, EngineError> {
        self.shared.check_name(name)?;
        let cache = Cache::on_device(&self.endpoint, &self.shared, name, layout, memory)?;
        self.shared.insert(&cache)?;
        Ok(cache)
    }

    /// As [`Engine::register_device_cache`], of tensors that lie where `runs` say (their keys are not looked at), each run
    /// inside one of `memories`: one tensor of a framework for each layer, for instance, which
    /// [`Accelerator::adopt`](pmd_core::accelerator::Accelerator::adopt) describes.
    ///
    /// # Errors
    /// [`EngineError::OutsideMemory`], [`EngineError::Layout`] where the runs do not place the layout's tensors; else as
    /// [`Engine::register_device_cache`].
    pub fn register_device_tensors(
        &self,
        name: &str,
        layout: CacheLayout,
        runs: Vec<TensorRun>,
        memories: Vec<Arc<dyn DeviceMemory>>,
    ) -> Result<Cache, EngineError> {
        self.shared.check_name(name)?;
        let cache = Cache::on_device_at(&self.endpoint, &self.shared, name, layout, runs, memories)?;
        self.shared.insert(&cache)?;
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
        let cache = unsafe { Cache::at(&self.endpoint, &self.shared, name, layout, runs, memory)? };
        self.shared.insert(&cache)?;
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
        self.shared.inbox.next_connected(patience)
    }

    /// The next peer that went down, and why.
    ///
    /// # Errors
    /// [`EngineError::Timeout`].
    pub fn wait_down(&self, patience: Duration) -> Result<(Peer, DownReason), EngineError> {
        self.shared.inbox.next_down(patience)
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
        RemoteCache::look_up(&self.shared, peer, name, patience)
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
        self.shared.inbox.next_notification(patience)
    }

    /// The next transfer of a peer that has failed: which blocks of which cache here are not valid.
    ///
    /// # Errors
    /// [`EngineError::Timeout`].
    pub fn wait_failure(&self, patience: Duration) -> Result<TransferFailure, EngineError> {
        self.shared.inbox.next_failure(patience)
    }

    /// The next notification, failure, or peer that went down, whichever arrived first: what is taken here is not given
    /// by the other waits, nor the other way round.
    ///
    /// # Errors
    /// [`EngineError::Timeout`].
    pub fn wait_event(&self, patience: Duration) -> Result<Event, EngineError> {
        self.shared.inbox.next(patience)
    }

    /// Expects the layers of a stream: of all of `peers`, each of which sends its part of every layer under this tag.
    /// Layers that have landed before are not lost.
    ///
    /// # Errors
    /// [`EngineError::TagTaken`].
    pub fn expect_layers(&self, tag: u64, peers: &[Peer]) -> Result<LayerArrivals, EngineError> {
        Incoming::expect(&self.shared, tag, peers)
    }

    /// What the engine has done so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics()
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Engine").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
