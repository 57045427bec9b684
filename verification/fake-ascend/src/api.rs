//! The C functions: names, arguments and codes of the Ascend runtime. Called by programs; `include/acl` declares them.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::{
    cell::Cell,
    env,
    ffi::{c_char, c_int, c_void},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    error::{AclError, Code, report, take_recent},
    memory::{self, Kind, Owner},
    stream,
};

/// Devices there are unless `FAKE_ASCEND_DEVICES` says otherwise.
const DEVICES: u32 = 8;

/// What `aclInit` and `aclFinalize` have done.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Fresh,
    Initialised,
    Finalised,
}

static STATE: Mutex<State> = Mutex::new(State::Fresh);

thread_local! {
    static DEVICE: Cell<i32> = const { Cell::new(0) };
}

/// A call on a stream's thread.
type HostFunction = unsafe extern "C" fn(*mut c_void);

/// What a host function is called with; the program says that it may move to a stream's thread.
struct Argument(*mut c_void);

// SAFETY: the address is passed to the program's own function and not looked at.
unsafe impl Send for Argument {}

/// `aclInit`. The configuration is not looked at.
#[unsafe(no_mangle)]
pub extern "C" fn aclInit(_configuration: *const c_char) -> c_int {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    if *state == State::Initialised {
        return report(Err(AclError::new(Code::RepeatedInitialise, "aclInit was called before")));
    }
    *state = State::Initialised;
    0
}

/// `aclFinalize`.
#[unsafe(no_mangle)]
pub extern "C" fn aclFinalize() -> c_int {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    let code = match *state {
        State::Fresh => Code::Uninitialised,
        State::Finalised => Code::RepeatedFinalise,
        State::Initialised => {
            *state = State::Finalised;
            return 0;
        }
    };
    report(Err(AclError::new(code, "aclFinalize without aclInit")))
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
    report(unsafe { put(count, devices()) })
}

/// `aclrtSetDevice`, for this thread.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtSetDevice(device: i32) -> c_int {
    report(check_device(device).map(|()| DEVICE.set(device)))
}

/// `aclrtGetDevice`.
///
/// # Safety
/// `device` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtGetDevice(device: *mut i32) -> c_int {
    // SAFETY: the caller's promise.
    report(unsafe { put(device, DEVICE.get()) })
}

/// `aclrtResetDevice`: this thread is back at device 0; memory and streams stay.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtResetDevice(device: i32) -> c_int {
    report(check_device(device).map(|()| DEVICE.set(0)))
}

/// `aclrtSynchronizeDevice`: waits for every stream.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtSynchronizeDevice() -> c_int {
    for stream in stream::streams() {
        stream.synchronise(None);
    }
    0
}

/// `aclrtGetSocName`: a chip that programs know.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtGetSocName() -> *const c_char {
    c"Ascend910B1".as_ptr()
}

/// `aclrtMalloc`, zeroed.
///
/// # Safety
/// `memory` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtMalloc(memory: *mut *mut c_void, size: usize, policy: c_int) -> c_int {
    let known = (0..=5).contains(&policy);
    let unknown = || AclError::new(Code::InvalidParameter, format!("there is no malloc policy {policy}"));
    // SAFETY: the caller's promise.
    report(
        known
            .then_some(())
            .ok_or_else(unknown)
            .and_then(|()| unsafe { allocate(memory, size, Owner::Device) }),
    )
}

/// `aclrtFree`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtFree(memory: *mut c_void) -> c_int {
    report(memory::free(memory, Owner::Device))
}

/// `aclrtMallocHost`, zeroed.
///
/// # Safety
/// `memory` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtMallocHost(memory: *mut *mut c_void, size: usize) -> c_int {
    // SAFETY: the caller's promise.
    report(unsafe { allocate(memory, size, Owner::Host) })
}

/// `aclrtFreeHost`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtFreeHost(memory: *mut c_void) -> c_int {
    report(memory::free(memory, Owner::Host))
}

/// `aclrtMemset`.
///
/// # Safety
/// As C's `memset`, where the memory is not this library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtMemset(memory: *mut c_void, room: usize, value: i32, count: usize) -> c_int {
    let checked = memory::check_set(memory, room, count);
    if checked.is_ok() {
        // SAFETY: checked, or the caller's promise.
        unsafe { memory.cast::<u8>().write_bytes(value as u8, count) };
    }
    report(checked)
}

/// `aclrtMemcpy`.
///
/// # Safety
/// As C's `memcpy`, where the memory is not this library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtMemcpy(
    destination: *mut c_void,
    room: usize,
    source: *const c_void,
    count: usize,
    kind: c_int,
) -> c_int {
    let copied = kind_of(kind).and_then(|kind| {
        let copy = memory::check_copy(destination, room, source, count, kind)?;
        // SAFETY: the caller's promise.
        unsafe { copy.run() };
        Ok(())
    });
    report(copied)
}

/// `aclrtMemcpyAsync`. Checked now, copied when the stream comes to it.
///
/// # Safety
/// As C's `memcpy` when the stream comes to it, where the memory is not this library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtMemcpyAsync(
    destination: *mut c_void,
    room: usize,
    source: *const c_void,
    count: usize,
    kind: c_int,
    stream: *mut c_void,
) -> c_int {
    let posted = kind_of(kind).and_then(|kind| {
        let copy = memory::check_copy(destination, room, source, count, kind)?;
        // SAFETY: the caller's promise.
        stream::stream(stream)?.post(Box::new(move || unsafe { copy.run() }));
        Ok(())
    });
    report(posted)
}

