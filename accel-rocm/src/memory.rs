//! Memory of the device and pinned memory of the host: made, adopted, shared, opened. Called by `accelerator`.
#![allow(unsafe_code)] // calls the runtime, describes memory to the registrar

use core::ffi::{c_int, c_void};
use core::ptr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use hip_sys::hip::{self, hipError_t};
use hip_sys::{
    ExportDmabuf, HIP_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, HSA_STATUS_SUCCESS, MemGetHandleForAddressRange,
    MemoryType,
};
use pmd_core::accelerator::{Accelerator, AcceleratorError, AcceleratorKind, DeviceMemory, ShareHandle};
use pmd_core::memory::{MemoryKind, RegionDescription, RegionSource};

use crate::accelerator::{RocmAccelerator, Shared};
use crate::import::Import;
use crate::runtime::{Hip, meaning, unsupported};

/// The kernel exports whole pages.
const PAGE: u64 = 4096;

/// What the runtime answers for an address that it does not know.
pub(crate) const UNKNOWN_ADDRESS: [hipError_t; 2] =
    [hip::hipErrorInvalidValue, hip::hipErrorInvalidDevicePointer];

/// A range that the device reaches.
#[derive(Debug)]
pub(crate) struct Memory {
    shared: Arc<Shared>,
    address: u64,
    length: u64,
    allocation: Allocation,
    origin: Origin,
    /// A descriptor of the allocation and where the range begins in it; made when it is first described.
    dma_buf: OnceLock<Result<(OwnedFd, u64), AcceleratorError>>,
}

/// What the runtime allocated, of which a range may be a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    pub(crate) base: u64,
    pub(crate) size: u64,
}

/// Where a range is from, which decides what dropping it does.
#[derive(Debug)]
enum Origin {
    Allocated,
    Pinned,
    Adopted,
    Imported { handle: ShareHandle, import: Import },
}

impl Memory {
    pub(crate) fn allocate(shared: &Arc<Shared>, length: u64) -> Result<Self, AcceleratorError> {
        let address = allocate(shared, length, "hipMalloc", |hip, address, size| {
            // SAFETY: writes one pointer.
            unsafe { hip.hipMalloc(address, size) }
        })?;
        Ok(Self::whole(shared, address, length, Origin::Allocated))
    }

    pub(crate) fn allocate_pinned(shared: &Arc<Shared>, length: u64) -> Result<Self, AcceleratorError> {
        let address = allocate(shared, length, "hipHostMalloc", |hip, address, size| {
            // SAFETY: writes one pointer.
            unsafe { hip.hipHostMalloc(address, size, hip::hipHostMallocPortable) }
        })?;
        Ok(Self::whole(shared, address, length, Origin::Pinned))
    }

    /// # Safety
    /// The range stays allocated for as long as the value and everything registered from it lives.
    pub(crate) unsafe fn adopt(
        shared: &Arc<Shared>,
        address: u64,
        length: u64,
    ) -> Result<Self, AcceleratorError> {
        check_range(address, length)?;
        let _current = shared.current()?;
        let allocation = find_on_device(shared, address)?;
        let available = allocation.base + allocation.size - address;
        if length > available {
            return Err(AcceleratorError::Range { address, length, available: Some(available) });
        }
        Ok(Self::part(shared, address, length, allocation, Origin::Adopted))
    }

    pub(crate) fn import(shared: &Arc<Shared>, handle: &ShareHandle) -> Result<Self, AcceleratorError> {
        let import = shared.imports.open(shared, handle)?;
        let allocation = import.allocation();
        let inside = handle.offset.checked_add(handle.length).is_some_and(|end| end <= allocation.size);
        if handle.length == 0 || !inside {
            let available = Some(allocation.size.saturating_sub(handle.offset));
            shared.imports.close(shared, import);
            return Err(AcceleratorError::Range { address: handle.offset, length: handle.length, available });
        }
        let address = allocation.base + handle.offset;
        let origin = Origin::Imported { handle: handle.clone(), import };
        Ok(Self::part(shared, address, handle.length, allocation, origin))
    }

    /// A range that is its whole allocation.
    fn whole(shared: &Arc<Shared>, address: u64, length: u64, origin: Origin) -> Self {
        Self::part(shared, address, length, Allocation { base: address, size: length }, origin)
    }

    fn part(shared: &Arc<Shared>, address: u64, length: u64, allocation: Allocation, origin: Origin) -> Self {
        Self { shared: Arc::clone(shared), address, length, allocation, origin, dma_buf: OnceLock::new() }
    }

    fn is_pinned(&self) -> bool {
        matches!(self.origin, Origin::Pinned)
    }

