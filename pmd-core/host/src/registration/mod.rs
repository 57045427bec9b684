//! Registration cache: memory that is used again is not registered again.
//!
//! Registering costs microseconds on shared memory and milliseconds on a NIC (pages are pinned). Callers that see the
//! same tensors over and over ask the [`RegistrationCache`]; callers that register once and keep the region need not.
//!
//! # What the cache promises
//! - A [`Cached`] range stays registered as long as any clone of it lives, whatever is evicted or invalidated.
//! - Ranges that overlap merge into one registration, so that a growing buffer does not leave a trail.
//! - Unused ranges go, least recently used first, when there are more ranges or bytes than allowed.
//! - After [`RegistrationCache::invalidate`] no lookup gives out the old registration. The caller invalidates before
//!   the memory is unmapped; the cache cannot see `free`.
//!
//! Registration runs under the cache's lock: two threads that ask for the same memory register it once.
#![allow(unsafe_code)] // registering takes addresses on the caller's word

use std::{
    collections::BTreeMap,
    fmt,
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pmd_core::memory::{Access, RegionDescription};
use thiserror::Error;

#[cfg(test)]
mod tests;

/// What actually registers: a device, or all devices of an endpoint.
pub trait Registrar: Send + Sync {
    /// A registration; dropping it deregisters.
    type Region: Send + Sync;
    /// Why registration failed.
    type Error: std::error::Error;

    /// Registers a range.
    ///
    /// # Errors
    /// The registrar's own.
    ///
    /// # Safety
    /// The promises of [`RegionSource`](pmd_core::memory::RegionSource) hold for the range while the returned value
    /// lives.
    unsafe fn register(
        &self,
        memory: &RegionDescription,
        access: Access,
    ) -> Result<Self::Region, Self::Error>;
}

/// Bounds of a cache. What is in use does not count against them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Unused registrations kept.
    pub ranges: usize,
    /// Bytes of unused registrations kept.
    pub bytes: u64,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { ranges: 1024, bytes: 64 << 30 }
    }
}

/// What a cache has done so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CacheCounters {
    /// Lookups answered by a registration that was there.
    pub hits: u64,
    /// Lookups that registered.
    pub misses: u64,
    /// Registrations that a larger one replaced.
    pub merged: u64,
    /// Unused registrations dropped to stay within the limits.
    pub evicted: u64,
    /// Registrations dropped because their memory went away.
    pub invalidated: u64,
}

/// A registered range out of a cache; clones are the same registration.
pub struct Cached<R>(Arc<Held<R>>);

struct Held<R> {
    region: R,
    start: u64,
    end: u64,
    access: Access,
}

impl<R> Cached<R> {
    /// First byte of the registration; at or before the range that was asked for.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.0.start
    }

    /// Bytes of the registration; it covers the range that was asked for.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.0.end - self.0.start
    }

    /// What the registration allows; at least what was asked for.
    #[must_use]
    pub fn access(&self) -> Access {
        self.0.access
    }
}

impl<R> Clone for Cached<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> Deref for Cached<R> {
    type Target = R;

    fn deref(&self) -> &R {
        &self.0.region
    }
}

impl<R> fmt::Debug for Cached<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Cached({:#x}..{:#x}, {:?})", self.0.start, self.0.end, self.0.access)
    }
}

/// The cache of one registrar. Shared by reference between threads.
pub struct RegistrationCache<R: Registrar> {
    registrar: R,
    limits: CacheLimits,
    state: Mutex<State<R::Region>>,
}

struct State<R> {
    /// By start address. Ranges of the map never overlap.
    ranges: BTreeMap<u64, Entry<R>>,
    clock: u64,
    counters: CacheCounters,
}

struct Entry<R> {
    cached: Cached<R>,
    used: u64,
}

impl<R> Entry<R> {
    fn is_unused(&self) -> bool {
        Arc::strong_count(&self.cached.0) == 1
    }
}

impl<R: Registrar> RegistrationCache<R> {
    /// An empty cache.
    pub fn new(registrar: R, limits: CacheLimits) -> Self {
        let state = State { ranges: BTreeMap::new(), clock: 0, counters: CacheCounters::default() };
        Self { registrar, limits, state: Mutex::new(state) }
    }

    /// The registrar behind the cache.
    pub const fn registrar(&self) -> &R {
        &self.registrar
    }

    /// A registration that covers `memory` with at least `access`: one that is there, or a new one.
    ///
    /// Memory that comes with a descriptor (dma-buf, shared memory) is registered as described and never merged: its
    /// neighbours may lie in another descriptor.
    ///
    /// # Errors
    /// [`CacheError::Range`] for an impossible range, [`CacheError::Register`] with the registrar's reason.
    ///
    /// # Safety
    /// The range stays mapped at its address until [`RegistrationCache::invalidate`] was called for it (or the cache is
    /// dropped) and every [`Cached`] of it is gone: the cache keeps registrations that nobody uses. Its bytes are not
    /// borrowed while a transfer may touch them.
    pub unsafe fn acquire(
        &self,
        memory: &RegionDescription,
        access: Access,
    ) -> Result<Cached<R::Region>, CacheError<R::Error>> {
        let bad_range = CacheError::Range { address: memory.address, length: memory.length };
        if memory.length == 0 {
            return Err(bad_range);
        }
        let end = memory.address.checked_add(memory.length).ok_or(bad_range)?;
        let mut dropped = Vec::new();
        let mut state = self.state();
        state.clock += 1;
        if let Some(found) = state.lookup(memory.address, end, access) {
            state.counters.hits += 1;
            return Ok(found);
        }
        state.counters.misses += 1;
        let (wanted, access) = state.merged_with_neighbours(memory, end, access);
        // SAFETY: the caller promises it of the range asked for, and callers before promised it of the ranges that it
        // was merged with: they are still in the cache, so they were not invalidated.
        let cached = unsafe { self.register(&wanted, access)? };
        state.replace(&cached, &mut dropped);
        state.evict(self.limits, &mut dropped);
        drop(state);
        // Deregistration may wait for transfers: not under the lock.
        drop(dropped);
        Ok(cached)
    }

