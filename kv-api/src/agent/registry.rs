//! Registrations by address: this agent's own, and one table for each remote agent.

use super::{Descriptor, MemoryType, metadata::Numbered};
use crate::fabric::AddressMap;

/// Registrations by address and number.
#[derive(Clone, Debug)]
pub(super) struct Registry<T>(AddressMap<Entry<T>>);

#[derive(Clone, Debug)]
struct Entry<T> {
    number: u64,
    memory: MemoryType,
    device: u64,
    value: T,
}

impl<T> Default for Registry<T> {
    fn default() -> Self {
        Self(AddressMap::default())
    }
}

impl<T> Registry<T> {
    pub(super) fn insert(&mut self, registration: &Numbered, value: T) {
        let Numbered { number, memory, descriptor: Descriptor { address, length, device } } = *registration;
        self.0.insert(number, address, length, Entry { number, memory, device, value });
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<T> {
        self.0.remove(number).map(|entry| entry.value)
    }

    /// A registration that holds all of a descriptor: first address, end, number and value.
    pub(super) fn covering(
        &self,
        memory: MemoryType,
        descriptor: &Descriptor,
    ) -> Option<(u64, u64, u64, &T)> {
        let Descriptor { address, length, device } = *descriptor;
        let wanted = |entry: &Entry<T>| entry.memory == memory && entry.device == device;
        let (start, end, entry) = self.0.covering_where(address, length, wanted)?;
        Some((start, end, entry.number, &entry.value))
    }

    /// The registration of exactly this descriptor: its number and value.
    pub(super) fn exactly(&self, memory: MemoryType, descriptor: &Descriptor) -> Option<(u64, &T)> {
        let Descriptor { address, length, device } = *descriptor;
        let end = address.checked_add(length)?;
        let wanted = |entry: &Entry<T>| entry.memory == memory && entry.device == device;
        let (start, found, entry) = self.0.covering_where(address, length, wanted)?;
        if (start, found) == (address, end) {
            return Some((entry.number, &entry.value));
        }
        // A longer one that starts here hides it.
        let same = |(_, start, size, entry): &(u64, u64, u64, &Entry<T>)| {
            (*start, *size) == (address, length) && wanted(entry)
        };
        self.0.iter().find(same).map(|(number, _, _, entry)| (number, &entry.value))
    }

    pub(super) fn numbered(&self) -> impl Iterator<Item = (Numbered, &T)> {
        self.0.iter().map(|(number, address, length, entry)| {
            let descriptor = Descriptor { address, length, device: entry.device };
            (Numbered { number, memory: entry.memory, descriptor }, &entry.value)
        })
    }
}
