//! KVTrans in C: engines, connections and registrations. Called by C programs; stands on [`kv_api::kvtrans`].
#![allow(unsafe_code, non_camel_case_types)] // C functions, with names as C programs see them

mod errors;
mod operation;

use std::{
    ffi::{c_char, c_void},
    net::IpAddr,
    sync::Arc,
};

use kv_api::kvtrans::{Config, ConnectionId, Engine, KvId, Memory, MemoryId};

pub use operation::*;

use crate::{
    boundary::{Place, Table, copy_text_out, guard, milliseconds, text},
    status::{Failure, chain, pmd_kv_status},
};

/// A KVTrans engine.
pub struct pmd_kvtrans {
    _opaque: [u8; 0],
}

static ENGINES: Table<pmd_kvtrans, Engine> = Table::new("KVTrans engine");

/// Opens an engine: `ncpus` lanes of `nconn_per_cpu` queue pairs to each peer. `interface` is a network interface, an
/// RDMA device, an IP address, "lo" or "*"; port 0 lets the system choose. Close it with `pmd_kvtrans_close`.
///
/// # Safety
/// `interface` ends with a zero byte; `engine` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kvtrans_open(
    interface: *const c_char,
    ncpus: u32,
    nconn_per_cpu: u32,
    listen_port: u16,
    engine: *mut *mut pmd_kvtrans,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(engine, "the place for the engine")? };
        // SAFETY: the caller's promise.
        let interface = unsafe { text(interface, "the interface")? };
        let config = Config::new(interface, ncpus, nconn_per_cpu, listen_port).with_environment();
        let config = config.map_err(|error| Failure::argument(chain(&error)))?;
        place.put(ENGINES.insert(Engine::open(config)?));
        Ok(())
    })
}

/// Closes an engine: what is under way fails, and when this returns nothing touches registered memory any more.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kvtrans_close(engine: *mut pmd_kvtrans) -> pmd_kv_status {
    guard(|| {
        ENGINES.remove(engine)?.close();
        Ok(())
    })
}

/// Writes where peers connect to, as "ip:port", and its length without the zero byte at its end.
///
/// # Safety
/// `room` has room for `capacity` bytes; `length` is NULL or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kvtrans_address(
    engine: *const pmd_kvtrans,
    room: *mut c_char,
    capacity: usize,
    length: *mut usize,
) -> pmd_kv_status {
    guard(|| {
        let silent = || Failure::new(pmd_kv_status::NotFound, "the engine does not listen any more");
        let address = find(engine)?.listen_address().ok_or_else(silent)?;
        // SAFETY: the caller's promise.
        unsafe { copy_text_out(&address.to_string(), room, capacity, Place::optional(length))? };
        Ok(())
    })
}

/// Connects to the engine that listens at `ip` and `port`. Connections count from 1.
///
/// # Safety
/// `ip` ends with a zero byte; `connection` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kvtrans_connect(
    engine: *const pmd_kvtrans,
    ip: *const c_char,
    port: u16,
    connection: *mut u64,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(connection, "the place for the connection")? };
        // SAFETY: the caller's promise.
        let ip = unsafe { text(ip, "the address")? };
        let ip: IpAddr = ip.parse().map_err(|_| Failure::argument(format!("{ip:?} is no IP address")))?;
        place.put(find(engine)?.connect(ip, port)?.0);
        Ok(())
    })
}

/// Waits for a peer to connect. `port` is the one that it listens on itself.
///
/// # Safety
/// `connection` may be written; `port` is NULL or may be; `ip` has room for `capacity` bytes, 46 for any address.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kvtrans_accept(
    engine: *const pmd_kvtrans,
    timeout_ms: u64,
    connection: *mut u64,
    ip: *mut c_char,
    capacity: usize,
    port: *mut u16,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let places =
            unsafe { (Place::new(connection, "the place for the connection")?, Place::optional(port)) };
        if !ip.is_null() && capacity < LONGEST_ADDRESS {
            let text = format!("an address may need {LONGEST_ADDRESS} bytes, there is room for {capacity}");
            return Err(Failure::new(pmd_kv_status::BufferTooSmall, text));
        }
        let accepted = find(engine)?.accept(milliseconds(timeout_ms))?;
        places.0.put(accepted.connection.0);
        places.1.put(accepted.port);
        if ip.is_null() {
            return Ok(());
        }
        // SAFETY: the caller's promise.
        unsafe {
            copy_text_out(&accepted.ip.to_string(), ip, capacity, Place::optional(std::ptr::null_mut()))?;
        }
        Ok(())
    })
}

/// Closes a connection: what is under way on it fails, and is quiet when this returns.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kvtrans_disconnect(engine: *const pmd_kvtrans, connection: u64) -> pmd_kv_status {
    guard(|| Ok(find(engine)?.disconnect(ConnectionId(connection))?))
}

/// Registers memory for one connection, as a kv; kvs count from 1. It is the host's, or that of an accelerator which
/// PMD_ACCELERATORS names ("cuda:0"): the runtimes are asked whose an address is.
///
/// # Safety
/// The memory stays mapped until it is released, and is not touched while an operation may; `kv` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kvtrans_reg_kv(
    engine: *const pmd_kvtrans,
    connection: u64,
    memory: *mut c_void,
    length: usize,
    kv: *mut u64,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(kv, "the place for the kv")? };
        let engine = find(engine)?;
        let memory = engine.describe(Memory::new(memory.cast(), length));
        // SAFETY: the caller's promise.
        place.put(unsafe { engine.reg_kv(ConnectionId(connection), &memory)? }.0);
        Ok(())
    })
}

/// Registers memory for every connection.
///
/// # Safety
/// As `pmd_kvtrans_reg_kv`; `number` may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmd_kvtrans_reg_memory(
    engine: *const pmd_kvtrans,
    memory: *mut c_void,
    length: usize,
    number: *mut u64,
) -> pmd_kv_status {
    guard(|| {
        // SAFETY: the caller's promise.
        let place = unsafe { Place::new(number, "the place for the memory's number")? };
        let engine = find(engine)?;
        let memory = engine.describe(Memory::new(memory.cast(), length));
        // SAFETY: the caller's promise.
        place.put(unsafe { engine.reg_memory(&memory)? }.0);
        Ok(())
    })
}

/// Releases a kv: cancels what is under way with it, and waits until nothing touches the memory any more.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kvtrans_dereg_kv(engine: *const pmd_kvtrans, kv: u64) -> pmd_kv_status {
    guard(|| Ok(find(engine)?.dereg_kv(KvId(kv))?))
}

/// Releases memory that was registered for every connection. As `pmd_kvtrans_dereg_kv`.
#[unsafe(no_mangle)]
pub extern "C" fn pmd_kvtrans_dereg_memory(engine: *const pmd_kvtrans, number: u64) -> pmd_kv_status {
    guard(|| Ok(find(engine)?.dereg_memory(MemoryId(number))?))
}

/// Bytes of the longest address, with its zero byte (`INET6_ADDRSTRLEN`).
const LONGEST_ADDRESS: usize = 46;

fn find(engine: *const pmd_kvtrans) -> Result<Arc<Engine>, Failure> {
    Ok(ENGINES.find(engine)?)
}
