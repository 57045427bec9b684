//! Graphs: captured, instantiated, launched.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::ffi::{c_uint, c_ulonglong};

use super::{put, stream};
use crate::{
    code::{Code, INVALID_VALUE, call},
    graph, state,
};

/// `cuStreamBeginCapture`; not of a default stream.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamBeginCapture_v2(handle: usize, mode: c_uint) -> Code {
    call("cuStreamBeginCapture", || {
        stream::of(handle)?;
        if mode > 2 || handle < 2 { Err(INVALID_VALUE) } else { graph::begin(handle, mode) }
    })
}

/// `cuStreamEndCapture`. A capture that was invalidated ends without a graph.
///
/// # Safety
/// `graph` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(handle: usize, graph: *mut usize) -> Code {
    // SAFETY: the caller's promise.
    call("cuStreamEndCapture", || unsafe { put(graph, || graph::end(handle)) })
}

/// `cuStreamIsCapturing`: 0 no, 1 yes, 2 it was invalidated.
///
/// # Safety
/// `status` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamIsCapturing(handle: usize, status: *mut c_uint) -> Code {
    let ask = || stream::of(handle).map(|_| graph::status(handle));
    // SAFETY: the caller's promise.
    call("cuStreamIsCapturing", || unsafe { put(status, ask) })
}

/// `cuThreadExchangeStreamCaptureMode`.
///
/// # Safety
/// `mode` is null or a number that may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuThreadExchangeStreamCaptureMode(mode: *mut c_uint) -> Code {
    call("cuThreadExchangeStreamCaptureMode", || {
        if mode.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        unsafe { mode.write(graph::exchange_mode(mode.read())?) };
        Ok(())
    })
}

/// `cuGraphInstantiateWithFlags`.
///
/// # Safety
/// `executable` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGraphInstantiateWithFlags(
    executable: *mut usize,
    graph: usize,
    _flags: c_ulonglong,
) -> Code {
    let make = || graph::instantiate(graph, state::current_device()?);
    // SAFETY: the caller's promise.
    call("cuGraphInstantiateWithFlags", || unsafe { put(executable, make) })
}

/// `cuGraphLaunch`: behind the graph's earlier launches, in whichever stream.
#[unsafe(no_mangle)]
pub extern "C" fn cuGraphLaunch(executable: usize, handle: usize) -> Code {
    call("cuGraphLaunch", || graph::launch(executable, handle))
}

/// `cuGraphExecDestroy`.
#[unsafe(no_mangle)]
pub extern "C" fn cuGraphExecDestroy(executable: usize) -> Code {
    call("cuGraphExecDestroy", || graph::destroy_executable(executable))
}

/// `cuGraphDestroy`.
#[unsafe(no_mangle)]
pub extern "C" fn cuGraphDestroy(graph: usize) -> Code {
    call("cuGraphDestroy", || graph::destroy(graph))
}
