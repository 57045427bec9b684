//! Why there is no batch, and why a response did not go.

use pmd_host::{
    control::DownReason,
    endpoint::EndpointError,
    transfer::{SubmitError, TransferError},
};
use thiserror::Error;

use crate::wire::NodeIdentity;

/// Why a server did not open.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Its endpoint did not.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

/// Why there is no batch.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Not enough requests by the deadline; those that are there wait on.
    #[error("{ready} of {wanted} workers had sent a request by the deadline")]
    Timeout {
        /// Workers of which a request waits.
        ready: usize,
        /// Workers that were waited for.
        wanted: usize,
    },
    /// A worker went down. Told once for each; requests of others wait on.
    #[error("worker {} went down: {reason}", worker.rank)]
    WorkerDown {
        /// Which one.
        worker: NodeIdentity,
        /// Why.
        reason: DownReason,
    },
    /// The server was closed.
    #[error("the server was closed")]
    Closed,
}

/// Why a response was not sent. The worker has been told of wrong sizes and counts; nothing was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RespondError {
    /// More or fewer tensors than were pulled.
    #[error("{given} tensors in the response to a request that pulls {wanted}")]
    Count {
        /// Tensors given.
        given: usize,
        /// Tensors pulled.
        wanted: usize,
    },
    /// A tensor of another size than the worker's; larger, where the worker takes less.
    #[error("{given} bytes for the pull of key {key}, which takes {wanted}")]
    Size {
        /// The pull's key.
        key: u64,
        /// Bytes given.
        given: u32,
        /// Bytes of the worker's tensor.
        wanted: u32,
    },
    /// The tensor's memory was registered with another endpoint.
    #[error(
        "the tensor for the pull of key {key} is not in this server's memory: register it with this server's endpoint"
    )]
    ForeignMemory {
        /// The pull's key.
        key: u64,
    },
    /// The worker gave the request up.
    #[error("the worker cancelled the request")]
    Cancelled,
    /// The worker is down.
    #[error("worker {} is down", worker.rank)]
    WorkerDown {
        /// Which one.
        worker: NodeIdentity,
    },
    /// The route took no work.
    #[error(transparent)]
    Submit(#[from] SubmitError),
}

/// Why a response did not reach the worker. It is quiet: its tensors are not read any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the response did not reach worker {}: {error}", worker.rank)]
pub struct ResponseFailure {
    /// The worker.
    pub worker: NodeIdentity,
    /// What happened.
    pub error: TransferError,
}

/// Why waiting for a response ended without its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ResponseWaitError {
    /// The deadline passed; the response goes on.
    #[error("not sent by the deadline; it goes on")]
    Timeout,
    /// It failed.
    #[error(transparent)]
    Failed(#[from] ResponseFailure),
}

/// Why a receive buffer was not taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OfferError {
    /// It does not hold a slot of a byte for each of what it is to be shared out among.
    #[error("{bytes} bytes cannot be shared out evenly among {shares} slots")]
    TooSmall {
        /// Bytes given.
        bytes: u64,
        /// Slots wanted.
        shares: usize,
    },
    /// It was registered with another endpoint.
    #[error("the buffer is not in this server's memory: register it with this server's endpoint")]
    ForeignMemory,
    /// No such buffer was offered.
    #[error("no buffer was offered for key {key} of worker {worker}")]
    NotOffered {
        /// Rank.
        worker: u32,
        /// Key.
        key: u64,
    },
    /// The worker had not let go of the buffer by the deadline. It is on its way out: ask again.
    #[error("worker {worker} had not let go of the buffer for key {key} by the deadline")]
    Timeout {
        /// Rank.
        worker: u32,
        /// Key.
        key: u64,
    },
}
