//! Memory that the device reaches: allocated, pinned, adopted or opened from another process. Made by
//! [`CudaAccelerator`], described to `pmd-host` for registration.
#![allow(unsafe_code)] // calls into the driver's C interface; describes memory on the driver's word

mod dma_buf;
mod ipc;
mod mapped;
mod pointer;

use core::ffi::c_uint;
use std::sync::Arc;

use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, AcceleratorKind, DeviceMemory, Pinned, ShareHandle},
    memory::{MemoryKind, RegionDescription, RegionSource},
};

pub(crate) use self::{
    dma_buf::DmaBufs,
    ipc::{Exports, Imports},
    mapped::Shares,
};
use self::{
    dma_buf::Exported,
    ipc::{Offer, Opened},
    mapped::MappedRange,
    pointer::Pointer,
};
use crate::{
    CudaAccelerator,
    context::Context,
    driver::{Driver, unsupported},
};

/// `CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP`; the values of `CU_MEMHOSTREGISTER_` are the same.
pub(crate) const PORTABLE_AND_MAPPED: c_uint = 3;

/// A range of memory that a device reaches; the [`DeviceMemory`] of CUDA.
#[derive(Debug)]
pub struct CudaMemory {
    context: Arc<Context>,
    address: u64,
    length: u64,
    origin: Origin,
    exported: Exported,
    synchronous: bool,
    /// Of adopted memory that was mapped.
    offer: Offer,
}

