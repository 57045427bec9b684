//! Memory of accelerators: whose it is, registering and allocating it, and copies with this process's memory.
//!
//! [`Fabric::register`] comes here with the address of a tensor; the engines above with memory that they allocate on a
//! device, and with bytes that no peer has a part in.
#![allow(unsafe_code)] // takes addresses on the caller's word, and has streams copy

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, CopyRange, DeviceMemory, Stream},
    memory::{Access, MemoryKind, RegionDescription},
};
use pmd_host::{accelerator::wait_for, soft::Accelerators, transfer::KeepAlive};

use super::{Fabric, FabricError, Segment, segment::Owner};

/// The accelerators that a fabric was opened with.
pub(super) struct Devices {
    accelerators: Vec<Arc<dyn Accelerator>>,
    /// A stream of each, once one was needed.
    streams: Mutex<Vec<Option<Arc<dyn Stream>>>>,
}

impl Devices {
    pub(super) fn new(accelerators: &Accelerators) -> Self {
        let accelerators: Vec<_> = accelerators.iter().cloned().collect();
        let streams = Mutex::new(vec![None; accelerators.len()]);
        Self { accelerators, streams }
    }

    fn stream(&self, accelerator: &Arc<dyn Accelerator>) -> Result<Arc<dyn Stream>, AcceleratorError> {
        let Some(index) = self.index(accelerator) else { return accelerator.open_stream() };
        let mut streams = self.streams();
        if let Some(stream) = &streams[index] {
            return Ok(Arc::clone(stream));
        }
        let stream = self.accelerators[index].open_stream()?;
        streams[index] = Some(Arc::clone(&stream));
        Ok(stream)
    }

    /// A stream that has failed stays so: the next copy takes another.
    fn forget_stream(&self, accelerator: &Arc<dyn Accelerator>) {
        if let Some(index) = self.index(accelerator) {
            let failed = self.streams()[index].take();
            drop(failed);
        }
    }

    fn index(&self, accelerator: &Arc<dyn Accelerator>) -> Option<usize> {
        let wanted = accelerator.identity();
        self.accelerators.iter().position(|known| known.identity() == wanted)
    }

    fn streams(&self) -> MutexGuard<'_, Vec<Option<Arc<dyn Stream>>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Fabric {
    /// The accelerators that it was opened with.
    #[must_use]
    pub fn accelerators(&self) -> &[Arc<dyn Accelerator>] {
        &self.shared.devices.accelerators
    }

    /// Where the bytes at an address live: [`Device`](MemoryKind::Device) where one of the fabric's accelerators says
    /// that it is device memory, of whichever device and of whichever sort, else [`Host`](MemoryKind::Host). For
    /// interfaces that take an address and are not told. Without accelerators nobody is asked.
    #[must_use]
    pub fn kind_of(&self, address: u64, length: u64) -> MemoryKind {
        let is_device = |accelerator: &Arc<dyn Accelerator>| {
            // SAFETY: the value goes at once; the runtime was asked, and nothing more.
            let adopted = unsafe { accelerator.adopt(address, length.max(1)) };
            !matches!(
                adopted.map(|memory| memory.description().kind),
                Ok(MemoryKind::Host) | Err(AcceleratorError::NotDeviceMemory { .. })
            )
        };
        if self.accelerators().iter().any(is_device) { MemoryKind::Device } else { MemoryKind::Host }
    }

    /// What describes a range of memory for registration, be it the host's or a device's: see [`Fabric::kind_of`].
    #[must_use]
    pub fn describe(&self, address: u64, length: u64) -> RegionDescription {
        RegionDescription { address, length, kind: self.kind_of(address, length), descriptor: None }
    }

    /// Memory that another library allocated on one of the fabric's accelerators: on device `device`, or on whichever
    /// knows the address.
    ///
    /// # Errors
    /// [`FabricError::Accelerator`]: memory that no accelerator knows (foreign, freed, the host's), managed memory, that
    /// of a device that is not driven, a range beyond its allocation. [`FabricError::NoDevice`] where there is no device
    /// of this number, or none at all.
    ///
    /// # Safety
    /// As [`Accelerator::adopt`].
    pub unsafe fn adopt(
        &self,
        address: u64,
        length: u64,
        device: Option<u32>,
    ) -> Result<Arc<dyn DeviceMemory>, FabricError> {
        // SAFETY: passed on to the caller.
        unsafe { adopt(self.accelerators(), address, length, device) }
    }

