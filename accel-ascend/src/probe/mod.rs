//! Asks CANN's ACL runtime how many devices it drives; called through [`crate::probe`].
//!
//! Source: the public AscendCL API (`aclInit`, `aclrtGetDeviceCount`; every function gives an `aclError`).
#![allow(unsafe_code)] // calls the runtime's C functions

use core::ptr;

use acl_sys::{Acl, LoadError, acl, loader::LIBRARY};
use pmd_core::accelerator::PciAddress;

use crate::device::bus_address;

#[cfg(test)]
mod tests;

/// The ACL runtime on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// Visible devices; at least one.
    pub device_count: u32,
    /// Where each is plugged in, by ordinal, where the runtime tells.
    pub pci: Vec<Option<PciAddress>>,
}

/// Why an Ascend device cannot be used on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The runtime's library is not installed or not on the loader's path.
    #[error("Ascend runtime not found: {library} (install CANN and source its set_env.sh)")]
    Absent {
        /// The library that was looked for.
        library: &'static str,
    },
    /// The library has not what this crate calls.
    #[error("Ascend runtime found, it has no {symbol} (install a newer CANN)")]
    Symbol {
        /// The function that is missing.
        symbol: &'static str,
    },
    /// The runtime is installed, and it sees no NPU.
    #[error("Ascend runtime found, no NPU (check npu-smi info, ASCEND_RT_VISIBLE_DEVICES and /dev/davinci*)")]
    NoDevice,
    /// The runtime has devices, and not so many.
    #[error("Ascend runtime found, it has {count} devices, so there is no device {ordinal}")]
    NoSuchDevice {
        /// What was asked for.
        ordinal: u32,
        /// How many there are; the last one is one less.
        count: u32,
    },
    /// A call failed for another reason.
    #[error("Ascend runtime found, {call} failed with {code} (check npu-smi info)")]
    Call {
        /// The function that failed.
        call: &'static str,
        /// Its `aclError`.
        code: i32,
    },
}

/// Loads the ACL runtime, initialises it in this process and asks for the device count.
///
/// It never panics. The runtime stays loaded and initialised: `aclInit` may be called once in a process, so taking
/// it back would spoil it for whoever uses the devices next.
///
/// # Errors
///
/// [`Unavailable`], which says what is missing and what to do.
pub fn probe() -> Result<Runtime, Unavailable> {
    let acl = Acl::load().map_err(|_| Unavailable::Absent { library: LIBRARY })?;
    let device_count = count_devices(acl)?;
    let pci = (0..device_count).map(|ordinal| bus_address(acl, ordinal)).collect();
    Ok(Runtime { device_count, pci })
}

/// Whether the runtime that this process finds is the stand-in of this project's tests ([`acl_sys::loader::is_stand_in`]).
/// Loads the library and asks it nothing: no device is touched.
///
/// # Errors
///
/// [`Unavailable::Absent`].
pub fn is_stand_in() -> Result<bool, Unavailable> {
    acl_sys::loader::is_stand_in().map_err(|_| Unavailable::Absent { library: LIBRARY })
}

/// Initialises the runtime and counts its devices; at least one.
pub(crate) fn count_devices(acl: &Acl) -> Result<u32, Unavailable> {
    // SAFETY: the configuration may be null, which asks for the defaults.
    match unsafe { acl.aclInit(ptr::null()) } {
        // Another part of this process has initialised the runtime, which serves as well.
        Ok(acl::ACL_ERROR_REPEAT_INITIALIZE) => {}
        answer => done("aclInit", answer)?,
    }
    let mut count = 0;
    // SAFETY: the runtime is initialised, and the function writes one u32 through the pointer.
    match unsafe { acl.aclrtGetDeviceCount(&mut count) } {
        Ok(acl::ACL_ERROR_RT_NO_DEVICE) => return Err(Unavailable::NoDevice),
        answer => done("aclrtGetDeviceCount", answer)?,
    }
    if count == 0 { Err(Unavailable::NoDevice) } else { Ok(count) }
}

/// What a function without which nothing works has answered.
pub(crate) fn done(call: &'static str, answer: Result<i32, LoadError>) -> Result<(), Unavailable> {
    match answer {
        Ok(acl::ACL_SUCCESS) => Ok(()),
        Ok(code) => Err(Unavailable::Call { call, code }),
        Err(_) => Err(Unavailable::Symbol { symbol: call }),
    }
}
