//! States of a reliable-connected queue pair and the transitions between them.

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

impl QueuePairState {
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
