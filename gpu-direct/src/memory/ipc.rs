//! Memory of one process in another: handles that this process gave out, and allocations of others that are open here.
//!
//! The driver names whole allocations, and a process cannot open what it has itself exported. So a handle is looked for
//! among those given out first, and each allocation of another process is opened once, counted, and closed when the last
//! range of it is gone and no copy touches it.
//!
//! Memory that was [mapped](super::mapped) is named in another way, and opened, counted and closed like the rest.
//!
//! Source: `cuIpcGetMemHandle`, `cuIpcOpenMemHandle`, `cuIpcCloseMemHandle`.

use core::ffi::{c_char, c_uint};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
};

use cudarc::driver::sys::CUipcMemHandle;
use pmd_core::accelerator::{AcceleratorError, AcceleratorKind, ShareHandle};

use super::{
    Allocation, Origin, Retired,
    mapped::{self, MappedRange, Name, Shared},
    pointer::Pointer,
};
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
    keeper: Keeper,
}

/// Who keeps it.
#[derive(Clone, Debug)]
enum Keeper {
    This(Weak<Allocation>),
    /// Adopted memory, which someone else frees.
    Another,
    /// The same where it is mapped; whoever shared it lives.
    Mapped(Weak<Shared>),
}

impl Keeper {
    fn lives(&self) -> bool {
        match self {
            Self::This(allocation) => allocation.strong_count() > 0,
            Self::Another => true,
            Self::Mapped(shared) => shared.strong_count() > 0,
        }
    }
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
        let origin = match &self.keeper {
            Keeper::This(allocation) => Origin::Allocated(allocation.upgrade().ok_or(gone)?),
            Keeper::Mapped(shared) if shared.strong_count() == 0 => return Err(gone),
            Keeper::Another | Keeper::Mapped(_) => Origin::Adopted,
        };
        Ok((self.base, origin))
    }
}

/// Names the allocation of a range, and the range in it. `offer` lives as long as the memory may be opened. Inside
/// [`Context::enter`].
pub(super) fn share(
    context: &Arc<Context>,
    address: u64,
    length: u64,
    allocation: Option<&Arc<Allocation>>,
    offer: &Offer,
) -> Result<ShareHandle, AcceleratorError> {
    let pointer = Pointer::of(context, address)?;
    pointer.check(context, address, length)?;
    let this = allocation.map(|allocation| Keeper::This(Arc::downgrade(allocation)));
    let (opaque, local) = if pointer.ipc == 0 {
        let shared = offered(context, address, length, allocation, offer)?;
        let keeper = this.unwrap_or_else(|| Keeper::Mapped(Arc::downgrade(&shared)));
        (shared.name().to_bytes(), Local { base: shared.base(), keeper })
    } else {
        let keeper = this.unwrap_or(Keeper::Another);
        (export(context, address)?, Local { base: pointer.base, keeper })
    };
    let offset = address - local.base;
    let mut exports = lock(&context.exports.0);
    exports.retain(|_, local| local.keeper.lives());
    exports.insert(opaque.clone(), local);
    Ok(ShareHandle { kind: AcceleratorKind::Cuda, device: context.identity.unique, opaque, offset, length })
}

fn export(context: &Context, address: u64) -> Result<Vec<u8>, AcceleratorError> {
    let mut handle = CUipcMemHandle { reserved: [0; BYTES] };
    // SAFETY: the driver writes one handle.
    let exported = unsafe { (context.driver.ipc_export)(&mut handle, address) };
    context.driver.check("cuIpcGetMemHandle", exported)?;
    Ok(handle.reserved.map(c_char::cast_unsigned).to_vec())
}

/// What of mapped memory was given out, once for an allocation or an adopted range.
pub(super) type Offer = Mutex<Option<Arc<Shared>>>;

/// An allocation of this crate's is given out whole, adopted memory as far as the range goes.
fn offered(
    context: &Arc<Context>,
    address: u64,
    length: u64,
    allocation: Option<&Arc<Allocation>>,
    offer: &Offer,
) -> Result<Arc<Shared>, AcceleratorError> {
    let (address, length) = match allocation {
        Some(allocation) => (allocation.address, (address - allocation.address) + length),
        None => (address, length),
    };
    let mut offer = lock(offer);
    if let Some(shared) = &*offer {
        return Ok(Arc::clone(shared));
    }
    let why = "it comes from a pool (cuMemAllocAsync), which CUDA's handles do not name";
    let shared = mapped::share(context, address, length)?.ok_or(unsupported("share memory", why))?;
    Ok(Arc::clone(offer.insert(shared)))
}

/// Allocations of other processes that are open, by their handles: what closes each, and how many use it.
#[derive(Debug, Default)]
pub(crate) struct Imports(Mutex<HashMap<Vec<u8>, (Retired, usize)>>);

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
            Some((range, users)) => {
                *users += 1;
                range.address()
            }
            None => {
                let range = open(context, opaque)?;
                let address = range.address();
                context.track();
                imports.insert(opaque.to_vec(), (range, 1));
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
        if *users == 0
            && let Some((range, _)) = imports.remove(&self.opaque)
        {
            drop(imports);
            self.context.retire(range);
        }
    }
}

fn open(context: &Arc<Context>, opaque: &[u8]) -> Result<Retired, AcceleratorError> {
    match Name::parse(opaque) {
        Some(name) => MappedRange::open(context, name).map(Retired::Mapped),
        None => open_named(context, opaque).map(Retired::Ipc),
    }
}

fn open_named(context: &Context, opaque: &[u8]) -> Result<u64, AcceleratorError> {
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
