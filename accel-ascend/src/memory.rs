//! Memory of the device, of other processes and of the host, as values that are dropped once.
#![allow(unsafe_code)] // calls the runtime's C functions

use std::{
    ffi::c_void,
    ptr::null_mut,
    sync::{Arc, Mutex},
};

use acl_sys::acl;
use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, DeviceMemory, Pinned, ShareHandle},
    memory::{MemoryKind, RegionDescription, RegionSource},
};

use crate::{
    accelerator::AscendAccelerator,
    call::{KIND, check_optional, check_room},
    device::{Device, lock},
    retired::{Key, Thing, handle},
};

/// What [`Accelerator::allocate`] promises; `aclrtMalloc` promises less.
const ALIGNMENT: usize = 256;
/// What `aclrtHostRegister` takes.
const PAGE: u64 = 4096;
const EMPTY_KEY: Key = [0; acl::ACL_RT_IPC_KEY_LENGTH as usize];

/// A range that the device reaches.
#[derive(Debug)]
pub(crate) struct AscendMemory {
    device: &'static Device,
    address: u64,
    length: u64,
    origin: Origin,
    /// The key of the allocation, once it has been shared.
    key: Mutex<Option<Key>>,
}

/// Whose memory it is.
#[derive(Debug)]
enum Origin {
    /// Of `aclrtMalloc`, which gave `base` for so many bytes.
    Allocated {
        base: usize,
        whole: u64,
    },
    Pinned,
    /// Of another library: its allocation, where the runtime tells.
    Adopted {
        base: u64,
        whole: u64,
    },
    Imported(ShareHandle),
}

impl AscendMemory {
    pub(crate) fn allocate(device: &'static Device, length: u64) -> Result<Self, AcceleratorError> {
        let _entered = device.enter()?;
        device.sweep();
        let (mut base, mut whole) = (malloc(device, length, length)?, length);
        if base % ALIGNMENT != 0 {
            device.retire(Thing::Memory { base, key: None });
            whole = length.saturating_add(ALIGNMENT as u64);
            base = malloc(device, whole, length)?;
        }
        let address = base.next_multiple_of(ALIGNMENT) as u64;
        Ok(Self::new(device, address, length, Origin::Allocated { base, whole }))
    }

    pub(crate) fn allocate_pinned(device: &'static Device, length: u64) -> Result<Self, AcceleratorError> {
        let _entered = device.enter()?;
        device.sweep();
        let mut base: *mut c_void = null_mut();
        // SAFETY: a place for an address.
        let answer = unsafe { device.acl.aclrtMallocHost(&mut base, size(length, length)?) };
        check_room("aclrtMallocHost", length, answer)?;
        Ok(Self::new(device, base.addr() as u64, length, Origin::Pinned))
    }

    /// Memory of another library's, as far as the runtime can tell.
    pub(crate) fn adopt(
        device: &'static Device,
        address: u64,
        length: u64,
    ) -> Result<Self, AcceleratorError> {
        let range = |available| AcceleratorError::Range { address, length, available };
        let last = length.checked_sub(1).and_then(|last| address.checked_add(last)).ok_or(range(None))?;
        let _entered = device.enter()?;
        require_device_memory(device, address)?;
        let (base, whole) = match allocation(device, address) {
            Some((base, whole)) => {
                let available = base.saturating_add(whole).saturating_sub(address);
                if length > available {
                    return Err(range(Some(available)));
                }
                (base, whole)
            }
            None => {
                require_device_memory(device, last).map_err(|_| range(None))?;
                (address, length)
            }
        };
        Ok(Self::new(device, address, length, Origin::Adopted { base, whole }))
    }

    pub(crate) fn import(device: &'static Device, shared: &ShareHandle) -> Result<Self, AcceleratorError> {
        if shared.kind != KIND || shared.device != device.identity.unique {
            return Err(AcceleratorError::Foreign { of: device.identity.clone() });
        }
        let key = key_of(&shared.opaque).ok_or(AcceleratorError::Gone { kind: KIND })?;
        let _entered = device.enter()?;
        device.sweep();
        let base = device.imports.open(device, key)?;
        let (offset, length) = (shared.offset, shared.length);
        let range = |available| AcceleratorError::Range { address: base, length, available };
        let address = base.checked_add(offset).filter(|address| address.checked_add(length).is_some());
        let room = allocation(device, base).map(|(_, whole)| whole.saturating_sub(offset));
        let fits = length > 0 && room.is_none_or(|room| length <= room);
        match address.filter(|_| fits) {
            Some(address) => Ok(Self::new(device, address, length, Origin::Imported(shared.clone()))),
            None => {
                device.retire(Thing::Import(key));
                Err(range(room))
            }
        }
    }

    fn new(device: &'static Device, address: u64, length: u64, origin: Origin) -> Self {
        Self { device, address, length, origin, key: Mutex::new(None) }
    }