/// Where it comes from, and what dropping it does.
#[derive(Debug)]
enum Origin {
    Allocated(Arc<Allocation>),
    Pinned(#[expect(dead_code, reason = "dropped with the value")] PinnedAllocation),
    Adopted,
    Opened(#[expect(dead_code, reason = "dropped with the value")] Opened),
}

/// An allocation of device memory, freed when it is dropped. The driver waits for copies that touch it; what was mapped is
/// closed behind them.
#[derive(Debug)]
pub(crate) struct Allocation {
    context: Arc<Context>,
    address: u64,
    /// What was mapped, where it was.
    range: Option<MappedRange>,
    /// Of memory that was mapped.
    offer: Offer,
}

/// Memory that is closed once copies are done with it. See [`Context::retire`].
#[derive(Debug)]
pub(crate) enum Retired {
    /// Opened by `cuIpcOpenMemHandle`.
    Ipc(u64),
    /// Mapped by this crate.
    Mapped(MappedRange),
}

impl Retired {
    fn address(&self) -> u64 {
        match self {
            Self::Ipc(address) => *address,
            Self::Mapped(range) => range.address(),
        }
    }

    /// Inside [`Context::enter`].
    pub(crate) fn close(self, driver: &Driver) {
        match self {
            // SAFETY: opened by this context, and no copy touches it. A driver that refuses has closed it before.
            Self::Ipc(address) => drop(unsafe { (driver.ipc_close)(address) }),
            Self::Mapped(range) => range.close(driver),
        }
    }
}

/// The same of pinned memory.
#[derive(Debug)]
struct PinnedAllocation {
    context: Arc<Context>,
    address: u64,
}

impl CudaMemory {
    /// Whether synchronous copies of other libraries wait until a NIC sees what they wrote
    /// (`CU_POINTER_ATTRIBUTE_SYNC_MEMOPS` was taken).
    #[must_use]
    pub const fn is_synchronous(&self) -> bool {
        self.synchronous
    }

    pub(crate) fn allocate(context: &Arc<Context>, length: u64) -> Result<Self, AcceleratorError> {
        check_length(0, length)?;
        context.reap();
        let _entered = context.enter()?;
        let allocation = match context.options.mapped {
            true => Allocation::map(context, length)?,
            false => Allocation::make(context, length)?,
        };
        Self::of_device(context, allocation.address, length, Origin::Allocated(Arc::new(allocation)))
    }

    pub(crate) fn allocate_pinned(context: &Arc<Context>, length: u64) -> Result<Self, AcceleratorError> {
        check_length(0, length)?;
        let _entered = context.enter()?;
        let address = pinned(context, length)?;
        let allocation = PinnedAllocation { context: Arc::clone(context), address };
        Ok(Self {
            context: Arc::clone(context),
            address,
            length,
            origin: Origin::Pinned(allocation),
            exported: Exported::OfHost,
            synchronous: false,
            offer: Offer::default(),
        })
    }

    /// The caller keeps the range allocated.
    pub(crate) fn adopt(context: &Arc<Context>, address: u64, length: u64) -> Result<Self, AcceleratorError> {
        check_length(address, length)?;
        let _entered = context.enter()?;
        let pointer = Pointer::of(context, address)?;
        pointer.check(context, address, length)?;
        if pointer.ipc == 0 {
            mapped::check_mapped(context, address, length)?;
        }
        Self::of_device(context, address, length, Origin::Adopted)
    }

    pub(crate) fn import(context: &Arc<Context>, handle: &ShareHandle) -> Result<Self, AcceleratorError> {
        let identity = &context.identity;
        if handle.kind != AcceleratorKind::Cuda || handle.device != identity.unique {
            return Err(AcceleratorError::Foreign { of: identity.clone() });
        }
        context.reap();
        let _entered = context.enter()?;
        let (base, origin) = match context.exports.find(&handle.opaque) {
            Some(local) => local.origin()?,
            None => {
                let opened = Opened::open(context, &handle.opaque)?;
                (opened.address(), Origin::Opened(opened))
            }
        };
        let outside = AcceleratorError::Range { address: base, length: handle.length, available: None };
        let address = base.checked_add(handle.offset).ok_or(outside)?;
        check_length(address, handle.length)?;
        Pointer::of(context, address)?.check(context, address, handle.length)?;
        Self::of_device(context, address, handle.length, origin)
    }

    /// Inside [`Context::enter`].
    fn of_device(
        context: &Arc<Context>,
        address: u64,
        length: u64,
        origin: Origin,
    ) -> Result<Self, AcceleratorError> {
        let pointer = Pointer::of(context, address)?;
        Ok(Self {
            context: Arc::clone(context),
            address,
            length,
            origin,
            exported: dma_buf::export(context, &pointer, address, length),
            synchronous: pointer::synchronise(context, address),
            offer: Offer::default(),
        })
    }
}

// SAFETY: the driver keeps allocated, pinned and opened memory mapped at its address for as long as the origin lives, and
// the caller of `adopt` has promised it for adopted memory; the descriptor is of the same pages. No reference to the bytes
// is ever made: programs cannot touch device memory, and of pinned memory only the address is given out.
unsafe impl RegionSource for CudaMemory {
    fn description(&self) -> RegionDescription {
        let kind = match self.origin {
            Origin::Pinned(_) => MemoryKind::Host,
            Origin::Allocated(_) | Origin::Adopted | Origin::Opened(_) => MemoryKind::Device,
        };
        let descriptor = self.exported.descriptor(self.address);
        RegionDescription { address: self.address, length: self.length, kind, descriptor }
    }
}

impl DeviceMemory for CudaMemory {
    fn accelerator(&self) -> Arc<dyn Accelerator> {
        Arc::new(CudaAccelerator::of(Arc::clone(&self.context)))
    }

    fn without_descriptor(&self) -> Option<&AcceleratorError> {
        self.exported.refusal()
    }

    fn share(&self) -> Result<ShareHandle, AcceleratorError> {
        let (allocation, offer) = match &self.origin {
            Origin::Allocated(allocation) => (Some(allocation), &allocation.offer),
            Origin::Adopted => (None, &self.offer),
            Origin::Pinned(_) => {
                return Err(unsupported("share memory", "pinned memory of the host has no handle"));
            }
            Origin::Opened(_) => {
                return Err(unsupported("share memory", "another process owns it: ask that one"));
            }
        };
        let _entered = self.context.enter()?;
        ipc::share(&self.context, self.address, self.length, allocation, offer)
    }
}

impl Allocation {
    fn make(context: &Arc<Context>, length: u64) -> Result<Self, AcceleratorError> {
        let (driver, mut address) = (&context.driver, 0);
        // SAFETY: the driver writes one address.
        let allocated = unsafe { (driver.memory_allocate)(&mut address, length as usize) };
        driver.check_memory("cuMemAlloc", length, allocated)?;
        Ok(Self { context: Arc::clone(context), address, range: None, offer: Offer::default() })
    }

    fn map(context: &Arc<Context>, length: u64) -> Result<Self, AcceleratorError> {
        let range = MappedRange::allocate(context, length)?;
        context.track();
        let address = range.address();
        Ok(Self { context: Arc::clone(context), address, range: Some(range), offer: Offer::default() })
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if let Some(range) = self.range.take() {
            return self.context.retire(Retired::Mapped(range));
        }
        let Ok(_entered) = self.context.enter() else { return };
        // SAFETY: allocated by the context and freed once; a driver that refuses has freed it with the context.
        unsafe { (self.context.driver.memory_free)(self.address) };
    }
}

impl Drop for PinnedAllocation {
    fn drop(&mut self) {
        let Ok(_entered) = self.context.enter() else { return };
        // SAFETY: as for device memory.
        unsafe { (self.context.driver.host_free)(self.address) };
    }
}

/// Pinned memory of the host, which every device reaches at the same address. Inside [`Context::enter`].
pub(crate) fn pinned(context: &Context, length: u64) -> Result<u64, AcceleratorError> {
    let (driver, mut address) = (&context.driver, 0);
    // SAFETY: the driver writes one address.
    let allocated = unsafe { (driver.host_allocate)(&mut address, length as usize, PORTABLE_AND_MAPPED) };
    driver.check_memory("cuMemHostAlloc", length, allocated)?;
    Ok(address)
}

/// A range of the program's memory that is page-locked until the value is dropped.
#[derive(Debug)]
pub(crate) struct PinnedRange {
    context: Arc<Context>,
    address: u64,
}

impl PinnedRange {
    /// The caller keeps the range mapped.
    pub(crate) fn pin(context: &Arc<Context>, address: u64, length: u64) -> Result<Self, AcceleratorError> {
        check_length(address, length)?;
        let _entered = context.enter()?;
        let driver = &context.driver;
        // SAFETY: the caller's promise.
        let pinned = unsafe { (driver.host_register)(address, length as usize, PORTABLE_AND_MAPPED) };
        driver.check("cuMemHostRegister", pinned)?;
        Ok(Self { context: Arc::clone(context), address })
    }
}

impl Pinned for PinnedRange {}

impl Drop for PinnedRange {
    fn drop(&mut self) {
        let Ok(_entered) = self.context.enter() else { return };
        // SAFETY: registered by the context, and undone once.
        unsafe { (self.context.driver.host_unregister)(self.address) };
    }
}

fn check_length(address: u64, length: u64) -> Result<(), AcceleratorError> {
    match address.checked_add(length) {
        Some(_) if length > 0 => Ok(()),
        _ => Err(AcceleratorError::Range { address, length, available: None }),
    }
}
