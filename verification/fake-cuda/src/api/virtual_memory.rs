//! Virtual memory management: physical memory, reserved addresses, and the one mapped into the other.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::{
    ffi::{c_int, c_uint, c_ulonglong},
    os::fd::{BorrowedFd, IntoRawFd},
};

use fake_device::virtual_memory::{GRANULARITY, Properties};

use super::put;
use crate::{
    code::{Code, INVALID_VALUE, NOT_SUPPORTED, call, code},
    state::{self, runtime},
};

/// `CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED`.
const SUPPORTED: u32 = 102;

/// `CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR`.
const DESCRIPTOR: c_uint = 1;
/// `CU_MEM_ALLOCATION_TYPE_PINNED` and `CU_MEM_LOCATION_TYPE_DEVICE`.
const PINNED: c_uint = 1;
const DEVICE: c_uint = 1;

/// `CUmemLocation`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct CudaLocation {
    /// `CUmemLocationType`.
    pub kind: c_uint,
    /// The device.
    pub number: c_int,
}

/// `CUmemAllocationProp`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct CudaAllocationProperties {
    /// `CUmemAllocationType`.
    pub kind: c_uint,
    /// `CUmemAllocationHandleType`, several of which may be asked for.
    pub handle_types: c_uint,
    /// Whose memory.
    pub location: CudaLocation,
    /// For another system.
    pub windows: usize,
    /// Compression, use with NICs, use.
    pub flags: [u8; 8],
}

/// `CUmemAccessDesc`.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct CudaAccess {
    /// Whose access.
    pub location: CudaLocation,
    /// `CUmemAccess_flags`.
    pub flags: c_uint,
}

/// What is asked for, or `CUDA_ERROR_INVALID_VALUE`.
///
/// # Safety
/// Null or readable.
unsafe fn read(properties: *const CudaAllocationProperties) -> Result<Properties, Code> {
    // SAFETY: the caller's promise.
    let properties = unsafe { properties.as_ref() }.ok_or(INVALID_VALUE)?;
    let CudaAllocationProperties { kind, handle_types, location, windows, .. } = *properties;
    if kind != PINNED || location.kind != DEVICE || handle_types & !DESCRIPTOR != 0 || windows != 0 {
        return Err(INVALID_VALUE);
    }
    let device = state::device(location.number)?;
    if state::attribute(device, SUPPORTED) == 0 {
        return Err(NOT_SUPPORTED);
    }
    Ok(Properties { device, shareable: handle_types == DESCRIPTOR })
}

/// `cuMemGetAllocationGranularity`. A GPU's is 2 MiB.
///
/// # Safety
/// Both are null, or one may be written and the other read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetAllocationGranularity(
    granularity: *mut usize,
    properties: *const CudaAllocationProperties,
    option: c_uint,
) -> Code {
    call("cuMemGetAllocationGranularity", || {
        // SAFETY: the caller's promise.
        unsafe { read(properties) }?;
        if option > 1 {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        unsafe { put(granularity, || Ok(GRANULARITY as usize)) }
    })
}

/// `cuMemCreate`.
///
/// # Safety
/// As [`cuMemGetAllocationGranularity`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemCreate(
    handle: *mut u64,
    size: usize,
    properties: *const CudaAllocationProperties,
    flags: c_ulonglong,
) -> Code {
    call("cuMemCreate", || {
        // SAFETY: the caller's promise.
        let properties = unsafe { read(properties) }?;
        if flags != 0 {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        unsafe { put(handle, || runtime().create_physical(properties, size as u64).map_err(code)) }
    })
}

/// `cuMemRelease`.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemRelease(handle: u64) -> Code {
    call("cuMemRelease", || runtime().release_physical(handle).map_err(|_| INVALID_VALUE))
}

/// `cuMemRetainAllocationHandle`.
///
/// # Safety
/// `handle` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemRetainAllocationHandle(handle: *mut u64, address: u64) -> Code {
    let retain = || runtime().retain_physical(address).map_err(code);
    // SAFETY: the caller's promise.
    call("cuMemRetainAllocationHandle", || unsafe { put(handle, retain) })
}

