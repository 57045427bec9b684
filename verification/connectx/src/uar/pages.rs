//! Which pages of this process are registers. Read in a signal handler: nothing here locks or allocates.
#![allow(unsafe_code)] // maps and protects pages

use std::ptr;

use pmd_core::sync::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::MmapRequest;
use crate::errno::Errno;

/// Bytes of a UAR page.
pub(super) const PAGE_BYTES: usize = 4096;
/// Pages that a process can have mapped.
const PAGES_MAX: usize = 1024;
/// Where the doorbell and BlueFlame registers begin.
pub(super) const REGISTERS_START: usize = 0x800;
/// Bytes of half a BlueFlame register; drivers use the halves in turn.
pub(super) const HALF_BYTES: usize = 256;
/// Halves in a page: four registers of two.
pub(super) const HALVES: usize = 8;
/// An entry that is being filled in: no page has this address.
const CLAIMED: usize = 1;

/// How a page may be stored to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// Doorbells, and whole WQEs by BlueFlame.
    BlueFlame,
    /// Doorbells only.
    NonCached,
}

/// The pages of this process.
pub(super) static PAGES: Pages = Pages::new();

/// One page.
#[derive(Debug)]
pub(super) struct Page {
    address: AtomicUsize,
    blue_flame: AtomicU32,
    /// What was last rung in each half: whom following BlueFlame words belong to.
    rung: [AtomicU64; HALVES],
}

impl Page {
    const fn new() -> Self {
        Self {
            address: AtomicUsize::new(0),
            blue_flame: AtomicU32::new(0),
            rung: [const { AtomicU64::new(0) }; HALVES],
        }
    }

    /// Where it is mapped.
    pub(super) fn address(&self) -> usize {
        self.address.load(Ordering::Acquire)
    }

    /// How it may be stored to.
    pub(super) fn kind(&self) -> PageKind {
        if self.blue_flame.load(Ordering::Relaxed) == 0 { PageKind::NonCached } else { PageKind::BlueFlame }
    }

    /// The last doorbell of a half.
    pub(super) fn rung(&self, half: usize) -> &AtomicU64 {
        &self.rung[half]
    }
}

/// A table of pages.
#[derive(Debug)]
pub(super) struct Pages {
    pages: [Page; PAGES_MAX],
    /// Entries from this one on were never used.
    used: AtomicUsize,
}

impl Pages {
    pub(super) const fn new() -> Self {
        Self { pages: [const { Page::new() }; PAGES_MAX], used: AtomicUsize::new(0) }
    }

    /// The page that holds this address, and the offset in it.
    pub(super) fn find(&self, address: usize) -> Option<(&Page, usize)> {
        let start = address & !(PAGE_BYTES - 1);
        let page = self.mapped().find(|page| page.address() == start)?;
        Some((page, address - start))
    }

    /// All pages.
    pub(super) fn mapped(&self) -> impl Iterator<Item = &Page> {
        let used = self.used.load(Ordering::Acquire);
        self.pages[..used].iter().filter(|page| page.address() > CLAIMED)
    }

    /// Adds the page at an address; false when the table is full.
    pub(super) fn add(&self, address: usize, kind: PageKind) -> bool {
        let claim = |page: &Page| {
            page.address.compare_exchange(0, CLAIMED, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        let Some(index) = self.pages.iter().position(claim) else { return false };
        let page = &self.pages[index];
        page.blue_flame.store(u32::from(kind == PageKind::BlueFlame), Ordering::Relaxed);
        page.rung.iter().for_each(|rung| rung.store(0, Ordering::Relaxed));
        page.address.store(address, Ordering::Release);
        self.used.fetch_max(index + 1, Ordering::AcqRel);
        true
    }

    /// Takes out the pages that begin in a range.
    pub(super) fn forget(&self, address: usize, length: usize) {
        self.in_range(address, length).for_each(|page| page.address.store(0, Ordering::Release));
    }

    /// Whether a page begins in a range.
    pub(super) fn any_in(&self, address: usize, length: usize) -> bool {
        self.in_range(address, length).next().is_some()
    }

    fn in_range(&self, address: usize, length: usize) -> impl Iterator<Item = &Page> {
        let range = address..address.saturating_add(length);
        self.mapped().filter(move |page| range.contains(&page.address()))
    }
}

/// Maps zeroed memory and enters its pages; `trapped` makes every store to it fault.
pub(super) fn map(trapped: bool, kind: PageKind, request: &MmapRequest) -> Result<*mut libc::c_void, Errno> {
    if request.length == 0 || !request.length.is_multiple_of(PAGE_BYTES) {
        return Err(Errno(libc::EINVAL));
    }
    let protection = if trapped { libc::PROT_READ } else { libc::PROT_READ | libc::PROT_WRITE };
    let start = map_memory(request, protection)?;
    // A child after fork has no registers, as the kernel has it (VM_DONTCOPY).
    // SAFETY: the range was just mapped.
    unsafe { libc::madvise(start, request.length, libc::MADV_DONTFORK) };
    let mut addresses = (start as usize..start as usize + request.length).step_by(PAGE_BYTES);
    if addresses.all(|address| PAGES.add(address, kind)) {
        return Ok(start);
    }
    PAGES.forget(start as usize, request.length);
    // SAFETY: just mapped, and not handed out.
    unsafe { libc::syscall(libc::SYS_munmap, start, request.length) };
    Err(Errno(libc::ENOMEM))
}

/// By system call: the C library's mmap is the one that `shim` interposes.
fn map_memory(request: &MmapRequest, protection: libc::c_int) -> Result<*mut libc::c_void, Errno> {
    let fixed = request.flags & (libc::MAP_FIXED | libc::MAP_FIXED_NOREPLACE);
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed;
    // SAFETY: a new mapping; where it replaces another one, the driver asked for that.
    let address = unsafe {
        libc::syscall(libc::SYS_mmap, request.address, request.length, protection, flags, -1, 0usize)
    };
    if address == -1 { Err(Errno::last()) } else { Ok(ptr::with_exposed_provenance_mut(address as usize)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_found_by_any_address_in_them_until_they_are_forgotten() {
        let pages = Pages::new();
        assert!(pages.add(0x10_000, PageKind::BlueFlame) && pages.add(0x11_000, PageKind::NonCached));
        let found = |address| pages.find(address).map(|(page, offset)| (page.kind(), offset));
        assert_eq!(found(0x10_820), Some((PageKind::BlueFlame, 0x820)));
        assert_eq!(found(0x11_fff), Some((PageKind::NonCached, 0xfff)));
        assert_eq!(found(0x12_000), None);
        pages.forget(0x10_000, PAGE_BYTES);
        assert_eq!(found(0x10_820), None);
        assert_eq!(found(0x11_020), Some((PageKind::NonCached, 0x20)));
    }

    #[test]
    fn a_full_table_refuses() {
        let pages = Pages::new();
        let fits = (1..).take_while(|index| pages.add(index * PAGE_BYTES, PageKind::NonCached)).count();
        assert_eq!(fits, PAGES_MAX);
    }

    #[test]
    fn lengths_are_whole_pages() {
        let request = MmapRequest { address: 0, length: 100, flags: libc::MAP_SHARED };
        assert_eq!(map(true, PageKind::BlueFlame, &request), Err(Errno(libc::EINVAL)));
    }
}