    /// Exported when it is first asked for: a descriptor costs the process one of a few thousand.
    fn dma_buf(&self) -> &Result<(OwnedFd, u64), AcceleratorError> {
        self.dma_buf.get_or_init(|| {
            let newer = self.shared.hip.newer();
            let _current = self.shared.current()?;
            match (newer.hipMemGetHandleForAddressRange, newer.hsa_amd_portable_export_dmabuf) {
                (Some(hip), None) => self.export_by_hip(hip),
                (None, Some(hsa)) => self.export_by_hsa(hsa),
                (Some(hip), Some(hsa)) => self.export_by_hip(hip).or_else(|_| self.export_by_hsa(hsa)),
                (None, None) => Err(no_dma_buf()),
            }
        })
    }

    /// The pages of the whole allocation.
    fn export_by_hip(&self, export: MemGetHandleForAddressRange) -> Result<(OwnedFd, u64), AcceleratorError> {
        let Allocation { base, size } = self.allocation;
        let first = base / PAGE * PAGE;
        let pages = (base + size).next_multiple_of(PAGE) - first;
        let mut descriptor: c_int = -1;
        // SAFETY: writes one int for this type of handle; the allocation is the caller's or ours, and lives.
        let code = unsafe {
            export(
                (&raw mut descriptor).cast(),
                pointer(first),
                pages as usize,
                HIP_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD,
                0,
            )
        };
        self.shared.hip.check("hipMemGetHandleForAddressRange", Ok(code))?;
        Ok((own(descriptor)?, self.address - first))
    }

    /// The range, of which the runtime says where it begins.
    fn export_by_hsa(&self, export: ExportDmabuf) -> Result<(OwnedFd, u64), AcceleratorError> {
        let (mut descriptor, mut offset): (c_int, u64) = (-1, 0);
        // SAFETY: writes one int and one 64-bit number; the range is allocated.
        let status =
            unsafe { export(pointer(self.address), self.length as usize, &mut descriptor, &mut offset) };
        if status != HSA_STATUS_SUCCESS {
            return Err(AcceleratorError::Runtime {
                kind: AcceleratorKind::Rocm,
                function: "hsa_amd_portable_export_dmabuf",
                code: status.into(),
                name: "a status of the HSA runtime".to_owned(),
            });
        }
        Ok((own(descriptor)?, offset))
    }

    /// Why `hipIpcGetMemHandle` may have refused: memory that is gone, or that cannot be shared.
    fn refusal(&self, error: AcceleratorError) -> AcceleratorError {
        const REFUSED: [hipError_t; 3] = [UNKNOWN_ADDRESS[0], UNKNOWN_ADDRESS[1], hip::hipErrorNotSupported];
        meaning(error, &REFUSED, || match find_on_device(&self.shared, self.address) {
            Err(gone) => gone,
            Ok(_) => unsupported("share this memory", "only what hipMalloc gave has an IPC handle"),
        })
    }
}

// SAFETY: what was allocated or opened stays so until the value is dropped, what was adopted by its adopter's promise; the
// descriptor was exported for that very memory; no Rust reference to any of it is made.
unsafe impl RegionSource for Memory {
    fn description(&self) -> RegionDescription {
        let pinned = self.is_pinned();
        let dma_buf = if pinned { None } else { self.dma_buf().as_ref().ok() };
        RegionDescription {
            address: self.address,
            length: self.length,
            kind: if pinned { MemoryKind::Host } else { MemoryKind::Device },
            descriptor: dma_buf.map(|(descriptor, offset)| (descriptor.as_raw_fd(), *offset)),
        }
    }
}

impl DeviceMemory for Memory {
    fn accelerator(&self) -> Arc<dyn Accelerator> {
        RocmAccelerator::of(&self.shared)
    }

    fn without_descriptor(&self) -> Option<&AcceleratorError> {
        if self.is_pinned() { None } else { self.dma_buf().as_ref().err() }
    }

