//! A cache of this process: its memory, where its tensors lie, and its keys.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Weak},
};

use pmd_core::{
    accelerator::DeviceMemory,
    memory::{Access, MemoryKind, RegionDescription},
};
use pmd_host::{
    backend::Transport,
    endpoint::{Endpoint, Registered},
    region::{PathRefusal, RegionPath},
    soft::Arena,
    transfer::KeepAlive,
};

use super::{EngineError, Shared};
use crate::layout::{CacheDescriptor, CacheDevice, CacheLayout, LayoutError, Placement, TensorRun};

/// A registered cache; clones are handles to the same one. Peers can reach it until the last handle and the last
/// transfer with it are gone.
#[derive(Clone)]
pub struct Cache(Arc<Inner>);

pub(super) struct Inner {
    id: u64,
    name: String,
    layout: CacheLayout,
    /// With key numbers that are indexes into `regions`.
    placement: Placement,
    regions: Vec<Registered>,
    memory: CacheMemory,
    engine: Weak<Shared>,
}

/// Whose memory a cache is in.
#[derive(Clone, Debug)]
pub enum CacheMemory {
    /// The engine's, mapped by peers of this host.
    Arena(Arena),
    /// The caller's.
    Caller,
    /// Somebody's who keeps it as long as this is held.
    Kept(KeepAlive),
    /// An accelerator's.
    Device(Vec<Arc<dyn DeviceMemory>>),
}

impl CacheMemory {
    /// Each accelerator once.
    fn devices(&self) -> Vec<CacheDevice> {
        let Self::Device(memories) = self else { return Vec::new() };
        let mut devices = Vec::new();
        for memory in memories {
            let accelerator = memory.accelerator();
            let identity = accelerator.identity();
            let device = CacheDevice { kind: identity.kind.name().to_owned(), unique: identity.unique };
            if !devices.contains(&device) {
                devices.push(device);
            }
        }
        devices
    }
}

impl Cache {
    pub(super) fn in_arena(
        endpoint: &Endpoint,
        engine: &Arc<Shared>,
        name: &str,
        layout: CacheLayout,
        arena: Arena,
    ) -> Result<Self, EngineError> {
        let placement = Placement::contiguous(&layout, arena.as_ptr() as u64, 0)?;
        let regions = vec![endpoint.register(&arena, Access::READ_WRITE)?];
        let memory = CacheMemory::Arena(arena);
        Ok(Self::new(engine, name, (layout, placement), regions, memory))
    }

    /// The tensors lie one behind the other from the memory's first byte on.
    pub(super) fn on_device(
        endpoint: &Endpoint,
        engine: &Arc<Shared>,
        name: &str,
        layout: CacheLayout,
        memory: Arc<dyn DeviceMemory>,
    ) -> Result<Self, EngineError> {
        let RegionDescription { address, length, .. } = memory.description();
        let needed = layout.total_bytes();
        if length < needed {
            return Err(EngineError::TooSmall { length, needed });
        }
        let placement = Placement::contiguous(&layout, address, 0)?;
        Self::in_memories(endpoint, engine, name, (layout, placement), vec![memory])
    }

    /// Each run lies in one of the memories.
    pub(super) fn on_device_at(
        endpoint: &Endpoint,
        engine: &Arc<Shared>,
        name: &str,
        layout: CacheLayout,
        mut runs: Vec<TensorRun>,
        memories: Vec<Arc<dyn DeviceMemory>>,
    ) -> Result<Self, EngineError> {
        for run in &mut runs {
            let (address, length) = (run.first, run.span(&layout)?);
            let holder = memories.iter().position(|memory| holds(&**memory, address, length));
            run.key = holder.ok_or(EngineError::OutsideMemory { address, length })? as u32;
        }
        let placement = Placement::new(&layout, runs)?;
        Self::in_memories(endpoint, engine, name, (layout, placement), memories)
    }

    fn in_memories(
        endpoint: &Endpoint,
        engine: &Arc<Shared>,
        name: &str,
        shape: (CacheLayout, Placement),
        memories: Vec<Arc<dyn DeviceMemory>>,
    ) -> Result<Self, EngineError> {
        let register = |memory: &Arc<dyn DeviceMemory>| {
            Ok(endpoint.register_device_or_stage(Arc::clone(memory), Access::READ_WRITE)?)
        };
        let regions = memories.iter().map(register).collect::<Result<_, EngineError>>()?;
        Ok(Self::new(engine, name, shape, regions, CacheMemory::Device(memories)))
    }

    /// # Safety
    /// As [`Engine::register_cache`](super::Engine::register_cache).
    #[expect(unsafe_code, reason = "takes addresses on the caller's word")]
    pub(super) unsafe fn at(
        endpoint: &Endpoint,
        engine: &Arc<Shared>,
        name: &str,
        layout: CacheLayout,
        mut runs: Vec<TensorRun>,
        memory: CacheMemory,
    ) -> Result<Self, EngineError> {
        let regions = regions(&layout, &mut runs)?;
        let placement = Placement::new(&layout, runs)?;
        let register = |region: &Range<u64>| {
            let (address, length) = (region.start, region.end - region.start);
            let description = RegionDescription { address, length, kind: MemoryKind::Host, descriptor: None };
            // SAFETY: the caller promises it of every run's memory, and the region is made of nothing else.
            Ok(unsafe { endpoint.register_memory(&description, Access::READ_WRITE)? })
        };
        let regions = regions.iter().map(register).collect::<Result<_, EngineError>>()?;
        Ok(Self::new(engine, name, (layout, placement), regions, memory))
    }

