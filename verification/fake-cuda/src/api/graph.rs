//! Graphs: captured, instantiated, launched.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::ffi::{c_uint, c_ulonglong};

use super::{put, stream};
use crate::{
    code::{Code, INVALID_VALUE, call},
    graph,
};

/// `cuStreamBeginCapture`; not of a default stream.
#[unsafe(no_mangle)]
pub extern "C" fn cuStreamBeginCapture_v2(handle: usize, mode: c_uint) -> Code {
    call("cuStreamBeginCapture", || {
        stream::of(handle)?;
        if mode > 2 || handle < 2 { Err(INVALID_VALUE) } else { graph::begin(handle) }
    })
}

/// `cuStreamEndCapture`.
///
/// # Safety
/// `graph` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamEndCapture(handle: usize, graph: *mut usize) -> Code {
    // SAFETY: the caller's promise.
    call("cuStreamEndCapture", || unsafe { put(graph, || graph::end(handle)) })
}

/// `cuStreamIsCapturing`: 0 no, 1 yes.
///
/// # Safety
/// `status` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuStreamIsCapturing(handle: usize, status: *mut c_uint) -> Code {
    let ask = || stream::of(handle).map(|_| graph::is_capturing(handle).into());
    // SAFETY: the caller's promise.
    call("cuStreamIsCapturing", || unsafe { put(status, ask) })
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
    // SAFETY: the caller's promise.
    call("cuGraphInstantiate", || unsafe { put(executable, || graph::instantiate(graph)) })
}

/// `cuGraphLaunch`.
#[unsafe(no_mangle)]
pub extern "C" fn cuGraphLaunch(executable: usize, handle: usize) -> Code {
    call("cuGraphLaunch", || graph::launch(executable, handle))
}

/// `cuGraphExecDestroy`.
#[unsafe(no_mangle)]
pub extern "C" fn cuGraphExecDestroy(executable: usize) -> Code {
    call("cuGraphExecDestroy", || graph::destroy(executable))
}

/// `cuGraphDestroy`.
#[unsafe(no_mangle)]
pub extern "C" fn cuGraphDestroy(graph: usize) -> Code {
    call("cuGraphDestroy", || graph::destroy(graph))
}
