//! Why a transfer, a route or a lane failed; why a submission, a wait or a send was refused.

use std::time::Duration;

use pmd_core::{
    memory::RemoteAddress,
    provider::{CompletionError, CompletionQueueError, PostError},
    wire::Syndrome,
};
use thiserror::Error;

use super::{DeviceFault, TransferOptions};
use crate::security::KeyMismatch;

/// Why a transfer did not happen as a whole. When it is reported the transfer is quiet: nothing of it is outstanding
/// and nothing more is posted. Bytes of entries that had completed before are where they went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TransferError {
    /// One work request of this transfer failed; its queue pairs are in the error state.
    #[error("entry {entry} at remote address {:#x} failed: {syndrome} (vendor code {vendor:#04x})", remote.address)]
    Failed {
        /// What the device said.
        syndrome: Syndrome,
        /// The device's own detail.
        vendor: u8,
        /// First entry of the work list that failed.
        entry: u32,
        /// Where that entry was to land.
        remote: RemoteAddress,
    },
    /// One work request with memory of an accelerator on a side could not be carried out; its queue pairs are in the error
    /// state.
    #[error("entry {entry} at remote address {:#x} failed: {fault}", remote.address)]
    Device {
        /// What is missing, and where.
        fault: DeviceFault,
        /// First entry of the work list that failed.
        entry: u32,
        /// Where that entry was to land.
        remote: RemoteAddress,
    },
    /// The back end refused a work request of this transfer. The route goes on.
    #[error("entry {entry} was refused: {error}")]
    Refused {
        /// Entry of the work list.
        entry: u32,
        /// What the back end said.
        error: PostError,
    },
    /// The notification did not reach the peer; every byte of the list had moved.
    #[error("all bytes moved but the notification failed: {syndrome} (vendor code {vendor:#04x})")]
    NotificationFailed {
        /// What the device said.
        syndrome: Syndrome,
        /// The device's own detail.
        vendor: u8,
    },
    /// The peer is gone.
    #[error("the peer is down: connect a new route to its successor")]
    PeerDown,
    /// Nothing was heard from the peer for longer than the bound: its host is gone, or the network between. Unlike a peer
    /// that is known to be gone it may live on.
    #[error(
        "nothing was heard from the peer for {silence:?}: its host or the network is down; link again once it is back"
    )]
    PeerSilent {
        /// How long.
        silence: Duration,
    },
    /// Something else took the route down while this transfer was on it.
    #[error("flushed with its route: {cause}")]
    Flushed {
        /// What took the route down.
        cause: RouteFault,
    },
    /// It was cancelled.
    #[error("cancelled")]
    Cancelled,
    /// Its route was closed.
    #[error("its route was closed before the transfer was done")]
    RouteClosed,
    /// Its deadline passed.
    #[error("its deadline passed before the transfer was done")]
    DeadlineExceeded,
    /// The lane ended; its device was closed.
    #[error("its lane ended: {fault}")]
    LaneEnded {
        /// Why the lane ended.
        fault: LaneFault,
    },
}

impl TransferError {
    /// Whether the way to the peer is what failed: the transfer was on a route that went down or was closed, or the peer
    /// did not answer it any more. The device may see that before the control plane says that the peer is gone, and
    /// then the first transfer that was outstanding fails with the device's own word; in every order of these events
    /// this is true. Not for a transfer that took its route down itself, by a key or a range that the peer refused.
    #[must_use]
    pub const fn is_route_down(&self) -> bool {
        match self {
            Self::PeerDown | Self::PeerSilent { .. } | Self::RouteClosed | Self::Flushed { .. } => true,
            Self::Failed { syndrome, .. } | Self::NotificationFailed { syndrome, .. } => {
                is_unanswered(*syndrome)
            }
            _ => false,
        }
    }
}

/// Whether a syndrome tells of a peer that does not answer, rather than of a request that was wrong.
const fn is_unanswered(syndrome: Syndrome) -> bool {
    use Syndrome::{Flushed, ReceiverNotReadyExceeded, RemoteAborted, RetryExceeded};
    matches!(syndrome, RetryExceeded | ReceiverNotReadyExceeded | RemoteAborted | Flushed)
}

