//! Device memory as a dma-buf descriptor, which `ibv_reg_dmabuf_mr` takes; called for each [`CudaMemory`] that is made.
//!
//! The whole allocation is exported once and shared by every range of it that is alive (the tensors of one segment of
//! PyTorch's allocator, for instance). Where the driver refuses that, as for address ranges of which only parts are
//! mapped, the pages of the range alone are tried.
//!
//! Source: `cuMemGetHandleForAddressRange` (CUDA 11.7), which wants whole pages of the host.
//!
//! [`CudaMemory`]: super::CudaMemory

use core::ffi::c_int;
use std::{
    collections::HashMap,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    sync::{Arc, Mutex, Weak},
};

use pmd_core::accelerator::AcceleratorError;

use super::pointer::Pointer;
use crate::{
    context::{Context, lock},
    driver::{NOT_SUPPORTED, unsupported},
};

/// Bytes of a page of the host.
const PAGE: u64 = 4096;

/// What was asked for.
const WHAT: &str = "export a dma-buf";

/// Descriptors that are in use, by the allocation's number (`CU_POINTER_ATTRIBUTE_BUFFER_ID`).
pub(crate) type DmaBufs = Mutex<HashMap<u64, Weak<DmaBuf>>>;

/// A descriptor, closed when it is dropped, and what its first byte is.
#[derive(Debug)]
pub(crate) struct DmaBuf {
    descriptor: OwnedFd,
    start: u64,
    end: u64,
}

/// What has become of the export.
#[derive(Debug)]
pub(super) enum Exported {
    Buffer(Arc<DmaBuf>),
    Refused(AcceleratorError),
    /// Memory of the host, which needs none.
    OfHost,
}

impl Exported {
    /// The descriptor, and where in it an address is.
    pub(super) fn descriptor(&self, address: u64) -> Option<(i32, u64)> {
        match self {
            Self::Buffer(buffer) => Some((buffer.descriptor.as_raw_fd(), address - buffer.start)),
            Self::Refused(_) | Self::OfHost => None,
        }
    }

    pub(super) fn refusal(&self) -> Option<&AcceleratorError> {
        match self {
            Self::Refused(error) => Some(error),
            Self::Buffer(_) | Self::OfHost => None,
        }
    }
}

/// Inside [`Context::enter`]; the range is inside the allocation that the pointer is of.
pub(super) fn export(context: &Context, pointer: &Pointer, address: u64, length: u64) -> Exported {
    let end = address + length;
    let mut known = lock(&context.dma_bufs);
    known.retain(|_, buffer| buffer.strong_count() > 0);
    let covers = |buffer: &Arc<DmaBuf>| buffer.start <= address && end <= buffer.end;
    if let Some(buffer) = known.get(&pointer.buffer).and_then(Weak::upgrade).filter(covers) {
        return Exported::Buffer(buffer);
    }
    let whole = export_pages(context, pointer.base, pointer.size);
    match whole.or_else(|_| export_pages(context, address, length)) {
        Ok(buffer) => {
            let buffer = Arc::new(buffer);
            known.insert(pointer.buffer, Arc::downgrade(&buffer));
            Exported::Buffer(buffer)
        }
        Err(error) => Exported::Refused(error),
    }
}

fn export_pages(context: &Context, address: u64, length: u64) -> Result<DmaBuf, AcceleratorError> {
    /// `CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD`.
    const DMA_BUF: u32 = 1;
    const FUNCTION: &str = "cuMemGetHandleForAddressRange";
    let driver = &context.driver;
    let range_handle =
        driver.range_handle.ok_or(unsupported(WHAT, "the driver is older than that of CUDA 11.7"))?;
    if !context.facts.dma_buf {
        return Err(unsupported(
            WHAT,
            "the device does not offer it (it needs the driver's open kernel modules)",
        ));
    }
    let start = address & !(PAGE - 1);
    let end = (address.saturating_add(length)).saturating_add(PAGE - 1) & !(PAGE - 1);
    let mut descriptor: c_int = -1;
    // SAFETY: the driver writes one int.
    let exported = unsafe { range_handle(&mut descriptor, start, (end - start) as usize, DMA_BUF, 0) };
    if exported == NOT_SUPPORTED {
        return Err(unsupported(WHAT, "the driver refuses it for such memory"));
    }
    driver.check(FUNCTION, exported)?;
    // SAFETY: fresh from the driver, and no one else's.
    let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
    Ok(DmaBuf { descriptor, start, end })
}
