//! Caches of this process, and of peers, in C.

use std::{
    ffi::{c_char, c_void},
    ptr,
    sync::Arc,
};

use kv_api::{
    engine::{Cache, Engine, RemoteCache},
    fabric::{FabricError, adopt},
    layout::{BlockOrder, CacheLayout, Heads, LayoutError, TensorRun, TokenFormat},
};
use pmd_core::accelerator::{AcceleratorError, DeviceMemory};
use pmd_host::soft::ArenaOptions;

use super::{PEERS, engine_of, pmd_kv_engine, pmd_kv_peer};
use crate::{
    boundary::{Place, Table, array, guard, milliseconds, reference, text},
    status::{Failure, pmd_kv_status},
};

/// A registered cache of this process.
pub struct pmd_kv_cache {
    _opaque: [u8; 0],
}

/// A cache of a peer.
pub struct pmd_kv_remote_cache {
    _opaque: [u8; 0],
}

pub(super) static CACHES: Table<pmd_kv_cache, Cache> = Table::new("cache");
pub(super) static REMOTE_CACHES: Table<pmd_kv_remote_cache, RemoteCache> = Table::new("remote cache");

/// The shape of a cache: `layers` x `tensors_per_layer` tensors of `blocks` blocks of `block_bytes` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct pmd_kv_layout {
    /// Transformer layers.
    pub layers: u32,
    /// Tensors of one layer: 2 where K and V are apart, 1 where they are joined or latent.
    pub tensors_per_layer: u32,
    /// Blocks of one tensor.
    pub blocks: u32,
    /// Bytes of one block of one tensor. Not looked at where there is a format, which says it.
    pub block_bytes: u64,
    /// What is in a block; NULL: bytes. Caches with formats exchange tokens although their block sizes, tensor-parallel
    /// degrees or orders of dimensions differ.
    pub format: *const pmd_kv_token_format,
}

/// How the tokens and heads of one block of one tensor lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct pmd_kv_token_format {
    /// Tokens of a block.
    pub tokens: u32,
    /// First head that this process holds.
    pub first_head: u32,
    /// Heads that it holds.
    pub heads: u32,
    /// Heads of the model; 1 of 1 is the latent vector of multi-head latent attention, which every rank holds.
    pub total_heads: u32,
    /// Bytes of one head of one token.
    pub head_bytes: u32,
    /// Whether heads change slowest in memory (`[head][token][dim]`); otherwise tokens do.
    pub heads_first: bool,
    /// Bytes from one token to the next; 0, as `head_stride` then is: without gaps.
    pub token_stride: u64,
    /// Bytes from one head to the next.
    pub head_stride: u64,
}

/// Tensors that follow each other at one distance in memory.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_kv_tensor_run {
    /// Block 0 of the run's first tensor.
    pub first: *mut c_void,
    /// Bytes from one tensor to the next.
    pub tensor_stride: u64,
    /// Bytes from one block to the next within a tensor; at least the block's size.
    pub block_stride: u64,
    /// Tensors in the run.
    pub count: u32,
}

/// Allocates and registers a cache, zeroed, in memory that peers of this host can map: the fastest kind. Peers look it
/// up by its name. Release it with `pmd_kv_cache_release`.
///
/// # Safety
/// `name` ends with a zero byte; `layout` points to a layout; `cache` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_cache_allocate(
    engine: *const pmd_kv_engine,
    name: *const c_char,
    layout: *const pmd_kv_layout,
    cache: *mut *mut pmd_kv_cache,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(cache, "the place for the cache")? };
        // SAFETY: the caller's promise.
        let (name, layout) = unsafe { (text(name, "the name")?, layout_at(layout)?) };
        let cache = engine_of(engine)?.engine.allocate_cache(name, layout, ArenaOptions::default())?;
        place.put(CACHES.insert(cache));
        Ok(())
    })
}

