//! Why a ping-pong did not come to its end.

use std::{io, time::Duration};

use pmd_core::provider::{CompletionError, CompletionQueueError, PostError};
use pmd_host::{
    backend::{SetupError, Transport},
    nic::{BackendError, OpenError, RegisterError},
};
use thiserror::Error;

use super::address::AddressError;
use crate::{
    Failure,
    memory::{Mismatch, Outside},
    outcome::Outcome,
};

/// Why a ping-pong did not come to its end.
#[derive(Debug, Error)]
pub(crate) enum PingpongError {
    /// No NIC that can be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The NIC does not offer the transport asked for.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The NIC did not take the memory.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// No queue pair, or not connected.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// Messages are longer than the NIC's longest.
    #[error("messages of {size} bytes: the longest of {device} is {limit}")]
    Size { device: String, size: u32, limit: u32 },
    /// The port's queue pairs have addresses that cannot be told to ibv_rc_pingpong.
    #[error("queue pairs over {} have no address that ibv_rc_pingpong could use", .0.name())]
    NoFabric(Transport),
    /// The port is taken, or may not be used.
    #[error("cannot listen on port {port}: choose another by --port")]
    Listen {
        port: u16,
        #[source]
        source: io::Error,
    },
    /// The server is not there.
    #[error("cannot connect to {host} port {port}: is the server started there?")]
    Connect {
        host: String,
        port: u16,
        #[source]
        source: io::Error,
    },
    /// The addresses were not exchanged.
    #[error("exchanging addresses: {step} failed")]
    Exchange {
        step: &'static str,
        #[source]
        source: io::Error,
    },
    /// The peer says something else than an address.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The client has not acknowledged.
    #[error("the client did not acknowledge the address: it is no ibv_rc_pingpong")]
    Acknowledgement,
    /// The peer goes by LID, which Ethernet has not.
    #[error("the peer sent no GID, and Ethernet needs one: start ibv_rc_pingpong with --gid-idx INDEX")]
    NoRemoteGid,
    /// A request was refused.
    #[error(transparent)]
    Post(#[from] PostError),
    /// A request failed: the peer is gone, or it did not like what it got.
    #[error("{received} messages came and {sent} went out, then")]
    Completion {
        received: u64,
        sent: u64,
        #[source]
        source: CompletionError,
    },
    /// The completion queue broke.
    #[error(transparent)]
    CompletionQueue(#[from] CompletionQueueError),
    /// A message has another length than it should have.
    #[error(
        "message {message} has {found} bytes and should have {expected}: start both sides with one --size"
    )]
    Length { message: u64, found: u32, expected: u32 },
    /// Other bytes arrived than were sent.
    #[error("contents of message {message} do not verify: {mismatch}")]
    Contents { message: u64, mismatch: Mismatch },
    /// Something completed that was not posted.
    #[error("completion {id:#x} of a request that was not posted")]
    Unexpected { id: u64 },
    /// A message does not lie inside of its buffer.
    #[error(transparent)]
    Buffer(#[from] Outside),
    /// Nothing happened for too long.
    #[error(
        "{received} of {of} messages came and {sent} went out, then nothing for {patience:?}: the peer is stuck or gone"
    )]
    Stalled { received: u64, sent: u64, of: u64, patience: Duration },
}

impl Failure for PingpongError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Open(_) | Self::Backend(BackendError::NotMlx5 { .. } | BackendError::Library(_)) => {
                Outcome::NotHere
            }
            Self::Size { .. } => Outcome::Usage,
            _ => Outcome::Failed,
        }
    }
}
