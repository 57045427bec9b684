//! Cache memory of this process as bytes: to fill it, to hash it, to write it to a file. Bytes of a device have a copy here
//! for that ([`Mirror`]), which a stream brings there and back.
#![allow(unsafe_code)] // borrows memory that transfers write, between transfers

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ptr::NonNull,
    slice,
    sync::Arc,
};

use clap::ValueEnum;
use kv_api::{
    engine::{Cache, Engine, EngineError},
    layout::{CacheLayout, TensorRun},
};
use pmd_core::accelerator::{Accelerator, CopyDirection, CopyRange, DeviceMemory, Stream};
use pmd_host::{
    accelerator::wait_for,
    soft::{self, Arena, ArenaOptions, HugePages},
};

use crate::failure::Failure;

/// `--memory`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum MemoryOption {
    /// Ordinary memory of the process.
    Heap,
    /// The driver's shared memory.
    #[default]
    Arena,
}

/// How the commands make arenas: as fast as they get.
pub(crate) const ARENA: ArenaOptions = ArenaOptions { huge_pages: HugePages::Prefer, prefault: true };

/// A cache together with its memory.
#[derive(Debug)]
pub(crate) struct OwnedCache {
    cache: Cache,
    /// After `cache`: freed only when the cache is deregistered.
    place: Place,
}

#[derive(Debug)]
enum Place {
    Arena,
    Heap(Heap),
    Device(Mirror),
}

impl OwnedCache {
    pub(crate) fn new(
        engine: &Engine,
        name: &str,
        layout: CacheLayout,
        memory: MemoryOption,
    ) -> Result<Self, Failure> {
        match memory {
            MemoryOption::Arena => {
                Ok(Self { cache: engine.allocate_cache(name, layout, ARENA)?, place: Place::Arena })
            }
            MemoryOption::Heap => {
                let heap = Heap::new(layout.total_bytes())?;
                let run = TensorRun {
                    first: heap.0.as_ptr() as u64,
                    tensor_stride: layout.tensor_bytes(),
                    block_stride: layout.block_bytes(),
                    count: layout.tensors(),
                    key: 0,
                };
                // SAFETY: the heap memory is freed after the cache (field order), and every transfer with the cache
                // ends before this value is dropped: all callers wait for theirs, and peers are gone by then. It is
                // borrowed only through `bytes` and `bytes_mut`, between transfers.
                let cache = unsafe { engine.register_cache(name, layout, vec![run])? };
                Ok(Self { cache, place: Place::Heap(heap) })
            }
        }
    }

    /// A cache in memory of an accelerator, which the engine was opened with, or else in this kind of memory.
    pub(crate) fn at(
        engine: &Engine,
        name: &str,
        layout: CacheLayout,
        accelerator: Option<&Arc<dyn Accelerator>>,
        otherwise: MemoryOption,
    ) -> Result<Self, Failure> {
        match accelerator {
            Some(accelerator) => Self::on_device(engine, name, layout, accelerator),
            None => Self::new(engine, name, layout, otherwise),
        }
    }

    fn on_device(
        engine: &Engine,
        name: &str,
        layout: CacheLayout,
        accelerator: &Arc<dyn Accelerator>,
    ) -> Result<Self, Failure> {
        let mirror = Mirror::new(accelerator, layout.total_bytes())?;
        let cache = engine.register_device_cache(name, layout, Arc::clone(mirror.device()))?;
        Ok(Self { cache, place: Place::Device(mirror) })
    }

    /// The device's side, where a device has the cache.
    pub(crate) const fn mirror(&self) -> Option<&Mirror> {
        match &self.place {
            Place::Device(mirror) => Some(mirror),
            Place::Arena | Place::Heap(_) => None,
        }
    }

    /// What was written to the bytes goes to where transfers read it.
    pub(crate) fn upload(&self) -> Result<(), Failure> {
        self.mirror().map_or(Ok(()), Mirror::upload)
    }

    /// `length` bytes from `start` on, fewer where the cache ends before, become what transfers have written.
    ///
    /// # Safety
    /// Nobody holds a slice of those bytes.
    pub(crate) unsafe fn download(&self, start: usize, length: usize) -> Result<(), Failure> {
        // SAFETY: the caller's promise.
        self.mirror().map_or(Ok(()), |mirror| unsafe { mirror.download(start, length) })
    }

    pub(crate) const fn cache(&self) -> &Cache {
        &self.cache
    }

    /// All bytes of the cache, tensor by tensor.
    pub(crate) fn memory(&self) -> NonNull<[u8]> {
        // A cache's first block is at no null address; the fallback cannot be reached.
        let base = NonNull::new(self.base()).unwrap_or(NonNull::dangling());
        NonNull::slice_from_raw_parts(base, self.length())
    }

    /// All bytes of the cache, tensor by tensor, for reading.
    ///
    /// # Safety
    /// No transfer writes the cache while the slice lives.
    pub(crate) unsafe fn bytes(&self) -> &[u8] {
        // SAFETY: every kind of memory is contiguous from the first block on and as long as the layout says; the
        // caller promises that nobody writes.
        unsafe { slice::from_raw_parts(self.base(), self.length()) }
    }

    /// `length` bytes of the cache from `start` on, for reading; fewer where the cache ends before.
    ///
    /// # Safety
    /// No transfer writes that part while the slice lives.
    pub(crate) unsafe fn part(&self, start: usize, length: usize) -> &[u8] {
        let start = start.min(self.length());
        let length = length.min(self.length() - start);
        // SAFETY: inside the cache by the two lines above; the caller promises that nobody writes it.
        unsafe { slice::from_raw_parts(self.base().add(start), length) }
    }