/// Registers a cache in memory of the caller; `runs` say where its tensors lie. The memory stays mapped until the cache
/// and every transfer with it are released, and is not touched while a transfer may. It is the host's, or all of it is that
/// of accelerators which the engine was opened with: their runtimes are asked whose an address is.
///
/// # Safety
/// `name` ends with a zero byte; `layout` points to a layout and `runs` to `count` runs; what the runs name is mapped
/// memory of this process, and stays so; `cache` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_cache_register(
    engine: *const pmd_kv_engine,
    name: *const c_char,
    layout: *const pmd_kv_layout,
    runs: *const pmd_kv_tensor_run,
    count: usize,
    cache: *mut *mut pmd_kv_cache,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(cache, "the place for the cache")? };
        // SAFETY: the caller's promise.
        let (name, layout) = unsafe { (text(name, "the name")?, layout_at(layout)?) };
        // SAFETY: the caller's promise.
        let runs = unsafe { array(runs, count, "the array of runs")? };
        let runs = runs.iter().map(tensor_run).collect::<Result<Vec<_>, Failure>>()?;
        let engine = &engine_of(engine)?.engine;
        // SAFETY: the caller's promise.
        let cache = match unsafe { device_memories(engine, &layout, &runs)? } {
            Some(memories) => engine.register_device_tensors(name, layout, runs, memories)?,
            // SAFETY: the caller's promise.
            None => unsafe { engine.register_cache(name, layout, runs)? },
        };
        place.put(CACHES.insert(cache));
        Ok(())
    })
}

/// Writes the address of a block of a tensor (layer x tensors per layer + tensor).
///
/// # Safety
/// `address` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_cache_block(
    cache: *const pmd_kv_cache,
    tensor: u32,
    block: u32,
    address: *mut *mut c_void,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(address, "the place for the address")? };
        let found = CACHES.find(cache)?.block_address(tensor, block);
        let beyond = || Failure::argument(format!("the cache has no block {block} of tensor {tensor}"));
        place.put(ptr::with_exposed_provenance_mut(found.ok_or_else(beyond)? as usize));
        Ok(())
    })
}

/// Releases a cache. Once no transfer with it is left no peer reaches its memory any more, and its name is free.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_cache_release(cache: *mut pmd_kv_cache) -> pmd_kv_status {
    guard(|| Ok(CACHES.remove(cache).map(drop)?))
}

/// Looks up a peer's cache by name. Release it with `pmd_kv_remote_cache_release`.
///
/// # Safety
/// `name` ends with a zero byte; `remote` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_remote_cache_open(
    engine: *const pmd_kv_engine,
    peer: *const pmd_kv_peer,
    name: *const c_char,
    timeout_ms: u64,
    remote: *mut *mut pmd_kv_remote_cache,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(remote, "the place for the remote cache")? };
        // SAFETY: the caller's promise.
        let name = unsafe { text(name, "the name")? };
        let (engine, peer) = (engine_of(engine)?, PEERS.find(peer)?);
        let remote = engine.engine.remote_cache(&peer, name, milliseconds(timeout_ms))?;
        place.put(REMOTE_CACHES.insert(remote));
        Ok(())
    })
}

/// Writes the shape of a peer's cache; `pmd_kv_remote_cache_format` what is in its blocks.
///
/// # Safety
/// `layout` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_remote_cache_layout(
    remote: *const pmd_kv_remote_cache,
    layout: *mut pmd_kv_layout,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(layout, "the place for the layout")? };
        let found = REMOTE_CACHES.find(remote)?.descriptor().layout;
        place.put(pmd_kv_layout {
            layers: found.layers(),
            tensors_per_layer: found.tensors_per_layer(),
            blocks: found.blocks(),
            block_bytes: found.block_bytes(),
            format: ptr::null(),
        });
        Ok(())
    })
}

