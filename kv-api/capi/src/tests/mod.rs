//! The C functions, called as C programs call them.
#![allow(unsafe_code)] // calls C functions

mod boundary;
mod codes;
mod datadist;
mod engine;
mod hixl;
mod keys;
mod kvtrans;
mod selections;
mod streams;
mod transfers;

use std::{
    ffi::{CStr, CString, c_char},
    ptr::{null, null_mut},
};

use crate::{engine::*, pmd_kv_last_error, pmd_kv_status};

/// Milliseconds that a test waits for something that must come.
const PATIENCE: u64 = 20_000;

/// Two layers of K and V, eight blocks of 4 KiB in each tensor.
const LAYOUT: pmd_kv_layout =
    pmd_kv_layout { layers: 2, tensors_per_layer: 2, blocks: 8, block_bytes: 4096, format: null() };

/// Every field NULL or zero but where to listen.
fn options(listen: Option<&CStr>) -> pmd_kv_engine_options {
    let listen = listen.map_or(null(), CStr::as_ptr);
    pmd_kv_engine_options {
        name: null(),
        listen,
        transport: c"shm".as_ptr(),
        device: null(),
        idle: null(),
        queue_pairs: 0,
        message_bytes: 0,
        patience_ms: 0,
        down_after_ms: 0,
        accelerators: null(),
        key_file: null(),
        data_encryption: null(),
    }
}

/// What a call wrote through its last argument, if it was done.
fn made<T>(initial: T, call: impl FnOnce(*mut T) -> pmd_kv_status) -> Result<T, pmd_kv_status> {
    let mut place = initial;
    match call(&mut place) {
        pmd_kv_status::Ok => Ok(place),
        status => Err(status),
    }
}

fn last_error() -> String {
    // SAFETY: always text that ends with a zero byte, and copied before another call.
    unsafe { CStr::from_ptr(pmd_kv_last_error()) }.to_string_lossy().into_owned()
}

fn open(options: &pmd_kv_engine_options) -> *mut pmd_kv_engine {
    // SAFETY: options, and a place for the engine.
    made(null_mut(), |engine| unsafe { pmd_kv_engine_open(options, engine) })
        .unwrap_or_else(|status| panic!("{status:?}: {}", last_error()))
}

fn allocate(engine: *const pmd_kv_engine, name: &CStr, layout: pmd_kv_layout) -> *mut pmd_kv_cache {
    // SAFETY: a name, a layout, and a place for the cache.
    made(null_mut(), |cache| unsafe { pmd_kv_cache_allocate(engine, name.as_ptr(), &layout, cache) })
        .unwrap_or_else(|status| panic!("{status:?}: {}", last_error()))
}

/// A block of a cache with [`LAYOUT`]. Borrowed only while no transfer touches it.
fn block<'a>(cache: *const pmd_kv_cache, tensor: u32, block: u32) -> &'a mut [u8] {
    // SAFETY: a place for the address.
    let address = made(null_mut(), |place| unsafe { pmd_kv_cache_block(cache, tensor, block, place) });
    let address = address.unwrap_or_else(|status| panic!("{status:?}: {}", last_error()));
    // SAFETY: the cache lives, has blocks of so many bytes, and no transfer runs.
    unsafe { std::slice::from_raw_parts_mut(address.cast(), LAYOUT.block_bytes as usize) }
}

fn address_of(engine: *const pmd_kv_engine) -> CString {
    let mut room = [0_u8; 64];
    // SAFETY: room for 64 bytes.
    let status = unsafe { pmd_kv_engine_address(engine, room.as_mut_ptr().cast::<c_char>(), 64, null_mut()) };
    assert_eq!(status, pmd_kv_status::Ok, "{}", last_error());
    CStr::from_bytes_until_nul(&room).expect("a zero byte").to_owned()
}

/// Two engines that are connected, each with a cache: ours is "near", the peer's is "far".
struct Pair {
    here: *mut pmd_kv_engine,
    there: *mut pmd_kv_engine,
    /// The other engine, as this one sees it, and the other way round.
    peer: *mut pmd_kv_peer,
    back: *mut pmd_kv_peer,
    near: *mut pmd_kv_cache,
    far: *mut pmd_kv_cache,
    remote: *mut pmd_kv_remote_cache,
}

impl Pair {
    fn new(layout: pmd_kv_layout) -> Self {
        let (here, there) = (open(&options(None)), open(&options(Some(c"127.0.0.1:0"))));
        let address = address_of(there);
        // SAFETY: an address, and places for handles.
        let connect = |place| unsafe { pmd_kv_engine_connect(here, address.as_ptr(), place) };
        let peer = made(null_mut(), connect).unwrap_or_else(|status| panic!("{status:?}: {}", last_error()));
        // SAFETY: a place for the handle.
        let back = made(null_mut(), |place| unsafe { pmd_kv_engine_accept(there, PATIENCE, place) });
        let (near, far) = (allocate(here, c"near", layout), allocate(there, c"far", layout));
        let remote = look_up(here, peer, c"far").expect("the peer has such a cache");
        Self { here, there, peer, back: back.expect("a peer has connected"), near, far, remote }
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        // Some tests release some of them.
        let _ = (pmd_kv_cache_release(self.near), pmd_kv_cache_release(self.far));
        let _ = (pmd_kv_remote_cache_release(self.remote), pmd_kv_peer_release(self.peer));
        let _ =
            (pmd_kv_peer_release(self.back), pmd_kv_engine_close(self.here), pmd_kv_engine_close(self.there));
    }
}

fn look_up(
    engine: *const pmd_kv_engine,
    peer: *const pmd_kv_peer,
    name: &CStr,
) -> Result<*mut pmd_kv_remote_cache, pmd_kv_status> {
    // SAFETY: a name, and a place for the handle.
    made(null_mut(), |place| unsafe {
        pmd_kv_remote_cache_open(engine, peer, name.as_ptr(), PATIENCE, place)
    })
}
