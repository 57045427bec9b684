//! Physical memory without an address, addresses without memory, and the one mapped into the other. Behind [`Runtime`], for
//! runtimes that let programs do so (`cuMemCreate`, `cuMemMap`).
//!
//! Physical memory lives for as long as a handle, a mapping or a descriptor of it does, in whatever process. Copies may go
//! over mappings that lie one behind the other. Mapped memory belongs to the process, not to a context.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread,
    time::Duration,
};

use crate::{
    FakeError, Owner, Runtime, lock,
    mapping::{self, Mapping},
    memory::{self, FRESH},
    runtime::check_length,
};

/// Of what lengths and addresses are multiples.
pub const GRANULARITY: u64 = 1 << 16;

/// How the memfd of physical memory is called: then comes the device, and a number.
const NAME: &str = "fake-device-physical-";

/// What is reserved and what physical memory there is.
#[derive(Debug, Default)]
pub(crate) struct VirtualMemory {
    physical: BTreeMap<u64, Physical>,
    /// By first address.
    reserved: BTreeMap<u64, Reservation>,
    /// Physical memory of each mapping, by its address.
    mapped: BTreeMap<u64, u64>,
    made: u64,
}

#[derive(Debug)]
struct Physical {
    file: OwnedFd,
    length: u64,
    /// What the creator said of it.
    properties: Properties,
    references: u64,
    mappings: u64,
    imported: bool,
}

#[derive(Clone, Copy, Debug)]
struct Reservation {
    length: u64,
    hidden: usize,
}

/// What is known of physical memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Whose memory it is.
    pub device: u32,
    /// Whether other processes may be given it.
    pub shareable: bool,
}

/// What is alive.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct MappedCounts {
    pub(crate) own: u64,
    pub(crate) own_bytes: u64,
    pub(crate) imported: u64,
}

impl VirtualMemory {
    pub(crate) fn counts(&self) -> MappedCounts {
        self.physical.values().fold(MappedCounts::default(), |counts, physical| match physical.imported {
            true => MappedCounts { imported: counts.imported + 1, ..counts },
            false => {
                MappedCounts { own: counts.own + 1, own_bytes: counts.own_bytes + physical.length, ..counts }
            }
        })
    }

    fn insert(&mut self, physical: Physical) -> u64 {
        self.made += 1;
        let handle = 0x7000_0000 + self.made * 16;
        self.physical.insert(handle, physical);
        handle
    }

    fn handle(&mut self, handle: u64) -> Result<&mut Physical, FakeError> {
        // Whoever holds mappings only has no handle.
        let found = self.physical.get_mut(&handle).filter(|physical| physical.references > 0);
        found.ok_or(FakeError::NoHandle { what: "physical memory", handle: handle as usize })
    }

    /// Takes out what no one refers to any more.
    fn settle(&mut self, handle: u64) -> Option<Physical> {
        let physical = self.physical.get(&handle)?;
        let unused = physical.references == 0 && physical.mappings == 0;
        unused.then(|| self.physical.remove(&handle)).flatten()
    }

    fn reservation(&self, address: u64, length: u64) -> Option<(u64, Reservation)> {
        let (base, found) = self.reserved.range(..=address).next_back()?;
        let inside = address.checked_add(length)? <= base + found.length;
        inside.then_some((*base, *found))
    }
}

impl Runtime {
    /// Physical memory of a device, full of [`FRESH`]; one handle of it.
    ///
    /// # Errors
    /// [`FakeError::NoDevice`], [`FakeError::Invalid`] for a length that is no multiple of [`GRANULARITY`],
    /// [`FakeError::OutOfMemory`].
    pub fn create_physical(&self, properties: Properties, length: u64) -> Result<u64, FakeError> {
        let Properties { device, .. } = properties;
        self.check_device(device)?;
        check_length(length)?;
        if !length.is_multiple_of(GRANULARITY) {
            return Err(FakeError::Invalid { what: "a length between multiples" });
        }
        lock(&self.memory).reserve(device, length, self.settings.memory)?;
        let name = format!("{NAME}{device}-{:016x}", self.nonce());
        let file = fresh(&name, length).map_err(|_| {
            lock(&self.memory).release(device, length);
            FakeError::OutOfMemory { wanted: length, left: 0 }
        })?;
        let physical = Physical { file, length, properties, references: 1, mappings: 0, imported: false };
        Ok(lock(&self.virtual_memory).insert(physical))
    }