/// `aclrtCreateStream`.
///
/// # Safety
/// `stream` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtCreateStream(stream: *mut *mut c_void) -> c_int {
    // SAFETY: the caller's promise.
    report(unsafe { put_with(stream, || Ok(stream::create_stream())) })
}

/// `aclrtDestroyStream`: waits for what is on it.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtDestroyStream(stream: *mut c_void) -> c_int {
    report(stream::destroy_stream(stream))
}

/// `aclrtSynchronizeStream`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtSynchronizeStream(stream: *mut c_void) -> c_int {
    aclrtSynchronizeStreamWithTimeout(stream, -1)
}

/// `aclrtSynchronizeStreamWithTimeout`: milliseconds, -1 for ever.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtSynchronizeStreamWithTimeout(stream: *mut c_void, timeout: i32) -> c_int {
    let patience = match timeout {
        -1 => None,
        0.. => Some(Duration::from_millis(timeout.unsigned_abs().into())),
        _ => {
            let detail = format!("a timeout of {timeout} ms: give -1 or more");
            return report(Err(AclError::new(Code::InvalidParameter, detail)));
        }
    };
    report(stream::stream(stream).and_then(|stream| {
        let late =
            || AclError::new(Code::StreamTimeout, format!("the stream is not done after {timeout} ms"));
        stream.synchronise(patience).then_some(()).ok_or_else(late)
    }))
}

/// `aclrtStreamQuery`: 0 complete, 1 not ready.
///
/// # Safety
/// `status` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtStreamQuery(stream: *mut c_void, status: *mut c_int) -> c_int {
    // SAFETY: the caller's promise.
    report(unsafe { put_with(status, || Ok(c_int::from(!stream::stream(stream)?.is_idle()))) })
}

/// `aclrtStreamWaitEvent`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtStreamWaitEvent(stream: *mut c_void, event: *mut c_void) -> c_int {
    report(stream::stream(stream).and_then(|stream| {
        stream::event(event)?.delay(&stream);
        Ok(())
    }))
}

/// `aclrtLaunchHostFunc`.
///
/// # Safety
/// `function` may be called with `argument` when the stream comes to it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtLaunchHostFunc(
    stream: *mut c_void,
    function: Option<HostFunction>,
    argument: *mut c_void,
) -> c_int {
    let missing = || AclError::new(Code::InvalidParameter, "the function is NULL");
    let posted = function.ok_or_else(missing).and_then(|function| {
        let argument = Argument(argument);
        stream::stream(stream)?.post(Box::new(move || {
            let Argument(address) = { argument };
            // SAFETY: the caller's promise.
            unsafe { function(address) }
        }));
        Ok(())
    });
    report(posted)
}

/// `aclrtCreateEvent`.
///
/// # Safety
/// `event` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtCreateEvent(event: *mut *mut c_void) -> c_int {
    // SAFETY: the caller's promise.
    report(unsafe { put_with(event, || Ok(stream::create_event())) })
}

/// `aclrtDestroyEvent`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtDestroyEvent(event: *mut c_void) -> c_int {
    report(stream::destroy_event(event))
}

/// `aclrtRecordEvent`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtRecordEvent(event: *mut c_void, stream: *mut c_void) -> c_int {
    report(stream::event(event).and_then(|event| {
        event.record(&stream::stream(stream)?);
        Ok(())
    }))
}

/// `aclrtQueryEventStatus`: 0 not ready, 1 complete.
///
/// # Safety
/// `status` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtQueryEventStatus(event: *mut c_void, status: *mut c_int) -> c_int {
    // SAFETY: the caller's promise.
    report(unsafe { put_with(status, || Ok(c_int::from(stream::event(event)?.is_complete()))) })
}

/// `aclrtSynchronizeEvent`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtSynchronizeEvent(event: *mut c_void) -> c_int {
    report(stream::event(event).map(|event| event.synchronise()))
}

/// # Safety
/// `place` is null or may be written.
unsafe fn allocate(place: *mut *mut c_void, size: usize, owner: Owner) -> Result<(), AclError> {
    // SAFETY: the caller's promise.
    unsafe { put_with(place, || memory::allocate(size, owner)) }
}

/// # Safety
/// `place` is null or may be written.
unsafe fn put<T>(place: *mut T, value: T) -> Result<(), AclError> {
    // SAFETY: the caller's promise.
    unsafe { put_with(place, || Ok(value)) }
}

/// # Safety
/// `place` is null or may be written.
unsafe fn put_with<T>(place: *mut T, value: impl FnOnce() -> Result<T, AclError>) -> Result<(), AclError> {
    if place.is_null() {
        return Err(AclError::new(Code::InvalidParameter, "the place for the result is NULL"));
    }
    let value = value()?;
    // SAFETY: not null, so the caller promises that it may be written.
    unsafe { place.write(value) };
    Ok(())
}

fn kind_of(kind: c_int) -> Result<Kind, AclError> {
    match kind {
        0 => Ok(Kind::HostToHost),
        1 => Ok(Kind::HostToDevice),
        2 => Ok(Kind::DeviceToHost),
        3 => Ok(Kind::DeviceToDevice),
        4 => Ok(Kind::Default),
        _ => Err(AclError::new(Code::InvalidParameter, format!("there is no memcpy kind {kind}"))),
    }
}

fn check_device(device: i32) -> Result<(), AclError> {
    let count = devices();
    let known = u32::try_from(device).is_ok_and(|device| device < count);
    let unknown = || AclError::new(Code::InvalidDevice, format!("there is no device {device} among {count}"));
    known.then_some(()).ok_or_else(unknown)
}

fn devices() -> u32 {
    env::var("FAKE_ASCEND_DEVICES").ok().and_then(|value| value.parse().ok()).unwrap_or(DEVICES)
}
