//! A transfer that failed, as its peer hears of it: which one, why, and which blocks are not valid.

#[cfg(test)]
mod tests;

use std::fmt;

use pmd_host::{endpoint::Peer, transfer::TransferError};
use serde::{Deserialize, Serialize};

use crate::planner::{BlockSet, Direction};

/// Number of a transfer in the engine that posted it, from 1; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TransferId(pub u64);

/// Why a transfer failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub enum FailureReason {
    /// Who posted it cancelled it.
    Cancelled,
    /// Its deadline passed.
    DeadlineExceeded,
    /// The device refused or failed one of its work requests.
    WorkRequest,
    /// All bytes moved, but the notification may not have arrived.
    NotificationLost,
    /// The route went down or was closed while it was on it.
    RouteDown,
    /// It was never posted: the layers of a stream that ended before.
    NotPosted,
}

/// A peer's transfer, with a cache of this engine, that failed. What was written before it failed stays; nothing more is
/// written on its behalf.
#[derive(Clone, Debug)]
pub struct TransferFailure {
    /// Who had posted it.
    pub peer: Peer,
    /// Its number at the peer.
    pub transfer: TransferId,
    /// Whether the peer pushed into this engine's cache, or pulled from it.
    pub direction: Direction,
    /// Name of the cache of this engine.
    pub cache: String,
    /// Its blocks that are not proven to have moved: not valid after a push, not read after a pull.
    pub blocks: BlockSet,
    /// Why.
    pub reason: FailureReason,
    /// The same in words.
    pub detail: String,
    /// The notification that will not come, if there was to be one.
    pub notification: Option<Vec<u8>>,
}

impl FailureReason {
    /// What a transfer's error means to its peer; `None` where the peer cannot hear of it, because it is gone.
    pub(super) const fn of(error: &TransferError) -> Option<Self> {
        match error {
            TransferError::Cancelled => Some(Self::Cancelled),
            TransferError::DeadlineExceeded => Some(Self::DeadlineExceeded),
            TransferError::NotificationFailed { .. } => Some(Self::NotificationLost),
            TransferError::PeerDown | TransferError::PeerSilent { .. } => None,
            error if error.is_route_down() => Some(Self::RouteDown),
            TransferError::Failed { .. } | TransferError::Device { .. } | TransferError::Refused { .. } => {
                Some(Self::WorkRequest)
            }
            _ => Some(Self::RouteDown),
        }
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Cancelled => "cancelled",
            Self::DeadlineExceeded => "not done by its deadline",
            Self::WorkRequest => "a work request failed",
            Self::NotificationLost => "all bytes moved but the notification may be lost",
            Self::RouteDown => "its route went down",
            Self::NotPosted => "never posted",
        })
    }
}

/// What one engine tells another of a failure.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Report {
    pub(super) transfer: TransferId,
    pub(super) push: bool,
    pub(super) cache: String,
    pub(super) blocks: BlockSet,
    pub(super) reason: FailureReason,
    pub(super) detail: String,
    pub(super) notification: Option<Vec<u8>>,
    /// Tag of the stream that it belongs to, and its layer at the receiver.
    pub(super) layer: Option<LayerNote>,
}

/// A layer of a stream; its notification, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerNote {
    pub(super) tag: u64,
    pub(super) layer: u32,
}

impl Report {
    pub(super) fn into_failure(self, peer: &Peer) -> TransferFailure {
        let Self { transfer, push, cache, blocks, reason, detail, notification, .. } = self;
        let direction = if push { Direction::Push } else { Direction::Pull };
        TransferFailure {
            peer: peer.clone(),
            transfer,
            direction,
            cache,
            blocks,
            reason,
            detail,
            notification,
        }
    }
}