    /// Gives a handle back.
    ///
    /// # Errors
    /// [`FakeError::NoHandle`]; that is misuse.
    pub fn release_physical(&self, handle: u64) -> Result<(), FakeError> {
        let mut known = lock(&self.virtual_memory);
        let Ok(physical) = known.handle(handle) else {
            drop(known);
            self.misuse(&format!("physical memory {handle:#x} is released and was not held"));
            return Err(FakeError::NoHandle { what: "physical memory", handle: handle as usize });
        };
        physical.references -= 1;
        let gone = known.settle(handle);
        drop(known);
        self.free_physical(gone);
        Ok(())
    }

    /// One more handle of what is mapped at an address: the same number.
    ///
    /// # Errors
    /// [`FakeError::Unknown`] where nothing is mapped.
    pub fn retain_physical(&self, address: u64) -> Result<u64, FakeError> {
        let unknown = FakeError::Unknown { address };
        let found = self.find(address).filter(|found| matches!(found.owner, Owner::Mapped(_)));
        let base = found.ok_or(unknown.clone())?.base;
        let mut known = lock(&self.virtual_memory);
        let handle = known.mapped.get(&base).copied().ok_or(unknown.clone())?;
        known.physical.get_mut(&handle).ok_or(unknown)?.references += 1;
        Ok(handle)
    }

    /// What is known of physical memory.
    ///
    /// # Errors
    /// [`FakeError::NoHandle`].
    pub fn physical_properties(&self, handle: u64) -> Result<Properties, FakeError> {
        lock(&self.virtual_memory).handle(handle).map(|physical| physical.properties)
    }

    /// A descriptor for another process.
    ///
    /// # Errors
    /// [`FakeError::NoHandle`]; [`FakeError::Invalid`] where its creator did not ask for that, or no descriptor is left.
    pub fn export_physical(&self, handle: u64) -> Result<OwnedFd, FakeError> {
        let mut known = lock(&self.virtual_memory);
        let physical = known.handle(handle)?;
        if !physical.properties.shareable {
            return Err(FakeError::Invalid { what: "a descriptor of memory that was made without" });
        }
        physical.file.try_clone().map_err(|_| FakeError::Invalid { what: "one more descriptor" })
    }

    /// A handle of physical memory that another process, or this one, has exported. The descriptor stays the caller's.
    ///
    /// # Errors
    /// [`FakeError::Invalid`] for any other descriptor.
    pub fn import_physical(&self, descriptor: BorrowedFd<'_>) -> Result<u64, FakeError> {
        let invalid = FakeError::Invalid { what: "a descriptor of something else" };
        let (device, length) = described(descriptor).ok_or(invalid.clone())?;
        self.check_device(device)?;
        let file = descriptor.try_clone_to_owned().map_err(|_| invalid)?;
        let properties = Properties { device, shareable: true };
        let physical = Physical { file, length, properties, references: 1, mappings: 0, imported: true };
        Ok(lock(&self.virtual_memory).insert(physical))
    }

    /// Addresses where nothing is.
    ///
    /// # Errors
    /// [`FakeError::Invalid`] for a length that is no multiple of [`GRANULARITY`], [`FakeError::OutOfMemory`].
    pub fn reserve_addresses(&self, length: u64) -> Result<u64, FakeError> {
        check_length(length)?;
        if !length.is_multiple_of(GRANULARITY) {
            return Err(FakeError::Invalid { what: "a length between multiples" });
        }
        let none = |_| FakeError::OutOfMemory { wanted: length, left: 0 };
        let address = mapping::reserve(length).map_err(none)? as u64;
        let hidden = mapping::reserve(length).map_err(none)?;
        lock(&self.virtual_memory).reserved.insert(address, Reservation { length, hidden });
        Ok(address)
    }

    /// Gives addresses back; they are not used again.
    ///
    /// # Errors
    /// [`FakeError::Unknown`] for what is not reserved, [`FakeError::Invalid`] where something is mapped still; both are
    /// misuse.
    pub fn free_addresses(&self, address: u64, length: u64) -> Result<(), FakeError> {
        let mut known = lock(&self.virtual_memory);
        let found = known.reserved.get(&address).copied().filter(|found| found.length == length);
        let free = lock(&self.memory).is_free(address, length);
        let refused = match found {
            None => Some(FakeError::Unknown { address }),
            Some(_) if !free => Some(FakeError::Invalid { what: "giving back addresses that are mapped" }),
            Some(_) => None,
        };
        if let Some(refused) = refused {
            drop(known);
            self.misuse(&format!("free addresses: {refused}"));
            return Err(refused);
        }
        if let Some(reservation) = known.reserved.remove(&address) {
            mapping::unmap(reservation.hidden, length);
        }
        Ok(())
    }

    /// The reservation that an address is in: first address and bytes.
    #[must_use]
    pub fn reserved(&self, address: u64) -> Option<(u64, u64)> {
        lock(&self.virtual_memory).reservation(address, 1).map(|(base, found)| (base, found.length))
    }

