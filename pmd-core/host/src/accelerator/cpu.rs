//! The accelerator itself: who it is, what it has allocated, which streams are open.
#![allow(unsafe_code)] // the trait's functions carry promises about memory

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};

use pmd_core::{
    accelerator::{
        Accelerator, AcceleratorError, AcceleratorKind, CopyDirection, CopyRange, DeviceIdentity,
        DeviceMemory, Flag, Pinned, ShareHandle, Stream,
    },
    memory::MemoryKind,
};

use super::{
    controls::Controls,
    event::CpuFlag,
    memory::{self, Allocation, CpuMemory, CpuPinned, failed},
    stream::{Bytes, Copy, CpuStream},
};

const KIND: AcceleratorKind = AcceleratorKind::Cpu;

/// What a [`CpuAccelerator`] is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuOptions {
    /// Which device: those of the same number are the same device in every process.
    pub ordinal: u32,
    /// Only streams reach its memory; touching it at the address that everybody is told is a SIGSEGV.
    pub shielded: bool,
    /// Bytes of device memory.
    pub capacity: u64,
}

impl Default for CpuOptions {
    fn default() -> Self {
        Self { ordinal: 0, shielded: false, capacity: u64::MAX }
    }
}

/// Streams of this process's threads over memory of its own. Clones are the same accelerator.
#[derive(Clone, Debug)]
pub struct CpuAccelerator(Arc<Core>);

#[derive(Debug)]
pub(super) struct Core {
    options: CpuOptions,
    identity: DeviceIdentity,
    allocations: Mutex<Vec<Weak<Allocation>>>,
    streams: Mutex<Streams>,
    hold: Arc<Held>,
    /// Copies until one fails; none for never.
    fault: Mutex<Option<u64>>,
    controls: Controls,
}

#[derive(Debug, Default)]
struct Streams {
    open: Vec<(u64, Weak<CpuStream>)>,
    opened: u64,
}

/// What the [`Hold`]s are counted in.
#[derive(Debug, Default)]
struct Held {
    state: Mutex<HeldState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct HeldState {
    holds: usize,
    /// Streams that would copy.
    waiting: usize,
}

/// No copy begins on any stream of the accelerator until this is dropped.
#[derive(Debug)]
pub struct Hold(Arc<Held>);

impl Drop for Hold {
    fn drop(&mut self) {
        lock(&self.0.state).holds -= 1;
        self.0.changed.notify_all();
    }
}

impl CpuAccelerator {
    /// One without memory and streams.
    #[must_use]
    pub fn new(options: CpuOptions) -> Self {
        let mut unique = *b"pmd-cpu-device\0\0";
        unique[14..].copy_from_slice(&(options.ordinal as u16).to_le_bytes());
        let name = "host memory".to_owned();
        let identity = DeviceIdentity { kind: KIND, ordinal: options.ordinal, unique, pci: None, name };
        let (allocations, streams) = (Mutex::default(), Mutex::default());
        let (hold, fault) = (Arc::default(), Mutex::new(None));
        let controls = Controls::default();
        Self(Arc::new(Core { options, identity, allocations, streams, hold, fault, controls }))
    }

    /// As [`Accelerator::open_stream`]; the stream also takes closures. What is in a stream when its last handle goes
    /// still happens, but what waits there for an event or a flag gives up.
    ///
    /// # Errors
    /// [`AcceleratorError::Runtime`] where the thread does not start.
    pub fn open_cpu_stream(&self) -> Result<Arc<CpuStream>, AcceleratorError> {
        self.check_alive("open_stream")?;
        let mut streams = lock(&self.0.streams);
        streams.open.retain(|(_, stream)| stream.strong_count() > 0);
        streams.opened += 1;
        let stream = Arc::new(CpuStream::start(streams.opened, self.clone())?);
        let number = streams.opened;
        streams.open.push((number, Arc::downgrade(&stream)));
        Ok(stream)
    }

    /// Where a kernel on one of the streams finds `length` bytes of device memory; `None` where there are none. Good for
    /// as long as the memory is.
    #[must_use]
    pub fn kernel_pointer(&self, address: u64, length: u64) -> Option<*mut u8> {
        self.find(address, length).ok().map(|allocation| allocation.inside(address))
    }

    /// Keeps streams from beginning copies, so that a test can do things meanwhile.
    #[must_use]
    pub fn hold_copies(&self) -> Hold {
        lock(&self.0.hold.state).holds += 1;
        Hold(self.0.hold.clone())
    }

    /// Streams that a [`Hold`] keeps from copying now.
    #[must_use]
    pub fn held_copies(&self) -> usize {
        lock(&self.0.hold.state).waiting
    }

    /// Lets a copy fail: the next one for 0, one later for 1, and so on. Its stream fails with it.
    pub fn fail_copy(&self, after: u64) {
        *lock(&self.0.fault) = Some(after);
    }

    /// Allocations that live, of this process and imported ones.
    #[must_use]
    pub fn allocations(&self) -> usize {
        lock(&self.0.allocations).iter().filter(|allocation| allocation.strong_count() > 0).count()
    }

    pub(super) fn controls(&self) -> &Controls {
        &self.0.controls
    }

