//! Anonymous memory files and their mappings: what segments, links and arenas are made of.
#![allow(unsafe_code)] // maps and unmaps memory

use std::{
    ffi::CStr,
    num::NonZeroUsize,
    os::fd::{AsFd, OwnedFd},
    ptr::NonNull,
};

use nix::{
    errno::Errno,
    fcntl::{FallocateFlags, FcntlArg, SealFlag, fallocate, fcntl},
    sys::{
        memfd::{MFdFlags, memfd_create},
        mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, munmap},
        stat::{Mode, fchmod, fstat},
    },
};
use pmd_core::accelerator::{AcceleratorError, Pinned};

use super::device_memory::Accelerators;

/// Bytes of a small page on every supported machine's default configuration; layouts are multiples of it.
pub(super) const PAGE: usize = 4096;

/// Memory of a file, mapped shared. Unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    length: NonZeroUsize,
    /// Page-locks for accelerators, which go before the mapping does.
    pins: Vec<Box<dyn Pinned>>,
}

// SAFETY: a mapping is an address range of the process, not of a thread; who may touch its bytes is the business of
// those who take pointers from it. Page-locks are `Send` and `Sync` themselves.
unsafe impl Send for Mapping {}
// SAFETY: as above; the methods that take a shared reference only read the fields.
unsafe impl Sync for Mapping {}

/// What this process may do through a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// No access: the address range only.
    None,
    Read,
    ReadWrite,
}

impl Mapping {
    /// Maps the first `length` bytes of `file`.
    pub(crate) fn new(file: impl AsFd, length: usize, protection: Protection) -> Result<Self, Errno> {
        let length = NonZeroUsize::new(length).ok_or(Errno::EINVAL)?;
        let flags = match protection {
            Protection::None => ProtFlags::PROT_NONE,
            Protection::Read => ProtFlags::PROT_READ,
            Protection::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        };
        // SAFETY: the kernel chooses the address, so nothing mapped before is replaced.
        let base = unsafe { mmap(None, length, flags, MapFlags::MAP_SHARED, file, 0)? };
        Ok(Self { base: base.cast(), length, pins: Vec::new() })
    }

    /// Page-locks all of it for these accelerators, so that their copies need no piece of pinned memory in between; of all
    /// or of none.
    pub(super) fn pin(&mut self, accelerators: &Accelerators) -> Result<(), AcceleratorError> {
        let (address, length) = (self.base.as_ptr() as u64, self.length() as u64);
        let all = (0..accelerators.count()).filter_map(|index| accelerators.at(index));
        // SAFETY: mapped until `drop`, which lets go of the locks first.
        let pins = all.map(|accelerator| unsafe { accelerator.pin(address, length) });
        self.pins = pins.collect::<Result<_, _>>()?;
        Ok(())
    }

    /// First byte; valid while the mapping lives.
    pub(crate) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes.
    pub(crate) fn length(&self) -> usize {
        self.length.get()
    }

    /// Whether it was page-locked, for every accelerator of the device.
    pub(super) fn is_pinned(&self) -> bool {
        !self.pins.is_empty()
    }

    /// Fills in the page tables, so that later accesses do not fault one page at a time.
    pub(super) fn populate(&self) -> Result<(), Errno> {
        pieces(self.base.as_ptr() as u64, self.length() as u64).try_for_each(|(start, bytes)| {
            let offset = (start - self.base.as_ptr() as u64) as usize;
            // SAFETY: the piece lies in this mapping; populating changes no byte.
            unsafe {
                madvise(self.base.byte_add(offset).cast(), bytes as usize, MmapAdvise::MADV_POPULATE_WRITE)
            }
        })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // A runtime keeps what is page-locked in its tables, and would find another mapping under the address later.
        self.pins.clear();
        // SAFETY: the range was mapped by `new` and its owner is going away. The only failure is a range that is
        // not page-aligned, which mmap does not return.
        let _ = unsafe { munmap(self.base.cast(), self.length.get()) };
    }
}

/// Bytes whose pages one call fills in.
///
/// Meanwhile the kernel keeps the process from mapping anything, and gigabytes take seconds: a lane that has to map the
/// memory of a new link would wait so long that its peer gives the link up.
const POPULATED_AT_ONCE: u64 = 32 << 20;

/// A range in pieces, start and length, for the calls that fill in its pages.
pub(super) fn pieces(start: u64, bytes: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..bytes.div_ceil(POPULATED_AT_ONCE)).map(move |index| {
        let offset = index * POPULATED_AT_ONCE;
        (start + offset, POPULATED_AT_ONCE.min(bytes - offset))
    })
}

/// Creates a memory file of `length` bytes (`huge`: of 2 MiB pages), zeroed, nameless but for `label` in /proc.
/// It has no storage yet. Nobody but this user can open it again by a descriptor's name in /proc.
pub(crate) fn memory_file(label: &CStr, length: usize, huge: bool) -> Result<OwnedFd, Errno> {
    let mut flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    if huge {
        flags |= MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_2MB;
    }
    let file = memfd_create(label, flags)?;
    fchmod(&file, Mode::S_IRUSR | Mode::S_IWUSR)?;
    nix::unistd::ftruncate(&file, i64::try_from(length).map_err(|_| Errno::EFBIG)?)?;
    Ok(file)
}

/// Gives a memory file its storage now, so that a shortage is an error here and not a signal at the first touch.
pub(super) fn reserve(file: &OwnedFd, length: usize) -> Result<(), Errno> {
    let length = i64::try_from(length).map_err(|_| Errno::EFBIG)?;
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, length) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Fixes a file's size for good, so that no mapping of it can lose its pages; `more` seals besides. Nobody can add
/// another seal later.
pub(super) fn seal(file: &OwnedFd, more: SealFlag) -> Result<(), Errno> {
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL | more;
    fcntl(file, FcntlArg::F_ADD_SEALS(seals)).map(drop)
}

/// Size of a file that came from a peer, or `None` if it could shrink under a mapping.
pub(super) fn sealed_length(file: &OwnedFd) -> Option<usize> {
    let seals = fcntl(file, FcntlArg::F_GET_SEALS).ok()?;
    if !SealFlag::from_bits_retain(seals).contains(SealFlag::F_SEAL_SHRINK) {
        return None;
    }
    usize::try_from(fstat(file).ok()?.st_size).ok()
}
