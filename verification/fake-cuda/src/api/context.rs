//! Versions, devices and contexts.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::ffi::{c_char, c_int, c_uint};

use fake_device::Counts;

use super::put;
use crate::{
    code::{Code, INVALID_CONTEXT, INVALID_VALUE, NAMES, NO_DEVICE, SUCCESS, call},
    graph, kernel, state,
};

/// `cuInit`.
#[unsafe(no_mangle)]
pub extern "C" fn cuInit(flags: c_uint) -> Code {
    match () {
        () if flags != 0 => INVALID_VALUE,
        () if state::runtime().devices() == 0 => NO_DEVICE,
        () => {
            state::initialise();
            call("cuInit", || Ok(()))
        }
    }
}

/// `cuDriverGetVersion`: CUDA 12.8.
///
/// # Safety
/// `version` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: *mut c_int) -> Code {
    // SAFETY: the caller's promise.
    unsafe { put(version, || Ok(12_080)) }.err().unwrap_or(SUCCESS)
}

/// `cuGetErrorName`.
///
/// # Safety
/// `name` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(code: Code, name: *mut *const c_char) -> Code {
    let known = NAMES.iter().find(|(known, _)| *known == code);
    // SAFETY: the caller's promise.
    unsafe { put(name, || known.map(|(_, name)| name.as_ptr()).ok_or(INVALID_VALUE)) }
        .err()
        .unwrap_or(SUCCESS)
}

/// `cuDeviceGetCount`.
///
/// # Safety
/// `count` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetCount(count: *mut c_int) -> Code {
    // SAFETY: the caller's promise.
    call("cuDeviceGetCount", || unsafe { put(count, || Ok(state::runtime().devices().cast_signed())) })
}

/// `cuDeviceGet`.
///
/// # Safety
/// `device` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGet(device: *mut c_int, ordinal: c_int) -> Code {
    // SAFETY: the caller's promise.
    call("cuDeviceGet", || unsafe { put(device, || state::device(ordinal).map(u32::cast_signed)) })
}

/// `cuDeviceGetName`.
///
/// # Safety
/// `name` has room for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetName(name: *mut c_char, length: c_int, device: c_int) -> Code {
    call("cuDeviceGetName", || {
        state::device(device)?;
        let text = c"Fake CUDA device".to_bytes_with_nul();
        if name.is_null() || usize::try_from(length).map_or(true, |length| length < text.len()) {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise, and there is room.
        unsafe { name.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len()) };
        Ok(())
    })
}

/// `cuDeviceTotalMem`.
///
/// # Safety
/// `bytes` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceTotalMem_v2(bytes: *mut usize, device: c_int) -> Code {
    let all = || state::device(device).map(|device| state::runtime().room(device).1 as usize);
    // SAFETY: the caller's promise.
    call("cuDeviceTotalMem", || unsafe { put(bytes, all) })
}

/// `cuDeviceGetAttribute`.
///
/// # Safety
/// `value` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetAttribute(value: *mut c_int, attribute: c_uint, device: c_int) -> Code {
    let found = || state::device(device).map(|device| state::attribute(device, attribute));
    // SAFETY: the caller's promise.
    call("cuDeviceGetAttribute", || unsafe { put(value, found) })
}

/// `cuDeviceGetUuid`.
///
/// # Safety
/// `uuid` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid(uuid: *mut [u8; 16], device: c_int) -> Code {
    // SAFETY: the caller's promise.
    call("cuDeviceGetUuid", || unsafe { put(uuid, || state::device(device).map(state::uuid)) })
}

/// `cuDeviceGetUuid_v2`.
///
/// # Safety
/// `uuid` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDeviceGetUuid_v2(uuid: *mut [u8; 16], device: c_int) -> Code {
    // SAFETY: the caller's promise.
    unsafe { cuDeviceGetUuid(uuid, device) }
}

/// `cuDevicePrimaryCtxRetain`.
///
/// # Safety
/// `context` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDevicePrimaryCtxRetain(context: *mut usize, device: c_int) -> Code {
    // SAFETY: the caller's promise.
    call("cuDevicePrimaryCtxRetain", || unsafe { put(context, || state::device(device).map(state::retain)) })
}

/// `cuDevicePrimaryCtxRelease`.
#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxRelease_v2(device: c_int) -> Code {
    call("cuDevicePrimaryCtxRelease", || state::release(state::device(device)?))
}

/// `cuDevicePrimaryCtxReset`.
#[unsafe(no_mangle)]
pub extern "C" fn cuDevicePrimaryCtxReset_v2(device: c_int) -> Code {
    call("cuDevicePrimaryCtxReset", || state::device(device).map(state::reset))
}

/// `cuCtxGetCurrent`.
///
/// # Safety
/// `context` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(context: *mut usize) -> Code {
    // SAFETY: the caller's promise.
    call("cuCtxGetCurrent", || unsafe { put(context, || Ok(state::current())) })
}

/// `cuCtxPushCurrent`.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxPushCurrent_v2(context: usize) -> Code {
    call("cuCtxPushCurrent", || state::device_of(context).map(|_| state::push(context)))
}

/// `cuCtxPopCurrent`.
///
/// # Safety
/// `context` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxPopCurrent_v2(context: *mut usize) -> Code {
    call("cuCtxPopCurrent", || {
        let popped = state::pop().ok_or(INVALID_CONTEXT)?;
        // SAFETY: the caller's promise.
        if context.is_null() { Ok(()) } else { unsafe { put(context, || Ok(popped)) } }
    })
}

/// `cuCtxGetDevice`.
///
/// # Safety
/// `device` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetDevice(device: *mut c_int) -> Code {
    // SAFETY: the caller's promise.
    call("cuCtxGetDevice", || unsafe { put(device, || state::current_device().map(u32::cast_signed)) })
}

/// `cuCtxSynchronize`: waits for every stream of the device.
#[unsafe(no_mangle)]
pub extern "C" fn cuCtxSynchronize() -> Code {
    call("cuCtxSynchronize", || {
        graph::check_safe()?;
        let streams = state::runtime().streams(state::current_device()?);
        streams.iter().try_for_each(super::stream::synchronise)
    })
}

/// What is alive; not a function of the driver's.
///
/// # Safety
/// `counts` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fake_device_counts(counts: *mut Counts) {
    let others = state::retained() + kernel::loaded() + graph::count() + state::runtime().reservations();
    // SAFETY: the caller's promise.
    unsafe { counts.write(Counts { others, ..state::runtime().counts() }) };
}
