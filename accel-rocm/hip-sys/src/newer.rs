//! Functions that the headers of the bindings do not declare yet: present in newer runtimes only. Called by `loader`.
#![allow(unsafe_code)] // takes functions from a library

use core::ffi::{c_int, c_uint, c_ulonglong, c_void};

use libloading::Library;

use crate::hip::{hipDeviceptr_t, hipError_t};

/// `hipMemGetHandleForAddressRange(handle, address, size, handle type, flags)`, of HIP 7: a dma-buf descriptor for whole
/// pages of an allocation.
pub type MemGetHandleForAddressRange =
    unsafe extern "C" fn(*mut c_void, hipDeviceptr_t, usize, c_uint, c_ulonglong) -> hipError_t;

/// `hsa_amd_portable_export_dmabuf(address, size, descriptor, offset)` of the HSA runtime below HIP, of ROCm 5.6: a
/// dma-buf descriptor, and where in it the address is. Gives an `hsa_status_t`.
pub type ExportDmabuf = unsafe extern "C" fn(*const c_void, usize, *mut c_int, *mut u64) -> c_uint;

/// `hipMemRangeHandleTypeDmaBufFd`: what [`MemGetHandleForAddressRange`] is asked for.
pub const HIP_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD: c_uint = 1;

/// `HSA_STATUS_SUCCESS`.
pub const HSA_STATUS_SUCCESS: c_uint = 0;

/// What newer runtimes have, as far as the loaded one does.
#[derive(Clone, Copy, Debug, Default)]
#[expect(non_snake_case, reason = "names of C functions, as in the table")]
pub struct Newer {
    /// HIP's own way to a dma-buf.
    pub hipMemGetHandleForAddressRange: Option<MemGetHandleForAddressRange>,
    /// That of the library below it, which HIP's names as its dependency.
    pub hsa_amd_portable_export_dmabuf: Option<ExportDmabuf>,
}

impl Newer {
    /// Looks them up in the library and in those that it was linked with.
    ///
    /// # Safety
    /// It is the HIP runtime, and stays loaded for as long as the value is used.
    pub(crate) unsafe fn of(library: &Library) -> Self {
        Self {
            // SAFETY: the type is the function's prototype; the caller promises the rest.
            hipMemGetHandleForAddressRange: unsafe { find(library, b"hipMemGetHandleForAddressRange\0") },
            // SAFETY: as above.
            hsa_amd_portable_export_dmabuf: unsafe { find(library, b"hsa_amd_portable_export_dmabuf\0") },
        }
    }
}

/// # Safety
/// `F` is the function's prototype, and the library outlives what is returned.
unsafe fn find<F: Copy>(library: &Library, name: &[u8]) -> Option<F> {
    // SAFETY: the caller's promise.
    unsafe { library.get::<F>(name) }.ok().map(|function| *function)
}
