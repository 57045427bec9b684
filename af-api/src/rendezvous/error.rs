//! What can go wrong between nodes and their scheduler.

use std::{net::SocketAddr, time::Duration};

use pmd_host::control::{ConnectError, ControlError, DownReason, FrameError, KeepAliveError, RequestError};
use thiserror::Error;

use super::{
    member::{MemberId, names},
    protocol::{BarrierFailure, Refused, VERSION},
};
use crate::config::ConfigError;

/// Why a node did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No control plane in this process.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The system does not tell who this host is.
    #[error("cannot tell who this host is")]
    Identity(#[source] std::io::Error),
    /// No scheduler was reached in time.
    #[error("no scheduler at {address} within {waited:?}: start it, or correct its address")]
    Unreachable {
        /// Where it was looked for last.
        address: SocketAddr,
        /// Time waited.
        waited: Duration,
        /// Why the last attempt failed.
        #[source]
        source: ConnectError,
    },
    /// What listens there is not a scheduler, or one that does not answer.
    #[error("{address} did not answer as a scheduler within {waited:?}: is it another service?")]
    NoAnswer {
        /// Where the scheduler should be.
        address: SocketAddr,
        /// Time waited.
        waited: Duration,
    },
    /// The scheduler is of another release.
    #[error(
        "the scheduler speaks version {theirs} of the rendezvous, this is {VERSION}: run the same release everywhere"
    )]
    Version {
        /// The scheduler's version.
        theirs: u16,
    },
    /// The scheduler has another pre-shared key than this process, or only one of them has one.
    #[error("the scheduler at {address} cannot be talked to")]
    Key {
        /// Where it listens.
        address: SocketAddr,
        /// Which of both it is.
        #[source]
        source: FrameError,
    },
    /// The scheduler and this process would take each other for dead.
    #[error("the scheduler at {address} has other keep-alive terms")]
    KeepAlive {
        /// Where it listens.
        address: SocketAddr,
        /// What does not work together, and what to set.
        #[source]
        source: KeepAliveError,
    },
    /// The scheduler refuses this node.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The scheduler went away before everybody had come.
    #[error("the scheduler at {address} went away: {reason}")]
    SchedulerLost {
        /// Where it was.
        address: SocketAddr,
        /// How.
        reason: DownReason,
    },
    /// Not everybody came in time.
    #[error("after {waited:?} {} of {expected} places are not taken: {}", .missing.len(), names(.missing))]
    Missing {
        /// Who has not come.
        missing: Vec<MemberId>,
        /// How many places there are.
        expected: usize,
        /// Time waited.
        waited: Duration,
    },
}

/// Why a barrier did not end with everyone released.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// Not everybody came in time. This process does not wait there any longer, and may enter again.
    #[error("barrier {name:?} after {waited:?}: waiting for {}", names(.missing))]
    Missing {
        /// Which barrier.
        name: String,
        /// Who has not come.
        missing: Vec<MemberId>,
        /// Time waited.
        waited: Duration,
    },
    /// It cannot come about.
    #[error("barrier {name:?}: {failure}")]
    Failed {
        /// Which barrier.
        name: String,
        /// Why.
        failure: BarrierFailure,
    },
    /// The scheduler is gone, and nobody can be released.
    #[error("barrier {name:?}: the scheduler is lost: {reason}")]
    SchedulerLost {
        /// Which barrier.
        name: String,
        /// How the scheduler went.
        reason: DownReason,
    },
    /// The scheduler does not take what is told to it.
    #[error("barrier {name:?}: cannot tell the scheduler: {source}")]
    Untold {
        /// Which barrier.
        name: String,
        /// Why.
        source: RequestError,
    },
}

/// Why a member was not there in time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WaitError {
    /// It did not come.
    #[error("{member} is not there after {waited:?}")]
    Missing {
        /// Who was waited for.
        member: MemberId,
        /// Time waited.
        waited: Duration,
    },
    /// The scheduler is gone: nobody tells of members any more.
    #[error("waiting for {member}: the scheduler is lost: {reason}")]
    SchedulerLost {
        /// Who was waited for.
        member: MemberId,
        /// How the scheduler went.
        reason: DownReason,
    },
}

/// Why a node could not take leave. It is disconnected all the same.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LeaveError {
    /// The scheduler is gone: the others have not been told.
    #[error("the scheduler is lost: {0}")]
    SchedulerLost(DownReason),
    /// The scheduler has not confirmed it in time.
    #[error("the scheduler has not confirmed the leave within {waited:?}")]
    Timeout {
        /// Time waited.
        waited: Duration,
    },
}

/// Why a scheduler did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SchedulerError {
    /// The configuration cannot be.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It cannot listen, or start its thread.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The system does not tell who this host is.
    #[error("cannot tell who this host is")]
    Identity(#[source] std::io::Error),
}
