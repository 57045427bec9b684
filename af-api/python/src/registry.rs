//! Memory of Python objects, registered as it is met. Callers give arrays with each call; what was registered before
//! costs a look-up.
//!
//! What is registered stays so, and its owner stays alive, until it has not been used for longest and there is too much:
//! an array that nobody else holds is let go of only then. Memory of a known address is therefore the memory that was
//! registered.
#![allow(unsafe_code)] // registers memory on the word of the object that owns it

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use af_api::tensor::{Layout, Memory, Tensor as Handle};
use pmd_host::{endpoint::Endpoint, soft::ArenaOptions};
use pmd_python::memory::Array;
use pyo3::{exceptions::PyBufferError, prelude::*};

use crate::{device::Devices, error, tensor};

/// Ranges that are kept at most.
const MOST_RANGES: usize = 1024;

/// Bytes that are kept at most: more than the tensors of an engine, less than a machine has.
const MOST_BYTES: u64 = 1 << 30;

/// Neighbours that a look-up considers.
const NEIGHBOURS: usize = 4;

/// What a tensor is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Its bytes are sent.
    Read,
    /// Bytes arrive in it.
    Write,
}

/// The memory that one endpoint has met.
pub(crate) struct Registry {
    endpoint: Endpoint,
    devices: Devices,
    ranges: Mutex<Ranges>,
}

#[derive(Default)]
struct Ranges {
    /// By first byte.
    known: BTreeMap<u64, Range>,
    bytes: u64,
    clock: u64,
    /// Where empty tensors are.
    nothing: Option<Memory>,
}

struct Range {
    memory: Memory,
    used: u64,
}

impl Registry {
    pub(crate) fn new(endpoint: Endpoint, devices: Devices) -> Self {
        Self { endpoint, devices, ranges: Mutex::default() }
    }

    /// The accelerators whose memory it takes.
    pub(crate) const fn devices(&self) -> &Devices {
        &self.devices
    }

    /// The tensor that a Python object is: one of this package's own, or an array.
    ///
    /// # Errors
    /// `TypeError` or `BufferError` for what is no contiguous array in memory of the host or of a device that was named,
    /// `TensorError` for one that does not
    /// travel, `MemoryFailed`.
    pub(crate) fn tensor(&self, object: &Bound<'_, PyAny>, purpose: Use) -> PyResult<Handle> {
        let py = object.py();
        let own = object.cast::<tensor::Tensor>().ok();
        if let Some(handle) = own.and_then(|own| own.get().handle().cloned()) {
            return Ok(handle);
        }
        let array = Array::anywhere(object, &|place| self.devices.order(place))?;
        if purpose == Use::Write && array.memory.readonly {
            return Err(PyBufferError::new_err(
                "read-only memory: pulled data arrives in it, give a writable copy",
            ));
        }
        let layout = tensor::layout(py, array.element, &array.shape)?;
        let address = array.memory.address;
        let memory = match self.find(address, layout.bytes().into()) {
            Some(memory) => memory,
            None if layout.bytes() == 0 => return self.empty(py, layout),
            None => self.register(py, array)?,
        };
        let offset = address - memory.address();
        Handle::new(&memory, offset, layout).map_err(|problem| error::tensor(py, &problem))
    }

    /// Zeroed memory that peers of this host map.
    ///
    /// # Errors
    /// `MemoryFailed`.
    pub(crate) fn allocate(&self, py: Python<'_>, layout: Layout) -> PyResult<Handle> {
        let bytes = layout.bytes().max(1) as usize;
        let memory = py.detach(|| Memory::allocate(&self.endpoint, bytes, ArenaOptions::default()));
        let memory = memory.map_err(|problem| error::memory(py, &problem))?;
        self.note(py, &memory);
        Handle::new(&memory, 0, layout).map_err(|problem| error::tensor(py, &problem))
    }

