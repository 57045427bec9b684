//! HIXL in C. Called by `hixl/hixl.h`; stands on [`kv_api::hixl`].
//!
//! Functions give HIXL's own codes: 0 is done, 103900 and up as in `hixl/hixl_types.h`. What is wrong with a pointer or
//! a handle is `PARAM_INVALID`.
#![allow(unsafe_code, non_camel_case_types)] // C functions, with names as C programs see them

mod lists;
mod transfer;

use std::{
    ffi::{c_char, c_void},
    ptr,
    sync::Arc,
};

use kv_api::hixl::{Hixl, HixlError, MemDesc, MemHandle, MemType, NotifyDesc, Status, timeout};
use pmd_capi::BadCall;

pub use lists::*;
pub use transfer::*;

use crate::{
    boundary::{Place, Table, array, guard_code, text},
    options::{options_at, pmd_kv_option},
    status::{Failure, chain},
};

/// A HIXL engine.
pub struct pmd_hixl {
    _opaque: [u8; 0],
}

static ENGINES: Table<pmd_hixl, Hixl> = Table::new("HIXL engine");

/// Why a call failed.
pub(super) enum Fault {
    /// At the boundary.
    Boundary(Failure),
    /// In HIXL.
    Hixl(HixlError),
}

impl From<BadCall> for Fault {
    fn from(error: BadCall) -> Self {
        Self::Boundary(error.into())
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Boundary(failure)
    }
}

impl From<HixlError> for Fault {
    fn from(error: HixlError) -> Self {
        Self::Hixl(error)
    }
}

/// Runs a call, and gives its code.
pub(super) fn run(call: impl FnOnce() -> Result<(), Fault>) -> u32 {
    guard_code(Status::Success.code(), Status::Failed.code(), || {
        call().map_err(|fault| match fault {
            Fault::Boundary(failure) => (Status::ParamInvalid.code(), failure.text),
            Fault::Hixl(error) => (error.status().code(), chain(&error)),
        })
    })
}

/// Makes an engine, which is to be initialised. Destroy it with `pmd_hixl_destroy`.
///
/// # Safety
/// `engine` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_create(engine: *mut *mut pmd_hixl) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        unsafe { Place::new(engine, "the place for the engine")? }.put(ENGINES.insert(Hixl::new()));
        Ok(())
    })
}

/// Finalises an engine, and forgets it.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_hixl_destroy(engine: *mut pmd_hixl) -> u32 {
    run(|| {
        ENGINES.remove(engine)?.finalize();
        Ok(())
    })
}

/// `Initialize`: `local_engine` is "ip:port" for a server, "ip" for a client.
///
/// # Safety
/// `local_engine` and the texts of `count` options end with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_initialize(
    engine: *const pmd_hixl,
    local_engine: *const c_char,
    options: *const pmd_kv_option,
    count: usize,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let (name, options) = unsafe { (text(local_engine, "the name")?, options_at(options, count)?) };
        Ok(find(engine)?.initialize(name, &options)?)
    })
}

/// `Finalize`: when it returns, nothing touches the program's memory any more.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_hixl_finalize(engine: *const pmd_hixl) -> u32 {
    run(|| {
        find(engine)?.finalize();
        Ok(())
    })
}

/// `RegisterMem`: `kind` is 0 for a device's memory, 1 for the host's. Where PMD_ACCELERATORS names accelerators a
/// device's memory is theirs; where it names none, memory of this process stands for it.
///
/// # Safety
/// The memory stays mapped until it is deregistered, and is not touched while a transfer may; `handle` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_register(
    engine: *const pmd_hixl,
    address: u64,
    length: u64,
    kind: i32,
    handle: *mut *mut c_void,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(handle, "the place for the handle")? };
        let kind = match kind {
            0 => MemType::Device,
            1 => MemType::Host,
            _ => return Err(Failure::argument(format!("there is no memory type {kind}")).into()),
        };
        // SAFETY: the caller's promise.
        let handle = unsafe { find(engine)?.register_mem(MemDesc { addr: address, len: length }, kind)? };
        place.put(ptr::without_provenance_mut(handle.0 as usize));
        Ok(())
    })
}

