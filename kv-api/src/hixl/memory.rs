//! Memory that a program has registered.
#![allow(unsafe_code)] // registers memory on the caller's word

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use pmd_core::memory::{MemoryKind, RegionDescription};
use pmd_host::soft::ArenaOptions;

use super::{HixlError, MemDesc, MemHandle, MemType};
use crate::fabric::{Fabric, Segment};

/// Registered memory by handle.
#[derive(Default)]
pub(super) struct Memory(Mutex<Table>);

#[derive(Default)]
struct Table {
    registered: BTreeMap<MemHandle, Registration>,
    /// Handle by type and first byte. Ranges of one type do not overlap.
    places: BTreeMap<(MemType, u64), MemHandle>,
    last: u64,
}

struct Registration {
    segment: Segment,
    kind: MemType,
}

impl Memory {
    /// The handle of the memory; the one that it has already, if it has one.
    ///
    /// # Safety
    /// As [`Fabric::register`].
    pub(super) unsafe fn register(
        &self,
        fabric: &Fabric,
        memory: MemDesc,
        kind: MemType,
    ) -> Result<MemHandle, HixlError> {
        let MemDesc { addr: address, len: length } = memory;
        if address == 0 || length == 0 || address.checked_add(length).is_none() {
            return Err(HixlError::NoMemory { address, length });
        }
        let mut table = self.table();
        if let Some((handle, other)) = table.touching(kind, memory) {
            return if other == memory { Ok(handle) } else { Err(overlap(memory, other)) };
        }
        let described = RegionDescription { address, length, kind: place(fabric, kind), descriptor: None };
        // SAFETY: the caller promises it.
        let segment = unsafe { fabric.register(&described)? };
        Ok(table.insert(segment, kind))
    }

    /// Memory of the fabric's, and its handle.
    pub(super) fn allocate(
        &self,
        fabric: &Fabric,
        bytes: usize,
        kind: MemType,
        options: ArenaOptions,
    ) -> Result<(MemHandle, MemDesc), HixlError> {
        let segment = match place(fabric, kind) {
            MemoryKind::Device => fabric.allocate_device(bytes as u64, None)?,
            _ => fabric.allocate(bytes, options)?,
        };
        let memory = MemDesc { addr: segment.address(), len: segment.length() };
        Ok((self.table().insert(segment, kind), memory))
    }

    /// Deregisters, once no transfer of this process uses the memory; one that is not registered is left alone.
    pub(super) fn deregister(&self, handle: MemHandle, patience: Duration) -> Result<(), HixlError> {
        if handle.0 == 0 {
            return Err(HixlError::NullHandle);
        }
        let Some(registration) = self.table().remove(handle) else { return Ok(()) };
        let deadline = Instant::now() + patience;
        while registration.segment.is_shared() {
            if Instant::now() >= deadline {
                self.table().put_back(handle, registration);
                return Err(HixlError::InUse { handle, waited: patience });
            }
            thread::sleep(Duration::from_micros(50));
        }
        drop(registration);
        Ok(())
    }

    /// Deregisters everything.
    pub(super) fn clear(&self) {
        let table = std::mem::take(&mut *self.table());
        drop(table);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Memory of that type that shares a byte with the range.
    fn touching(&self, kind: MemType, memory: MemDesc) -> Option<(MemHandle, MemDesc)> {
        let last_byte = memory.addr + (memory.len - 1);
        // Of ranges that do not overlap with each other, the one that starts last is the only one to look at.
        let (_, handle) = self.places.range((kind, 0)..=(kind, last_byte)).next_back()?;
        let segment = &self.registered.get(handle)?.segment;
        let other = MemDesc { addr: segment.address(), len: segment.length() };
        (other.addr + other.len > memory.addr).then_some((*handle, other))
    }

    fn insert(&mut self, segment: Segment, kind: MemType) -> MemHandle {
        self.last += 1;
        let handle = MemHandle(self.last);
        self.put_back(handle, Registration { segment, kind });
        handle
    }

    fn put_back(&mut self, handle: MemHandle, registration: Registration) {
        self.places.insert((registration.kind, registration.segment.address()), handle);
        self.registered.insert(handle, registration);
    }

    fn remove(&mut self, handle: MemHandle) -> Option<Registration> {
        let registration = self.registered.remove(&handle)?;
        self.places.remove(&(registration.kind, registration.segment.address()));
        Some(registration)
    }
}

/// Where memory of a type is: without accelerators the device is simulated by this process's memory.
fn place(fabric: &Fabric, kind: MemType) -> MemoryKind {
    match kind {
        MemType::Device if !fabric.accelerators().is_empty() => MemoryKind::Device,
        _ => MemoryKind::Host,
    }
}

fn overlap(memory: MemDesc, other: MemDesc) -> HixlError {
    let (MemDesc { addr: address, len: length }, MemDesc { addr, len }) = (memory, other);
    HixlError::Overlap { address, length, other: addr, other_length: len }
}
