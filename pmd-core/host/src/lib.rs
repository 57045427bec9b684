//! The host layer: opens devices, registers memory, owns lanes and talks to peers.
//!
//! # Place in the flow
//! Below it is `pmd-core` (queue pairs, wire formats, rings); above it `kv-api` and `af-api`. This crate has the
//! operating system that `pmd-core` does without: descriptors, sockets, threads, shared memory. `pmd perf` calls the
//! back ends without a lane in between.
//!
//! ```text
//!   kv-api / af-api
//!        | transfers, messages                     ^ outcomes, notifications
//!   endpoint      devices, lanes of each transport, routes on them to each peer  <-- control plane: peers, liveness
//!        | work lists: one ring slot each          ^ completion slots
//!   lane          one thread polls one back end's queue pairs and completion queue
//!        | work requests                           ^ completions
//!   back end      soft HCA | ConnectX (mlx5dv) | any verbs NIC
//! ```
//! | module | holds |
//! |---|---|
//! | [`endpoint`] | a process that talks to peers: everything below put together |
//! | [`transfer`] | what is planned, what is in flight, what became of it |
//! | [`lane`] | lanes, the routes on them, messages |
//! | [`control`] | the control connections: who the peers are and whether they live |
//! | [`registration`], [`region`] | the cache of registrations; registered memory |
//! | [`backend`] | what a lane needs of a device; implemented by [`soft`], [`mlx5`] and [`verbs`] |
//! | [`accelerator`] | the accelerator without a device; waiting for events of any accelerator |
//! | [`nic`] | the open NIC that `mlx5` and `verbs` share |
//! | [`identity`] | who a device and its host are |
//! | [`topology`] | where NICs, accelerators and cores sit; which cores a NIC's lanes keep to |
//! | [`environment`], [`interface`] | settings from the environment; addresses by the name of an interface |
//!
//! # Quick start
//! Two endpoints, here in one process, and 1 MiB from the memory of one into that of the other.
//! ```
//! use std::{sync::Arc, time::{Duration, Instant}};
//!
//! use pmd_core::memory::{Access, RemoteAddress};
//! use pmd_host::endpoint::{Endpoint, EndpointConfig, PeerService};
//! use pmd_host::soft::ArenaOptions;
//! use pmd_host::transfer::{Direction, LocalPiece, TransferOptions, WorkListBuilder, WorkListLimits};
//!
//! /// Answers nothing, takes no messages.
//! struct Silent;
//! impl PeerService for Silent {}
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let listen = Some(([127, 0, 0, 1], 0).into());
//! let server = Endpoint::open(EndpointConfig { listen, ..EndpointConfig::default() }, Arc::new(Silent))?;
//! let client = Endpoint::open(EndpointConfig::default(), Arc::new(Silent))?;
//! let peer = client.connect(server.local_address().ok_or("the server does not listen")?)?;
//!
//! let source = client.allocate(1 << 20, ArenaOptions::default())?;
//! let target = server.allocate(1 << 20, ArenaOptions::default())?;
//! // SAFETY: no transfer touches the arena yet.
//! unsafe { source.as_ptr().write_bytes(0x5a, source.length()) };
//! let from = client.register(&source, Access::LOCAL_WRITE)?;
//! let to = server.register(&target, Access::READ_WRITE)?;
//!
//! // Keys belong to a transport. An application sends the remote key to its peer, in a request or a message.
//! let key = from.local_key(peer.transport()).ok_or("not registered for the transport")?;
//! let remote_key = to.remote_key(peer.transport()).ok_or("not registered for the transport")?;
//! let mut work = WorkListBuilder::new(Direction::Write, WorkListLimits::default());
//! let remote = RemoteAddress { address: to.address(), key: remote_key };
//! work.push(LocalPiece { address: from.address(), length: 1 << 20, key }, remote);
//!
//! let mut transfer = peer.route().submit(&Arc::new(work.finish()), TransferOptions::default())?;
//! let outcome = transfer.wait(Some(Instant::now() + Duration::from_secs(10)))?;
//! assert_eq!(outcome.bytes, 1 << 20);
//! // SAFETY: the transfer is done.
//! let arrived = unsafe { std::slice::from_raw_parts(target.as_ptr(), 1 << 20) };
//! assert!(arrived.iter().all(|byte| *byte == 0x5a));
//! # Ok(())
//! # }
//! ```
//!
//! # Concepts
//! - **Device**: [`soft::Device`] is a software device, of which there is one in every endpoint; [`nic::Device`] is
//!   an open NIC. Handles are cloned and passed on; there is no registry of the process.
//! - **Back end** ([`Backend`](backend::Backend)): queue pairs and a completion queue on one device, owned by one
//!   thread at a time. The soft HCA and [`mlx5`] run the same queue pair of `pmd-core`; [`verbs`] posts through
//!   libibverbs.
//! - **Lane** ([`Lane`](lane::Lane)): drives one back end. Submissions reach it through a lock-free ring, one slot
//!   for a transfer of any size.
//! - **Route** ([`Route`](lane::Route)): the queue pairs to one peer. Transfers take turns on it, batch by batch.
//! - **Work list** ([`WorkList`](transfer::WorkList)): the plan of a transfer, with neighbouring pieces merged. Made
//!   once, submitted any number of times.
//! - **Transfer** ([`Transfer`](transfer::Transfer)): a work list in flight; poll it, wait for it with a deadline,
//!   `.await` it, cancel it.
//! - **Message**: a few bytes to the peer's [`MessageHandler`](lane::MessageHandler), in order among each other, with
//!   credits. A transfer's notification is a message that goes out when all of its work requests have completed; an
//!   immediate alone rides on the last WRITE where one queue pair carries all of them.
//! - **Registration**: [`Endpoint::register`](endpoint::Endpoint::register) registers memory with every device of the
//!   endpoint that reaches it; the caller keeps the registration. Callers that meet the same ranges again and again
//!   take [`register_cached`](endpoint::Endpoint::register_cached), and tell the cache before the memory is unmapped.
//! - **Device memory**: memory of an accelerator, described by `pmd_core::accelerator`, is registered with
//!   [`Endpoint::register_device`](endpoint::Endpoint::register_device) and moved as memory of the host is. A NIC reaches it by
//!   a dma-buf or as peer memory; where it does not, this side's own requests go through pinned memory of the host, and
//!   memory that peers are to reach is refused. Within a host the accelerator's streams copy it, between processes too, where
//!   both were given the accelerator. [`RegionPath`](region::RegionPath) tells which,
//!   [`Region::refusals`](region::Region::refusals) why not better, and [`DeviceFault`](transfer::DeviceFault) what a
//!   request lacked that failed.
//! - **Control plane** ([`ControlPlane`](control::ControlPlane)): versioned, length-checked frames over TCP. It opens
//!   routes, carries the application's requests and events, and decides that a peer is down. No transfer waits for
//!   it.
//!
//! # Choice of the transport
//! It is made once for each peer, by the side that connects, and [`Peer::transport`](endpoint::Peer::transport) tells
//! it. A transport that was asked for and is not there is an error; nothing falls back to another.
//!
//! | [`TransportChoice`](endpoint::TransportChoice) | peer of the same host, user and network namespace | any other peer |
//! |---|---|---|
//! | `Auto` | shared memory | the NIC: `Mlx5` where mlx5 drives it, else `Verbs` |
//! | `Only(SharedMemory)` | shared memory | [`NoCommonTransport`](endpoint::EndpointError::NoCommonTransport) says why |
//! | `Only(Mlx5)`, `Only(Verbs)` | the NIC | the NIC |
//! | `Only(Tcp)` | TCP | TCP |
//!
//! A NIC that was asked for by name of its transport and cannot be used is
//! [`TransportMissing`](endpoint::EndpointError::TransportMissing) when the endpoint opens. With `Auto` it may be
//! absent; [`Endpoint::nic_missing`](endpoint::Endpoint::nic_missing) tells the reason. One end of a route may be
//! `Mlx5` and the other `Verbs`. Between hosts without a NIC [`Only(Tcp)`](backend::Transport::Tcp) moves bytes; it is not
//! chosen by itself.
//!
//! # Driving a lane oneself
//! A latency-critical caller runs the lane in its own loop: [`LaneDriver::turn`](lane::LaneDriver::turn) takes
//! submissions, polls and posts, and never sleeps. What waits for the lane must then be called on the
//! [`LaneDriver`](lane::LaneDriver): on the driving thread [`Transfer::wait`](transfer::Transfer::wait) or
//! [`Route::connect`](lane::Route::connect) would wait for ever.
//! ```
//! use std::{sync::Arc, time::{Duration, Instant}};
//!
//! use pmd_core::memory::Access;
//! use pmd_host::backend::ConnectOptions;
//! use pmd_host::lane::{Lane, LaneConfig, LaneDriver, RouteConfig};
//! use pmd_host::soft::{ArenaOptions, Device, DeviceConfig, ProtectionDomain, SoftBackend, Tuning};
//! use pmd_host::transfer::{Direction, LocalPiece, TransferOptions, WorkListBuilder, WorkListLimits};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let domain = ProtectionDomain::default();
//! let (ours, theirs) = (Device::open(DeviceConfig::default())?, Device::open(DeviceConfig::default())?);
//! let backend = |device: &Device| SoftBackend::new(device, domain, Tuning::default());
//! let (mut driver, lane) = LaneDriver::new(backend(&ours)?, LaneConfig::default());
//! let peer_lane = Lane::spawn(backend(&theirs)?, LaneConfig::default())?;
//!
//! let route = driver.open_route(&lane, RouteConfig::default())?;
//! let peer_route = peer_lane.open_route(RouteConfig::default())?;
//! driver.connect(&route, peer_route.addresses(), &ConnectOptions::default())?;
//! peer_route.connect(route.addresses(), &ConnectOptions::default())?;
//!
//! let target = ours.allocate(4096, ArenaOptions::default())?;
//! let source = theirs.allocate(4096, ArenaOptions::default())?;
//! // SAFETY: no transfer touches the arena yet.
//! unsafe { source.as_ptr().write_bytes(7, 4096) };
//! let to = ours.register_source(&target, Access::LOCAL_WRITE, domain)?;
//! let from = theirs.register_source(&source, Access::REMOTE_READ, domain)?;
//! let mut work = WorkListBuilder::new(Direction::Read, WorkListLimits::default());
//! let piece = LocalPiece { address: to.address(), length: 4096, key: to.local_key() };
//! work.push(piece, from.remote_address(0).ok_or("beyond the region")?);
//!
//! let transfer = route.submit(&Arc::new(work.finish()), TransferOptions::default())?;
//! let outcome = driver.run_until(&transfer, Some(Instant::now() + Duration::from_secs(10)))?;
//! assert_eq!(outcome.bytes, 4096);
//! // SAFETY: the transfer is done.
//! assert!(unsafe { std::slice::from_raw_parts(target.as_ptr(), 4096) }.iter().all(|byte| *byte == 7));
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//! - An endpoint has one **control thread**, and for each transport that a peer uses one **lane thread**, or
//!   [as many as it was told](endpoint::EndpointConfig::lanes), started with the first such peer and pinned if
//!   [`LaneConfig::core`](lane::LaneConfig::core) says so; without it lanes of a NIC keep to the cores near the NIC as
//!   [`LanePinning`](topology::LanePinning) tells, by default on large machines only.
//! - [`PeerService`](endpoint::PeerService)'s requests and events come on the control thread, its messages on a lane.
//!   They must be quick and must not wait there for the same endpoint. A panic in them is caught: it refuses the
//!   request, or takes the route down.
//! - [`Route::submit`](lane::Route::submit), [`Route::send`](lane::Route::send) and
//!   [`Route::fail`](lane::Route::fail) never wait; a full ring gives the options back. What opens, connects or
//!   closes waits for the lane.
//! - What a lane does when it is idle is [`Idle`](lane::Idle): `Spin` and `Yield` keep a core busy; `Park`, the
//!   default, polls a while and sleeps until the device or a submission wakes it.
//! - The soft HCA has no thread of its own: its engine runs in the lane, when it posts and when it polls. One that was
//!   opened with [accelerators](soft::DeviceConfig::accelerators) has a thread beside each engine that drives their
//!   streams, since lanes never wait for a device.
//!
//! # Clean-up
//! - A transfer with an outcome is **quiet**, whatever the outcome: nothing of it is outstanding. To be sure of that,
//!   a lane that cancels waits for what is outstanding, then fails the route's queue pairs and drains them, then
//!   resets or destroys them, and at the very last closes the device. [`lane`] tells it in full.
//! - Dropping a transfer does not stop it. [`TransferOptions::keep_alive`](transfer::TransferOptions::keep_alive)
//!   holds what must outlive it.
//! - A **region** deregisters when it is dropped, and returns when no device and no peer touches the memory under its
//!   keys.
//! - A **route** closes when its last handle and transfer are gone, a **lane** ends when its last handle and route
//!   are, and its thread is joined. An **endpoint** that is dropped says goodbye to its peers; what is in flight to
//!   them fails.
//! - A peer that is **killed** or silent beyond [`down_after`](endpoint::EndpointConfig::down_after) is down: its
//!   route fails with [`RouteFault::PeerDown`](transfer::RouteFault::PeerDown), requests to it fail, the service is
//!   told once, other peers go on. Shared memory is in anonymous files: nothing stays behind.
//! - A **restarted** peer is a new one: identities are drawn at start, so old addresses and keys do not reach it.
//!
//! # Errors
//! One small enum for each operation: [`EndpointError`](endpoint::EndpointError), [`RouteError`](lane::RouteError),
//! [`SubmitError`](transfer::SubmitError), [`TransferError`](transfer::TransferError),
//! [`RequestError`](control::RequestError), and others beside what they are about. A failed transfer names the entry
//! and the device's [`Syndrome`](pmd_core::wire::Syndrome), and takes its route down, as an error takes down a queue
//! pair of hardware; open a new route to go on.
//!
//! # Security
//! The control port does not authenticate and does not encrypt today: listen on a loopback address or a trusted
//! network. That holds for the port of a soft HCA over TCP too, which by default listens on every address: set
//! [`TcpConfig::listen`](soft::TcpConfig::listen) in [`EndpointConfig::soft`](endpoint::EndpointConfig::soft). To take part
//! in a connection there one has to know the 128 random bits of a device's identity, which the control connection
//! carries in the clear. A key of the soft HCA has 16 random bits, which protects against mistakes and not against an attacker.
//! Over shared memory the soft HCA connects processes of one user in one network namespace only; with
//! [`process_memory`](soft::DeviceConfig::process_memory) it permits other processes of that user to attach to this
//! one.
//!
//! # Features
//! There are no Cargo features. libibverbs, libmlx5 and librdmacm are loaded at run time where they are needed.
pub mod accelerator;
pub mod backend;
pub mod control;
pub mod endpoint;
pub mod environment;
pub mod identity;
pub mod interface;
pub mod lane;
pub mod mlx5;
pub mod nic;
pub mod region;
pub mod registration;
pub mod soft;
pub mod topology;
pub mod transfer;
pub mod verbs;