/// `cuMemGetAllocationPropertiesFromHandle`.
///
/// # Safety
/// `properties` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetAllocationPropertiesFromHandle(
    properties: *mut CudaAllocationProperties,
    handle: u64,
) -> Code {
    let ask = || {
        let Properties { device, shareable } =
            runtime().physical_properties(handle).map_err(|_| INVALID_VALUE)?;
        Ok(CudaAllocationProperties {
            kind: PINNED,
            handle_types: if shareable { DESCRIPTOR } else { 0 },
            location: CudaLocation { kind: DEVICE, number: device.cast_signed() },
            ..CudaAllocationProperties::default()
        })
    };
    // SAFETY: the caller's promise.
    call("cuMemGetAllocationPropertiesFromHandle", || unsafe { put(properties, ask) })
}

/// `cuMemExportToShareableHandle`: a descriptor.
///
/// # Safety
/// `place` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemExportToShareableHandle(
    place: *mut c_int,
    handle: u64,
    kind: c_uint,
    flags: c_ulonglong,
) -> Code {
    let export = || {
        if kind != DESCRIPTOR || flags != 0 {
            return Err(INVALID_VALUE);
        }
        runtime().export_physical(handle).map(IntoRawFd::into_raw_fd).map_err(|_| INVALID_VALUE)
    };
    // SAFETY: the caller's promise.
    call("cuMemExportToShareableHandle", || unsafe { put(place, export) })
}

/// `cuMemImportFromShareableHandle`: of a descriptor, which is passed as a pointer and stays the caller's.
///
/// # Safety
/// `handle` is null or may be written; the descriptor is open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemImportFromShareableHandle(
    handle: *mut u64,
    descriptor: usize,
    kind: c_uint,
) -> Code {
    let import = || {
        let number = c_int::try_from(descriptor).map_err(|_| INVALID_VALUE)?;
        if kind != DESCRIPTOR {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        runtime().import_physical(descriptor).map_err(code)
    };
    // SAFETY: the caller's promise.
    call("cuMemImportFromShareableHandle", || unsafe { put(handle, import) })
}

/// `cuMemAddressReserve`, at an address of the driver's choice.
///
/// # Safety
/// `address` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAddressReserve(
    address: *mut u64,
    size: usize,
    alignment: usize,
    wanted: u64,
    flags: c_ulonglong,
) -> Code {
    let reserve = || {
        if flags != 0 || wanted != 0 || (alignment != 0 && !alignment.is_power_of_two()) {
            return Err(INVALID_VALUE);
        }
        runtime().reserve_addresses(size as u64).map_err(code)
    };
    // SAFETY: the caller's promise.
    call("cuMemAddressReserve", || unsafe { put(address, reserve) })
}

/// `cuMemAddressFree`.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemAddressFree(address: u64, size: usize) -> Code {
    call("cuMemAddressFree", || runtime().free_addresses(address, size as u64).map_err(code))
}

/// `cuMemMap`.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemMap(
    address: u64,
    size: usize,
    offset: usize,
    handle: u64,
    flags: c_ulonglong,
) -> Code {
    call("cuMemMap", || {
        if offset != 0 || flags != 0 {
            return Err(INVALID_VALUE);
        }
        runtime().map(address, size as u64, handle).map_err(|_| INVALID_VALUE)
    })
}

/// `cuMemUnmap`, of one mapping. What a copy still touches would not be waited for: that is misuse.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemUnmap(address: u64, size: usize) -> Code {
    call("cuMemUnmap", || runtime().unmap(address, size as u64).map_err(code))
}

/// `cuMemSetAccess`.
///
/// # Safety
/// A list of so many entries.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemSetAccess(
    address: u64,
    size: usize,
    accesses: *const CudaAccess,
    count: usize,
) -> Code {
    call("cuMemSetAccess", || {
        if accesses.is_null() || count == 0 {
            return Err(INVALID_VALUE);
        }
        for at in 0..count {
            // SAFETY: the caller's promise.
            let CudaAccess { location, flags } = unsafe { *accesses.add(at) };
            if location.kind != DEVICE || !matches!(flags, 0 | 1 | 3) {
                return Err(INVALID_VALUE);
            }
            state::device(location.number)?;
            runtime().set_access(address, size as u64, flags == 3).map_err(code)?;
        }
        Ok(())
    })
}
