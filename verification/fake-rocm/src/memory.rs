//! Allocations, attributes of pointers, pinned memory, handles for other processes, dma-bufs.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::{
    collections::BTreeSet,
    ffi::{c_int, c_uint, c_ulonglong, c_void},
    process, ptr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use fake_device::{FakeError, Found, IpcHandle, Owner};
use hip_sys::hip::{
    hipDeviceptr_t, hipError_t, hipErrorInvalidContext, hipErrorInvalidDevicePointer, hipErrorInvalidValue,
    hipErrorNotSupported, hipIpcMemHandle_t, hipMallocSignalMemory, hipPointerAttribute_t,
};

use crate::device::{RUNTIME, current, major};
use crate::error::{HipError, call, put};

/// Pages of dma-bufs.
const PAGE: u64 = 4096;

/// `HSA_STATUS_ERROR_INVALID_ARGUMENT`.
const HSA_INVALID_ARGUMENT: c_uint = 0x1001;

/// Words that streams can wait for: the only memory that AMD's runtime takes for that.
static SIGNALS: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

/// How many words of signal memory there are.
pub(crate) fn signals() -> u64 {
    lock().len() as u64
}

/// Whether an address is a word of signal memory.
pub(crate) fn is_signal(address: u64) -> bool {
    lock().contains(&address)
}

fn lock() -> MutexGuard<'static, BTreeSet<u64>> {
    SIGNALS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `hipMalloc`.
///
/// # Safety
/// `address` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipMalloc(address: *mut *mut c_void, size: usize) -> hipError_t {
    call("hipMalloc", || {
        let made = RUNTIME.allocate(current()?, size as u64)?;
        // SAFETY: the caller's promise.
        unsafe { put(address, pointer(made)) }
    })
}

/// `hipMallocManaged`.
///
/// # Safety
/// `address` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipMallocManaged(
    address: *mut *mut c_void,
    size: usize,
    _flags: c_uint,
) -> hipError_t {
    call("hipMallocManaged", || {
        let made = RUNTIME.allocate_managed(current()?, size as u64)?;
        // SAFETY: the caller's promise.
        unsafe { put(address, pointer(made)) }
    })
}

/// `hipExtMallocWithFlags`: signal memory, of one word.
///
/// # Safety
/// `address` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipExtMallocWithFlags(
    address: *mut *mut c_void,
    size: usize,
    flags: c_uint,
) -> hipError_t {
    call("hipExtMallocWithFlags", || {
        if flags != hipMallocSignalMemory || size != size_of::<u64>() {
            return Err(HipError(hipErrorInvalidValue));
        }
        let made = RUNTIME.allocate_pinned(size as u64)?;
        lock().insert(made);
        // SAFETY: the caller's promise.
        unsafe { put(address, pointer(made)) }
    })
}

/// `hipFree`: after what streams still do with the memory.
#[unsafe(no_mangle)]
pub extern "C" fn hipFree(address: *mut c_void) -> hipError_t {
    call("hipFree", || {
        let address = address.addr() as u64;
        if address == 0 {
            return Ok(());
        }
        let owner = match RUNTIME.find(address) {
            _ if lock().remove(&address) => Owner::Pinned,
            Some(Found { owner: owner @ (Owner::Device(_) | Owner::Managed(_)), .. }) => owner,
            // Says why not.
            _ => Owner::Device(current()?),
        };
        Ok(RUNTIME.free(address, owner)?)
    })
}

/// `hipHostMalloc`.
///
/// # Safety
/// `address` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipHostMalloc(address: *mut *mut c_void, size: usize, _flags: c_uint) -> hipError_t {
    call("hipHostMalloc", || {
        let made = RUNTIME.allocate_pinned(size as u64)?;
        // SAFETY: the caller's promise.
        unsafe { put(address, pointer(made)) }
    })
}

/// `hipHostFree`: after what streams still do with the memory.
#[unsafe(no_mangle)]
pub extern "C" fn hipHostFree(address: *mut c_void) -> hipError_t {
    call("hipHostFree", || Ok(RUNTIME.free(address.addr() as u64, Owner::Pinned)?))
}

/// `hipHostRegister`.
#[unsafe(no_mangle)]
pub extern "C" fn hipHostRegister(address: *mut c_void, size: usize, _flags: c_uint) -> hipError_t {
    call("hipHostRegister", || Ok(RUNTIME.register(address.addr() as u64, size as u64)?))
}

/// `hipHostUnregister`.
#[unsafe(no_mangle)]
pub extern "C" fn hipHostUnregister(address: *mut c_void) -> hipError_t {
    call("hipHostUnregister", || Ok(RUNTIME.free(address.addr() as u64, Owner::Registered)?))
}

/// `hipPointerGetAttributes`. Before ROCm 6 an address that is not known is an error, and kinds have other numbers.
///
/// # Safety
/// `attributes` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipPointerGetAttributes(
    attributes: *mut hipPointerAttribute_t,
    address: *const c_void,
) -> hipError_t {
    call("hipPointerGetAttributes", || {
        let newer = major() >= 6;
        let found = RUNTIME.find(address.addr() as u64).map(|found| found.owner);
        let kind = match found {
            None if newer => 0,
            None => return Err(HipError(hipErrorInvalidValue)),
            Some(Owner::Pinned | Owner::Registered) => u32::from(newer),
            Some(Owner::Device(_) | Owner::Imported(_) | Owner::Mapped(_)) => 1 + u32::from(newer),
            // Before ROCm 6 managed memory is told by its flag alone.
            Some(Owner::Managed(_)) => {
                if newer {
                    3
                } else {
                    1
                }
            }
        };
        let host = !matches!(found, Some(Owner::Device(_) | Owner::Imported(_) | Owner::Mapped(_)));
        let answer = hipPointerAttribute_t {
            memoryType: kind,
            device: found.and_then(Owner::device).unwrap_or(0).cast_signed(),
            devicePointer: address.cast_mut(),
            hostPointer: if host { address.cast_mut() } else { ptr::null_mut() },
            isManaged: c_int::from(matches!(found, Some(Owner::Managed(_)))),
            allocationFlags: 0,
        };
        // SAFETY: the caller's promise.
        unsafe { put(attributes, answer) }
    })
}

