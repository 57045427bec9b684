//! Registration with a soft HCA.
#![allow(unsafe_code)] // asks the kernel about ranges that the caller names

use std::{io, sync::Arc};

use nix::errno::Errno;
use pmd_core::{
    accelerator::{AcceleratorError, AcceleratorKind, DeviceMemory},
    memory::{Access, LocalKey, MemoryKind, RegionSource, RemoteKey},
};
use thiserror::Error;

use super::{
    Device, ProtectionDomain,
    arena::ArenaMemory,
    memory::{PAGE, pieces},
    quiet::Quiet,
    regions::{Grant, NoKey},
    segment::REGIONS,
};
use crate::region::{Region, RegionFacts, RegionPath, Registration};

/// Why a range was not registered.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// No bytes.
    #[error("a region needs at least one byte")]
    Empty,
    /// The range starts at address 0.
    #[error("address 0 cannot be registered")]
    Null,
    /// The range ends beyond the address space.
    #[error("{length} bytes at {address:#x} reach beyond the address space")]
    Overflow {
        /// First byte.
        address: u64,
        /// Bytes.
        length: u64,
    },
    /// Remote writing or atomics without local writing.
    #[error("{access:?}: remote writing and atomics need LOCAL_WRITE as well")]
    InconsistentAccess {
        /// What was asked for.
        access: Access,
    },
    /// Part of the range is not mapped, or not writable although the access asks for it.
    #[error("part of the {length} bytes at {address:#x} is not mapped in this process with {access:?}")]
    NotMapped {
        /// First byte.
        address: u64,
        /// Bytes.
        length: u64,
        /// What was asked for.
        access: Access,
    },
    /// The memory is an accelerator's, and described only.
    #[error("memory of kind {kind:?} is copied by its accelerator: register it with register_device")]
    UnsupportedMemory {
        /// What the source says it is.
        kind: MemoryKind,
    },
    /// The soft HCA was opened without the accelerator that the memory belongs to.
    #[error("the soft HCA does not drive {kind} {ordinal}: open it with that in DeviceConfig::accelerators")]
    NoAccelerator {
        /// The runtime.
        kind: AcceleratorKind,
        /// Its device.
        ordinal: u32,
    },
    /// The accelerator does not share the memory with the peers that are to reach it.
    #[error("peers cannot be let into the memory")]
    Accelerator(#[source] AcceleratorError),
    /// Every entry of the region table is taken.
    #[error("the soft HCA has {limit} regions: deregister some")]
    TableFull {
        /// How many there can be.
        limit: usize,
    },
    /// A system call failed.
    #[error("registering memory: {call} failed")]
    System {
        /// Which call.
        call: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

impl Device {
    /// Registers `length` bytes at `address`, for queue pairs of `protection_domain`. Pages that do not exist yet
    /// are made, as pinning them for a NIC would do.
    ///
    /// # Errors
    /// [`RegisterError`].
    ///
    /// # Safety
    /// The range stays mapped until the region is dropped, and no `&[u8]` or `&mut [u8]` to it exists while a
    /// transfer may touch it: own requests with the local key, peers with the remote key.
    pub unsafe fn register(
        &self,
        address: u64,
        length: u64,
        access: Access,
        protection_domain: ProtectionDomain,
    ) -> Result<Region, RegisterError> {
        // SAFETY: passed on.
        let (facts, registration) = unsafe { self.grant(address, length, access, protection_domain) }?;
        Ok(Region::new(facts, Box::new(registration)))
    }

    /// Gives the range a key.
    ///
    /// # Safety
    /// As [`Device::register`].
    unsafe fn grant(
        &self,
        address: u64,
        length: u64,
        access: Access,
        protection_domain: ProtectionDomain,
    ) -> Result<(RegionFacts, SoftRegistration), RegisterError> {
        check_range(address, length, access)?;
        let arena = self.arenas().holder(address, length);
        if arena.is_none() {
            check_mapped(address, length, access)?;
        }
        let grant = Grant {
            address,
            length,
            access,
            protection_domain,
            arena: arena.as_ref().map(|arena| (arena.id(), address - arena.address())),
            device: None,
        };
        let key = self.regions().insert(&grant)?;
        let path = if arena.is_some() { RegionPath::Mapped } else { RegionPath::ProcessMemory };
        let (local_key, remote_key) = (LocalKey(key), RemoteKey(key));
        let facts = RegionFacts { address, length, local_key, remote_key, access, path };
        let registration = SoftRegistration { device: self.clone(), key, _arena: arena, _pinned: None };
        Ok((facts, registration))
    }

    /// Registers memory of the host that an accelerator allocated, and keeps it for as long.
    pub(super) fn register_kept(
        &self,
        memory: Arc<dyn DeviceMemory>,
        access: Access,
        protection_domain: ProtectionDomain,
    ) -> Result<Region, RegisterError> {
        let described = memory.description();
        // SAFETY: the implementer of `RegionSource` promises it, and the registration keeps the value.
        let (facts, mut registration) =
            unsafe { self.grant(described.address, described.length, access, protection_domain) }?;
        registration._pinned = Some(memory);
        Ok(Region::new(facts, Box::new(registration)))
    }

    /// Registers what `source` describes.
    ///
    /// # Errors
    /// [`RegisterError`].
    pub fn register_source(
        &self,
        source: &impl RegionSource,
        access: Access,
        protection_domain: ProtectionDomain,
    ) -> Result<Region, RegisterError> {
        let described = source.description();
        match described.kind {
            // SAFETY: the implementer of `RegionSource` promises exactly this of what it describes.
            MemoryKind::Host | MemoryKind::Shared => unsafe {
                self.register(described.address, described.length, access, protection_domain)
            },
            kind => Err(RegisterError::UnsupportedMemory { kind }),
        }
    }
}

impl From<NoKey> for RegisterError {
    fn from(reason: NoKey) -> Self {
        match reason {
            NoKey::TableFull => Self::TableFull { limit: REGIONS },
            NoKey::Random(source) => Self::System { call: "getrandom", source },
        }
    }
}

/// A key of the soft HCA.
#[derive(Debug)]
struct SoftRegistration {
    device: Device,
    key: u32,
    /// Keeps the memory mapped.
    _arena: Option<Arc<ArenaMemory>>,
    /// Likewise.
    _pinned: Option<Arc<dyn DeviceMemory>>,
}

impl Registration for SoftRegistration {}

impl Drop for SoftRegistration {
    fn drop(&mut self) {
        if !self.device.is_owner() {
            return;
        }
        let revoked = self.device.regions().revoke(self.key);
        Quiet::everywhere(&self.device, &revoked).wait();
        self.device.regions().release(self.key);
    }
}

pub(super) fn check_range(address: u64, length: u64, access: Access) -> Result<(), RegisterError> {
    if length == 0 {
        return Err(RegisterError::Empty);
    }
    if address == 0 {
        return Err(RegisterError::Null);
    }
    let end = address.checked_add(length).and_then(|end| end.checked_add(PAGE as u64));
    if end.is_none_or(|end| isize::try_from(end).is_err()) {
        return Err(RegisterError::Overflow { address, length });
    }
    if !access.is_consistent() {
        return Err(RegisterError::InconsistentAccess { access });
    }
    Ok(())
}

/// Finds out whether the whole range can be read (and written, if the access asks for it), and fills in its pages.
fn check_mapped(address: u64, length: u64, access: Access) -> Result<(), RegisterError> {
    let start = address & !(PAGE as u64 - 1);
    let bytes = (address + length).next_multiple_of(PAGE as u64) - start;
    let advice = if access.contains(Access::LOCAL_WRITE) {
        libc::MADV_POPULATE_WRITE
    } else {
        libc::MADV_POPULATE_READ
    };
    match pieces(start, bytes).try_for_each(|(start, bytes)| advise(start, bytes, advice)) {
        Ok(()) => Ok(()),
        // Before Linux 5.14, for mappings of device memory, and where rights are missing.
        Err(Errno::EINVAL) => match std::fs::read_to_string("/proc/self/maps") {
            Ok(maps) if is_listed(&maps, start, start + bytes, access) => Ok(()),
            Ok(_) => Err(RegisterError::NotMapped { address, length, access }),
            Err(source) => Err(RegisterError::System { call: "reading /proc/self/maps", source }),
        },
        Err(Errno::ENOMEM | Errno::EFAULT) => Err(RegisterError::NotMapped { address, length, access }),
        Err(error) => Err(RegisterError::System { call: "madvise", source: error.into() }),
    }
}

fn advise(start: u64, bytes: u64, advice: i32) -> Result<(), Errno> {
    loop {
        // SAFETY: populating changes no byte and unmaps nothing; a range that is not there is refused.
        let result = unsafe { libc::madvise(start as *mut libc::c_void, bytes as usize, advice) };
        match Errno::result(result) {
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            other => return other.map(drop),
        }
    }
}

/// Whether mappings with these rights cover the range, by the kernel's list of them.
fn is_listed(maps: &str, start: u64, end: u64, access: Access) -> bool {
    let mut covered = start;
    for line in maps.lines() {
        let Some((from, to, readable, writable)) = mapping(line) else { return false };
        if to <= covered {
            continue;
        }
        let allowed = readable && (writable || !access.contains(Access::LOCAL_WRITE));
        if from > covered || !allowed {
            return false;
        }
        covered = to;
        if covered >= end {
            return true;
        }
    }
    false
}

/// Start, end, readable and writable of a line of /proc/self/maps.
fn mapping(line: &str) -> Option<(u64, u64, bool, bool)> {
    let (range, rest) = line.split_once(' ')?;
    let (from, to) = range.split_once('-')?;
    let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
    Some((hexadecimal(from)?, hexadecimal(to)?, rest.starts_with('r'), rest.get(1..2) == Some("w")))
}