/// `DeregisterMem`: when it returns, nothing touches the memory any more.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_hixl_deregister(engine: *const pmd_hixl, handle: *mut c_void) -> u32 {
    run(|| Ok(find(engine)?.deregister_mem(MemHandle(handle.addr() as u64))?))
}

/// `Connect`.
///
/// # Safety
/// `remote` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_connect(
    engine: *const pmd_hixl,
    remote: *const c_char,
    timeout_ms: i32,
) -> u32 {
    // SAFETY: the caller's promise.
    run(|| Ok(find(engine)?.connect(unsafe { remote_name(remote)? }, timeout(timeout_ms))?))
}

/// `Disconnect`.
///
/// # Safety
/// `remote` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_disconnect(
    engine: *const pmd_hixl,
    remote: *const c_char,
    timeout_ms: i32,
) -> u32 {
    // SAFETY: the caller's promise.
    run(|| Ok(find(engine)?.disconnect(unsafe { remote_name(remote)? }, timeout(timeout_ms))?))
}

/// `ConnectAsync`.
///
/// # Safety
/// `remote` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_connect_async(
    engine: *const pmd_hixl,
    remote: *const c_char,
    timeout_ms: i32,
) -> u32 {
    // SAFETY: the caller's promise.
    run(|| Ok(find(engine)?.connect_async(unsafe { remote_name(remote)? }, timeout(timeout_ms))?))
}

/// `DisconnectAsync`.
///
/// # Safety
/// `remote` ends with a zero byte.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_disconnect_async(
    engine: *const pmd_hixl,
    remote: *const c_char,
    timeout_ms: i32,
) -> u32 {
    // SAFETY: the caller's promise.
    run(|| Ok(find(engine)?.disconnect_async(unsafe { remote_name(remote)? }, timeout(timeout_ms))?))
}

/// `GetAsyncConnectStatus` of one engine: an `AsyncConnectStatus` of `hixl/hixl_types.h`.
///
/// # Safety
/// `remote` ends with a zero byte; `status` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_connect_status(
    engine: *const pmd_hixl,
    remote: *const c_char,
    status: *mut i32,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(status, "the place for the status")? };
        // SAFETY: the caller's promise.
        place.put(find(engine)?.async_connect_status(unsafe { remote_name(remote)? })? as i32);
        Ok(())
    })
}

/// `SendNotify`: waits until the peer has it.
///
/// # Safety
/// `remote` ends with a zero byte; `name` and `message` have their lengths.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_send_notify(
    engine: *const pmd_hixl,
    remote: *const c_char,
    name: *const u8,
    name_length: usize,
    message: *const u8,
    message_length: usize,
    timeout_ms: i32,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let (remote, name, message) = unsafe {
            let name = array(name, name_length, "the notification's name")?;
            (remote_name(remote)?, name, array(message, message_length, "the notification's message")?)
        };
        Ok(find(engine)?.send_notify(remote, &NotifyDesc::new(name, message), timeout(timeout_ms))?)
    })
}

/// `GetCapability`: 1 when the feature is there, 0 when not.
///
/// # Safety
/// `value` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_capability(feature: i32, value: *mut i32) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(value, "the place for the answer")? };
        place.put(Hixl::capability(feature)?);
        Ok(())
    })
}

pub(super) fn find(engine: *const pmd_hixl) -> Result<Arc<Hixl>, Failure> {
    Ok(ENGINES.find(engine)?)
}

/// # Safety
/// As [`text`].
pub(super) unsafe fn remote_name<'a>(name: *const c_char) -> Result<&'a str, Failure> {
    // SAFETY: passed on to the caller.
    Ok(unsafe { text(name, "the remote engine's name")? })
}
