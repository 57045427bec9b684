//! LLM-DataDist: caches of tensors that clusters of processes pull from and push into each other.
//!
//! # Place in the flow
//! A serving engine that was written for LLM-DataDist makes an [`LlmDataDist`], in Rust here, or through the drop-in
//! interfaces of `kv-api/capi` and `kv-api/python`, which stand on this module. Names, arguments, defaults and
//! [statuses](Status) are upstream's; what moves the bytes is [`fabric`](crate::fabric).
//!
//! ```text
//!  pull_kv_blocks(cluster 0, cache 1 -> cache 4, blocks)           LlmDataDist
//!     | links: the link to cluster 0        caches: cache 4 here
//!     | LOOK_UP cache 1 ----------------------------------------->  service of cluster 0 (asked once)
//!     | selection: tensors and spans, from both caches' shapes
//!     v
//!  fabric: descriptors -> keys -> work requests -> completion
//! ```
//! | file | holds |
//! |---|---|
//! | `selection`, `shape` | the arithmetic: which bytes of which tensors, and every check of it |
//! | `caches`, `memory`, `pool` | caches of this process and their memory |
//! | `links`, `running` | links, and how they are made and taken down |
//! | `service`, `protocol` | what clusters ask each other |
//! | `transfer`, `copy`, `task` | pulls and pushes, copies, layers that are sent as they are computed |
//!
//! # Differences from upstream
//! | upstream | here |
//! |---|---|
//! | caches registered after linking are not seen by peers | they are |
//! | a push of all layers needs the caller's description of the cache | its number is enough |
//! | offsets at the peer are worked out with the local stride | with the peer's own |
//! | allocate, deallocate, copy: not enabled | they work, with or without a memory pool |
//! | one pull or push at a time for each cluster | any number, unless [`OPTION_OPERATION_LIMIT`] says otherwise |
//! | at most 16 clusters a call, 512 links, 240 addresses | no limit, but for [`OPTION_CLUSTER_LIMIT`] |
//! | after a time-out the link is dead | it goes on where the transfer could be stopped, and is down otherwise |
//! | source of a push on the device only | anywhere |
//!
//! # Caches on the device
//! A process that was opened with accelerators ([`DeviceConfig::accelerators`]) keeps caches that are placed on the
//! device in memory of those: tensors that are registered lie there, and those that are allocated are put on the first.
//! Copies and swaps are made by its streams, and have ended when the call returns. A process without accelerators has no
//! device; memory of its own stands for the device's, whatever the placement says.
//!
//! [`DeviceConfig::accelerators`]: pmd_host::soft::DeviceConfig::accelerators
//!
//! # Threads
//! A handle may be used from any thread, and clones are handles to the same process. Calls wait for what they do, with
//! the bounds that they are given; [`LlmDataDist::finalize`] may be called while others run, which then fail.
#![allow(unsafe_code)] // takes addresses on the caller's word

mod argument;
mod caches;
mod copy;
mod data_type;
mod error;
mod links;
mod memory;
mod options;
mod pool;
mod protocol;
mod running;
mod selection;
mod service;
mod shape;
mod status;
mod task;
#[cfg(test)]
mod tests;
mod transfer;
mod types;

use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use pmd_host::{backend::Transport, endpoint::EndpointConfig};

pub use argument::{ArgumentError, Side};
pub use caches::CacheKeys;
pub use data_type::DataType;
pub use error::{DataDistError, LinkFault, NoSpace};
pub use options::{
    OPTION_CLUSTER_LIMIT, OPTION_DEVICE_ID, OPTION_ENABLE_SET_ROLE, OPTION_GLOBAL_RESOURCE_CONFIG,
    OPTION_HOST_MEMORY_POOL, OPTION_LISTEN_IP_INFO, OPTION_LOCAL_COMM_RES, OPTION_MEMORY_POOL,
    OPTION_OPERATION_LIMIT, OPTION_SYNC_CACHE_WAIT_TIME, OPTION_TRANSFER_BACKEND, Options,
};
pub use status::Status;
pub use task::{CacheTask, LayerSynchronizer, TransferBlocks, TransferConfig, TransferDestination};
pub use types::{
    BlocksCacheKey, Cache, CacheDesc, CacheIndex, CacheKey, CacheKind, CachePlacement, ClusterInfo,
    INVALID_ID, IpInfo, KvCacheExtParam, LlmRole, RemoteCache,
};

