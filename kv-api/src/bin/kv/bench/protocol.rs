//! What the peer says to its parent (a JSON line) and what it is asked (postcard, as application requests).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The peer to its parent, once its cache is full.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PeerSays {
    pub(super) address: SocketAddr,
}

/// To the peer.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// Begin a task; answered at once by nothing.
    Begin(Task),
    /// How far it is; answered by [`Progress`].
    Progress,
}

/// Something that takes longer than a request may. One at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    /// Overwrite the whole cache.
    Clear,
    /// BLAKE3 of the cache: its blocks in order.
    Digest,
}

/// How far the last task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Progress {
    /// Not done.
    Busy,
    /// [`Task::Clear`] is done.
    Cleared,
    /// [`Task::Digest`] is done.
    Digest([u8; 32]),
}

/// Name under which the peer's cache is looked up.
pub(super) const PEER_CACHE: &str = "bench-peer";

/// As bytes of a request or an answer.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    // Only a failing writer makes this fail, and a vector does not.
    postcard::to_allocvec(value).unwrap_or_default()
}
