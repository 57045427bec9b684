//! A cache of this process.
#![allow(unsafe_code)] // registers memory that Python objects own

use std::sync::{Arc, Mutex, PoisonError};

use kv_api::{
    engine::{Cache as Handle, CacheMemory, Engine},
    layout::TensorRun,
};
use pmd_core::accelerator::Accelerator;
use pyo3::{
    exceptions::{PyIndexError, PyValueError},
    prelude::*,
    types::PyTuple,
};

use super::format::{self, TokenFormat};
use crate::{
    device, error,
    memory::{Memory, unordered},
    view::View,
    waiting::Detached,
};

/// A registered cache. Peers reach it until it is closed, or gone, and no view of it and no transfer is left.
#[pyclass(frozen, module = "pmd_kv")]
pub(crate) struct Cache(Detached<Mutex<Option<Handle>>>);

impl Cache {
    pub(super) const fn new(handle: Handle) -> Self {
        Self(Detached::new(Mutex::new(Some(handle))))
    }

    /// The cache, if it is not closed.
    pub(super) fn handle(&self, py: Python<'_>) -> PyResult<Handle> {
        let held =
            self.0.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).clone());
        held.ok_or_else(|| error::closed(py, "cache"))
    }

    /// A cache in the memory of Python objects, one for each tensor: all in memory of the host, or all of accelerators.
    pub(super) fn register(
        py: Python<'_>,
        engine: &Engine,
        name: &str,
        tensors: &[Bound<'_, PyAny>],
        (blocks, tensors_per_layer, format): (u32, u32, Option<&TokenFormat>),
    ) -> PyResult<Self> {
        let memory = |tensor| device::memory_of(tensor, &unordered)?.check_writable();
        let memories = tensors.iter().map(memory).collect::<PyResult<Vec<_>>>()?;
        let block_bytes = block_bytes(&memories, blocks)?;
        let layers = memories.len() as u32 / tensors_per_layer.max(1);
        let layout = format::layout(py, (layers, tensors_per_layer, blocks), Some(block_bytes), format)?;
        let run = |memory: &Memory| TensorRun {
            first: memory.address,
            tensor_stride: memory.length,
            block_stride: block_bytes,
            count: 1,
            key: 0,
        };
        let runs: Vec<_> = memories.iter().map(run).collect();
        if memories.iter().any(|memory| !memory.device.is_host()) {
            let accelerators = engine.endpoint().accelerators();
            let described = memories.into_iter().map(|memory| device::described(py, accelerators, memory));
            let described = described.collect::<PyResult<Vec<_>>>()?;
            let cache = py.detach(|| engine.register_device_tensors(name, layout, runs, described));
            return cache.map(Self::new).map_err(|problem| error::engine(py, problem));
        }
        let owners: Vec<_> = memories.into_iter().map(Memory::keep_alive).collect();
        let owners = pmd_host::transfer::KeepAlive(std::sync::Arc::new(owners));
        // SAFETY: the owners keep the memory, and Python's own accesses go through no Rust reference.
        let cache = py.detach(|| unsafe { engine.register_cache_kept(name, layout, runs, owners) });
        cache.map(Self::new).map_err(|problem| error::engine(py, problem))
    }
}

/// Whose memory a cache is in, where that is an accelerator's.
fn accelerator(cache: &Handle) -> Option<Arc<dyn Accelerator>> {
    match cache.memory() {
        CacheMemory::Device(memories) => memories.first().map(|memory| memory.accelerator()),
        _ => None,
    }
}

/// The size of a block of tensors that are all of one size.
fn block_bytes(memories: &[Memory], blocks: u32) -> PyResult<u64> {
    let Some(first) = memories.first() else {
        return Err(PyValueError::new_err("a cache without tensors"));
    };
    if let Some(at) = memories.iter().position(|memory| memory.length != first.length) {
        let message = format!("tensor {at} has {} bytes, tensor 0 has {}", memories[at].length, first.length);
        return Err(PyValueError::new_err(message));
    }
    match first.length.checked_rem(u64::from(blocks)) {
        Some(0) => Ok(first.length / u64::from(blocks)),
        _ => Err(PyValueError::new_err(format!(
            "{} bytes a tensor are not {blocks} equal blocks",
            first.length
        ))),
    }
}

#[pymethods]
impl Cache {
    /// Name under which peers look it up.
    #[getter]
    fn name(&self, py: Python<'_>) -> PyResult<String> {
        Ok(self.handle(py)?.name().to_owned())
    }

    /// Number in its engine, from 1.
    #[getter]
    fn id(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle(py)?.id())
    }

    /// Transformer layers.
    #[getter]
    fn layers(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.handle(py)?.layout().layers())
    }

    /// Tensors of a layer: 2 where K and V are apart.
    #[getter]
    fn tensors_per_layer(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.handle(py)?.layout().tensors_per_layer())
    }

    /// Blocks of a tensor.
    #[getter]
    fn blocks(&self, py: Python<'_>) -> PyResult<u32> {
        Ok(self.handle(py)?.layout().blocks())
    }

    /// Bytes of a block.
    #[getter]
    fn block_bytes(&self, py: Python<'_>) -> PyResult<u64> {
        Ok(self.handle(py)?.layout().block_bytes())
    }

    /// A tensor's memory, as [blocks, block_bytes] bytes.
    fn tensor(&self, py: Python<'_>, index: u32) -> PyResult<View> {
        let handle = self.handle(py)?;
        let (blocks, bytes) = (handle.layout().blocks(), handle.layout().block_bytes());
        let first = handle.block_address(index, 0);
        let first = first.ok_or_else(|| {
            PyIndexError::new_err(format!("tensor {index} of {}", handle.layout().tensors()))
        })?;
        let stride = handle.block_address(index, 1).map_or(bytes, |second| second - first);
        let accelerator = accelerator(&handle);
        Ok(View::rows(first, (u64::from(blocks), bytes, stride), Box::new(handle)).on(accelerator))
    }

    /// A block's memory.
    fn block(&self, py: Python<'_>, tensor: u32, block: u32) -> PyResult<View> {
        let handle = self.handle(py)?;
        let address = handle.block_address(tensor, block);
        let missing = || PyIndexError::new_err(format!("block {block} of tensor {tensor} of {handle:?}"));
        let address = address.ok_or_else(missing)?;
        let (bytes, accelerator) = (handle.layout().block_bytes(), accelerator(&handle));
        Ok(View::flat(address, bytes, Box::new(handle)).on(accelerator))
    }

    /// Gives the cache up: it is deregistered once no view, prepared transfer or transfer in flight is left.
    fn close(&self, py: Python<'_>) {
        let held =
            self.0.as_ref().and_then(|held| held.lock().unwrap_or_else(PoisonError::into_inner).take());
        py.detach(|| drop(held));
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        self.handle(py).map_or_else(|_| "<Cache, closed>".to_owned(), |handle| format!("<{handle:?}>"))
    }
}
