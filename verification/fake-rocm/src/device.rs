//! Devices, errors, and what tests ask for.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::{
    cell::Cell,
    env,
    ffi::{c_char, c_int},
    sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    },
};

use fake_device::{Counts, Runtime};
use hip_sys::hip::{
    self, hipDevice_t, hipDeviceAttribute_t, hipError_t, hipErrorInvalidDevice, hipErrorInvalidValue,
    hipErrorNoDevice, hipUUID,
};

use crate::error::{HipError, call, last, of_stream, put, take_last};
use crate::memory;

/// What the process has.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(Runtime::from_environment);

/// The version that is played.
static VERSION: LazyLock<[u32; 3]> = LazyLock::new(|| {
    let text = env::var("FAKE_ROCM_VERSION").unwrap_or_default();
    let mut parts = text.split('.').map_while(|part| part.parse().ok());
    match [parts.next(), parts.next(), parts.next()] {
        [Some(major), minor, patch] => [major, minor.unwrap_or(0), patch.unwrap_or(0)],
        _ => [7, 0, 0],
    }
});

/// The register that makes writes over PCIe visible: what was written to it last.
static FLUSH: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static CURRENT: Cell<u32> = const { Cell::new(0) };
}

pub(crate) fn major() -> u32 {
    VERSION[0]
}

/// The thread's device.
pub(crate) fn current() -> Result<u32, HipError> {
    known(CURRENT.get().cast_signed())
}

fn known(device: c_int) -> Result<u32, HipError> {
    if RUNTIME.devices() == 0 {
        return Err(HipError(hipErrorNoDevice));
    }
    u32::try_from(device)
        .ok()
        .filter(|device| *device < RUNTIME.devices())
        .ok_or(HipError(hipErrorInvalidDevice))
}

/// `hipRuntimeGetVersion`.
///
/// # Safety
/// `version` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipRuntimeGetVersion(version: *mut c_int) -> hipError_t {
    let [major, minor, patch] = *VERSION;
    let packed = major * 10_000_000 + minor * 100_000 + patch;
    // SAFETY: the caller's promise.
    call("hipRuntimeGetVersion", || unsafe { put(version, packed.cast_signed()) })
}

/// `hipGetDeviceCount`.
///
/// # Safety
/// `count` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipGetDeviceCount(count: *mut c_int) -> hipError_t {
    call("hipGetDeviceCount", || {
        // SAFETY: the caller's promise.
        unsafe { put(count, RUNTIME.devices().cast_signed()) }?;
        known(0).map(drop)
    })
}

/// `hipGetDevice`.
///
/// # Safety
/// `device` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipGetDevice(device: *mut c_int) -> hipError_t {
    // SAFETY: the caller's promise.
    call("hipGetDevice", || unsafe { put(device, current()?.cast_signed()) })
}

/// `hipSetDevice`: for this thread.
#[unsafe(no_mangle)]
pub extern "C" fn hipSetDevice(device: c_int) -> hipError_t {
    call("hipSetDevice", || {
        CURRENT.set(known(device)?);
        Ok(())
    })
}

/// `hipDeviceReset`: all that the thread's device has is gone.
#[unsafe(no_mangle)]
pub extern "C" fn hipDeviceReset() -> hipError_t {
    call("hipDeviceReset", || {
        RUNTIME.reset_device(current()?, hip::hipErrorContextIsDestroyed.into());
        Ok(())
    })
}

/// `hipDeviceSynchronize`.
#[unsafe(no_mangle)]
pub extern "C" fn hipDeviceSynchronize() -> hipError_t {
    call("hipDeviceSynchronize", || {
        let mut outcomes = RUNTIME.streams(current()?).into_iter().map(|stream| stream.synchronise(None));
        outcomes.try_for_each(|outcome| outcome.map(drop).map_err(of_stream))
    })
}

/// `hipDeviceGetName`.
///
/// # Safety
/// `name` is null or may be written for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipDeviceGetName(
    name: *mut c_char,
    length: c_int,
    device: hipDevice_t,
) -> hipError_t {
    call("hipDeviceGetName", || {
        let text = format!("Fake Instinct {}", known(device)?);
        // SAFETY: the caller's promise.
        unsafe { put_text(name, length, &text) }
    })
}

/// `hipDeviceGetPCIBusId`: bus 0xa0 and on.
///
/// # Safety
/// `address` is null or may be written for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipDeviceGetPCIBusId(
    address: *mut c_char,
    length: c_int,
    device: c_int,
) -> hipError_t {
    call("hipDeviceGetPCIBusId", || {
        let text = format!("0000:{:02x}:00.0", 0xa0 + known(device)?);
        // SAFETY: the caller's promise.
        unsafe { put_text(address, length, &text) }
    })
}

