//! The rules that `gpu-direct` keeps to and that its own tests therefore do not show.
#![allow(unsafe_code)] // calls C functions

use std::ptr::null_mut;

use crate::{
    api::{context::*, memory::*, pointer::*, share::*, stream::*, virtual_memory::*},
    code::*,
};

/// A context of device 0 for this thread.
fn enter() -> usize {
    assert_eq!(cuInit(0), SUCCESS);
    let mut context = 0;
    // SAFETY: a place for the handle.
    assert_eq!(unsafe { cuDevicePrimaryCtxRetain(&mut context, 0) }, SUCCESS);
    assert_eq!(cuCtxPushCurrent_v2(context), SUCCESS);
    context
}

#[test]
fn functions_want_a_context() {
    assert_eq!((cuInit(1), cuInit(0)), (INVALID_VALUE, SUCCESS));
    let (mut address, mut context) = (0, 0);
    // SAFETY: places for results.
    unsafe {
        assert_eq!(cuMemAlloc_v2(&mut address, 64), INVALID_CONTEXT);
        assert_eq!(cuCtxPopCurrent_v2(null_mut()), INVALID_CONTEXT);
        assert_eq!(cuDevicePrimaryCtxRetain(&mut context, 2), INVALID_DEVICE);
        assert_eq!(cuDevicePrimaryCtxRetain(null_mut(), 0), INVALID_VALUE);
    }
    assert_eq!(cuCtxPushCurrent_v2(7), INVALID_CONTEXT);
    assert_eq!(cuStreamSynchronize(0), INVALID_CONTEXT);
}

#[test]
fn memory_is_copied_and_described() {
    enter();
    let (mut address, mut base, mut size) = (0, 0, 0);
    let mut found = [0_u8; 4];
    // SAFETY: places for results, and ranges of four bytes.
    unsafe {
        assert_eq!(cuMemAlloc_v2(&mut address, 64), SUCCESS);
        assert_eq!(cuMemcpyHtoD_v2(address + 60, b"here".as_ptr().cast(), 4), SUCCESS);
        assert_eq!(cuMemcpyDtoH_v2(found.as_mut_ptr().cast(), address + 60, 4), SUCCESS);
        assert_eq!(cuMemGetAddressRange_v2(&mut base, &mut size, address + 60), SUCCESS);
        assert_eq!(cuMemGetAddressRange_v2(&mut base, &mut size, 64), INVALID_VALUE);
    }
    assert_eq!((&found, base, size), (b"here", address, 64));
    assert_eq!(cuMemsetD8_v2(address, 1, 64), SUCCESS);
    assert_eq!(cuMemFree_v2(address), SUCCESS);
}

#[test]
fn streams_and_events_are_looked_up() {
    enter();
    let (mut stream, mut event) = (0, 0);
    // SAFETY: places for handles.
    unsafe {
        assert_eq!(cuStreamCreate(&mut stream, 2), INVALID_VALUE);
        assert_eq!(cuStreamCreate(&mut stream, 1), SUCCESS);
        assert_eq!(cuEventCreate(&mut event, 2), SUCCESS);
    }
    assert_eq!((cuEventQuery(event), cuEventRecord(event, stream)), (SUCCESS, SUCCESS));
    assert_eq!((cuEventSynchronize(event), cuStreamSynchronize(stream)), (SUCCESS, SUCCESS));
    assert_eq!((cuStreamQuery(stream), cuCtxSynchronize()), (SUCCESS, SUCCESS));
    assert_eq!((cuStreamWaitEvent(stream, 5, 0), cuEventRecord(event, 5)), (INVALID_HANDLE, INVALID_HANDLE));
    assert_eq!((cuStreamDestroy_v2(stream), cuStreamDestroy_v2(0)), (SUCCESS, INVALID_HANDLE));
    assert_eq!(cuEventDestroy_v2(event), SUCCESS);
}

#[test]
fn names_of_codes_are_the_drivers() {
    let mut name = std::ptr::null();
    // SAFETY: a place for the name, which is constant.
    let text = unsafe {
        assert_eq!(cuGetErrorName(709, &mut name), SUCCESS);
        std::ffi::CStr::from_ptr(name)
    };
    assert_eq!(text, c"CUDA_ERROR_CONTEXT_IS_DESTROYED");
    // SAFETY: a place for the name.
    assert_eq!(unsafe { cuGetErrorName(12_345, &mut name) }, INVALID_VALUE);
}

