//! Streams, events, functions of the host in streams, and words that streams write and wait for.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::{
    ffi::{c_int, c_void},
    ptr::without_provenance_mut,
    time::Duration,
};

use fake_device::{Event, Progress, Stream};

use crate::{
    device::{RUNTIME, check_place, current, put},
    error::{AclError, Code, call},
    memory::reached_by_device,
};

/// A call on a stream's thread.
type HostFunction = unsafe extern "C" fn(*mut c_void);

/// What a host function is called with; the program says that it may move to a stream's thread.
struct Argument(*mut c_void);

// SAFETY: the address is passed to the program's own function and not looked at.
unsafe impl Send for Argument {}

/// `aclrtCreateStream`.
///
/// # Safety
/// `stream` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtCreateStream(stream: *mut *mut c_void) -> c_int {
    call("aclrtCreateStream", || {
        check_place(stream)?;
        let made = RUNTIME.create_stream(current()?)?;
        // SAFETY: the caller's promise.
        unsafe { put(stream, without_provenance_mut(made.handle())) }
    })
}

/// `aclrtDestroyStream`; what is in it still happens.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtDestroyStream(stream: *mut c_void) -> c_int {
    call("aclrtDestroyStream", || {
        find(stream)?;
        Ok(RUNTIME.destroy_stream(stream.addr())?)
    })
}

/// `aclrtSynchronizeStream`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtSynchronizeStream(stream: *mut c_void) -> c_int {
    call("aclrtSynchronizeStream", || synchronise(stream, -1))
}

/// `aclrtSynchronizeStreamWithTimeout`: milliseconds, -1 for ever.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtSynchronizeStreamWithTimeout(stream: *mut c_void, timeout: i32) -> c_int {
    call("aclrtSynchronizeStreamWithTimeout", || synchronise(stream, timeout))
}

/// `aclrtStreamQuery`: 0 complete, 1 not ready.
///
/// # Safety
/// `status` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtStreamQuery(stream: *mut c_void, status: *mut c_int) -> c_int {
    call("aclrtStreamQuery", || {
        let idle = find(stream)?.query().map_err(AclError::of_stream)?;
        // SAFETY: the caller's promise.
        unsafe { put(status, c_int::from(!idle)) }
    })
}

/// `aclrtSetStreamFailureMode`: streams here always stop at a failure.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtSetStreamFailureMode(stream: *mut c_void, _mode: u64) -> c_int {
    call("aclrtSetStreamFailureMode", || find(stream).map(drop))
}

/// `aclrtStreamWaitEvent`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtStreamWaitEvent(stream: *mut c_void, event: *mut c_void) -> c_int {
    call("aclrtStreamWaitEvent", || {
        find(stream)?.wait_event(&find_event(event)?);
        Ok(())
    })
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
    call("aclrtLaunchHostFunc", || {
        let missing = || AclError::new(Code::InvalidParameter, "the function is NULL");
        let (function, argument) = (function.ok_or_else(missing)?, Argument(argument));
        find(stream)?.post(move || {
            let Argument(address) = { argument };
            // SAFETY: the caller's promise.
            unsafe { function(address) };
            Ok(())
        });
        Ok(())
    })
}

/// `aclrtValueWrite`.
///
/// # Safety
/// Registered memory of the host stays mapped until the stream has come to it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtValueWrite(
    address: *mut c_void,
    value: u64,
    _flag: u32,
    stream: *mut c_void,
) -> c_int {
    call("aclrtValueWrite", || {
        let word = RUNTIME.prepare_word(reached_by_device(address.addr() as u64)?, true)?;
        find(stream)?.write_word(word, value);
        Ok(())
    })
}

