//! Asks CANN's ACL runtime how many devices it drives; called through [`crate::probe`].
//!
//! Source: the public AscendCL API (`aclInit`, `aclrtGetDeviceCount`; every function gives an `aclError`).
#![allow(unsafe_code)] // loads a library and calls its C functions

use core::ffi::{c_char, c_int};
use core::ptr;

use libloading::{Library, Symbol};

#[cfg(test)]
mod tests;

/// The runtime's only name.
const LIBRARY: &str = "libascendcl.so";

/// `ACL_ERROR_REPEAT_INITIALIZE`: another part of this process has initialised the runtime, which serves as well.
const ALREADY_INITIALISED: i32 = 100_002;

/// The ACL runtime on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime {
    /// Visible devices; at least one.
    pub device_count: u32,
}

/// Why Ascend devices cannot be used on this machine.
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
    probe_library(LIBRARY)
}

fn probe_library(name: &str) -> Result<Runtime, Unavailable> {
    let acl = Acl::load(name)?;
    // SAFETY: the configuration may be null, which asks for the defaults.
    match unsafe { (acl.init)(ptr::null()) } {
        0 | ALREADY_INITIALISED => {}
        code => return Err(Unavailable::Call { call: "aclInit", code }),
    }
    let mut device_count = 0;
    // SAFETY: the runtime is initialised, and the function writes one u32 through the pointer.
    match unsafe { (acl.device_count)(&mut device_count) } {
        0 if device_count == 0 => Err(Unavailable::NoDevice),
        0 => Ok(Runtime { device_count }),
        code => Err(Unavailable::Call { call: "aclrtGetDeviceCount", code }),
    }
}

/// `aclInit(const char *configuration)`.
type Initialise = unsafe extern "C" fn(*const c_char) -> c_int;

/// `aclrtGetDeviceCount(uint32_t *count)`.
type CountDevices = unsafe extern "C" fn(*mut u32) -> c_int;

/// The functions that a probe needs.
struct Acl {
    init: Initialise,
    device_count: CountDevices,
}

impl Acl {
    fn load(name: &str) -> Result<Self, Unavailable> {
        // SAFETY: loading the runtime runs its initialisers, which is what an Ascend program does at its start.
        let library = unsafe { Library::new(name) }.map_err(|_| Unavailable::Absent { library: LIBRARY })?;
        let library: &'static Library = Box::leak(Box::new(library));
        // SAFETY: the type is the function's prototype, and the library is never unloaded.
        let init: Result<Symbol<'_, Initialise>, _> = unsafe { library.get(b"aclInit") };
        // SAFETY: as above.
        let device_count: Result<Symbol<'_, CountDevices>, _> =
            unsafe { library.get(b"aclrtGetDeviceCount") };
        Ok(Self {
            init: *init.map_err(|_| Unavailable::Symbol { symbol: "aclInit" })?,
            device_count: *device_count.map_err(|_| Unavailable::Symbol { symbol: "aclrtGetDeviceCount" })?,
        })
    }
}
