//! What the driver needs of an accelerator: memory that is described, shared and copied, and streams that are followed.
//!
//! # Place in the flow
//! The accelerator crates (`gpu-direct`, `accel-rocm`, `accel-ascend`) implement these traits over their runtime,
//! `pmd-host` over ordinary memory, for tests and for machines without a device. `pmd-host` registers what
//! [`DeviceMemory`] describes, and where no NIC does it the soft HCA moves the bytes with a [`Stream`]; `kv-api` and
//! `af-api` take tensors in device memory and follow the streams that compute them. All hold `Arc<dyn Accelerator>`:
//! which runtime it is, is known to whoever opened it.
//!
//! ```text
//!  application's pointer --> adopt --> DeviceMemory --> description: dma-buf, offset  --> NIC (ibv_reg_dmabuf_mr)
//!  allocate ----------------------------^       \---> share: ShareHandle --> other process: import --> DeviceMemory
//!
//!  stream:  kernel  copy  record ---> Event (asked: query) ---> post          Flag <--- arrived
//! ```
//! | trait | CUDA | HIP | ACL |
//! |---|---|---|---|
//! | [`Accelerator`] | primary context of a device | device | device and its context |
//! | [`DeviceMemory`] | `cuMemAlloc`, `cuIpcOpenMemHandle`, a pointer of another library | `hipMalloc` and so on | `aclrtMalloc` and so on |
//! | [`Stream`] | `CUstream` | `hipStream_t` | `aclrtStream` |
//! | [`Event`] | `cuEventRecord` once | `hipEventRecord` once | `aclrtRecordEvent` once |
//! | [`Flag`] | a word of pinned memory, `cuStreamWaitValue64` | `hipStreamWaitValue64` | `aclrtValueWait` |
//!
//! # What every implementation keeps to
//! - No call waits for the device, except what frees memory that copies still touch. Who waits asks [`Event::query`].
//! - An absent runtime is an error of the crate's `open`, never a panic; a failing one is an [`AcceleratorError`] that names
//!   the runtime's function and code.
//! - The calling thread's current device and context are as they were when a call returns.
//! - What another library freed, or another device owns, is refused where the runtime can tell.

mod copy;
mod error;
#[cfg(test)]
mod tests;
mod word;

use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::{any::Any, fmt};

pub use copy::{BlockCopies, BlockPair, BlockTable, CopyDirection, CopyRange};
pub use error::AcceleratorError;
pub use word::{value_of_word, word_of_value};

use crate::memory::RegionSource;

/// A device with memory and streams of its own. Object safe; shared between threads.
pub trait Accelerator: Send + Sync + fmt::Debug {
    /// Which runtime it is and which device.
    fn identity(&self) -> &DeviceIdentity;

