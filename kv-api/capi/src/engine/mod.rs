//! The native engine in C: engines, peers and what arrives. Called by C programs; stands on [`kv_api::engine`].
#![allow(unsafe_code, non_camel_case_types)] // C functions, with names as C programs see them

mod cache;
mod failure;
mod options;
mod selection;
mod stream;
mod transfer;

use std::{
    collections::VecDeque,
    ffi::c_char,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kv_api::engine::{Engine, Notification};
use pmd_capi::socket_address;
use pmd_host::endpoint::Peer;

pub use cache::*;
pub use failure::*;
pub use options::pmd_kv_engine_options;
pub use selection::*;
pub use stream::*;
pub use transfer::*;

use crate::{
    boundary::{Place, Table, copy_out, copy_text_out, guard, milliseconds, optional_text, text},
    status::{Failure, pmd_kv_status},
};

/// One end of all cache transfers of a process.
pub struct pmd_kv_engine {
    _opaque: [u8; 0],
}

/// An engine that this one is connected to.
pub struct pmd_kv_peer {
    _opaque: [u8; 0],
}

/// What a handle of an engine stands for.
struct Opened {
    engine: Engine,
    /// Notifications that were too long for the memory they were asked with.
    returned: Mutex<VecDeque<Notification>>,
}

static ENGINES: Table<pmd_kv_engine, Opened> = Table::new("engine");
static PEERS: Table<pmd_kv_peer, Peer> = Table::new("peer");

/// Opens an engine. `options` may be NULL. Close it with `pmd_kv_engine_close`.
///
/// # Safety
/// `options` is NULL or points to options whose texts end with a zero byte; `engine` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_engine_open(
    options: *const pmd_kv_engine_options,
    engine: *mut *mut pmd_kv_engine,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(engine, "the place for the engine")? };
        // SAFETY: the caller's promise.
        let config = unsafe { options::endpoint_config(options)? };
        let engine = Engine::open(config)?;
        place.put(ENGINES.insert(Opened { engine, returned: Mutex::default() }));
        Ok(())
    })
}

/// Closes an engine: says goodbye to its peers, and fails what is in flight to them. Its caches, and transfers that
/// have handles, are released on their own.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_engine_close(engine: *mut pmd_kv_engine) -> pmd_kv_status {
    guard(|| Ok(ENGINES.remove(engine).map(drop)?))
}

/// Writes the address that peers connect to, as "ip:port", and its length without the zero byte at its end.
/// `PMD_KV_STATUS_NOT_FOUND` when the engine does not listen.
///
/// # Safety
/// `room` has room for `capacity` bytes; `length` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_engine_address(
    engine: *const pmd_kv_engine,
    room: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> pmd_kv_status {
    guard(|| {
        let engine = ENGINES.find(engine)?;
        let silent =
            || Failure::new(pmd_kv_status::NotFound, "the engine does not listen: give options.listen");
        let address = engine.engine.local_address().ok_or_else(silent)?;
        // SAFETY: the caller's promise.
        unsafe { copy_text_out(&address.to_string(), room, capacity, Place::optional(length))? };
        Ok(())
    })
}

/// Connects to the engine that listens at `address` (`ip:port`, `[ip]:port`). Release the peer with
/// `pmd_kv_peer_release`.
///
/// # Safety
/// `address` ends with a zero byte; `peer` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_engine_connect(
    engine: *const pmd_kv_engine,
    address: *const c_char,
    peer: *mut *mut pmd_kv_peer,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(peer, "the place for the peer")? };
        // SAFETY: the caller's promise.
        let address = socket_address(unsafe { text(address, "the address")? }, "the address")?;
        let peer = ENGINES.find(engine)?.engine.connect(address)?;
        place.put(PEERS.insert(peer));
        Ok(())
    })
}

/// Waits for the next peer that has connected to this engine.
///
/// # Safety
/// `peer` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_engine_accept(
    engine: *const pmd_kv_engine,
    timeout_ms: u64,
    peer: *mut *mut pmd_kv_peer,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(peer, "the place for the peer")? };
        let peer = ENGINES.find(engine)?.engine.accept(milliseconds(timeout_ms))?;
        place.put(PEERS.insert(peer));
        Ok(())
    })
}

