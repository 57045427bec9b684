//! Receive areas: the memory that a worker pushes into, key by key.
//!
//! # A slot's life
//! ```text
//!  free at the worker -- WRITE --> being written -- header --> in a request -- response sent --> free at the worker
//! ```
//! The worker owns the credits: a slot is written only when its response has arrived or its cancel was answered. The
//! server checks that a header names a slot that it gave out, and that the length fits.
//!
//! An area lives until the worker has released it (it got a larger one, or was told to stop) or is down, and the last
//! request with a tensor in it is gone.

use std::{collections::HashMap, sync::Arc};

use pmd_core::accelerator::Accelerator;
use pmd_host::{backend::Transport, endpoint::Endpoint, soft::ArenaOptions};

use crate::{
    tensor::{Layout, Memory, MemoryError, Tensor},
    wire::{AgreeArea, AreaAgreed, LARGEST_SLOT},
};

/// Slots in memory of the host start at multiples of this.
const ALIGNMENT: u64 = 64;

/// Slots in memory of a device start at multiples of this, as its allocations do.
const DEVICE_ALIGNMENT: u64 = 256;

/// Areas up to this size share an arena.
const SMALL_AREA: u64 = 256 << 10;

/// Size of an arena that areas share.
const SHARED_ARENA: u64 = 2 << 20;

/// The areas of one worker.
#[derive(Debug, Default)]
pub(super) struct Areas {
    keys: HashMap<u64, Vec<Area>>,
}

#[derive(Debug)]
struct Area {
    memory: Memory,
    /// Of the first slot in the memory.
    offset: u64,
    agreed: AreaAgreed,
}

/// Where a new area goes.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) memory: Memory,
    pub(super) offset: u64,
    /// Bytes of a slot.
    pub(super) capacity: u64,
    /// From one slot to the next.
    pub(super) stride: u64,
    pub(super) depth: u16,
}

/// Why a slot cannot be what a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAgreed;

impl Areas {
    /// Takes note of an area; `None` when the key has no slot numbers left. `remote_key` is what the worker gets.
    pub(super) fn insert(&mut self, key: u64, place: Place, remote_key: u32) -> Option<AreaAgreed> {
        let areas = self.keys.entry(key).or_default();
        let first_slot = gap(areas, place.depth)?;
        let Place { memory, offset, capacity, stride, depth } = place;
        let address = memory.address() + offset;
        let write_only = !memory.is_host();
        let agreed = AreaAgreed { address, remote_key, capacity, stride, first_slot, depth, write_only };
        areas.push(Area { memory, offset, agreed });
        areas.sort_unstable_by_key(|area| area.agreed.first_slot);
        Some(agreed)
    }

    pub(super) fn remove(&mut self, key: u64, first_slot: u16) {
        if let Some(areas) = self.keys.get_mut(&key) {
            areas.retain(|area| area.agreed.first_slot != first_slot);
        }
    }

    /// First slots of the key's areas in this memory.
    pub(super) fn in_memory(&self, key: u64, memory: &Memory) -> Vec<u16> {
        let areas = self.keys.get(&key).map_or(&[][..], Vec::as_slice);
        areas.iter().filter(|area| area.memory.is_same(memory)).map(|area| area.agreed.first_slot).collect()
    }

    pub(super) fn of_key(&self, key: u64) -> Vec<u16> {
        self.keys.get(&key).map_or(&[][..], Vec::as_slice).iter().map(|area| area.agreed.first_slot).collect()
    }

    /// The tensor in a slot.
    pub(super) fn tensor(&self, key: u64, slot: u16, layout: Layout) -> Result<Tensor, NotAgreed> {
        let areas = self.keys.get(&key).ok_or(NotAgreed)?;
        let area = areas.iter().find(|area| area.holds(slot)).ok_or(NotAgreed)?;
        if u64::from(layout.bytes()) > area.agreed.capacity {
            return Err(NotAgreed);
        }
        let offset = area.offset + u64::from(slot - area.agreed.first_slot) * area.agreed.stride;
        Tensor::new(&area.memory, offset, layout).map_err(|_| NotAgreed)
    }
}

