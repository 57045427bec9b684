//! Streams, events, copies, and words that streams write and wait for.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::{
    ffi::{c_int, c_uint, c_void},
    ptr,
};

use fake_device::{Direction, Event, Progress, Stream};
use hip_sys::hip::{
    self, hipError_t, hipErrorInvalidHandle, hipErrorInvalidValue, hipErrorNotReady, hipEvent_t,
    hipMemcpyKind, hipStream_t,
};

use crate::device::{RUNTIME, current};
use crate::error::{HipError, call, of_stream, put};
use crate::memory::is_signal;

/// `hipStreamWaitValueEq`, `hipStreamWaitValueAnd`, `hipStreamWaitValueNor`; 0 is greater or equal.
const CONDITIONS: [fn(u64, u64) -> bool; 4] = [
    |found, value| found >= value,
    |found, value| found == value,
    |found, value| found & value != 0,
    |found, value| !(found | value) != 0,
];

/// A handle's stream; 0 is the default stream of the thread's device.
fn stream(handle: hipStream_t) -> Result<Stream, HipError> {
    match handle.addr() {
        0 => Ok(RUNTIME.default_stream(current()?)?),
        handle => Ok(RUNTIME.stream(handle)?),
    }
}

fn event(handle: hipEvent_t) -> Result<Event, HipError> {
    Ok(RUNTIME.event(handle.addr())?)
}

/// `hipStreamCreateWithFlags`.
///
/// # Safety
/// `created` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipStreamCreateWithFlags(created: *mut hipStream_t, _flags: c_uint) -> hipError_t {
    call("hipStreamCreateWithFlags", || {
        let made = RUNTIME.create_stream(current()?)?;
        // SAFETY: the caller's promise.
        unsafe { put(created, ptr::without_provenance_mut(made.handle())) }
    })
}

/// `hipStreamDestroy`: what is in it still happens.
#[unsafe(no_mangle)]
pub extern "C" fn hipStreamDestroy(stream: hipStream_t) -> hipError_t {
    call("hipStreamDestroy", || Ok(RUNTIME.destroy_stream(stream.addr())?))
}

/// `hipStreamSynchronize`.
#[unsafe(no_mangle)]
pub extern "C" fn hipStreamSynchronize(handle: hipStream_t) -> hipError_t {
    call("hipStreamSynchronize", || stream(handle)?.synchronise(None).map(drop).map_err(of_stream))
}

/// `hipStreamQuery`.
#[unsafe(no_mangle)]
pub extern "C" fn hipStreamQuery(handle: hipStream_t) -> hipError_t {
    call("hipStreamQuery", || match stream(handle)?.query().map_err(of_stream)? {
        true => Ok(()),
        false => Err(HipError(hipErrorNotReady)),
    })
}

/// `hipGetStreamDeviceId`: -1 for what is no stream.
#[unsafe(no_mangle)]
pub extern "C" fn hipGetStreamDeviceId(handle: hipStream_t) -> c_int {
    let holds = |device: &u32| {
        let mut streams = RUNTIME.streams(*device).into_iter();
        streams.any(|stream| stream.handle() == handle.addr())
    };
    let device = match handle.addr() {
        0 => current().ok(),
        _ => (0..RUNTIME.devices()).find(holds),
    };
    device.map_or(-1, u32::cast_signed)
}

/// `hipStreamWaitEvent`.
#[unsafe(no_mangle)]
pub extern "C" fn hipStreamWaitEvent(handle: hipStream_t, awaited: hipEvent_t, _flags: c_uint) -> hipError_t {
    call("hipStreamWaitEvent", || {
        stream(handle)?.wait_event(&event(awaited)?);
        Ok(())
    })
}

/// `hipStreamWaitValue64`: for words of signal memory.
#[unsafe(no_mangle)]
pub extern "C" fn hipStreamWaitValue64(
    handle: hipStream_t,
    address: *mut c_void,
    value: u64,
    flags: c_uint,
    mask: u64,
) -> hipError_t {
    call("hipStreamWaitValue64", || {
        let stream = stream(handle)?;
        let condition = CONDITIONS.get(flags as usize).copied().filter(|_| is_signal(address.addr() as u64));
        let condition = condition.ok_or(HipError(hipErrorInvalidValue))?;
        let word = RUNTIME.prepare_word(address.addr() as u64, true)?;
        stream.wait_word(word, move |found| condition(found & mask, value));
        Ok(())
    })
}

