//! Pinned memory of the host in which pulls land, where the servers' NIC does not reach the accelerator that has the tensor.
//!
//! Made by a worker before a pull into such memory is submitted; servers are told the landing's address. What has arrived is
//! copied into the tensor by a stream before anybody learns that it is there. One landing for each memory, as long as it is,
//! so that no two pulls share a byte of it that their tensors do not share; made at the first pull, and kept.
#![allow(unsafe_code)] // has streams copy between plain addresses

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pmd_core::accelerator::{
    Accelerator, AcceleratorError, CopyDirection, CopyRange, DeviceMemory, Event, Stream,
};
use pmd_host::endpoint::Endpoint;

use super::{LandingError, Memory};

/// The landing of one memory.
pub(crate) struct Landing {
    /// Of the host, as long as the device's.
    memory: Memory,
    /// First byte of the device's.
    device: u64,
    accelerator: Arc<dyn Accelerator>,
    stream: Mutex<Arc<dyn Stream>>,
}

impl Landing {
    pub(super) fn new(endpoint: &Endpoint, device: &Arc<dyn DeviceMemory>) -> Result<Self, LandingError> {
        let (accelerator, described) = (device.accelerator(), device.description());
        let stream = Mutex::new(accelerator.open_stream()?);
        let pinned = accelerator.allocate_pinned(described.length)?;
        let not_registered = |_| LandingError::NotRegistered { bytes: described.length };
        let memory = Memory::of_device(endpoint, pinned.into()).map_err(not_registered)?;
        Ok(Self { memory, device: described.address, accelerator, stream })
    }

    /// What peers are told.
    pub(super) const fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Has `length` bytes copied to `address` of the device, from where they have landed. The event is done when they are
    /// there.
    ///
    /// # Errors
    /// [`AcceleratorError`]; then nothing is under way.
    pub(crate) fn carry(&self, address: u64, length: u32) -> Result<Arc<dyn Event>, AcceleratorError> {
        let from = self.memory.address() + (address - self.device);
        let direction = CopyDirection::HostToDevice;
        let range = CopyRange { from, to: address, length: length.into(), direction };
        let stream = Arc::clone(&self.stream());
        // SAFETY: both ranges lie in memories of one length, which the request keeps until the event is done; the caller of
        // the request keeps the tensor free of other uses until its end, and the server has written what it will.
        let copied = unsafe { stream.copy(&[range]) }.and_then(|()| stream.record());
        copied.inspect_err(|_| self.renew())
    }

    /// A stream that has failed takes nothing more: the next copy has another one.
    pub(crate) fn renew(&self) {
        if let Ok(stream) = self.accelerator.open_stream() {
            let failed = std::mem::replace(&mut *self.stream(), stream);
            drop(failed);
        }
    }

    fn stream(&self) -> MutexGuard<'_, Arc<dyn Stream>> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Landing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Landing({:?} for {:#x})", self.memory, self.device)
    }
}