/// `hipDeviceGetUuid`: sixteen digits, as AMD's runtime gives them.
///
/// # Safety
/// `uuid` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipDeviceGetUuid(uuid: *mut hipUUID, device: hipDevice_t) -> hipError_t {
    call("hipDeviceGetUuid", || {
        let mut bytes = [0; 16];
        let digits = format!("fa4e{:012x}", known(device)?);
        bytes.iter_mut().zip(digits.bytes()).for_each(|(byte, digit)| *byte = digit.cast_signed());
        // SAFETY: the caller's promise.
        unsafe { put(uuid, hipUUID { bytes }) }
    })
}

/// `hipDeviceTotalMem`.
///
/// # Safety
/// `bytes` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipDeviceTotalMem(bytes: *mut usize, device: hipDevice_t) -> hipError_t {
    // SAFETY: the caller's promise.
    call("hipDeviceTotalMem", || unsafe { put(bytes, RUNTIME.room(known(device)?).1 as usize) })
}

/// `hipDeviceGetAttribute`, for two of them.
///
/// # Safety
/// `value` is null or may be written: an int, for the flush register a pointer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipDeviceGetAttribute(
    value: *mut c_int,
    attribute: hipDeviceAttribute_t,
    device: c_int,
) -> hipError_t {
    call("hipDeviceGetAttribute", || {
        known(device)?;
        match attribute {
            // SAFETY: the caller's promise.
            hip::hipDeviceAttributeHdpMemFlushCntl => unsafe { put(value.cast(), FLUSH.as_ptr()) },
            // SAFETY: the caller's promise.
            hip::hipDeviceAttributeCanUseStreamWaitValue => unsafe { put(value, 1) },
            _ => Err(HipError(hipErrorInvalidValue)),
        }
    })
}

/// `hipGetErrorName`.
#[unsafe(no_mangle)]
pub extern "C" fn hipGetErrorName(error: hipError_t) -> *const c_char {
    let name = match error {
        hip::hipSuccess => c"hipSuccess",
        hip::hipErrorInvalidValue => c"hipErrorInvalidValue",
        hip::hipErrorOutOfMemory => c"hipErrorOutOfMemory",
        hip::hipErrorInvalidDevicePointer => c"hipErrorInvalidDevicePointer",
        hip::hipErrorNoDevice => c"hipErrorNoDevice",
        hip::hipErrorInvalidDevice => c"hipErrorInvalidDevice",
        hip::hipErrorInvalidContext => c"hipErrorInvalidContext",
        hip::hipErrorInvalidHandle => c"hipErrorInvalidHandle",
        hip::hipErrorNotReady => c"hipErrorNotReady",
        hip::hipErrorIllegalAddress => c"hipErrorIllegalAddress",
        hip::hipErrorContextIsDestroyed => c"hipErrorContextIsDestroyed",
        hip::hipErrorHostMemoryAlreadyRegistered => c"hipErrorHostMemoryAlreadyRegistered",
        hip::hipErrorNotSupported => c"hipErrorNotSupported",
        _ => c"hipErrorUnknown",
    };
    name.as_ptr()
}

/// `hipGetLastError`: this thread's, once.
#[unsafe(no_mangle)]
pub extern "C" fn hipGetLastError() -> hipError_t {
    take_last()
}

/// `hipPeekAtLastError`: this thread's.
#[unsafe(no_mangle)]
pub extern "C" fn hipPeekAtLastError() -> hipError_t {
    last()
}

/// What is alive; words of signal memory count as others, and not as pinned. Not a function of the runtime.
///
/// # Safety
/// `counts` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fake_device_counts(counts: *mut Counts) {
    let (all, others) = (RUNTIME.counts(), memory::signals());
    // SAFETY: the caller's promise.
    unsafe { counts.write(Counts { others, pinned: all.pinned - others, ..all }) };
}

/// What was last written to the flush register, which is 0 again then. Not a function of the runtime.
#[unsafe(no_mangle)]
pub extern "C" fn fake_rocm_flushed() -> u32 {
    FLUSH.swap(0, Ordering::SeqCst)
}

/// # Safety
/// `to` is null or may be written for `length` bytes.
unsafe fn put_text(to: *mut c_char, length: c_int, text: &str) -> Result<(), HipError> {
    let room = usize::try_from(length).unwrap_or(0);
    if to.is_null() || room <= text.len() {
        return Err(HipError(hipErrorInvalidValue));
    }
    // SAFETY: there is room, as was checked and as the caller promises.
    unsafe { to.cast::<u8>().copy_from(text.as_ptr(), text.len()) };
    // SAFETY: one byte more, of which the room was checked.
    unsafe { to.add(text.len()).write(0) };
    Ok(())
}
