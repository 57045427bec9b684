//! One accelerator as a staging back end drives it: a stream, and slots of pinned memory that the NIC reaches too.

use std::{fmt, sync::Arc};

use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, DeviceMemory, Stream},
    memory::{LocalKey, Sge},
};

use crate::{region::Region, transfer::DeviceFault};

/// Parts of requests that can be on their way at once.
const SLOTS: u32 = 16;
/// Bytes of a slot, where there is room for so much.
const LARGEST: u64 = 256 << 10;
/// Below this a slot is of no use.
const SMALLEST: u64 = 16 << 10;

/// Registers pinned memory of the host with the device below.
pub(crate) trait RegisterPinned: Send + fmt::Debug {
    /// For reading and writing by this side's own requests; `None` where the device does not take it.
    fn register(&self, memory: &Arc<dyn DeviceMemory>) -> Option<Region>;
}

/// A stream and its slots.
#[derive(Debug)]
pub(super) struct Lift {
    accelerator: Arc<dyn Accelerator>,
    stream: Option<Arc<dyn Stream>>,
    slots: Option<Slots>,
}

#[derive(Debug)]
struct Slots {
    // Deregistered before the memory goes.
    region: Region,
    _memory: Arc<dyn DeviceMemory>,
    bytes: u64,
    free: Vec<u32>,
}

/// A slot that is taken.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    number: u32,
    address: u64,
    key: LocalKey,
    pub(super) bytes: u64,
}

impl Slot {
    /// The bytes from `offset` on.
    pub(super) fn sge(&self, offset: u64, length: u64) -> Sge {
        Sge { address: self.address + offset, length: length as u32, key: self.key }
    }
}

impl Lift {
    pub(super) fn new(accelerator: Arc<dyn Accelerator>) -> Self {
        Self { accelerator, stream: None, slots: None }
    }

    pub(super) fn is_of(&self, accelerator: &Arc<dyn Accelerator>) -> bool {
        let (one, other) = (self.accelerator.identity(), accelerator.identity());
        one.kind == other.kind && one.unique == other.unique
    }

    /// A free slot; `None` while all are taken.
    ///
    /// # Errors
    /// [`DeviceFault::NoStaging`], [`DeviceFault::Stream`] where the runtime fails.
    pub(super) fn take(&mut self, registrar: &dyn RegisterPinned) -> Result<Option<Slot>, DeviceFault> {
        if self.slots.is_none() {
            self.slots = Some(Slots::allocate(&self.accelerator, registrar)?);
        }
        let Some(slots) = &mut self.slots else { return Ok(None) };
        let Some(number) = slots.free.pop() else { return Ok(None) };
        let address = slots.region.address() + u64::from(number) * slots.bytes;
        Ok(Some(Slot { number, address, key: slots.region.local_key(), bytes: slots.bytes }))
    }

    pub(super) fn give_back(&mut self, slot: Slot) {
        if let Some(slots) = &mut self.slots {
            slots.free.push(slot.number);
        }
    }

    pub(super) fn stream(&mut self) -> Result<Arc<dyn Stream>, DeviceFault> {
        if let Some(stream) = &self.stream {
            return Ok(stream.clone());
        }
        let stream = self.accelerator.open_stream().map_err(|_| DeviceFault::Stream)?;
        self.stream = Some(stream.clone());
        Ok(stream)
    }

    /// The stream has failed: the next request gets a new one.
    pub(super) fn give_up_stream(&mut self) {
        self.stream = None;
    }
}

impl Slots {
    fn allocate(
        accelerator: &Arc<dyn Accelerator>,
        registrar: &dyn RegisterPinned,
    ) -> Result<Self, DeviceFault> {
        let mut bytes = LARGEST;
        loop {
            let memory = match accelerator.allocate_pinned(bytes * u64::from(SLOTS)) {
                Ok(memory) => Arc::<dyn DeviceMemory>::from(memory),
                Err(AcceleratorError::OutOfMemory { .. }) if bytes > SMALLEST => {
                    bytes /= 2;
                    continue;
                }
                Err(AcceleratorError::OutOfMemory { .. }) => return Err(DeviceFault::NoStaging),
                Err(_) => return Err(DeviceFault::Stream),
            };
            match registrar.register(&memory) {
                Some(region) => {
                    let free = (0..SLOTS).rev().collect();
                    return Ok(Self { region, _memory: memory, bytes, free });
                }
                // The limit of locked memory counts what NICs pin too.
                None if bytes > SMALLEST => bytes /= 2,
                None => return Err(DeviceFault::NoStaging),
            }
        }
    }
}
