//! Layers that move one by one while later ones are computed, in C: the sending side and the receiving one.

use std::{
    ffi::c_void,
    time::{Duration, Instant},
};

use kv_api::engine::{LayerArrivals, LayerError, LayerStream, StreamError, StreamOptions};
use pmd_host::{endpoint::Peer, transfer::Priority};

use super::{
    PEERS,
    cache::{CACHES, REMOTE_CACHES},
    engine_of,
    failure::extents_out,
    pmd_kv_cache, pmd_kv_engine, pmd_kv_extent, pmd_kv_peer, pmd_kv_remote_cache, pmd_kv_selection,
    selection::selection_at,
};
use crate::{
    boundary::{Place, Table, array, guard, milliseconds},
    status::{Failure, pmd_kv_status},
};

/// A stream of layers, at the sending side.
pub struct pmd_kv_stream {
    _opaque: [u8; 0],
}

/// The layers of a stream, at the receiving side.
pub struct pmd_kv_arrivals {
    _opaque: [u8; 0],
}

static STREAMS: Table<pmd_kv_stream, LayerStream> = Table::new("stream");
static ARRIVALS: Table<pmd_kv_arrivals, LayerArrivals> = Table::new("expectation of layers");

/// How a stream is sent.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct pmd_kv_stream_options {
    /// By which the receiver knows it.
    pub tag: u64,
    /// From now, by when each layer has to be there; 0: never.
    pub deadline_ms: u64,
    /// Seven turns of eight among the transfers to the same peer; otherwise all take turns.
    pub high_priority: bool,
}

/// Returns once a layer has been computed: true to send it, false to end the stream. Called for each layer in turn, on a
/// thread of the stream's own. It must not throw.
pub type pmd_kv_synchronizer = Option<unsafe extern "C" fn(context: *mut c_void, layer: u32) -> bool>;

/// Plans pushing the selected part of a cache into a peer's, layer by layer, each when it is released. `selection` NULL:
/// everything; `options` NULL: tag 0. Release the stream with `pmd_kv_stream_close`.
///
/// # Safety
/// `selection` and `options` are NULL or point to such structures, whose arrays have their counts; `stream` may be
/// written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_stream_open(
    remote: *const pmd_kv_remote_cache,
    cache: *const pmd_kv_cache,
    selection: *const pmd_kv_selection,
    options: *const pmd_kv_stream_options,
    stream: *mut *mut pmd_kv_stream,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(stream, "the place for the stream")? };
        let (remote, cache) = (REMOTE_CACHES.find(remote)?, CACHES.find(cache)?);
        // SAFETY: the caller's promise.
        let selection = unsafe { selection_at(selection, cache.layout().layers())? };
        // SAFETY: the caller's promise.
        let options = unsafe { options.as_ref() }.copied().unwrap_or_default();
        let deadline = (options.deadline_ms > 0).then(|| Instant::now() + milliseconds(options.deadline_ms));
        let priority = if options.high_priority { Priority::High } else { Priority::Normal };
        let options = StreamOptions { tag: options.tag, deadline, priority };
        place.put(STREAMS.insert(remote.stream(&cache, selection, options)?));
        Ok(())
    })
}

/// Sends a layer, by its number at the sending side: its bytes are computed. In any order, from any thread, once for each
/// layer. Does not wait for the transfer.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_stream_release(stream: *const pmd_kv_stream, layer: u32) -> pmd_kv_status {
    guard(|| Ok(STREAMS.find(stream)?.release(layer)?))
}

/// Releases each layer, in order, when `synchronizer` says so. Returns at once: a thread asks it, and does not keep the
/// stream. `context` is handed to it.
///
/// # Safety
/// `synchronizer` may be called with `context` on another thread until the stream's layers have all been released or one
/// was refused, or the stream is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_stream_drive(
    stream: *const pmd_kv_stream,
    synchronizer: pmd_kv_synchronizer,
    context: *mut c_void,
) -> pmd_kv_status {
    guard(|| {
        let missing = || Failure::new(pmd_kv_status::NullPointer, "the synchronizer is NULL");
        let (synchronizer, context) = (synchronizer.ok_or_else(missing)?, context.expose_provenance());
        let ask = move |layer: u32| {
            // SAFETY: the caller's promise.
            unsafe { synchronizer(std::ptr::with_exposed_provenance_mut(context), layer) }
        };
        Ok(STREAMS.find(stream)?.drive(ask)?)
    })
}

/// Waits until a layer has landed and its receiver was told.
///
/// # Safety
/// `bytes` is NULL or may be written: the bytes that moved.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_stream_wait_layer(
    stream: *const pmd_kv_stream,
    layer: u32,
    timeout_ms: u64,
    bytes: *mut u64,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::optional(bytes) };
        place.put(STREAMS.find(stream)?.wait_layer(layer, milliseconds(timeout_ms))?.bytes);
        Ok(())
    })
}