/// `hipStreamWriteValue64`.
#[unsafe(no_mangle)]
pub extern "C" fn hipStreamWriteValue64(
    handle: hipStream_t,
    address: *mut c_void,
    value: u64,
    _flags: c_uint,
) -> hipError_t {
    call("hipStreamWriteValue64", || {
        let stream = stream(handle)?;
        stream.write_word(RUNTIME.prepare_word(address.addr() as u64, true)?, value);
        Ok(())
    })
}

/// `hipEventCreateWithFlags`.
///
/// # Safety
/// `created` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipEventCreateWithFlags(created: *mut hipEvent_t, _flags: c_uint) -> hipError_t {
    call("hipEventCreateWithFlags", || {
        let made = RUNTIME.create_event(current()?)?;
        // SAFETY: the caller's promise.
        unsafe { put(created, ptr::without_provenance_mut(made.handle())) }
    })
}

/// `hipEventRecord`: event and stream are of one device.
#[unsafe(no_mangle)]
pub extern "C" fn hipEventRecord(recorded: hipEvent_t, handle: hipStream_t) -> hipError_t {
    call("hipEventRecord", || {
        let (event, stream) = (event(recorded)?, stream(handle)?);
        if event.device() != stream.device() {
            return Err(HipError(hipErrorInvalidHandle));
        }
        stream.record(&event);
        Ok(())
    })
}

/// `hipEventQuery`.
#[unsafe(no_mangle)]
pub extern "C" fn hipEventQuery(queried: hipEvent_t) -> hipError_t {
    call("hipEventQuery", || outcome(event(queried)?.query()))
}

/// `hipEventSynchronize`.
#[unsafe(no_mangle)]
pub extern "C" fn hipEventSynchronize(awaited: hipEvent_t) -> hipError_t {
    call("hipEventSynchronize", || outcome(event(awaited)?.synchronise(None)))
}

/// `hipEventDestroy`.
#[unsafe(no_mangle)]
pub extern "C" fn hipEventDestroy(event: hipEvent_t) -> hipError_t {
    call("hipEventDestroy", || Ok(RUNTIME.destroy_event(event.addr())?))
}

fn outcome(progress: Progress) -> Result<(), HipError> {
    match progress {
        Progress::Fresh | Progress::Done => Ok(()),
        Progress::Pending => Err(HipError(hipErrorNotReady)),
        Progress::Failed(code) => Err(of_stream(code)),
    }
}

/// `hipMemcpyAsync`.
///
/// # Safety
/// Memory of the host in either range stays mapped until the copy is done.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipMemcpyAsync(
    to: *mut c_void,
    from: *const c_void,
    size: usize,
    kind: hipMemcpyKind,
    handle: hipStream_t,
) -> hipError_t {
    call("hipMemcpyAsync", || {
        let direction = match kind {
            hip::hipMemcpyHostToHost => Some(Direction::HostToHost),
            hip::hipMemcpyHostToDevice => Some(Direction::HostToDevice),
            hip::hipMemcpyDeviceToHost => Some(Direction::DeviceToHost),
            hip::hipMemcpyDeviceToDevice => Some(Direction::DeviceToDevice),
            hip::hipMemcpyDefault => None,
            _ => return Err(HipError(hip::hipErrorInvalidMemcpyDirection)),
        };
        let stream = stream(handle)?;
        let copy = RUNTIME.prepare_copy(to.addr() as u64, from.addr() as u64, size as u64, direction)?;
        stream.post(move || {
            copy.run();
            Ok(())
        });
        Ok(())
    })
}

/// `hipMemcpy`: in the default stream, and waits for it.
///
/// # Safety
/// Memory of the host in either range is mapped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hipMemcpy(
    to: *mut c_void,
    from: *const c_void,
    size: usize,
    kind: hipMemcpyKind,
) -> hipError_t {
    // SAFETY: the caller's promise, for longer than the copy takes.
    match unsafe { hipMemcpyAsync(to, from, size, kind, ptr::null_mut()) } {
        0 => hipStreamSynchronize(ptr::null_mut()),
        code => code,
    }
}