    /// Forgets every registration that touches the range. Those in use stay registered until their last user lets go.
    /// Returns how many were forgotten. When it returns, unused ones are deregistered.
    pub fn invalidate(&self, address: u64, length: u64) -> usize {
        let end = address.saturating_add(length);
        let mut state = self.state();
        let starts: Vec<u64> = state.touching(address, end).collect();
        let dropped: Vec<_> = starts.iter().filter_map(|start| state.ranges.remove(start)).collect();
        state.counters.invalidated += dropped.len() as u64;
        drop(state);
        dropped.len()
    }

    /// What the cache has done so far.
    pub fn counters(&self) -> CacheCounters {
        self.state().counters
    }

    /// # Safety
    /// As [`Registrar::register`].
    unsafe fn register(
        &self,
        memory: &RegionDescription,
        access: Access,
    ) -> Result<Cached<R::Region>, CacheError<R::Error>> {
        // SAFETY: passed on.
        let region = unsafe { self.registrar.register(memory, access) }.map_err(CacheError::Register)?;
        let (start, end) = (memory.address, memory.address + memory.length);
        Ok(Cached(Arc::new(Held { region, start, end, access })))
    }

    fn state(&self) -> MutexGuard<'_, State<R::Region>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> State<R> {
    fn lookup(&mut self, start: u64, end: u64, access: Access) -> Option<Cached<R>> {
        let (_, entry) = self.ranges.range_mut(..=start).next_back()?;
        let held = &entry.cached.0;
        if held.end < end || !held.access.contains(access) {
            return None;
        }
        entry.used = self.clock;
        Some(entry.cached.clone())
    }

    /// Starts of the ranges that overlap `start..end`.
    fn touching(&self, start: u64, end: u64) -> impl Iterator<Item = u64> {
        let before = self.ranges.range(..start).next_back();
        let first = before.filter(|(_, entry)| entry.cached.0.end > start).map_or(start, |(first, _)| *first);
        self.ranges.range(first..end.max(first)).map(|(first, _)| *first)
    }

    /// The range together with what it overlaps, and the rights of all of them.
    fn merged_with_neighbours(
        &self,
        memory: &RegionDescription,
        end: u64,
        access: Access,
    ) -> (RegionDescription, Access) {
        let (mut start, mut end, mut access) = (memory.address, end, access);
        if memory.descriptor.is_none() {
            for entry in self.touching(memory.address, end).filter_map(|first| self.ranges.get(&first)) {
                start = start.min(entry.cached.0.start);
                end = end.max(entry.cached.0.end);
                access |= entry.cached.0.access;
            }
        }
        (RegionDescription { address: start, length: end - start, ..*memory }, access)
    }

    /// Puts a registration in place of all that it overlaps.
    fn replace(&mut self, cached: &Cached<R>, dropped: &mut Vec<Entry<R>>) {
        let starts: Vec<u64> = self.touching(cached.0.start, cached.0.end).collect();
        dropped.extend(starts.iter().filter_map(|start| self.ranges.remove(start)));
        self.counters.merged += starts.len() as u64;
        self.ranges.insert(cached.0.start, Entry { cached: cached.clone(), used: self.clock });
    }

    fn evict(&mut self, limits: CacheLimits, dropped: &mut Vec<Entry<R>>) {
        let mut unused: Vec<(u64, u64, u64)> = self
            .ranges
            .iter()
            .filter(|(_, entry)| entry.is_unused())
            .map(|(start, entry)| (entry.used, *start, entry.cached.length()))
            .collect();
        let mut bytes: u64 = unused.iter().map(|(_, _, length)| length).sum();
        let mut count = unused.len();
        if count <= limits.ranges && bytes <= limits.bytes {
            return;
        }
        unused.sort_unstable();
        for (_, start, length) in unused {
            if count <= limits.ranges && bytes <= limits.bytes {
                break;
            }
            dropped.extend(self.ranges.remove(&start));
            self.counters.evicted += 1;
            count -= 1;
            bytes -= length;
        }
    }
}

impl<R: Registrar> fmt::Debug for RegistrationCache<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        formatter
            .debug_struct("RegistrationCache")
            .field("ranges", &state.ranges.len())
            .field("counters", &state.counters)
            .finish_non_exhaustive()
    }
}

/// Why a range was not registered.
#[derive(Debug, PartialEq, Eq, Error)]
pub enum CacheError<E: std::error::Error> {
    /// An empty range or one that runs past the end of the address space.
    #[error(
        "{length} bytes at {address:#x} are not a range: it must be non-empty and end within the address space"
    )]
    Range {
        /// First byte.
        address: u64,
        /// Bytes.
        length: u64,
    },
    /// The registrar's reason.
    #[error(transparent)]
    Register(E),
}
