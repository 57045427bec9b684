//! The device as `pmd-host`, `kv-api` and `af-api` hold it.
#![allow(unsafe_code)] // calls the runtime, passes callers' promises on

use core::ffi::{c_char, c_int};
use core::ptr::NonNull;
use std::ffi::CStr;
use std::fmt;
use std::sync::{Arc, Mutex};

use hip_sys::hip::{self, hipDeviceAttribute_t};
use pmd_core::accelerator::{
    Accelerator, AcceleratorError, AcceleratorKind, DeviceIdentity, DeviceMemory, Flag, PciAddress, Pinned,
    ShareHandle, Stream,
};

use crate::event::NativeEvent;
use crate::flag::RocmFlag;
use crate::import::Imports;
use crate::memory::{self, Memory};
use crate::outstanding::Outstanding;
use crate::pinned::Registered;
use crate::probe::{self, Unavailable};
use crate::runtime::{Current, Hip};
use crate::stream::RocmStream;

/// One device under the HIP runtime. Cloning it costs a counter; all clones are the same accelerator.
///
/// ```
/// use pmd_core::accelerator::Accelerator;
///
/// match accel_rocm::RocmAccelerator::open(0) {
///     Ok(device) => println!("{}", device.identity().name),
///     Err(unavailable) => println!("{unavailable}"),
/// }
/// ```
#[derive(Clone, Debug)]
pub struct RocmAccelerator {
    shared: Arc<Shared>,
}

/// What an accelerator and everything made with it have in common.
pub(crate) struct Shared {
    pub(crate) hip: Hip,
    pub(crate) identity: DeviceIdentity,
    /// The register that makes writes over PCIe visible, where the device has one.
    flush: Option<Register>,
    /// Events that were used and may be again.
    pub(crate) events: Mutex<Vec<NativeEvent>>,
    pub(crate) imports: Imports,
    pub(crate) outstanding: Outstanding,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // What copies may still touch stays open: nobody can close it any more.
        self.imports.reap(self);
    }
}

/// `HDP_MEM_COHERENCY_FLUSH_CNTL`, mapped by the runtime for the life of the process.
struct Register(NonNull<u32>);

// SAFETY: a store of four bytes, of one value, whoever does it.
unsafe impl Send for Register {}
// SAFETY: as above.
unsafe impl Sync for Register {}

impl RocmAccelerator {
    /// Opens a device by its number, as `HIP_VISIBLE_DEVICES` leaves it. It takes no memory of the device.
    ///
    /// # Errors
    /// [`Unavailable`]: no runtime, no device, not this one.
    pub fn open(ordinal: u32) -> Result<Self, Unavailable> {
        let (hip, devices) = probe::load()?;
        if ordinal >= devices {
            return Err(Unavailable::Ordinal { ordinal, devices });
        }
        let identity = identify(hip, ordinal)?;
        let device = ordinal.cast_signed();
        Ok(Self {
            shared: Arc::new(Shared {
                hip,
                identity,
                flush: flush_register(hip, device),
                events: Mutex::default(),
                imports: Imports::default(),
                outstanding: Outstanding::new(hip, device),
            }),
        })
    }

    pub(crate) fn of(shared: &Arc<Shared>) -> Arc<dyn Accelerator> {
        Arc::new(Self { shared: Arc::clone(shared) })
    }
}

impl Shared {
    pub(crate) fn device(&self) -> c_int {
        self.identity.ordinal.cast_signed()
    }

    /// Makes this the thread's device for a while.
    pub(crate) fn current(&self) -> Result<Current, AcceleratorError> {
        self.hip.on_device(self.device())
    }

    pub(crate) fn foreign(&self) -> AcceleratorError {
        AcceleratorError::Foreign { of: self.identity.clone() }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").field("hip", &self.hip).field("identity", &self.identity).finish()
    }
}

impl Accelerator for RocmAccelerator {
    fn identity(&self) -> &DeviceIdentity {
        &self.shared.identity
    }

    fn allocate(&self, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        Memory::allocate(&self.shared, length).map(boxed)
    }

    fn allocate_pinned(&self, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        Memory::allocate_pinned(&self.shared, length).map(boxed)
    }

    unsafe fn adopt(&self, address: u64, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        // SAFETY: the caller's promise is the same.
        unsafe { Memory::adopt(&self.shared, address, length) }.map(boxed)
    }

