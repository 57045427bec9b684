//! One device of the runtime: its context, who it is, and what of it is shared by everything that was opened on it.
//!
//! A device is opened once in a process and stays: `aclrtResetDevice` would take it from other libraries too.
#![allow(unsafe_code)] // calls the runtime's C functions

use std::{
    ffi::{CStr, c_char, c_void},
    fmt,
    ptr::{null_mut, without_provenance_mut},
    sync::{Mutex, MutexGuard, PoisonError},
};

use acl_sys::{Acl, acl};
use pmd_core::accelerator::{AcceleratorError, DeviceIdentity, PciAddress};

use crate::{
    call::{KIND, check},
    flag::Words,
    memory::Imports,
    probe::{self, Unavailable},
    retired::Retired,
};

/// A device that was opened; what was opened on it lives in tables beside it.
pub(crate) struct Device {
    pub(crate) acl: &'static Acl,
    pub(crate) identity: DeviceIdentity,
    /// The device's own context, the one that every library in the process uses which makes none.
    context: usize,
    pub(crate) retired: Retired,
    pub(crate) words: Words,
    pub(crate) imports: Imports,
}

/// By ordinal.
static OPEN: Mutex<Vec<&'static Device>> = Mutex::new(Vec::new());

impl Device {
    /// The device of an ordinal.
    pub(crate) fn open(ordinal: u32) -> Result<&'static Self, Unavailable> {
        let mut open = lock(&OPEN);
        if let Some(device) = open.iter().find(|device| device.identity.ordinal == ordinal) {
            return Ok(device);
        }
        let acl = Acl::load().map_err(|_| Unavailable::Absent { library: acl_sys::loader::LIBRARY })?;
        let count = probe::count_devices(acl)?;
        if ordinal >= count {
            return Err(Unavailable::NoSuchDevice { ordinal, count });
        }
        if let Some(symbol) = acl.missing().into_iter().find(|symbol| !OPTIONAL.contains(symbol)) {
            return Err(Unavailable::Symbol { symbol });
        }
        let device: &'static Self = Box::leak(Box::new(Self {
            acl,
            identity: identify(acl, ordinal),
            context: context_of(acl, ordinal)?,
            retired: Retired::default(),
            words: Words::default(),
            imports: Imports::default(),
        }));
        open.push(device);
        Ok(device)
    }

    /// Makes the device's context this thread's until the value is dropped.
    pub(crate) fn enter(&self) -> Result<Entered, AcceleratorError> {
        let previous = current(self.acl);
        if previous != self.context {
            // SAFETY: the context of a device that stays open.
            let answer = unsafe { self.acl.aclrtSetCurrentContext(without_provenance_mut(self.context)) };
            check("aclrtSetCurrentContext", answer)?;
        }
        let restore = Some(previous).filter(|previous| *previous != 0 && *previous != self.context);
        Ok(Entered { acl: self.acl, restore })
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Device").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// What newer releases have, and this crate does without.
const OPTIONAL: &[&str] = &[
    "aclFinalize",
    "aclGetRecentErrMsg",
    "aclrtDeviceGetPCIBusId",
    "aclrtDeviceGetUuid",
    "aclrtGetDevice",
    "aclrtGetPhyDevIdByLogicDevId",
    "aclrtHostRegister",
    "aclrtHostUnregister",
    "aclrtIpcMemClose",
    "aclrtIpcMemGetExportKey",
    "aclrtIpcMemImportByKey",
    "aclrtLaunchHostFunc",
    "aclrtMemGetAddressRange",
    "aclrtMemcpy",
    "aclrtMemset",
    "aclrtPointerGetAttributes",
    "aclrtResetDevice",
    "aclrtSetStreamFailureMode",
    "aclrtSynchronizeDevice",
    "aclrtSynchronizeEvent",
    "aclrtSynchronizeStream",
    "aclrtSynchronizeStreamWithTimeout",
    "aclrtValueWait",
    "aclrtValueWrite",
];

/// The calling thread's context is the device's; on drop it is what it was, if it was any.
#[must_use]
pub(crate) struct Entered {
    acl: &'static Acl,
    restore: Option<usize>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(context) = self.restore {
            // SAFETY: it was this thread's a moment ago. Nobody can be told of a failure.
            let _ = unsafe { self.acl.aclrtSetCurrentContext(without_provenance_mut(context)) };
        }
    }
}

/// This thread's context, 0 if it has none.
fn current(acl: &Acl) -> usize {
    let mut context: *mut c_void = null_mut();
    // SAFETY: a place for a handle.
    match unsafe { acl.aclrtGetCurrentContext(&mut context) } {
        Ok(acl::ACL_SUCCESS) => context.addr(),
        _ => 0,
    }
}

/// The context that `aclrtSetDevice` makes for a device, with the thread's own in place again.
fn context_of(acl: &'static Acl, ordinal: u32) -> Result<usize, Unavailable> {
    let previous = current(acl);
    let _restored = Entered { acl, restore: Some(previous).filter(|previous| *previous != 0) };
    // SAFETY: an ordinal below the count.
    probe::done("aclrtSetDevice", unsafe { acl.aclrtSetDevice(ordinal.cast_signed()) })?;
    let mut context: *mut c_void = null_mut();
    // SAFETY: a place for a handle.
    probe::done("aclrtGetCurrentContext", unsafe { acl.aclrtGetCurrentContext(&mut context) })?;
    Ok(context.addr())
}

fn identify(acl: &Acl, ordinal: u32) -> DeviceIdentity {
    // SAFETY: text of the runtime's that it keeps, or null.
    let chip = unsafe { acl.aclrtGetSocName() }.ok().filter(|name| !name.is_null());
    // SAFETY: as above.
    let name = chip.map(|name| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned());
    let pci = bus_address(acl, ordinal);
    DeviceIdentity {
        kind: KIND,
        ordinal,
        unique: unique(acl, ordinal),
        pci,
        name: name.unwrap_or_else(|| "Ascend".to_owned()),
    }
}

/// The runtime's id, or one of the device's number on this host, which no variable of the environment changes.
fn unique(acl: &Acl, ordinal: u32) -> [u8; 16] {
    let mut uuid = acl::aclrtUuid::default();
    // SAFETY: a place for an id.
    if let Ok(acl::ACL_SUCCESS) = unsafe { acl.aclrtDeviceGetUuid(ordinal.cast_signed(), &mut uuid) } {
        return uuid.bytes.map(c_char::cast_unsigned);
    }
    let mut physical = ordinal.cast_signed();
    // SAFETY: a place for a number, which stays the ordinal where the runtime cannot tell.
    let _ = unsafe { acl.aclrtGetPhyDevIdByLogicDevId(ordinal.cast_signed(), &mut physical) };
    let mut unique = *b"ascend-npu\0\0\0\0\0\0";
    unique[12..].copy_from_slice(&physical.to_le_bytes());
    unique
}

pub(crate) fn bus_address(acl: &Acl, ordinal: u32) -> Option<PciAddress> {
    let mut text = [0 as c_char; 32];
    let length = text.len() as i32;
    // SAFETY: the runtime writes at most so many bytes.
    match unsafe { acl.aclrtDeviceGetPCIBusId(ordinal.cast_signed(), text.as_mut_ptr(), length) } {
        Ok(acl::ACL_SUCCESS) => {
            let bytes = text.map(c_char::cast_unsigned);
            PciAddress::parse(CStr::from_bytes_until_nul(&bytes).ok()?.to_str().ok()?)
        }
        _ => None,
    }
}

/// No code of the application runs under these locks.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
