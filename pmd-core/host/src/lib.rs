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
//! | [`rail`] | several ways to one peer: which chunk goes where, and what goes again |
//! | [`retries`] | requests that had to wait for a receive, as a device counts them |
//! | [`registration`], [`region`] | the cache of registrations; registered memory |
//! | [`backend`] | what a lane needs of a device; implemented by [`soft`], [`mlx5`] and [`verbs`] |
//! | [`accelerator`] | the accelerator without a device; waiting for events of any accelerator |
//! | [`nic`] | the open NIC that `mlx5` and `verbs` share |
//! | [`identity`] | who a device and its host are |
//! | [`security`] | the pre-shared key; who can do what: the threat model |
//! | [`topology`] | where NICs, accelerators and cores sit; which cores a NIC's lanes keep to |
//! | [`launch`], [`metadata`] | what launchers say of a process; how processes find each other by name |
//! | [`metrics`] | what all of these count, and how it is served |
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
//! - **Rail** ([`rail`]): one of several ways to a peer for large transfers ([`Peer::submit`](endpoint::Peer::submit)), a
//!   route of its own: over TCP between addresses of its own, or between NICs or software HCAs that rails have to themselves
//!   ([`RailsConfig::ports`](endpoint::RailsConfig::ports)). Chunks go where they are done first; a rail that breaks is
//!   dropped, what it had goes again on others, and it is taken back when it works again. Messages stay on the peer's route,
//!   so a peer whose route or control connection breaks is not kept by rails. See
//!   [`RailsConfig`](endpoint::RailsConfig).
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
//!   it, but large ones over rails with devices of their own, which begin with a question to the peer.
//!
//! # Choice of the transport
//! It is made once for each peer, by both ends from the same facts, and [`Peer::choice`](endpoint::Peer::choice) tells
//! it, with what was against each better transport; so does a `tracing` event when the peer is linked. A transport that
//! was asked for and cannot be used is an error ([`ChoiceError`](endpoint::ChoiceError)); nothing falls back to another.
//!
//! | [`TransportChoice`](endpoint::TransportChoice) of the two ends | memory can be shared | both have a NIC and reach each other's GID | neither |
//! |---|---|---|---|
//! | `Auto`, `Auto` | shared memory | the NIC: `Mlx5` where mlx5 drives it, else `Verbs` | TCP |
//! | `Only(SharedMemory)`, that or `Auto` | shared memory | `Unmet` | `Unmet` |
//! | `Only(Mlx5)` or `Only(Verbs)`, those or `Auto` | the NIC, if there is a way | the NIC | `Unmet` |
//! | `Only(Tcp)`, that or `Auto` | TCP | TCP | TCP |
//! | `Only` of different ones | `WishesDiffer` | `WishesDiffer` | `WishesDiffer` |
//!
//! - **Memory can be shared** by processes of one boot of one kernel, one network namespace and one user that can connect to
//!   each other's socket ([`Separation`](identity::Separation)); either end tries. Namespaces of processes, mounts and
//!   IPC are no matter.
//! - **A GID is reached** where link layers, kinds of GID, subnets of InfiniBand and the path MTU that was asked for fit,
//!   the port is up, and on RoCE the kernel has a route to it by the interface of this end's own
//!   ([`FabricObstacle`](endpoint::FabricObstacle)). Either end looks. Where that cannot be asked (a link-local GID, an
//!   address of no interface here) `Auto` takes TCP, and who asks for the NIC gets it.
//! - **TCP** needs nothing, so with `Auto` there is always a transport. The port for its streams is opened with the first
//!   peer that needs it.
//!
//! A NIC that was asked for by name of its transport and cannot be used is
//! [`TransportMissing`](endpoint::EndpointError::TransportMissing) when the endpoint opens. With `Auto` it may be
//! absent; [`Endpoint::nic_missing`](endpoint::Endpoint::nic_missing) tells the reason. One end of a route may be
//! `Mlx5` and the other `Verbs`.
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
//!   [`LanePinning`](topology::LanePinning) tells, by default on large machines only. For each peer with rails there is a
//!   thread that opens and closes them, and tells outcomes that come up on a thread of the application; it sleeps otherwise.
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
//! # Memory
//! Each queue pair and each peer takes the same amount, however many there are and however much they move; what is stated here
//! is with the default configuration.
//! - A **queue pair** takes [`queue_bytes`](backend::QueuePairConfig::queue_bytes), 272 KiB, and what the driver keeps in mind of
//!   requests. Those of a soft HCA have the completion entries of their lane in common: 238 KiB at most.
//! - A **peer** takes at each end at most 954 KiB over shared memory and 1274 KiB over TCP. That is a queue pair, buffers for
//!   messages, what the control connection reads into, 512 KiB of packet rings
//!   ([`ring_bytes`](soft::DeviceConfig::ring_bytes) four times; over shared memory both ends have the same), and over TCP
//!   320 KiB for packets on their way through the socket. A rail takes its queue pairs and rings on top.
//! - Beside that a peer of the same host has the addresses of this device's segment mapped, 4 MiB, of which pages exist where
//!   regions do.
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
//!   them fails. At the peers, what had been posted in full may still be acknowledged, for five seconds at most; the
//!   rest fails at once.
//! - A peer that is **killed** or silent beyond [`down_after`](endpoint::EndpointConfig::down_after) is down: its
//!   route fails with [`RouteFault::PeerDown`](transfer::RouteFault::PeerDown), one that is silent with
//!   [`RouteFault::PeerSilent`](transfer::RouteFault::PeerSilent) and for how long; requests to it fail, the service is
//!   told once, other peers go on. Shared memory is in anonymous files: nothing stays behind.
//! - A **restarted** peer is a new one: identities are drawn at start, so old addresses and keys do not reach it.
//!
//! # What is told to whom
//! [`Endpoint::metrics`](endpoint::Endpoint::metrics) and [`metrics`] count. Spans and events of the crate `tracing` say what
//! happens rarely, on the thread that asks for it or on the control thread, to whichever subscriber the program
//! installs: `connect`, `accept`, `register` and `register_device` are spans; peers that come and go, refusals and the address
//! of the metrics are events in them. Each [`transfer`] has a span at level DEBUG, for a program that wants it: begun by who
//! submits, ended by the lane with the outcome. Else a lane says nothing: posting and polling only count.
//!
//! # Errors
//! One small enum for each operation: [`EndpointError`](endpoint::EndpointError), [`RouteError`](lane::RouteError),
//! [`SubmitError`](transfer::SubmitError), [`TransferError`](transfer::TransferError),
//! [`RequestError`](control::RequestError), and others beside what they are about. A failed transfer names the entry
//! and the device's [`Syndrome`](pmd_core::wire::Syndrome), and takes its route down, as an error takes down a queue
//! pair of hardware; open a new route to go on.
//!
//! # Security
//! Without a key the control port neither authenticates nor encrypts: listen on a loopback address or a trusted
//! network. That holds for the port of a soft HCA over TCP too, which by default listens on every address: set
//! [`TcpConfig::listen`](soft::TcpConfig::listen) in [`EndpointConfig::soft`](endpoint::EndpointConfig::soft).
//! With a pre-shared key, [`EndpointConfig::security`](endpoint::EndpointConfig::security), both take part only in
//! connections with peers that have it, and encrypt. What a NIC moves is never encrypted. [`security`] tells who can do what.
//! ```
//! use pmd_host::endpoint::EndpointConfig;
//! use pmd_host::security::{PreSharedKey, Security};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let path = &folder.path().join("key");
//! # std::fs::write(path, "1f".repeat(32))?;
//! # std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
//! // 64 hexadecimal digits, as `openssl rand -hex 32` prints them; only the owner may read the file.
//! let security = Security::with_key(PreSharedKey::from_file(path)?);
//! let config = EndpointConfig { security, ..EndpointConfig::default() };
//! # Ok(())
//! # }
//! ```
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
pub mod launch;
pub mod metadata;
pub mod metrics;
pub mod mlx5;
pub mod nic;
mod outage;
pub mod rail;
pub mod region;
pub mod registration;
pub mod retries;
pub mod security;
pub mod soft;
pub mod topology;
pub mod transfer;
pub mod verbs;
