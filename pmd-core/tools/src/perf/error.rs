//! Why a test gave no figures.

use std::{io, net::SocketAddr, time::Duration};

use pmd_core::provider::{CompletionError, CompletionQueueError, PostError};
use pmd_host::{
    backend::SetupError,
    control::{ConnectError, ControlError, DownReason, RequestError},
    nic::{self, BackendError},
    soft::{AllocateError, OpenError, RegisterError},
};
use thiserror::Error;

use crate::{
    Failure,
    memory::{Mismatch, Outside},
    outcome::Outcome,
};

/// Why a test gave no figures.
#[derive(Debug, Error)]
pub(crate) enum PerfError {
    /// No NIC that can be used.
    #[error(transparent)]
    Nic(#[from] nic::OpenError),
    /// The NIC does not offer the transport asked for.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// The NIC did not take the memory.
    #[error(transparent)]
    Pin(#[from] nic::RegisterError),
    /// The core is not there, or this process may not run on it.
    #[error("cannot run on core {core}: see `pmd info` for the cores of this process")]
    Core {
        core: usize,
        #[source]
        source: nix::Error,
    },
    /// The soft HCA did not open.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// No queue pair, or not connected.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// No memory.
    #[error(transparent)]
    Allocate(#[from] AllocateError),
    /// The memory was not registered.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The in-process queues do not fit together.
    #[error(transparent)]
    Queue(#[from] pmd_core::queue::QueueError),
    /// The in-process queue pair was not attached.
    #[error(transparent)]
    Attach(#[from] pmd_core::queue::AttachError),
    /// The in-process queue pair did not change its state.
    #[error(transparent)]
    Handle(#[from] pmd_core::queue::HandleError),
    /// A size is too large for the buffers of this test.
    #[error(transparent)]
    Buffer(#[from] Outside),
    /// A request was refused.
    #[error(transparent)]
    Post(#[from] PostError),
    /// A request failed.
    #[error(transparent)]
    Completion(#[from] CompletionError),
    /// The completion queue broke.
    #[error(transparent)]
    CompletionQueue(#[from] CompletionQueueError),
    /// Other bytes arrived than were sent.
    #[error("contents do not verify: {0}")]
    Contents(#[from] Mismatch),
    /// Something completed that was not posted, or with another length.
    #[error("completion {id:#x} of {found} bytes came, {expected} bytes were expected")]
    Unexpected { id: u64, found: u32, expected: u32 },
    /// Nothing happened for too long.
    #[error("nothing completed and nothing arrived for {0:?}: the peer is stuck or gone")]
    Stalled(Duration),
    /// No control plane.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The peer is not there.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// This host has no identity to tell the peer.
    #[error("cannot tell who this host is")]
    Identity(#[source] io::Error),
    /// A message did not go out.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The peer went away.
    #[error("the other process went away: {0}")]
    Down(DownReason),
    /// The peer did not answer.
    #[error("the other process did not answer within {0:?}")]
    Silent(Duration),
    /// The peer said something out of turn: it is another version of this command.
    #[error(
        "the other process does not follow this test's course: run the same version of pmd on both sides"
    )]
    OutOfTurn,
    /// A message cannot be written or read.
    #[error("a message of the other process cannot be read: run the same version of pmd on both sides")]
    Message(#[from] serde_json::Error),
    /// The peer failed.
    #[error("the other process failed: {text}")]
    Peer { code: u8, text: String },
    /// The second process did not start.
    #[error("cannot start the second process")]
    Spawn(#[source] io::Error),
    /// The second process ended before it connected.
    #[error("the second process ended before it connected to {address}: {status}")]
    Ended { address: SocketAddr, status: std::process::ExitStatus },
}

impl Failure for PerfError {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Nic(_) | Self::Backend(BackendError::NotMlx5 { .. } | BackendError::Library(_)) => {
                Outcome::NotHere
            }
            Self::Core { .. } => Outcome::NotHere,
            Self::Allocate(AllocateError::NoHugePages { .. }) => Outcome::NotHere,
            Self::Peer { code, .. } => Outcome::from_code(*code),
            Self::Ended { status, .. } => {
                let code = status.code().and_then(|code| u8::try_from(code).ok());
                code.map_or(Outcome::Failed, Outcome::from_code)
            }
            _ => Outcome::Failed,
        }
    }
}
