//! Memory of devices and of the host, copies, and keys for other processes.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::{
    collections::BTreeMap,
    ffi::{CStr, c_char, c_int, c_void},
    ptr::without_provenance_mut,
    sync::{Mutex, MutexGuard, PoisonError},
};

use fake_device::{Direction, IpcHandle, Owner, PreparedCopy};

use crate::{
    device::{RUNTIME, check_place, current, put},
    error::{AclError, Code, call},
    stream,
};

/// Bytes of a key, with its closing zero.
const KEY_BYTES: usize = 65;

/// Set in the addresses at which devices reach registered memory of the host, so that they differ from the host's.
const MAPPED: u64 = 1 << 60;

/// Copies that the program says the way of, and one whose way the addresses tell.
const DEFAULT_KIND: c_int = 4;

/// Keys that this process has opened, and where.
static IMPORTS: Mutex<BTreeMap<String, (u64, Owner)>> = Mutex::new(BTreeMap::new());

/// Keys under which this process shares its memory, and the memory.
static EXPORTS: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());

/// Where something is, as the public interface's struct has it.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C)]
pub struct PointerAttributes {
    /// The device, for memory of one.
    pub device: u32,
    /// Whose memory it is: 0 the host's, by the runtime; 1 a device's; 2 unknown; 3 both's.
    pub location: c_int,
    /// Bytes of a page.
    pub page_size: u32,
    /// Nothing yet.
    pub reserved: [u32; 4],
}

/// `aclrtMalloc`: poisoned memory of the thread's device.
///
/// # Safety
/// `memory` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtMalloc(memory: *mut *mut c_void, size: usize, policy: c_int) -> c_int {
    call("aclrtMalloc", || {
        check_place(memory)?;
        if !(0..=5).contains(&policy) || size == 0 {
            let detail = format!("{size} bytes by malloc policy {policy} cannot be");
            return Err(AclError::new(Code::InvalidParameter, detail));
        }
        let address = RUNTIME.allocate(current()?, size as u64)?;
        // SAFETY: the caller's promise.
        unsafe { put(memory, pointer(address)) }
    })
}

/// `aclrtFree`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtFree(memory: *mut c_void) -> c_int {
    call("aclrtFree", || {
        let address = memory.addr() as u64;
        let owner = match RUNTIME.find(address).map(|found| found.owner) {
            Some(owner @ Owner::Managed(_)) => owner,
            Some(Owner::Device(device) | Owner::Imported(device)) => Owner::Device(device),
            _ => Owner::Device(0),
        };
        Ok(RUNTIME.free(address, owner)?)
    })
}

/// `aclrtMallocHost`.
///
/// # Safety
/// `memory` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtMallocHost(memory: *mut *mut c_void, size: usize) -> c_int {
    call("aclrtMallocHost", || {
        check_place(memory)?;
        if size == 0 {
            return Err(AclError::new(Code::InvalidParameter, "no bytes"));
        }
        current()?;
        let address = RUNTIME.allocate_pinned(size as u64)?;
        // SAFETY: the caller's promise.
        unsafe { put(memory, pointer(address)) }
    })
}

/// `aclrtFreeHost`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtFreeHost(memory: *mut c_void) -> c_int {
    call("aclrtFreeHost", || Ok(RUNTIME.free(memory.addr() as u64, Owner::Pinned)?))
}

/// `aclrtHostRegister`: from a page's beginning.
///
/// # Safety
/// The range stays mapped until it is unregistered; `mapped` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtHostRegister(
    memory: *mut c_void,
    size: u64,
    kind: c_int,
    mapped: *mut *mut c_void,
) -> c_int {
    call("aclrtHostRegister", || {
        check_place(mapped)?;
        current()?;
        let address = memory.addr() as u64;
        if kind != 0 {
            return Err(AclError::new(Code::InvalidParameter, format!("there is no register type {kind}")));
        }
        if !address.is_multiple_of(4096) {
            return Err(AclError::new(Code::Unaligned, format!("{address:#x} is in the middle of a page")));
        }
        RUNTIME.register(address, size)?;
        // SAFETY: the caller's promise.
        unsafe { put(mapped, pointer(address | MAPPED)) }
    })
}

