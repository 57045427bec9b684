//! The region table: which keys exist and what they grant. Engines check every local and remote key here.
//!
//! A key is the entry's index in the lower 16 bits and 16 random bits above. The owner fills an entry before it
//! grants the key and reuses it only after every engine was seen quiet, so that an engine which validated the key
//! within its round reads fields that do not change.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use pmd_core::{
    memory::Access,
    ring::quiesce::{Active, KeyCell, Revoked},
    sync::{AtomicU32, AtomicU64, Ordering},
};
use thiserror::Error;

use super::{
    ProtectionDomain,
    segment::{REGIONS, Segment},
};

/// One region, 64 bytes, in the owner's segment.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Entry {
    key: KeyCell,
    access: AtomicU32,
    protection_domain: AtomicU32,
    /// Arena that holds the range, or 0.
    arena: AtomicU32,
    address: AtomicU64,
    length: AtomicU64,
    /// Offset of the range in the arena.
    arena_offset: AtomicU64,
    /// Number of the device memory that the range is, or 0.
    device: AtomicU32,
}

/// What an entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) address: u64,
    pub(super) length: u64,
    pub(super) access: Access,
    pub(super) protection_domain: ProtectionDomain,
    /// Arena and offset in it.
    pub(super) arena: Option<(u32, u64)>,
    /// The range is memory of an accelerator, under this number: only streams touch it.
    pub(super) device: Option<u32>,
}

/// What an operation wants to do under a key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub(super) address: u64,
    pub(super) length: u64,
    pub(super) access: Access,
    pub(super) protection_domain: ProtectionDomain,
}

/// Why a key does not allow an access. For the local side a local protection error, for the remote side a remote
/// access error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum KeyFault {
    /// No region has this key: it never had, or was deregistered.
    #[error("no region has key {key:#010x}: it was deregistered, or the key is of another device")]
    UnknownKey {
        /// The key.
        key: u32,
    },
    /// The range is not inside the region.
    #[error("{length} bytes at {address:#x} reach beyond the region of key {key:#010x}")]
    OutOfBounds {
        /// The key.
        key: u32,
        /// First byte wanted.
        address: u64,
        /// Bytes wanted.
        length: u64,
    },
    /// The region was registered without this right.
    #[error("key {key:#010x} does not allow {wanted:?}: register the region with it")]
    AccessDenied {
        /// The key.
        key: u32,
        /// The right that is missing.
        wanted: Access,
    },
    /// Queue pair and region are of different protection domains.
    #[error("key {key:#010x} is of another protection domain than the queue pair")]
    WrongDomain {
        /// The key.
        key: u32,
    },
}

impl Segment {
    /// Looks `key` up and checks that it allows `wanted`. `active` is the round in which the bytes are moved.
    #[inline]
    pub(super) fn check(&self, active: &Active<'_>, key: u32, wanted: &Wanted) -> Result<Grant, KeyFault> {
        let entry = &self.entries()[(key & 0xffff) as usize];
        if !entry.key.validate(active, key) {
            return Err(KeyFault::UnknownKey { key });
        }
        let grant = entry.grant();
        grant.allows(key, wanted)?;
        Ok(grant)
    }
}

impl Grant {
    #[inline]
    fn allows(&self, key: u32, wanted: &Wanted) -> Result<(), KeyFault> {
        if self.protection_domain != wanted.protection_domain {
            return Err(KeyFault::WrongDomain { key });
        }
        if !self.access.contains(wanted.access) {
            return Err(KeyFault::AccessDenied { key, wanted: wanted.access.difference(self.access) });
        }
        if wanted.length == 0 || self.contains(wanted) {
            return Ok(());
        }
        Err(KeyFault::OutOfBounds { key, address: wanted.address, length: wanted.length })
    }

    #[inline]
    fn contains(&self, wanted: &Wanted) -> bool {
        let offset = wanted.address.wrapping_sub(self.address);
        offset <= self.length && wanted.length <= self.length - offset
    }
}