/// What is asked for in these tests, of a device.
fn properties(device: i32) -> CudaAllocationProperties {
    let location = CudaLocation { kind: 1, number: device };
    CudaAllocationProperties { kind: 1, handle_types: 1, location, ..CudaAllocationProperties::default() }
}

#[test]
fn physical_memory_is_mapped_where_addresses_are_reserved() {
    enter();
    let (piece, mut handle, mut again, mut base) = (1_usize << 16, 0, 0, 0);
    let wanted = properties(0);
    let access = CudaAccess { location: wanted.location, flags: 3 };
    // SAFETY: places for results, and values to read.
    unsafe {
        assert_eq!(cuMemGetAllocationGranularity(&mut 0, &wanted, 2), INVALID_VALUE);
        assert_eq!(cuMemCreate(&mut handle, piece, &properties(7), 0), INVALID_DEVICE);
        assert_eq!(cuMemCreate(&mut handle, piece + 1, &wanted, 0), INVALID_VALUE);
        assert_eq!(cuMemCreate(&mut handle, piece, null_mut(), 0), INVALID_VALUE);
        assert_eq!(cuMemCreate(&mut handle, piece, &wanted, 0), SUCCESS);
        assert_eq!(cuMemAddressReserve(&mut base, 2 * piece, 3, 0, 0), INVALID_VALUE);
        assert_eq!(cuMemAddressReserve(&mut base, 2 * piece, 0, 0, 0), SUCCESS);
    }
    assert_eq!(cuMemMap(base, piece, 4096, handle, 0), INVALID_VALUE);
    assert_eq!(cuMemMap(base + 2 * piece as u64, piece, 0, handle, 0), INVALID_VALUE);
    assert_eq!(cuMemMap(base, 2 * piece, 0, handle, 0), INVALID_VALUE);
    assert_eq!(cuMemMap(base, piece, 0, handle, 0), SUCCESS);
    assert_eq!(cuMemMap(base, piece, 0, handle, 0), INVALID_VALUE);
    // SAFETY: as above.
    unsafe {
        assert_eq!(cuMemRetainAllocationHandle(&mut again, base + piece as u64), INVALID_VALUE);
        assert_eq!(cuMemRetainAllocationHandle(&mut again, base + 5), SUCCESS);
        assert_eq!(cuMemSetAccess(base, piece / 2, &access, 1), INVALID_VALUE);
        assert_eq!(cuMemSetAccess(base, piece, &CudaAccess { flags: 2, ..access }, 1), INVALID_VALUE);
        assert_eq!(cuMemSetAccess(base, piece, &access, 1), SUCCESS);
        assert_eq!(cuMemExportToShareableHandle(&mut 0, handle, 2, 0), INVALID_VALUE);
        assert_eq!(cuMemImportFromShareableHandle(&mut 0, 0, 1), INVALID_VALUE);
    }
    assert_eq!(again, handle);
    let mut found = CudaAllocationProperties::default();
    // SAFETY: a place for the result.
    assert_eq!(unsafe { cuMemGetAllocationPropertiesFromHandle(&mut found, handle) }, SUCCESS);
    assert_eq!((found.handle_types, found.location.number), (1, 0));
    // SAFETY: places for results.
    assert_eq!(unsafe { cuIpcGetMemHandle(null_mut(), base) }, INVALID_VALUE);
    assert_eq!(cuMemFree_v2(base), INVALID_VALUE);
    assert_eq!((cuMemRelease(handle), cuMemRelease(handle)), (SUCCESS, SUCCESS));
    assert_eq!(cuMemUnmap(base, piece / 2), INVALID_VALUE);
    assert_eq!(cuMemsetD8_v2(base, 7, piece), SUCCESS);
    assert_eq!(cuMemUnmap(base, piece), SUCCESS);
    // SAFETY: a place for the result.
    assert_eq!(unsafe { cuMemRetainAllocationHandle(&mut again, base) }, INVALID_VALUE);
    assert_eq!(cuMemAddressFree(base, 2 * piece), SUCCESS);
}
