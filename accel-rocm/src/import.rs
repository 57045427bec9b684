//! Memory of other processes: each handle is opened once and closed with its last user. Called by `memory`.
//!
//! Closing waits for nobody: a copy that an application's stream was given may stand behind a wait for something that the
//! thread which closes is to bring about, the end of a push-pull with a peer that has died say. What copies may still touch
//! is closed by a later call.
#![allow(unsafe_code)] // calls the runtime

use core::ptr;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hip_sys::hip::{self, hipError_t};
use pmd_core::accelerator::{AcceleratorError, AcceleratorKind, ShareHandle};

use crate::accelerator::Shared;
use crate::event::NativeEvent;
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
    /// Uses that have ended, with the events of the copies that may still touch the memory.
    retired: Mutex<Vec<(Import, Vec<Arc<NativeEvent>>)>>,
}

#[derive(Debug)]
struct Opened {
    allocation: Allocation,
    users: usize,
}

/// One use of an opened handle. Handed back to [`Imports::close`].
#[derive(Clone, Copy, Debug)]
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
        self.reap(shared);
        let ours = share.kind == AcceleratorKind::Rocm && share.device == shared.identity.unique;
        if !ours {
            return Err(shared.foreign());
        }
        // Another length is refused as the runtime refuses other bytes.
        let handle = <[u8; HANDLE_BYTES]>::try_from(share.opaque.as_slice())
            .map_err(|_| shared.hip.error("hipIpcOpenMemHandle", hip::hipErrorInvalidValue))?;
        let mut open = lock(&self.open);
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

    /// Takes one user away once the copies are done that this crate's streams still make: now, or with a later call. The last
    /// one closes the handle.
    pub(crate) fn close(&self, shared: &Shared, import: Import) {
        let copies = shared.outstanding.copies();
        lock(&self.retired).push((import, copies));
        self.reap(shared);
    }

    /// Takes those users away whose copies are done, or have failed.
    pub(crate) fn reap(&self, shared: &Shared) {
        let mut retired = lock(&self.retired);
        retired.retain_mut(|(import, copies)| {
            copies.retain(|event| matches!(event.is_done(), Ok(false)));
            if copies.is_empty() {
                self.let_go(shared, import);
            }
            !copies.is_empty()
        });
    }

    fn let_go(&self, shared: &Shared, import: &Import) {
        // Closed under the lock: another thread that opens it meanwhile would get what is being closed.
        let mut open = lock(&self.open);
        let Some(opened) = open.get_mut(&import.handle) else { return };
        opened.users -= 1;
        if opened.users == 0 {
            open.remove(&import.handle);
            detach(shared, import.allocation);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
