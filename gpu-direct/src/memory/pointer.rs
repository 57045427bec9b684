//! What the driver knows of an address; asked before memory is adopted.
//!
//! Source: `cuPointerGetAttributes`, which answers for any address: with nothing for what the driver does not know.

use core::ffi::{c_uint, c_void};

use pmd_core::accelerator::{AcceleratorError, AcceleratorKind};

use crate::context::Context;

/// `CU_POINTER_ATTRIBUTE_` by the names of [`Pointer`]'s fields: MEMORY_TYPE, BUFFER_ID, IS_MANAGED, DEVICE_ORDINAL,
/// IS_LEGACY_CUDA_IPC_CAPABLE, RANGE_START_ADDR, RANGE_SIZE.
const ATTRIBUTES: [c_uint; 7] = [2, 7, 8, 9, 10, 11, 12];

/// `CU_POINTER_ATTRIBUTE_SYNC_MEMOPS`.
const SYNC_MEMOPS: c_uint = 6;

/// `CU_MEMORYTYPE_DEVICE`.
const DEVICE: u32 = 2;

/// An address's allocation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pointer {
    /// `CUmemorytype`; 0 for what the driver does not know.
    memory: u32,
    /// A number that no other allocation of the process has.
    pub(super) buffer: u64,
    managed: u32,
    ordinal: i32,
    /// Whether `cuIpcGetMemHandle` takes it.
    pub(super) ipc: u32,
    /// First byte of the allocation.
    pub(super) base: u64,
    /// Bytes of the allocation.
    pub(super) size: u64,
}

impl Pointer {
    /// Inside [`Context::enter`].
    pub(super) fn of(context: &Context, address: u64) -> Result<Self, AcceleratorError> {
        let mut pointer = Self::default();
        let fields: [*mut c_void; ATTRIBUTES.len()] = [
            (&raw mut pointer.memory).cast(),
            (&raw mut pointer.buffer).cast(),
            (&raw mut pointer.managed).cast(),
            (&raw mut pointer.ordinal).cast(),
            (&raw mut pointer.ipc).cast(),
            (&raw mut pointer.base).cast(),
            (&raw mut pointer.size).cast(),
        ];
        let (driver, count) = (&context.driver, ATTRIBUTES.len() as c_uint);
        // SAFETY: so many attributes, each with room for its type.
        let asked =
            unsafe { (driver.pointer_attributes)(count, ATTRIBUTES.as_ptr(), fields.as_ptr(), address) };
        driver.check("cuPointerGetAttributes", asked)?;
        Ok(pointer)
    }

    /// Whether a range at the address may be adopted by the context's device.
    pub(super) fn check(&self, context: &Context, address: u64, length: u64) -> Result<(), AcceleratorError> {
        let wanted = context.identity.ordinal;
        if self.managed != 0 {
            return Err(AcceleratorError::Managed { address });
        }
        if self.memory != DEVICE {
            return Err(AcceleratorError::NotDeviceMemory { kind: AcceleratorKind::Cuda, address });
        }
        if self.ordinal != wanted.cast_signed() {
            return Err(AcceleratorError::WrongDevice {
                address,
                found: self.ordinal.cast_unsigned(),
                wanted,
            });
        }
        let available = self.base.saturating_add(self.size).saturating_sub(address);
        if length > available {
            return Err(AcceleratorError::Range { address, length, available: Some(available) });
        }
        Ok(())
    }
}

/// Asks the driver to finish synchronous copies to and from the allocation before they return, so that a NIC sees them;
/// whether it does. Inside [`Context::enter`].
pub(super) fn synchronise(context: &Context, address: u64) -> bool {
    let yes: c_uint = 1;
    // SAFETY: the driver reads one unsigned int.
    unsafe { (context.driver.pointer_set)((&raw const yes).cast(), SYNC_MEMOPS, address) == 0 }
}
