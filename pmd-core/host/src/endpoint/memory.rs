//! Memory registered with every device of an endpoint.
#![allow(unsafe_code)] // passes on promises about memory

use std::{fmt, ptr::NonNull, sync::Arc};

use pmd_core::{
    accelerator::DeviceMemory,
    memory::{Access, LocalKey, MemoryKind, RegionDescription, RegionSource, RemoteKey},
};
use thiserror::Error;

use super::ports::OnPorts;
use crate::{
    backend::{SetupError, Transport},
    lane::MessageMemory,
    metrics::Tally,
    nic,
    region::{PathRefusal, Region, RegionPath},
    soft,
};

/// A region of one device, and what reaches it by its keys.
pub(super) struct Held {
    pub(super) transport: Transport,
    /// TCP does too.
    pub(super) over_tcp: bool,
    pub(super) region: Region,
}

impl Held {
    fn is_for(&self, transport: Transport) -> bool {
        self.transport == transport || self.over_tcp && transport == Transport::Tcp
    }
}

/// Memory registered with every device of an endpoint. Keys belong to a transport: a peer gets those of the transport
/// that it is reached by. Dropping it deregisters: after that nothing touches the memory.
pub struct Registered {
    pub(super) address: u64,
    pub(super) length: u64,
    pub(super) _ports: OnPorts,
    // Deregistered before the memory goes.
    pub(super) regions: Vec<Held>,
    pub(super) _device: Option<Arc<dyn DeviceMemory>>,
    pub(super) _tally: Tally,
}

impl Registered {
    /// First byte.
    #[must_use]
    pub const fn address(&self) -> u64 {
        self.address
    }

    /// Bytes.
    #[must_use]
    pub const fn length(&self) -> u64 {
        self.length
    }

    /// Key for this process's own work requests over `transport`.
    #[must_use]
    pub fn local_key(&self, transport: Transport) -> Option<LocalKey> {
        self.region(transport).map(Region::local_key)
    }

    /// Key for a peer that is reached over `transport`; `None` too where peers do not reach the memory over it
    /// ([`RegionPath::Staged`]).
    #[must_use]
    pub fn remote_key(&self, transport: Transport) -> Option<RemoteKey> {
        let open = self.region(transport).filter(|region| region.path() != RegionPath::Staged);
        open.map(Region::remote_key)
    }

    /// How the bytes are reached over `transport`.
    #[must_use]
    pub fn path(&self, transport: Transport) -> Option<RegionPath> {
        let path = self.region(transport).map(Region::path);
        // The same region of the soft HCA may be reached in other ways from this host.
        if transport == Transport::Tcp { path.map(|_| RegionPath::Streams) } else { path }
    }

    /// Which better ways there were not over `transport`, and why.
    #[must_use]
    pub fn refusals(&self, transport: Transport) -> &[PathRefusal] {
        self.region(transport).map_or(&[], Region::refusals)
    }

    fn region(&self, transport: Transport) -> Option<&Region> {
        self.regions.iter().find(|held| held.is_for(transport)).map(|held| &held.region)
    }
}

impl fmt::Debug for Registered {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.address + self.length;
        write!(formatter, "Registered({:#x}..{end:#x} on", self.address)?;
        self.regions.iter().try_for_each(|held| write!(formatter, " {}", held.transport.name()))?;
        formatter.write_str(")")
    }
}

/// What becomes of memory of an accelerator that peers cannot be let into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeptOut {
    /// It is not registered.
    Refused,
    /// It is registered for this side's own requests.
    Staged,
}

/// Why memory was not registered. Nothing of it stays registered with any device.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// The soft HCA's reason.
    #[error(transparent)]
    Soft(#[from] soft::RegisterError),
    /// The NIC's reason.
    #[error(transparent)]
    Nic(#[from] nic::RegisterError),
    /// No device of the endpoint reaches this kind of memory.
    #[error("no device of this endpoint reaches memory of kind {kind:?}: copy it to host memory first")]
    Unreachable {
        /// Kind of the memory.
        kind: MemoryKind,
    },
}

/// Memory as a caller described it.
pub(super) struct Described(RegionDescription);

impl Described {
    /// # Safety
    /// What [`RegionSource`] asks of its implementer holds for the described memory.
    pub(super) const unsafe fn new(description: RegionDescription) -> Self {
        Self(description)
    }
}

// SAFETY: whoever made the value promised it.
unsafe impl RegionSource for Described {
    fn description(&self) -> RegionDescription {
        self.0
    }
}

/// A message buffer in an arena of its own.
pub(super) struct RegisteredArena {
    // Deregistered before the arena is unmapped.
    region: Region,
    arena: soft::Arena,
}

impl RegisteredArena {
    pub(super) fn allocate(
        soft: &soft::Device,
        nic: Option<&nic::Device>,
        bytes: usize,
    ) -> Result<Self, SetupError> {
        let arena = soft.allocate(bytes, soft::ArenaOptions::default()).map_err(failed)?;
        let region = match nic {
            Some(nic) => nic.register_source(&arena, Access::LOCAL_WRITE).map_err(failed)?,
            None => {
                let domain = soft::ProtectionDomain::default();
                soft.register_source(&arena, Access::LOCAL_WRITE, domain).map_err(failed)?
            }
        };
        Ok(Self { region, arena })
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> SetupError {
    SetupError::System { call: "allocating message buffers", source: std::io::Error::other(error) }
}

// SAFETY: the arena stays mapped while it lives, the region was registered over all of it with LOCAL_WRITE only and its
// remote key was given to nobody, and both live in `self`.
unsafe impl MessageMemory for RegisteredArena {
    fn address(&self) -> NonNull<u8> {
        // An arena never starts at address zero; the fallback cannot be reached and points at no memory.
        NonNull::new(self.arena.as_ptr()).unwrap_or(NonNull::dangling())
    }

    fn length(&self) -> usize {
        self.arena.length()
    }

    fn key(&self) -> LocalKey {
        self.region.local_key()
    }
}
