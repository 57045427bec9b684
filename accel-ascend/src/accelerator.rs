//! The accelerator as applications open it and as `pmd-host` is given it.
#![allow(unsafe_code)] // implements calls whose arguments are addresses

use std::sync::Arc;

use pmd_core::accelerator::{
    Accelerator, AcceleratorError, DeviceIdentity, DeviceMemory, Flag, Pinned, ShareHandle, Stream,
};

use crate::{
    device::Device,
    flag::AscendFlag,
    memory::{AscendMemory, AscendPinned},
    probe::Unavailable,
    stream::AscendStream,
};

/// One NPU, through the context that `aclrtSetDevice` makes: streams and memory of other libraries in the process
/// (torch_npu's, for instance) are usable here.
///
/// | trait | runtime |
/// |---|---|
/// | `allocate`, `allocate_pinned`, `pin` | `aclrtMalloc` (huge pages first), `aclrtMallocHost`, `aclrtHostRegister` |
/// | `adopt` | `aclrtPointerGetAttributes`, `aclrtMemGetAddressRange` |
/// | `share`, `import` | `aclrtIpcMemGetExportKey` for any process of the host, `aclrtIpcMemImportByKey` |
/// | copies | `aclrtMemcpyAsync`, one for each range |
/// | events | `aclrtRecordEvent`, `aclrtQueryEventStatus`, `aclrtStreamWaitEvent` |
/// | flags | a registered word of the host, `aclrtValueWrite`, `aclrtValueWait` |
#[derive(Clone, Copy, Debug)]
pub struct AscendAccelerator {
    device: &'static Device,
}

impl AscendAccelerator {
    /// Opens a device by its number in this process (`ASCEND_RT_VISIBLE_DEVICES` changes it). Initialises the runtime if
    /// nobody has. The device stays open for the life of the process; opening it again gives the same one.
    ///
    /// # Errors
    /// [`Unavailable`]: no runtime, one that is too old, no device of this number, or a call that failed.
    pub fn open(ordinal: u32) -> Result<Self, Unavailable> {
        Device::open(ordinal).map(|device| Self { device })
    }

    pub(crate) const fn of(device: &'static Device) -> Self {
        Self { device }
    }
}

impl Accelerator for AscendAccelerator {
    fn identity(&self) -> &DeviceIdentity {
        &self.device.identity
    }

    fn allocate(&self, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        Ok(Box::new(AscendMemory::allocate(self.device, length)?))
    }

    fn allocate_pinned(&self, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        Ok(Box::new(AscendMemory::allocate_pinned(self.device, length)?))
    }

    unsafe fn adopt(&self, address: u64, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        Ok(Box::new(AscendMemory::adopt(self.device, address, length)?))
    }

    fn import(&self, handle: &ShareHandle) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        Ok(Box::new(AscendMemory::import(self.device, handle)?))
    }

    unsafe fn pin(&self, address: u64, length: u64) -> Result<Box<dyn Pinned>, AcceleratorError> {
        // SAFETY: the caller's promise.
        Ok(Box::new(unsafe { AscendPinned::register(self.device, address, length) }?))
    }

    fn open_stream(&self) -> Result<Arc<dyn Stream>, AcceleratorError> {
        Ok(AscendStream::create(self.device)?)
    }

    fn stream(&self, native: u64) -> Result<Arc<dyn Stream>, AcceleratorError> {
        Ok(AscendStream::of_application(self.device, native)?)
    }

    fn flag(&self) -> Result<Arc<dyn Flag>, AcceleratorError> {
        Ok(Arc::new(AscendFlag::new(self.device)?))
    }

    fn flush_remote_writes(&self) -> Result<(), AcceleratorError> {
        // The runtime has no such call, and its manuals name no need.
        Ok(())
    }
}
