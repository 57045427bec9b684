//! The accelerator: what `pmd-host`, `kv-api` and `af-api` hold of a GPU. Opened by the application.
#![allow(unsafe_code)] // calls into the driver's C interface

use std::sync::Arc;

use pmd_core::accelerator::{
    Accelerator, AcceleratorError, DeviceIdentity, DeviceMemory, Flag, Pinned, ShareHandle, Stream,
};
use thiserror::Error;

use crate::{
    Unavailable,
    context::{Context, Flush},
    driver::unsupported,
    flag::CudaFlag,
    memory::{CudaMemory, PinnedRange},
    stream::CudaStream,
};

/// A GPU by its primary context, which the CUDA runtime, PyTorch and others use too. Clones are the same one; the context
/// is released when the last clone and everything that it gave out are dropped.
#[derive(Clone, Debug)]
pub struct CudaAccelerator {
    context: Arc<Context>,
}

/// How a GPU is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CudaOptions {
    /// [`Accelerator::allocate`] maps memory (`cuMemCreate`, `cuMemMap`) instead of taking it from `cuMemAlloc`, in multiples
    /// of the device's granularity (2 MiB). Other processes keep what they have opened of it, whatever this one frees.
    pub mapped: bool,
}

impl CudaOptions {
    /// The same with [`CudaOptions::mapped`].
    #[must_use]
    pub const fn mapped(mut self) -> Self {
        self.mapped = true;
        self
    }
}

/// Why a GPU cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no CUDA on this machine, or none that works.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// There are fewer devices.
    #[error("there is no CUDA device {ordinal} among {devices} (check CUDA_VISIBLE_DEVICES)")]
    NoSuchDevice {
        /// Which was asked for.
        ordinal: u32,
        /// How many there are.
        devices: u32,
    },
    /// The driver did not give its primary context.
    #[error(transparent)]
    Accelerator(#[from] AcceleratorError),
}

impl CudaAccelerator {
    /// Loads the driver and retains the primary context of a device, by its number after `CUDA_VISIBLE_DEVICES`.
    ///
    /// # Errors
    /// [`OpenError`], which says what is missing and what to do. It never panics.
    pub fn open(ordinal: u32) -> Result<Self, OpenError> {
        Self::open_with(ordinal, CudaOptions::default())
    }

    /// [`CudaAccelerator::open`] with options.
    ///
    /// # Errors
    /// As [`CudaAccelerator::open`].
    pub fn open_with(ordinal: u32, options: CudaOptions) -> Result<Self, OpenError> {
        Ok(Self { context: Arc::new(Context::open(ordinal, options)?) })
    }

    pub(crate) const fn of(context: Arc<Context>) -> Self {
        Self { context }
    }

    pub(crate) const fn context(&self) -> &Arc<Context> {
        &self.context
    }
}

impl Accelerator for CudaAccelerator {
    fn identity(&self) -> &DeviceIdentity {
        &self.context.identity
    }

    fn allocate(&self, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        Ok(Box::new(CudaMemory::allocate(&self.context, length)?))
    }

    fn allocate_pinned(&self, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        Ok(Box::new(CudaMemory::allocate_pinned(&self.context, length)?))
    }

    unsafe fn adopt(&self, address: u64, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        Ok(Box::new(CudaMemory::adopt(&self.context, address, length)?))
    }

    fn import(&self, handle: &ShareHandle) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        Ok(Box::new(CudaMemory::import(&self.context, handle)?))
    }

    unsafe fn pin(&self, address: u64, length: u64) -> Result<Box<dyn Pinned>, AcceleratorError> {
        Ok(Box::new(PinnedRange::pin(&self.context, address, length)?))
    }

    fn open_stream(&self) -> Result<Arc<dyn Stream>, AcceleratorError> {
        Ok(Arc::new(CudaStream::open(&self.context)?))
    }

    fn stream(&self, native: u64) -> Result<Arc<dyn Stream>, AcceleratorError> {
        Ok(Arc::new(CudaStream::of(&self.context, native)?))
    }

    fn flag(&self) -> Result<Arc<dyn Flag>, AcceleratorError> {
        self.context.values()?;
        let _entered = self.context.enter()?;
        Ok(Arc::new(CudaFlag::new(&self.context)?))
    }

    fn flush_remote_writes(&self) -> Result<(), AcceleratorError> {
        /// `CU_FLUSH_GPU_DIRECT_RDMA_WRITES_TARGET_CURRENT_CTX` and `.._TO_OWNER`.
        const TARGET: u32 = 0;
        const TO_OWNER: u32 = 100;
        const WHAT: &str = "flush what a NIC has written";
        let driver = &self.context.driver;
        match self.context.facts.flush {
            Flush::Needless => return Ok(()),
            Flush::Host => {}
            Flush::Impossible => return Err(unsupported(WHAT, "the device offers the host no such flush")),
        }
        let absent = unsupported(WHAT, "the driver is older than that of CUDA 11.3");
        let flush = driver.flush_writes.ok_or(absent)?;
        let _entered = self.context.enter()?;
        // SAFETY: numbers only.
        driver.check("cuFlushGPUDirectRDMAWrites", unsafe { flush(TARGET, TO_OWNER) })
    }
}