/// `aclrtHostUnregister`.
#[unsafe(no_mangle)]
pub extern "C" fn aclrtHostUnregister(memory: *mut c_void) -> c_int {
    call("aclrtHostUnregister", || Ok(RUNTIME.free(memory.addr() as u64, Owner::Registered)?))
}

/// `aclrtMemset`.
///
/// # Safety
/// As C's `memset`, where the memory is not this library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtMemset(memory: *mut c_void, room: usize, value: i32, count: usize) -> c_int {
    call("aclrtMemset", || {
        check_room(memory, room, count)?;
        RUNTIME.prepare_fill(memory.addr() as u64, &[value as u8], count as u64)?.run();
        Ok(())
    })
}

/// `aclrtMemcpy`.
///
/// # Safety
/// As C's `memcpy`, where the memory is not this library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtMemcpy(
    destination: *mut c_void,
    room: usize,
    source: *const c_void,
    count: usize,
    kind: c_int,
) -> c_int {
    call("aclrtMemcpy", || {
        current()?;
        prepare(destination, room, source, count, kind)?.run();
        Ok(())
    })
}

/// `aclrtMemcpyAsync`. Checked now, copied when the stream comes to it; not within the host.
///
/// # Safety
/// As C's `memcpy` when the stream comes to it, where the memory is not this library's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtMemcpyAsync(
    destination: *mut c_void,
    room: usize,
    source: *const c_void,
    count: usize,
    kind: c_int,
    stream: *mut c_void,
) -> c_int {
    call("aclrtMemcpyAsync", || {
        let stream = stream::find(stream)?;
        if kind == 0 {
            return Err(AclError::new(Code::NotSupported, "streams do not copy within the host"));
        }
        let copy = prepare(destination, room, source, count, kind)?;
        stream.post(move || {
            copy.run();
            Ok(())
        });
        Ok(())
    })
}

/// `aclrtPointerGetAttributes`.
///
/// # Safety
/// `attributes` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtPointerGetAttributes(
    memory: *const c_void,
    attributes: *mut PointerAttributes,
) -> c_int {
    call("aclrtPointerGetAttributes", || {
        let (device, location) = match RUNTIME.find(memory.addr() as u64).map(|found| found.owner) {
            Some(Owner::Device(device) | Owner::Imported(device) | Owner::Mapped(device)) => (device, 1),
            Some(Owner::Pinned | Owner::Registered) => (0, 0),
            Some(Owner::Managed(device)) => (device, 3),
            None => (0, 2),
        };
        let found = PointerAttributes { device, location, page_size: 4096, reserved: [0; 4] };
        // SAFETY: the caller's promise.
        unsafe { put(attributes, found) }
    })
}

/// `aclrtMemGetAddressRange`.
///
/// # Safety
/// `base` and `size` are null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtMemGetAddressRange(
    memory: *mut c_void,
    base: *mut *mut c_void,
    size: *mut usize,
) -> c_int {
    call("aclrtMemGetAddressRange", || {
        let unknown = || AclError::new(Code::RuntimeParameter, format!("{memory:p} is no device memory"));
        let found = RUNTIME.find(memory.addr() as u64).filter(|found| found.owner.device().is_some());
        let found = found.ok_or_else(unknown)?;
        // SAFETY: the caller's promise.
        unsafe {
            put(base, pointer(found.base))?;
            put(size, found.length as usize)
        }
    })
}

/// `aclrtIpcMemGetExportKey`.
///
/// # Safety
/// `key` is null or may be written for `room` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtIpcMemGetExportKey(
    memory: *mut c_void,
    size: usize,
    key: *mut c_char,
    room: usize,
    _flags: u64,
) -> c_int {
    call("aclrtIpcMemGetExportKey", || {
        check_place(key)?;
        let address = memory.addr() as u64;
        let whole =
            RUNTIME.find(address).is_some_and(|found| found.base == address && size as u64 <= found.length);
        if room != KEY_BYTES || !whole {
            let detail = format!("{size} bytes at {memory:p} are no allocation, or {room} bytes no key");
            return Err(AclError::new(Code::RuntimeParameter, detail));
        }
        let text: String =
            RUNTIME.export(address)?.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        // SAFETY: the caller promises room for as many bytes as the text has with its zero.
        unsafe {
            key.cast::<u8>().copy_from(text.as_ptr(), text.len());
            key.add(text.len()).write(0);
        }
        lock(&EXPORTS).insert(text, address);
        Ok(())
    })
}

