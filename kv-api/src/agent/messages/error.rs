//! Why a message was not taken, or did not arrive.

use pmd_host::{backend::SetupError, endpoint::RegisterError, transfer::SendError};
use thiserror::Error;

/// Why a message was not taken, or did not arrive.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// So much waits for this peer that no more is taken.
    #[error(
        "{waiting} bytes wait for the peer already, at most {limit} may: send again once it has taken some, or give a deadline to wait until then"
    )]
    Full {
        /// Bytes that wait.
        waiting: usize,
        /// Bytes that may.
        limit: usize,
    },
    /// A header has to fit into one message of the lane.
    #[error("header of {given} bytes, at most {limit} are allowed: put the rest into the payload")]
    HeaderTooLong {
        /// Bytes given.
        given: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The payload could not be registered for the peer to read.
    #[error("the payload cannot be registered for the peer to read: {detail}")]
    Register {
        /// What the device said.
        detail: String,
    },
    /// Its deadline passed. The peer gets it all the same if it was on its way.
    #[error("its deadline passed before the peer had taken it")]
    DeadlineExceeded,
    /// The peer did not take it.
    #[error("the peer refused it: {0}")]
    Refused(#[from] Refused),
    /// The peer is gone; whether its handler saw the message is not known.
    #[error("the peer is down: connect to its successor")]
    PeerDown,
    /// The route to the peer is down or takes no messages.
    #[error(transparent)]
    Route(SendError),
    /// The messenger was closed first.
    #[error("the messenger was closed before the peer had taken it")]
    Closed,
}

/// Why a receiver does not take a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[repr(u16)]
#[non_exhaustive]
pub enum Refused {
    /// Longer than the receiver allows.
    #[error("its payload is longer than the receiver allows")]
    TooLong = 1,
    /// The receiver has no memory for it.
    #[error("the receiver has no memory for its payload")]
    NoMemory = 2,
    /// Reading it failed.
    #[error("the receiver could not read its payload")]
    ReadFailed = 3,
    /// The receiver's handler panicked.
    #[error("the receiver's handler panicked")]
    Panicked = 4,
}

impl Refused {
    pub(super) const fn from_number(number: u16) -> Option<Self> {
        match number {
            1 => Some(Self::TooLong),
            2 => Some(Self::NoMemory),
            3 => Some(Self::ReadFailed),
            4 => Some(Self::Panicked),
            _ => None,
        }
    }
}

impl From<RegisterError> for MessageError {
    fn from(error: RegisterError) -> Self {
        Self::Register { detail: error.to_string() }
    }
}

impl From<SetupError> for MessageError {
    fn from(error: SetupError) -> Self {
        Self::Register { detail: error.to_string() }
    }
}