use self::{
    options::{Settings, listen_address},
    running::Running,
    selection::{Tensors, blocks, check_rows, contiguous_to_blocks, row},
    shape::CacheShape,
    transfer::Selected,
};
use crate::environment;

/// Default time-out of linking and unlinking, in milliseconds.
pub const DEFAULT_LINK_TIMEOUT: i32 = 1000;

/// A process of a cluster. Clones are handles to the same one; the last to go finalizes it.
#[derive(Clone)]
pub struct LlmDataDist(Arc<Shared>);

struct Shared {
    cluster_id: u64,
    role: Mutex<LlmRole>,
    /// Held while it is initialised or finalized.
    lifecycle: Mutex<()>,
    running: Mutex<Option<Arc<Running>>>,
}

/// What became of each cluster of a call, in the order in which they were given.
#[derive(Debug)]
pub struct ClusterResults(pub Vec<Result<(), DataDistError>>);

impl ClusterResults {
    /// Success when all are; otherwise the last failure, as upstream returns it.
    #[must_use]
    pub fn status(&self) -> Status {
        let last = self.0.iter().rev().find_map(|result| result.as_ref().err());
        last.map_or(Status::Success, DataDistError::status)
    }

    /// The status of each.
    #[must_use]
    pub fn statuses(&self) -> Vec<Status> {
        let status = |result: &Result<(), DataDistError>| match result {
            Ok(()) => Status::Success,
            Err(error) => error.status(),
        };
        self.0.iter().map(status).collect()
    }
}

impl LlmDataDist {
    /// A process of cluster `cluster_id`, which is unique among all that link with each other. Nothing starts yet.
    #[must_use]
    pub fn new(cluster_id: u64, role: LlmRole) -> Self {
        let (role, lifecycle, running) = (Mutex::new(role), Mutex::new(()), Mutex::new(None));
        Self(Arc::new(Shared { cluster_id, role, lifecycle, running }))
    }

