//! Why an agent did not do what it was asked, and NIXL's status for it.

use std::{io, net::SocketAddr};

use pmd_host::{
    control::RequestError,
    transfer::{RouteFault, SendError, SubmitError, TransferError},
};
use thiserror::Error;

use super::{Status, messages::MessageError};
use crate::fabric::{DeviceFault, FabricError};

/// Which side of a transfer something is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// This process's.
    Local,
    /// The remote agent's.
    Remote,
}

/// Why an agent did not do what it was asked.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum AgentError {
    /// The request was never posted.
    #[error("the request was never posted")]
    NotPosted,
    /// The request is active, or is not quiet yet.
    #[error("the request is active: wait until it is done, or release it until it says that it is quiet")]
    Active,
    /// The request was told to stop, or its memory was deregistered; nothing of it is left.
    #[error("the request was cancelled")]
    Canceled,
    /// The request is being stopped and not quiet yet.
    #[error("the request is being cancelled: release it again until it is quiet")]
    Aborting,
    /// The transfer failed.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// The route took nothing.
    #[error("the route to {agent} did not take the transfer")]
    Submit {
        /// Remote agent.
        agent: String,
        /// Why.
        source: Box<SubmitError>,
    },
    /// No metadata of this agent is loaded.
    #[error("nothing is known of agent {agent}: load its metadata")]
    UnknownAgent {
        /// Its name.
        agent: String,
    },
    /// The agent's metadata was invalidated after the handle was made.
    #[error("the metadata of agent {agent} was invalidated: load it and prepare again")]
    Invalidated {
        /// Its name.
        agent: String,
    },
    /// The metadata is of an agent that was restarted since.
    #[error("agent {agent} was restarted since its metadata was made: get it anew")]
    Stale {
        /// Its name.
        agent: String,
    },
    /// The remote agent cannot be reached.
    #[error("agent {agent} cannot be reached at any of {addresses:?}")]
    Unreachable {
        /// Its name.
        agent: String,
        /// Addresses that were tried; none if it does not listen where it can be reached from here.
        addresses: Vec<SocketAddr>,
        /// What the last one of them said.
        source: Option<Box<FabricError>>,
    },
    /// The remote agent is gone.
    #[error("agent {agent} is down: get its successor's metadata")]
    Down {
        /// Its name.
        agent: String,
    },
    /// A descriptor is in no registration.
    #[error(
        "descriptor {index}: {length} bytes at {address:#x} are in no {side:?} registration: register them as one region"
    )]
    NotRegistered {
        /// Which side.
        side: Side,
        /// Which descriptor.
        index: usize,
        /// Its first byte.
        address: u64,
        /// Its bytes.
        length: u64,
    },
    /// A registration was taken back.
    #[error("the {side:?} registration at {address:#x} is no more")]
    Deregistered {
        /// Which side.
        side: Side,
        /// Its first byte.
        address: u64,
    },
    /// There is no registration like the one named.
    #[error("nothing is registered as {length} bytes at {address:#x}")]
    NoSuchRegistration {
        /// First byte.
        address: u64,
        /// Bytes.
        length: u64,
    },
    /// A registration is still in use.
    #[error(
        "{length} bytes at {address:#x} are in use by a transfer that does not stop: they stay registered"
    )]
    InUse {
        /// First byte.
        address: u64,
        /// Bytes.
        length: u64,
    },
    /// Both sides of a pair have the same length.
    #[error("descriptor {index}: {local} bytes here, {remote} there")]
    LengthMismatch {
        /// Which descriptor.
        index: usize,
        /// Bytes of the local one.
        local: u64,
        /// Bytes of the remote one.
        remote: u64,
    },
    /// Both sides of a request have the same number of descriptors.
    #[error("{local} descriptors here, {remote} there")]
    CountMismatch {
        /// Local descriptors.
        local: usize,
        /// Remote descriptors.
        remote: usize,
    },
    /// A request or a registration of nothing.
    #[error("there is not one descriptor")]
    Empty,
    /// An index beyond a prepared list.
    #[error("index {index} at position {position}: the list has {length} descriptors")]
    IndexOutOfRange {
        /// Where in the list of indices.
        position: usize,
        /// The index.
        index: u32,
        /// Descriptors of the prepared list.
        length: usize,
    },
    /// A local list where a remote one belongs, or the other way round.
    #[error("a {given:?} list was given where a {wanted:?} one belongs")]
    WrongSide {
        /// What was given.
        given: Side,
        /// What belongs there.
        wanted: Side,
    },
    /// Something of another agent.
    #[error("it belongs to agent {owner}, not to {agent}")]
    WrongAgent {
        /// Whose it is.
        owner: String,
        /// Whose it should be.
        agent: String,
    },
    /// Bytes that do not parse.
    #[error("{length} bytes of {what} do not parse: do both sides run the same release?")]
    Malformed {
        /// What they should be.
        what: &'static str,
        /// How many there are.
        length: usize,
    },
    /// Connection information that differs from what is loaded.
    #[error("agent {agent} has other connection information now: invalidate its metadata first")]
    Changed {
        /// Its name.
        agent: String,
    },
    /// An agent's own metadata.
    #[error("{agent} is this agent: its own metadata needs no loading and cannot be invalidated")]
    Oneself {
        /// Its name.
        agent: String,
    },
    /// Not offered.
    #[error("{what} is not offered")]
    Unsupported {
        /// What was asked for.
        what: &'static str,
    },
    /// A thread could not be started.
    #[error("a thread could not be started")]
    Thread {
        /// What the system said.
        source: io::Error,
    },
    /// Telemetry was not switched on.
    #[error("telemetry is off: switch it on in the agent's configuration")]
    NoTelemetry,
    /// A notification was not taken or did not arrive.
    #[error(transparent)]
    Message(#[from] MessageError),
    /// The fabric below.
    #[error(transparent)]
    Fabric(Box<FabricError>),
}

