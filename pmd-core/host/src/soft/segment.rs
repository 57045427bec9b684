//! A device's segment: engine activity lines and the region table, written by the owner, read by every peer.
//!
//! ```text
//!  0        header: magic, layout version, roster: number of activity lines ever used, closed
//!  4 KiB    256 activity lines, 64 bytes each
//!  20 KiB   65,536 region entries, 64 bytes each (pages exist once they are used)
//! ```
//! The owner maps it writable, then seals it against writable mappings, so that a peer cannot change who is active
//! or what a key grants. All of it is atomics: peers read while the owner writes.
#![allow(unsafe_code)] // turns offsets in a mapping into references

use std::os::fd::OwnedFd;

use nix::{errno::Errno, fcntl::SealFlag};
use pmd_core::{
    ring::quiesce::{Activity, Revoked, Roster},
    sync::{AtomicU32, AtomicU64, Ordering},
};

use super::{
    memory::{Mapping, PAGE, Protection, memory_file, seal, sealed_length},
    regions::Entry,
};

/// Engines that one device can seat.
pub(crate) const ENGINES: usize = 256;
/// Regions that one device can register.
pub(crate) const REGIONS: usize = 1 << 16;

const MAGIC: u64 = u64::from_le_bytes(*b"pmd-seg\0");
const VERSION: u32 = 2;
const ACTIVITIES_AT: usize = PAGE;
const ENTRIES_AT: usize = ACTIVITIES_AT + ENGINES * size_of::<Activity>();
const LENGTH: usize = ENTRIES_AT + REGIONS * size_of::<Entry>();

const _: () = assert!(size_of::<Activity>() == 64 && size_of::<Entry>() == 64);
const _: () = assert!(size_of::<Header>() <= PAGE && ENTRIES_AT.is_multiple_of(64));

/// A mapped segment, this device's or a peer's.
#[derive(Debug)]
pub(crate) struct Segment {
    mapping: Mapping,
}

#[derive(Debug)]
#[repr(C)]
struct Header {
    magic: AtomicU64,
    version: AtomicU32,
    /// Which activity lines were ever used, and whether the device was dropped in order.
    roster: Roster,
}

impl Segment {
    /// A new segment, mapped writable here, and the descriptor with which peers map it read-only.
    pub(super) fn create() -> Result<(Self, OwnedFd), Errno> {
        let file = memory_file(c"pmd-segment", LENGTH, false)?;
        let segment = Self { mapping: Mapping::new(&file, LENGTH, Protection::ReadWrite)? };
        segment.header().magic.store(MAGIC, Ordering::Relaxed);
        segment.header().version.store(VERSION, Ordering::Relaxed);
        match seal(&file, SealFlag::F_SEAL_FUTURE_WRITE) {
            // Before Linux 5.1 there is no such seal. Peers of the same user are trusted that far then.
            Err(Errno::EINVAL) => seal(&file, SealFlag::empty())?,
            other => other?,
        }
        Ok((segment, file))
    }

    /// Maps a peer's segment, or `None` when it is not one of this layout.
    pub(super) fn attach(file: &OwnedFd) -> Option<Self> {
        if sealed_length(file)? != LENGTH {
            return None;
        }
        let segment = Self { mapping: Mapping::new(file, LENGTH, Protection::Read).ok()? };
        let header = segment.header();
        let known = header.magic.load(Ordering::Relaxed) == MAGIC
            && header.version.load(Ordering::Relaxed) == VERSION;
        known.then_some(segment)
    }

    /// The lines of every engine that could have seen what was `revoked`.
    pub(super) fn activities(&self, revoked: &Revoked) -> &[Activity] {
        let used = self.header().roster.counted(revoked);
        &self.all_activities()[..used.min(ENGINES)]
    }

    /// Every activity line. For the owner.
    pub(super) fn all_activities(&self) -> &[Activity; ENGINES] {
        // SAFETY: inside the mapping (`LENGTH`), aligned to 64, zeroed at the start; an `Activity` is an atomic.
        unsafe { self.mapping.base().add(ACTIVITIES_AT).cast().as_ref() }
    }

    /// The region entries, by the lower half of their key.
    #[inline]
    pub(super) fn entries(&self) -> &[Entry; REGIONS] {
        // SAFETY: as for the activities; an `Entry` is atomics only.
        unsafe { self.mapping.base().add(ENTRIES_AT).cast().as_ref() }
    }

    /// Says that the line `index` is in use from now on. The owner's engine calls it before its first round.
    pub(super) fn count_engine(&self, index: usize) {
        self.header().roster.count(index as u32);
    }

    /// Says that no engine of this device exists any more. For the owner.
    pub(super) fn close(&self) {
        self.header().roster.close();
    }

    /// Whether the owner said so.
    pub(super) fn is_closed(&self) -> bool {
        self.header().roster.is_closed()
    }

    fn header(&self) -> &Header {
        // SAFETY: the mapping starts with it, page-aligned; all fields are atomics.
        unsafe { self.mapping.base().cast().as_ref() }
    }
}
