//! LLM-DataDist's layer tasks in C: layers of a cache that are sent while they are computed.

use std::{ffi::c_void, ops::Range, ptr, time::Duration};

use kv_api::datadist::{
    CacheTask, LayerSynchronizer, RemoteCache, Status, TransferBlocks, TransferConfig, TransferDestination,
};

use super::{
    Fault,
    caches::blocks,
    find, pmd_datadist, run,
    types::{pmd_datadist_blocks, pmd_datadist_cache_index, remote_at},
};
use crate::{
    boundary::{Place, Table, array, milliseconds, writable_array},
    status::Failure,
};

/// A task that runs.
pub struct pmd_datadist_task {
    _opaque: [u8; 0],
}

static TASKS: Table<pmd_datadist_task, CacheTask> = Table::new("layer task");

/// Waits until a layer is computed, at most `timeout_ms`, or as long as it takes with a negative one; false gives the
/// task up. Called once for each layer, on the task's thread. It must not throw.
pub type pmd_datadist_synchronizer =
    Option<unsafe extern "C" fn(context: *mut c_void, layer: u32, timeout_ms: i64) -> bool>;

/// One destination of a task (`TransferConfig`, `TransferWithCacheKeyConfig`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_datadist_destination {
    /// The cluster, and its cache by number and row or by a key of blocks.
    pub to: pmd_datadist_cache_index,
    /// First byte of each tensor at that cluster, in place of a cache: two for each layer. NULL: to the cache.
    pub addresses: *const u64,
    /// How many.
    pub address_count: usize,
    /// First layer of the source.
    pub source_first: u32,
    /// One past the last; 0 for all layers.
    pub source_end: u32,
    /// First layer of the destination.
    pub destination_first: u32,
    /// One past the last; 0 for the layers of the source.
    pub destination_end: u32,
    /// Row of the source; 0 with blocks.
    pub source_batch_index: u32,
}

/// Blocks of a task (`TransferBlocks`): none for a row to a row; those of the destination for a contiguous source; both
/// for blocks to blocks.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_datadist_task_blocks {
    /// Blocks of the source.
    pub source: pmd_datadist_blocks,
    /// Blocks of the destination.
    pub destination: pmd_datadist_blocks,
    /// Bytes of a block of the destination; needed for a contiguous source, 0 otherwise.
    pub destination_block_bytes: u64,
}

/// `transfer_cache_async`: sends layers of a cache to clusters while they are computed; before each layer the
/// synchronizer is asked once. A layer is two tensors. `task_blocks` NULL: rows. Release the task with
/// `pmd_datadist_task_release`.
///
/// # Safety
/// `synchronizer` may be called with `context` on another thread until the task is done. The destinations' arrays and the
/// lists have their counts; `task` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_transfer_async(
    cluster: *const pmd_datadist,
    source: i64,
    synchronizer: pmd_datadist_synchronizer,
    context: *mut c_void,
    destinations: *const pmd_datadist_destination,
    count: usize,
    task_blocks: *const pmd_datadist_task_blocks,
    task: *mut *mut pmd_datadist_task,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(task, "the place for the task")? };
        let missing = || Failure::argument("the synchronizer is NULL");
        let asked = Asked { call: synchronizer.ok_or_else(missing)?, context: context.expose_provenance() };
        // SAFETY: the caller's promise.
        let destinations = unsafe { array(destinations, count, "the array of destinations")? };
        // SAFETY: the caller's promise.
        let config = |destination| unsafe { config_of(destination) };
        let configs = destinations.iter().map(config).collect::<Result<Vec<_>, Failure>>()?;
        // SAFETY: the caller's promise.
        let blocks = match unsafe { task_blocks.as_ref() } {
            None => TransferBlocks::default(),
            // SAFETY: the caller's promise.
            Some(blocks) => unsafe { blocks_of(blocks)? },
        };
        place.put(TASKS.insert(find(cluster)?.transfer_cache_async(source, asked, &configs, blocks)?));
        Ok(())
    })
}

/// Writes whether every destination of a task has its outcome.
///
/// # Safety
/// `done` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_task_is_done(task: *const pmd_datadist_task, done: *mut bool) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        unsafe { Place::new(done, "the place for the answer")? }.put(TASKS.find(task)?.is_done());
        Ok(())
    })
}