    /// Registers memory of an accelerator for transfers in both directions; the segment keeps it. Over a NIC that does not
    /// reach the memory it is for this side's own transfers alone ([`Segment::path`] is
    /// [`Staged`](pmd_host::region::RegionPath::Staged)), and peers are not told of it.
    ///
    /// # Errors
    /// [`FabricError::Register`].
    pub fn register_device(&self, memory: Arc<dyn DeviceMemory>) -> Result<Segment, FabricError> {
        self.register_device_for(memory, None)
    }

    /// Allocates memory on device `device`, or on the first of the fabric's accelerators, and registers it. Its content is
    /// undefined.
    ///
    /// # Errors
    /// [`FabricError::NoDevice`], [`FabricError::Accelerator`], [`FabricError::Register`].
    pub fn allocate_device(&self, bytes: u64, device: Option<u32>) -> Result<Segment, FabricError> {
        self.register_device(self.accelerator(device)?.allocate(bytes)?.into())
    }

    /// The accelerator of a number, or the first one.
    ///
    /// # Errors
    /// [`FabricError::NoDevice`].
    pub fn accelerator(&self, device: Option<u32>) -> Result<&Arc<dyn Accelerator>, FabricError> {
        let is_it = |accelerator: &&Arc<dyn Accelerator>| {
            device.is_none_or(|device| accelerator.identity().ordinal == device)
        };
        let found = self.accelerators().iter().find(is_it);
        found.ok_or(FabricError::NoDevice { device: device.unwrap_or(0) })
    }

    pub(super) fn register_device_for(
        &self,
        memory: Arc<dyn DeviceMemory>,
        owner: Option<KeepAlive>,
    ) -> Result<Segment, FabricError> {
        let registered = self.endpoint.register_device_or_stage(Arc::clone(&memory), Access::READ_WRITE)?;
        Ok(self.enter(registered, Owner::Device(memory, owner)))
    }

    /// Whether only an accelerator can say what the memory is.
    pub(super) fn is_to_be_adopted(&self, memory: &RegionDescription) -> bool {
        memory.kind == MemoryKind::Device && memory.descriptor.is_none() && !self.accelerators().is_empty()
    }

    /// Has an accelerator copy, and waits until it is done or has failed: then nothing of it is under way.
    ///
    /// # Safety
    /// As [`Stream::copy`], until this returns.
    pub(crate) unsafe fn copy_by(
        &self,
        accelerator: &Arc<dyn Accelerator>,
        copies: &[CopyRange],
    ) -> Result<(), AcceleratorError> {
        let devices = &self.shared.devices;
        let stream = devices.stream(accelerator)?;
        // SAFETY: passed on to the caller, as nothing of it is under way any more when this returns.
        let begun = unsafe { stream.copy(copies) };
        // Without a deadline: what is being copied may not be freed. Of a list that failed a beginning may be under way.
        let ended = stream.record().and_then(|done| wait_for(&*done, None)).map(drop);
        begun.and(ended).inspect_err(|_| devices.forget_stream(accelerator))
    }
}

/// As [`Fabric::adopt`], by accelerators that the caller has: those of an engine of caches, for instance
/// ([`Endpoint::accelerators`](pmd_host::endpoint::Endpoint::accelerators)).
///
/// # Errors
/// As [`Fabric::adopt`].
///
/// # Safety
/// As [`Accelerator::adopt`].
pub unsafe fn adopt<'a>(
    accelerators: impl IntoIterator<Item = &'a Arc<dyn Accelerator>>,
    address: u64,
    length: u64,
    device: Option<u32>,
) -> Result<Arc<dyn DeviceMemory>, FabricError> {
    let mut told = None;
    for accelerator in accelerators {
        if device.is_some_and(|device| accelerator.identity().ordinal != device) {
            continue;
        }
        // SAFETY: passed on to the caller.
        match unsafe { accelerator.adopt(address, length) } {
            Ok(memory) => return Ok(memory.into()),
            Err(error) => told = Some(telling(told, error)),
        }
    }
    Err(told.map_or(FabricError::NoDevice { device: device.unwrap_or(0) }, FabricError::Accelerator))
}

/// Of what several accelerators say about one address, what tells most: that it is not theirs tells least.
fn telling(before: Option<AcceleratorError>, now: AcceleratorError) -> AcceleratorError {
    let weight = |error: &AcceleratorError| match error {
        AcceleratorError::NotDeviceMemory { .. } => 0,
        AcceleratorError::WrongDevice { .. } => 1,
        _ => 2,
    };
    match before {
        Some(before) if weight(&before) >= weight(&now) => before,
        _ => now,
    }
}
