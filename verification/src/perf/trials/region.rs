//! Memory of a trial, by what is behind it.
#![allow(unsafe_code)] // maps memory

use std::{fs, num::NonZeroUsize, os::fd::OwnedFd, ptr::NonNull, time::Instant};

use nix::sys::{
    memfd::{MFdFlags, memfd_create},
    mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap},
};

use super::{TrialError, kernel::Move};
use crate::perf::copy::permutation;

/// What is behind a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Backing {
    /// Nothing: what a heap and NumPy have.
    Anonymous,
    /// A memory file with storage: what arenas have.
    File,
    /// A memory file of 2 MiB pages, which an administrator sets aside.
    HugeFile,
}

/// Mapped memory, and its file.
#[derive(Debug)]
pub(super) struct Region {
    base: NonNull<u8>,
    length: NonZeroUsize,
    _file: Option<OwnedFd>,
}

impl Region {
    /// Maps `length` bytes, of which no page is filled in.
    pub(super) fn map(backing: Backing, length: usize) -> Result<Self, TrialError> {
        let length = NonZeroUsize::new(length).unwrap_or(NonZeroUsize::MIN);
        Self::of(storage(backing, length)?, length, MapFlags::empty())
    }

    /// Maps `length` bytes with more flags and hands them to `then`; gives the nanoseconds that both took. A file and its
    /// storage are made before.
    pub(super) fn timed(
        backing: Backing,
        length: usize,
        more: MapFlags,
        then: impl Fn(&mut Self) -> Result<(), TrialError>,
    ) -> Result<(Self, f64), TrialError> {
        let length = NonZeroUsize::new(length).unwrap_or(NonZeroUsize::MIN);
        let file = storage(backing, length)?;
        let start = Instant::now();
        let mut region = Self::of(file, length, more)?;
        then(&mut region)?;
        Ok((region, start.elapsed().as_secs_f64() * 1e9))
    }

    fn of(file: Option<OwnedFd>, length: NonZeroUsize, more: MapFlags) -> Result<Self, TrialError> {
        let rights = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: new mappings where nothing is.
        let base = unsafe {
            match &file {
                None => mmap_anonymous(None, length, rights, MapFlags::MAP_PRIVATE | more),
                Some(file) => mmap(None, length, rights, MapFlags::MAP_SHARED | more, file, 0),
            }
        };
        let base = base.map_err(TrialError::system("mmap"))?.cast();
        Ok(Self { base, length, _file: file })
    }

    /// Stores into each page of `page` bytes. A loop over addresses: iterators cost more than the stores where nothing is
    /// optimised.
    pub(super) fn touch(&mut self, page: usize) {
        let mut offset = 0;
        while offset < self.length.get() {
            // SAFETY: within the mapping, which is borrowed alone.
            unsafe { self.base.as_ptr().wrapping_add(offset).write_volatile(1) };
            offset += page;
        }
    }

    /// With this advice, whose failure is told.
    pub(super) fn advise(&self, advice: MmapAdvise) -> Result<(), TrialError> {
        // SAFETY: the range is this mapping's; what is advised here changes no byte.
        unsafe { madvise(self.base.cast(), self.length.get(), advice) }.map_err(TrialError::system("madvise"))
    }

    /// All of its bytes; whoever has them is alone with the region.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: mapped for reading and writing for as long as the region lives, zeroed at first, and borrowed with it.
        unsafe { std::slice::from_raw_parts_mut(self.base.as_ptr(), self.length.get()) }
    }

    /// First byte.
    pub(super) fn base(&self) -> *mut u8 {
        self.base.as_ptr()
    }

    /// Fills each block of `block_bytes` with what tells it from the others.
    pub(super) fn number(&mut self, block_bytes: usize) {
        for (number, block) in self.bytes().chunks_exact_mut(block_bytes).enumerate() {
            block.fill(mark(number));
            let head = (number as u64).to_ne_bytes();
            block[..head.len()].copy_from_slice(&head);
        }
    }

    /// Bytes of it that are in huge pages, as the kernel counts them; none where it does not tell.
    pub(super) fn huge_bytes(&self) -> u64 {
        let text = fs::read_to_string("/proc/self/smaps").unwrap_or_default();
        huge_bytes(&text, self.base.as_ptr().addr()).min(self.length.get() as u64)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped by `of`, and nobody has its bytes any more.
        let _ = unsafe { munmap(self.base.cast(), self.length.get()) };
    }
}

/// A memory file that has its storage, as an arena's has; none for anonymous memory.
fn storage(backing: Backing, length: NonZeroUsize) -> Result<Option<OwnedFd>, TrialError> {
    if backing == Backing::Anonymous {
        return Ok(None);
    }
    let huge = MFdFlags::MFD_HUGETLB | MFdFlags::MFD_HUGE_2MB;
    let flags = if backing == Backing::HugeFile { huge } else { MFdFlags::empty() };
    let file = memfd_create(c"pmd-trial", MFdFlags::MFD_CLOEXEC | flags);
    let file = file.map_err(TrialError::system("memfd_create"))?;
    let bytes = length.get() as i64;
    nix::unistd::ftruncate(&file, bytes).map_err(TrialError::system("ftruncate"))?;
    let mode = nix::fcntl::FallocateFlags::empty();
    nix::fcntl::fallocate(&file, mode, 0, bytes).map_err(TrialError::system("fallocate"))?;
    Ok(Some(file))
}

/// What a block's bytes are, but for its first eight.
fn mark(number: usize) -> u8 {
    (number % 251) as u8
}

/// Whether `blocks` holds block `number` of [`Region::number`].
pub(super) fn is_block(block: &[u8], number: usize) -> bool {
    let (head, rest) = block.split_at(8);
    head == (number as u64).to_ne_bytes() && rest.iter().all(|byte| *byte == mark(number))
}

/// A move for each block of `block_bytes`, in the order of the source, to a permutation's places in the target.
pub(super) fn permuted(source: &mut Region, target: &mut Region, block_bytes: usize) -> Vec<Move> {
    let blocks = source.length.get().min(target.length.get()) / block_bytes;
    let order = permutation(blocks);
    let at = |base: *mut u8, block: usize| base.wrapping_add(block * block_bytes);
    let each = |(block, place): (usize, &usize)| Move {
        from: at(source.base(), block).cast_const(),
        to: at(target.base(), *place),
    };
    order.iter().enumerate().map(each).collect()
}

/// Whether the moves of [`permuted`] have put a numbered source's blocks where they belong.
pub(super) fn is_permuted(target: &mut Region, block_bytes: usize) -> bool {
    let bytes = target.bytes();
    let order = permutation(bytes.len() / block_bytes);
    order
        .iter()
        .enumerate()
        .all(|(block, place)| is_block(&bytes[place * block_bytes..][..block_bytes], block))
}

/// Bytes in huge pages of the mapping that holds `address`, from what /proc/self/smaps says.
pub(super) fn huge_bytes(smaps: &str, address: usize) -> u64 {
    let (mut inside, mut kibibytes) = (false, 0);
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let (Some(first), second) = (words.next(), words.next()) else { continue };
        if let Some((start, end)) = first.split_once('-') {
            let parse = |text| usize::from_str_radix(text, 16).ok();
            inside = matches!((parse(start), parse(end)), (Some(start), Some(end)) if (start..end).contains(&address));
        } else if inside && ["AnonHugePages:", "ShmemPmdMapped:"].contains(&first) {
            kibibytes += second.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    kibibytes << 10
}
