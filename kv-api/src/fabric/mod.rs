//! Memory by address: what this process has registered, what its peers have, and transfers between the two.
//!
//! The engines that this crate speaks for name memory by address: HIXL's operations, NIXL's descriptors, the tensors of
//! LLM-DataDist, the buffers of KVTrans. All of them stand on a [`Fabric`]:
//!
//! ```text
//!  kvtrans | datadist | hixl | agent
//!        |  (local address, remote address, length) ...              ^ Handler: requests, messages, peers
//!     fabric     look-up of both keys, work requests merged          |
//!        v                                                           |
//!     pmd-host   Endpoint, Route::submit -------------------------> completion
//! ```
//! A peer's segments are asked for when an address is met that is not known yet, so memory that the peer registers after
//! connecting is found. What a peer deregisters it tells, and its key is not used again.
//!
//! Memory of an accelerator is registered by its address too ([`Fabric::register`] with
//! [`MemoryKind::Device`](pmd_core::memory::MemoryKind::Device)), where the fabric was opened with the accelerator
//! ([`DeviceConfig::accelerators`](pmd_host::soft::DeviceConfig::accelerators)); descriptors name it as they name memory
//! of the host.
#![allow(unsafe_code)] // registers memory on the caller's word

mod address_map;
mod device;
mod error;
mod found;
pub(crate) mod order;
mod plan;
mod remote;
mod segment;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use pmd_core::{
    memory::{Access, RegionDescription, RegionSource, RemoteKey},
    sync::{AtomicU64, Ordering},
};
use pmd_host::{
    control::{DownReason, Refusal},
    endpoint::{Endpoint, EndpointConfig, Peer, PeerService, Registered},
    lane::Message,
    soft::ArenaOptions,
    transfer::{Direction, KeepAlive},
};

pub use address_map::AddressMap;
pub use device::adopt;
pub use error::{DeviceFault, FabricError};
pub use plan::{Descriptor, Plan, PostOptions};
pub use segment::{ExportedSegment, Segment, SegmentId};

use self::{device::Devices, order::PlanSpares, remote::RemoteSegments, segment::Owner};

/// Kinds from here on are the fabric's own.
const FIRST_RESERVED_KIND: u16 = 0xf000;

/// Request: segments after a number, answered by a list of them.
const SEGMENTS: u16 = FIRST_RESERVED_KIND;

/// Event: a segment that is no more.
const FORGET: u16 = FIRST_RESERVED_KIND + 1;

/// What an engine does with its peers. As [`PeerService`]: requests come on the control thread, messages on a lane;
/// answer quickly, and never wait there for the same fabric.
pub trait Handler: Send + Sync {
    /// A peer has connected. Not called for peers that were connected to.
    fn connected(&self, peer: &Peer) {
        let _ = peer;
    }

    /// Answers a request of kind below 0xf000.
    ///
    /// # Errors
    /// A [`Refusal`] travels back to the asker.
    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let _ = (peer, body);
        Err(Refusal { code: Refusal::UNKNOWN_KIND, detail: format!("no request of kind {kind}") })
    }

    /// Takes note of an event of kind below 0xf000.
    fn event(&self, peer: &Peer, kind: u16, body: &[u8]) {
        let _ = (peer, kind, body);
    }

    /// A message, or the notification of a transfer whose bytes are all in place.
    fn message(&self, peer: &Peer, message: Message<'_>) {
        let _ = (peer, message);
    }

    /// A peer is gone; everything in flight to it has failed or will at once.
    fn down(&self, peer: &Peer, reason: &DownReason) {
        let _ = (peer, reason);
    }
}

/// Registered memory, peers, and transfers between them. Clones are handles to the same fabric.
///
/// The last handle to go says goodbye to all peers. A [`Segment`] or [`Plan`] that outlives it keeps its memory
/// registered, and nothing else.
#[derive(Clone)]
pub struct Fabric {
    endpoint: Endpoint,
    shared: Arc<Shared>,
}

struct Shared {
    handler: Arc<dyn Handler>,
    next_segment: AtomicU64,
    segments: Mutex<AddressMap<segment::Listed>>,
    /// By the number of the control connection.
    remotes: Mutex<HashMap<u64, Arc<RemoteSegments>>>,
    /// Peers that hear of segments that go.
    peers: Mutex<Vec<Peer>>,
    /// For the plans of this fabric and of what stands on it.
    spares: PlanSpares,
    devices: Devices,
}

