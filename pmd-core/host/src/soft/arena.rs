//! Arenas: memory that peers of this host map, so that they copy into it and out of it themselves.
#![allow(unsafe_code)] // implements `RegionSource`

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsRawFd, OwnedFd},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use nix::{errno::Errno, fcntl::SealFlag};
use pmd_core::{
    accelerator::AcceleratorError,
    memory::{MemoryKind, RegionDescription, RegionSource},
};
use thiserror::Error;

use super::{
    Device,
    memory::{Mapping, PAGE, Protection, memory_file, reserve, seal},
    room,
};

/// How an arena is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct ArenaOptions {
    /// Which pages it is made of.
    pub huge_pages: HugePages,
    /// Fill in the page tables at once, here and in peers, rather than at the first touch of each page.
    pub prefault: bool,
}

/// Whether an arena uses 2 MiB pages, of which the administrator sets some aside (`vm.nr_hugepages`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum HugePages {
    /// Small pages.
    #[default]
    Never,
    /// 2 MiB pages if enough are free, otherwise small pages; [`Arena::has_huge_pages`] tells.
    Prefer,
    /// 2 MiB pages or [`AllocateError::NoHugePages`].
    Require,
}

/// Memory that peers can map, zeroed. Unmapped when this handle and the last region registered in it are dropped.
#[derive(Clone, Debug)]
pub struct Arena {
    memory: Arc<ArenaMemory>,
}

/// Why an arena was not made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AllocateError {
    /// No bytes, or more than an address space holds.
    #[error("an arena of {length} bytes cannot be")]
    Length {
        /// Bytes asked for.
        length: usize,
    },
    /// Not enough memory (or, in a container, not within its limit), or not enough address space.
    #[error("no space for {length} bytes of shared memory; free some, or raise the limit of memory")]
    NoSpace {
        /// Bytes asked for.
        length: usize,
        /// Bytes that there are, where the system says so.
        available: Option<u64>,
    },
    /// Not enough 2 MiB pages are free.
    #[error("no {pages} free pages of 2 MiB: raise vm.nr_hugepages, or prefer instead of require them")]
    NoHugePages {
        /// Pages that the arena needs.
        pages: usize,
    },
    /// An accelerator does not page-lock it ([`DeviceConfig::pin_arenas`](super::DeviceConfig::pin_arenas)).
    #[error("page-locking shared memory for an accelerator: {0}")]
    Accelerator(#[source] AcceleratorError),
    /// A system call failed.
    #[error("allocating shared memory: {call} failed")]
    System {
        /// Which call.
        call: &'static str,
        /// What it said.
        #[source]
        source: io::Error,
    },
}

const HUGE_PAGE: usize = 2 << 20;

impl Device {
    /// Allocates `length` bytes (rounded up to whole pages) that peers can map.
    ///
    /// # Errors
    /// [`AllocateError`]; the memory is there for certain when there is none.
    pub fn allocate(&self, length: usize, options: ArenaOptions) -> Result<Arena, AllocateError> {
        let memory = Arc::new(ArenaMemory::new(self, length, options)?);
        self.arenas().insert(&memory);
        self.exchange().announce_arena(&memory.announcement());
        Ok(Arena { memory })
    }
}

impl Arena {
    /// First byte. Valid, with [`Arena::length`] bytes behind it, while the arena or a region in it lives.
    #[must_use]
    pub fn as_ptr(&self) -> *mut u8 {
        self.memory.mapping.base().as_ptr()
    }

    /// Usable bytes: what was asked for, rounded up to whole pages.
    #[must_use]
    pub fn length(&self) -> usize {
        self.memory.mapping.length()
    }

    /// Whether it is made of 2 MiB pages.
    #[must_use]
    pub fn has_huge_pages(&self) -> bool {
        self.memory.huge
    }
}

// SAFETY: the range is one mapping, which every region registered in it keeps (`register` finds the arena by
// address); the descriptor is the mapped file from its start; the arena hands out a raw pointer only.
unsafe impl RegionSource for Arena {
    fn description(&self) -> RegionDescription {
        RegionDescription {
            address: self.memory.address(),
            length: self.length() as u64,
            kind: MemoryKind::Shared,
            descriptor: Some((self.memory.file.as_raw_fd(), 0)),
        }
    }
}

/// What an arena and its regions share.
#[derive(Debug)]
pub(super) struct ArenaMemory {
    device: Device,
    id: u32,
    mapping: Mapping,
    file: Arc<OwnedFd>,
    huge: bool,
    prefault: bool,
}

/// What peers must know to map an arena.
#[derive(Clone, Debug)]
pub(super) struct Announcement {
    pub(super) id: u32,
    pub(super) length: u64,
    pub(super) prefault: bool,
    pub(super) file: Arc<OwnedFd>,
}