    /// The key under which other processes open an allocation.
    fn export(&self, base: u64, whole: u64) -> Result<ShareHandle, AcceleratorError> {
        let mut known = lock(&self.key);
        let key = match *known {
            Some(key) => key,
            None => *known.insert(export(self.device, base, whole)?),
        };
        let end = key.iter().position(|byte| *byte == 0).unwrap_or(key.len());
        Ok(ShareHandle {
            kind: KIND,
            device: self.device.identity.unique,
            opaque: key[..end].to_vec(),
            offset: self.address - base,
            length: self.length,
        })
    }
}

// SAFETY: the range stays allocated until the value is dropped; adopted memory on the word of whoever adopted it. No Rust
// reference to the bytes is ever made here.
unsafe impl RegionSource for AscendMemory {
    fn description(&self) -> RegionDescription {
        let kind = if matches!(self.origin, Origin::Pinned) { MemoryKind::Host } else { MemoryKind::Device };
        RegionDescription { address: self.address, length: self.length, kind, descriptor: None }
    }
}

impl DeviceMemory for AscendMemory {
    fn accelerator(&self) -> Arc<dyn Accelerator> {
        Arc::new(AscendAccelerator::of(self.device))
    }

    fn without_descriptor(&self) -> Option<&AcceleratorError> {
        const REASON: AcceleratorError = AcceleratorError::Unsupported {
            kind: KIND,
            what: "export a dma-buf",
            why: "the runtime has no function for it",
        };
        (!matches!(self.origin, Origin::Pinned)).then_some(const { &REASON })
    }

    fn share(&self) -> Result<ShareHandle, AcceleratorError> {
        match &self.origin {
            Origin::Allocated { base, whole } => self.export(*base as u64, *whole),
            Origin::Adopted { base, whole } => self.export(*base, *whole),
            // Whoever has the owner's key may open it.
            Origin::Imported(shared) => Ok(shared.clone()),
            Origin::Pinned => Err(AcceleratorError::Unsupported {
                kind: KIND,
                what: "share pinned memory of the host",
                why: "IPC keys are for device memory; use memory that both processes map",
            }),
        }
    }
}

impl Drop for AscendMemory {
    fn drop(&mut self) {
        let thing = match &self.origin {
            Origin::Allocated { base, .. } => Thing::Memory { base: *base, key: *lock(&self.key) },
            Origin::Pinned => Thing::Pinned { base: self.address as usize },
            Origin::Imported(shared) => match key_of(&shared.opaque) {
                Some(key) => Thing::Import(key),
                None => return,
            },
            Origin::Adopted { .. } => return,
        };
        // Without a context nothing can be freed.
        if let Ok(_entered) = self.device.enter() {
            self.device.retire(thing);
        }
    }
}

/// Memory of the host that was registered.
#[derive(Debug)]
pub(crate) struct AscendPinned {
    device: &'static Device,
    base: usize,
}

impl AscendPinned {
    /// # Safety
    /// The range stays mapped for as long as the value lives.
    pub(crate) unsafe fn register(
        device: &'static Device,
        address: u64,
        length: u64,
    ) -> Result<Self, AcceleratorError> {
        let range = AcceleratorError::Range { address, length, available: None };
        let end = address.checked_add(length).and_then(|end| end.checked_next_multiple_of(PAGE));
        let base = address - address % PAGE;
        let (Some(end), true) = (end, length > 0 && address > 0) else { return Err(range) };
        let _entered = device.enter()?;
        let mut mapped: *mut c_void = null_mut();
        // SAFETY: whole pages around a range that the caller promises to keep mapped, and a place for an address.
        let answer = unsafe {
            let base = handle(base as usize);
            device.acl.aclrtHostRegister(
                base,
                end - base.addr() as u64,
                acl::ACL_HOST_REGISTER_MAPPED,
                &mut mapped,
            )
        };
        check_optional("aclrtHostRegister", "pin memory", answer)?;
        Ok(Self { device, base: base as usize })
    }
}

impl Pinned for AscendPinned {}

impl Drop for AscendPinned {
    fn drop(&mut self) {
        if let Ok(_entered) = self.device.enter() {
            self.device.retire(Thing::Registration { base: self.base });
        }
    }
}

/// Keys that were opened in this process. The runtime opens and closes a key once in a process, so its users are counted.
#[derive(Debug, Default)]
pub(crate) struct Imports(Mutex<Vec<Import>>);

#[derive(Debug)]
struct Import {
    key: Key,
    base: u64,
    users: usize,
}