    /// How many ranges of addresses are reserved.
    #[must_use]
    pub fn reservations(&self) -> u64 {
        lock(&self.virtual_memory).reserved.len() as u64
    }

    /// Maps the beginning of physical memory into reserved addresses. No device may touch it before
    /// [`Runtime::set_access`].
    ///
    /// # Errors
    /// [`FakeError::NoHandle`]; [`FakeError::Invalid`] for a length that it has not, or addresses that are not reserved or
    /// mapped already.
    pub fn map(&self, address: u64, length: u64, handle: u64) -> Result<(), FakeError> {
        let mut known = lock(&self.virtual_memory);
        let touchable = self.settings.touchable;
        let (base, reservation) =
            known.reservation(address, length).ok_or(FakeError::Invalid { what: "addresses" })?;
        let physical = known.handle(handle)?;
        let aligned = address.is_multiple_of(4096) && length.is_multiple_of(GRANULARITY);
        if !aligned || length == 0 || length > physical.length {
            return Err(FakeError::Invalid { what: "a range to map" });
        }
        let mut memory = lock(&self.memory);
        if !memory.is_free(address, length) {
            return Err(FakeError::Invalid { what: "mapping what is mapped" });
        }
        let no_room = |_| FakeError::OutOfMemory { wanted: length, left: 0 };
        let file = physical.file.try_clone().map_err(no_room)?;
        let hidden = reservation.hidden + (address - base) as usize;
        let mapping = Mapping::over(file, (address, hidden), length, touchable).map_err(no_room)?;
        memory.insert(mapping, Owner::Mapped(physical.properties.device));
        physical.mappings += 1;
        known.mapped.insert(address, handle);
        Ok(())
    }

    /// Lets devices touch whole mappings, or forbids it.
    ///
    /// # Errors
    /// [`FakeError::Unknown`] where nothing is mapped, [`FakeError::Invalid`] for a part of a mapping.
    pub fn set_access(&self, address: u64, length: u64, accessible: bool) -> Result<(), FakeError> {
        lock(&self.memory).set_access(address, length, accessible)
    }

    /// Unmaps one mapping. It does not wait for what touches it: that would be misuse.
    ///
    /// # Errors
    /// [`FakeError::Unknown`], [`FakeError::Freed`] for what is not mapped, [`FakeError::Invalid`] for a part of a mapping.
    pub fn unmap(&self, address: u64, length: u64) -> Result<(), FakeError> {
        let found = self.find(address);
        if found.is_some_and(|found| found.length != length) {
            return Err(FakeError::Invalid { what: "a part of a mapping" });
        }
        let owner = found.map_or(Owner::Mapped(0), |found| found.owner);
        let owner = if matches!(owner, Owner::Mapped(_)) { owner } else { Owner::Mapped(u32::MAX) };
        let removed = lock(&self.memory).remove(address, owner);
        let mapping = self.told("unmap", removed)?;
        if !memory::bury(&mapping, owner, Duration::ZERO) {
            self.misuse(&format!("{address:#x} was unmapped while operations wait that touch it"));
            memory::bury(&mapping, owner, self.settings.patience);
        }
        // The addresses may be mapped again, so that the last hold must be gone.
        while Arc::strong_count(&mapping) > 1 {
            thread::yield_now();
        }
        drop(mapping);
        let mut known = lock(&self.virtual_memory);
        let Some(handle) = known.mapped.remove(&address) else { return Ok(()) };
        if let Some(physical) = known.physical.get_mut(&handle) {
            physical.mappings -= 1;
        }
        let gone = known.settle(handle);
        drop(known);
        self.free_physical(gone);
        Ok(())
    }

    fn free_physical(&self, gone: Option<Physical>) {
        if let Some(physical) = gone.filter(|physical| !physical.imported) {
            lock(&self.memory).release(physical.properties.device, physical.length);
        }
    }
}

fn fresh(name: &str, length: u64) -> io::Result<OwnedFd> {
    let mut file = std::fs::File::from(mapping::file(name, length)?);
    let piece = vec![FRESH; GRANULARITY as usize];
    for _ in 0..length / GRANULARITY {
        file.write_all(&piece)?;
    }
    Ok(file.into())
}

/// Device and bytes of exported memory.
fn described(descriptor: BorrowedFd<'_>) -> Option<(u32, u64)> {
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let link = std::fs::read_link(&path).ok()?;
    let name = link.to_str()?.strip_prefix("/memfd:")?.strip_prefix(NAME)?;
    let (device, _) = name.split_once('-')?;
    Some((device.parse().ok()?, std::fs::metadata(&path).ok()?.len()))
}
