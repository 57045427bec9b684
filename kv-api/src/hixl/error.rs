//! Why a call failed, and which of HIXL's numbers that is.

use std::{io, time::Duration};

use pmd_host::{
    control::{ConnectError, RequestError},
    endpoint::{EndpointError, RegisterError},
    nic,
    soft::{self, AllocateError},
    transfer::{SubmitError, TransferError},
};
use thiserror::Error;

use super::{MemHandle, NotifyDesc, Status, TransferReq, staging::StageFault};
use crate::{
    environment::EnvironmentError,
    fabric::{DeviceFault, FabricError},
};

/// Why a call failed. [`HixlError::status`] is HIXL's number for it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HixlError {
    /// Before `initialize` or after `finalize`.
    #[error("the engine is not initialised: call initialize first")]
    NotInitialized,
    /// A name that is none.
    #[error("{given:?} names no engine: write ip:port, ip, [ipv6]:port or [ipv6]")]
    Name {
        /// What was given.
        given: String,
    },
    /// The name of a client, which nobody can connect to.
    #[error("{given} has no port, so it does not listen: only a server can be connected to")]
    IsClient {
        /// What was given.
        given: String,
    },
    /// The engine's own name.
    #[error("{given} is this engine itself")]
    IsSelf {
        /// What was given.
        given: String,
    },
    /// An option that does not exist.
    #[error("there is no option {option:?}")]
    UnknownOption {
        /// Its name.
        option: String,
    },
    /// An option has a value that it cannot have.
    #[error("option {option} is {value:?}, it takes {allowed}")]
    Option {
        /// Its name, or the key within `GlobalResourceConfig`.
        option: String,
        /// What it was set to.
        value: String,
        /// What it may be set to.
        allowed: &'static str,
    },
    /// Two options that exclude each other.
    #[error("options BufferPool and EnableUseFabricMem exclude each other: leave one out")]
    ExclusiveOptions,
    /// A file that an option names cannot be read.
    #[error("local_comm_res_path {path:?} cannot be read")]
    File {
        /// Which file.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A variable of the environment.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A time-out of nothing.
    #[error("a time-out has to be above 0")]
    NoTime,
    /// Memory of no bytes, at address 0, or beyond the address space.
    #[error("{length} bytes at {address:#x} are no memory")]
    NoMemory {
        /// First byte.
        address: u64,
        /// Bytes.
        length: u64,
    },
    /// Memory that overlaps with other memory of the same type, but is not the same.
    #[error(
        "{length} bytes at {address:#x} overlap with {other_length} bytes at {other:#x}, which are registered"
    )]
    Overlap {
        /// First byte.
        address: u64,
        /// Bytes.
        length: u64,
        /// First byte of the other.
        other: u64,
        /// Bytes of the other.
        other_length: u64,
    },
    /// A handle of value 0.
    #[error("handle 0 names no memory")]
    NullHandle,
    /// Transfers in flight use the memory.
    #[error("memory {} is in use by a transfer, {waited:?} were not enough for it to end: disconnect first", handle.0)]
    InUse {
        /// Which memory.
        handle: MemHandle,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A piece of a transfer at address 0.
    #[error("operation {index} has address 0")]
    NullAddress {
        /// Which operation.
        index: usize,
    },
    /// Bytes that this process cannot read or write.
    #[error("this process cannot access the byte at {address:#x}")]
    BadAddress {
        /// First such byte.
        address: u64,
    },
    /// The kernel does not let this process copy its own memory with a check.
    #[error(
        "memory that is not registered cannot be staged: process_vm_readv is not permitted here; register it"
    )]
    CopyNotPermitted {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The peer did not stage its memory.
    #[error("the peer does not stage: {0}")]
    Stage(#[from] StageFault),
    /// There is a link.
    #[error("{remote} is connected already")]
    AlreadyConnected {
        /// To whom.
        remote: String,
    },
    /// There is no link, or it broke.
    #[error("{remote} is not connected: connect to it first")]
    NotConnected {
        /// To whom.
        remote: String,
    },
    /// Not done in time.
    #[error("{what} was not done in time")]
    Timeout {
        /// What.
        what: &'static str,
    },
    /// No such transfer; perhaps its end was told already.
    #[error("there is no transfer {}: it never was, or its end was told", req.0)]
    UnknownRequest {
        /// Which one.
        req: TransferReq,
    },
    /// Too many asynchronous transfers whose end nobody asked for.
    #[error("{limit} transfers wait to be asked about: call transfer_status")]
    TooManyRequests {
        /// Most of them.
        limit: usize,
    },
    /// A notification is too long.
    #[error("a notification's {part} has {length} bytes, the limit is {}", NotifyDesc::LIMIT)]
    NotifyTooLong {
        /// `name` or `message`.
        part: &'static str,
        /// Its bytes.
        length: usize,
    },
    /// The peer has not taken earlier notifications.
    #[error("the peer has {limit} notifications of this link: it has to take some")]
    NotifyFull {
        /// Most of them.
        limit: usize,
    },
    /// The peer refused a notification, or went while it was sent.
    #[error("the peer did not take the notification: {0}")]
    NotifyFailed(RequestError),
    /// Too many links wait to be connected or disconnected.
    #[error("{limit} links wait to be connected or disconnected: try again later")]
    TooManyTasks {
        /// Most of them.
        limit: usize,
    },
    /// A thread did not start.
    #[error("a thread could not be started")]
    Thread {
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Memory, links, planning.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// A transfer in flight.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// No such feature: negative numbers name none.
    #[error("{number} is no feature")]
    NoFeature {
        /// What was asked for.
        number: i32,
    },
}

impl HixlError {
    /// HIXL's number for it.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::NotInitialized | Self::InUse { .. } | Self::Thread { .. } => Status::Failed,
            Self::Name { .. }
            | Self::IsClient { .. }
            | Self::IsSelf { .. }
            | Self::UnknownOption { .. }
            | Self::Option { .. }
            | Self::ExclusiveOptions
            | Self::File { .. }
            | Self::Environment(_)
            | Self::NoTime
            | Self::NoMemory { .. }
            | Self::Overlap { .. }
            | Self::NullHandle
            | Self::NullAddress { .. }
            | Self::BadAddress { .. }
            | Self::UnknownRequest { .. }
            | Self::NotifyTooLong { .. }
            | Self::NoFeature { .. } => Status::ParamInvalid,
            Self::CopyNotPermitted { .. } => Status::Unsupported,
            Self::AlreadyConnected { .. } => Status::AlreadyConnected,
            Self::NotConnected { .. } => Status::NotConnected,
            Self::Timeout { .. } => Status::Timeout,
            Self::TooManyRequests { .. } | Self::NotifyFull { .. } | Self::TooManyTasks { .. } => {
                Status::ResourceExhausted
            }
            Self::NotifyFailed(_) => Status::NotifyFailed,
            Self::Stage(fault) => fault.status(),
            Self::Fabric(error) => of_fabric(error),
            Self::Transfer(error) => of_transfer(error),
        }
    }
}