impl Entry {
    #[inline]
    fn grant(&self) -> Grant {
        let arena = self.arena.load(Ordering::Relaxed);
        Grant {
            address: self.address.load(Ordering::Relaxed),
            length: self.length.load(Ordering::Relaxed),
            access: Access::from_bits_retain(self.access.load(Ordering::Relaxed)),
            protection_domain: ProtectionDomain(self.protection_domain.load(Ordering::Relaxed)),
            arena: (arena != 0).then(|| (arena, self.arena_offset.load(Ordering::Relaxed))),
            device: Some(self.device.load(Ordering::Relaxed)).filter(|number| *number != 0),
        }
    }

    fn fill(&self, grant: &Grant) {
        let (arena, offset) = grant.arena.unwrap_or_default();
        self.access.store(grant.access.bits(), Ordering::Relaxed);
        self.protection_domain.store(grant.protection_domain.0, Ordering::Relaxed);
        self.arena.store(arena, Ordering::Relaxed);
        self.device.store(grant.device.unwrap_or(0), Ordering::Relaxed);
        self.arena_offset.store(offset, Ordering::Relaxed);
        self.address.store(grant.address, Ordering::Relaxed);
        self.length.store(grant.length, Ordering::Relaxed);
    }
}

/// This device's table.
#[derive(Debug)]
pub(crate) struct RegionTable {
    segment: Segment,
    free: Mutex<FreeEntries>,
}

#[derive(Debug, Default)]
struct FreeEntries {
    /// Entries from this one on were never used.
    fresh: usize,
    /// Index and last key of entries that were used, oldest first.
    used: VecDeque<(u16, u32)>,
}

/// No entry, or no random bits for a key.
#[derive(Debug)]
pub(super) enum NoKey {
    TableFull,
    Random(std::io::Error),
}

impl RegionTable {
    pub(super) fn new(segment: Segment) -> Self {
        Self { segment, free: Mutex::default() }
    }

    pub(super) fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Checks a key of this device for an access by one of its own queue pairs, or by a peer's packet. Of memory of an
    /// accelerator the number comes back.
    ///
    /// # Errors
    /// [`KeyFault`]; a zero length is inside of every region.
    #[inline]
    pub(crate) fn check(
        &self,
        active: &Active<'_>,
        key: u32,
        address: u64,
        length: u64,
        access: Access,
        protection_domain: ProtectionDomain,
    ) -> Result<Option<u32>, KeyFault> {
        let wanted = Wanted { address, length, access, protection_domain };
        self.segment.check(active, key, &wanted).map(|grant| grant.device)
    }

    /// Gives `grant` a key.
    pub(super) fn insert(&self, grant: &Grant) -> Result<u32, NoKey> {
        let (index, last) = self.free().take().ok_or(NoKey::TableFull)?;
        let key = match fresh_key(index, last) {
            Ok(key) => key,
            Err(error) => {
                self.recycle(index, last);
                return Err(NoKey::Random(error));
            }
        };
        let entry = &self.segment.entries()[usize::from(index)];
        entry.fill(grant);
        entry.key.grant(key);
        Ok(key)
    }

    /// Takes the key away. The entry stays out of use until [`RegionTable::release`].
    pub(super) fn revoke(&self, key: u32) -> Revoked {
        self.segment.entries()[(key & 0xffff) as usize].key.revoke()
    }

    /// Makes the entry of a revoked key available again, all engines having been quiet.
    pub(super) fn release(&self, key: u32) {
        self.recycle((key & 0xffff) as u16, key);
    }

    fn recycle(&self, index: u16, last: u32) {
        self.free().used.push_back((index, last));
    }

    fn free(&self) -> MutexGuard<'_, FreeEntries> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FreeEntries {
    fn take(&mut self) -> Option<(u16, u32)> {
        if let Some(entry) = self.used.pop_front() {
            return Some(entry);
        }
        let index = u16::try_from(self.fresh).ok().filter(|_| self.fresh < REGIONS)?;
        self.fresh += 1;
        Some((index, 0))
    }
}

/// A key for the entry: never 0, never the `last` one.
fn fresh_key(index: u16, last: u32) -> Result<u32, std::io::Error> {
    loop {
        let mut random = [0; 2];
        getrandom::fill(&mut random).map_err(std::io::Error::other)?;
        let key = u32::from(u16::from_ne_bytes(random)) << 16 | u32::from(index);
        if key != 0 && key != last {
            return Ok(key);
        }
    }
}
