//! Asks the CUDA driver what it is and what it drives; called through [`crate::probe`].
//!
//! Source: the CUDA driver API (`cuInit`, `cuDriverGetVersion`, `cuDeviceGetCount`, `cuDeviceGet`,
//! `cuDeviceGetName`, `cuDeviceTotalMem`), bound by cudarc and resolved at run time.
#![allow(unsafe_code)] // calls into the driver's C interface

use core::ffi::{CStr, c_char, c_int, c_uint};
use core::fmt;

use cudarc::driver::sys;
use pmd_core::accelerator::PciAddress;

/// `CUDA_ERROR_NO_DEVICE`: the driver is installed and no GPU answers.
const NO_DEVICE: u32 = 100;

/// Room for a device's name with its closing zero; longer names are cut by the driver.
pub(crate) const NAME_BYTES: usize = 256;

/// The CUDA driver on this machine and the devices that it drives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runtime {
    /// The newest CUDA version that the driver supports.
    pub driver_version: Version,
    /// Every visible device by ordinal; at least one.
    pub devices: Vec<Device>,
}

/// A CUDA version as the driver reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// 12 in 12.8.
    pub major: u32,
    /// 8 in 12.8.
    pub minor: u32,
}

impl Version {
    /// `cuDriverGetVersion` packs a version as `1000 * major + 10 * minor`.
    fn from_packed(packed: u32) -> Self {
        Self { major: packed / 1000, minor: packed % 1000 / 10 }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.major, self.minor)
    }
}

/// One GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// The number by which CUDA selects it, after `CUDA_VISIBLE_DEVICES`.
    pub ordinal: u32,
    /// The product's name, for example "NVIDIA H100 80GB HBM3".
    pub name: String,
    /// Device memory, in bytes.
    pub memory_bytes: u64,
    /// Where it is plugged in, where the driver tells.
    pub pci: Option<PciAddress>,
}

/// Why CUDA cannot be used on this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The driver's library is not installed or not on the loader's path.
    #[error("CUDA driver not found: {library} (install the NVIDIA driver)")]
    Absent {
        /// The library that was looked for.
        library: &'static str,
    },
    /// The driver's library is too old for what this crate calls.
    #[error("CUDA driver has no {symbol} (install a newer NVIDIA driver)")]
    Symbol {
        /// The function that is missing.
        symbol: &'static str,
    },
    /// The driver is installed, and it sees no GPU.
    #[error("CUDA driver found, no GPU (check nvidia-smi, CUDA_VISIBLE_DEVICES and the container's devices)")]
    NoDevice,
    /// A call failed for another reason, or answered nonsense (`code` is then 0).
    #[error("CUDA driver found, {call} failed with {code} (check nvidia-smi)")]
    Call {
        /// The driver function that failed.
        call: &'static str,
        /// Its `CUresult`.
        code: u32,
    },
}

/// Loads the CUDA driver and asks for its version and devices.
///
/// It initialises the driver in this process (`cuInit`, which may be repeated) and creates no context, so it takes
/// no device memory. It never panics; the library stays loaded.
///
/// # Errors
///
/// [`Unavailable`], which says what is missing and what to do.
pub fn probe() -> Result<Runtime, Unavailable> {
    let driver = Driver::load()?;
    // SAFETY: no flags are defined for cuInit, so zero is the only valid value.
    check("cuInit", unsafe { (driver.init)(0) })?;
    let driver_version = Version::from_packed(query("cuDriverGetVersion", driver.version)?);
    let count = query("cuDeviceGetCount", driver.device_count)?;
    if count == 0 {
        return Err(Unavailable::NoDevice);
    }
    let devices = (0..count).map(|ordinal| driver.describe(ordinal)).collect::<Result<_, _>>()?;
    Ok(Runtime { driver_version, devices })
}

/// Whether the driver's library is the stand-in of this project's tests, which has a function more
/// (`fake_device_counts`). Loads the library and asks it nothing: no device is touched.
///
/// # Errors
///
/// [`Unavailable::Absent`].
pub fn is_stand_in() -> Result<bool, Unavailable> {
    require_library()?;
    // SAFETY: the library is present; what is found is not called.
    Ok(unsafe { symbol::<unsafe extern "C" fn()>("fake_device_counts") }.is_ok())
}

/// A driver function that answers through a pointer to an int.
type Query = unsafe extern "C" fn(*mut c_int) -> CallResult;

/// `CUresult` as the number that it is: a newer driver may give a code that no enum of ours lists.
pub(crate) type CallResult = c_uint;

/// The driver functions that a probe needs, resolved once: cudarc's own wrappers panic on a missing symbol.
struct Driver {
    init: unsafe extern "C" fn(c_uint) -> CallResult,
    version: Query,
    device_count: Query,
    device: unsafe extern "C" fn(*mut sys::CUdevice, c_int) -> CallResult,
    device_name: unsafe extern "C" fn(*mut c_char, c_int, sys::CUdevice) -> CallResult,
    device_memory: unsafe extern "C" fn(*mut usize, sys::CUdevice) -> CallResult,
    /// Only the device's place hangs on it.
    device_attribute: Option<unsafe extern "C" fn(*mut c_int, c_uint, sys::CUdevice) -> CallResult>,
}

