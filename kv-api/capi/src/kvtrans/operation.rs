//! KVTrans' sends and receives in C.

use std::{
    ffi::c_void,
    time::{Duration, Instant},
};

use kv_api::kvtrans::{ConnectionId, KvId, Memory, MemoryId, ReceiveHandle, SendHandle, Via};

use super::{find, pmd_kvtrans};
use crate::{
    boundary::{Place, Table, guard, milliseconds},
    status::{Failure, pmd_kv_status},
};

/// A send or receive under way.
pub struct pmd_kvtrans_operation {
    _opaque: [u8; 0],
}

/// What an operation uses: with `connection` 0 the kv of that number, otherwise registered memory on that connection.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct pmd_kvtrans_via {
    /// A connection, or 0.
    pub connection: u64,
    /// A kv, or memory.
    pub number: u64,
}

enum Operation {
    Send(SendHandle),
    Receive(ReceiveHandle),
}

static OPERATIONS: Table<pmd_kvtrans_operation, Operation> = Table::new("KVTrans operation");

/// Sends `length` bytes to the peer's next receive, and waits until they are there. Memory that is not part of the
/// registration is registered for the send alone.
///
/// # Safety
/// The memory is mapped, and not written until this returns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kvtrans_send_kv(
    engine: *const pmd_kvtrans,
    via: pmd_kvtrans_via,
    memory: *const c_void,
    length: usize,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        unsafe { find(engine)?.send_kv(via_of(via), Memory::new(memory.cast(), length))? };
        Ok(())
    })
}

/// Receives the peer's next send into `length` bytes at `memory`, or, with NULL, into at most `length` bytes of the
/// registered memory, and waits for it. Writes how many bytes it had.
///
/// # Safety
/// The memory is mapped, and not touched until this returns; `received` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kvtrans_recv_kv(
    engine: *const pmd_kvtrans,
    via: pmd_kvtrans_via,
    memory: *mut c_void,
    length: usize,
    received: *mut u64,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::optional(received) };
        // SAFETY: the caller's promise.
        place.put(unsafe { receive(engine, via, memory, length, None)? }.wait()?);
        Ok(())
    })
}

/// Begins a send. Release the operation with `pmd_kvtrans_operation_release`. `timeout_ms` 0: a minute.
///
/// # Safety
/// The memory stays mapped, and is not written, until the operation has ended; `operation` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kvtrans_post_send(
    engine: *const pmd_kvtrans,
    via: pmd_kvtrans_via,
    memory: *const c_void,
    length: usize,
    timeout_ms: u64,
    operation: *mut *mut pmd_kvtrans_operation,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(operation, "the place for the operation")? };
        let memory = Memory::new(memory.cast(), length);
        // SAFETY: the caller's promise.
        let handle = unsafe { find(engine)?.post_send(via_of(via), memory, patience(timeout_ms))? };
        place.put(OPERATIONS.insert(Operation::Send(handle)));
        Ok(())
    })
}

/// Begins a receive, as `pmd_kvtrans_recv_kv`. `timeout_ms` 0: a minute.
///
/// # Safety
/// The memory stays mapped, and is not touched, until the operation has ended; `operation` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kvtrans_post_receive(
    engine: *const pmd_kvtrans,
    via: pmd_kvtrans_via,
    memory: *mut c_void,
    length: usize,
    timeout_ms: u64,
    operation: *mut *mut pmd_kvtrans_operation,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(operation, "the place for the operation")? };
        // SAFETY: the caller's promise.
        let handle = unsafe { receive(engine, via, memory, length, patience(timeout_ms))? };
        place.put(OPERATIONS.insert(Operation::Receive(handle)));
        Ok(())
    })
}

/// Waits for an operation's outcome, 0 to look only. After `PMD_KV_STATUS_TIMEOUT` it goes on. Writes the bytes that a
/// receive had.
///
/// # Safety
/// `received` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kvtrans_operation_wait(
    operation: *const pmd_kvtrans_operation,
    timeout_ms: u64,
    received: *mut u64,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::optional(received) };
        let operation = OPERATIONS.find(operation)?;
        let deadline = Some(Instant::now() + milliseconds(timeout_ms));
        let outcome = match &*operation {
            Operation::Send(handle) => handle.wait_until(deadline).map(|sent| Ok(sent.map(|()| 0)?)),
            Operation::Receive(handle) => handle.wait_until(deadline).map(|received| Ok(received?)),
        };
        let late =
            || Failure::new(pmd_kv_status::Timeout, format!("not done after {timeout_ms} ms; it goes on"));
        place.put(outcome.unwrap_or_else(|| Err(late()))?);
        Ok(())
    })
}

/// Stops an operation, and waits until nothing touches its memory any more. `PMD_KV_STATUS_CANCELLED`, or
/// `PMD_KV_STATUS_OK` when it was done before.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kvtrans_operation_cancel(operation: *const pmd_kvtrans_operation) -> pmd_kv_status {
    guard(|| {
        match &*OPERATIONS.find(operation)? {
            Operation::Send(handle) => handle.cancel()?,
            Operation::Receive(handle) => drop(handle.cancel()?),
        }
        Ok(())
    })
}

/// Releases an operation's handle. A send goes on until its deadline; a receive is withdrawn as far as no send has met it.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kvtrans_operation_release(operation: *mut pmd_kvtrans_operation) -> pmd_kv_status {
    guard(|| Ok(OPERATIONS.remove(operation).map(drop)?))
}

/// # Safety
/// As `pmd_kvtrans_post_receive`.
unsafe fn receive(
    engine: *const pmd_kvtrans,
    via: pmd_kvtrans_via,
    memory: *mut c_void,
    length: usize,
    patience: Option<Duration>,
) -> Result<ReceiveHandle, Failure> {
    let (engine, via) = (find(engine)?, via_of(via));
    if memory.is_null() {
        return Ok(engine.post_receive(via, length as u64, patience)?);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { engine.post_receive_into(via, Memory::new(memory.cast(), length), patience)? })
}

const fn via_of(via: pmd_kvtrans_via) -> Via {
    match via.connection {
        0 => Via::Kv(KvId(via.number)),
        connection => Via::Memory(ConnectionId(connection), MemoryId(via.number)),
    }
}

fn patience(timeout_ms: u64) -> Option<Duration> {
    (timeout_ms > 0).then(|| milliseconds(timeout_ms))
}
