//! Memory that is mapped into a range of addresses (`cuMemCreate`, `cuMemMap`): that of PyTorch's expandable segments, and
//! allocations of this crate's own on option. Called by [`CudaMemory`] and by what opens memory of another process.
//!
//! `cuIpcGetMemHandle` does not name such memory. Its physical allocations have descriptors instead, which go to the
//! other process over a socket of this crate's ([`post`]) when it asks; so a handle here is a name of 32 bytes, and
//! neither process holds descriptors open.
//!
//! ```text
//!  owner    address --> mappings --> Physical (retained) --> Shared, known by a number
//!  handle   magic, name of the owner's socket, number      |
//!  importer handle --> socket --> descriptors  <-----------'  --> Physical (imported) --> MappedRange
//! ```
//! Physical memory is counted by references: those of the owner's mappings, of a [`Shared`] and of every importer's
//! mapping. What an importer has mapped stays whole whatever the owner frees, and when it dies.
//!
//! Source: CUDA driver API, "Virtual Memory Management".
//!
//! [`CudaMemory`]: super::CudaMemory

mod fetch;
mod post;
mod shared;

use core::ffi::c_uint;
use std::{os::fd::OwnedFd, sync::Arc};

use pmd_core::accelerator::AcceleratorError;

pub(crate) use self::shared::Shares;
pub(super) use self::shared::{Name, Shared, share};
use crate::{
    context::Context,
    driver::{Access, AllocationProperties, Driver, Location, unsupported},
};

/// `CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR`.
const DESCRIPTOR: c_uint = 1;

/// Bytes of all pieces of one share; more than devices have.
const LARGEST: u64 = 1 << 46;

/// Physical memory of a device, by a reference that is given back when this is dropped.
#[derive(Debug)]
struct Physical {
    context: Arc<Context>,
    handle: u64,
}

impl Physical {
    /// New memory of the context's device. Inside [`Context::enter`].
    fn create(context: &Arc<Context>, length: u64) -> Result<Self, AcceleratorError> {
        let (driver, mut handle) = (&context.driver, 0);
        let properties = properties(context);
        // SAFETY: the driver reads the properties and writes one handle.
        let created = unsafe { (driver.physical_create)(&mut handle, length as usize, &properties, 0) };
        driver.check_memory("cuMemCreate", length, created)?;
        Ok(Self { context: Arc::clone(context), handle })
    }

    /// What is mapped at an address; `None` where nothing is that was mapped. Inside [`Context::enter`].
    fn at(context: &Arc<Context>, address: u64) -> Option<Self> {
        let mut handle = 0;
        // SAFETY: the driver writes one handle, or says that it has none for the address.
        let retained = unsafe { (context.driver.physical_retain)(&mut handle, address) };
        (retained == 0).then(|| Self { context: Arc::clone(context), handle })
    }

    /// Inside [`Context::enter`].
    fn import(context: &Arc<Context>, descriptor: &OwnedFd) -> Result<Self, AcceleratorError> {
        use std::os::fd::AsRawFd;
        let (driver, mut handle) = (&context.driver, 0);
        let number = descriptor.as_raw_fd() as usize;
        // SAFETY: the driver takes a descriptor in place of the pointer, keeps it not, and writes one handle.
        let imported = unsafe { (driver.handle_import)(&mut handle, number, DESCRIPTOR) };
        driver.check("cuMemImportFromShareableHandle", imported)?;
        Ok(Self { context: Arc::clone(context), handle })
    }

    /// A descriptor for another process. Inside [`Context::enter`].
    fn export(&self) -> Result<OwnedFd, u32> {
        use std::os::fd::FromRawFd;
        let mut descriptor: core::ffi::c_int = -1;
        let export = self.context.driver.handle_export;
        // SAFETY: for this kind of handle the driver writes one int.
        match unsafe { export((&raw mut descriptor).cast(), self.handle, DESCRIPTOR, 0) } {
            // SAFETY: fresh from the driver, and no one else's.
            0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
            code => Err(code),
        }
    }

    /// Whether it can be exported, and is the device's own. Inside [`Context::enter`].
    fn check(&self) -> Result<(), AcceleratorError> {
        const WHAT: &str = "share memory";
        let (driver, mut found) = (&self.context.driver, AllocationProperties::default());
        // SAFETY: the driver writes one structure of properties.
        let asked = unsafe { (driver.physical_properties)(&mut found, self.handle) };
        driver.check("cuMemGetAllocationPropertiesFromHandle", asked)?;
        if found.location.kind != Location::DEVICE {
            return Err(unsupported(WHAT, "it was mapped, and is the host's"));
        }
        if found.handle_types & DESCRIPTOR == 0 {
            let why = "its allocator did not ask for handles that are file descriptors when it mapped it";
            return Err(unsupported(WHAT, why));
        }
        Ok(())
    }
}

impl Drop for Physical {
    fn drop(&mut self) {
        let Ok(_entered) = self.context.enter() else { return };
        // SAFETY: one reference, given back once.
        unsafe { (self.context.driver.physical_release)(self.handle) };
    }
}

/// A range of addresses of this process and what is mapped in it. Closed by [`MappedRange::close`], behind copies.
#[derive(Debug)]
pub(crate) struct MappedRange {
    address: u64,
    length: u64,
    /// Bytes of each mapping, one behind the other from the first address on.
    mapped: Vec<u64>,
}

impl MappedRange {
    pub(crate) const fn address(&self) -> u64 {
        self.address
    }