impl Driver {
    fn load() -> Result<Self, Unavailable> {
        require_library()?;
        // SAFETY: every field's type is the function's prototype in cuda.h, with CUresult as its unsigned integer.
        unsafe {
            Ok(Self {
                init: symbol("cuInit")?,
                version: symbol("cuDriverGetVersion")?,
                device_count: symbol("cuDeviceGetCount")?,
                device: symbol("cuDeviceGet")?,
                device_name: symbol("cuDeviceGetName")?,
                device_memory: symbol("cuDeviceTotalMem_v2")?,
                device_attribute: symbol("cuDeviceGetAttribute").ok(),
            })
        }
    }

    /// Describes the device of this ordinal, which is below the device count, after a successful cuInit.
    fn describe(&self, ordinal: u32) -> Result<Device, Unavailable> {
        let mut device: sys::CUdevice = 0;
        // SAFETY: the driver writes one device handle through the pointer.
        check("cuDeviceGet", unsafe { (self.device)(&mut device, ordinal.cast_signed()) })?;
        let mut name: [c_char; NAME_BYTES] = [0; NAME_BYTES];
        // SAFETY: the driver writes at most the given number of bytes, its closing zero among them.
        check("cuDeviceGetName", unsafe {
            (self.device_name)(name.as_mut_ptr(), NAME_BYTES as c_int, device)
        })?;
        let mut memory_bytes = 0_usize;
        // SAFETY: the handle came from cuDeviceGet, and the driver writes one size_t.
        check("cuDeviceTotalMem", unsafe { (self.device_memory)(&mut memory_bytes, device) })?;
        let pci = pci_address(|attribute| self.attribute(device, attribute));
        Ok(Device { ordinal, name: text(&name), memory_bytes: memory_bytes as u64, pci })
    }

    fn attribute(&self, device: sys::CUdevice, attribute: c_uint) -> Option<c_int> {
        let mut value: c_int = 0;
        // SAFETY: the handle came from cuDeviceGet, and the driver writes one int.
        check("cuDeviceGetAttribute", unsafe { (self.device_attribute?)(&mut value, attribute, device) })
            .ok()?;
        Some(value)
    }
}

/// A device's place, from what the driver answers for its attributes.
pub(crate) fn pci_address(ask: impl Fn(c_uint) -> Option<c_int>) -> Option<PciAddress> {
    let (domain, bus, slot) = (ask(50)?, ask(33)?, ask(34)?);
    let (domain, bus) = (u32::try_from(domain).ok()?, u8::try_from(bus).ok()?);
    // CUDA does not tell the function; GPUs have function 0.
    Some(PciAddress { domain, bus, device: u8::try_from(slot).ok()?, function: 0 })
}

/// Whether the driver's library can be loaded.
pub(crate) fn require_library() -> Result<(), Unavailable> {
    // SAFETY: loading the driver runs its initialisers, which is what a CUDA program does at its start.
    let present = unsafe { sys::is_culib_present() };
    if present { Ok(()) } else { Err(Unavailable::Absent { library: "libcuda.so.1" }) }
}

/// Resolves one driver function.
///
/// # Safety
///
/// The driver's library is present, and `Function` is the function's C prototype.
pub(crate) unsafe fn symbol<Function: Copy>(name: &'static str) -> Result<Function, Unavailable> {
    // SAFETY: the caller has seen that the library is present, so that this finds it and does not panic.
    let library = unsafe { sys::culib() };
    // SAFETY: the caller gives the prototype; the library is never unloaded, so the pointer stays good.
    let function = unsafe { library.get::<Function>(name.as_bytes()) };
    function.map(|function| *function).map_err(|_| Unavailable::Symbol { symbol: name })
}

/// Asks for one int, and takes a negative one as the driver's failure.
fn query(call: &'static str, ask: Query) -> Result<u32, Unavailable> {
    let mut answer: c_int = 0;
    // SAFETY: the function writes one int through the pointer.
    check(call, unsafe { ask(&mut answer) })?;
    u32::try_from(answer).map_err(|_| Unavailable::Call { call, code: 0 })
}

pub(crate) fn check(call: &'static str, result: CallResult) -> Result<(), Unavailable> {
    match result {
        0 => Ok(()),
        NO_DEVICE => Err(Unavailable::NoDevice),
        code => Err(Unavailable::Call { call, code }),
    }
}

pub(crate) fn text(name: &[c_char; NAME_BYTES]) -> String {
    let bytes = name.map(c_char::cast_unsigned);
    CStr::from_bytes_until_nul(&bytes)
        .map_or_else(|_| String::new(), |name| name.to_string_lossy().into_owned())
}
