//! HIXL's transfers in C.

use std::{
    ffi::{c_char, c_void},
    ptr,
};

use kv_api::hixl::{TransferArgs, TransferOp, TransferOpDesc, TransferReq, timeout};

use super::{Fault, find, pmd_hixl, remote_name, run};
use crate::{
    boundary::{Place, array},
    status::Failure,
};

/// One contiguous piece of a transfer (`TransferOpDesc`).
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_hixl_op {
    /// First byte in this process.
    pub local_address: u64,
    /// First byte in the remote engine's.
    pub remote_address: u64,
    /// Bytes.
    pub length: u64,
}

/// `TransferSync`: `operation` is 0 to read, 1 to write. When it returns, nothing writes the local memory any more.
///
/// # Safety
/// `remote` ends with a zero byte; `operations` has its count; the local memory may be read or written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_transfer_sync(
    engine: *const pmd_hixl,
    remote: *const c_char,
    operation: i32,
    operations: *const pmd_hixl_op,
    count: usize,
    timeout_ms: i32,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let (remote, pieces) = unsafe { (remote_name(remote)?, pieces(operations, count)?) };
        let operation = operation_of(operation)?;
        // SAFETY: the caller's promise.
        unsafe { find(engine)?.transfer_sync(remote, operation, &pieces, timeout(timeout_ms))? };
        Ok(())
    })
}

/// `TransferAsync`: begins a transfer; `user_data` is handed back by `pmd_hixl_transfer_statuses`. It is given up, and its
/// status is a time-out, when it has not ended after `timeout_ms`; 0: never.
///
/// # Safety
/// As `pmd_hixl_transfer_sync`, until the transfer has ended; `request` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_transfer_async(
    engine: *const pmd_hixl,
    remote: *const c_char,
    operation: i32,
    operations: *const pmd_hixl_op,
    count: usize,
    user_data: *const c_void,
    timeout_ms: u32,
    request: *mut *mut c_void,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(request, "the place for the request")? };
        // SAFETY: the caller's promise.
        let (remote, pieces) = unsafe { (remote_name(remote)?, pieces(operations, count)?) };
        let operation = operation_of(operation)?;
        let user_data = user_data.expose_provenance() as u64;
        let args = TransferArgs { user_data, timeout_in_millis: timeout_ms };
        // SAFETY: the caller's promise.
        let request = unsafe { find(engine)?.transfer_async(remote, operation, &pieces, args)? };
        place.put(ptr::without_provenance_mut(request.0 as usize));
        Ok(())
    })
}

/// `GetTransferStatus`: a `TransferStatus` of `hixl/hixl_types.h`. The end of a transfer is told once.
///
/// # Safety
/// `status` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_hixl_transfer_status(
    engine: *const pmd_hixl,
    request: *mut c_void,
    status: *mut i32,
) -> u32 {
    run(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(status, "the place for the status")? };
        place.put(find(engine)?.transfer_status(TransferReq(request.addr() as u64))? as i32);
        Ok(())
    })
}

/// # Safety
/// `operations` is null or points to `count` operations.
unsafe fn pieces(operations: *const pmd_hixl_op, count: usize) -> Result<Vec<TransferOpDesc>, Failure> {
    // SAFETY: the caller's promise.
    let operations = unsafe { array(operations, count, "the array of operations")? };
    let piece = |operation: &pmd_hixl_op| TransferOpDesc {
        local_addr: operation.local_address,
        remote_addr: operation.remote_address,
        len: operation.length,
    };
    Ok(operations.iter().map(piece).collect())
}

fn operation_of(number: i32) -> Result<TransferOp, Fault> {
    match number {
        0 => Ok(TransferOp::Read),
        1 => Ok(TransferOp::Write),
        _ => Err(Failure::argument(format!("there is no operation {number}")).into()),
    }
}