/// Waits for the next peer that goes down. The peer's handle is a new one, and `pmd_kv_peer_check` says why it is down.
///
/// # Safety
/// `peer` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_engine_wait_down(
    engine: *const pmd_kv_engine,
    timeout_ms: u64,
    peer: *mut *mut pmd_kv_peer,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(peer, "the place for the peer")? };
        let (peer, _) = ENGINES.find(engine)?.engine.wait_down(milliseconds(timeout_ms))?;
        place.put(PEERS.insert(peer));
        Ok(())
    })
}

/// Waits for the next notification, which a peer's transfer raised after its last byte, and copies it. When it is longer
/// than `capacity`, `PMD_KV_STATUS_BUFFER_TOO_SMALL`, the length that is needed, and it stays the next one.
///
/// # Safety
/// `room` has room for `capacity` bytes; `length` and `peer` are NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_engine_wait_notification(
    engine: *const pmd_kv_engine,
    timeout_ms: u64,
    room: *mut u8,
    capacity: usize,
    length: *mut usize,
    peer: *mut *mut pmd_kv_peer,
) -> pmd_kv_status {
    guard(|| {
        let engine = ENGINES.find(engine)?;
        let notification = engine.next_notification(milliseconds(timeout_ms))?;
        // SAFETY: the caller's promise.
        let copied = unsafe { copy_out(&notification.bytes, room, capacity, Place::optional(length)) };
        if copied.is_err() {
            engine.returned().push_front(notification);
        } else if !peer.is_null() {
            // SAFETY: the caller's promise.
            unsafe { Place::optional(peer) }.put(PEERS.insert(notification.peer));
        }
        Ok(copied?)
    })
}

/// Releases a peer's handle. The connection stays until the engine is closed or the peer is.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_peer_release(peer: *mut pmd_kv_peer) -> pmd_kv_status {
    guard(|| Ok(PEERS.remove(peer).map(drop)?))
}

/// Says goodbye to a peer: both sides see it go down, and transfers with it fail. The handle is still to be released.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_peer_close(peer: *const pmd_kv_peer) -> pmd_kv_status {
    guard(|| {
        PEERS.find(peer)?.close();
        Ok(())
    })
}

/// `PMD_KV_STATUS_OK` while the peer lives, otherwise `PMD_KV_STATUS_PEER_DOWN`, and the reason as the last error.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_peer_check(peer: *const pmd_kv_peer) -> pmd_kv_status {
    guard(|| match PEERS.find(peer)?.down_reason() {
        None => Ok(()),
        Some(reason) => Err(Failure::new(pmd_kv_status::PeerDown, format!("the peer is down: {reason}"))),
    })
}

/// Writes what carries the bytes to and from this peer ("shm", "mlx5", "verbs", ...), and its length without the zero
/// byte at its end.
///
/// # Safety
/// `room` has room for `capacity` bytes; `length` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_peer_transport(
    peer: *const pmd_kv_peer,
    room: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> pmd_kv_status {
    guard(|| {
        let name = PEERS.find(peer)?.transport().name();
        // SAFETY: the caller's promise.
        unsafe { copy_text_out(name, room, capacity, Place::optional(length))? };
        Ok(())
    })
}

impl Opened {
    fn next_notification(&self, patience: Duration) -> Result<Notification, Failure> {
        let returned = self.returned().pop_front();
        returned.map_or_else(|| Ok(self.engine.wait_notification(patience)?), Ok)
    }

    fn returned(&self) -> std::sync::MutexGuard<'_, VecDeque<Notification>> {
        self.returned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The engine of a handle, for the other modules.
fn engine_of(engine: *const pmd_kv_engine) -> Result<Arc<Opened>, Failure> {
    Ok(ENGINES.find(engine)?)
}

/// # Safety
/// As [`text`].
unsafe fn optional<'a>(value: *const c_char, what: &'static str) -> Result<Option<&'a str>, Failure> {
    // SAFETY: passed on to the caller.
    Ok(unsafe { optional_text(value, what)? })
}