    /// Waits while anyone holds copies; whether the next one is to fail.
    pub(super) fn before_copy(&self) -> bool {
        let mut state = lock(&self.0.hold.state);
        state.waiting += 1;
        while state.holds > 0 {
            state = self.0.hold.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        drop(state);
        let mut fault = lock(&self.0.fault);
        let now = *fault == Some(0) || self.check_alive("copy").is_err();
        *fault = fault.and_then(|left| left.checked_sub(1));
        now
    }

    /// Where a stream finds both sides of a copy.
    pub(super) fn resolve(&self, range: &CopyRange) -> Result<Copy, AcceleratorError> {
        let CopyRange { from, to, length, direction } = *range;
        let (from_device, to_device) = match direction {
            CopyDirection::HostToDevice => (false, true),
            CopyDirection::DeviceToHost => (true, false),
            CopyDirection::DeviceToDevice => (true, true),
            CopyDirection::HostToHost => (false, false),
        };
        let side = |address: u64, device: bool| {
            if !device {
                return Ok(Bytes { address, _allocation: None });
            }
            let allocation = self.find(address, length)?;
            Ok(Bytes { address: allocation.inside(address) as u64, _allocation: Some(allocation) })
        };
        Ok(Copy { from: side(from, from_device)?, to: side(to, to_device)?, length: length as usize })
    }

    fn find(&self, address: u64, length: u64) -> Result<Arc<Allocation>, AcceleratorError> {
        let unknown = AcceleratorError::NotDeviceMemory { kind: KIND, address };
        let allocations = lock(&self.0.allocations);
        let mut living = allocations.iter().filter_map(Weak::upgrade);
        let found = living.find(|allocation| allocation.bytes_from(address).is_some_and(|left| left > 0));
        let allocation = found.ok_or(unknown)?;
        let available = allocation.bytes_from(address);
        if length == 0 || available.is_none_or(|available| available < length) {
            return Err(AcceleratorError::Range { address, length, available });
        }
        Ok(allocation)
    }

    fn allocate_kind(
        &self,
        length: u64,
        kind: MemoryKind,
    ) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        if length == 0 {
            return Err(AcceleratorError::Range { address: 0, length, available: None });
        }
        self.check_alive("allocate")?;
        let no_room = AcceleratorError::OutOfMemory { kind: KIND, wanted: length };
        let bytes = usize::try_from(length).map_err(|_| no_room.clone())?;
        let device = kind == MemoryKind::Device;
        let full = if device {
            self.used().saturating_add(length) > self.0.options.capacity
        } else {
            !self.pins(length)
        };
        if full {
            return Err(no_room);
        }
        let shielded = device && self.0.options.shielded;
        let allocation =
            Allocation::new(bytes, shielded, kind).map_err(|error| match error.raw_os_error() {
                Some(libc::ENOMEM | libc::EFBIG | libc::ENOSPC) => no_room,
                _ => failed("mmap", &error),
            })?;
        Ok(self.enter(allocation, device, (0, length)))
    }

    /// Takes an allocation in; `range` of it is the caller's.
    fn enter(&self, allocation: Allocation, listed: bool, range: (u64, u64)) -> Box<dyn DeviceMemory> {
        let allocation = Arc::new(allocation);
        if listed {
            let mut allocations = lock(&self.0.allocations);
            allocations.retain(|allocation| allocation.strong_count() > 0);
            allocations.push(Arc::downgrade(&allocation));
        }
        let address = allocation.address() + range.0;
        Box::new(CpuMemory { accelerator: self.clone(), allocation, address, length: range.1 })
    }

    fn used(&self) -> u64 {
        let allocations = lock(&self.0.allocations);
        allocations.iter().filter_map(Weak::upgrade).map(|allocation| allocation.length()).sum()
    }
}

impl Default for CpuAccelerator {
    fn default() -> Self {
        Self::new(CpuOptions::default())
    }
}

impl Accelerator for CpuAccelerator {
    fn identity(&self) -> &DeviceIdentity {
        &self.0.identity
    }

    fn allocate(&self, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        self.allocate_kind(length, MemoryKind::Device)
    }

    fn allocate_pinned(&self, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        self.allocate_kind(length, MemoryKind::Host)
    }

    unsafe fn adopt(&self, address: u64, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        let allocation = self.find(address, length)?;
        Ok(Box::new(CpuMemory { accelerator: self.clone(), allocation, address, length }))
    }

    fn import(&self, handle: &ShareHandle) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        let identity = &self.0.identity;
        if handle.kind != KIND || handle.device != identity.unique {
            return Err(AcceleratorError::Foreign { of: identity.clone() });
        }
        self.check_alive("import")?;
        let allocation = memory::open(handle, self.0.options.shielded)?;
        Ok(self.enter(allocation, true, (handle.offset, handle.length)))
    }

    unsafe fn pin(&self, address: u64, length: u64) -> Result<Box<dyn Pinned>, AcceleratorError> {
        if length == 0 || address.checked_add(length).is_none() {
            return Err(AcceleratorError::Range { address, length, available: None });
        }
        Ok(Box::new(CpuPinned))
    }

    fn open_stream(&self) -> Result<Arc<dyn Stream>, AcceleratorError> {
        Ok(self.open_cpu_stream()?)
    }

    fn stream(&self, native: u64) -> Result<Arc<dyn Stream>, AcceleratorError> {
        let streams = lock(&self.0.streams);
        let found = streams.open.iter().find(|(number, _)| *number == native);
        let stream = found.and_then(|(_, stream)| stream.upgrade());
        Ok(stream.ok_or(AcceleratorError::UnknownStream { kind: KIND, native })?)
    }

    fn flag(&self) -> Result<Arc<dyn Flag>, AcceleratorError> {
        Ok(Arc::new(CpuFlag::default()))
    }

    fn flush_remote_writes(&self) -> Result<(), AcceleratorError> {
        self.flush()
    }
}

/// No code of the application runs under these locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