impl Area {
    fn holds(&self, slot: u16) -> bool {
        slot >= self.agreed.first_slot && slot - self.agreed.first_slot < self.agreed.depth
    }
}

/// The first run of `depth` numbers that no area has.
fn gap(areas: &[Area], depth: u16) -> Option<u16> {
    let mut first = 0_u16;
    for area in areas {
        if area.agreed.first_slot - first >= depth {
            return Some(first);
        }
        first = area.agreed.first_slot + area.agreed.depth;
    }
    (first.checked_add(depth)? <= LARGEST_SLOT).then_some(first)
}

/// Memory for areas: of a device, where there is one that workers reach, else of the host.
#[derive(Debug, Default)]
pub(super) struct Pool {
    device: Option<Filled>,
    host: Filled,
    /// Transports whose NIC does not let workers into the device.
    kept_out: Vec<Transport>,
}

impl Pool {
    /// Of the accelerator's memory, or of the host's.
    pub(super) fn of(accelerator: Option<Arc<dyn Accelerator>>) -> Self {
        let device = accelerator.map(|accelerator| Filled { accelerator: Some(accelerator), filling: None });
        Self { device, ..Self::default() }
    }

    /// Room as asked for, for a worker that is reached over `transport`.
    pub(super) fn place(
        &mut self,
        endpoint: &Endpoint,
        transport: Transport,
        wanted: &AgreeArea,
    ) -> Result<Place, MemoryError> {
        if let Some(device) = self.device.as_mut().filter(|_| !self.kept_out.contains(&transport)) {
            let place = device.place(endpoint, wanted)?;
            if place.memory.remote_key(transport).is_some() {
                return Ok(place);
            }
            self.kept_out.push(transport);
        }
        self.host.place(endpoint, wanted)
    }
}

/// Memory of one place: small areas share arenas, large ones have their own.
#[derive(Debug, Default)]
struct Filled {
    /// Whose memory it is; the host's where there is none.
    accelerator: Option<Arc<dyn Accelerator>>,
    /// The arena that is being filled, and how far it is.
    filling: Option<(Memory, u64)>,
}

impl Filled {
    fn place(&mut self, endpoint: &Endpoint, wanted: &AgreeArea) -> Result<Place, MemoryError> {
        let alignment = if self.accelerator.is_some() { DEVICE_ALIGNMENT } else { ALIGNMENT };
        let stride = wanted.capacity.next_multiple_of(alignment).max(alignment);
        let bytes = stride * u64::from(wanted.depth);
        let place = |memory, offset| Place { memory, offset, capacity: stride, stride, depth: wanted.depth };
        if bytes > SMALL_AREA {
            return Ok(place(self.allocate(endpoint, bytes)?, 0));
        }
        if let Some((memory, filled)) = &mut self.filling
            && *filled + bytes <= SHARED_ARENA
        {
            *filled += bytes;
            return Ok(place(memory.clone(), *filled - bytes));
        }
        let memory = self.allocate(endpoint, SHARED_ARENA)?;
        self.filling = Some((memory.clone(), bytes));
        Ok(place(memory, 0))
    }

    fn allocate(&self, endpoint: &Endpoint, bytes: u64) -> Result<Memory, MemoryError> {
        if let Some(accelerator) = &self.accelerator {
            return Memory::allocate_on(endpoint, &**accelerator, bytes);
        }
        let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
        Memory::allocate(endpoint, bytes, ArenaOptions::default())
    }
}

/// Buffers that the application gave for keys of workers.
#[derive(Debug, Default)]
pub(super) struct Offers {
    offers: HashMap<(u32, u64), Arc<Place>>,
}

impl Offers {
    /// A buffer for the key of the worker; takes the place of an earlier one.
    pub(super) fn insert(&mut self, worker: u32, key: u64, place: Place) {
        self.offers.insert((worker, key), Arc::new(place));
    }

    pub(super) fn remove(&mut self, worker: u32, key: u64) -> Option<Arc<Place>> {
        self.offers.remove(&(worker, key))
    }

    pub(super) fn find(&self, worker: u32, key: u64) -> Option<Place> {
        self.offers.get(&(worker, key)).map(|place| Place::clone(place))
    }
}
