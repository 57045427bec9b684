//! Asks the HIP runtime what it is and how many devices it drives; called through [`crate::probe`].
//!
//! Source: hip_runtime_api.h (`hipRuntimeGetVersion`, `hipGetDeviceCount`; every function gives a `hipError_t`).
#![allow(unsafe_code)] // loads a library and calls its C functions

use core::ffi::{c_int, c_uint};
use core::fmt;

use libloading::Library;

#[cfg(test)]
mod tests;

/// The runtime's names, newest first: the functions used here are the same in all of them.
const LIBRARIES: [&str; 4] = ["libamdhip64.so.7", "libamdhip64.so.6", "libamdhip64.so.5", "libamdhip64.so"];

/// `hipErrorNoDevice`: the runtime is installed and no GPU answers.
const NO_DEVICE: u32 = 100;

/// The HIP runtime on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Runtime {
    /// The runtime's own version.
    pub version: Version,
    /// Visible devices; at least one.
    pub device_count: u32,
}

/// A HIP version as the runtime reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 6 in 6.2.41133.
    pub major: u32,
    /// 2 in 6.2.41133.
    pub minor: u32,
    /// 41133 in 6.2.41133.
    pub patch: u32,
}

impl Version {
    /// hip_version.h packs a version as `major * 10_000_000 + minor * 100_000 + patch`.
    fn from_packed(packed: u32) -> Self {
        Self { major: packed / 10_000_000, minor: packed / 100_000 % 100, patch: packed % 100_000 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// Why ROCm cannot be used on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The runtime's library is not installed or not on the loader's path.
    #[error("ROCm runtime not found: {library} (install ROCm's HIP runtime)")]
    Absent {
        /// The unversioned name of the library that was looked for.
        library: &'static str,
    },
    /// The library has not what this crate calls.
    #[error("ROCm runtime {library} has no {symbol} (install ROCm 5 or newer)")]
    Symbol {
        /// The library that was loaded.
        library: String,
        /// The function that is missing.
        symbol: &'static str,
    },
    /// The runtime is installed, and it sees no GPU.
    #[error("ROCm runtime found, no GPU (check rocminfo, HIP_VISIBLE_DEVICES and access to /dev/kfd)")]
    NoDevice,
    /// A call failed for another reason, or answered nonsense (`code` is then 0).
    #[error("ROCm runtime found, {call} failed with {code} (check rocminfo)")]
    Call {
        /// The function that failed.
        call: &'static str,
        /// Its `hipError_t`.
        code: u32,
    },
}

/// Loads the HIP runtime and asks for its version and device count.
///
/// It never panics; a runtime that was found stays loaded, because its threads may outlive the call.
///
/// # Errors
///
/// [`Unavailable`], which says what is missing and what to do.
pub fn probe() -> Result<Runtime, Unavailable> {
    probe_first_of(&LIBRARIES)
}

/// Probes the first of these libraries that can be loaded.
fn probe_first_of(names: &[&str]) -> Result<Runtime, Unavailable> {
    let hip = Hip::load(names)?;
    let version = Version::from_packed(query("hipRuntimeGetVersion", hip.version)?);
    match query("hipGetDeviceCount", hip.device_count)? {
        0 => Err(Unavailable::NoDevice),
        device_count => Ok(Runtime { version, device_count }),
    }
}

/// A function that answers through a pointer to an int and gives a `hipError_t`, taken as the number that it is.
type Query = unsafe extern "C" fn(*mut c_int) -> c_uint;

/// The functions that a probe needs.
struct Hip {
    version: Query,
    device_count: Query,
}

impl Hip {
    fn load(names: &[&str]) -> Result<Self, Unavailable> {
        let (name, library) = names
            .iter()
            // SAFETY: loading the runtime runs its initialisers, which is what a HIP program does at its start.
            .find_map(|name| unsafe { Library::new(name) }.ok().map(|library| (*name, library)))
            .ok_or(Unavailable::Absent { library: "libamdhip64.so" })?;
        let library: &'static Library = Box::leak(Box::new(library));
        let resolve = |symbol: &'static str| {
            // SAFETY: both functions have this prototype in hip_runtime_api.h, and the library is never unloaded.
            let function = unsafe { library.get::<Query>(symbol.as_bytes()) };
            function
                .map(|function| *function)
                .map_err(|_| Unavailable::Symbol { library: name.to_owned(), symbol })
        };
        Ok(Self { version: resolve("hipRuntimeGetVersion")?, device_count: resolve("hipGetDeviceCount")? })
    }
}

/// Asks for one int, and takes a negative one as the runtime's failure.
fn query(call: &'static str, ask: Query) -> Result<u32, Unavailable> {
    let mut answer: c_int = 0;
    // SAFETY: the function writes one int through the pointer.
    match unsafe { ask(&mut answer) } {
        0 => u32::try_from(answer).map_err(|_| Unavailable::Call { call, code: 0 }),
        NO_DEVICE => Err(Unavailable::NoDevice),
        code => Err(Unavailable::Call { call, code }),
    }
}
