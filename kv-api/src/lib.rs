//! KV-cache transfer between prefill and decode: the layer that turns block tables into transfers.
//!
//! # Place in the flow
//! A serving engine links this crate. It says which blocks of which cache go where; the crate plans work requests,
//! and `pmd-host` carries them out on its lanes.
//!
//! ```text
//!  serving engine     block tables                              notifications, outcomes
//!        |                 |                                              ^
//!     engine    Engine, Cache, RemoteCache   look-up, keys, names         |
//!        |                 v                                              |
//!     planner   Selection, BlockMap -> pieces -> merged work requests     |
//!        |                 v                                              |
//!     pmd-host  Route::submit -> lane -> queue pair ------> completion ---+
//! ```
//! | module | holds |
//! |---|---|
//! | [`engine`] | the engine, its caches, its peers' caches, prepared transfers, layer streams, notifications, failures |
//! | [`agent`] | NIXL's agent semantics: what its plug-in needs, active messages |
//! | [`datadist`] | LLM-DataDist: linked clusters, caches by number and key, pulls and pushes of rows and blocks |
//! | [`fabric`] | memory by address: registered segments, transfers between a peer's and ours |
//! | [`kvtrans`] | KVTrans: the k-th send meets the k-th receive of a connection |
//! | [`environment`] | settings for interfaces that have no options of their own |
//! | [`hixl`] | HIXL: memory by address, links by name, staging, notifications |
//! | [`layout`] | the shape of a cache and where its tensors lie |
//! | [`planner`] | selections, block tables, and their check against both caches |
//! | [`geometry`] | cache shapes of well-known models |
//!
//! C and C++ programs use the crate in `kv-api/capi`, which installs `libpmd_kv`.
//!
//! # Quick start
//! A decode engine offers room; a prefill engine pushes three blocks of every tensor into it, layer by layer. Both
//! are in one process here; in two processes nothing changes but the address. Endpoints and arenas are `pmd-host`'s,
//! so a program depends on both crates.
//! ```
//! use std::time::{Duration, Instant};
//!
//! use kv_api::engine::{Cache, Engine};
//! use kv_api::layout::CacheLayout;
//! use kv_api::planner::{BlockMap, Selection};
//! use pmd_host::{endpoint::EndpointConfig, soft::ArenaOptions};
//!
//! /// One block of a cache, as memory.
//! fn block(cache: &Cache, tensor: u32, block: u32) -> *mut [u8] {
//!     let first = cache.block_address(tensor, block).expect("the cache has such a block") as *mut u8;
//!     std::ptr::slice_from_raw_parts_mut(first, cache.layout().block_bytes() as usize)
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let patience = Duration::from_secs(10);
//! // Decode: 2 layers of K and V, 8 blocks of 4 KiB in each tensor.
//! let listen = Some(([127, 0, 0, 1], 0).into());
//! let decode = Engine::open(EndpointConfig { listen, ..EndpointConfig::default() })?;
//! let room = decode.allocate_cache("room", CacheLayout::new(2, 2, 8, 4096)?, ArenaOptions::default())?;
//!
//! // Prefill: the same but for the number of blocks.
//! let prefill = Engine::open(EndpointConfig::default())?;
//! let computed = prefill.allocate_cache("computed", CacheLayout::new(2, 2, 3, 4096)?, ArenaOptions::default())?;
//! for (tensor, number) in (0..4).flat_map(|tensor| (0..3).map(move |number| (tensor, number))) {
//!     // SAFETY: no transfer touches the cache yet.
//!     unsafe { &mut *block(&computed, tensor, number) }.fill((10 * tensor + number + 1) as u8);
//! }
//! let peer = prefill.connect(decode.local_address().ok_or("decode does not listen")?)?;
//! let remote = prefill.remote_cache(&peer, "room", patience)?;
//!
//! let (source, destination) = ([0, 1, 2], [7, 2, 5]);
//! for layer in 0..2 {
//!     let blocks = BlockMap::Table { source: &source, destination: &destination };
//!     let push = remote.push(&computed, Selection::new(layer..layer + 1, blocks))?;
//!     let mut transfer = push.notifying(vec![layer as u8]).post(Some(Instant::now() + patience))?;
//!     assert_eq!(transfer.wait(None)?.bytes, 2 * 3 * 4096);
//!     assert_eq!(decode.wait_notification(patience)?.bytes, [layer as u8]);
//! }
//! for (tensor, number) in (0..4).flat_map(|tensor| (0..8).map(move |number| (tensor, number))) {
//!     let came_from = destination.iter().position(|to| *to == number);
//!     let wanted = came_from.map_or(0, |from| 10 * tensor as usize + from + 1);
//!     // SAFETY: every transfer has ended.
//!     let found = unsafe { &*block(&room, tensor, number) };
//!     assert!(found.iter().all(|byte| usize::from(*byte) == wanted), "block {number} of tensor {tensor}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//! - **Cache layout** ([`CacheLayout`](layout::CacheLayout)): `layers` x `tensors_per_layer` tensors, each of
//!   `blocks` blocks of `block_bytes` bytes. Two caches exchange blocks when they agree in the tensors of a layer and in
//!   the bytes of a block.
//! - **Token format** ([`TokenFormat`](layout::TokenFormat)): which tokens and heads are in a block, and in which order.
//!   Two caches that say so exchange tokens although their block sizes, tensor-parallel degrees or orders of dimensions
//!   differ: what both hold is re-sliced while it moves, from each of several peers the heads that it has.
//! - **Placement** ([`Placement`](layout::Placement), [`TensorRun`](layout::TensorRun)): where the tensors lie.
//!   Tensors at one distance are one run, so a cache is described in a few dozen bytes however many blocks it has.
//!   The engine makes the placement of a cache that it allocates;
//!   [`Engine::register_cache`](engine::Engine::register_cache) takes the caller's.
//! - **Block table** ([`BlockMap`](planner::BlockMap)): block `source[i]` of the sending side goes to block
//!   `destination[i]` of the receiving side, in every selected tensor. No destination is named twice.
//! - **Selection** ([`Selection`](planner::Selection)): layers, whose numbers may differ on the two sides, and a block
//!   table, a run of blocks, a span of tokens, or everything.
//! - **Prepared transfer** ([`Prepared`](engine::Prepared)): a selection that was checked and planned: blocks that
//!   are neighbours on both sides have become one work request, and blocks that are neighbours only at the peer are
//!   gathered into one, up to 30. It can be posted any number of times; each posting is a
//!   [`Transfer`](pmd_host::transfer::Transfer) that is polled, waited for, awaited or cancelled.
//! - **Notification** ([`Notification`](engine::Notification)): bytes that the peer gets after every byte of one
//!   transfer is in place (push) or read (pull). Transfers have no order among each other; wait for one, or for its
//!   notification, before you rely on it. A notification has at most
//!   [`message_bytes`](pmd_host::endpoint::EndpointConfig::message_bytes) bytes.
//!
//! - **Failure** ([`TransferFailure`](engine::TransferFailure)): a transfer that fails or is cancelled is told to the peer
//!   too, with the blocks of its cache that are not valid ([`wait_failure`](engine::Engine::wait_failure),
//!   [`wait_event`](engine::Engine::wait_event)); a poster that dies, by [`wait_down`](engine::Engine::wait_down). The
//!   poster's [`CacheTransfer`](engine::CacheTransfer) names its own.
//! - **Layer stream** ([`LayerStream`](engine::LayerStream)): layers that are pushed one by one while later ones are
//!   computed, released by hand or by a [`LayerSynchronizer`](engine::LayerSynchronizer); the receiver waits for each
//!   ([`LayerArrivals`](engine::LayerArrivals)), of one sender or of several ranks.
//! - **Priority and deadline** ([`PostOptions`](engine::PostOptions)): of eight turns seven go to transfers of high
//!   priority, one to the others; what is not done by its deadline is given up.
//! - **Estimate and metrics** ([`Prepared::estimate`](engine::Prepared::estimate),
//!   [`Engine::metrics`](engine::Engine::metrics)): what a transfer will take, learned from those before, and counts in
//!   total and for each peer, as text for Prometheus too.
//!
//! # Device memory
//! Every interface takes memory of accelerators, described by `pmd_core::accelerator`, where it takes the host's: a cache of
//! the engine with [`register_device_cache`](engine::Engine::register_device_cache), for instance. Everything else is as for
//! memory of the host, and the other end may be of either kind.
//! - A NIC reaches it by a dma-buf or as peer memory. Where it does not, this process's own transfers go through pinned
//!   memory of the host ([`Staged`](pmd_host::region::RegionPath::Staged)); peers do not reach it, and are told why when they
//!   look the cache up ([`EngineError::KeptIn`](engine::EngineError::KeptIn)): then the owner posts. Within a host the accelerator's streams copy: those of the engine
//!   that **posts** the transfer, which is opened with the accelerators of both ends, even if its own cache is the host's:
//!   [`DeviceConfig::accelerators`](pmd_host::soft::DeviceConfig::accelerators) in
//!   [`EndpointConfig::soft`](pmd_host::endpoint::EndpointConfig::soft), or, where an interface reads the [`environment`],
//!   `PMD_ACCELERATORS`. [`Cache::path`](engine::Cache::path) tells which way it is; none is chosen silently, and a cache
//!   that no device reaches is refused when it is registered.
//! - Transfers are in no order with the kernels of the application's streams: post when an event behind the kernels that
//!   write the blocks is done ([`Event::query`](pmd_core::accelerator::Event::query)), and start the kernels that read
//!   blocks when the transfer is. A [`LayerSynchronizer`](engine::LayerSynchronizer) waits for the event of each layer.
//! - A runtime that fails, a stream in error or memory of a peer that cannot be opened fails the transfers that need it,
//!   with a syndrome, and their route; caches elsewhere go on.
//!
//! ```
//! use std::{sync::Arc, time::Duration};
//!
//! use kv_api::{engine::Engine, layout::CacheLayout, planner::Selection};
//! use pmd_core::accelerator::Accelerator;
//! use pmd_host::{accelerator::CpuAccelerator, endpoint::EndpointConfig, soft};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Ordinary memory in a device's place; `gpu-direct` and its sisters open devices.
//! let accelerator = CpuAccelerator::default();
//! let engine = |listen| {
//!     let accelerators = soft::Accelerators::new(vec![Arc::new(accelerator.clone())]);
//!     let soft = soft::DeviceConfig { accelerators, ..soft::DeviceConfig::default() };
//!     Engine::open(EndpointConfig { listen, soft, ..EndpointConfig::default() })
//! };
//! let (prefill, decode) = (engine(Some(([127, 0, 0, 1], 0).into()))?, engine(None)?);
//! let layout = CacheLayout::new(2, 2, 8, 4096)?;
//! let memory = accelerator.allocate(layout.total_bytes())?;
//! let computed = prefill.register_device_cache("computed", layout, memory.into())?;
//! let room = decode.register_device_cache("room", layout, accelerator.allocate(layout.total_bytes())?.into())?;
//!
//! let peer = decode.connect(prefill.local_address().ok_or("prefill does not listen")?)?;
//! let remote = decode.remote_cache(&peer, computed.name(), Duration::from_secs(10))?;
//! let moved = remote.pull(&room, Selection::whole(&layout))?.post(None)?.wait(None)?;
//! assert_eq!(moved.bytes, layout.total_bytes());
//! println!("{:?}", room.path(peer.transport()));
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//! An [`Engine`](engine::Engine) and everything it gives out may be used from any thread. It starts four kinds of its
//! own:
//! - the **control thread** keeps the connections alive, answers look-ups, and calls
//!   [`Application::request`](engine::Application::request). That call must not wait for anything of the same engine;
//!   to post a transfer there is fine, to wait for it is not.
//! - one **lane thread** for each transport in use, started with the first peer. It posts and polls; what it does
//!   when idle is [`Idle`](pmd_host::lane::Idle): with `Spin` or `Yield` it keeps a core busy, with `Park` (the
//!   default) it sleeps.
//! - a **stream thread** for each synchroniser, until that has released or refused the last layer.
//! - the **courier**, started with the first transfer that fails: it finds out which blocks are not valid and tells the
//!   peer.
//!
//! | call | waits for |
//! |---|---|
//! | [`RemoteCache::pull`](engine::RemoteCache::pull), [`push`](engine::RemoteCache::push) | nothing; planning takes time in proportion to the blocks |
//! | [`Prepared::post`](engine::Prepared::post) | nothing, but where the lane's ring is full: for room in it, until the deadline if there is one |
//! | [`Transfer::wait`](pmd_host::transfer::Transfer::wait), [`cancel`](pmd_host::transfer::Transfer::cancel) | the lane |
//! | [`connect`](engine::Engine::connect) | the peer, at most [`patience`](pmd_host::endpoint::EndpointConfig::patience) for each of its steps |
//! | [`remote_cache`](engine::Engine::remote_cache), [`ask`](engine::Engine::ask) | the peer's control thread, at most the patience given |
//! | [`accept`](engine::Engine::accept), [`wait_down`](engine::Engine::wait_down) | a peer, at most the patience given |
//! | [`wait_notification`](engine::Engine::wait_notification), [`wait_event`](engine::Engine::wait_event) | a message, at most the patience given |
//! | [`LayerStream::release`](engine::LayerStream::release) | as `post` |
//! | [`LayerStream::wait`](engine::LayerStream::wait), [`LayerArrivals::wait`](engine::LayerArrivals::wait) | layers, at most the patience given |
//! | [`LayerStream::cancel`](engine::LayerStream::cancel) | the lane |
//!
//! # Clean-up
//! - A **cache** is deregistered when its last handle, the last [`Prepared`](engine::Prepared) made of it and the
//!   last transfer with it are gone; then its name is free and, when the drop returns, no peer reaches its memory any
//!   more. A peer that still tries gets a failed transfer.
//! - Dropping a **transfer** does not stop it. [`cancel`](pmd_host::transfer::Transfer::cancel) does, and when it
//!   returns nothing will write the caller's memory on the transfer's behalf. The same holds for every transfer with
//!   an outcome, whatever the outcome is.
//! - Dropping the last handle of an **engine** says goodbye to all peers and fails what is in flight to them, on both
//!   sides. Drop order among engine, caches, peers and transfers does not matter: each holds what it needs. Only
//!   memory that was given to [`register_cache`](engine::Engine::register_cache) is the caller's to keep. A
//!   [`Peer`](pmd_host::endpoint::Peer) or [`Prepared`](engine::Prepared) that outlives its engine keeps a lane's
//!   thread.
//! - A peer that is **killed** is noticed when its control connection closes, one whose host has gone when nothing
//!   was heard for [`down_after`](pmd_host::endpoint::EndpointConfig::down_after). Every transfer to it then fails
//!   with [`TransferError::PeerDown`](pmd_host::transfer::TransferError::PeerDown), or, where the device saw the
//!   connection break first, with what the device said; [`is_route_down`](pmd_host::transfer::TransferError::is_route_down)
//!   is true of all of these, and [`wait_down`](engine::Engine::wait_down) tells. Other peers go on. Shared memory has no names in the file
//!   system, so nothing of a killed process is left.
//!
//! # Errors
//! [`EngineError`](engine::EngineError) is about what was asked, and nothing has moved: names, layouts, selections,
//! registration, the control connection. [`TransferError`](pmd_host::transfer::TransferError) is about a transfer
//! that was posted: it names the first entry that failed and the device's syndrome, and a part of the bytes may have
//! moved; [`StreamError`](engine::StreamError) and [`LayerError`](engine::LayerError) are about layers. After [`Failed`](pmd_host::transfer::TransferError::Failed) the route to that peer is down, as a queue pair
//! of hardware would be: close the peer and connect again. Bad input is an error and never a panic.
//!
//! # Security
//! Without a pre-shared key the control port does not authenticate and nothing is encrypted. Whoever can connect to it may
//! look up every cache and is given the keys to read and write it: listen on a loopback address, as the examples do, or on a
//! network in which every host is trusted. With one, in [`EndpointConfig::security`](pmd_host::endpoint::EndpointConfig::security)
//! or by `PMD_KEY_FILE`, only engines that have it connect; control traffic and data over TCP are encrypted, what a NIC
//! moves is not. [`pmd_host::security`] tells who can do what.
//!
//! Shared memory connects processes of one user, host and network namespace. Where the kernel's Yama module keeps
//! processes of one user from attaching to each other, opening an engine lifts that for its process, unless
//! [`process_memory`](pmd_host::soft::DeviceConfig::process_memory) is off.
//!
//! # Features
//! `accelerators`, on by default, has the [`environment`] open accelerators by name; without it a program hands in those
//! that it has opened. Shared memory needs nothing but Linux. The libraries that drive NICs and accelerators are loaded
//! at run time: a build needs none of them and a program starts without them.
pub mod agent;
pub mod datadist;
pub mod engine;
pub mod environment;
pub mod fabric;
pub mod geometry;
pub mod hixl;
pub mod kvtrans;
pub mod layout;
#[cfg(test)]
mod on_device;
pub mod planner;

/// Compiles and runs the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
pub struct Readme;