impl Fabric {
    /// Opens the devices and, if the configuration says so, listens for peers.
    ///
    /// # Errors
    /// [`FabricError::Endpoint`].
    pub fn open(config: EndpointConfig, handler: Arc<dyn Handler>) -> Result<Self, FabricError> {
        let shared = Arc::new(Shared {
            handler,
            next_segment: AtomicU64::new(1),
            segments: Mutex::default(),
            remotes: Mutex::default(),
            peers: Mutex::default(),
            spares: PlanSpares::default(),
            devices: Devices::new(&config.soft.accelerators),
        });
        let endpoint = Endpoint::open(config, Arc::clone(&shared) as Arc<dyn PeerService>)?;
        Ok(Self { endpoint, shared })
    }

    /// The endpoint below.
    #[must_use]
    pub const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// Address that peers connect to; `None` when the fabric does not listen.
    #[must_use]
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.endpoint.local_address()
    }

    /// Connects to the fabric that listens at `address`.
    ///
    /// # Errors
    /// [`FabricError::Endpoint`].
    pub fn connect(&self, address: SocketAddr) -> Result<Peer, FabricError> {
        let peer = self.endpoint.connect(address)?;
        self.shared.admit(&peer);
        Ok(peer)
    }

    /// As [`Fabric::connect`], within `patience` for all of it.
    ///
    /// # Errors
    /// [`FabricError::Endpoint`].
    pub fn connect_within(&self, address: SocketAddr, patience: Duration) -> Result<Peer, FabricError> {
        let peer = self.endpoint.connect_within(address, patience)?;
        self.shared.admit(&peer);
        Ok(peer)
    }

    /// Listens on another address from now on, or no more. Peers that are connected stay. When this returns the address
    /// before is free. Not to be called by a [`Handler`].
    ///
    /// # Errors
    /// [`FabricError::Endpoint`]; then nothing has changed.
    pub fn listen(&self, address: Option<SocketAddr>) -> Result<(), FabricError> {
        Ok(self.endpoint.listen(address)?)
    }

    /// Registers `length` bytes at `address` of this process for transfers in both directions. Ranges may overlap.
    ///
    /// Memory of kind [`Device`](pmd_core::memory::MemoryKind::Device) without a descriptor is that of whichever of the
    /// fabric's accelerators knows the address; a fabric without accelerators leaves it to the NIC.
    ///
    /// # Errors
    /// [`FabricError::Register`]; [`FabricError::Accelerator`] as [`Fabric::adopt`].
    ///
    /// # Safety
    /// As [`Endpoint::register_memory`]: the range stays mapped while the segment, a clone of it or a transfer with it
    /// lives, and its bytes are not borrowed while a transfer may touch them, peers' transfers included. What kernels do
    /// with memory of an accelerator is ordered with transfers by the caller.
    pub unsafe fn register(&self, memory: &RegionDescription) -> Result<Segment, FabricError> {
        // SAFETY: passed on to the caller.
        unsafe { self.register_for(memory, None) }
    }

    /// As [`Fabric::register`], for memory that `owner` keeps mapped: held until the last handle of the segment and the
    /// last transfer with it are gone, and dropped by whichever thread holds the last.
    ///
    /// # Errors
    /// [`FabricError::Register`].
    ///
    /// # Safety
    /// The range stays mapped as long as `owner` is held, and its bytes are not borrowed while a transfer may touch
    /// them, peers' transfers included.
    pub unsafe fn register_kept(
        &self,
        memory: &RegionDescription,
        owner: KeepAlive,
    ) -> Result<Segment, FabricError> {
        // SAFETY: passed on to the caller; the segment holds the owner.
        unsafe { self.register_for(memory, Some(owner)) }
    }

    /// # Safety
    /// As [`Fabric::register`], or as [`Fabric::register_kept`] where there is an owner.
    unsafe fn register_for(
        &self,
        memory: &RegionDescription,
        owner: Option<KeepAlive>,
    ) -> Result<Segment, FabricError> {
        if self.is_to_be_adopted(memory) {
            // SAFETY: passed on to the caller.
            let memory = unsafe { self.adopt(memory.address, memory.length, None)? };
            return self.register_device_for(memory, owner);
        }
        // SAFETY: passed on to the caller.
        let registered = unsafe { self.endpoint.register_memory(memory, Access::READ_WRITE)? };
        Ok(self.enter(registered, owner.map_or(Owner::Caller, Owner::Kept)))
    }

    /// Allocates zeroed memory that peers of this host can map, and registers it: the fastest kind.
    ///
    /// # Errors
    /// [`FabricError::Allocate`], [`FabricError::Register`].
    pub fn allocate(&self, bytes: usize, options: ArenaOptions) -> Result<Segment, FabricError> {
        let arena = self.endpoint.allocate(bytes, options)?;
        let registered = self.endpoint.register(&arena, Access::READ_WRITE)?;
        debug_assert_eq!(arena.description().address, registered.address());
        Ok(self.enter(registered, Owner::Fabric(arena)))
    }

    /// The registered segment that holds all of a range of this process.
    #[must_use]
    pub fn segment(&self, address: u64, length: u64) -> Option<Segment> {
        self.shared.segment(address, length)
    }

    /// Checks descriptors against both sides' segments and plans them. Asks the peer only where it has to: for
    /// addresses that are met for the first time, once, and at most for `patience`.
    ///
    /// # Errors
    /// [`FabricError::Local`] and [`FabricError::Remote`] name the first descriptor whose memory is not registered.
    pub fn plan(
        &self,
        peer: &Peer,
        direction: Direction,
        descriptors: &[Descriptor],
        patience: Duration,
    ) -> Result<Plan, FabricError> {
        let remote = self.shared.remote(peer);
        Plan::new(self, peer, direction, descriptors, |address, length| {
            remote.key(peer, address, length, patience)
        })
    }

    /// As [`Fabric::plan`], with the peer's segments as it exported them ([`Segment::exported`]) rather than as it
    /// answers now. Asks nobody.
    ///
    /// # Errors
    /// As [`Fabric::plan`].
    pub fn plan_exported(
        &self,
        peer: &Peer,
        direction: Direction,
        descriptors: &[Descriptor],
        exported: &AddressMap<ExportedSegment>,
    ) -> Result<Plan, FabricError> {
        let transport = peer.transport();
        Plan::new(self, peer, direction, descriptors, |address, length| {
            let found = exported.covering(address, length);
            Ok(found.and_then(|(start, end, segment)| Some((start, end, segment.key(transport)?))))
        })
    }

    /// A peer's segment by its number: first address, end and key. Asks the peer only when the number is new here, once,
    /// and at most for `patience`. `None` when the peer has no such segment, or not any more.
    ///
    /// # Errors
    /// [`FabricError::Request`], [`FabricError::Malformed`].
    pub fn remote_segment(
        &self,
        peer: &Peer,
        id: SegmentId,
        patience: Duration,
    ) -> Result<Option<(u64, u64, RemoteKey)>, FabricError> {
        self.shared.remote(peer).numbered(peer, id.0, patience)
    }

    /// Memory for plans.
    pub(crate) fn spares(&self) -> &PlanSpares {
        &self.shared.spares
    }

    fn enter(&self, registered: Registered, owner: Owner) -> Segment {
        let id = SegmentId(self.shared.next_segment.fetch_add(1, Ordering::Relaxed));
        let segment = Segment::new(id, registered, owner, Arc::downgrade(&self.shared));
        self.shared.segments().insert(id.0, segment.address(), segment.length(), segment.listed());
        segment
    }
}

