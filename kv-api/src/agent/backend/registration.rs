//! Registrations of this process, and what is known of other agents'.
#![allow(unsafe_code)] // passes on the caller's promise about memory

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pmd_core::memory::{LocalKey, MemoryKind, RegionDescription};
use pmd_host::{backend::Transport, identity::DeviceId, soft::ArenaOptions};
use serde::{Deserialize, Serialize};

use super::connection::Remote;
use crate::{
    agent::{AgentError, Side},
    fabric::{Fabric, Segment, SegmentId},
};

/// A registration as bytes for another agent: which life of which agent, and which memory. No key: those are asked for
/// when they are needed, so bytes that went astray open nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::agent) struct PublicData {
    pub(in crate::agent) incarnation: DeviceId,
    pub(in crate::agent) id: SegmentId,
    pub(in crate::agent) address: u64,
    pub(in crate::agent) length: u64,
}

/// Registered memory of this process. Clones are the same registration.
///
/// It ends with [`Backend::deregister`](super::Backend::deregister), or when the last clone, the last request prepared
/// with it and the last transfer with it are gone.
#[derive(Clone)]
pub struct Registration(Arc<Inner>);

struct Inner {
    id: SegmentId,
    address: u64,
    length: u64,
    incarnation: DeviceId,
    /// One for each transport, in the order of [`Transport::ALL`].
    keys: [Option<LocalKey>; Transport::ALL.len()],
    /// Taken when it is deregistered.
    segment: Mutex<Option<Segment>>,
}

impl Registration {
    /// # Safety
    /// As [`Fabric::register`].
    pub(super) unsafe fn register(fabric: &Fabric, memory: &RegionDescription) -> Result<Self, AgentError> {
        // SAFETY: passed on to the caller.
        let segment = unsafe { fabric.register(memory)? };
        Ok(Self::of(fabric, segment))
    }

    /// # Safety
    /// As [`Fabric::register`].
    pub(super) unsafe fn register_on(
        fabric: &Fabric,
        memory: &RegionDescription,
        device: u64,
    ) -> Result<Self, AgentError> {
        if memory.kind != MemoryKind::Device || fabric.accelerators().is_empty() {
            // SAFETY: passed on to the caller.
            return unsafe { Self::register(fabric, memory) };
        }
        let device = Some(u32::try_from(device).unwrap_or(u32::MAX));
        // SAFETY: passed on to the caller.
        let memory = unsafe { fabric.adopt(memory.address, memory.length, device)? };
        Ok(Self::of(fabric, fabric.register_device(memory)?))
    }

    pub(super) fn allocate(fabric: &Fabric, bytes: usize, options: ArenaOptions) -> Result<Self, AgentError> {
        Ok(Self::of(fabric, fabric.allocate(bytes, options)?))
    }

    fn of(fabric: &Fabric, segment: Segment) -> Self {
        let incarnation = fabric.endpoint().identity().incarnation;
        let keys = Transport::ALL.map(|transport| segment.local_key(transport));
        let (id, address, length) = (segment.id(), segment.address(), segment.length());
        Self(Arc::new(Inner { id, address, length, incarnation, keys, segment: Mutex::new(Some(segment)) }))
    }

    /// Number of the registration in its agent, never used twice.
    #[must_use]
    pub fn id(&self) -> SegmentId {
        self.0.id
    }

    /// First byte.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.0.address
    }

    /// Bytes.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.0.length
    }

    /// What another agent needs to know of it: NIXL's `getPublicData`. Some thirty bytes.
    #[must_use]
    pub fn public_data(&self) -> Vec<u8> {
        let Inner { id, address, length, incarnation, .. } = *self.0;
        // Numbers always encode.
        postcard::to_allocvec(&PublicData { incarnation, id, address, length }).unwrap_or_default()
    }

    /// The segment, unless it was deregistered.
    pub(super) fn segment(&self) -> Result<Segment, AgentError> {
        self.slot().clone().ok_or_else(|| self.deregistered())
    }

    /// As [`Registration::segment`], and from now on there is none.
    pub(super) fn take(&self) -> Result<Segment, AgentError> {
        self.slot().take().ok_or_else(|| self.deregistered())
    }

    fn deregistered(&self) -> AgentError {
        AgentError::Deregistered { side: Side::Local, address: self.0.address }
    }

    pub(super) fn put_back(&self, segment: Segment) {
        *self.slot() = Some(segment);
    }

    pub(super) fn key(&self, transport: Transport) -> Option<LocalKey> {
        let index = Transport::ALL.iter().position(|known| *known == transport)?;
        self.0.keys[index]
    }

    #[inline]
    pub(super) fn holds(&self, address: u64, length: u64) -> bool {
        within(self.0.address, self.0.length, address, length)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn slot(&self) -> MutexGuard<'_, Option<Segment>> {
        self.0.segment.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { id, address, length, .. } = &*self.0;
        write!(formatter, "Registration {}: {length} bytes at {address:#x}", id.0)
    }
}

/// Memory that a remote agent has registered, as its metadata says. Clones are the same.
#[derive(Clone, Debug)]
pub struct RemoteRegistration {
    pub(super) remote: Arc<Remote>,
    pub(super) id: SegmentId,
    pub(super) address: u64,
    pub(super) length: u64,
}

impl RemoteRegistration {
    /// Name of the agent.
    #[must_use]
    pub fn agent(&self) -> &str {
        self.remote.agent()
    }

    /// Number of the registration in that agent.
    #[must_use]
    pub const fn id(&self) -> SegmentId {
        self.id
    }

    /// First byte, in that agent's process.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    #[inline]
    pub(super) const fn holds(&self, address: u64, length: u64) -> bool {
        within(self.address, self.length, address, length)
    }
}

/// Whether all `length` bytes at `address` are within a region.
#[inline]
const fn within(start: u64, size: u64, address: u64, length: u64) -> bool {
    let offset = address.wrapping_sub(start);
    offset <= size && length <= size - offset
}
