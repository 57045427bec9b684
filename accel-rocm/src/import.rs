//! Memory of other processes: each handle is opened once and closed with its last user. Called by `memory`.
#![allow(unsafe_code)] // calls the runtime

use core::ptr;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hip_sys::hip::{self, hipError_t};
use pmd_core::accelerator::{AcceleratorError, AcceleratorKind, ShareHandle};

use crate::accelerator::Shared;
use crate::memory::{Allocation, allocation_of, pointer};
use crate::runtime::{meaning, unsupported};

/// Bytes of the runtime's handle.
const HANDLE_BYTES: usize = hip::HIP_IPC_HANDLE_SIZE as usize;

/// What the runtime answers where the owner freed the memory or ended: the kernel attaches nothing.
const GONE: [hipError_t; 3] =
    [hip::hipErrorInvalidDevicePointer, hip::hipErrorMapFailed, hip::hipErrorInvalidHandle];

/// Handles that are open, by their bytes.
#[derive(Debug, Default)]
pub(crate) struct Imports {
    open: Mutex<HashMap<[u8; HANDLE_BYTES], Opened>>,
}

#[derive(Debug)]
struct Opened {
    allocation: Allocation,
    users: usize,
}

/// One use of an opened handle. Handed back to [`Imports::close`].
#[derive(Debug)]
pub(crate) struct Import {
    handle: [u8; HANDLE_BYTES],
    allocation: Allocation,
}

impl Import {
    /// The whole allocation, where this process sees it.
    pub(crate) const fn allocation(&self) -> Allocation {
        self.allocation
    }
}

impl Imports {
    /// Opens a handle, or counts one user more.
    pub(crate) fn open(&self, shared: &Shared, share: &ShareHandle) -> Result<Import, AcceleratorError> {
        let ours = share.kind == AcceleratorKind::Rocm && share.device == shared.identity.unique;
        if !ours {
            return Err(shared.foreign());
        }
        // Another length is refused as the runtime refuses other bytes.
        let handle = <[u8; HANDLE_BYTES]>::try_from(share.opaque.as_slice())
            .map_err(|_| shared.hip.error("hipIpcOpenMemHandle", hip::hipErrorInvalidValue))?;
        let mut open = self.lock();
        let allocation = match open.entry(handle) {
            Entry::Occupied(mut found) => {
                found.get_mut().users += 1;
                found.get().allocation
            }
            Entry::Vacant(place) => {
                place.insert(Opened { allocation: attach(shared, &handle)?, users: 1 }).allocation
            }
        };
        Ok(Import { handle, allocation })
    }

    /// Takes one user away; the last one closes the handle, after the copies that this crate's streams still make.
    pub(crate) fn close(&self, shared: &Shared, import: &Import) {
        shared.outstanding.wait_for_copies();
        // Closed under the lock: another thread that opens it meanwhile would get what is being closed.
        let mut open = self.lock();
        let Some(opened) = open.get_mut(&import.handle) else { return };
        opened.users -= 1;
        if opened.users == 0 {
            open.remove(&import.handle);
            detach(shared, import.allocation);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; HANDLE_BYTES], Opened>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attach(shared: &Shared, handle: &[u8; HANDLE_BYTES]) -> Result<Allocation, AcceleratorError> {
    let hip = shared.hip;
    let _current = shared.current()?;
    let handle = hip::hipIpcMemHandle_t { reserved: handle.map(u8::cast_signed) };
    let mut address = ptr::null_mut();
    // SAFETY: writes one pointer; the runtime refuses bytes that are no handle.
    let answer = unsafe { hip.hipIpcOpenMemHandle(&mut address, handle, hip::hipIpcMemLazyEnablePeerAccess) };
    hip.check("hipIpcOpenMemHandle", answer).map_err(explain)?;
    let address = address.expose_provenance() as u64;
    allocation_of(hip, address).inspect_err(|_| detach(shared, Allocation { base: address, size: 0 }))
}

/// What a refused handle means.
fn explain(error: AcceleratorError) -> AcceleratorError {
    let error = meaning(error, &GONE, || AcceleratorError::Gone { kind: AcceleratorKind::Rocm });
    meaning(error, &[hip::hipErrorInvalidContext], || {
        unsupported("open memory that this process shares", "HIP opens handles of other processes only")
    })
}

/// Nobody could be told of a failure: the mapping stays until the process ends then.
fn detach(shared: &Shared, allocation: Allocation) {
    let hip = shared.hip;
    let Ok(_current) = shared.current() else { return };
    // SAFETY: hipIpcOpenMemHandle gave the address, and its last user is gone.
    let answer = unsafe { hip.hipIpcCloseMemHandle(pointer(allocation.base)) };
    let _ = hip.check("hipIpcCloseMemHandle", answer);
}