    /// New memory on the device, of at least `length` bytes, aligned to 256 bytes at least. Its content is undefined.
    ///
    /// # Errors
    /// [`AcceleratorError::OutOfMemory`], [`AcceleratorError::Runtime`]; [`AcceleratorError::Range`] for no bytes.
    fn allocate(&self, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError>;

    /// New memory of the host that the device copies from and to without the processor (pinned, page-locked).
    /// [`MemoryKind::Host`](crate::memory::MemoryKind::Host).
    ///
    /// # Errors
    /// As [`Accelerator::allocate`].
    fn allocate_pinned(&self, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError>;

    /// Describes memory that another library allocated on this device, a tensor's for instance. Dropping the value frees
    /// nothing.
    ///
    /// # Errors
    /// [`AcceleratorError::NotDeviceMemory`] for an address that the runtime does not know or that is the host's,
    /// [`AcceleratorError::WrongDevice`], [`AcceleratorError::Managed`] for memory that migrates,
    /// [`AcceleratorError::Range`] where the allocation ends before the range does.
    ///
    /// # Safety
    /// The range stays allocated for as long as the value and everything registered from it lives, and transfers that
    /// touch it are ordered with the kernels that do.
    #[expect(unsafe_code, reason = "the lifetime of another library's memory is the caller's word")]
    unsafe fn adopt(&self, address: u64, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError>;

    /// Opens memory that another process of this host shares. It stays allocated for as long as either lives.
    ///
    /// # Errors
    /// [`AcceleratorError::Foreign`] for a handle of another runtime or device, [`AcceleratorError::Gone`] where the owner
    /// has freed it or ended, [`AcceleratorError::Unsupported`], [`AcceleratorError::Runtime`].
    fn import(&self, handle: &ShareHandle) -> Result<Box<dyn DeviceMemory>, AcceleratorError>;

    /// Page-locks ordinary memory of this process, so that copies to and from it do not wait for the processor. Undone when
    /// the value is dropped.
    ///
    /// # Errors
    /// [`AcceleratorError::Range`], [`AcceleratorError::Unsupported`], [`AcceleratorError::Runtime`].
    ///
    /// # Safety
    /// The range stays mapped for as long as the value lives.
    #[expect(unsafe_code, reason = "the lifetime of the range is the caller's word")]
    unsafe fn pin(&self, address: u64, length: u64) -> Result<Box<dyn Pinned>, AcceleratorError>;

    /// A new stream, which is closed when it is dropped; what is in it then still happens.
    ///
    /// # Errors
    /// [`AcceleratorError::Runtime`].
    fn open_stream(&self) -> Result<Arc<dyn Stream>, AcceleratorError>;

    /// The application's stream, by its native handle: `CUstream`, `hipStream_t`, `aclrtStream`. 0 is the default stream
    /// where the runtime has one. Dropping the value closes nothing.
    ///
    /// # Errors
    /// [`AcceleratorError::UnknownStream`] where the runtime can tell.
    fn stream(&self, native: u64) -> Result<Arc<dyn Stream>, AcceleratorError>;

    /// A new flag of value 0.
    ///
    /// # Errors
    /// [`AcceleratorError::OutOfMemory`], [`AcceleratorError::Unsupported`] where streams cannot wait for a value.
    fn flag(&self) -> Result<Arc<dyn Flag>, AcceleratorError>;

    /// Makes what a NIC has written into device memory visible to work that is started afterwards; does nothing where the
    /// device needs nothing (`CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WRITES_ORDERING`).
    ///
    /// # Errors
    /// [`AcceleratorError::Runtime`].
    fn flush_remote_writes(&self) -> Result<(), AcceleratorError>;
}

/// Memory that an accelerator reaches: allocated, adopted or imported. Dropping it frees, forgets or closes it, after the
/// copies that this crate's streams still make with it.
pub trait DeviceMemory: RegionSource + Send + Sync + fmt::Debug {
    /// The accelerator that it belongs to.
    fn accelerator(&self) -> Arc<dyn Accelerator>;

    /// Why the description of device memory has no descriptor; `None` where it has one or needs none.
    fn without_descriptor(&self) -> Option<&AcceleratorError> {
        None
    }

    /// What another process of this host opens it with.
    ///
    /// # Errors
    /// [`AcceleratorError::Unsupported`] where the runtime cannot share such memory, with the reason.
    fn share(&self) -> Result<ShareHandle, AcceleratorError>;
}

/// Page-locked memory; dropping it unlocks.
pub trait Pinned: Send + Sync + fmt::Debug {}

/// A queue of work on a device; what is put into it happens in order. None of these calls waits for the device.
pub trait Stream: Send + Sync + fmt::Debug {
    /// The runtime's handle, as [`Accelerator::stream`] takes it.
    fn native(&self) -> u64;

    /// An event that is done when everything put into the stream before has been.
    ///
    /// # Errors
    /// [`AcceleratorError`] where the stream takes nothing.
    fn record(&self) -> Result<Arc<dyn Event>, AcceleratorError>;

    /// Holds the stream until an event of the same accelerator is done. If that fails, the stream fails too.
    ///
    /// # Errors
    /// [`AcceleratorError::Foreign`] for an event of another runtime; [`AcceleratorError`] where the stream takes nothing.
    fn wait(&self, event: &Arc<dyn Event>) -> Result<(), AcceleratorError>;

    /// Writes a value into a flag in its turn.
    ///
    /// # Errors
    /// As [`Stream::wait`].
    fn signal(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), AcceleratorError>;

    /// Holds the stream until a flag has at least this value.
    ///
    /// # Errors
    /// As [`Stream::wait`].
    fn wait_value(&self, flag: &Arc<dyn Flag>, value: u64) -> Result<(), AcceleratorError>;

    /// Copies each range in turn or at once, as the device likes. Ranges of host memory that are not pinned may hold the
    /// calling thread while they are copied. An empty list puts nothing into the stream.
    ///
    /// # Errors
    /// [`AcceleratorError::Runtime`]; of the list a beginning may have been put into the stream then.
    ///
    /// # Safety
    /// Each range is allocated on the side that its [`CopyDirection`] says, and stays so until an event recorded behind
    /// is done; nothing else writes what is read, or reads or writes what is written, until then. No Rust reference to
    /// the bytes exists.
    #[expect(unsafe_code, reason = "the device follows plain addresses")]
    unsafe fn copy(&self, copies: &[CopyRange]) -> Result<(), AcceleratorError>;

    /// Copies blocks between two block tables: one launch or one batch for all of them, where the device can.
    ///
    /// # Errors
    /// As [`Stream::copy`]; [`AcceleratorError::Range`] where a block's address would be beyond 2^64.
    ///
    /// # Safety
    /// As [`Stream::copy`], for every block. No block is written twice, and none that is written is also read.
    #[expect(unsafe_code, reason = "the device follows plain addresses")]
    unsafe fn copy_blocks(&self, blocks: &BlockCopies<'_>) -> Result<(), AcceleratorError> {
        /// Ranges in one call, so that nothing is allocated.
        const AT_ONCE: usize = 64;
        let mut batch = [CopyRange::default(); AT_ONCE];
        for pairs in blocks.pairs.chunks(AT_ONCE) {
            for (copy, pair) in batch.iter_mut().zip(pairs) {
                *copy = blocks.copy_of(*pair)?;
            }
            // SAFETY: passed on.
            #[expect(unsafe_code, reason = "passes the caller's promise on")]
            unsafe {
                self.copy(&batch[..pairs.len()])?;
            }
        }
        Ok(())
    }
}

/// One recording in a stream. It is done once and stays so; implementers return native events to a pool on drop.
pub trait Event: Any + Send + Sync + fmt::Debug {
    /// Whether it is done. Does not wait.
    ///
    /// # Errors
    /// [`AcceleratorError::Runtime`] where work in front of it failed, [`AcceleratorError::StreamGone`] where it cannot be
    /// done any more.
    fn query(&self) -> Result<bool, AcceleratorError>;
}

/// A 64-bit word that the host and the accelerator's streams read and write. Values are taken to grow: whoever waits for
/// one goes on at a larger one too.
pub trait Flag: Any + Send + Sync + fmt::Debug {
    /// Where it is, in the host's address space; streams know it by what their implementation maps there.
    fn address(&self) -> u64;

    /// Its value; what the writer did before it wrote is visible.
    fn load(&self) -> u64;

    /// Sets its value, from the host; what the caller did before is visible to whoever sees it.
    fn store(&self, value: u64);
}

/// Whose runtime an accelerator is driven by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum AcceleratorKind {
    /// Ordinary memory and threads: `pmd-host`'s stand-in.
    Cpu,
    /// NVIDIA's CUDA driver.
    Cuda,
    /// AMD's HIP runtime.
    Rocm,
    /// Huawei's ACL runtime.
    Ascend,
}

impl AcceleratorKind {
    /// Its name in options and reports: `cpu`, `cuda`, `rocm`, `ascend`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
            Self::Rocm => "rocm",
            Self::Ascend => "ascend",
        }
    }
}

