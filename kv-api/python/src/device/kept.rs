//! Memory of a device that a Python object owns: the driver holds both, the description and the owner.
#![allow(unsafe_code)] // describes memory on the word of the object that owns it

use std::sync::Arc;

use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, DeviceMemory, ShareHandle},
    memory::{RegionDescription, RegionSource},
};
use pmd_host::transfer::KeepAlive;

/// A description, and what keeps the memory.
#[derive(Debug)]
pub(crate) struct Kept {
    memory: Arc<dyn DeviceMemory>,
    _owner: KeepAlive,
}

impl Kept {
    pub(crate) const fn new(memory: Arc<dyn DeviceMemory>, owner: KeepAlive) -> Self {
        Self { memory, _owner: owner }
    }
}

// SAFETY: as the memory that it is, which the owner keeps allocated for as long as the value lives.
unsafe impl RegionSource for Kept {
    fn description(&self) -> RegionDescription {
        self.memory.description()
    }
}

impl DeviceMemory for Kept {
    fn accelerator(&self) -> Arc<dyn Accelerator> {
        self.memory.accelerator()
    }

    fn without_descriptor(&self) -> Option<&AcceleratorError> {
        self.memory.without_descriptor()
    }

    fn share(&self) -> Result<ShareHandle, AcceleratorError> {
        self.memory.share()
    }
}
