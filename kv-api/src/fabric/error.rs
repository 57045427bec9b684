//! Why a fabric could not do what it was asked.

use pmd_core::accelerator::AcceleratorError;
use pmd_host::{
    backend::Transport,
    control::RequestError,
    endpoint::{EndpointError, RegisterError},
    nic,
    soft::{self, AllocateError},
    transfer::SubmitError,
};
use thiserror::Error;

/// Why nothing was done. Outcomes of what was posted are
/// [`TransferError`](pmd_host::transfer::TransferError)s.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FabricError {
    /// Devices, listening, connecting.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A peer was asked for its segments in vain.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// Memory was not allocated.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// Memory was not registered.
    #[error(transparent)]
    Register(RegisterError),
    /// No device of this process reaches the memory of an accelerator: the NIC has no way to it, and where peers were to have
    /// it, none to let them in.
    #[error(transparent)]
    Unreachable(RegisterError),
    /// An accelerator does not take the memory for its own, has no room, or failed.
    #[error(transparent)]
    Accelerator(#[from] AcceleratorError),
    /// No accelerator of this number.
    #[error(
        "this process does not drive device {device}: name it among the accelerators that it is opened with"
    )]
    NoDevice {
        /// Number of the device.
        device: u32,
    },
    /// The route did not take the transfer.
    #[error(transparent)]
    Submit(#[from] SubmitError),
    /// A descriptor's memory in this process is in no registered segment.
    #[error(
        "descriptor {index}: {length} bytes at {address:#x} of this process are in no registered segment: register them"
    )]
    Local {
        /// Which descriptor.
        index: usize,
        /// Its local address.
        address: u64,
        /// Its bytes.
        length: u64,
    },
    /// A descriptor's memory at the peer is in no segment that the peer has registered.
    #[error(
        "descriptor {index}: {length} bytes at {address:#x} of the peer are in none of its registered segments that the \
         transport between you reaches"
    )]
    Remote {
        /// Which descriptor.
        index: usize,
        /// Its remote address.
        address: u64,
        /// Its bytes.
        length: u64,
    },
    /// A segment that is not reached over the peer's transport.
    #[error("descriptor {index}: the segment at {address:#x} was not registered for transport {}", transport.name())]
    NotRegistered {
        /// Which descriptor.
        index: usize,
        /// First byte of the segment.
        address: u64,
        /// The peer's transport.
        transport: Transport,
    },
    /// The peer's answer does not parse.
    #[error("the peer's answer of {length} bytes does not parse: do both sides run the same release?")]
    Malformed {
        /// Bytes of the answer.
        length: usize,
    },
}

/// What is wrong about device memory, as interfaces with statuses tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeviceFault {
    /// The address, the range or the device: foreign, freed or managed memory, that of another device, no such device.
    Argument,
    /// The device has no room.
    NoSpace,
    /// The runtime cannot do it, or this process was opened without the accelerator.
    Unsupported,
    /// The runtime failed.
    Failed,
}

impl From<RegisterError> for FabricError {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Unreachable { .. }
            | RegisterError::Nic(
                nic::RegisterError::Unreachable { .. } | nic::RegisterError::NoDescriptor { .. },
            ) => Self::Unreachable(error),
            error => Self::Register(error),
        }
    }
}

impl FabricError {
    /// What is wrong about device memory; `None` where the error is about something else.
    #[must_use]
    pub const fn device_fault(&self) -> Option<DeviceFault> {
        match self {
            Self::NoDevice { .. } => Some(DeviceFault::Argument),
            Self::Accelerator(error) => Some(DeviceFault::of(error)),
            Self::Register(error) | Self::Unreachable(error) => DeviceFault::of_registering(error),
            _ => None,
        }
    }
}

impl DeviceFault {
    /// As an accelerator tells it.
    #[must_use]
    pub const fn of(error: &AcceleratorError) -> Self {
        match error {
            AcceleratorError::NotDeviceMemory { .. }
            | AcceleratorError::Managed { .. }
            | AcceleratorError::WrongDevice { .. }
            | AcceleratorError::Range { .. }
            | AcceleratorError::Foreign { .. }
            | AcceleratorError::UnknownStream { .. } => Self::Argument,
            AcceleratorError::OutOfMemory { .. } => Self::NoSpace,
            AcceleratorError::Unsupported { .. } => Self::Unsupported,
            _ => Self::Failed,
        }
    }

    /// As registration tells it; `None` where that is about something else.
    #[must_use]
    pub const fn of_registering(error: &RegisterError) -> Option<Self> {
        match error {
            RegisterError::Unreachable { .. }
            | RegisterError::Nic(
                nic::RegisterError::Unreachable { .. } | nic::RegisterError::NoDescriptor { .. },
            )
            | RegisterError::Soft(soft::RegisterError::NoAccelerator { .. }) => Some(Self::Unsupported),
            RegisterError::Soft(soft::RegisterError::Accelerator(error)) => Some(Self::of(error)),
            _ => None,
        }
    }
}