/// `aclrtIpcMemImportByKey`: once in a process for a key.
///
/// # Safety
/// `memory` is null or may be written; `key` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtIpcMemImportByKey(
    memory: *mut *mut c_void,
    key: *const c_char,
    _flags: u64,
) -> c_int {
    call("aclrtIpcMemImportByKey", || {
        check_place(memory)?;
        // SAFETY: the caller's promise.
        let text = unsafe { text(key) }?;
        let device = current()?;
        let refused = |why| AclError::new(Code::RuntimeParameter, format!("key {text}: {why}"));
        let mut imports = lock(&IMPORTS);
        if imports.contains_key(&text) {
            return Err(refused("this process has it open"));
        }
        let handle = bytes_of(&text).and_then(|bytes| IpcHandle::from_bytes(&bytes));
        let address = RUNTIME.import(device, &handle.ok_or_else(|| refused("not a key"))?)?;
        imports.insert(text, (address, Owner::Imported(device)));
        // SAFETY: the caller's promise.
        unsafe { put(memory, pointer(address)) }
    })
}

/// `aclrtIpcMemClose`, in the process that has opened a key or in the one that shares memory under it.
///
/// # Safety
/// `key` is a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn aclrtIpcMemClose(key: *const c_char) -> c_int {
    call("aclrtIpcMemClose", || {
        // SAFETY: the caller's promise.
        let text = unsafe { text(key) }?;
        if let Some((address, owner)) = lock(&IMPORTS).remove(&text) {
            return Ok(RUNTIME.free(address, owner)?);
        }
        let unknown = || AclError::new(Code::RuntimeParameter, format!("key {text} is not open here"));
        lock(&EXPORTS).remove(&text).map(drop).ok_or_else(unknown)
    })
}

/// Keys under which memory of this process is shared.
pub(crate) fn exported() -> u64 {
    lock(&EXPORTS).len() as u64
}

/// The host's address of a word that a device reaches at this one.
pub(crate) fn reached_by_device(address: u64) -> Result<u64, AclError> {
    let device = RUNTIME.find(address).is_some_and(|found| found.owner.device().is_some());
    if device || address & MAPPED != 0 {
        return Ok(address & !MAPPED);
    }
    RUNTIME.misuse(&format!("a device was told to use {address:#x}, which is the host's"));
    Err(AclError::new(Code::RuntimeParameter, format!("{address:#x} is no address of a device")))
}

/// # Safety
/// `key` is null or a C string.
unsafe fn text(key: *const c_char) -> Result<String, AclError> {
    if key.is_null() {
        return Err(AclError::new(Code::InvalidParameter, "the key is NULL"));
    }
    // SAFETY: not null, so the caller promises a C string.
    Ok(unsafe { CStr::from_ptr(key) }.to_string_lossy().into_owned())
}

fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

fn prepare(
    destination: *mut c_void,
    room: usize,
    source: *const c_void,
    count: usize,
    kind: c_int,
) -> Result<PreparedCopy, AclError> {
    let direction = match kind {
        0 => Some(Direction::HostToHost),
        1 => Some(Direction::HostToDevice),
        2 => Some(Direction::DeviceToHost),
        3 => Some(Direction::DeviceToDevice),
        DEFAULT_KIND => None,
        _ => return Err(AclError::new(Code::InvalidParameter, format!("there is no memcpy kind {kind}"))),
    };
    if source.is_null() {
        return Err(AclError::new(Code::InvalidParameter, "the source of a copy is NULL"));
    }
    check_room(destination, room, count)?;
    let (to, from) = (destination.addr() as u64, source.addr() as u64);
    Ok(RUNTIME.prepare_copy(to, from, count as u64, direction)?)
}

fn check_room(destination: *mut c_void, room: usize, count: usize) -> Result<(), AclError> {
    if destination.is_null() {
        return Err(AclError::new(Code::InvalidParameter, "the destination is NULL"));
    }
    if count > room {
        return Err(AclError::new(Code::RuntimeParameter, format!("{count} bytes into room for {room}")));
    }
    Ok(())
}

fn pointer(address: u64) -> *mut c_void {
    without_provenance_mut(address as usize)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