    fn new(
        engine: &Arc<Shared>,
        name: &str,
        (layout, placement): (CacheLayout, Placement),
        regions: Vec<Registered>,
        memory: CacheMemory,
    ) -> Self {
        let (id, name, engine) = (engine.next_id(), name.to_owned(), Arc::downgrade(engine));
        Self(Arc::new(Inner { id, name, layout, placement, regions, memory, engine }))
    }

    /// Number of the cache in its engine, from 1.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.0.id
    }

    /// Name under which peers look it up.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Shape.
    #[must_use]
    pub fn layout(&self) -> &CacheLayout {
        &self.0.layout
    }

    /// Whose memory it is in.
    #[must_use]
    pub fn memory(&self) -> &CacheMemory {
        &self.0.memory
    }

    /// How the bytes are reached over `transport`; of several registered ranges that of the first.
    #[must_use]
    pub fn path(&self, transport: Transport) -> Option<RegionPath> {
        self.0.regions.first()?.path(transport)
    }

    /// Which better ways to the bytes there were not over `transport`, and why; of several registered ranges those of the
    /// first.
    #[must_use]
    pub fn refusals(&self, transport: Transport) -> &[PathRefusal] {
        self.0.regions.first().map_or(&[], |region| region.refusals(transport))
    }

    /// Address of a block, or `None` when there is no such tensor or block.
    #[must_use]
    pub fn block_address(&self, tensor: u32, block: u32) -> Option<u64> {
        let place = self.0.placement.tensor(tensor).filter(|_| block < self.0.layout.blocks())?;
        Some(place.block(block))
    }

    /// What a peer that is reached over `transport` must know; `None` where peers do not reach the memory over it: they may
    /// not, or it is a device's that the NIC does not reach ([`RegionPath::Staged`]), and only this engine's own transfers
    /// have to do with it.
    #[must_use]
    pub fn descriptor(&self, transport: Transport) -> Option<CacheDescriptor> {
        let placement = self.placement_with(|region| region.remote_key(transport).map(|key| key.0))?;
        let Inner { id, name, layout, memory, .. } = &*self.0;
        let copied = self.path(transport) == Some(RegionPath::DeviceCopy);
        let devices = if copied { memory.devices() } else { Vec::new() };
        Some(CacheDescriptor { id: *id, name: name.clone(), layout: *layout, placement, devices })
    }

    /// The placement with the keys of this process's own work requests over `transport`.
    pub(super) fn local_placement(&self, transport: Transport) -> Option<Placement> {
        self.placement_with(|region| region.local_key(transport).map(|key| key.0))
    }

    pub(super) fn downgrade(&self) -> Weak<Inner> {
        Arc::downgrade(&self.0)
    }

    pub(super) fn upgrade(inner: &Weak<Inner>) -> Option<Self> {
        inner.upgrade().map(Self)
    }

    /// What a transfer holds so that the memory outlives it.
    pub(super) fn keep_alive(&self) -> Arc<dyn std::any::Any + Send + Sync> {
        Arc::clone(&self.0) as Arc<dyn std::any::Any + Send + Sync>
    }

    fn placement_with(&self, key: impl Fn(&Registered) -> Option<u32>) -> Option<Placement> {
        self.0.placement.with_keys(|region| key(self.0.regions.get(region as usize)?))
    }
}

/// Whether the memory has all of a range.
fn holds(memory: &dyn DeviceMemory, address: u64, length: u64) -> bool {
    let described = memory.description();
    let offset = address.checked_sub(described.address);
    offset.and_then(|offset| offset.checked_add(length)).is_some_and(|end| end <= described.length)
}

/// The memory that runs lie in: their spans, those that touch each other as one. Gives each run the number of its region
/// as key. A span holds nothing that the runs do not promise to be mapped.
fn regions(layout: &CacheLayout, runs: &mut [TensorRun]) -> Result<Vec<Range<u64>>, EngineError> {
    let mut spans = Vec::with_capacity(runs.len());
    for (index, run) in runs.iter().enumerate() {
        let end = run.first.checked_add(run.span(layout)?);
        spans.push((run.first..end.ok_or(LayoutError::Wraps { address: run.first })?, index));
    }
    spans.sort_unstable_by_key(|(span, _)| span.start);
    let mut regions = Vec::<Range<u64>>::new();
    for (span, index) in spans {
        match regions.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => regions.push(span),
        }
        runs[index].key = regions.len() as u32 - 1;
    }
    Ok(regions)
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Some(engine) = self.engine.upgrade() {
            engine.forget(&self.name, self.id);
        }
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Cache")
            .field("id", &self.0.id)
            .field("name", &self.0.name)
            .field("layout", &self.0.layout)
            .field("regions", &self.0.regions)
            .finish_non_exhaustive()
    }
}