    fn share(&self) -> Result<ShareHandle, AcceleratorError> {
        match &self.origin {
            Origin::Pinned => {
                return Err(unsupported("share pinned memory", "HIP has IPC handles of device memory only"));
            }
            Origin::Imported { handle, .. } => return Ok(handle.clone()),
            Origin::Allocated | Origin::Adopted => {}
        }
        let _current = self.shared.current()?;
        let (hip, mut handle) = (self.shared.hip, hip::hipIpcMemHandle_t::default());
        // SAFETY: writes one handle; an address that is not the device's is refused.
        let answer = unsafe { hip.hipIpcGetMemHandle(&mut handle, pointer(self.allocation.base)) };
        hip.check("hipIpcGetMemHandle", answer).map_err(|error| self.refusal(error))?;
        Ok(ShareHandle {
            kind: AcceleratorKind::Rocm,
            device: self.shared.identity.unique,
            opaque: handle.reserved.map(core::ffi::c_char::cast_unsigned).to_vec(),
            offset: self.address - self.allocation.base,
            length: self.length,
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        drop(self.dma_buf.take());
        let hip = self.shared.hip;
        // What cannot be freed stays the runtime's until the process ends: nobody could be told.
        match &self.origin {
            Origin::Adopted => {}
            Origin::Imported { import, .. } => self.shared.imports.close(&self.shared, *import),
            Origin::Allocated | Origin::Pinned => {
                self.shared.outstanding.wait_for_copies();
                let Ok(_current) = self.shared.current() else { return };
                let _ = if self.is_pinned() {
                    // SAFETY: hipHostMalloc gave it, and this is its only owner.
                    hip.check("hipHostFree", unsafe { hip.hipHostFree(pointer(self.address)) })
                } else {
                    // SAFETY: hipMalloc gave it, and this is its only owner.
                    hip.check("hipFree", unsafe { hip.hipFree(pointer(self.address)) })
                };
            }
        }
    }
}

/// Calls an allocator of the runtime with the device as current one.
pub(crate) fn allocate(
    shared: &Shared,
    length: u64,
    function: &'static str,
    allocator: impl FnOnce(Hip, *mut *mut c_void, usize) -> crate::runtime::Answer,
) -> Result<u64, AcceleratorError> {
    if length == 0 {
        return Err(AcceleratorError::Range { address: 0, length, available: None });
    }
    shared.imports.reap(shared);
    let _current = shared.current()?;
    let mut address = ptr::null_mut();
    let answer = allocator(shared.hip, &mut address, length as usize);
    shared.hip.check(function, answer).map_err(|error| {
        meaning(error, &[hip::hipErrorOutOfMemory], || AcceleratorError::OutOfMemory {
            kind: AcceleratorKind::Rocm,
            wanted: length,
        })
    })?;
    Ok(address.expose_provenance() as u64)
}

/// Refuses empty ranges and those beyond 2^64.
pub(crate) const fn check_range(address: u64, length: u64) -> Result<(), AcceleratorError> {
    match address.checked_add(length) {
        Some(_) if length > 0 => Ok(()),
        _ => Err(AcceleratorError::Range { address, length, available: None }),
    }
}

/// The allocation of this device that holds an address.
fn find_on_device(shared: &Shared, address: u64) -> Result<Allocation, AcceleratorError> {
    let (hip, kind) = (shared.hip, AcceleratorKind::Rocm);
    let unknown = || AcceleratorError::NotDeviceMemory { kind, address };
    let mut attributes = hip::hipPointerAttribute_t::default();
    // SAFETY: writes the attributes; any address may be asked for.
    let answer = unsafe { hip.hipPointerGetAttributes(&mut attributes, pointer(address)) };
    hip.check("hipPointerGetAttributes", answer)
        .map_err(|error| meaning(error, &UNKNOWN_ADDRESS, unknown))?;
    let found = attributes.device.cast_unsigned();
    match hip.memory_type(attributes.memoryType) {
        _ if attributes.isManaged != 0 => Err(AcceleratorError::Managed { address }),
        MemoryType::Managed => Err(AcceleratorError::Managed { address }),
        MemoryType::Device if found != shared.identity.ordinal => {
            Err(AcceleratorError::WrongDevice { address, found, wanted: shared.identity.ordinal })
        }
        MemoryType::Device => allocation_of(hip, address),
        MemoryType::Host | MemoryType::Unregistered | MemoryType::Unknown => Err(unknown()),
    }
}

/// Where the allocation that holds an address begins, and its size.
pub(crate) fn allocation_of(hip: Hip, address: u64) -> Result<Allocation, AcceleratorError> {
    let (mut base, mut size) = (ptr::null_mut(), 0_usize);
    // SAFETY: writes a pointer and a number; any address may be asked for.
    let answer = unsafe { hip.hipMemGetAddressRange(&mut base, &mut size, pointer(address)) };
    let unknown = || AcceleratorError::NotDeviceMemory { kind: AcceleratorKind::Rocm, address };
    hip.check("hipMemGetAddressRange", answer).map_err(|error| meaning(error, &UNKNOWN_ADDRESS, unknown))?;
    let base = base.addr() as u64;
    let holds = base <= address && address - base < size as u64;
    holds.then_some(Allocation { base, size: size as u64 }).ok_or_else(unknown)
}

/// An address as the runtime's functions take it.
pub(crate) fn pointer(address: u64) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address as usize)
}

/// A descriptor that the runtime opened for its caller.
fn own(descriptor: c_int) -> Result<OwnedFd, AcceleratorError> {
    if descriptor < 0 {
        return Err(unsupported(EXPORT, "the runtime said that it did, and gave no descriptor"));
    }
    // SAFETY: open, and the caller's to close.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

const EXPORT: &str = "export a dma-buf";

/// Neither way is there.
fn no_dma_buf() -> AcceleratorError {
    unsupported(
        EXPORT,
        "it needs hipMemGetHandleForAddressRange (ROCm 7) or hsa_amd_portable_export_dmabuf (ROCm 5.6)",
    )
}