    fn import(&self, handle: &ShareHandle) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        Memory::import(&self.shared, handle).map(boxed)
    }

    unsafe fn pin(&self, address: u64, length: u64) -> Result<Box<dyn Pinned>, AcceleratorError> {
        memory::check_range(address, length)?;
        // SAFETY: the caller's promise is the same.
        unsafe { Registered::new(&self.shared, address, length) }
            .map(|registered| Box::new(registered) as Box<dyn Pinned>)
    }

    fn open_stream(&self) -> Result<Arc<dyn Stream>, AcceleratorError> {
        RocmStream::open(&self.shared).map(|stream| Arc::new(stream) as Arc<dyn Stream>)
    }

    fn stream(&self, native: u64) -> Result<Arc<dyn Stream>, AcceleratorError> {
        RocmStream::of(&self.shared, native).map(|stream| Arc::new(stream) as Arc<dyn Stream>)
    }

    fn flag(&self) -> Result<Arc<dyn Flag>, AcceleratorError> {
        RocmFlag::new(&self.shared).map(|flag| Arc::new(flag) as Arc<dyn Flag>)
    }

    fn flush_remote_writes(&self) -> Result<(), AcceleratorError> {
        if let Some(Register(register)) = &self.shared.flush {
            // SAFETY: the runtime mapped the register for this process and keeps it so.
            unsafe { register.write_volatile(1) };
        }
        Ok(())
    }
}

fn boxed(memory: Memory) -> Box<dyn DeviceMemory> {
    Box::new(memory)
}

fn identify(hip: Hip, ordinal: u32) -> Result<DeviceIdentity, Unavailable> {
    let device = ordinal.cast_signed();
    let pci = pci_address(hip, device);
    let unique = uuid(hip, device).or_else(|| pci.map(unique_of)).unwrap_or_else(|| {
        let mut unique = *b"ordinal:\0\0\0\0\0\0\0\0";
        unique[8..12].copy_from_slice(&ordinal.to_be_bytes());
        unique
    });
    Ok(DeviceIdentity {
        kind: AcceleratorKind::Rocm,
        ordinal,
        unique,
        pci,
        name: probe::device_name(hip, device)?,
    })
}

/// `hipDeviceGetUuid`, where the device has one: the runtime gives nothing or `XX` for those that have none.
fn uuid(hip: Hip, device: c_int) -> Option<[u8; 16]> {
    let mut uuid = hip::hipUUID::default();
    // SAFETY: writes 16 bytes.
    hip.check("hipDeviceGetUuid", unsafe { hip.hipDeviceGetUuid(&mut uuid, device) }).ok()?;
    let unique = uuid.bytes.map(c_char::cast_unsigned);
    (unique != [0; 16] && !unique.starts_with(b"XX")).then_some(unique)
}

fn unique_of(pci: PciAddress) -> [u8; 16] {
    let mut unique = *b"pci:\0\0\0\0\0\0\0\0\0\0\0\0";
    unique[4..8].copy_from_slice(&pci.domain.to_be_bytes());
    unique[8..11].copy_from_slice(&[pci.bus, pci.device, pci.function]);
    unique
}

pub(crate) fn pci_address(hip: Hip, device: c_int) -> Option<PciAddress> {
    /// `0000:3b:00.0`, with room for longer domains.
    const ROOM: usize = 32;
    let mut text: [c_char; ROOM] = [0; ROOM];
    // SAFETY: writes at most as many bytes as it is told.
    let answer = unsafe { hip.hipDeviceGetPCIBusId(text.as_mut_ptr(), ROOM as c_int, device) };
    hip.check("hipDeviceGetPCIBusId", answer).ok()?;
    let bytes = text.map(c_char::cast_unsigned);
    PciAddress::parse(CStr::from_bytes_until_nul(&bytes).ok()?.to_str().ok()?)
}

/// The runtime gives a pointer for this attribute, where others give an int.
fn flush_register(hip: Hip, device: c_int) -> Option<Register> {
    const ATTRIBUTE: hipDeviceAttribute_t = hip::hipDeviceAttributeHdpMemFlushCntl;
    let mut register: *mut u32 = core::ptr::null_mut();
    // SAFETY: for this attribute a pointer is written, for which there is room.
    let answer = unsafe { hip.hipDeviceGetAttribute((&raw mut register).cast(), ATTRIBUTE, device) };
    hip.check("hipDeviceGetAttribute", answer).ok()?;
    NonNull::new(register).filter(|register| register.is_aligned()).map(Register)
}

#[cfg(test)]
mod tests {
    use super::{PciAddress, unique_of};

    #[test]
    fn a_device_without_an_id_is_known_by_its_place() {
        let address = PciAddress { domain: 1, bus: 0xc3, device: 0x1f, function: 7 };
        assert_eq!(&unique_of(address), b"pci:\0\0\0\x01\xc3\x1f\x07\0\0\0\0\0");
    }
}
