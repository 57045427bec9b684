//! Memory for caches that are allocated here: pieces of arenas, which peers of this host can map, or of an accelerator's
//! memory. Many caches share one, since each costs a descriptor; each cache is registered by itself, so that its key ends
//! with it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pmd_core::{accelerator::DeviceMemory, memory::MemoryKind};
use pmd_host::soft::{AllocateError, Arena, ArenaOptions};

use super::{CachePlacement, DataDistError, error::NoSpace, memory, options::PoolSettings};
use crate::fabric::{Fabric, FabricError};

/// Bytes of a piece of memory of a pool that grows, at least.
const GROWTH: u64 = 4 << 20;

/// Unit of a pool that grows.
const PAGE: u64 = 4096;

/// Where caches of one placement are allocated.
pub(super) struct Pool {
    placement: CachePlacement,
    bound: Option<PoolSettings>,
    areas: Mutex<Vec<Arc<Shared>>>,
}

struct Shared {
    area: Area,
    free: Mutex<FreeList>,
}

/// What pieces are taken of.
enum Area {
    Host(Arena),
    Device(Box<dyn DeviceMemory>),
}

/// A piece of a pool; goes back when it is dropped.
pub(super) struct Piece {
    shared: Arc<Shared>,
    offset: u64,
    bytes: u64,
}

impl Pool {
    pub(super) const fn new(placement: CachePlacement, bound: Option<PoolSettings>) -> Self {
        Self { placement, bound, areas: Mutex::new(Vec::new()) }
    }

    /// `bytes` in one piece, aligned to a page. What was there before is still there.
    pub(super) fn allocate(&self, fabric: &Fabric, bytes: u64) -> Result<Piece, DataDistError> {
        let placement = self.placement;
        let no_space = |reason| DataDistError::NoSpace { placement, bytes, reason };
        let page = self.bound.map_or(PAGE, |bound| bound.page);
        let too_large = || no_space(AllocateError::Length { length: usize::MAX }.into());
        let wanted = bytes.checked_next_multiple_of(page).ok_or_else(too_large)?;
        let mut areas = self.lock();
        if let Some(piece) = areas.iter().find_map(|shared| shared.take(wanted)) {
            return Ok(piece);
        }
        let size = match self.bound {
            None => wanted.max(GROWTH),
            Some(bound) if areas.is_empty() && wanted <= bound.bytes => bound.bytes,
            Some(bound) => return Err(no_space(NoSpace::Pool { size: bound.bytes, wanted })),
        };
        let area = self.area(fabric, size).map_err(no_space)?;
        let free = Mutex::new(FreeList::new(area.length()));
        let shared = Arc::new(Shared { area, free });
        let piece = shared.take(wanted);
        areas.retain(|shared| self.bound.is_some() || !shared.is_unused());
        areas.push(Arc::clone(&shared));
        drop(areas);
        piece.ok_or_else(too_large)
    }

    fn area(&self, fabric: &Fabric, size: u64) -> Result<Area, NoSpace> {
        if memory::kind(fabric, self.placement) == MemoryKind::Device {
            let accelerator = fabric.accelerator(None)?;
            return Ok(Area::Device(accelerator.allocate(size).map_err(FabricError::from)?));
        }
        Ok(Area::Host(fabric.endpoint().allocate(size as usize, ArenaOptions::default())?))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Shared>>> {
        self.areas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Area {
    fn address(&self) -> u64 {
        match self {
            Self::Host(arena) => arena.as_ptr() as u64,
            Self::Device(memory) => memory.description().address,
        }
    }

    fn length(&self) -> u64 {
        match self {
            Self::Host(arena) => arena.length() as u64,
            Self::Device(memory) => memory.description().length,
        }
    }
}

impl Shared {
    fn take(self: &Arc<Self>, bytes: u64) -> Option<Piece> {
        let offset = self.free().take(bytes)?;
        Some(Piece { shared: Arc::clone(self), offset, bytes })
    }

    fn is_unused(&self) -> bool {
        self.free().is_whole()
    }

    fn free(&self) -> MutexGuard<'_, FreeList> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Piece {
    pub(super) fn address(&self) -> u64 {
        self.shared.area.address() + self.offset
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.shared.free().put(self.offset, self.bytes);
    }
}

/// What is free of a range that begins at 0: runs by their start, none touching the next.
#[derive(Debug)]
pub(super) struct FreeList {
    runs: BTreeMap<u64, u64>,
    length: u64,
}

impl FreeList {
    pub(super) fn new(length: u64) -> Self {
        Self { runs: BTreeMap::from([(0, length)]), length }
    }

    /// The first run that is long enough gives its beginning.
    pub(super) fn take(&mut self, bytes: u64) -> Option<u64> {
        let (start, length) =
            self.runs.iter().find(|(_, length)| **length >= bytes).map(|run| (*run.0, *run.1))?;
        self.runs.remove(&start);
        if length > bytes {
            self.runs.insert(start + bytes, length - bytes);
        }
        Some(start)
    }

    /// Gives back what was taken.
    pub(super) fn put(&mut self, mut start: u64, mut bytes: u64) {
        if let Some((before, length)) = self.runs.range(..start).next_back().map(|run| (*run.0, *run.1))
            && before + length == start
        {
            self.runs.remove(&before);
            (start, bytes) = (before, bytes + length);
        }
        if let Some(length) = self.runs.remove(&(start + bytes)) {
            bytes += length;
        }
        self.runs.insert(start, bytes);
    }

    /// Whether all of it is free.
    pub(super) fn is_whole(&self) -> bool {
        self.runs.get(&0) == Some(&self.length)
    }
}
