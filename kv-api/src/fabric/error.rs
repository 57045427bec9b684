//! Why a fabric could not do what it was asked.

use pmd_host::{
    backend::Transport,
    control::RequestError,
    endpoint::{EndpointError, RegisterError},
    soft::AllocateError,
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
    Register(#[from] RegisterError),
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
        "descriptor {index}: {length} bytes at {address:#x} of the peer are in none of its registered segments"
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