impl From<FabricError> for AgentError {
    fn from(error: FabricError) -> Self {
        Self::Fabric(Box::new(error))
    }
}

impl AgentError {
    /// NIXL's status.
    #[must_use]
    pub fn status(&self) -> Status {
        match self {
            Self::NotPosted => Status::NotPosted,
            Self::Active => Status::RepostActive,
            Self::Canceled | Self::Aborting => Status::Canceled,
            Self::Transfer(error) => transfer_status(error),
            Self::Message(error) => message_status(error),
            Self::Fabric(error) if is_down(error) => Status::RemoteDisconnect,
            Self::Fabric(error) if error.device_fault() == Some(DeviceFault::Argument) => {
                Status::InvalidParameter
            }
            Self::Stale { .. } | Self::Unreachable { .. } | Self::Down { .. } => Status::RemoteDisconnect,
            Self::Fabric(_) | Self::Submit { .. } | Self::InUse { .. } => Status::Backend,
            Self::UnknownAgent { .. }
            | Self::Invalidated { .. }
            | Self::NotRegistered { .. }
            | Self::Deregistered { .. }
            | Self::NoSuchRegistration { .. } => Status::NotFound,
            Self::LengthMismatch { .. }
            | Self::CountMismatch { .. }
            | Self::Empty
            | Self::IndexOutOfRange { .. }
            | Self::WrongSide { .. }
            | Self::WrongAgent { .. }
            | Self::Oneself { .. } => Status::InvalidParameter,
            Self::Malformed { .. } => Status::Mismatch,
            Self::Changed { .. } => Status::NotAllowed,
            Self::Unsupported { .. } => Status::NotSupported,
            Self::Thread { .. } => Status::Unknown,
            Self::NoTelemetry => Status::NoTelemetry,
        }
    }

    /// What a route that takes nothing means.
    pub(super) fn submit(agent: &str, error: SubmitError) -> Self {
        match error {
            SubmitError::RouteFailed(fault) => fault.transfer_error().into(),
            error => Self::Submit { agent: agent.to_owned(), source: Box::new(error) },
        }
    }
}

const fn is_down(error: &FabricError) -> bool {
    matches!(error, FabricError::Request(RequestError::Down(_)))
}

/// A peer that does not answer any more is gone, whether or not the control plane knows it yet.
const fn transfer_status(error: &TransferError) -> Status {
    match error {
        TransferError::Flushed { cause } => fault_status(cause),
        error if error.is_route_down() => Status::RemoteDisconnect,
        TransferError::Cancelled => Status::Canceled,
        TransferError::LaneEnded { .. } => Status::Unknown,
        _ => Status::Backend,
    }
}

const fn fault_status(fault: &RouteFault) -> Status {
    match fault {
        fault if fault.is_disconnect() => Status::RemoteDisconnect,
        RouteFault::LaneEnded(_) => Status::Unknown,
        _ => Status::Backend,
    }
}

const fn message_status(error: &MessageError) -> Status {
    match error {
        MessageError::PeerDown | MessageError::Closed => Status::RemoteDisconnect,
        MessageError::HeaderTooLong { .. } => Status::InvalidParameter,
        MessageError::Route(SendError::RouteFailed(fault)) => fault_status(fault),
        _ => Status::Backend,
    }
}