/// `aclrtValueWait`: until the word is no less than the value, equal to it, shares a bit with it, or neither has some bit.
///
/// # Safety
/// Registered memory of the host stays mapped until the stream has come to it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtValueWait(
    address: *mut c_void,
    value: u64,
    condition: u32,
    stream: *mut c_void,
) -> c_int {
    call("aclrtValueWait", || {
        let word = RUNTIME.prepare_word(reached_by_device(address.addr() as u64)?, true)?;
        let holds: fn(u64, u64) -> bool = match condition {
            0 => |found, value| found.wrapping_sub(value).cast_signed() >= 0,
            1 => |found, value| found == value,
            2 => |found, value| found & value != 0,
            3 => |found, value| !(found | value) != 0,
            _ => {
                return Err(AclError::new(
                    Code::InvalidParameter,
                    format!("there is no condition {condition}"),
                ));
            }
        };
        find(stream)?.wait_word(word, move |found| holds(found, value));
        Ok(())
    })
}

/// `aclrtCreateEvent`.
///
/// # Safety
/// `event` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtCreateEvent(event: *mut *mut c_void) -> c_int {
    call("aclrtCreateEvent", || {
        check_place(event)?;
        let made = RUNTIME.create_event(current()?)?;
        // SAFETY: the caller's promise.
        unsafe { put(event, without_provenance_mut(made.handle())) }
    })
}

/// `aclrtDestroyEvent`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtDestroyEvent(event: *mut c_void) -> c_int {
    call("aclrtDestroyEvent", || Ok(RUNTIME.destroy_event(event.addr())?))
}

/// `aclrtRecordEvent`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtRecordEvent(event: *mut c_void, stream: *mut c_void) -> c_int {
    call("aclrtRecordEvent", || {
        let event = find_event(event)?;
        find(stream)?.record(&event);
        Ok(())
    })
}

/// `aclrtQueryEventStatus`: 0 not ready, 1 complete.
///
/// # Safety
/// `status` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtQueryEventStatus(event: *mut c_void, status: *mut c_int) -> c_int {
    call("aclrtQueryEventStatus", || {
        let complete = match find_event(event)?.query() {
            Progress::Fresh | Progress::Pending => false,
            Progress::Done => true,
            Progress::Failed(code) => return Err(AclError::of_stream(code)),
        };
        // SAFETY: the caller's promise.
        unsafe { put(status, c_int::from(complete)) }
    })
}

/// `aclrtSynchronizeEvent`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtSynchronizeEvent(event: *mut c_void) -> c_int {
    call("aclrtSynchronizeEvent", || match find_event(event)?.synchronise(None) {
        Progress::Failed(code) => Err(AclError::of_stream(code)),
        Progress::Fresh | Progress::Pending | Progress::Done => Ok(()),
    })
}

/// The stream of a handle, which is of the thread's context; NULL is the context's default one.
pub(crate) fn find(handle: *mut c_void) -> Result<Stream, AclError> {
    let device = current()?;
    if handle.is_null() {
        return Ok(RUNTIME.default_stream(device)?);
    }
    let stream = RUNTIME.stream(handle.addr())?;
    if stream.device() != device {
        let detail = format!("stream {handle:p} is of device {}, the thread of {device}", stream.device());
        return Err(AclError::new(Code::StreamContext, detail));
    }
    Ok(stream)
}

fn find_event(handle: *mut c_void) -> Result<Event, AclError> {
    Ok(RUNTIME.event(handle.addr())?)
}

fn synchronise(stream: *mut c_void, timeout: i32) -> Result<(), AclError> {
    let patience = match timeout {
        -1 => None,
        0.. => Some(Duration::from_millis(timeout.unsigned_abs().into())),
        _ => {
            let detail = format!("a timeout of {timeout} ms: give -1 or more");
            return Err(AclError::new(Code::InvalidParameter, detail));
        }
    };
    let late = || AclError::new(Code::StreamTimeout, format!("the stream is not done after {timeout} ms"));
    let done = find(stream)?.synchronise(patience).map_err(AclError::of_stream)?;
    done.then_some(()).ok_or_else(late)
}
