//! Two engines of this process and memory to move between them.
#![allow(dead_code, unreachable_pub, unsafe_code)] // each test file uses a part; looks at caches between transfers

use std::time::{Duration, Instant};

use kv_api::{
    engine::{Cache, Engine},
    layout::CacheLayout,
};
use pmd_host::{
    endpoint::{EndpointConfig, Peer},
    lane::LaneConfig,
    soft::ArenaOptions,
    transfer::{TransferError, WaitError},
};

/// Longest that any step may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Long enough for what must not happen to happen.
pub const A_WHILE: Duration = Duration::from_millis(30);

pub fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

/// An engine that listens.
pub fn engine(name: &str) -> Engine {
    Engine::open(config(name)).unwrap()
}

pub fn config(name: &str) -> EndpointConfig {
    EndpointConfig {
        name: name.into(),
        listen: Some(([127, 0, 0, 1], 0).into()),
        down_after: PATIENCE,
        patience: PATIENCE,
        lane: LaneConfig { grace: PATIENCE, ..LaneConfig::default() },
        ..EndpointConfig::default()
    }
}

/// Connects `from` to `to`: the peer as each of them knows it.
pub fn connect(from: &Engine, to: &Engine) -> (Peer, Peer) {
    let there = from.connect(to.local_address().unwrap()).unwrap();
    (there, to.accept(PATIENCE).unwrap())
}

pub fn arena(engine: &Engine, name: &str, layout: CacheLayout) -> Cache {
    engine.allocate_cache(name, layout, ArenaOptions::default()).unwrap()
}

/// One block as memory.
pub fn block(cache: &Cache, tensor: u32, block: u32) -> *mut [u8] {
    let first = cache.block_address(tensor, block).expect("there is such a block") as *mut u8;
    std::ptr::slice_from_raw_parts_mut(first, cache.layout().block_extent() as usize)
}

/// Fills each block with bytes that tell it from all others.
pub fn fill(cache: &Cache, salt: u8) {
    for (tensor, number) in blocks(cache) {
        // SAFETY: tests fill a cache before anything moves.
        let bytes = unsafe { &mut *block(cache, tensor, number) };
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = content(tensor, number, index, salt);
        }
    }
}

pub fn content(tensor: u32, block: u32, index: usize, salt: u8) -> u8 {
    let mixed = (tensor as usize * 131 + block as usize * 31 + index * 7).wrapping_mul(0x9e37_79b9);
    (mixed >> 13) as u8 ^ salt
}

/// A copy of one block.
pub fn read(cache: &Cache, tensor: u32, number: u32) -> Vec<u8> {
    // SAFETY: tests read a block after its transfer has ended.
    unsafe { &*block(cache, tensor, number) }.to_vec()
}

/// What [`fill`] left in a block.
pub fn filled(cache: &Cache, tensor: u32, block: u32, salt: u8) -> Vec<u8> {
    let size = cache.layout().block_extent() as usize;
    (0..size).map(|index| content(tensor, block, index, salt)).collect()
}

pub fn blocks(cache: &Cache) -> impl Iterator<Item = (u32, u32)> {
    let (tensors, blocks) = (cache.layout().tensors(), cache.layout().blocks());
    (0..tensors).flat_map(move |tensor| (0..blocks).map(move |block| (tensor, block)))
}

/// The error of a transfer that must fail.
pub fn error<T: std::fmt::Debug>(waited: Result<T, WaitError>) -> TransferError {
    match waited {
        Err(WaitError::Failed(error)) => error,
        other => panic!("{other:?}"),
    }
}
