//! The control plane: who the peers are, whether they live, and everything that is asked or told outside the data
//! path.
//!
//! One thread owns the listener and all connections ([`ControlPlane`]); application threads ask through
//! [`Connection::request`], a [`Service`] answers. The data path does not need it: a transfer never waits for a
//! control frame.
//!
//! ```text
//!  connect ---- preamble, Hello ---->
//!          <--- preamble, Hello -----      incarnation, name, host, keep-alive terms
//!          ---- Request / Response / Event, KeepAlive ----
//!          ---- Goodbye, or silence beyond the bound: down
//! ```
//!
//! A peer that is silent for longer than [`ControlConfig::timeout`], closes, or sends something that does not parse
//! is *down*: every waiting request fails with the [`DownReason`] and the service is told once. An incarnation is
//! drawn at start, so a restarted peer of the same name is another peer.
//!
//! Terms that do not work together ([`KeepAlive`]) are refused at the Hello by both sides, with what to set.
//!
//! With a key ([`ControlConfig::key`]) a handshake comes between preamble and Hello, and all frames travel encrypted in
//! records: see [`security`](crate::security).

mod channel;
mod connection;
mod frame;
mod keep_alive;
mod plane;
pub mod sizes;
mod wire_socket;

use std::{net::SocketAddr, time::Duration};

pub use connection::{Connection, DownReason, RequestError};
pub use frame::{FRAME_LIMIT, FrameError, HELLO_LIMIT, MAGIC, Refusal, VERSION};
pub use keep_alive::{KeepAlive, KeepAliveError};
pub use plane::{ConnectError, ControlError, ControlPlane};
use serde::{Deserialize, Serialize};

use crate::{
    identity::{DeviceId, HostId},
    security::PreSharedKey,
};

/// Who a peer says it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerIdentity {
    /// Drawn when the peer started: a restarted process has another.
    pub incarnation: DeviceId,
    /// Name given by its configuration; for people and look-ups, not unique.
    pub name: String,
    /// Where it runs.
    pub host: HostId,
}

/// Settings of a control plane.
#[derive(Clone, Debug)]
pub struct ControlConfig {
    /// Who this process is.
    pub identity: PeerIdentity,
    /// Where to listen; `None` only connects.
    pub listen: Option<SocketAddr>,
    /// A keep-alive goes out when nothing else did for this long. Peers are told, and one whose bound this would not keep
    /// refuses.
    pub interval: Duration,
    /// Silence after which a peer is down; several intervals of the peer's, which is refused where it has longer ones.
    pub timeout: Duration,
    /// Time a new connection has to say who it is.
    pub hello_timeout: Duration,
    /// Connections that may be without a Hello at one time; for one more the oldest of them is hung up on, those
    /// first that have said nothing.
    pub anonymous_limit: usize,
    /// What peers must know; without one everybody is let in.
    pub key: Option<PreSharedKey>,
}

impl ControlConfig {
    /// Defaults: keep-alive each second, down after 5 s of silence, 3 s for the Hello, 64 connections without one.
    #[must_use]
    pub const fn new(identity: PeerIdentity, listen: Option<SocketAddr>) -> Self {
        Self {
            identity,
            listen,
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(5),
            hello_timeout: Duration::from_secs(3),
            anonymous_limit: 64,
            key: None,
        }
    }

    /// What peers are told.
    pub(super) const fn keep_alive(&self) -> KeepAlive {
        KeepAlive { interval: self.interval, timeout: self.timeout }
    }
}

/// What the application does with control traffic. Called on the control thread: answer quickly, never wait for
/// another request to the same plane. A panic is caught and answered with [`Refusal::PANICKED`].
pub trait Service: Send + Sync {
    /// A peer has connected or was connected to.
    fn connected(&self, connection: &Connection);

    /// Answers a request.
    ///
    /// # Errors
    /// A [`Refusal`] travels back to the asker.
    fn request(&self, connection: &Connection, kind: u16, body: &[u8]) -> Result<Vec<u8>, Refusal>;

    /// Takes note of an event.
    fn event(&self, connection: &Connection, kind: u16, body: &[u8]);

    /// The peer is gone. Called once for each `connected`.
    fn down(&self, connection: &Connection, reason: &DownReason);

    /// Somebody at `remote` connected and was hung up on before it was known who it is: it has another key or none, does
    /// not speak the protocol, or said nothing. For logs; does nothing by itself.
    fn refused(&self, remote: SocketAddr, reason: &DownReason) {
        let _ = (remote, reason);
    }
}

#[cfg(test)]
mod tests;