impl fmt::Display for AcceleratorKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Which device it is, the same in every process of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// Its runtime.
    pub kind: AcceleratorKind,
    /// Its number in this process (`CUDA_VISIBLE_DEVICES` and the like change it).
    pub ordinal: u32,
    /// The runtime's unique id, or what this driver makes of the PCIe address where the runtime has none.
    pub unique: [u8; 16],
    /// Where it is plugged in, where the runtime tells.
    pub pci: Option<PciAddress>,
    /// The maker's name for it.
    pub name: alloc::string::String,
}

/// A PCIe function, as sysfs names it: `0000:3b:00.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PciAddress {
    /// Segment.
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl PciAddress {
    /// Reads what sysfs and the runtimes write: `0000:3b:00.0`, in either case, with a domain of up to 8 digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (domain, rest) = text.split_once(':')?;
        let (bus, rest) = rest.split_once(':')?;
        let (device, function) = rest.split_once('.')?;
        let number = |text: &str, longest: usize| {
            let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
            if digits && text.len() <= longest { u32::from_str_radix(text, 16).ok() } else { None }
        };
        let byte = |text: &str, most: u8| {
            number(text, 2).and_then(|value| u8::try_from(value).ok()).filter(|value| *value <= most)
        };
        Some(Self {
            domain: number(domain, 8)?,
            bus: byte(bus, u8::MAX)?,
            device: byte(device, 31)?,
            function: byte(function, 7)?,
        })
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        write!(formatter, "{domain:04x}:{bus:02x}:{device:02x}.{function:x}")
    }
}

/// Memory of one process as another process of the host names it. Goes over the wire as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShareHandle {
    /// The owner's runtime.
    pub kind: AcceleratorKind,
    /// [`DeviceIdentity::unique`] of the device that holds the bytes.
    pub device: [u8; 16],
    /// What the runtime's IPC function gave for the allocation: at most [`ShareHandle::LONGEST`] bytes.
    pub opaque: Vec<u8>,
    /// Where in the allocation the range begins.
    pub offset: u64,
    /// Bytes of the range.
    pub length: u64,
}

impl ShareHandle {
    /// The most bytes that a runtime's handle has here: CUDA and HIP take 64, ACL 65.
    pub const LONGEST: usize = 128;
}
