//! What the peer says to its parent and what it is told: JSON lines on its standard output and input.

use serde::{Deserialize, Serialize};

/// To the peer, one at a time; answered when it is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Task {
    /// Overwrite all blocks.
    Clear,
    /// Hash all blocks.
    Digest,
    /// Take part in an iteration whose blocks go there. Answered at once, and once more when that part is over.
    Serve(Vec<u32>),
}

/// From the peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum PeerSays {
    /// Its blocks are full and the API's server is open.
    Ready {
        /// What the client connects to.
        address: String,
    },
    /// [`Task::Clear`] is done, or a part in an iteration has begun or is over.
    Done,
    /// BLAKE3 of the blocks in order.
    Digest([u8; 32]),
}
