//! The receive areas that a server has given this worker, key by key, and which of their slots are free: the credits of
//! the data path.
//!
//! | slot | meaning |
//! |---|---|
//! | free | nothing of it is in flight, the server has responded to what was there |
//! | taken | a push is being written there, or the server has it |
//!
//! An area that is **retired** (a larger one took its place, or the server took it back) gives out no slot any more; when
//! its last one is free the server is told, and frees the memory.

use std::collections::HashMap;

use crate::wire::{AreaAgreed, AreaGone};

/// All areas of one connection.
#[derive(Debug, Default)]
pub(super) struct Areas {
    keys: HashMap<u64, KeyAreas>,
    /// The key that the server is being asked for, and areas of it that were taken back before they were known here: the
    /// answer and the taking back come on two threads.
    asked: Option<(u64, Vec<u16>)>,
}

#[derive(Debug, Default)]
struct KeyAreas {
    areas: Vec<Area>,
    /// Bytes that the caller declared, beyond which it does not grow.
    declared: Option<u64>,
}

#[derive(Debug)]
struct Area {
    agreed: AreaAgreed,
    free: Vec<u16>,
    retired: bool,
}

/// A slot for a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) slot: u16,
    pub(super) address: u64,
    pub(super) remote_key: u32,
    /// Whether the push must be written there.
    pub(super) write_only: bool,
}

/// Whether a key has room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// An area with this depth holds so many bytes.
    Agreed { depth: u16 },
    /// The server must be asked.
    Ask,
    /// More than was declared.
    Beyond { capacity: u64 },
}

impl Areas {
    pub(super) fn room(&self, key: u64, bytes: u64) -> Room {
        let Some(of_key) = self.keys.get(&key) else { return Room::Ask };
        if let Some(capacity) = of_key.declared.filter(|capacity| bytes > *capacity) {
            return Room::Beyond { capacity };
        }
        of_key.current(bytes).map_or(Room::Ask, |area| Room::Agreed { depth: area.agreed.depth })
    }

    pub(super) fn declare(&mut self, key: u64, capacity: u64) {
        self.keys.entry(key).or_default().declared = Some(capacity);
    }

    /// The server is about to be asked for an area of the key.
    pub(super) fn ask(&mut self, key: u64) {
        self.asked = Some((key, Vec::new()));
    }

    /// A new area takes the place of what the key had. Returns areas to be released.
    #[must_use]
    pub(super) fn insert(&mut self, key: u64, agreed: AreaAgreed) -> Vec<AreaGone> {
        let early =
            self.asked.take().is_some_and(|(of, gone)| of == key && gone.contains(&agreed.first_slot));
        let of_key = self.keys.entry(key).or_default();
        of_key.areas.iter_mut().for_each(|area| area.retired = true);
        let free = (agreed.first_slot..agreed.first_slot.saturating_add(agreed.depth)).rev().collect();
        of_key.areas.push(Area { agreed, free, retired: early });
        of_key.collect(key)
    }

    /// The server takes an area back. Returns areas to be released.
    #[must_use]
    pub(super) fn revoke(&mut self, gone: AreaGone) -> Vec<AreaGone> {
        if let Some(of_key) = self.keys.get_mut(&gone.key)
            && of_key.retire(gone.first_slot)
        {
            return of_key.collect(gone.key);
        }
        if let Some((_, early)) = self.asked.as_mut().filter(|(key, _)| *key == gone.key) {
            early.push(gone.first_slot);
        }
        Vec::new()
    }

    /// A slot for a push of so many bytes; `None` when all are taken.
    pub(super) fn take(&mut self, key: u64, bytes: u64) -> Option<Place> {
        let of_key = self.keys.get_mut(&key)?;
        let fits = |area: &&mut Area| !area.retired && area.agreed.capacity >= bytes;
        let area = of_key.areas.iter_mut().find(fits)?;
        let slot = area.free.pop()?;
        let offset = u64::from(slot - area.agreed.first_slot) * area.agreed.stride;
        let AreaAgreed { address, remote_key, write_only, .. } = area.agreed;
        Some(Place { slot, address: address + offset, remote_key, write_only })
    }

    /// A slot is free again. Returns areas to be released.
    #[must_use]
    pub(super) fn give(&mut self, key: u64, slot: u16) -> Vec<AreaGone> {
        let Some(of_key) = self.keys.get_mut(&key) else { return Vec::new() };
        let holder = of_key.areas.iter_mut().find(|area| area.holds(slot));
        if let Some(area) = holder {
            area.free.push(slot);
        }
        of_key.collect(key)
    }
}

impl KeyAreas {
    fn current(&self, bytes: u64) -> Option<&Area> {
        self.areas.iter().find(|area| !area.retired && area.agreed.capacity >= bytes)
    }

    /// Takes an area out of use; false if there is none that starts there.
    fn retire(&mut self, first_slot: u16) -> bool {
        let named = self.areas.iter_mut().find(|area| area.agreed.first_slot == first_slot);
        named.map(|area| area.retired = true).is_some()
    }

    /// Takes out areas that are retired and empty.
    fn collect(&mut self, key: u64) -> Vec<AreaGone> {
        let done = |area: &mut Area| area.retired && area.free.len() == usize::from(area.agreed.depth);
        self.areas
            .extract_if(.., done)
            .map(|area| AreaGone { key, first_slot: area.agreed.first_slot })
            .collect()
    }
}

impl Area {
    fn holds(&self, slot: u16) -> bool {
        slot >= self.agreed.first_slot && slot - self.agreed.first_slot < self.agreed.depth
    }
}
