//! Accelerators of a worker or a server: named when it is opened, found again by the memory of a tensor.
#![allow(unsafe_code)] // asks a runtime for memory on the word of the object that owns it

use std::sync::Arc;

use pmd_core::accelerator::{Accelerator, AcceleratorError, Stream};
use pmd_python::{
    device::Device,
    memory::{Memory, unordered},
};
use pyo3::{exceptions::PyBufferError, prelude::*};

use crate::error;

/// The accelerators that an endpoint drives.
#[derive(Clone, Default)]
pub(crate) struct Devices(Vec<Arc<dyn Accelerator>>);

impl Devices {
    pub(crate) const fn new(accelerators: Vec<Arc<dyn Accelerator>>) -> Self {
        Self(accelerators)
    }

    /// The one that allocations and streams are of.
    ///
    /// # Errors
    /// `BufferError` where none was named.
    pub(crate) fn first(&self) -> PyResult<&Arc<dyn Accelerator>> {
        self.0.first().ok_or_else(|| {
            PyBufferError::new_err("no accelerator: name it with accelerators=, or in PMD_ACCELERATORS")
        })
    }

    /// What the owner of memory at a place is told of the order: none, which is that of the push-pulls.
    ///
    /// # Errors
    /// `BufferError` for a device where no accelerator was named.
    pub(crate) fn order(&self, place: Device) -> PyResult<Option<i64>> {
        let Device { kind, index } = place;
        if !place.is_host() && self.0.is_empty() {
            return Err(PyBufferError::new_err(format!(
                "memory on DLPack device ({kind}, {index}), and no accelerator: name it with accelerators="
            )));
        }
        unordered(place)
    }

    /// The one whose memory an object shows.
    ///
    /// # Errors
    /// `BufferError` where none was named; `MemoryFailed` with what the last of them said.
    pub(crate) fn owner(&self, py: Python<'_>, memory: &Memory) -> PyResult<&Arc<dyn Accelerator>> {
        self.first()?;
        let mut told: Option<AcceleratorError> = None;
        for accelerator in &self.0 {
            // SAFETY: the value goes at once; the runtime was asked, and nothing more.
            match unsafe { accelerator.adopt(memory.address, memory.length) } {
                Ok(_) => return Ok(accelerator),
                Err(error) => told = Some(error),
            }
        }
        let Device { kind, index } = memory.device;
        let unknown = || PyBufferError::new_err(format!("memory on DLPack device ({kind}, {index})"));
        Err(told.map_or_else(unknown, |error| error::memory(py, &error.into())))
    }

    /// The application's stream by the runtime's handle, as `torch.cuda.current_stream().cuda_stream` tells it; 0 is the
    /// default stream.
    ///
    /// # Errors
    /// `StreamError`, `BufferError` where no accelerator was named.
    pub(crate) fn stream(&self, py: Python<'_>, native: u64) -> PyResult<Arc<dyn Stream>> {
        self.first()?.stream(native).map_err(|problem| error::stream(py, &problem))
    }
}
