//! Memory of one process in another: handles that this process gave out, and allocations of others that are open here.
//!
//! The driver names whole allocations, and a process cannot open what it has itself exported. So a handle is looked for
//! among those given out first, and each allocation of another process is opened once, counted, and closed when the last
//! range of it is gone and no copy touches it.
//!
//! Source: `cuIpcGetMemHandle`, `cuIpcOpenMemHandle`, `cuIpcCloseMemHandle`.

use core::ffi::{c_char, c_uint};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};

use cudarc::driver::sys::CUipcMemHandle;
use pmd_core::accelerator::{AcceleratorError, AcceleratorKind, ShareHandle};

use super::{Allocation, Origin, pointer::Pointer};
use crate::{
    context::{Context, lock},
    driver::{INVALID_HANDLE, INVALID_VALUE, MAP_FAILED, unsupported},
};

/// Bytes of a handle.
const BYTES: usize = 64;

/// Handles that this process gave out.
#[derive(Debug, Default)]
pub(crate) struct Exports(Mutex<HashMap<Vec<u8>, Local>>);

/// An allocation of this process whose handle was given out.
#[derive(Clone, Debug)]
pub(crate) struct Local {
    base: u64,
    /// `None` for adopted memory, which someone else frees.
    allocation: Option<Weak<Allocation>>,
}

impl Exports {
    /// The allocation of a handle, if it is this process's.
    pub(super) fn find(&self, opaque: &[u8]) -> Option<Local> {
        lock(&self.0).get(opaque).cloned()
    }
}

impl Local {
    /// What keeps it alive, and its first byte.
    pub(super) fn origin(&self) -> Result<(u64, Origin), AcceleratorError> {
        let gone = AcceleratorError::Gone { kind: AcceleratorKind::Cuda };
        let origin = match &self.allocation {
            None => Origin::Adopted,
            Some(allocation) => Origin::Allocated(allocation.upgrade().ok_or(gone)?),
        };
        Ok((self.base, origin))
    }
}

/// Names the allocation of a range, and the range in it. Inside [`Context::enter`].
pub(super) fn share(
    context: &Context,
    address: u64,
    length: u64,
    allocation: Option<&Arc<Allocation>>,
) -> Result<ShareHandle, AcceleratorError> {
    let pointer = Pointer::of(context, address)?;
    pointer.check(context, address, length)?;
    if pointer.ipc == 0 {
        let why = "it comes from a pool or an address range (expandable segments), which CUDA's handles do not name";
        return Err(unsupported("share memory", why));
    }
    let mut handle = CUipcMemHandle { reserved: [0; BYTES] };
    // SAFETY: the driver writes one handle.
    let exported = unsafe { (context.driver.ipc_export)(&mut handle, address) };
    context.driver.check("cuIpcGetMemHandle", exported)?;
    let opaque = handle.reserved.map(c_char::cast_unsigned).to_vec();
    let local = Local { base: pointer.base, allocation: allocation.map(Arc::downgrade) };
    let mut exports = lock(&context.exports.0);
    exports.retain(|_, local| local.allocation.as_ref().is_none_or(|weak| weak.strong_count() > 0));
    exports.insert(opaque.clone(), local);
    Ok(ShareHandle {
        kind: AcceleratorKind::Cuda,
        device: context.identity.unique,
        opaque,
        offset: address - pointer.base,
        length,
    })
}

/// Allocations of other processes that are open, by their handles: first byte, and how many use it.
#[derive(Debug, Default)]
pub(crate) struct Imports(Mutex<HashMap<Vec<u8>, (u64, usize)>>);

impl Imports {
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.0).is_empty()
    }
}

/// One use of an opened allocation.
#[derive(Debug)]
pub(super) struct Opened {
    context: Arc<Context>,
    opaque: Vec<u8>,
    address: u64,
}

impl Opened {
    /// Inside [`Context::enter`].
    pub(super) fn open(context: &Arc<Context>, opaque: &[u8]) -> Result<Self, AcceleratorError> {
        let mut imports = lock(&context.imports.0);
        let address = match imports.get_mut(opaque) {
            Some((address, users)) => {
                *users += 1;
                *address
            }
            None => {
                let address = open(context, opaque)?;
                imports.insert(opaque.to_vec(), (address, 1));
                address
            }
        };
        Ok(Self { context: Arc::clone(context), opaque: opaque.to_vec(), address })
    }

    pub(super) const fn address(&self) -> u64 {
        self.address
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let mut imports = lock(&self.context.imports.0);
        let Some((_, users)) = imports.get_mut(&self.opaque) else { return };
        *users -= 1;
        if *users == 0 {
            imports.remove(&self.opaque);
            drop(imports);
            self.context.retire(self.address);
        }
    }
}

fn open(context: &Context, opaque: &[u8]) -> Result<u64, AcceleratorError> {
    /// `CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS`, the only flag there is.
    const LAZY: c_uint = 1;
    let gone = AcceleratorError::Gone { kind: AcceleratorKind::Cuda };
    let Ok(bytes) = <[u8; BYTES]>::try_from(opaque) else { return Err(gone) };
    let handle = CUipcMemHandle { reserved: bytes.map(u8::cast_signed) };
    let mut address = 0;
    // SAFETY: the driver checks the handle, and writes one address.
    match unsafe { (context.driver.ipc_open)(&mut address, handle, LAZY) } {
        // What a driver says of a handle whose owner has ended or freed the memory.
        INVALID_VALUE | MAP_FAILED | INVALID_HANDLE => Err(gone),
        result => context.driver.check("cuIpcOpenMemHandle", result).map(|()| address),
    }
}