/// Waits until every layer has landed.
///
/// # Safety
/// As `pmd_kv_stream_wait_layer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_stream_wait(
    stream: *const pmd_kv_stream,
    timeout_ms: u64,
    bytes: *mut u64,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::optional(bytes) };
        place.put(STREAMS.find(stream)?.wait(milliseconds(timeout_ms))?.bytes);
        Ok(())
    })
}

/// Ends a stream: no layer is sent any more, what is in flight is cancelled, and the receiver is told which layers will
/// not come. When this returns nothing writes the receiver's memory on the stream's behalf.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_stream_cancel(stream: *const pmd_kv_stream) -> pmd_kv_status {
    guard(|| {
        STREAMS.find(stream)?.cancel();
        Ok(())
    })
}

/// Releases a stream's handle: the receiver is told of layers that were not released. What is in flight goes on.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_stream_close(stream: *mut pmd_kv_stream) -> pmd_kv_status {
    guard(|| Ok(STREAMS.remove(stream).map(drop)?))
}

/// Expects the layers of a stream: of all of `peers`, each of which sends its part of every layer under this tag. Layers
/// that have landed before are not lost. Release it with `pmd_kv_arrivals_close`.
///
/// # Safety
/// `peers` points to `count` peers; `arrivals` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_expect_layers(
    engine: *const pmd_kv_engine,
    tag: u64,
    peers: *const *const pmd_kv_peer,
    count: usize,
    arrivals: *mut *mut pmd_kv_arrivals,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(arrivals, "the place for the expectation")? };
        // SAFETY: the caller's promise.
        let peers = unsafe { array(peers, count, "the array of peers")? };
        let found = |peer: &*const pmd_kv_peer| Ok(Peer::clone(&*PEERS.find(*peer)?));
        let peers = peers.iter().map(found).collect::<Result<Vec<_>, Failure>>()?;
        place.put(ARRIVALS.insert(engine_of(engine)?.engine.expect_layers(tag, &peers)?));
        Ok(())
    })
}

/// Waits until every sender's part of a layer, by its number at the receiving side, has landed.
/// `PMD_KV_STATUS_FAILED` when a sender's transfer failed, `PMD_KV_STATUS_PEER_DOWN` when a sender is.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_arrivals_wait(
    arrivals: *const pmd_kv_arrivals,
    layer: u32,
    timeout_ms: u64,
) -> pmd_kv_status {
    guard(|| Ok(ARRIVALS.find(arrivals)?.wait(layer, milliseconds(timeout_ms))?))
}

/// Writes the blocks of a layer that a failed sender did not bring and that are not valid: none while it may still land.
/// `count` is how many extents there are; with `PMD_KV_STATUS_BUFFER_TOO_SMALL` none was written.
///
/// # Safety
/// `extents` has room for `capacity` of them; `count` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_arrivals_lost(
    arrivals: *const pmd_kv_arrivals,
    layer: u32,
    extents: *mut pmd_kv_extent,
    capacity: usize,
    count: *mut usize,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let none = unsafe { Place::new(count, "the place for the number of extents")? };
        match ARRIVALS.find(arrivals)?.wait(layer, Duration::ZERO) {
            // SAFETY: the caller's promise.
            Err(LayerError::Lost { blocks, .. }) => unsafe { extents_out(&blocks, extents, capacity, count) },
            _ => {
                none.put(0);
                Ok(())
            }
        }
    })
}

/// Expects no layers of the tag any more, which is free then.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_arrivals_close(arrivals: *mut pmd_kv_arrivals) -> pmd_kv_status {
    guard(|| Ok(ARRIVALS.remove(arrivals).map(drop)?))
}

impl From<StreamError> for Failure {
    fn from(error: StreamError) -> Self {
        let status = match error {
            StreamError::Post { source, .. } => return source.into(),
            StreamError::Failed { error, .. } => return error.into(),
            StreamError::NoSuchLayer { .. } | StreamError::AlreadyReleased { .. } => {
                pmd_kv_status::InvalidArgument
            }
            StreamError::Ended { .. } => pmd_kv_status::Cancelled,
            StreamError::Timeout { .. } => pmd_kv_status::Timeout,
            _ => pmd_kv_status::Failed,
        };
        Self::of(status, &error)
    }
}

impl From<LayerError> for Failure {
    fn from(error: LayerError) -> Self {
        let status = match error {
            LayerError::Timeout { .. } => pmd_kv_status::Timeout,
            LayerError::SenderDown { .. } => pmd_kv_status::PeerDown,
            _ => pmd_kv_status::Failed,
        };
        Self::of(status, &error)
    }
}
