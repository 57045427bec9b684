//! Asks the HIP runtime what it is and what it drives; called through [`crate::probe`] and by `accelerator`.
//!
//! Source: hip_runtime_api.h (`hipRuntimeGetVersion`, `hipGetDeviceCount`, `hipDeviceGetName`, `hipDeviceTotalMem`; every
//! function gives a `hipError_t`).
#![allow(unsafe_code)] // calls the runtime

use core::ffi::{CStr, c_char, c_int};
use core::fmt;

use hip_sys::LoadError;
use hip_sys::hip::{hipErrorNoDevice, hipSuccess};
use pmd_core::accelerator::{AcceleratorError, PciAddress};

use crate::accelerator::pci_address;
use crate::runtime::{Answer, Hip};

/// Room for a device's name with its closing zero; longer names are cut by the runtime.
const NAME_BYTES: usize = 256;

/// The HIP runtime on this machine and the devices that it drives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// The runtime's own version.
    pub version: Version,
    /// Every visible device by ordinal; at least one.
    pub devices: Vec<Device>,
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The number by which HIP selects it, after `HIP_VISIBLE_DEVICES`.
    pub ordinal: u32,
    /// The product's name, for example "AMD Instinct MI300X".
    pub name: String,
    /// Device memory, in bytes.
    pub memory_bytes: u64,
    /// Where it is plugged in, where the runtime tells.
    pub pci: Option<PciAddress>,
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

/// Why ROCm, or a device of it, cannot be used on this machine.
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
    /// There are devices, and not this one.
    #[error("ROCm device {ordinal} is not there: devices are 0 to {} (check HIP_VISIBLE_DEVICES)", devices - 1)]
    Ordinal {
        /// The device that was asked for.
        ordinal: u32,
        /// How many there are, at least one.
        devices: u32,
    },
    /// A call failed for another reason, or answered nonsense (`code` is then 0).
    #[error("ROCm runtime found, {call} failed with {code} (check rocminfo)")]
    Call {
        /// The function that failed.
        call: &'static str,
        /// Its `hipError_t`.
        code: u32,
    },
}

/// Loads the HIP runtime and asks for its version and devices.
///
/// It never panics; a runtime that was found stays loaded, because its threads may outlive the call.
///
/// # Errors
///
/// [`Unavailable`], which says what is missing and what to do.
pub fn probe() -> Result<Runtime, Unavailable> {
    let library = library()?;
    let version = version(library)?;
    let (hip, count) = count(library, version)?;
    let devices = (0..count).map(|ordinal| describe(hip, ordinal)).collect::<Result<_, _>>()?;
    Ok(Runtime { version, devices })
}

/// Whether the runtime that this process finds is the stand-in of this project's tests
/// ([`hip_sys::Runtime::stand_in`]). Loads the library and asks it nothing: no device is touched.
///
/// # Errors
///
/// [`Unavailable::Absent`].
pub fn is_stand_in() -> Result<bool, Unavailable> {
    library().map(|library| library.stand_in)
}

/// The runtime and how many devices it has: at least one.
pub(crate) fn load() -> Result<(Hip, u32), Unavailable> {
    let library = library()?;
    count(library, version(library)?)
}

fn library() -> Result<&'static hip_sys::Runtime, Unavailable> {
    hip_sys::Runtime::load().map_err(|_| Unavailable::Absent { library: "libamdhip64.so" })
}

fn version(library: &'static hip_sys::Runtime) -> Result<Version, Unavailable> {
    let mut packed: c_int = 0;
    // SAFETY: writes one int.
    let answer = unsafe { library.hip.hipRuntimeGetVersion(&mut packed) };
    number(library, "hipRuntimeGetVersion", answer, packed).map(Version::from_packed)
}

fn count(library: &'static hip_sys::Runtime, version: Version) -> Result<(Hip, u32), Unavailable> {
    let mut count: c_int = 0;
    // SAFETY: writes one int.
    let answer = unsafe { library.hip.hipGetDeviceCount(&mut count) };
    match number(library, "hipGetDeviceCount", answer, count)? {
        0 => Err(Unavailable::NoDevice),
        devices => Ok((Hip::new(library, version.major), devices)),
    }
}

fn describe(hip: Hip, ordinal: u32) -> Result<Device, Unavailable> {
    let device = ordinal.cast_signed();
    let mut bytes = 0_usize;
    // SAFETY: writes one size.
    let answer = unsafe { hip.hipDeviceTotalMem(&mut bytes, device) };
    hip.check("hipDeviceTotalMem", answer)?;
    let (name, pci) = (device_name(hip, device)?, pci_address(hip, device));
    Ok(Device { ordinal, name, memory_bytes: bytes as u64, pci })
}

pub(crate) fn device_name(hip: Hip, device: c_int) -> Result<String, Unavailable> {
    let mut name: [c_char; NAME_BYTES] = [0; NAME_BYTES];
    // SAFETY: writes at most as many bytes as it is told, the closing zero among them.
    let answer = unsafe { hip.hipDeviceGetName(name.as_mut_ptr(), NAME_BYTES as c_int, device) };
    hip.check("hipDeviceGetName", answer)?;
    let bytes = name.map(c_char::cast_unsigned);
    let name = CStr::from_bytes_until_nul(&bytes).map(|name| name.to_string_lossy().into_owned());
    Ok(name.unwrap_or_default())
}

/// The int that a function wrote; a negative one is the runtime's failure.
fn number(
    library: &hip_sys::Runtime,
    call: &'static str,
    answer: Answer,
    written: c_int,
) -> Result<u32, Unavailable> {
    match answer {
        Ok(code) if code == hipSuccess => {
            u32::try_from(written).map_err(|_| Unavailable::Call { call, code: 0 })
        }
        Ok(code) if code == hipErrorNoDevice => Err(Unavailable::NoDevice),
        Ok(code) => Err(Unavailable::Call { call, code }),
        Err(LoadError::SymbolMissing { symbol }) => {
            Err(Unavailable::Symbol { library: library.name.clone(), symbol })
        }
        Err(LoadError::LibraryMissing { .. }) => Err(Unavailable::Absent { library: "libamdhip64.so" }),
    }
}

impl From<AcceleratorError> for Unavailable {
    /// A call that fails while a device is opened.
    fn from(error: AcceleratorError) -> Self {
        match error {
            AcceleratorError::Runtime { function, code, .. } => {
                Self::Call { call: function, code: u32::try_from(code).unwrap_or(0) }
            }
            AcceleratorError::Unsupported { what, .. } => {
                Self::Symbol { library: "libamdhip64.so".to_owned(), symbol: what }
            }
            _ => Self::Call { call: "a function of HIP", code: 0 },
        }
    }
}
