//! Why nothing was captured, and what became of launches.

use std::{io, sync::Arc, time::Duration};

use pmd_core::accelerator::AcceleratorError;
use pmd_host::control::DownReason;
use thiserror::Error;

use crate::{
    server::{RespondError, ResponseFailure},
    worker::{Failure, PushPullError},
};

/// Why an exchange cannot be captured.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The accelerator gives no flags: its streams cannot wait for values, or it has no room.
    #[error(transparent)]
    Accelerator(#[from] AcceleratorError),
    /// The push-pull would not be taken.
    #[error(transparent)]
    PushPull(#[from] PushPullError),
    /// The push-pull waits for an event, sets a flag, or is a part of a batch.
    #[error(
        "a captured push-pull neither waits for events nor sets flags nor is a part of a batch: its place in the stream says when it happens"
    )]
    Ordered,
    /// A service that takes requests of no worker.
    #[error("a captured service needs a worker whose requests it takes")]
    NoWorkers,
    /// Requests of one worker under the same keys are captured already, or twice here.
    #[error("requests of worker {worker} under these keys are captured already")]
    Taken {
        /// Its rank.
        worker: u32,
    },
    /// No buffer was offered there, or one with more slots than one: pushes would land elsewhere.
    #[error(
        "key {key} of worker {worker} has no receive buffer of one slot at the captured tensor: offer it first"
    )]
    NotOffered {
        /// Rank.
        worker: u32,
        /// Key.
        key: u64,
    },
    /// The library's thread did not start.
    #[error("cannot start the thread that serves graphs")]
    Thread(#[source] io::Error),
}

/// Why a worker's launch brought nothing.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExchangeCause {
    /// The push-pull was not taken; nothing was sent.
    #[error(transparent)]
    PushPull(#[from] PushPullError),
    /// It failed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// It was not done in time, and was stopped: its tensors are quiet.
    #[error("not done within {patience:?}, and stopped")]
    Timeout {
        /// What was granted.
        patience: Duration,
    },
    /// It was done, but the device may not see what a NIC has written into the pulled tensors: it did not flush them.
    #[error("what was pulled over a NIC may not be visible to the device: {0}")]
    Flush(AcceleratorError),
    /// The worker was closed.
    #[error("the worker was closed")]
    WorkerClosed,
    /// The captured exchange was closed or dropped.
    #[error("the captured exchange was closed: destroy the graphs that it is in")]
    Closed,
    /// The launch overlapped with another one of the same exchange and went on with its answer.
    #[error("the launch overlapped with another one of the same captured exchange")]
    Overlap,
}

/// Why a server's launch did not serve every worker. The others were served.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ServiceCause {
    /// A worker is down: its buffers hold what they held before, and nobody is answered.
    #[error("worker {worker} is down: {reason}")]
    WorkerDown {
        /// Its rank.
        worker: u32,
        /// Why.
        reason: DownReason,
    },
    /// A worker's push has another shape or place than was captured. It was refused.
    #[error("worker {worker} pushed something else under key {key} than was captured")]
    Pushed {
        /// Its rank.
        worker: u32,
        /// The key.
        key: u64,
    },
    /// The device may not see what a NIC has written of a worker's push: it did not flush it. The worker was refused.
    #[error("what worker {worker} pushed over a NIC may not be visible to the device: {error}")]
    Flush {
        /// Its rank.
        worker: u32,
        /// Why.
        error: AcceleratorError,
    },
    /// A response was not sent.
    #[error("the response to worker {worker} was not sent: {error}")]
    Respond {
        /// Its rank.
        worker: u32,
        /// Why.
        error: Arc<RespondError>,
    },
    /// A response did not reach its worker.
    #[error(transparent)]
    Response(#[from] ResponseFailure),
    /// The stream did not come to its response in time: the workers were refused.
    #[error("the stream did not respond within {patience:?}; the workers were refused")]
    Timeout {
        /// What was granted.
        patience: Duration,
    },
    /// The server was closed.
    #[error("the server was closed")]
    ServerClosed,
    /// The captured service was closed or dropped.
    #[error("the captured service was closed: destroy the graphs that it is in")]
    Closed,
    /// The launch overlapped with another one of the same service and went on with its batch.
    #[error("the launch overlapped with another one of the same captured service")]
    Overlap,
}

/// Why a captured object was not closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum CloseError {
    /// A launch is being served. It goes on, and the object closes behind it.
    #[error("launch {launch} is being served: ask again when it has ended")]
    InFlight {
        /// Its number.
        launch: u64,
    },
}
