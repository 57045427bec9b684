//! The order between the application's streams, which write a tensor, and a send that reads it.
//!
//! The array API's way: the tensor's owner is told a stream of ours and has it wait for its own (`__dlpack__(stream=...)`);
//! what is recorded there is waited for, without the interpreter's lock. An owner that has named a stream
//! (`__cuda_array_interface__`) is waited for there.

use std::{cell::RefCell, sync::Arc};

use kv_api::fabric::Fabric;
use pmd_core::accelerator::{Accelerator, AcceleratorKind, Stream};
use pmd_python::{
    device::{Device, NO_WAIT},
    memory::Memory,
};
use pyo3::prelude::*;

use super::{memory_of, native_stream, owner, wait, wait_for_stream};
use crate::error;

/// The order of one send.
pub(crate) struct Order<'a> {
    fabric: &'a Fabric,
    /// What the owner was told.
    stream: RefCell<Option<Arc<dyn Stream>>>,
}

impl<'a> Order<'a> {
    pub(crate) const fn new(fabric: &'a Fabric) -> Self {
        Self { fabric, stream: RefCell::new(None) }
    }

    /// The memory of an object, once what its owner's streams write is there.
    ///
    /// # Errors
    /// As [`memory_of`]; `DeviceError` where the runtime fails.
    pub(crate) fn memory(&self, object: &Bound<'_, PyAny>) -> PyResult<Memory> {
        let py = object.py();
        let memory = memory_of(object, &|device| self.told(py, device))?;
        if let Some(stream) = self.stream.take() {
            let event = stream.record().map_err(|problem| error::accelerator(py, problem))?;
            wait(py, &*event, None)?;
        }
        if let Some(number) = memory.written_by {
            self.wait_for_named(py, &memory, number)?;
        }
        Ok(memory)
    }

    /// What an owner of memory there is told: a stream of ours. Ascend's has no number for it, and an accelerator that is
    /// not driven is refused later.
    fn told(&self, py: Python<'_>, device: Device) -> PyResult<Option<i64>> {
        let Some(kind @ (AcceleratorKind::Cuda | AcceleratorKind::Rocm)) = device.accelerator() else {
            return Ok(None);
        };
        let is_it = |accelerator: &&Arc<dyn Accelerator>| {
            let identity = accelerator.identity();
            identity.kind == kind && u32::try_from(device.index) == Ok(identity.ordinal)
        };
        let Some(accelerator) = self.fabric.accelerators().iter().find(is_it) else {
            return Ok(Some(NO_WAIT));
        };
        let stream = accelerator.open_stream().map_err(|problem| error::accelerator(py, problem))?;
        let number = stream.native();
        self.stream.replace(Some(stream));
        Ok(i64::try_from(number).ok())
    }

    /// The interface does not say which device the stream is on: that of the memory.
    fn wait_for_named(&self, py: Python<'_>, memory: &Memory, number: u64) -> PyResult<()> {
        let Some(accelerator) = owner(self.fabric, memory.address, memory.length) else {
            return Ok(());
        };
        match native_stream(accelerator.identity().kind, i64::try_from(number).ok())? {
            Some(native) => wait_for_stream(py, &*accelerator, native, None),
            None => Ok(()),
        }
    }
}
