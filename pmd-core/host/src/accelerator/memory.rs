//! The CPU's device memory: memory files, mapped once for everybody's addresses and once for the streams.
#![allow(unsafe_code)] // describes and shares memory

use std::{
    fs::{File, OpenOptions},
    io,
    os::{
        fd::{AsFd, AsRawFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    sync::Arc,
};

use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, AcceleratorKind, DeviceMemory, Pinned, ShareHandle},
    memory::{MemoryKind, RegionDescription, RegionSource},
};

use super::cpu::CpuAccelerator;
use crate::soft::{Mapping, Protection, memory_file};

/// What fresh device memory holds: nobody may count on zeros.
const POISON: u8 = 0xa5;

/// One memory file of a device.
#[derive(Debug)]
pub(super) struct Allocation {
    file: OwnedFd,
    /// Where everybody believes it to be.
    shown: Mapping,
    /// Where streams find it; none where that is the same.
    hidden: Option<Mapping>,
    kind: MemoryKind,
}

impl Allocation {
    pub(super) fn new(length: usize, shielded: bool, kind: MemoryKind) -> io::Result<Self> {
        let file = memory_file(c"pmd-cpu-device", length, false)?;
        let allocation = Self::map(file, length, shielded, kind)?;
        // SAFETY: the mapping is new, and nobody knows of it yet.
        unsafe { allocation.base().write_bytes(POISON, length) };
        Ok(allocation)
    }

    fn map(file: OwnedFd, length: usize, shielded: bool, kind: MemoryKind) -> io::Result<Self> {
        let (shown, hidden) = if shielded {
            let hidden = Mapping::new(&file, length, Protection::ReadWrite)?;
            (Mapping::new(&file, length, Protection::None)?, Some(hidden))
        } else {
            (Mapping::new(&file, length, Protection::ReadWrite)?, None)
        };
        Ok(Self { file, shown, hidden, kind })
    }

    /// First byte, as everybody is told.
    pub(super) fn address(&self) -> u64 {
        self.shown.base().as_ptr() as u64
    }

    pub(super) fn length(&self) -> u64 {
        self.shown.length() as u64
    }

    /// Bytes from `address` to the end, if `address` is inside.
    pub(super) fn bytes_from(&self, address: u64) -> Option<u64> {
        address.checked_sub(self.address()).and_then(|offset| self.length().checked_sub(offset))
    }

    /// Where a stream finds what is told to be at `address`, which is inside.
    pub(super) fn inside(&self, address: u64) -> *mut u8 {
        self.base().wrapping_add((address - self.address()) as usize)
    }

    fn base(&self) -> *mut u8 {
        self.hidden.as_ref().unwrap_or(&self.shown).base().as_ptr()
    }
}

/// A range of an allocation.
#[derive(Debug)]
pub(super) struct CpuMemory {
    pub(super) accelerator: CpuAccelerator,
    pub(super) allocation: Arc<Allocation>,
    pub(super) address: u64,
    pub(super) length: u64,
}

// SAFETY: the range lies in an allocation that the value keeps mapped; no reference to its bytes is ever made.
unsafe impl RegionSource for CpuMemory {
    fn description(&self) -> RegionDescription {
        let Self { address, length, .. } = *self;
        RegionDescription { address, length, kind: self.allocation.kind, descriptor: None }
    }
}

impl DeviceMemory for CpuMemory {
    fn accelerator(&self) -> Arc<dyn Accelerator> {
        Arc::new(self.accelerator.clone())
    }

    fn without_descriptor(&self) -> Option<&AcceleratorError> {
        static REASON: AcceleratorError = AcceleratorError::Unsupported {
            kind: AcceleratorKind::Cpu,
            what: "export a dma-buf",
            why: "its memory is a memory file's",
        };
        (self.allocation.kind == MemoryKind::Device).then_some(&REASON)
    }

    fn share(&self) -> Result<ShareHandle, AcceleratorError> {
        if self.allocation.kind != MemoryKind::Device {
            let (kind, what) = (AcceleratorKind::Cpu, "share pinned memory");
            return Err(AcceleratorError::Unsupported { kind, what, why: "it is the host's" });
        }
        let file = &self.allocation.file;
        let inode = inode(file.as_fd()).map_err(|error| failed("fstat", &error))?;
        let name = FileName { process: std::process::id(), descriptor: file.as_raw_fd(), inode };
        Ok(ShareHandle {
            kind: AcceleratorKind::Cpu,
            device: self.accelerator.identity().unique,
            opaque: name.to_bytes().to_vec(),
            offset: self.address - self.allocation.address(),
            length: self.length,
        })
    }
}

/// Maps what another process shares.
pub(super) fn open(handle: &ShareHandle, shielded: bool) -> Result<Allocation, AcceleratorError> {
    let gone = AcceleratorError::Gone { kind: AcceleratorKind::Cpu };
    let name = FileName::from_bytes(&handle.opaque).ok_or_else(|| gone.clone())?;
    let FileName { process, descriptor, inode: wanted } = name;
    let path = format!("/proc/{process}/fd/{descriptor}");
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(|_| gone.clone())?;
    // The number may be that of another file by now.
    let found = file.metadata().map_err(|error| failed("fstat", &error))?;
    let end = handle.offset.checked_add(handle.length);
    if found.ino() != wanted || end.is_none_or(|end| end > found.len()) {
        return Err(gone);
    }
    let length = usize::try_from(found.len()).map_err(|_| gone)?;
    let allocation = Allocation::map(file.into(), length, shielded, MemoryKind::Device);
    allocation.map_err(|error| failed("mmap", &error))
}

fn inode(file: impl AsFd) -> io::Result<u64> {
    Ok(File::from(file.as_fd().try_clone_to_owned()?).metadata()?.ino())
}

/// How a handle names a memory file: a descriptor of its owner's, and the file that it must be.
#[derive(Clone, Copy)]
struct FileName {
    process: u32,
    descriptor: i32,
    inode: u64,
}

impl FileName {
    fn to_bytes(self) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..4].copy_from_slice(&self.process.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.descriptor.to_le_bytes());
        bytes[8..].copy_from_slice(&self.inode.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 16 {
            return None;
        }
        Some(Self {
            process: u32::from_le_bytes(*bytes[..4].first_chunk()?),
            descriptor: i32::from_le_bytes(*bytes[4..8].first_chunk()?),
            inode: u64::from_le_bytes(*bytes[8..].first_chunk()?),
        })
    }
}

/// Memory of this process cannot be locked any further: it is the processor that copies.
#[derive(Debug)]
pub(super) struct CpuPinned;

impl Pinned for CpuPinned {}

/// A system call in the role of a runtime's function.
pub(super) fn failed(function: &'static str, error: &io::Error) -> AcceleratorError {
    let (kind, code) = (AcceleratorKind::Cpu, i64::from(error.raw_os_error().unwrap_or(0)));
    AcceleratorError::Runtime { kind, function, code, name: error.kind().to_string() }
}