/// Writes what is in a block of a peer's cache; `PMD_KV_STATUS_NOT_FOUND` where the peer does not say.
///
/// # Safety
/// `format` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kv_remote_cache_format(
    remote: *const pmd_kv_remote_cache,
    format: *mut pmd_kv_token_format,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(format, "the place for the format")? };
        let remote = REMOTE_CACHES.find(remote)?;
        let silent = || Failure::new(pmd_kv_status::NotFound, "the peer does not say what is in a block");
        let found = remote.descriptor().layout.format().ok_or_else(silent)?;
        let heads = found.heads();
        place.put(pmd_kv_token_format {
            tokens: found.tokens(),
            first_head: heads.first,
            heads: heads.count,
            total_heads: heads.total,
            head_bytes: found.head_bytes(),
            heads_first: found.head_stride() > found.token_stride(),
            token_stride: found.token_stride(),
            head_stride: found.head_stride(),
        });
        Ok(())
    })
}

/// Releases what was looked up.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kv_remote_cache_release(remote: *mut pmd_kv_remote_cache) -> pmd_kv_status {
    guard(|| Ok(REMOTE_CACHES.remove(remote).map(drop)?))
}

/// The memory of each run, where the first of them is in an accelerator's.
///
/// # Safety
/// The memory stays allocated for as long as the values live.
unsafe fn device_memories(
    engine: &Engine,
    layout: &CacheLayout,
    runs: &[TensorRun],
) -> Result<Option<Vec<Arc<dyn DeviceMemory>>>, Failure> {
    let accelerators = engine.endpoint().accelerators();
    if accelerators.is_empty() {
        return Ok(None);
    }
    let mut memories: Vec<Arc<dyn DeviceMemory>> = Vec::with_capacity(runs.len());
    for run in runs {
        let length = run.span(layout).map_err(|error| Failure::argument(error.to_string()))?;
        // SAFETY: passed on to the caller.
        match unsafe { adopt(accelerators.iter(), run.first, length, None) } {
            Ok(memory) => memories.push(memory),
            Err(FabricError::Accelerator(AcceleratorError::NotDeviceMemory { .. }))
                if memories.is_empty() =>
            {
                return Ok(None);
            }
            Err(error) => return Err(Failure::argument(error.to_string())),
        }
    }
    Ok(Some(memories))
}

/// # Safety
/// `layout` is null or points to a layout, whose format is null or there.
unsafe fn layout_at(layout: *const pmd_kv_layout) -> Result<CacheLayout, Failure> {
    // SAFETY: the caller's promise.
    let layout = unsafe { reference(layout, "the layout")? };
    let pmd_kv_layout { layers, tensors_per_layer, blocks, block_bytes, format } = *layout;
    // SAFETY: the caller's promise.
    let made = match unsafe { format.as_ref() } {
        None => CacheLayout::new(layers, tensors_per_layer, blocks, block_bytes),
        Some(format) => token_format(format)
            .and_then(|format| CacheLayout::of_tokens(layers, tensors_per_layer, blocks, format)),
    };
    made.map_err(|error| Failure::argument(error.to_string()))
}

fn token_format(format: &pmd_kv_token_format) -> Result<TokenFormat, LayoutError> {
    let heads = Heads { first: format.first_head, count: format.heads, total: format.total_heads };
    let order = if format.heads_first { BlockOrder::HeadsFirst } else { BlockOrder::TokensFirst };
    let dense = TokenFormat::new(format.tokens, heads, format.head_bytes, order)?;
    match (format.token_stride, format.head_stride) {
        (0, 0) => Ok(dense),
        (token_stride, head_stride) => dense.with_strides(token_stride, head_stride),
    }
}

fn tensor_run(run: &pmd_kv_tensor_run) -> Result<TensorRun, Failure> {
    if run.first.is_null() {
        return Err(Failure::new(pmd_kv_status::NullPointer, "the first block of a run is NULL"));
    }
    let first = run.first.expose_provenance() as u64;
    let pmd_kv_tensor_run { tensor_stride, block_stride, count, .. } = *run;
    Ok(TensorRun { first, tensor_stride, block_stride, count, key: 0 })
}
