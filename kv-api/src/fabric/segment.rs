//! Registered memory of this process, and what a peer is told of it.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use pmd_core::{
    accelerator::DeviceMemory,
    memory::{LocalKey, RemoteKey},
};
use pmd_host::{
    backend::Transport,
    endpoint::Registered,
    region::{PathRefusal, RegionPath},
    soft::Arena,
    transfer::KeepAlive,
};
use serde::{Deserialize, Serialize};

use super::Shared;

/// Number of a segment in its fabric, from 1; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SegmentId(pub u64);

/// Registered memory of this process. Clones are handles to the same segment, and a transfer holds one.
///
/// When the last handle is dropped no transfer of this process uses the memory; when the drop returns, no peer reaches
/// it any more.
#[derive(Clone)]
pub struct Segment(Arc<Inner>);

pub(super) struct Inner {
    id: SegmentId,
    registered: Registered,
    owner: Owner,
    fabric: Weak<Shared>,
}

/// Whose memory a segment is.
pub(super) enum Owner {
    /// The caller's.
    Caller,
    /// Somebody's who keeps it as long as this is held.
    Kept(#[expect(dead_code, reason = "held, not read")] KeepAlive),
    /// Allocated with the segment.
    Fabric(Arena),
    /// An accelerator's, and whose it was before.
    Device(Arc<dyn DeviceMemory>, #[expect(dead_code, reason = "held, not read")] Option<KeepAlive>),
}

impl Segment {
    pub(super) fn new(id: SegmentId, registered: Registered, owner: Owner, fabric: Weak<Shared>) -> Self {
        Self(Arc::new(Inner { id, registered, owner, fabric }))
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.0.id
    }

    /// First byte.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.0.registered.address()
    }

    /// Bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.0.registered.length()
    }

    /// The arena behind a segment that [`Fabric::allocate`](super::Fabric::allocate) made.
    #[must_use]
    pub fn arena(&self) -> Option<&Arena> {
        match &self.0.owner {
            Owner::Fabric(arena) => Some(arena),
            _ => None,
        }
    }

    /// The memory, where it is an accelerator's.
    #[must_use]
    pub fn device(&self) -> Option<&Arc<dyn DeviceMemory>> {
        match &self.0.owner {
            Owner::Device(memory, _) => Some(memory),
            _ => None,
        }
    }

    /// Whether somebody else holds it too: another handle, a plan, or a transfer in flight.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// What a peer needs to use the memory over any transport.
    #[must_use]
    pub fn exported(&self) -> ExportedSegment {
        let key = |transport| self.0.registered.remote_key(transport).map(|key| (transport, key.0));
        let keys = Transport::ALL.into_iter().filter_map(key).collect();
        ExportedSegment { id: self.id(), address: self.address(), length: self.length(), keys }
    }

    /// How the bytes are reached over `transport`; `None` where they are not.
    #[must_use]
    pub fn path(&self, transport: Transport) -> Option<RegionPath> {
        self.0.registered.path(transport)
    }

    /// Which better ways there were not over `transport`, and why.
    #[must_use]
    pub fn refusals(&self, transport: Transport) -> &[PathRefusal] {
        self.0.registered.refusals(transport)
    }

    /// Key for this process's own work requests over `transport`.
    #[must_use]
    pub fn local_key(&self, transport: Transport) -> Option<LocalKey> {
        self.0.registered.local_key(transport)
    }

    pub(super) fn listed(&self) -> Listed {
        Listed { exported: self.exported(), inner: Arc::downgrade(&self.0) }
    }
}

/// A segment in its fabric's table. Holds no handle: to drop the last one there would take the table's lock again.
pub(super) struct Listed {
    exported: ExportedSegment,
    inner: Weak<Inner>,
}

impl Listed {
    /// Whether there are handles. One on its way out stays listed until it has taken itself off.
    pub(super) fn is_live(&self) -> bool {
        self.inner.strong_count() > 0
    }

    pub(super) fn handle(&self) -> Option<Segment> {
        self.inner.upgrade().map(Segment)
    }

    pub(super) fn facts(&self, transport: Transport) -> Option<Facts> {
        let ExportedSegment { id, address, length, .. } = self.exported;
        Some(Facts(id.0, address, length, self.exported.key(transport)?.0))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(fabric) = self.fabric.upgrade() {
            fabric.forget(self.id);
        }
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Segment {}: {:?}", self.id().0, self.0.registered)
    }
}

/// A segment as its peers of one transport know it: number, first address, bytes, rkey.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Facts(pub(super) u64, pub(super) u64, pub(super) u64, pub(super) u32);

/// A segment as a process describes it to others, whatever transport they come over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedSegment {
    /// Its number.
    pub id: SegmentId,
    /// First byte, in the owner's process.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    keys: Vec<(Transport, u32)>,
}

impl ExportedSegment {
    /// The rkey for a peer that is reached over `transport`.
    #[must_use]
    pub fn key(&self, transport: Transport) -> Option<RemoteKey> {
        self.keys.iter().find(|(of, _)| *of == transport).map(|(_, key)| RemoteKey(*key))
    }
}