    /// Memory of the accelerator. Its content is undefined.
    ///
    /// # Errors
    /// `MemoryFailed`; `BufferError` where no accelerator was named.
    pub(crate) fn allocate_on_device(&self, py: Python<'_>, layout: Layout) -> PyResult<Handle> {
        let (accelerator, bytes) = (self.devices.first()?, layout.bytes().max(1).into());
        let memory = py.detach(|| Memory::allocate_on(&self.endpoint, &**accelerator, bytes));
        let memory = memory.map_err(|problem| error::memory(py, &problem))?;
        self.note(py, &memory);
        Handle::new(&memory, 0, layout).map_err(|problem| error::tensor(py, &problem))
    }

    /// Remembers registered memory, so that arrays which lie in it are found.
    pub(crate) fn note(&self, py: Python<'_>, memory: &Memory) {
        let evicted = self.ranges().insert(memory);
        // Deregistration may wait.
        py.detach(|| drop(evicted));
    }

    /// A tensor of the driver's own, whose memory is remembered.
    pub(crate) fn known(&self, py: Python<'_>, tensor: &Handle) -> Handle {
        if self.find(tensor.address(), tensor.bytes().into()).is_none() {
            self.note(py, tensor.memory());
        }
        tensor.clone()
    }

    fn register(&self, py: Python<'_>, array: Array) -> PyResult<Memory> {
        let description = array.memory.description();
        let of_host = array.memory.device.is_host();
        let accelerator = if of_host { None } else { Some(self.devices.owner(py, &array.memory)?) };
        let owner = Some(array.memory.keep_alive());
        let range = (description.address, description.length);
        // SAFETY: the owner keeps the memory where it is, and Python's own accesses go through no Rust reference.
        let memory = py.detach(|| unsafe {
            match accelerator {
                Some(accelerator) => Memory::adopt(&self.endpoint, &**accelerator, range, owner),
                None => Memory::register(&self.endpoint, &description, owner),
            }
        });
        let memory = memory.map_err(|problem| error::memory(py, &problem))?;
        self.note(py, &memory);
        Ok(memory)
    }

    fn find(&self, address: u64, bytes: u64) -> Option<Memory> {
        let mut ranges = self.ranges();
        ranges.clock += 1;
        let now = ranges.clock;
        let contains = |memory: &Memory| {
            address >= memory.address() && address + bytes.max(1) <= memory.address() + memory.length()
        };
        let mut neighbours = ranges.known.range_mut(..=address).rev().take(NEIGHBOURS);
        let (_, range) = neighbours.find(|(_, range)| contains(&range.memory))?;
        range.used = now;
        Some(range.memory.clone())
    }

    /// A tensor without a byte.
    ///
    /// # Errors
    /// `MemoryFailed`.
    pub(crate) fn empty(&self, py: Python<'_>, layout: Layout) -> PyResult<Handle> {
        let known = self.ranges().nothing.clone();
        let memory = match known {
            Some(memory) => memory,
            None => {
                let memory = py.detach(|| Memory::allocate(&self.endpoint, 1, ArenaOptions::default()));
                let memory = memory.map_err(|problem| error::memory(py, &problem))?;
                self.ranges().nothing.insert(memory).clone()
            }
        };
        Handle::new(&memory, 0, layout).map_err(|problem| error::tensor(py, &problem))
    }

    fn ranges(&self) -> MutexGuard<'_, Ranges> {
        self.ranges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ranges {
    /// Returns what was let go of, to be dropped without the lock.
    fn insert(&mut self, memory: &Memory) -> Vec<Range> {
        self.clock += 1;
        let range = Range { memory: memory.clone(), used: self.clock };
        self.bytes += memory.length();
        let mut evicted: Vec<Range> = self.known.insert(memory.address(), range).into_iter().collect();
        self.bytes -= evicted.iter().map(|range| range.memory.length()).sum::<u64>();
        while self.known.len() > MOST_RANGES || (self.bytes > MOST_BYTES && self.known.len() > 1) {
            let oldest = self.known.iter().min_by_key(|(_, range)| range.used).map(|(start, _)| *start);
            let Some(range) = oldest.and_then(|start| self.known.remove(&start)) else { break };
            self.bytes -= range.memory.length();
            evicted.push(range);
        }
        evicted
    }
}