impl ArenaMemory {
    fn new(device: &Device, length: usize, options: ArenaOptions) -> Result<Self, AllocateError> {
        let (file, mut mapping, huge) = match options.huge_pages {
            HugePages::Never => small_pages(length)?,
            HugePages::Require => huge_pages(length)?,
            HugePages::Prefer => huge_pages(length).or_else(|_| small_pages(length))?,
        };
        if options.prefault {
            // Only a matter of speed: the pages are reserved.
            let _ = mapping.populate();
        }
        if device.config().pin_arenas {
            mapping.pin(&device.config().accelerators).map_err(AllocateError::Accelerator)?;
        }
        let id = device.arenas().next_id();
        Ok(Self {
            device: device.clone(),
            id,
            mapping,
            file: Arc::new(file),
            huge,
            prefault: options.prefault,
        })
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Whether streams copy from and to it themselves.
    pub(super) fn is_pinned(&self) -> bool {
        self.mapping.is_pinned()
    }

    pub(super) fn address(&self) -> u64 {
        self.mapping.base().as_ptr() as u64
    }

    fn announcement(&self) -> Announcement {
        let length = self.mapping.length() as u64;
        Announcement { id: self.id, length, prefault: self.prefault, file: self.file.clone() }
    }
}

impl Drop for ArenaMemory {
    fn drop(&mut self) {
        if !self.device.is_owner() {
            return;
        }
        self.device.arenas().remove(self.address());
        self.device.exchange().withdraw_arena(self.id);
    }
}

/// The arenas of one device.
#[derive(Debug, Default)]
pub(super) struct Arenas {
    state: Mutex<ArenasState>,
}

#[derive(Debug, Default)]
struct ArenasState {
    last_id: u32,
    /// By first address.
    arenas: BTreeMap<u64, (Announcement, Weak<ArenaMemory>)>,
}

impl Arenas {
    /// The arena that holds the whole range.
    pub(super) fn holder(&self, address: u64, length: u64) -> Option<Arc<ArenaMemory>> {
        let state = self.lock();
        let (start, (announcement, memory)) = state.arenas.range(..=address).next_back()?;
        let end = start + announcement.length;
        if address + length > end {
            return None;
        }
        memory.upgrade()
    }

    /// All of them, for a new peer.
    pub(super) fn announcements(&self) -> Vec<Announcement> {
        self.lock().arenas.values().map(|(announcement, _)| announcement.clone()).collect()
    }

    fn next_id(&self) -> u32 {
        let mut state = self.lock();
        state.last_id += 1;
        state.last_id
    }

    fn insert(&self, memory: &Arc<ArenaMemory>) {
        let record = (memory.announcement(), Arc::downgrade(memory));
        self.lock().arenas.insert(memory.address(), record);
    }

    fn remove(&self, address: u64) {
        self.lock().arenas.remove(&address);
    }

    fn lock(&self) -> MutexGuard<'_, ArenasState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Backing = (OwnedFd, Mapping, bool);

fn small_pages(length: usize) -> Result<Backing, AllocateError> {
    let rounded = rounded(length, PAGE)?;
    // The kernel would rather kill a process than refuse pages of a memory file, so ask beforehand.
    let available = room::available();
    if available.is_some_and(|available| available < rounded as u64) {
        return Err(AllocateError::NoSpace { length, available });
    }
    backing(rounded, false).map_err(|(call, error)| failure(call, error, length))
}

fn huge_pages(length: usize) -> Result<Backing, AllocateError> {
    let rounded = rounded(length, HUGE_PAGE)?;
    let pages = rounded / HUGE_PAGE;
    backing(rounded, true).map_err(|(call, error)| match error {
        // ENOSPC and ENOMEM: too few pages. The others: a kernel without them.
        Errno::ENOSPC | Errno::ENOMEM | Errno::ENODEV | Errno::ENOSYS | Errno::EINVAL | Errno::ENOENT => {
            AllocateError::NoHugePages { pages }
        }
        error => failure(call, error, length),
    })
}

/// Maps before it reserves: a limit of address space is the cheaper refusal.
fn backing(length: usize, huge: bool) -> Result<Backing, (&'static str, Errno)> {
    let file = memory_file(c"pmd-arena", length, huge).map_err(|error| ("memfd_create", error))?;
    let mapping = Mapping::new(&file, length, Protection::ReadWrite).map_err(|error| ("mmap", error))?;
    reserve(&file, length).map_err(|error| ("fallocate", error))?;
    seal(&file, SealFlag::empty()).map_err(|error| ("F_ADD_SEALS", error))?;
    Ok((file, mapping, huge))
}

fn rounded(length: usize, page: usize) -> Result<usize, AllocateError> {
    let rounded = length.checked_next_multiple_of(page).filter(|rounded| isize::try_from(*rounded).is_ok());
    rounded.filter(|_| length > 0).ok_or(AllocateError::Length { length })
}

fn failure(call: &'static str, error: Errno, length: usize) -> AllocateError {
    match error {
        Errno::ENOSPC | Errno::ENOMEM | Errno::EFBIG => {
            AllocateError::NoSpace { length, available: room::available() }
        }
        error => AllocateError::System { call, source: error.into() },
    }
}
