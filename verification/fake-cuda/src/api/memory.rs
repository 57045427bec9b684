//! Memory and copies.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::ffi::{c_uint, c_void};

use fake_device::{Direction, Owner};

use super::{put, stream};
use crate::{
    code::{Code, INVALID_VALUE, NOT_REGISTERED, call, code},
    graph::{self, Node},
    state::{self, runtime},
};

/// `cuMemGetInfo`.
///
/// # Safety
/// Both places are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetInfo_v2(free: *mut usize, total: *mut usize) -> Code {
    call("cuMemGetInfo", || {
        let (left, all) = runtime().room(state::current_device()?);
        // SAFETY: the caller's promise.
        unsafe {
            put(free, || Ok(left as usize))?;
            put(total, || Ok(all as usize))
        }
    })
}

/// `cuMemAlloc`.
///
/// # Safety
/// `address` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAlloc_v2(address: *mut u64, size: usize) -> Code {
    let allocate = || {
        graph::check_safe()?;
        runtime().allocate(state::current_device()?, size as u64).map_err(code)
    };
    // SAFETY: the caller's promise.
    call("cuMemAlloc", || unsafe { put(address, allocate) })
}

/// `cuMemAllocManaged`.
///
/// # Safety
/// `address` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemAllocManaged(address: *mut u64, size: usize, _flags: c_uint) -> Code {
    let allocate = || {
        graph::check_safe()?;
        runtime().allocate_managed(state::current_device()?, size as u64).map_err(code)
    };
    // SAFETY: the caller's promise.
    call("cuMemAllocManaged", || unsafe { put(address, allocate) })
}

/// `cuMemFree`, of device and managed memory; waits for what touches it.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemFree_v2(address: u64) -> Code {
    call("cuMemFree", || {
        let device = state::current_device()?;
        graph::check_safe()?;
        let found = runtime().find(address).map(|found| found.owner);
        let found = found.filter(|owner| !matches!(owner, Owner::Mapped(_)));
        runtime().free(address, found.unwrap_or(Owner::Device(device))).map_err(code)
    })
}

/// `cuMemHostAlloc`.
///
/// # Safety
/// `address` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemHostAlloc(address: *mut *mut c_void, size: usize, flags: c_uint) -> Code {
    let allocate = || {
        let device = state::current_device()?;
        if flags > 7 {
            return Err(INVALID_VALUE);
        }
        graph::check_safe()?;
        let allocated = runtime().allocate_pinned(size as u64).map_err(code)?;
        state::keep_host(device, allocated);
        Ok(allocated as *mut c_void)
    };
    // SAFETY: the caller's promise.
    call("cuMemHostAlloc", || unsafe { put(address, allocate) })
}

/// `cuMemFreeHost`.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemFreeHost(address: *mut c_void) -> Code {
    call("cuMemFreeHost", || {
        state::current_device()?;
        graph::check_safe()?;
        state::free_host(address as u64, Owner::Pinned)
    })
}

/// `cuMemHostRegister`.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemHostRegister_v2(address: *mut c_void, size: usize, flags: c_uint) -> Code {
    call("cuMemHostRegister", || {
        let device = state::current_device()?;
        if flags > 15 {
            return Err(INVALID_VALUE);
        }
        graph::check_safe()?;
        runtime().register(address as u64, size as u64).map_err(code)?;
        state::keep_host(device, address as u64);
        Ok(())
    })
}

/// `cuMemHostUnregister`.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemHostUnregister(address: *mut c_void) -> Code {
    call("cuMemHostUnregister", || {
        state::current_device()?;
        state::free_host(address as u64, Owner::Registered).map_err(|_| NOT_REGISTERED)
    })
}

/// `cuMemcpyHtoD`.
///
/// # Safety
/// `from` is mapped for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, size: usize) -> Code {
    call("cuMemcpyHtoD", || now(to, from as u64, size, Direction::HostToDevice))
}

/// `cuMemcpyDtoH`.
///
/// # Safety
/// `to` is mapped for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, size: usize) -> Code {
    call("cuMemcpyDtoH", || now(to as u64, from, size, Direction::DeviceToHost))
}

/// `cuMemcpyAsync`: checked now, copied when the stream comes to it.
///
/// # Safety
/// Memory of the host among the two is mapped for `size` bytes until then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyAsync(to: u64, from: u64, size: usize, handle: usize) -> Code {
    call("cuMemcpyAsync", || copy(to, from, size, handle))
}

/// `cuMemcpyBatchAsync`, as CUDA 12.8 has it. The attributes are 56 bytes that begin with the order of access.
///
/// # Safety
/// Lists of so many entries; as [`cuMemcpyAsync`] for each.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemcpyBatchAsync(
    to: *const u64,
    from: *const u64,
    sizes: *const usize,
    count: usize,
    attributes: *const u32,
    indices: *const usize,
    attribute_count: usize,
    _failed: *mut usize,
    handle: usize,
) -> Code {
    call("cuMemcpyBatchAsync", || {
        let lists = to.is_null() || from.is_null() || sizes.is_null();
        if lists || attributes.is_null() || indices.is_null() || attribute_count != 1 || handle < 2 {
            return Err(INVALID_VALUE);
        }
        graph::check_not_capturing(handle)?;
        // SAFETY: the caller's promise.
        let (order, first) = unsafe { (*attributes, *indices) };
        if !(1..=3).contains(&order) || first != 0 || count == 0 {
            return Err(INVALID_VALUE);
        }
        for at in 0..count {
            // SAFETY: the caller's promise.
            let (to, from, size) = unsafe { (*to.add(at), *from.add(at), *sizes.add(at)) };
            copy(to, from, size, handle)?;
        }
        Ok(())
    })
}

/// `cuMemsetD8`.
#[unsafe(no_mangle)]
pub extern "C" fn cuMemsetD8_v2(to: u64, value: u8, count: usize) -> Code {
    call("cuMemsetD8", || {
        state::current_device()?;
        graph::check_safe()?;
        runtime().prepare_fill(to, &[value], count as u64).map_err(code)?.run();
        Ok(())
    })
}

fn copy(to: u64, from: u64, size: usize, handle: usize) -> Result<(), Code> {
    match size as u64 {
        0 => stream::of(handle).map(drop),
        size => graph::submit(handle, Node::Copy { to, from, size }),
    }
}

fn now(to: u64, from: u64, size: usize, direction: Direction) -> Result<(), Code> {
    state::current_device()?;
    graph::check_safe()?;
    runtime().prepare_copy(to, from, size as u64, Some(direction)).map_err(code)?.run();
    Ok(())
}