fn of_fabric(error: &FabricError) -> Status {
    if let Some(fault) = error.device_fault() {
        return of_device(fault);
    }
    match error {
        FabricError::Endpoint(error) => of_endpoint(error),
        FabricError::Request(error) => of_request(error),
        FabricError::Allocate(AllocateError::NoSpace { .. } | AllocateError::NoHugePages { .. }) => {
            Status::ResourceExhausted
        }
        FabricError::Register(error) | FabricError::Unreachable(error) => of_register(error),
        FabricError::Submit(SubmitError::RouteFailed(_)) => Status::NotConnected,
        FabricError::Submit(SubmitError::Full(_)) => Status::Timeout,
        FabricError::Local { .. } | FabricError::Remote { .. } => Status::ParamInvalid,
        FabricError::NotRegistered { .. } => Status::Unsupported,
        _ => Status::Failed,
    }
}

const fn of_device(fault: DeviceFault) -> Status {
    match fault {
        DeviceFault::Argument => Status::ParamInvalid,
        DeviceFault::NoSpace => Status::ResourceExhausted,
        DeviceFault::Unsupported => Status::Unsupported,
        DeviceFault::Failed => Status::Failed,
    }
}

fn of_endpoint(error: &EndpointError) -> Status {
    match error {
        EndpointError::TransportMissing { .. } | EndpointError::Choice(_) => Status::Unsupported,
        EndpointError::Connect(ConnectError::Silent { .. }) => Status::Timeout,
        EndpointError::Connect(ConnectError::Unreachable { source, .. })
            if source.kind() == io::ErrorKind::TimedOut =>
        {
            Status::Timeout
        }
        // While connecting there is no link to lose.
        EndpointError::Request(RequestError::Timeout { .. }) => Status::Timeout,
        _ => Status::Failed,
    }
}

fn of_request(error: &RequestError) -> Status {
    match error {
        RequestError::Timeout { .. } => Status::Timeout,
        RequestError::Down(_) => Status::NotConnected,
        _ => Status::Failed,
    }
}

fn of_register(error: &RegisterError) -> Status {
    match error {
        RegisterError::Soft(soft::RegisterError::UnsupportedMemory { .. })
        | RegisterError::Nic(
            nic::RegisterError::NoDescriptor { .. }
            | nic::RegisterError::Unreachable { .. }
            | nic::RegisterError::Library(_),
        ) => Status::Unsupported,
        RegisterError::Soft(
            soft::RegisterError::Empty
            | soft::RegisterError::Null
            | soft::RegisterError::Overflow { .. }
            | soft::RegisterError::NotMapped { .. },
        ) => Status::ParamInvalid,
        RegisterError::Soft(soft::RegisterError::TableFull { .. }) => Status::ResourceExhausted,
        _ => Status::Failed,
    }
}

fn of_transfer(error: &TransferError) -> Status {
    match error {
        TransferError::DeadlineExceeded => Status::Timeout,
        error if error.is_route_down() => Status::NotConnected,
        _ => Status::Failed,
    }
}
