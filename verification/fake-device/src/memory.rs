//! What was allocated, pinned, registered and opened, and where an address is. Behind [`Runtime`](crate::Runtime).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use crate::{FakeError, mapping::Mapping};

/// What fresh memory is full of.
pub const FRESH: u8 = 0xa5;

/// What freed memory is full of, for those who have it open still.
pub const FREED: u8 = 0x5a;

/// Whose memory an allocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A device's; programs may not touch it.
    Device(u32),
    /// Another process's on a device, opened here; programs may not touch it.
    Imported(u32),
    /// A device's, mapped into reserved addresses; programs may not touch it.
    Mapped(u32),
    /// Page-locked memory of the host, allocated by the runtime.
    Pinned,
    /// Page-locked memory of the host, allocated by the program.
    Registered,
    /// Memory that host and device both touch, allocated for this device.
    Managed(u32),
}

impl Owner {
    /// The device, if it is the memory of one.
    #[must_use]
    pub const fn device(self) -> Option<u32> {
        match self {
            Self::Device(device) | Self::Imported(device) | Self::Mapped(device) | Self::Managed(device) => {
                Some(device)
            }
            Self::Pinned | Self::Registered => None,
        }
    }
}

/// The allocation that an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its first byte.
    pub base: u64,
    /// Its bytes.
    pub length: u64,
    /// Whose memory it is.
    pub owner: Owner,
    /// A number that no other allocation of this process has or had.
    pub identity: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Memory {
    live: BTreeMap<u64, Entry>,
    /// Device memory that was freed: length by first byte. Its addresses are not used again.
    freed: BTreeMap<u64, u64>,
    /// Other memory that was freed, until its address is used again.
    freed_host: BTreeSet<u64>,
    used: BTreeMap<u32, u64>,
    allocated: u64,
}

#[derive(Debug)]
struct Entry {
    mapping: Arc<Mapping>,
    owner: Owner,
    identity: u64,
    /// Whether devices may touch it; mapped memory waits for that.
    accessible: bool,
}

/// Memory that an operation touches, and that is not unmapped before it is done.
#[derive(Debug)]
pub(crate) struct Hold(Arc<Mapping>);

impl Hold {
    fn new(mapping: &Arc<Mapping>) -> Self {
        mapping.begin();
        Self(Arc::clone(mapping))
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Where a checked range is, for as long as the hold lives.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) pointer: usize,
    pub(crate) owner: Option<Owner>,
    _holds: Vec<Hold>,
}

impl Memory {
    /// Takes bytes of a device.
    pub(crate) fn reserve(&mut self, device: u32, length: u64, room: u64) -> Result<(), FakeError> {
        let used = self.used.entry(device).or_default();
        let left = room.saturating_sub(*used);
        if length > left {
            return Err(FakeError::OutOfMemory { wanted: length, left });
        }
        *used += length;
        Ok(())
    }

    /// Gives bytes of a device back.
    pub(crate) fn release(&mut self, device: u32, length: u64) {
        *self.used.entry(device).or_default() -= length;
    }

    /// Bytes of a device that are taken.
    pub(crate) fn used(&self, device: u32) -> u64 {
        self.used.get(&device).copied().unwrap_or(0)
    }

    pub(crate) fn insert(&mut self, mapping: Mapping, owner: Owner) -> u64 {
        let address = mapping.address;
        self.freed_host.remove(&address);
        if matches!(owner, Owner::Mapped(_)) {
            let end = address + mapping.length;
            self.freed.retain(|base, length| *base >= end || *base + *length <= address);
        }
        self.allocated += 1;
        let accessible = !matches!(owner, Owner::Mapped(_));
        let entry = Entry { mapping: Arc::new(mapping), owner, identity: self.allocated, accessible };
        self.live.insert(address, entry);
        address
    }

    /// Lets devices touch mapped memory, or not. Whole mappings without a gap.
    pub(crate) fn set_access(
        &mut self,
        address: u64,
        length: u64,
        accessible: bool,
    ) -> Result<(), FakeError> {
        let (mut at, end) = (address, address.saturating_add(length));
        while at < end {
            let entry = self.live.get_mut(&at).filter(|entry| matches!(entry.owner, Owner::Mapped(_)));
            let entry = entry.ok_or(FakeError::Unknown { address: at })?;
            entry.accessible = accessible;
            at += entry.mapping.length;
        }
        if at == end { Ok(()) } else { Err(FakeError::Invalid { what: "a part of a mapping" }) }
    }

