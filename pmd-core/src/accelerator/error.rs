//! What can become of a call to an accelerator.

use alloc::string::String;

use thiserror::Error;

use super::{AcceleratorKind, DeviceIdentity};

/// Why an accelerator did not do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AcceleratorError {
    /// A function of the runtime failed. Where it stands for work in a stream, that work was not done.
    #[error("{function} of {kind} failed: {name} ({code})")]
    Runtime {
        /// Whose runtime.
        kind: AcceleratorKind,
        /// The function that reported it.
        function: &'static str,
        /// The runtime's code.
        code: i64,
        /// The runtime's name or text for the code.
        name: String,
    },
    /// The device has no room.
    #[error("{kind} has no room for {wanted} bytes: free some, or take a smaller batch")]
    OutOfMemory {
        /// Whose device.
        kind: AcceleratorKind,
        /// What was asked for.
        wanted: u64,
    },
    /// An address that is no device memory.
    #[error("{address:#x} is no device memory of {kind}: register host memory without an accelerator")]
    NotDeviceMemory {
        /// Who was asked.
        kind: AcceleratorKind,
        /// The address.
        address: u64,
    },
    /// Memory that the runtime moves between host and devices.
    #[error("{address:#x} is managed memory, which migrates: copy it to memory of the device")]
    Managed {
        /// The address.
        address: u64,
    },
    /// Memory of another device.
    #[error("{address:#x} is on device {found}, not on device {wanted}: open that one")]
    WrongDevice {
        /// The address.
        address: u64,
        /// Whose memory it is.
        found: u32,
        /// Who was asked.
        wanted: u32,
    },
    /// An empty range, or one that ends beyond its allocation or the address space.
    #[error("{length} bytes at {address:#x} are no range here ({} follow)", available.unwrap_or(0))]
    Range {
        /// First byte.
        address: u64,
        /// Bytes.
        length: u64,
        /// Bytes that the allocation has from there, where it is known.
        available: Option<u64>,
    },
    /// An event, a flag or a handle of another runtime or another device.
    #[error("it belongs to another accelerator than {} {}", of.kind, of.ordinal)]
    Foreign {
        /// Who was asked.
        of: DeviceIdentity,
    },
    /// What is shared is there no more.
    #[error("the memory that {kind} was asked to open is gone: its owner has freed it or ended")]
    Gone {
        /// Who was asked.
        kind: AcceleratorKind,
    },
    /// No such stream.
    #[error("{kind} has no stream {native:#x}: pass the native handle of one that is open")]
    UnknownStream {
        /// Who was asked.
        kind: AcceleratorKind,
        /// The handle that was passed.
        native: u64,
    },
    /// The stream went before the event was done.
    #[error("the stream was closed before the event was done")]
    StreamGone,
    /// The runtime or the device cannot do it.
    #[error("{kind} cannot {what}: {why}")]
    Unsupported {
        /// Whose runtime.
        kind: AcceleratorKind,
        /// What was asked for, as in "export a dma-buf".
        what: &'static str,
        /// What is missing.
        why: &'static str,
    },
}
