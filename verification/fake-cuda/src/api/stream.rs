//! Streams, events and the words that streams write and wait for.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::ffi::{c_uint, c_void};

use fake_device::{Event, Progress, Stream};

use super::put;
use crate::{
    code::{CAPTURED_EVENT, Code, INVALID_HANDLE, INVALID_VALUE, NOT_READY, UNKNOWN, call, code},
    graph::{self, HostCall, Node},
    state::{self, runtime},
};

/// Handles up to this one are default streams: of the device, the same by another name, the thread's.
const DEFAULTS: usize = 2;

/// A call on a stream's thread.
type HostFunction = unsafe extern "C" fn(*mut c_void);

/// The stream of a handle, if it is one of the current context's device.
pub(crate) fn of(handle: usize) -> Result<Stream, Code> {
    let device = state::current_device()?;
    if handle <= DEFAULTS {
        return runtime().default_stream(device).map_err(code);
    }
    let stream = runtime().stream(handle).map_err(code)?;
    if stream.device() == device { Ok(stream) } else { Err(INVALID_HANDLE) }
}

pub(super) fn synchronise(stream: &Stream) -> Result<(), Code> {
    stream.synchronise(None).map(drop).map_err(failure)
}

/// `cuStreamCreate`.
///
/// # Safety
/// `stream` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamCreate(stream: *mut usize, flags: c_uint) -> Code {
    let create = || match flags {
        0 | 1 => Ok(runtime().create_stream(state::current_device()?).map_err(code)?.handle()),
        _ => Err(INVALID_VALUE),
    };
    // SAFETY: the caller's promise.
    call("cuStreamCreate", || unsafe { put(stream, create) })
}

/// `cuStreamDestroy`: what is in it still happens.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamDestroy_v2(stream: usize) -> Code {
    call("cuStreamDestroy", || {
        state::current_device()?;
        if stream <= DEFAULTS {
            return Err(INVALID_HANDLE);
        }
        graph::check_not_capturing(stream)?;
        runtime().destroy_stream(stream).map_err(code)
    })
}

/// `cuStreamGetCtx`.
///
/// # Safety
/// `context` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamGetCtx(stream: usize, context: *mut usize) -> Code {
    let find = || match stream {
        0..=DEFAULTS => state::current_device().map(state::context_of),
        _ => runtime().stream(stream).map(|stream| state::context_of(stream.device())).map_err(code),
    };
    // SAFETY: the caller's promise.
    call("cuStreamGetCtx", || unsafe { put(context, find) })
}

/// `cuStreamSynchronize`.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamSynchronize(stream: usize) -> Code {
    call("cuStreamSynchronize", || {
        graph::check_not_capturing(stream)?;
        synchronise(&of(stream)?)
    })
}

/// `cuStreamQuery`.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamQuery(stream: usize) -> Code {
    call("cuStreamQuery", || {
        graph::check_not_capturing(stream)?;
        match of(stream)?.query().map_err(failure)? {
            true => Ok(()),
            false => Err(NOT_READY),
        }
    })
}

/// `cuStreamWaitEvent`.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamWaitEvent(stream: usize, event: usize, flags: c_uint) -> Code {
    call("cuStreamWaitEvent", || {
        let (found, event) = (of(stream)?, runtime().event(event).map_err(code)?);
        if flags > 1 {
            return Err(INVALID_VALUE);
        }
        if !graph::note_wait(event.handle(), stream)? {
            found.wait_event(&event);
        }
        Ok(())
    })
}

/// `cuLaunchHostFunc`.
///
/// # Safety
/// `function` may be called with `argument` when the stream comes to it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchHostFunc(
    stream: usize,
    function: Option<HostFunction>,
    argument: *mut c_void,
) -> Code {
    call("cuLaunchHostFunc", || {
        let function = function.ok_or(INVALID_VALUE)? as usize;
        graph::submit(stream, Node::Host(HostCall { run, function, argument: argument as usize }))
    })
}

/// Calls a program's function, on a stream's thread.
fn run(function: usize, argument: usize) {
    // SAFETY: `cuLaunchHostFunc` was given both; it may be called when the stream comes to it.
    unsafe { std::mem::transmute::<usize, HostFunction>(function)(argument as *mut c_void) };
}

/// `cuStreamWriteValue64`.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamWriteValue64_v2(stream: usize, address: u64, value: u64, flags: c_uint) -> Code {
    call("cuStreamWriteValue64", || match flags {
        0 | 1 => graph::submit(stream, Node::Write { address, value }),
        _ => Err(INVALID_VALUE),
    })
}

/// `cuStreamWaitValue64`: at least (cyclically), equal, any bit, or not all.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamWaitValue64_v2(stream: usize, address: u64, value: u64, flags: c_uint) -> Code {
    call("cuStreamWaitValue64", || {
        let condition: fn(u64, u64) -> bool = match flags {
            0 => |word, value| word.wrapping_sub(value).cast_signed() >= 0,
            1 => |word, value| word == value,
            2 => |word, value| word & value != 0,
            3 => |word, value| !(word | value) != 0,
            _ => return Err(INVALID_VALUE),
        };
        graph::submit(stream, Node::Wait { address, value, condition })
    })
}

/// `cuEventCreate`.
///
/// # Safety
/// `event` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuEventCreate(event: *mut usize, flags: c_uint) -> Code {
    let create = || match flags {
        0..=7 => Ok(runtime().create_event(state::current_device()?).map_err(code)?.handle()),
        _ => Err(INVALID_VALUE),
    };
    // SAFETY: the caller's promise.
    call("cuEventCreate", || unsafe { put(event, create) })
}

/// `cuEventDestroy`.
#[unsafe(no_mangle)]
pub extern "C" fn cuEventDestroy_v2(event: usize) -> Code {
    call("cuEventDestroy", || {
        state::current_device()?;
        runtime().destroy_event(event).map_err(code)
    })
}

/// `cuEventRecord`: both of one device.
#[unsafe(no_mangle)]
pub extern "C" fn cuEventRecord(event: usize, stream: usize) -> Code {
    call("cuEventRecord", || {
        let (event, found) = (runtime().event(event).map_err(code)?, of(stream)?);
        if event.device() != found.device() {
            return Err(INVALID_HANDLE);
        }
        if !graph::note_record(event.handle(), stream)? {
            found.record(&event);
        }
        Ok(())
    })
}

/// `cuEventQuery`.
#[unsafe(no_mangle)]
pub extern "C" fn cuEventQuery(event: usize) -> Code {
    call("cuEventQuery", || {
        state::current_device()?;
        let found = runtime().event(event).map_err(code)?;
        graph::check_safe()?;
        if graph::is_captured(event) { Err(CAPTURED_EVENT) } else { progress(found.query()) }
    })
}

/// `cuEventSynchronize`.
#[unsafe(no_mangle)]
pub extern "C" fn cuEventSynchronize(event: usize) -> Code {
    call("cuEventSynchronize", || {
        let found: Event = runtime().event(event).map_err(code)?;
        graph::check_safe()?;
        if graph::is_captured(event) { Err(CAPTURED_EVENT) } else { progress(found.synchronise(None)) }
    })
}

fn progress(progress: Progress) -> Result<(), Code> {
    match progress {
        Progress::Fresh | Progress::Done => Ok(()),
        Progress::Pending => Err(NOT_READY),
        Progress::Failed(code) => Err(failure(code)),
    }
}

/// The code with which a stream failed.
fn failure(code: i64) -> Code {
    Code::try_from(code).unwrap_or(UNKNOWN)
}