/// `synchronize`: waits until every destination has its outcome: the first failure, or 0. `LLM_TIMEOUT` when that takes
/// longer than `timeout_ms`, and the task goes on; negative: as long as it takes.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_datadist_task_wait(task: *const pmd_datadist_task, timeout_ms: i64) -> u32 {
    run(|| match TASKS.find(task)?.synchronize(patience(timeout_ms)) {
        Status::Success => Ok(()),
        status => Err(Fault::Cluster(status, format!("the task: {status}"))),
    })
}

/// `get_results`: as `pmd_datadist_task_wait`, the outcome of each destination. `count` is how many there are.
///
/// # Safety
/// `statuses` has room for `capacity` codes; `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_datadist_task_results(
    task: *const pmd_datadist_task,
    timeout_ms: i64,
    statuses: *mut u32,
    capacity: usize,
    count: *mut usize,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(count, "the place for the number of outcomes")? };
        writable_array(statuses, capacity, "the room for outcomes")?;
        let results = TASKS.find(task)?.get_results(patience(timeout_ms));
        place.put(results.len());
        if results.len() > capacity {
            let text = format!("{} outcomes, there is room for {capacity}", results.len());
            return Err(Failure::argument(text).into());
        }
        for (index, status) in results.iter().enumerate() {
            // SAFETY: there is room for so many.
            unsafe { Place::optional(statuses.add(index)) }.put(status.code());
        }
        Ok(())
    })
}

/// Releases a task's handle. The task goes on.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_datadist_task_release(task: *mut pmd_datadist_task) -> u32 {
    run(|| Ok(TASKS.remove(task).map(drop)?))
}

/// A C program's synchronizer.
struct Asked {
    call: unsafe extern "C" fn(*mut c_void, u32, i64) -> bool,
    context: usize,
}

impl LayerSynchronizer for Asked {
    fn synchronize_layer(&self, layer_index: u32, timeout_in_millis: Option<u32>) -> bool {
        let timeout = timeout_in_millis.map_or(-1, i64::from);
        // SAFETY: the caller of pmd_datadist_transfer_async promised it.
        unsafe { (self.call)(ptr::with_exposed_provenance_mut(self.context), layer_index, timeout) }
    }
}

fn patience(timeout_ms: i64) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(milliseconds)
}

/// # Safety
/// The addresses have their count, and the key is null or there.
unsafe fn config_of(given: &pmd_datadist_destination) -> Result<TransferConfig, Failure> {
    // SAFETY: the caller's promise.
    let destination = if given.addresses.is_null() {
        // SAFETY: the caller's promise.
        match unsafe { remote_at(&given.to)? } {
            RemoteCache::Index(index) => TransferDestination::Cache(index),
            RemoteCache::Blocks(key) => TransferDestination::Blocks(key),
            RemoteCache::Key(_) => return Err(Failure::argument("a task does not go to the key of a row")),
        }
    } else {
        // SAFETY: the caller's promise.
        let addresses = unsafe { array(given.addresses, given.address_count, "a destination's addresses")? };
        TransferDestination::Addresses { cluster_id: given.to.cluster_id, dst_addrs: addresses.to_vec() }
    };
    Ok(TransferConfig {
        destination,
        src_layer_range: layers(given.source_first, given.source_end),
        dst_layer_range: layers(given.destination_first, given.destination_end),
        src_batch_index: given.source_batch_index,
    })
}

fn layers(first: u32, end: u32) -> Option<Range<u32>> {
    (end > 0).then_some(first..end)
}

/// # Safety
/// The lists have their counts.
unsafe fn blocks_of(given: &pmd_datadist_task_blocks) -> Result<TransferBlocks, Failure> {
    // SAFETY: the caller's promise.
    let (source, destination) = unsafe { (blocks(&given.source)?, blocks(&given.destination)?) };
    Ok(TransferBlocks {
        src_block_indices: source.to_vec(),
        dst_block_indices: destination.to_vec(),
        dst_block_memory_size: given.destination_block_bytes,
    })
}