impl fmt::Debug for Fabric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fabric").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Shared {
    fn segment(&self, address: u64, length: u64) -> Option<Segment> {
        let segments = self.segments();
        let (_, _, listed) = segments.covering_where(address, length, segment::Listed::is_live)?;
        listed.handle()
    }

    /// The last handle of a segment is gone: nobody finds it any more, and peers forget its key.
    fn forget(&self, id: SegmentId) {
        self.segments().remove(id.0);
        let body = id.0.to_le_bytes().to_vec();
        for peer in self.peers().iter() {
            // A connection that cannot take it is down.
            let _ = peer.connection().event(FORGET, body.clone());
        }
    }

    fn admit(&self, peer: &Peer) {
        self.peers().push(peer.clone());
        if peer.down_reason().is_some() {
            self.dismiss(peer);
        }
    }

    fn dismiss(&self, peer: &Peer) {
        self.peers().retain(|known| known != peer);
        self.remotes().remove(&peer.connection().number());
    }

    fn remote(&self, peer: &Peer) -> Arc<RemoteSegments> {
        Arc::clone(self.remotes().entry(peer.connection().number()).or_default())
    }

    fn segments(&self) -> MutexGuard<'_, AddressMap<segment::Listed>> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remotes(&self) -> MutexGuard<'_, HashMap<u64, Arc<RemoteSegments>>> {
        self.remotes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn peers(&self) -> MutexGuard<'_, Vec<Peer>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl PeerService for Shared {
    fn connected(&self, peer: &Peer) {
        self.admit(peer);
        self.handler.connected(peer);
    }

    fn request(&self, peer: &Peer, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        match kind {
            SEGMENTS => remote::answer(&self.segments(), peer, body),
            kind => self.handler.request(peer, kind, body),
        }
    }

    fn event(&self, peer: &Peer, kind: u16, body: &[u8]) {
        match kind {
            FORGET => remote::forget(&self.remote(peer), body),
            kind => self.handler.event(peer, kind, body),
        }
    }

    fn message(&self, peer: &Peer, message: Message<'_>) {
        self.handler.message(peer, message);
    }

    fn down(&self, peer: &Peer, reason: &DownReason) {
        self.dismiss(peer);
        self.handler.down(peer, reason);
    }
}