    /// The cluster's number.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        self.0.cluster_id
    }

    /// The role now.
    #[must_use]
    pub fn role(&self) -> LlmRole {
        *lock(&self.0.role)
    }

    /// Opens the devices, and listens where the options say so. Once it is initialised this does nothing.
    ///
    /// # Errors
    /// [`DataDistError::OptionMissing`], [`DataDistError::Option`], [`DataDistError::Environment`] and, for devices and
    /// the address to listen on, [`DataDistError::Fabric`].
    pub fn initialize(&self, options: &Options) -> Result<(), DataDistError> {
        self.open(options, |device| Ok(environment::endpoint_config_on(device)?))
    }

    /// As [`LlmDataDist::initialize`], with an endpoint's settings rather than those of
    /// [`environment`]. Where it listens the options say.
    ///
    /// # Errors
    /// As [`LlmDataDist::initialize`].
    pub fn initialize_with(&self, options: &Options, endpoint: EndpointConfig) -> Result<(), DataDistError> {
        self.open(options, |_| Ok(endpoint))
    }

    fn open(
        &self,
        options: &Options,
        endpoint: impl FnOnce(u32) -> Result<EndpointConfig, DataDistError>,
    ) -> Result<(), DataDistError> {
        let _lifecycle = lock(&self.0.lifecycle);
        if lock(&self.0.running).is_some() {
            return Ok(());
        }
        let settings = Settings::parse(options)?;
        let endpoint = endpoint(settings.device)?;
        let running = Running::open(self.0.cluster_id, settings, endpoint)?;
        *lock(&self.0.running) = Some(Arc::new(running));
        Ok(())
    }

    /// Where it listens, with the port that the system chose for port 0; `None` when it does not.
    ///
    /// # Errors
    /// [`DataDistError::NotInitialised`].
    pub fn local_address(&self) -> Result<Option<SocketAddr>, DataDistError> {
        Ok(self.running()?.fabric.local_address())
    }

    /// What carries the bytes to and from a linked cluster.
    ///
    /// # Errors
    /// [`DataDistError::NotLinked`], [`DataDistError::LinkDown`].
    pub fn transport(&self, remote_cluster_id: u64) -> Result<Transport, DataDistError> {
        Ok(self.running()?.service.links.find(remote_cluster_id)?.peer.transport())
    }

    /// Whether it is between `initialize` and `finalize`.
    #[must_use]
    pub fn is_initialized(&self) -> bool {
        lock(&self.0.running).is_some()
    }

    /// Takes down all links, ends all caches and stops listening. Calls that run fail, and are over when this returns;
    /// nothing reaches the caller's memory any more.
    pub fn finalize(&self) {
        self.0.finalize();
    }

    /// Changes the role, and with it whether and where this process listens: at [`OPTION_LISTEN_IP_INFO`] of `options`,
    /// or no more.
    ///
    /// # Errors
    /// [`DataDistError::LinksExist`] while there are links, [`DataDistError::Disabled`] where
    /// [`OPTION_ENABLE_SET_ROLE`] is 0, [`DataDistError::Option`], and [`DataDistError::Fabric`] for an address that
    /// cannot be listened on; then nothing has changed.
    pub fn set_role(&self, role: LlmRole, options: &Options) -> Result<(), DataDistError> {
        let running = self.running()?;
        if !running.settings.switch_role {
            return Err(DataDistError::Disabled { option: OPTION_ENABLE_SET_ROLE });
        }
        let listen = listen_address(options)?;
        let mut current = lock(&self.0.role);
        match running.service.links.live() {
            0 => running.fabric.listen(listen)?,
            links => return Err(DataDistError::LinksExist { links }),
        }
        *current = role;
        Ok(())
    }

    /// Links with clusters that listen. Each takes at most `timeout_in_millis`, 16 at a time.
    ///
    /// # Errors
    /// For the call: [`DataDistError::NotInitialised`], [`ArgumentError::Timeout`], [`ArgumentError::NoClusters`],
    /// [`DataDistError::TooManyClusters`]. For each cluster: [`ArgumentError::RemoteAddresses`],
    /// [`ArgumentError::OwnCluster`], [`DataDistError::AlreadyLinked`], [`DataDistError::Linking`],
    /// [`DataDistError::Connect`], [`DataDistError::WrongCluster`], [`DataDistError::Handshake`].
    pub fn link_llm_clusters(
        &self,
        clusters: &[ClusterInfo],
        timeout_in_millis: i32,
    ) -> Result<ClusterResults, DataDistError> {
        let running = self.running()?;
        let timeout = running.check_clusters(clusters, timeout_in_millis)?;
        Ok(ClusterResults(Running::for_each(clusters, |cluster| running.link_cluster(cluster, timeout))))
    }

    /// Takes links down: on both sides, or with `force` on this one, without asking the other. When this returns no
    /// transfer of this side runs on them.
    ///
    /// # Errors
    /// For the call: as [`LlmDataDist::link_llm_clusters`]. For each cluster: [`DataDistError::Linking`];
    /// [`ArgumentError::RemoteAddresses`] without `force`; [`DataDistError::NotConfirmed`] when the link is gone here
    /// and the other side could not be told; [`DataDistError::Unreachable`] when there was none here and the other side
    /// could not be told.
    pub fn unlink_llm_clusters(
        &self,
        clusters: &[ClusterInfo],
        timeout_in_millis: i32,
        force: bool,
    ) -> Result<ClusterResults, DataDistError> {
        let running = self.running()?;
        let timeout = running.check_clusters(clusters, timeout_in_millis)?;
        let unlink = |cluster: &ClusterInfo| running.unlink_cluster(cluster, timeout, force);
        Ok(ClusterResults(Running::for_each(clusters, unlink)))
    }

    /// Whether the link to a cluster is up.
    ///
    /// # Errors
    /// [`DataDistError::NotLinked`], [`DataDistError::LinkDown`].
    pub fn check_link_status(&self, remote_cluster_id: u64) -> Result<(), DataDistError> {
        self.running()?.service.links.find(remote_cluster_id).map(drop)
    }

    /// Registers memory as a cache: `desc.num_tensors` tensors at `addrs`. Returns its number, from 1; linked clusters
    /// can use it at once. Tensors may overlap, and the same memory may be in several caches. Tensors that are placed on
    /// the [device](CachePlacement::Device) lie in memory of an accelerator that this process was opened with.
    ///
    /// # Errors
    /// [`ArgumentError`] for the description, the addresses or the keys; [`DataDistError::Register`];
    /// [`DataDistError::Fabric`] for memory that no accelerator knows as its own.
    ///
    /// # Safety
    /// Until the cache is unregistered and that call has returned, each tensor's memory stays mapped, and its bytes are
    /// not borrowed while a transfer may touch them, transfers of linked clusters included.
    pub unsafe fn register_kv_cache(
        &self,
        desc: &CacheDesc,
        addrs: &[u64],
        keys: &CacheKeys,
    ) -> Result<i64, DataDistError> {
        let running = self.running()?;
        let shape = CacheShape::of(desc)?;
        // SAFETY: passed on to the caller.
        let memory = unsafe { memory::register(&running.fabric, desc.placement, &shape, addrs)? };
        Ok(running.service.caches.insert(desc.clone(), keys, memory)?.id)
    }

    /// Ends a cache. When this returns nothing reaches its memory: pulls and pushes of this process that use it have
    /// ended, and those of peers fail. A number that is not there is no error.
    ///
    /// # Errors
    /// [`DataDistError::NotInitialised`].
    pub fn unregister_kv_cache(&self, cache_id: i64) -> Result<(), DataDistError> {
        self.running()?.remove_cache(cache_id);
        Ok(())
    }

    /// Allocates a cache, in memory that peers of this host map, or on the accelerator where it is placed there and there
    /// is one. Its content is undefined.
    ///
    /// # Errors
    /// [`ArgumentError`] for the description or the keys; [`DataDistError::NoSpace`]; [`DataDistError::Register`].
    pub fn allocate_cache(&self, desc: &CacheDesc, keys: &CacheKeys) -> Result<Cache, DataDistError> {
        let running = self.running()?;
        let memory = memory::allocate(&running.fabric, running.pool(desc.placement), desc)?;
        let cache = running.service.caches.insert(desc.clone(), keys, memory)?;
        let tensor_addrs = cache.addresses.clone();
        Ok(Cache { cache_id: cache.id, tensor_addrs, cache_desc: desc.clone() })
    }

    /// Gives an allocated cache back. One with keys of rows goes when the last of them was pulled or removed. Does
    /// nothing for a registered cache, and for a number that is not there.
    ///
    /// # Errors
    /// [`DataDistError::NotInitialised`].
    pub fn deallocate_cache(&self, cache_id: i64) -> Result<(), DataDistError> {
        let running = self.running()?;
        if let Some(cache) = running.service.caches.release(cache_id) {
            running.service.end_cache(cache);
        }
        Ok(())
    }

    /// Takes a key away: peers do not find the cache by it any more. A key that is not there is no error.
    ///
    /// # Errors
    /// [`DataDistError::NotInitialised`], [`ArgumentError::Key`].
    pub fn remove_cache_key(&self, key: &CacheKey) -> Result<(), DataDistError> {
        let running = self.running()?;
        let name = key.name().ok_or(ArgumentError::Key)?;
        if let Some(cache) = running.service.caches.remove_key(&name) {
            running.service.end_cache(cache);
        }
        Ok(())
    }

    /// Reads one row of every selected tensor of a cluster's cache into row `batch_index` of ours: `size` bytes of
    /// each, or the whole row for -1.
    ///
    /// # Errors
    /// [`DataDistError::NoSuchCache`], [`ArgumentError`], [`DataDistError::NotLinked`], [`DataDistError::LinkDown`],
    /// [`DataDistError::NoSuchRemoteCache`], [`DataDistError::Timeout`], [`DataDistError::NoAnswer`],
    /// [`DataDistError::Busy`], [`DataDistError::Transfer`].
    pub fn pull_kv_cache(
        &self,
        source: impl Into<RemoteCache>,
        destination: i64,
        batch_index: u32,
        size: i64,
        layers: &KvCacheExtParam,
    ) -> Result<(), DataDistError> {
        let running = self.running()?;
        let destination = running.service.caches.find(destination)?;
        let ours = &destination.shape;
        check_rows(ours, Side::Destination)?;
        selection::check_row(ours, batch_index, size, Side::Destination)?;
        selection::range(layers.dst_layer_range, layers.tensor_num_per_layer, ours, Side::Destination)?;
        running.pull(&source.into(), &destination, |theirs, their_row| {
            let tensors = Tensors::select(theirs, ours, layers)?;
            let span = row((theirs, their_row), (ours, batch_index), size)?;
            Ok(Selected { tensors, spans: vec![span] })
        })
    }

    /// Reads blocks of a cluster's cache into blocks of ours. Without `src_blocks` the source is contiguous: its row
    /// fills one block of `dst_blocks` after the other.
    ///
    /// # Errors
    /// As [`LlmDataDist::pull_kv_cache`].
    pub fn pull_kv_blocks(
        &self,
        source: impl Into<RemoteCache>,
        destination: i64,
        src_blocks: &[u64],
        dst_blocks: &[u64],
        layers: &KvCacheExtParam,
    ) -> Result<(), DataDistError> {
        let running = self.running()?;
        let source = source.into();
        check_no_row(&source, src_blocks)?;
        let destination = running.service.caches.find(destination)?;
        let ours = &destination.shape;
        selection::check_destination(ours, dst_blocks)?;
        selection::range(layers.dst_layer_range, layers.tensor_num_per_layer, ours, Side::Destination)?;
        running.pull(&source, &destination, |theirs, their_row| {
            let tensors = Tensors::select(theirs, ours, layers)?;
            let spans = match src_blocks {
                [] => contiguous_to_blocks((theirs, their_row), ours, dst_blocks)?,
                _ => blocks(theirs, src_blocks, ours, dst_blocks)?,
            };
            Ok(Selected { tensors, spans })
        })
    }

    /// Writes row `src_batch_index` of every selected tensor of our cache into a row of a cluster's. `size` is -1.
    ///
    /// # Errors
    /// As [`LlmDataDist::pull_kv_cache`].
    pub fn push_kv_cache(
        &self,
        source: i64,
        destination: impl Into<RemoteCache>,
        src_batch_index: u32,
        size: i64,
        layers: &KvCacheExtParam,
    ) -> Result<(), DataDistError> {
        let running = self.running()?;
        if size != -1 {
            return Err(ArgumentError::PushSize { size }.into());
        }
        let source = running.service.caches.find(source)?;
        let ours = &source.shape;
        ours.batch_offset(src_batch_index, Side::Source)?;
        selection::range(layers.src_layer_range, layers.tensor_num_per_layer, ours, Side::Source)?;
        running.push(&source, &destination.into(), |theirs, their_row| {
            let tensors = Tensors::select(ours, theirs, layers)?;
            let span = row((ours, src_batch_index), (theirs, their_row), size)?;
            Ok(Selected { tensors, spans: vec![span] })
        })
    }

    /// Writes blocks of our cache into blocks of a cluster's.
    ///
    /// # Errors
    /// As [`LlmDataDist::pull_kv_cache`].
    pub fn push_kv_blocks(
        &self,
        source: i64,
        destination: impl Into<RemoteCache>,
        src_blocks: &[u64],
        dst_blocks: &[u64],
        layers: &KvCacheExtParam,
    ) -> Result<(), DataDistError> {
        let running = self.running()?;
        let destination = destination.into();
        if src_blocks.is_empty() {
            return Err(ArgumentError::NoBlocks { side: Side::Source }.into());
        }
        check_no_row(&destination, src_blocks)?;
        let source = running.service.caches.find(source)?;
        let ours = &source.shape;
        ours.check_blocks(src_blocks, Side::Source)?;
        selection::range(layers.src_layer_range, layers.tensor_num_per_layer, ours, Side::Source)?;
        running.push(&source, &destination, |theirs, _| {
            let tensors = Tensors::select(ours, theirs, layers)?;
            Ok(Selected { tensors, spans: blocks(ours, src_blocks, theirs, dst_blocks)? })
        })
    }

    fn running(&self) -> Result<Arc<Running>, DataDistError> {
        lock(&self.0.running).clone().ok_or(DataDistError::NotInitialised)
    }
}

impl Shared {
    fn finalize(&self) {
        let _lifecycle = lock(&self.lifecycle);
        let Some(mut running) = lock(&self.running).take() else { return };
        running.close();
        // Calls that have begun hold it, and end soon: their links are down.
        loop {
            match Arc::try_unwrap(running) {
                Ok(last) => return drop(last),
                Err(held) => running = held,
            }
            thread::sleep(Duration::from_micros(100));
            running.close();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.finalize();
    }
}

impl fmt::Debug for LlmDataDist {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LlmDataDist")
            .field("cluster_id", &self.cluster_id())
            .field("role", &self.role())
            .field("initialized", &self.is_initialized())
            .finish_non_exhaustive()
    }
}

/// Blocks have no row; only a contiguous source does.
fn check_no_row(remote: &RemoteCache, src_blocks: &[u64]) -> Result<(), ArgumentError> {
    match remote {
        RemoteCache::Index(CacheIndex { batch_index, .. }) if *batch_index != 0 && !src_blocks.is_empty() => {
            Err(ArgumentError::BatchIndexWithBlocks { index: *batch_index })
        }
        _ => Ok(()),
    }
}

fn lock<T>(value: &Mutex<T>) -> MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}
