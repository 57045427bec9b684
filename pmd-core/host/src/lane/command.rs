//! What handles send to their lane.

use std::sync::{
    Arc,
    mpsc::{self, SyncSender, TryRecvError},
};

use super::{
    config::{RouteConfig, RouteError},
    route::{RouteHandle, RouteKey, RouteShared},
};
use crate::{
    backend::{ConnectOptions, QueuePairAddress},
    transfer::{Completer, LaneFault, TransferError, TransferOptions, WorkList},
};

/// One slot of a lane's ring.
#[derive(Debug)]
pub(crate) enum Command {
    /// Carry out a transfer.
    Submit(Submission),
    /// Send a message for which a credit was taken.
    Send(OutgoingMessage),
    /// Something that happens a few times in the life of a route.
    Setup(Box<SetupCommand>),
}

/// A transfer on its way to the lane.
#[derive(Debug)]
pub(crate) struct Submission {
    pub(crate) completer: Completer,
    pub(crate) work: Arc<WorkList>,
    pub(crate) options: TransferOptions,
    /// Keeps the route open until the transfer is quiet.
    pub(crate) route: Arc<RouteHandle>,
}

/// A message on its way to the lane.
#[derive(Debug)]
pub(crate) struct OutgoingMessage {
    pub(crate) route: RouteKey,
    pub(crate) bytes: MessageBytes,
    pub(crate) immediate: Option<u32>,
}

/// Bytes of a message: short ones travel in the ring slot.
#[derive(Debug)]
pub(crate) enum MessageBytes {
    Short { length: u8, bytes: [u8; MessageBytes::SHORT] },
    Long(Box<[u8]>),
}

impl MessageBytes {
    const SHORT: usize = 63;

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for MessageBytes {
    fn from(message: &[u8]) -> Self {
        if message.len() > Self::SHORT {
            return Self::Long(message.into());
        }
        let mut bytes = [0; Self::SHORT];
        bytes[..message.len()].copy_from_slice(message);
        Self::Short { length: message.len() as u8, bytes }
    }
}

/// Setup of routes; each is answered once.
#[derive(Debug)]
pub(crate) enum SetupCommand {
    Open { config: RouteConfig, reply: Reply<Arc<RouteShared>> },
    Connect { route: RouteKey, addresses: Vec<QueuePairAddress>, options: ConnectOptions, reply: Reply<()> },
    Close { route: RouteKey, reply: Reply<()> },
}

impl Command {
    /// Answers a command that no lane will carry out.
    pub(crate) fn refuse(self, fault: LaneFault) {
        match self {
            Self::Submit(submission) => {
                submission.completer.complete(Err(TransferError::LaneEnded { fault }), 0);
            }
            Self::Send(_) => {}
            Self::Setup(command) => match *command {
                SetupCommand::Open { reply, .. } => reply.give(Err(RouteError::LaneEnded(fault))),
                SetupCommand::Connect { reply, .. } => reply.give(Err(RouteError::LaneEnded(fault))),
                // A lane that ended has closed everything.
                SetupCommand::Close { reply, .. } => reply.give(Ok(())),
            },
        }
    }
}

/// The lane's end of an answer.
#[derive(Debug)]
pub(crate) struct Reply<T>(SyncSender<Result<T, RouteError>>);

/// The asker's end of an answer.
#[derive(Debug)]
pub(crate) struct Answer<T>(mpsc::Receiver<Result<T, RouteError>>);

pub(crate) fn reply<T>() -> (Reply<T>, Answer<T>) {
    let (sender, receiver) = mpsc::sync_channel(1);
    (Reply(sender), Answer(receiver))
}

impl<T> Reply<T> {
    /// Never waits: there is room for the one answer. An asker that is gone does not need it.
    pub(crate) fn give(self, result: Result<T, RouteError>) {
        let _ = self.0.try_send(result);
    }
}

impl<T> Answer<T> {
    /// Waits for the answer.
    pub(crate) fn wait(self) -> Result<T, RouteError> {
        self.0.recv().unwrap_or(Err(RouteError::LaneEnded(LaneFault::Panicked)))
    }

    /// The answer if it is there.
    pub(crate) fn poll(&self) -> Option<Result<T, RouteError>> {
        match self.0.try_recv() {
            Ok(result) => Some(result),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Err(RouteError::LaneEnded(LaneFault::Panicked))),
        }
    }
}
