//! The other process: messages over the control plane, and what became of it.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel},
    },
    time::{Duration, Instant},
};

use pmd_core::memory::{RemoteAddress, RemoteKey};
use pmd_host::{
    backend::{QueuePairAddress, Transport},
    control::{Connection, ControlConfig, ControlPlane, DownReason, PeerIdentity, Refusal, Service},
    identity::{DeviceId, HostId},
};
use serde::{Deserialize, Serialize};

use super::{error::PerfError, plan::Plan};

/// Longest time for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Kind of the events that carry a [`Message`].
const MESSAGE: u16 = 1;

/// What the two sides say to each other, in this order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Message {
    /// Client: what will be measured, and its queue pair.
    Setup { plan: Plan, transport: Transport, endpoint: Endpoint },
    /// Server: its queue pair.
    Endpoint(Endpoint),
    /// Client: one size. `warm_up` iterations come before `iterations`.
    Round { size: u32, warm_up: u64, iterations: u64 },
    /// Server: its memory is prepared, begin.
    Ready,
    /// Client: everything has completed.
    Finish,
    /// Server: its share is over and what it received verified.
    Done,
    /// Either: it is over, with this exit code.
    Failed { code: u8, text: String },
}

/// Where a side's queue pair and memory are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Endpoint {
    pub(super) address: QueuePairAddress,
    pub(super) outgoing: Window,
    pub(super) incoming: Window,
}

/// Memory that the peer may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    address: u64,
    key: u32,
}

impl From<RemoteAddress> for Window {
    fn from(remote: RemoteAddress) -> Self {
        Self { address: remote.address, key: remote.key.0 }
    }
}

impl Window {
    /// What a request names to reach `offset`.
    #[inline]
    pub(super) fn at(self, offset: u64) -> RemoteAddress {
        RemoteAddress { address: self.address + offset, key: RemoteKey(self.key) }
    }
}

/// What the control thread notes.
#[derive(Debug)]
enum Event {
    Connected(Connection),
    Message(Connection, Result<Message, serde_json::Error>),
    Down(Connection, DownReason),
}

/// A listener, until a peer connects.
#[derive(Debug)]
pub(super) struct Waiting {
    plane: ControlPlane,
    events: Receiver<Event>,
}

/// A connected peer.
#[derive(Debug)]
pub(super) struct Peer {
    // Dropped last but one: it says goodbye after the last message went out.
    connection: Connection,
    events: Receiver<Event>,
    early: VecDeque<Message>,
    _plane: ControlPlane,
}

impl Waiting {
    /// Opens a control plane, which listens where it is told to.
    pub(super) fn start(name: String, listen: Option<SocketAddr>) -> Result<Self, PerfError> {
        let incarnation = DeviceId::random().map_err(PerfError::Identity)?;
        let host = HostId::current().map_err(PerfError::Identity)?;
        let (sender, events) = channel();
        let config = ControlConfig::new(PeerIdentity { incarnation, name, host }, listen);
        Ok(Self { plane: ControlPlane::start(config, Arc::new(Notes(sender)))?, events })
    }

    /// Where it listens.
    pub(super) fn address(&self) -> Option<SocketAddr> {
        self.plane.local_address()
    }

    /// Connects to a peer that listens.
    pub(super) fn connect(self, remote: SocketAddr) -> Result<Peer, PerfError> {
        let connection = self.plane.connect(remote, PATIENCE)?;
        Ok(self.with(connection))
    }

    /// The peer that connects within `patience`, if one does; only one that `expected` accepts.
    pub(super) fn accept(
        self,
        patience: Duration,
        expected: impl Fn(&PeerIdentity) -> bool,
    ) -> Result<Result<Peer, Self>, PerfError> {
        let deadline = Instant::now() + patience;
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Connected(connection)) if connection.identity().is_ok_and(&expected) => {
                    return Ok(Ok(self.with(connection)));
                }
                Ok(Event::Connected(connection)) => connection.close(),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => return Ok(Err(self)),
                Err(RecvTimeoutError::Disconnected) => return Err(PerfError::Down(DownReason::Local)),
            }
        }
    }

    fn with(self, connection: Connection) -> Peer {
        Peer { connection, events: self.events, early: VecDeque::new(), _plane: self.plane }
    }
}

impl Peer {
    /// The peer's end, with an address at which it is reached from here.
    pub(super) fn seen(&self, endpoint: Endpoint) -> Endpoint {
        Endpoint { address: endpoint.address.seen_from(self.connection.remote()), ..endpoint }
    }

    /// Tells the peer something.
    pub(super) fn send(&self, message: &Message) -> Result<(), PerfError> {
        Ok(self.connection.event(MESSAGE, serde_json::to_vec(message)?)?)
    }

    /// What the peer says next, within [`PATIENCE`].
    pub(super) fn receive(&mut self) -> Result<Message, PerfError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(message) = self.early.pop_front() {
                return Ok(message);
            }
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(event) => self.note(event)?,
                Err(RecvTimeoutError::Timeout) => return Err(PerfError::Silent(PATIENCE)),
                Err(RecvTimeoutError::Disconnected) => return Err(PerfError::Down(DownReason::Local)),
            }
        }
    }

    /// As [`Peer::receive`], without waiting.
    pub(super) fn try_receive(&mut self) -> Result<Option<Message>, PerfError> {
        self.check()?;
        Ok(self.early.pop_front())
    }

    /// Fails when the peer went away or said that it failed; keeps everything else for later.
    pub(super) fn check(&mut self) -> Result<(), PerfError> {
        loop {
            match self.events.try_recv() {
                Ok(event) => self.note(event)?,
                Err(TryRecvError::Empty) => return Ok(()),
                Err(TryRecvError::Disconnected) => return Err(PerfError::Down(DownReason::Local)),
            }
        }
    }

    fn note(&mut self, event: Event) -> Result<(), PerfError> {
        match event {
            Event::Message(from, _) | Event::Down(from, _) if from != self.connection => {}
            Event::Message(_, Ok(Message::Failed { code, text })) => {
                return Err(PerfError::Peer { code, text });
            }
            Event::Message(_, message) => self.early.push_back(message?),
            Event::Down(_, reason) => return Err(PerfError::Down(reason)),
            // One peer at a time.
            Event::Connected(other) if other != self.connection => other.close(),
            Event::Connected(_) => {}
        }
        Ok(())
    }
}

/// Hands what the control thread hears to the thread that measures.
#[derive(Debug)]
struct Notes(Sender<Event>);

impl Notes {
    /// A receiver that is gone does not want to know any more.
    fn note(&self, event: Event) {
        let _ = self.0.send(event);
    }
}

impl Service for Notes {
    fn connected(&self, connection: &Connection) {
        self.note(Event::Connected(connection.clone()));
    }

    fn request(&self, _: &Connection, _: u16, _: &[u8]) -> Result<Vec<u8>, Refusal> {
        Err(Refusal { code: 1, detail: "pmd perf answers no requests".into() })
    }

    fn event(&self, connection: &Connection, kind: u16, body: &[u8]) {
        if kind == MESSAGE {
            self.note(Event::Message(connection.clone(), serde_json::from_slice(body)));
        }
    }

    fn down(&self, connection: &Connection, reason: &DownReason) {
        self.note(Event::Down(connection.clone(), reason.clone()));
    }
}

#[cfg(test)]
mod tests;
