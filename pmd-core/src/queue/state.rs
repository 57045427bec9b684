//! States of a reliable-connected queue pair and the transitions between them.
//!
//! [`super::QueueProvider`] keeps one state per queue pair, moved by the control plane
//! ([`super::QueueProvider::set_state`]) and by error completions. The table is that of the InfiniBand
//! architecture 10.3.1 as the Linux kernel enforces it (`qp_state_table` in drivers/infiniband/core/verbs.c).

use thiserror::Error;

use QueuePairState::{Error, Init, ReadyToReceive, ReadyToSend, Reset, SendQueueDrained};

/// State of a queue pair (InfiniBand architecture 10.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueuePairState {
    /// Nothing can be posted.
    Reset,
    /// Receives can be posted.
    Init,
    /// Incoming packets are processed.
    ReadyToReceive,
    /// Sends are processed too.
    ReadyToSend,
    /// Sends already begun finish, new ones wait.
    SendQueueDrained,
    /// Everything outstanding is flushed.
    Error,
}

/// A transition that the state table does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("queue pair cannot go from {from:?} to {to:?}: {reason}")]
pub struct ProhibitedTransition {
    /// State it is in.
    pub from: QueuePairState,
    /// State that was asked for.
    pub to: QueuePairState,
    /// Why not, and what to do.
    pub reason: &'static str,
}

const SKIPS_INIT: &str = "a reset queue pair has no port and no access rights yet: move it to Init first";
const SKIPS_RECEIVE: &str =
    "the peer's number and address are set on the way to ReadyToReceive: go there first";
const NOTHING_TO_FLUSH: &str = "a reset queue pair holds no work to flush: leave it in Reset";
const ONLY_SENDING_DRAINS: &str = "only a queue pair that sends can be drained: move it to ReadyToSend first";
const ALREADY_CONNECTED: &str = "the connection's attributes are set once: go through Reset to set others";
const ERROR_IS_FINAL: &str = "work was flushed and sequence numbers are lost: go through Reset";

impl QueuePairState {
    /// All states, in the order of a connection's life.
    pub const ALL: [Self; 6] = [Reset, Init, ReadyToReceive, ReadyToSend, SendQueueDrained, Error];

    /// Goes to another state, if the table has that transition.
    ///
    /// # Errors
    /// [`ProhibitedTransition`] with the reason.
    ///
    /// ```
    /// use pmd_core::queue::QueuePairState;
    ///
    /// assert!(QueuePairState::Init.transition(QueuePairState::ReadyToReceive).is_ok());
    /// let refused = QueuePairState::Error.transition(QueuePairState::ReadyToSend).unwrap_err();
    /// assert_eq!(refused.from, QueuePairState::Error);
    /// ```
    pub const fn transition(self, to: Self) -> Result<Self, ProhibitedTransition> {
        match self.prohibition(to) {
            None => Ok(to),
            Some(reason) => Err(ProhibitedTransition { from: self, to, reason }),
        }
    }

    /// The table: why `self -> to` is prohibited, or `None` where it is allowed.
    const fn prohibition(self, to: Self) -> Option<&'static str> {
        match (self, to) {
            (_, Reset)
            | (Reset | Init, Init)
            | (Init, ReadyToReceive)
            | (ReadyToReceive | ReadyToSend | SendQueueDrained, ReadyToSend)
            | (ReadyToSend | SendQueueDrained, SendQueueDrained)
            | (Init | ReadyToReceive | ReadyToSend | SendQueueDrained | Error, Error) => None,
            (Reset, ReadyToReceive | ReadyToSend) => Some(SKIPS_INIT),
            (Init, ReadyToSend) => Some(SKIPS_RECEIVE),
            (Reset, Error) => Some(NOTHING_TO_FLUSH),
            (Reset | Init | ReadyToReceive, SendQueueDrained) => Some(ONLY_SENDING_DRAINS),
            (ReadyToReceive | ReadyToSend | SendQueueDrained, Init | ReadyToReceive) => {
                Some(ALREADY_CONNECTED)
            }
            (Error, Init | ReadyToReceive | ReadyToSend | SendQueueDrained) => Some(ERROR_IS_FINAL),
        }
    }

    /// Whether sends can be posted: [`QueuePairState::ReadyToSend`] only.
    #[inline]
    #[must_use]
    pub const fn takes_sends(self) -> bool {
        matches!(self, ReadyToSend)
    }

    /// Whether receives can be posted.
    #[inline]
    #[must_use]
    pub const fn takes_receives(self) -> bool {
        !matches!(self, Reset | Error)
    }

    /// What to do before posting in this state.
    #[must_use]
    pub const fn posting_advice(self) -> &'static str {
        match self {
            Self::Reset | Self::Init | Self::ReadyToReceive => "connect it first",
            Self::ReadyToSend => "post again",
            Self::SendQueueDrained => "move it back to ready-to-send first",
            Self::Error => "poll its flushed completions, then reset and connect it again",
        }
    }
}
