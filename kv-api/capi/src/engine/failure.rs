//! What a failed transfer leaves behind, on both sides, and what the engine measures, in C.

use std::ffi::{CString, c_char};

use kv_api::{
    engine::TransferFailure,
    planner::{BlockSet, Direction},
};

use super::{PEERS, cache::REMOTE_CACHES, engine_of, pmd_kv_engine, pmd_kv_peer, pmd_kv_remote_cache};
use crate::{
    boundary::{Place, Table, copy_text_out, guard, milliseconds},
    status::{Failure, pmd_kv_status},
};

/// A peer's transfer, with a cache of this engine, that failed.
pub struct pmd_kv_failure {
    _opaque: [u8; 0],
}

/// Blocks `first_block` to before `end_block` of the layers `first_layer` to before `end_layer`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct pmd_kv_extent {
    /// First layer.
    pub first_layer: u32,
    /// One past the last.
    pub end_layer: u32,
    /// First block.
    pub first_block: u32,
    /// One past the last.
    pub end_block: u32,
}

/// What is known of a failed transfer. Texts are the failure's, until it is released.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_kv_failure_info {
    /// Number of the transfer at the peer.
    pub transfer: u64,
    /// Whether the peer pushed into this engine's cache, or pulled from it.
    pub is_push: bool,
    /// Name of the cache of this engine.
    pub cache: *const c_char,
    /// Why it failed.
    pub reason: *const c_char,
    /// The same in more words.
    pub detail: *const c_char,
}

struct Known {
    failure: TransferFailure,
    cache: CString,
    reason: CString,
    detail: CString,
}

static FAILURES: Table<pmd_kv_failure, Known> = Table::new("failure");

/// Waits for the next transfer of a peer, with a cache of this engine, that failed. Release it with
/// `pmd_kv_failure_release`. `peer` may be NULL; it gets a new handle.
///
/// # Safety
/// `failure` may be written; `peer` is NULL or may be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_engine_wait_failure(
    engine: *const pmd_kv_engine,
    timeout_ms: u64,
    failure: *mut *mut pmd_kv_failure,
    peer: *mut *mut pmd_kv_peer,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(failure, "the place for the failure")? };
        let failure = engine_of(engine)?.engine.wait_failure(milliseconds(timeout_ms))?;
        if !peer.is_null() {
            // SAFETY: the caller's promise.
            unsafe { Place::optional(peer) }.put(PEERS.insert(failure.peer.clone()));
        }
        let owned = |words: &str| CString::new(words.replace('\0', "?")).unwrap_or_default();
        let (cache, reason) = (owned(&failure.cache), owned(&failure.reason.to_string()));
        let detail = owned(&failure.detail);
        place.put(FAILURES.insert(Known { failure, cache, reason, detail }));
        Ok(())
    })
}

/// Writes what is known of a failed transfer.
///
/// # Safety
/// `info` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_failure_read(
    failure: *const pmd_kv_failure,
    info: *mut pmd_kv_failure_info,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(info, "the place for what is known")? };
        let known = FAILURES.find(failure)?;
        place.put(pmd_kv_failure_info {
            transfer: known.failure.transfer.0,
            is_push: known.failure.direction == Direction::Push,
            cache: known.cache.as_ptr(),
            reason: known.reason.as_ptr(),
            detail: known.detail.as_ptr(),
        });
        Ok(())
    })
}

/// Writes the blocks of this engine's cache that are not proven to have moved: not valid after a push, not read after a
/// pull. `count` is how many extents there are; with `PMD_KV_STATUS_BUFFER_TOO_SMALL` none was written.
///
/// # Safety
/// `extents` has room for `capacity` of them; `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_failure_blocks(
    failure: *const pmd_kv_failure,
    extents: *mut pmd_kv_extent,
    capacity: usize,
    count: *mut usize,
) -> pmd_kv_status {
    guard(|| {
        let known = FAILURES.find(failure)?;
        // SAFETY: the caller's promise.
        unsafe { extents_out(&known.failure.blocks, extents, capacity, count) }
    })
}

/// Releases a failure.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_failure_release(failure: *mut pmd_kv_failure) -> pmd_kv_status {
    guard(|| Ok(FAILURES.remove(failure).map(drop)?))
}

/// Writes what a transfer of so many bytes and work requests to this cache's peer will take, in nanoseconds, and whether
/// that was measured on this link; otherwise it is a guess.
///
/// # Safety
/// `nanoseconds` may be written; `measured` is NULL or may be.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_remote_cache_estimate(
    remote: *const pmd_kv_remote_cache,
    bytes: u64,
    work_requests: u64,
    nanoseconds: *mut u64,
    measured: *mut bool,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let places =
            unsafe { (Place::new(nanoseconds, "the place for the time")?, Place::optional(measured)) };
        let estimate = REMOTE_CACHES.find(remote)?.estimate(bytes, work_requests);
        places.0.put(u64::try_from(estimate.duration.as_nanos()).unwrap_or(u64::MAX));
        places.1.put(estimate.measured);
        Ok(())
    })
}

/// Writes the engine's counters in Prometheus' text format, and their length without the zero byte at their end.
///
/// # Safety
/// `room` has room for `capacity` bytes; `length` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_engine_metrics(
    engine: *const pmd_kv_engine,
    room: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> pmd_kv_status {
    guard(|| {
        let metrics = engine_of(engine)?.engine.metrics().prometheus();
        // SAFETY: the caller's promise.
        unsafe { copy_text_out(&metrics, room, capacity, Place::optional(length))? };
        Ok(())
    })
}

/// Writes blocks as extents, all or none.
///
/// # Safety
/// `extents` is null or has room for `capacity` of them; `count` is null or may be written.
pub(super) unsafe fn extents_out(
    blocks: &BlockSet,
    extents: *mut pmd_kv_extent,
    capacity: usize,
    count: *mut usize,
) -> Result<(), Failure> {
    // SAFETY: the caller's promise.
    let count = unsafe { Place::new(count, "the place for the number of extents")? };
    let of_layers = blocks.extents().iter().flat_map(|extent| {
        extent.blocks.iter().map(|range| pmd_kv_extent {
            first_layer: extent.layers.start,
            end_layer: extent.layers.end,
            first_block: range.start,
            end_block: range.end,
        })
    });
    let found: Vec<pmd_kv_extent> = of_layers.collect();
    count.put(found.len());
    if found.len() > capacity || (extents.is_null() && !found.is_empty()) {
        let text = format!("{} extents, there is room for {capacity}", found.len());
        return Err(Failure::new(pmd_kv_status::BufferTooSmall, text));
    }
    for (index, extent) in found.into_iter().enumerate() {
        // SAFETY: there is room for so many.
        unsafe { Place::optional(extents.add(index)) }.put(extent);
    }
    Ok(())
}