/// What took a route down. Open a new route to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RouteFault {
    /// The control plane says that the peer is gone.
    #[error("the peer is down")]
    PeerDown,
    /// The control plane has heard nothing from the peer for longer than the bound.
    #[error("nothing was heard from the peer for {silence:?}")]
    PeerSilent {
        /// How long.
        silence: Duration,
    },
    /// A work request of another transfer, a message or a receive failed.
    #[error("a work request on the same route failed: {syndrome} (vendor code {vendor:#04x})")]
    WorkRequest {
        /// What the device said.
        syndrome: Syndrome,
        /// The device's own detail.
        vendor: u8,
    },
    /// A work request of another transfer had memory of an accelerator on a side and could not be carried out.
    #[error("a work request on the same route failed: {0}")]
    Device(DeviceFault),
    /// The connection never came about: the pre-shared keys of both sides differ.
    #[error("no connection: {0}")]
    Keys(KeyMismatch),
    /// Its queue pairs were taken down although no request had failed: a peer that goes while nothing is outstanding
    /// leaves only flushed requests behind.
    #[error("the connection broke: the peer closed its end or died, or the device took the queue pair down")]
    Disconnected,
    /// A cancelled or overdue transfer did not finish within the grace period, and its queue pair was failed to
    /// prove it quiet.
    #[error("a cancelled transfer on the same route did not finish within the grace period")]
    Unresponsive,
    /// The message handler of the route panicked.
    #[error("the route's message handler panicked")]
    HandlerPanicked,
    /// The peer sent something that is not a message of this driver, or more than its credits allow.
    #[error("the peer sent a malformed message: check that both sides run the same version")]
    Protocol,
    /// The back end refused to post a message or a receive.
    #[error("the back end refused a message or receive: {0}")]
    Refused(PostError),
    /// The route was closed by its owner.
    #[error("the route was closed")]
    Closed,
    /// The lane ended.
    #[error("the lane ended: {0}")]
    LaneEnded(LaneFault),
}

impl RouteFault {
    /// What the first error completion of a route says, and what the back end adds to it. A flushed request did not fail by
    /// itself.
    pub(crate) fn of(error: CompletionError, device: Option<DeviceFault>) -> Self {
        match (error, device) {
            (CompletionError { syndrome: Syndrome::Flushed, .. }, _) => Self::Disconnected,
            (_, Some(fault)) => Self::Device(fault),
            (CompletionError { syndrome, vendor, .. }, None) => Self::WorkRequest { syndrome, vendor },
        }
    }

    /// Whether it says that the peer is gone or does not answer, without more about the cause.
    #[must_use]
    pub const fn is_disconnect(&self) -> bool {
        match self {
            Self::PeerDown | Self::PeerSilent { .. } | Self::Disconnected | Self::Closed => true,
            Self::WorkRequest { syndrome, .. } => is_unanswered(*syndrome),
            _ => false,
        }
    }

    /// What this fault means to a transfer that was on the route.
    #[must_use]
    pub const fn transfer_error(self) -> TransferError {
        match self {
            Self::PeerDown => TransferError::PeerDown,
            Self::PeerSilent { silence } => TransferError::PeerSilent { silence },
            Self::Closed => TransferError::RouteClosed,
            Self::LaneEnded(fault) => TransferError::LaneEnded { fault },
            cause => TransferError::Flushed { cause },
        }
    }
}

/// Why a lane ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LaneFault {
    /// It was shut down, or its driver was dropped.
    #[error("it was shut down")]
    Shutdown,
    /// Its completion queue is unusable.
    #[error("{0}")]
    CompletionQueue(CompletionQueueError),
    /// The back end panicked.
    #[error("the back end panicked")]
    Panicked,
    /// A queue pair could be neither failed, reset nor destroyed, so the device was closed to stop it.
    #[error("a queue pair could not be stopped and the device was closed")]
    CannotStop,
}

/// Why a transfer was not taken.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// The lane's submission ring is full; the options come back.
    #[error("the lane's submission ring is full: submit again once it has taken some")]
    Full(TransferOptions),
    /// The route is not connected yet.
    #[error("the route is not connected: connect it first")]
    NotConnected,
    /// The route is down.
    #[error("the route is down: {0}")]
    RouteFailed(RouteFault),
    /// An entry of the work list gathers more pieces than the route's queue pairs take.
    #[error(
        "the work list gathers {given} pieces in one entry, the route takes {limit}: plan it with that limit"
    )]
    TooManySges {
        /// Pieces of the widest entry.
        given: u16,
        /// The route's limit.
        limit: u32,
    },
    /// A notification is a message, and the route takes none.
    #[error("the route was opened without message memory: give it a registrar on both sides to notify")]
    NoMemory,
    /// The notification is longer than the route's messages.
    #[error("notification of {given} bytes, the route takes {limit}")]
    NotificationTooLong {
        /// Bytes given.
        given: usize,
        /// Bytes allowed.
        limit: usize,
    },
}

/// Why waiting ended without an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WaitError {
    /// The deadline of the wait passed; the transfer goes on.
    #[error("not done by the deadline of the wait; the transfer goes on")]
    Timeout,
    /// The transfer failed.
    #[error(transparent)]
    Failed(#[from] TransferError),
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The peer has no receive left for it, or the lane's ring is full.
    #[error("no room: send again once the peer has taken some messages")]
    Full,
    /// The route takes no messages.
    #[error("the route was opened without message memory: give it a registrar on both sides to send")]
    NoMemory,
    /// Longer than the route's messages.
    #[error("message of {given} bytes, the route takes {limit}")]
    TooLong {
        /// Bytes given.
        given: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The route is not connected yet.
    #[error("the route is not connected: connect it first")]
    NotConnected,
    /// The route is down.
    #[error("the route is down: {0}")]
    RouteFailed(RouteFault),
}
