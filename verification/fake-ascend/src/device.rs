//! Initialisation, devices and contexts, and what tests ask for.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::{
    cell::Cell,
    ffi::{c_char, c_int, c_void},
    ptr,
    sync::{LazyLock, Mutex, PoisonError},
};

#[cfg(test)]
use fake_device::Settings;
use fake_device::{Counts, Runtime};

use crate::{
    error::{AclError, Code, call, take_recent},
    memory,
};

/// What the process has; misuse in this crate's own tests is what they are about.
pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    #[cfg(test)]
    return Runtime::new(Settings::default());
    #[cfg(not(test))]
    Runtime::from_environment()
});

/// What `aclInit` and `aclFinalize` have done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Initialised,
    Finalised,
}

static STATE: Mutex<State> = Mutex::new(State::Fresh);

/// The context of device 0; the others follow.
const FIRST_CONTEXT: usize = 0x7000_0000;
/// From one context to the next.
const CONTEXT_STRIDE: usize = 16;

thread_local! {
    /// The device of the thread's context.
    static CURRENT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// `aclInit`. The configuration is not looked at.
#[unsafe(no_mangle)]
pub extern "C" fn aclInit(_configuration: *const c_char) -> c_int {
    call("aclInit", || {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        if *state == State::Initialised {
            return Err(AclError::new(Code::RepeatedInitialise, "aclInit was called before"));
        }
        *state = State::Initialised;
        Ok(())
    })
}

/// `aclFinalize`.
#[unsafe(no_mangle)]
pub extern "C" fn aclFinalize() -> c_int {
    call("aclFinalize", || {
        let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
        let code = match *state {
            State::Fresh => Code::Uninitialised,
            State::Finalised => Code::RepeatedFinalise,
            State::Initialised => {
                *state = State::Finalised;
                return Ok(());
            }
        };
        Err(AclError::new(code, "aclFinalize without aclInit"))
    })
}

/// `aclGetRecentErrMsg`: this thread's last error, once.
#[unsafe(no_mangle)]
pub extern "C" fn aclGetRecentErrMsg() -> *const c_char {
    take_recent()
}

/// `aclrtGetDeviceCount`.
///
/// # Safety
/// `count` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtGetDeviceCount(count: *mut u32) -> c_int {
    // SAFETY: the caller's promise.
    call("aclrtGetDeviceCount", || unsafe { put(count, RUNTIME.devices()) })
}

/// `aclrtSetDevice`: the device's context becomes this thread's.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtSetDevice(device: i32) -> c_int {
    call("aclrtSetDevice", || {
        CURRENT.set(Some(known(device)?));
        Ok(())
    })
}

/// `aclrtGetDevice`.
///
/// # Safety
/// `device` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtGetDevice(device: *mut i32) -> c_int {
    // SAFETY: the caller's promise.
    call("aclrtGetDevice", || unsafe { put(device, current()?.cast_signed()) })
}

/// `aclrtResetDevice`: if it is this thread's, the thread has none; memory and streams stay.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtResetDevice(device: i32) -> c_int {
    call("aclrtResetDevice", || {
        let device = known(device)?;
        CURRENT.set(CURRENT.get().filter(|current| *current != device));
        Ok(())
    })
}

/// `aclrtGetCurrentContext`.
///
/// # Safety
/// `context` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtGetCurrentContext(context: *mut *mut c_void) -> c_int {
    call("aclrtGetCurrentContext", || {
        let number = FIRST_CONTEXT + current()? as usize * CONTEXT_STRIDE;
        // SAFETY: the caller's promise.
        unsafe { put(context, ptr::without_provenance_mut(number)) }
    })
}

/// `aclrtSetCurrentContext`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtSetCurrentContext(context: *mut c_void) -> c_int {
    call("aclrtSetCurrentContext", || {
        let offset = context.addr().checked_sub(FIRST_CONTEXT);
        let device =
            offset.filter(|offset| offset % CONTEXT_STRIDE == 0).map(|offset| offset / CONTEXT_STRIDE);
        let device = device.filter(|device| *device < RUNTIME.devices() as usize);
        let unknown = || AclError::new(Code::RuntimeParameter, format!("there is no context {context:p}"));
        CURRENT.set(Some(device.ok_or_else(unknown)? as u32));
        Ok(())
    })
}

/// `aclrtSynchronizeDevice`: waits for every stream of the thread's device.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtSynchronizeDevice() -> c_int {
    call("aclrtSynchronizeDevice", || {
        let mut outcomes = RUNTIME.streams(current()?).into_iter().map(|stream| stream.synchronise(None));
        outcomes.try_for_each(|outcome| outcome.map(drop).map_err(AclError::of_stream))
    })
}

/// `aclrtGetSocName`: a chip that programs know.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtGetSocName() -> *const c_char {
    c"Ascend910B1".as_ptr()
}

/// `aclrtGetPhyDevIdByLogicDevId`: the same number.
///
/// # Safety
/// `physical` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtGetPhyDevIdByLogicDevId(logical: i32, physical: *mut i32) -> c_int {
    // SAFETY: the caller's promise.
    call("aclrtGetPhyDevIdByLogicDevId", || unsafe { put(physical, known(logical)?.cast_signed()) })
}

/// `aclrtDeviceGetPCIBusId`: bus 0xc0 and on.
///
/// # Safety
/// `text` may be written for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtDeviceGetPCIBusId(device: i32, text: *mut c_char, length: i32) -> c_int {
    call("aclrtDeviceGetPCIBusId", || {
        let address = format!("0000:{:02x}:00.0\0", 0xc0 + known(device)?);
        if text.is_null() || (length as usize) < address.len() {
            return Err(AclError::new(Code::InvalidParameter, "no room for an address"));
        }
        // SAFETY: there is room, as was checked and as the caller promises.
        unsafe { text.cast::<u8>().copy_from(address.as_ptr(), address.len()) };
        Ok(())
    })
}

/// What is alive; keys of memory that is shared count as others. Not a function of the runtime.
///
/// # Safety
/// `counts` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn fake_device_counts(counts: *mut Counts) {
    let now = Counts { others: memory::exported(), ..RUNTIME.counts() };
    // SAFETY: the caller's promise.
    unsafe { counts.write(now) };
}

/// The device of this thread's context.
pub(crate) fn current() -> Result<u32, AclError> {
    CURRENT.get().ok_or_else(|| AclError::new(Code::NoContext, "the thread has set no device"))
}

/// # Safety
/// `place` is null or may be written.
pub(crate) unsafe fn put<T>(place: *mut T, value: T) -> Result<(), AclError> {
    check_place(place)?;
    // SAFETY: not null, so the caller promises that it may be written.
    unsafe { place.write(value) };
    Ok(())
}

/// Fails for a null pointer.
pub(crate) fn check_place<T>(place: *mut T) -> Result<(), AclError> {
    let null = || AclError::new(Code::InvalidParameter, "the place for the result is NULL");
    (!place.is_null()).then_some(()).ok_or_else(null)
}

fn known(device: i32) -> Result<u32, AclError> {
    let count = RUNTIME.devices();
    let unknown = || AclError::new(Code::InvalidDevice, format!("there is no device {device} among {count}"));
    u32::try_from(device).ok().filter(|device| *device < count).ok_or_else(unknown)
}
