//! Registration of an accelerator's memory: the best way in which the NIC reaches it, or staging, and why not better.
#![allow(unsafe_code)] // registers what a `RegionSource` describes

use std::sync::Arc;

use pmd_core::{
    accelerator::{Accelerator, DeviceMemory},
    memory::{Access, MemoryKind},
};

use super::{Device, RegisterError, register::check, staged::RegisterPinned};
use crate::region::{PathReason, PathRefusal, Region, RegionFacts, RegionPath, Registration};

/// Rights of peers.
const REMOTE: Access = Access::REMOTE_READ.union(Access::REMOTE_WRITE).union(Access::REMOTE_ATOMIC);

impl Device {
    /// Registers memory of an accelerator, in the best of these ways: through a dma-buf, through the accelerator's kernel
    /// module (peer memory), or staged in pinned memory of the host, for requests of this side that a
    /// [`StagedBackend`](super::StagedBackend) posts. [`Region::path`] tells which, [`Region::refusals`] why not better.
    /// Memory of the host that the accelerator pinned is registered as such.
    ///
    /// # Errors
    /// [`RegisterError::Unreachable`] where the NIC does not reach memory that peers are to reach; else [`RegisterError`].
    pub fn register_device(
        &self,
        memory: Arc<dyn DeviceMemory>,
        access: Access,
    ) -> Result<Region, RegisterError> {
        let described = memory.description();
        if described.kind != MemoryKind::Device {
            let region = self.register_source(&*memory, access)?;
            return Ok(keep(region, Kept::Host { _memory: memory }));
        }
        let (address, length) = (described.address, described.length);
        check(address, length, access)?;
        let mut refusals = Vec::new();
        match self.by_descriptor(&memory, access) {
            Ok(region) => return Ok(self.keep_direct(region, memory)),
            Err(reason) => refusals.push(PathRefusal { path: RegionPath::DmaBuf, reason }),
        }
        // SAFETY: the implementer of `RegionSource` promises it, and the region keeps the value.
        match unsafe { self.register_address(address, length, access, RegionPath::PeerMemory) } {
            Ok(region) => return Ok(self.keep_direct(region, memory).with_refusals(refusals)),
            Err(error) => refusals.push(PathRefusal { path: RegionPath::PeerMemory, reason: reason(error) }),
        }
        if access.intersects(REMOTE) {
            return Err(RegisterError::Unreachable { address, length, access, refusals });
        }
        self.stage(memory, access).map(|region| region.with_refusals(refusals))
    }

    fn by_descriptor(&self, memory: &Arc<dyn DeviceMemory>, access: Access) -> Result<Region, PathReason> {
        let described = memory.description();
        let Some((descriptor, offset)) = described.descriptor else {
            let why = memory.without_descriptor().cloned();
            return Err(why.map_or(PathReason::NoDescriptor, PathReason::NotExported));
        };
        let registered =
            self.register_dma_buf(descriptor, offset, described.address, described.length, access);
        registered.map_err(reason)
    }

    /// The NIC writes the memory itself: what it has written is flushed before anybody is told.
    fn keep_direct(&self, region: Region, memory: Arc<dyn DeviceMemory>) -> Region {
        let accelerator = memory.accelerator();
        self.memories().add_direct(accelerator.clone());
        keep(region, Kept::Direct { device: self.clone(), accelerator, _memory: memory })
    }

    fn stage(&self, memory: Arc<dyn DeviceMemory>, access: Access) -> Result<Region, RegisterError> {
        let described = memory.description();
        // A page that nobody names gives a key that no other region has.
        let page: Box<Page> = Box::new(Page([0; PAGE]));
        // SAFETY: the page lives as long as the region, and the device only reads it.
        let token = unsafe {
            let at = (&raw const *page) as u64;
            self.register_address(at, PAGE as u64, Access::empty(), RegionPath::Pinned)
        }?;
        let (local_key, remote_key) = (token.local_key(), token.remote_key());
        let (address, length, path) = (described.address, described.length, RegionPath::Staged);
        let facts = RegionFacts { address, length, local_key, remote_key, access, path };
        self.memories().add_staged(local_key.0, memory, access);
        let staged = Staged { device: self.clone(), key: local_key.0, _token: token, _page: page };
        Ok(Region::new(facts, Box::new(staged)))
    }
}

/// What refused, without what the caller knows.
fn reason(error: RegisterError) -> PathReason {
    match error {
        RegisterError::System { call, source, .. } => PathReason::Refused { call, source },
        RegisterError::Library(error) => PathReason::Library(error),
        _ => PathReason::NoDescriptor,
    }
}

/// The region, with what has to live as long.
fn keep(region: Region, kept: Kept) -> Region {
    let facts = region.facts();
    Region::new(facts, Box::new(Keeping { _region: region, _kept: kept }))
}

#[derive(Debug)]
struct Keeping {
    // Deregistered first.
    _region: Region,
    _kept: Kept,
}

impl Registration for Keeping {}

#[derive(Debug)]
enum Kept {
    Host { _memory: Arc<dyn DeviceMemory> },
    Direct { device: Device, accelerator: Arc<dyn Accelerator>, _memory: Arc<dyn DeviceMemory> },
}

impl Drop for Kept {
    fn drop(&mut self) {
        if let Self::Direct { device, accelerator, .. } = self {
            device.memories().remove_direct(accelerator);
        }
    }
}

/// Staged memory of an accelerator.
#[derive(Debug)]
struct Staged {
    device: Device,
    key: u32,
    _token: Region,
    _page: Box<Page>,
}

const PAGE: usize = 4096;

#[derive(Debug)]
#[repr(C, align(4096))]
struct Page([u8; PAGE]);

impl Registration for Staged {}

impl Drop for Staged {
    fn drop(&mut self) {
        self.device.memories().remove_staged(self.key);
    }
}

/// Registers slots of pinned memory with a NIC.
#[derive(Debug)]
pub(crate) struct Pins(pub(crate) Device);

impl RegisterPinned for Pins {
    fn register(&self, memory: &Arc<dyn DeviceMemory>) -> Option<Region> {
        self.0.register_device(memory.clone(), Access::LOCAL_WRITE).ok()
    }
}
