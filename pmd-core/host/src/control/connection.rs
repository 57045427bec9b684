//! One peer as application threads see it.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    time::{Duration, Instant},
};

use pmd_core::sync::{AtomicU64, Ordering};
use thiserror::Error;

use super::{
    KeepAliveError, PeerIdentity,
    frame::{Frame, FrameError, Refusal, encode, preamble},
};
use crate::backend::Waker;

/// Bytes that may wait to be written to one peer before it counts as stuck.
const BACKLOG_LIMIT: usize = 64 << 20;

type Reply = Result<Vec<u8>, RequestError>;

/// A control connection; clones are the same connection.
#[derive(Clone)]
pub struct Connection(Arc<Shared>);

struct Shared {
    number: u64,
    remote: SocketAddr,
    waker: Waker,
    identity: OnceLock<PeerIdentity>,
    state: Mutex<State>,
    changed: Condvar,
    /// Written by the control thread only.
    keep_alive_misses: AtomicU64,
}

struct State {
    outgoing: Vec<u8>,
    waiting: HashMap<u64, SyncSender<Reply>>,
    last_number: u64,
    down: Option<DownReason>,
    closing: bool,
}

impl Connection {
    pub(super) fn new(
        number: u64,
        remote: SocketAddr,
        waker: Waker,
        (hello, keyed): (&Frame, bool),
    ) -> Result<Self, FrameError> {
        // With a key the preamble is the channel's.
        let mut outgoing = if keyed { Vec::new() } else { preamble().to_vec() };
        encode(hello, &mut outgoing)?;
        let state = State { outgoing, waiting: HashMap::new(), last_number: 0, down: None, closing: false };
        Ok(Self(Arc::new(Shared {
            number,
            remote,
            waker,
            identity: OnceLock::new(),
            state: Mutex::new(state),
            changed: Condvar::new(),
            keep_alive_misses: AtomicU64::new(0),
        })))
    }

    /// Who the peer is. Known from the moment that the connection is handed out.
    ///
    /// # Errors
    /// [`DownReason`] for a connection that went down before the peer said so.
    pub fn identity(&self) -> Result<&PeerIdentity, DownReason> {
        self.0.identity.get().ok_or_else(|| self.down_reason().unwrap_or(DownReason::Closed))
    }

