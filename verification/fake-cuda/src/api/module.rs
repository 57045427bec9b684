//! Modules and launches.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::{
    ffi::{CStr, c_char, c_uint, c_void},
    sync::Arc,
};

use super::put;
use crate::{
    code::{Code, INVALID_VALUE, call},
    graph::{self, Node},
    kernel::{self, Launch},
    state,
};

/// Threads that a group has at most.
const THREADS: u64 = 1024;

/// `cuModuleLoadData`, of PTX text.
///
/// # Safety
/// `module` is null or may be written; the image is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleLoadData(module: *mut usize, image: *const c_void) -> Code {
    let load = || {
        let device = state::current_device()?;
        graph::check_safe()?;
        // SAFETY: the caller's promise.
        unsafe { kernel::load(device, image) }
    };
    // SAFETY: the caller's promise.
    call("cuModuleLoadData", || unsafe { put(module, load) })
}

/// `cuModuleUnload`.
#[unsafe(no_mangle)]
pub extern "C" fn cuModuleUnload(module: usize) -> Code {
    call("cuModuleUnload", || {
        state::current_device()?;
        kernel::unload(module)
    })
}

/// `cuModuleGetFunction`.
///
/// # Safety
/// `function` is null or may be written; the name is null or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuModuleGetFunction(
    function: *mut usize,
    module: usize,
    name: *const c_char,
) -> Code {
    let find = || {
        state::current_device()?;
        if name.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        kernel::function(module, unsafe { CStr::from_ptr(name) })
    };
    // SAFETY: the caller's promise.
    call("cuModuleGetFunction", || unsafe { put(function, find) })
}

/// `cuLaunchKernel`, of the kernel that moves blocks: a group in x for each pair, in y for each part of a block.
///
/// # Safety
/// `parameters` is a list of six addresses of 64-bit numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuLaunchKernel(
    function: usize,
    pairs: c_uint,
    parts: c_uint,
    depth: c_uint,
    threads: c_uint,
    threads_y: c_uint,
    threads_z: c_uint,
    _shared: c_uint,
    handle: usize,
    parameters: *const *const c_void,
    extra: *const *const c_void,
) -> Code {
    call("cuLaunchKernel", || {
        let (width, program) = kernel::known(function)?;
        let group = u64::from(threads) * u64::from(threads_y) * u64::from(threads_z);
        let grid = pairs > 0 && (1..=65_535).contains(&parts) && (1..=65_535).contains(&depth);
        if !grid || !(1..=THREADS).contains(&group) || parameters.is_null() || !extra.is_null() {
            return Err(INVALID_VALUE);
        }
        // SAFETY: the caller's promise.
        let launch = unsafe { Launch::read(pairs, parts, threads, parameters) };
        graph::submit(handle, Node::Launch { launch, width, program: program.map(Arc::new) })
    })
}