/// `hipMemGetAddressRange`.
///
/// # Safety
/// `base` and `size` are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipMemGetAddressRange(
    base: *mut hipDeviceptr_t,
    size: *mut usize,
    address: hipDeviceptr_t,
) -> hipError_t {
    call("hipMemGetAddressRange", || {
        let found = RUNTIME.find(address.addr() as u64).ok_or(HipError(hipErrorInvalidDevicePointer))?;
        // SAFETY: the caller's promise.
        unsafe { put(base, pointer(found.base)) }?;
        // SAFETY: the caller's promise.
        unsafe { put(size, found.length as usize) }
    })
}

/// `hipIpcGetMemHandle`.
///
/// # Safety
/// `handle` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipIpcGetMemHandle(
    handle: *mut hipIpcMemHandle_t,
    address: *mut c_void,
) -> hipError_t {
    call("hipIpcGetMemHandle", || {
        let exported = RUNTIME.export(address.addr() as u64).map_err(|error| match error {
            FakeError::WrongOwner { .. } => HipError(hipErrorNotSupported),
            _ => HipError(hipErrorInvalidDevicePointer),
        })?;
        let mut bytes = [0; 64];
        bytes[..IpcHandle::BYTES].copy_from_slice(&exported.to_bytes());
        // SAFETY: the caller's promise.
        unsafe { put(handle, hipIpcMemHandle_t { reserved: bytes.map(u8::cast_signed) }) }
    })
}

/// `hipIpcOpenMemHandle`: of other processes only.
///
/// # Safety
/// `address` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipIpcOpenMemHandle(
    address: *mut *mut c_void,
    handle: hipIpcMemHandle_t,
    flags: c_uint,
) -> hipError_t {
    call("hipIpcOpenMemHandle", || {
        let handle = IpcHandle::from_bytes(&handle.reserved.map(std::ffi::c_char::cast_unsigned));
        let handle = handle.filter(|_| flags == 0).ok_or(HipError(hipErrorInvalidValue))?;
        if handle.process == process::id() {
            return Err(HipError(hipErrorInvalidContext));
        }
        let opened = RUNTIME.import(current()?, &handle)?;
        // SAFETY: the caller's promise.
        unsafe { put(address, pointer(opened)) }
    })
}

/// `hipIpcCloseMemHandle`.
#[unsafe(no_mangle)]
pub extern "C" fn hipIpcCloseMemHandle(address: *mut c_void) -> hipError_t {
    call("hipIpcCloseMemHandle", || {
        let address = address.addr() as u64;
        let owner = match RUNTIME.find(address) {
            Some(Found { owner: owner @ Owner::Imported(_), .. }) => owner,
            _ => Owner::Imported(current()?),
        };
        Ok(RUNTIME.free(address, owner)?)
    })
}

/// `hipMemGetHandleForAddressRange`: whole pages of an allocation, from its beginning, as a dma-buf.
///
/// # Safety
/// `handle` is null or an int may be written there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipMemGetHandleForAddressRange(
    handle: *mut c_void,
    address: hipDeviceptr_t,
    size: usize,
    kind: c_uint,
    flags: c_ulonglong,
) -> hipError_t {
    call("hipMemGetHandleForAddressRange", || {
        let (address, size) = (address.addr() as u64, size as u64);
        let whole = address.is_multiple_of(PAGE) && size.is_multiple_of(PAGE);
        let found = RUNTIME
            .find(address)
            .filter(|found| found.base == address && size <= found.length.next_multiple_of(PAGE));
        if !whole || kind != hip_sys::HIP_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD || flags != 0 || found.is_none() {
            return Err(HipError(hipErrorInvalidValue));
        }
        let descriptor = RUNTIME.descriptor(address)?;
        // SAFETY: the caller's promise.
        unsafe { put(handle.cast(), descriptor) }
    })
}

/// `hsa_amd_portable_export_dmabuf`, of the library below HIP's.
///
/// # Safety
/// `descriptor` and `offset` are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hsa_amd_portable_export_dmabuf(
    address: *const c_void,
    size: usize,
    descriptor: *mut c_int,
    offset: *mut u64,
) -> c_uint {
    let code = call("hsa_amd_portable_export_dmabuf", || {
        let (address, size) = (address.addr() as u64, size as u64);
        let found = RUNTIME.find(address).filter(|found| size <= found.base + found.length - address);
        let found = found.ok_or(HipError(hipErrorInvalidValue))?;
        // SAFETY: the caller's promise.
        unsafe { put(offset, address - found.base) }?;
        // SAFETY: the caller's promise.
        unsafe { put(descriptor, RUNTIME.descriptor(found.base)?) }
    });
    // It is no function of HIP, and leaves HIP's last error alone.
    if code == 0 {
        return hip_sys::HSA_STATUS_SUCCESS;
    }
    let _ = crate::error::take_last();
    HSA_INVALID_ARGUMENT
}

fn pointer(address: u64) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address as usize)
}