    /// Number of the connection in its control plane; never used again.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.0.number
    }

    /// The peer's address.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        self.0.remote
    }

    /// Why the peer is down, or `None` while it lives.
    #[must_use]
    pub fn down_reason(&self) -> Option<DownReason> {
        self.state().down.clone()
    }

    /// Intervals of the keep-alive that have passed since it was connected without a word from the peer.
    #[must_use]
    pub fn keep_alive_misses(&self) -> u64 {
        self.0.keep_alive_misses.load(Ordering::Relaxed)
    }

    pub(super) fn missed(&self, intervals: u64) {
        self.0.keep_alive_misses.fetch_add(intervals, Ordering::Relaxed);
    }

    /// Asks the peer's service and waits for the answer, at most `patience`.
    ///
    /// # Errors
    /// [`RequestError`].
    pub fn request(&self, kind: u16, body: Vec<u8>, patience: Duration) -> Reply {
        let (sender, receiver) = sync_channel(1);
        let number = {
            let mut state = self.state();
            state.last_number += 1;
            state.last_number
        };
        let frame = encoded(&Frame::Request { number, kind, body })?;
        {
            let mut state = self.state();
            self.enqueue(&mut state, frame)?;
            state.waiting.insert(number, sender);
        }
        match receiver.recv_timeout(patience) {
            Ok(reply) => reply,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                self.state().waiting.remove(&number);
                // The answer may have come between the time-out and the removal.
                receiver.try_recv().unwrap_or(Err(RequestError::Timeout { patience }))
            }
        }
    }

    /// Tells the peer's service something.
    ///
    /// # Errors
    /// [`RequestError::Down`] or [`RequestError::Frame`]; never a time-out.
    pub fn event(&self, kind: u16, body: Vec<u8>) -> Result<(), RequestError> {
        self.say(&Frame::Event { kind, body })
    }

    /// Ends the connection in order: the peer sees [`DownReason::Goodbye`].
    pub fn close(&self) {
        let mut state = self.state();
        if state.down.is_none() && !state.closing {
            // A connection that cannot take another frame is down anyway.
            let _ = encoded(&Frame::Goodbye).and_then(|frame| self.enqueue(&mut state, frame));
            state.closing = true;
        }
    }

    pub(super) fn respond(&self, number: u64, result: Result<Vec<u8>, Refusal>) -> Result<(), RequestError> {
        self.say(&Frame::Response { number, result })
    }

    pub(super) fn keep_alive(&self) -> Result<(), RequestError> {
        self.say(&Frame::KeepAlive)
    }

    pub(super) fn answer(&self, number: u64, result: Result<Vec<u8>, Refusal>) {
        if let Some(sender) = self.state().waiting.remove(&number) {
            // The asker may have given up already.
            let _ = sender.try_send(result.map_err(RequestError::Refused));
        }
    }

    pub(super) fn introduce(&self, identity: PeerIdentity) -> Result<(), FrameError> {
        self.0.identity.set(identity).map_err(|_| FrameError::OutOfTurn)?;
        self.0.changed.notify_all();
        Ok(())
    }

    /// Waits until the peer has said who it is.
    pub(super) fn wait_introduced(&self, deadline: Instant) -> Result<(), Option<DownReason>> {
        let mut state = self.state();
        while self.0.identity.get().is_none() {
            if let Some(reason) = &state.down {
                return Err(Some(reason.clone()));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(None);
            }
            // A short bound: `introduce` does not hold the lock while it notifies.
            let step = left.min(Duration::from_millis(20));
            state = self.0.changed.wait_timeout(state, step).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Marks the peer as down and fails what waits for it. Returns whether it lived before.
    pub(super) fn fail(&self, reason: &DownReason) -> bool {
        let mut state = self.state();
        if state.down.is_some() {
            return false;
        }
        state.down = Some(reason.clone());
        for (_, sender) in state.waiting.drain() {
            let _ = sender.try_send(Err(RequestError::Down(reason.clone())));
        }
        drop(state);
        self.0.changed.notify_all();
        true
    }

    /// Bytes to write; whether the connection ends after them.
    pub(super) fn take_outgoing(&self, into: &mut Vec<u8>) -> bool {
        let mut state = self.state();
        into.append(&mut state.outgoing);
        state.closing
    }

    pub(super) fn is_closing(&self) -> bool {
        self.state().closing
    }

    pub(super) fn is_introduced(&self) -> bool {
        self.0.identity.get().is_some()
    }

    fn say(&self, frame: &Frame) -> Result<(), RequestError> {
        let frame = encoded(frame)?;
        self.enqueue(&mut self.state(), frame)
    }

    fn enqueue(&self, state: &mut State, mut frame: Vec<u8>) -> Result<(), RequestError> {
        if let Some(reason) = &state.down {
            return Err(RequestError::Down(reason.clone()));
        }
        if state.closing {
            return Err(RequestError::Down(DownReason::Local));
        }
        if state.outgoing.len() > BACKLOG_LIMIT {
            return Err(RequestError::Backlog { waiting: state.outgoing.len() });
        }
        state.outgoing.append(&mut frame);
        self.0.waker.wake();
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As bytes. Never under the lock: a long frame takes its time, in which the control thread must be able to say that this
/// side lives.
fn encoded(frame: &Frame) -> Result<Vec<u8>, RequestError> {
    let mut bytes = Vec::new();
    encode(frame, &mut bytes).map_err(RequestError::Frame)?;
    Ok(bytes)
}

impl PartialEq for Connection {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("remote", &self.0.remote)
            .field("identity", &self.0.identity.get())
            .field("down", &self.down_reason())
            .finish()
    }
}

/// Why a peer is down.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DownReason {
    /// The peer's end closed without a word: its process ended or its host is gone.
    #[error("the peer's process is gone")]
    Closed,
    /// The peer closed on purpose.
    #[error("the peer said goodbye")]
    Goodbye,
    /// This side closed.
    #[error("closed by this side")]
    Local,
    /// Nothing came for longer than the bound.
    #[error("nothing heard from the peer for {0:?}")]
    Silent(Duration),
    /// The peer sent something that is not ours.
    #[error(transparent)]
    Protocol(#[from] FrameError),
    /// The keep-alive terms of both sides do not work together; only before the peer is handed out.
    #[error(transparent)]
    KeepAlive(#[from] KeepAliveError),
}

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The peer is down.
    #[error("peer is down: {0}")]
    Down(DownReason),
    /// No answer in time; it may still come and is then dropped.
    #[error("no answer within {patience:?}")]
    Timeout {
        /// Time waited.
        patience: Duration,
    },
    /// The peer's service refused.
    #[error(transparent)]
    Refused(Refusal),
    /// The request is too long.
    #[error(transparent)]
    Frame(FrameError),
    /// The peer does not read: too much waits for it.
    #[error("{waiting} bytes wait for a peer that does not read")]
    Backlog {
        /// Bytes waiting.
        waiting: usize,
    },
}