    /// Whether nothing lies in a range.
    pub(crate) fn is_free(&self, address: u64, length: u64) -> bool {
        let before = self.live.range(..address + length).next_back();
        before.is_none_or(|(base, entry)| base + entry.mapping.length <= address)
    }

    /// Takes an allocation out, by its first byte.
    pub(crate) fn remove(&mut self, address: u64, owner: Owner) -> Result<Arc<Mapping>, FakeError> {
        match self.live.get(&address) {
            None if self.freed_host.contains(&address) => return Err(FakeError::Freed { address }),
            None => {
                self.check_not_freed(address)?;
                return Err(FakeError::Unknown { address });
            }
            Some(entry) if entry.owner != owner => return Err(FakeError::WrongOwner { address }),
            Some(_) => {}
        }
        let entry = self.live.remove(&address).ok_or(FakeError::Unknown { address })?;
        match owner {
            Owner::Device(_) | Owner::Imported(_) | Owner::Mapped(_) => {
                self.freed.insert(address, entry.mapping.length);
            }
            Owner::Pinned | Owner::Registered | Owner::Managed(_) => {
                self.freed_host.insert(address);
            }
        }
        if let Owner::Device(device) | Owner::Managed(device) = owner {
            self.release(device, entry.mapping.length);
        }
        Ok(entry.mapping)
    }

    pub(crate) fn find(&self, address: u64) -> Option<Found> {
        let (base, entry) = self.holding(address)?;
        let Entry { mapping, owner, identity, .. } = entry;
        Some(Found { base: *base, length: mapping.length, owner: *owner, identity: *identity })
    }

    /// The allocation that an address is in, for a descriptor or a handle.
    pub(crate) fn mapping(&self, address: u64) -> Result<(Arc<Mapping>, Owner), FakeError> {
        self.check_not_freed(address)?;
        let (_, entry) = self.holding(address).ok_or(FakeError::Unknown { address })?;
        Ok((Arc::clone(&entry.mapping), entry.owner))
    }

    /// Where a range is. What is not known here is taken for the program's own memory.
    pub(crate) fn place(&self, address: u64, length: u64) -> Result<Place, FakeError> {
        if address == 0 {
            return Err(FakeError::Invalid { what: "address 0" });
        }
        self.check_not_freed(address)?;
        let Some((base, entry)) = self.holding(address) else {
            return Ok(Place { pointer: address as usize, owner: None, _holds: Vec::new() });
        };
        let mut left = base + entry.mapping.length - address;
        let mut touched = vec![entry];
        // Mappings that lie one behind the other are one range, in the hidden view too.
        while length > left
            && matches!(entry.owner, Owner::Mapped(_))
            && let Some(next) = self.live.get(&(address + left))
            && next.owner == entry.owner
        {
            left += next.mapping.length;
            touched.push(next);
        }
        if length > left {
            return Err(FakeError::OutOfBounds { address, length, left });
        }
        if touched.iter().any(|entry| !entry.accessible) {
            return Err(FakeError::NoAccess { address });
        }
        let pointer = entry.mapping.pointer(address);
        let holds = touched.iter().map(|entry| Hold::new(&entry.mapping)).collect();
        Ok(Place { pointer, owner: Some(entry.owner), _holds: holds })
    }

    /// First bytes of everything that fulfils a condition.
    pub(crate) fn all(&self, wanted: impl Fn(Owner) -> bool) -> Vec<(u64, Owner)> {
        let live = self.live.iter().filter(|(_, entry)| wanted(entry.owner));
        live.map(|(address, entry)| (*address, entry.owner)).collect()
    }

    /// Bytes of everything that fulfils a condition.
    pub(crate) fn bytes(&self, wanted: impl Fn(Owner) -> bool) -> u64 {
        self.live.values().filter(|entry| wanted(entry.owner)).map(|entry| entry.mapping.length).sum()
    }

    fn check_not_freed(&self, address: u64) -> Result<(), FakeError> {
        let before = self.freed.range(..=address).next_back();
        match before.filter(|(base, length)| address - **base < **length) {
            Some(_) => Err(FakeError::Freed { address }),
            None => Ok(()),
        }
    }

    fn holding(&self, address: u64) -> Option<(&u64, &Entry)> {
        let before = self.live.range(..=address).next_back();
        before.filter(|(base, entry)| address - **base < entry.mapping.length)
    }
}

/// Waits until nothing touches the memory that was taken out, and spoils it if it is gone for everyone.
pub(crate) fn bury(mapping: &Mapping, owner: Owner, patience: Duration) -> bool {
    let quiet = mapping.wait_quiet(patience);
    if quiet && matches!(owner, Owner::Device(_)) {
        mapping.fill(FREED);
    }
    quiet
}
