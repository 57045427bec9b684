//! Memory for other processes and for NICs: IPC handles and dma-bufs.
#![allow(unsafe_code)] // C functions take addresses on the caller's word

use std::{
    collections::BTreeMap,
    ffi::{c_int, c_uint, c_ulonglong},
    process,
    sync::Mutex,
};

use fake_device::{FakeError, IpcHandle, Owner};

use super::put;
use crate::{
    code::{Code, INVALID_CONTEXT, INVALID_VALUE, NOT_SUPPORTED, call, code},
    state::{self, lock, runtime},
};

/// `CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED`.
const DMA_BUF_SUPPORTED: u32 = 124;

/// Bytes of a page, to which dma-bufs are aligned.
const PAGE: u64 = 4096;

/// Opened memory by its handle: where it is, and how often it was opened.
static OPENED: Mutex<BTreeMap<[u8; IpcHandle::BYTES], (u64, u64)>> = Mutex::new(BTreeMap::new());

/// `CUipcMemHandle`.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct CudaIpcHandle {
    reserved: [u8; 64],
}

/// `cuIpcGetMemHandle`.
///
/// # Safety
/// `handle` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuIpcGetMemHandle(handle: *mut CudaIpcHandle, address: u64) -> Code {
    let export = || {
        state::current_device()?;
        let bytes = runtime().export(address).map_err(code)?.to_bytes();
        let mut reserved = [0; 64];
        reserved[..bytes.len()].copy_from_slice(&bytes);
        Ok(CudaIpcHandle { reserved })
    };
    // SAFETY: the caller's promise.
    call("cuIpcGetMemHandle", || unsafe { put(handle, export) })
}

/// `cuIpcOpenMemHandle`: the second time the same address.
///
/// # Safety
/// `address` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuIpcOpenMemHandle_v2(
    address: *mut u64,
    handle: CudaIpcHandle,
    flags: c_uint,
) -> Code {
    let open = || {
        let device = state::current_device()?;
        let handle = IpcHandle::from_bytes(&handle.reserved).filter(|_| flags == 1).ok_or(INVALID_VALUE)?;
        if handle.process == process::id() {
            return Err(INVALID_CONTEXT);
        }
        let mut opened = lock(&OPENED);
        if let Some((address, times)) = opened.get_mut(&handle.to_bytes()) {
            *times += 1;
            return Ok(*address);
        }
        let address = runtime().import(device, &handle).map_err(code)?;
        opened.insert(handle.to_bytes(), (address, 1));
        Ok(address)
    };
    // SAFETY: the caller's promise.
    call("cuIpcOpenMemHandle", || unsafe { put(address, open) })
}

/// `cuIpcCloseMemHandle`. What a copy still touches would not be waited for: that is misuse.
#[unsafe(no_mangle)]
pub extern "C" fn cuIpcCloseMemHandle(address: u64) -> Code {
    call("cuIpcCloseMemHandle", || {
        let device = state::current_device()?;
        let mut opened = lock(&OPENED);
        let key = opened.iter().find(|(_, (known, _))| *known == address).map(|(key, _)| *key);
        let Some((times, key)) = key.and_then(|key| Some((&mut opened.get_mut(&key)?.1, key))) else {
            let error = FakeError::Unknown { address };
            runtime().misuse(&format!("close: {error}"));
            return Err(INVALID_VALUE);
        };
        *times -= 1;
        if *times == 0 {
            opened.remove(&key);
            drop(opened);
            runtime().free(address, Owner::Imported(device)).map_err(code)?;
        }
        Ok(())
    })
}

/// `cuMemGetHandleForAddressRange`: a descriptor of a whole allocation.
///
/// # Safety
/// `handle` is null or may be written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuMemGetHandleForAddressRange(
    handle: *mut c_int,
    address: u64,
    size: usize,
    kind: c_uint,
    flags: c_ulonglong,
) -> Code {
    let export = || {
        let device = state::current_device()?;
        if state::attribute(device, DMA_BUF_SUPPORTED) == 0 {
            return Err(NOT_SUPPORTED);
        }
        let aligned = address.is_multiple_of(PAGE) && (size as u64).is_multiple_of(PAGE);
        if kind != 1 || flags != 0 || !aligned || size == 0 {
            return Err(INVALID_VALUE);
        }
        let found = runtime().find(address).filter(|found| found.base == address).ok_or(INVALID_VALUE)?;
        if size as u64 > found.length.next_multiple_of(PAGE) {
            return Err(INVALID_VALUE);
        }
        runtime().descriptor(address).map_err(code)
    };
    // SAFETY: the caller's promise.
    call("cuMemGetHandleForAddressRange", || unsafe { put(handle, export) })
}

/// `cuFlushGPUDirectRDMAWrites`: nothing is written behind this process's back.
#[unsafe(no_mangle)]
pub extern "C" fn cuFlushGPUDirectRDMAWrites(target: c_uint, scope: c_uint) -> Code {
    call("cuFlushGPUDirectRDMAWrites", || {
        state::current_device()?;
        if target == 0 && matches!(scope, 100 | 200) { Ok(()) } else { Err(INVALID_VALUE) }
    })
}