    /// All bytes of the cache for writing.
    ///
    /// # Safety
    /// No transfer touches the cache while the slice lives.
    pub(crate) unsafe fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the caller promises that nobody reads either.
        unsafe { slice::from_raw_parts_mut(self.base(), self.length()) }
    }

    fn base(&self) -> *mut u8 {
        match &self.place {
            Place::Heap(heap) => heap.0.as_ptr(),
            Place::Device(mirror) => mirror.copy.0.as_ptr(),
            Place::Arena => self.cache.block_address(0, 0).unwrap_or_default() as *mut u8,
        }
    }

    fn length(&self) -> usize {
        self.cache.layout().total_bytes() as usize
    }
}

/// Memory of a device, and a copy of it here.
#[derive(Debug)]
pub(crate) struct Mirror {
    device: Arc<dyn DeviceMemory>,
    stream: Arc<dyn Stream>,
    copy: Heap,
}

impl Mirror {
    pub(crate) fn new(accelerator: &Arc<dyn Accelerator>, bytes: u64) -> Result<Self, Failure> {
        let (copy, stream) = (Heap::new(bytes)?, accelerator.open_stream()?);
        Ok(Self { device: accelerator.allocate(bytes)?.into(), stream, copy })
    }

    /// The device's side.
    pub(crate) const fn device(&self) -> &Arc<dyn DeviceMemory> {
        &self.device
    }

    /// First byte of the device's side.
    pub(crate) fn address(&self) -> u64 {
        self.device.description().address
    }

    /// Bytes of the copy here.
    pub(crate) fn bytes(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.copy.0, self.copy.1.size())
    }

    /// The copy here goes to the device. No transfer touches the device's side meanwhile.
    pub(crate) fn upload(&self) -> Result<(), Failure> {
        self.carry(0, usize::MAX, CopyDirection::HostToDevice)
    }

    /// `length` bytes from `start` on, fewer where they end before, become the device's.
    ///
    /// # Safety
    /// Nobody holds a slice of those bytes.
    pub(crate) unsafe fn download(&self, start: usize, length: usize) -> Result<(), Failure> {
        self.carry(start, length, CopyDirection::DeviceToHost)
    }

    fn carry(&self, start: usize, length: usize, direction: CopyDirection) -> Result<(), Failure> {
        let start = start.min(self.copy.1.size());
        let length = length.min(self.copy.1.size() - start) as u64;
        let here = self.copy.0.as_ptr() as u64 + start as u64;
        let there = self.address() + start as u64;
        let (from, to) = match direction {
            CopyDirection::HostToDevice => (here, there),
            _ => (there, here),
        };
        // SAFETY: the device has as many bytes at least, and this value keeps both sides until the event is done. Nothing
        // else touches them: no transfer is under way for that part, and `download`'s caller holds no slice of it.
        unsafe { self.stream.copy(&[CopyRange { from, to, length, direction }])? };
        let copied = self.stream.record()?;
        // Without a deadline: what is being copied may not be freed.
        wait_for(&*copied, None)?;
        Ok(())
    }
}

/// Memory of either kind that no engine knows of.
#[derive(Debug)]
pub(crate) enum Memory {
    Heap(Heap),
    Arena(Arena),
}

impl Memory {
    pub(crate) fn new(kind: MemoryOption, bytes: u64) -> Result<Self, Failure> {
        if kind == MemoryOption::Heap {
            return Heap::new(bytes).map(Self::Heap);
        }
        let length = usize::try_from(bytes).map_err(|_| Failure::NoMemory { bytes })?;
        let device = soft::Device::open(soft::DeviceConfig::default())?;
        Ok(Self::Arena(device.allocate(length, ARENA).map_err(EngineError::from)?))
    }

    pub(crate) fn bytes(&self) -> NonNull<[u8]> {
        match self {
            Self::Heap(heap) => NonNull::slice_from_raw_parts(heap.0, heap.1.size()),
            Self::Arena(arena) => {
                let base = NonNull::new(arena.as_ptr()).unwrap_or(NonNull::dangling());
                NonNull::slice_from_raw_parts(base, arena.length())
            }
        }
    }
}

/// Page-aligned heap memory, all of it touched.
#[derive(Debug)]
pub(crate) struct Heap(NonNull<u8>, Layout);

impl Heap {
    pub(crate) fn new(bytes: u64) -> Result<Self, Failure> {
        let no_memory = || Failure::NoMemory { bytes };
        let size = usize::try_from(bytes).ok().filter(|size| *size > 0).ok_or_else(no_memory)?;
        let layout = Layout::from_size_align(size, 4096).map_err(|_| no_memory())?;
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        let mut heap = Self(NonNull::new(memory).ok_or_else(no_memory)?, layout);
        heap.as_mut().chunks_mut(4096).for_each(|page| page[0] = 1);
        Ok(heap)
    }

    pub(crate) const fn as_mut(&mut self) -> &mut [u8] {
        // SAFETY: the allocation is that long and initialised (zeroed); `&mut self` makes the borrow the only one.
        unsafe { slice::from_raw_parts_mut(self.0.as_ptr(), self.1.size()) }
    }
}

impl Drop for Heap {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout, and freed only here.
        unsafe { dealloc(self.0.as_ptr(), self.1) };
    }
}