    /// An allocation of this crate's own. Inside [`Context::enter`].
    pub(super) fn allocate(context: &Arc<Context>, length: u64) -> Result<Self, AcceleratorError> {
        if !context.facts.mapping {
            return Err(unsupported("map memory", "the device has no virtual memory management"));
        }
        let granularity = granularity(context)?;
        let kind = context.identity.kind;
        let too_much = AcceleratorError::OutOfMemory { kind, wanted: length };
        let rounded = length.checked_next_multiple_of(granularity).filter(|rounded| *rounded <= LARGEST);
        let rounded = rounded.ok_or(too_much.clone())?;
        let made = Physical::create(context, rounded)
            .and_then(|physical| Self::over(context, &[(physical, rounded)]));
        // What was asked for is told, not what that was rounded to.
        made.map_err(|error| match error {
            AcceleratorError::OutOfMemory { .. } => too_much,
            other => other,
        })
    }

    /// Maps pieces one behind the other; the mappings keep them. Inside [`Context::enter`].
    fn over(context: &Context, pieces: &[(Physical, u64)]) -> Result<Self, AcceleratorError> {
        let driver = &context.driver;
        let mut range = Self::reserve(context, pieces.iter().map(|(_, length)| length).sum())?;
        let filled = range.fill(context, pieces);
        match filled {
            Ok(()) => Ok(range),
            Err(error) => {
                // No one was told of it.
                range.close(driver);
                Err(error)
            }
        }
    }

    fn reserve(context: &Context, length: u64) -> Result<Self, AcceleratorError> {
        let (driver, mut address) = (&context.driver, 0);
        // SAFETY: the driver writes one address; it chooses place and alignment.
        let reserved = unsafe { (driver.range_reserve)(&mut address, length as usize, 0, 0, 0) };
        driver.check_memory("cuMemAddressReserve", length, reserved)?;
        Ok(Self { address, length, mapped: Vec::new() })
    }

    fn fill(&mut self, context: &Context, pieces: &[(Physical, u64)]) -> Result<(), AcceleratorError> {
        let (driver, mut at) = (&context.driver, self.address);
        for (physical, length) in pieces {
            // SAFETY: inside the reserved range, where nothing is mapped yet.
            let mapped = unsafe { (driver.range_map)(at, *length as usize, 0, physical.handle, 0) };
            driver.check_memory("cuMemMap", *length, mapped)?;
            self.mapped.push(*length);
            at += length;
        }
        let access = Access::of(context);
        // SAFETY: all of the range is mapped; the driver reads one description.
        let granted = unsafe { (driver.range_access)(self.address, self.length as usize, &access, 1) };
        driver.check_memory("cuMemSetAccess", self.length, granted)
    }

    /// Unmaps it and gives the addresses back; no copy touches it any more. Inside [`Context::enter`].
    pub(crate) fn close(self, driver: &Driver) {
        let mut at = self.address;
        for length in self.mapped {
            // SAFETY: mapped by `fill`, and unmapped once; what no one else refers to is freed with it.
            unsafe { (driver.range_unmap)(at, length as usize) };
            at += length;
        }
        // SAFETY: reserved by `reserve`, and nothing is mapped in it.
        unsafe { (driver.range_free)(self.address, self.length as usize) };
    }
}

/// Whether all of a range that an allocator maps itself is mapped; memory of other kinds is let through. Inside
/// [`Context::enter`].
pub(super) fn check_mapped(
    context: &Arc<Context>,
    address: u64,
    length: u64,
) -> Result<(), AcceleratorError> {
    match Physical::at(context, address) {
        Some(_) => mappings(context, address, length).map(drop),
        None => Ok(()),
    }
}

/// The mappings that a range touches, first byte and bytes of each, without a gap. Inside [`Context::enter`].
fn mappings(context: &Context, address: u64, length: u64) -> Result<Vec<(u64, u64)>, AcceleratorError> {
    let (mut found, mut at, end) = (Vec::new(), address, address.saturating_add(length));
    while at < end {
        let Some((base, size)) = mapping_at(context, at) else {
            let available = Some(at - address);
            return Err(AcceleratorError::Range { address, length, available });
        };
        found.push((base, size));
        at = base + size;
    }
    Ok(found)
}

/// The mapping that an address is in. Reserved addresses where nothing is mapped have none.
fn mapping_at(context: &Context, address: u64) -> Option<(u64, u64)> {
    let (mut base, mut size) = (0_u64, 0_usize);
    // SAFETY: the driver writes an address and a size, or says that it does not know the address.
    let asked = unsafe { (context.driver.address_range)(&mut base, &mut size, address) };
    let end = base.checked_add(size as u64)?;
    (asked == 0 && base <= address && address < end).then_some((base, size as u64))
}

/// Of what length physical memory is a multiple. Inside [`Context::enter`].
fn granularity(context: &Context) -> Result<u64, AcceleratorError> {
    /// `CU_MEM_ALLOC_GRANULARITY_MINIMUM`.
    const SMALLEST: c_uint = 0;
    let (driver, mut bytes) = (&context.driver, 0_usize);
    let properties = properties(context);
    // SAFETY: the driver reads the properties and writes one size.
    let asked = unsafe { (driver.physical_granularity)(&mut bytes, &properties, SMALLEST) };
    driver.check("cuMemGetAllocationGranularity", asked)?;
    Ok(bytes.max(1) as u64)
}

/// Of this crate's own allocations: on the context's device, with handles for others and for NICs where it has them.
fn properties(context: &Context) -> AllocationProperties {
    /// `CU_MEM_ALLOCATION_TYPE_PINNED`.
    const PINNED: c_uint = 1;
    let facts = &context.facts;
    AllocationProperties {
        kind: PINNED,
        handle_types: if facts.descriptors { DESCRIPTOR } else { 0 },
        location: Location::of(context),
        windows: 0,
        compression: 0,
        for_nics: facts.mapped_for_nics.into(),
        usage: 0,
        reserved: [0; 4],
    }
}