impl Imports {
    /// First byte of the owner's allocation here.
    fn open(&self, device: &Device, key: Key) -> Result<u64, AcceleratorError> {
        let mut imports = lock(&self.0);
        if let Some(import) = imports.iter_mut().find(|import| import.key == key) {
            import.users += 1;
            return Ok(import.base);
        }
        let mut base: *mut c_void = null_mut();
        let flags = acl::ACL_RT_IPC_MEM_IMPORT_FLAG_DEFAULT.into();
        // SAFETY: a text that ends with a zero, and a place for an address.
        let answer = unsafe { device.acl.aclrtIpcMemImportByKey(&mut base, key.as_ptr().cast(), flags) };
        if let Ok(acl::ACL_ERROR_RT_PARAM_INVALID | acl::ACL_ERROR_INVALID_PARAM) = answer {
            return Err(AcceleratorError::Gone { kind: KIND });
        }
        check_optional("aclrtIpcMemImportByKey", "open another process's memory", answer)?;
        let base = base.addr() as u64;
        imports.push(Import { key, base, users: 1 });
        Ok(base)
    }

    /// One user less.
    pub(crate) fn close(&self, device: &Device, key: &Key) {
        let mut imports = lock(&self.0);
        let Some(place) = imports.iter().position(|import| import.key == *key) else { return };
        imports[place].users -= 1;
        if imports[place].users == 0 {
            imports.swap_remove(place);
            // SAFETY: a text that ends with a zero. Nobody can be told of a failure.
            let _ = unsafe { device.acl.aclrtIpcMemClose(key.as_ptr().cast()) };
        }
    }
}

fn export(device: &Device, base: u64, whole: u64) -> Result<Key, AcceleratorError> {
    let _entered = device.enter()?;
    let mut key = EMPTY_KEY;
    let flags = acl::ACL_RT_IPC_MEM_EXPORT_FLAG_DISABLE_PID_VALIDATION.into();
    // SAFETY: an allocation of the device's that is there, and a place for a key.
    let answer = unsafe {
        let base = handle(base as usize);
        device.acl.aclrtIpcMemGetExportKey(base, whole as usize, key.as_mut_ptr().cast(), key.len(), flags)
    };
    check_optional("aclrtIpcMemGetExportKey", "share memory", answer)?;
    Ok(key)
}

/// A key as the runtime reads it; none if it is longer than any, or has a zero inside.
fn key_of(opaque: &[u8]) -> Option<Key> {
    let mut key = EMPTY_KEY;
    let fits = !opaque.is_empty() && opaque.len() < key.len() && !opaque.contains(&0);
    fits.then(|| {
        key[..opaque.len()].copy_from_slice(opaque);
        key
    })
}

/// Fails for what the runtime knows to be no memory of this device.
fn require_device_memory(device: &Device, address: u64) -> Result<(), AcceleratorError> {
    let mut found = acl::aclrtPtrAttributes::default();
    // SAFETY: an address that is looked up, and a place for what is known of it.
    let answer = unsafe { device.acl.aclrtPointerGetAttributes(handle(address as usize), &mut found) };
    let wanted = device.identity.ordinal;
    match (answer, found.location.type_) {
        // An old runtime cannot tell.
        (Err(_), _) | (Ok(acl::ACL_ERROR_RT_FEATURE_NOT_SUPPORT), _) => Ok(()),
        (Ok(acl::ACL_SUCCESS), acl::ACL_MEM_LOCATION_TYPE_DEVICE) if found.location.id == wanted => Ok(()),
        (Ok(acl::ACL_SUCCESS), acl::ACL_MEM_LOCATION_TYPE_DEVICE) => {
            Err(AcceleratorError::WrongDevice { address, found: found.location.id, wanted })
        }
        (Ok(acl::ACL_SUCCESS), acl::ACL_MEM_LOCATION_TYPE_MANAGED) => {
            Err(AcceleratorError::Managed { address })
        }
        _ => Err(AcceleratorError::NotDeviceMemory { kind: KIND, address }),
    }
}

/// Where the allocation of an address begins and how long it is, where the runtime tells.
fn allocation(device: &Device, address: u64) -> Option<(u64, u64)> {
    let (mut base, mut whole): (*mut c_void, usize) = (null_mut(), 0);
    // SAFETY: an address that is looked up, and places for a range.
    match unsafe { device.acl.aclrtMemGetAddressRange(handle(address as usize), &mut base, &mut whole) } {
        Ok(acl::ACL_SUCCESS) => Some((base.addr() as u64, whole as u64)),
        _ => None,
    }
}

/// Device memory of `length` bytes for a caller who `wanted` so many.
fn malloc(device: &Device, length: u64, wanted: u64) -> Result<usize, AcceleratorError> {
    let mut base: *mut c_void = null_mut();
    // SAFETY: a place for an address.
    let answer =
        unsafe { device.acl.aclrtMalloc(&mut base, size(length, wanted)?, acl::ACL_MEM_MALLOC_HUGE_FIRST) };
    check_room("aclrtMalloc", wanted, answer)?;
    Ok(base.addr())
}

fn size(length: u64, wanted: u64) -> Result<usize, AcceleratorError> {
    if wanted == 0 {
        return Err(AcceleratorError::Range { address: 0, length: wanted, available: None });
    }
    usize::try_from(length).map_err(|_| AcceleratorError::OutOfMemory { kind: KIND, wanted })
}
