//! What the demo's processes say to their parent (JSON lines) and to each other (postcard, as application requests).

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The prefill process to its parent, once its cache is full.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PrefillSays {
    pub(super) address: SocketAddr,
}

/// The decode process to its parent.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum DecodeSays {
    /// What it does now.
    Step(String),
    /// What it has measured and verified.
    Row(Row),
    /// How the rails to the prefill process stand, if it has any.
    Rails(Vec<Rail>),
    /// Nothing more comes.
    Done,
}

/// A rail to the prefill process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Rail {
    pub(super) rail: u16,
    /// `up`, or what else it is.
    pub(super) state: String,
    /// Times that it was opened.
    pub(super) lives: u32,
    /// What the decode process pulled over it; pushes are counted at the other end.
    pub(super) bytes: u64,
    pub(super) chunks: u64,
}

/// One way across.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Row {
    pub(super) mode: String,
    /// `read` or `write`.
    pub(super) operation: String,
    pub(super) layers: u32,
    /// Blocks of all tensors together.
    pub(super) blocks: u64,
    pub(super) block_size: u64,
    /// Work requests that the blocks were merged into.
    pub(super) work_requests: u64,
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    pub(super) transport: String,
    pub(super) device: String,
    /// How the bytes of the prefill's cache are reached, and those of the decode's.
    pub(super) paths: (String, String),
    pub(super) verified: bool,
}

/// The decode process to the prefill process.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    /// What the cache should hold; answered by [`Contents`].
    Contents,
    /// Push everything into the decode's cache in one transfer; answered at once, notified by [`Landed`].
    Push,
    /// Push layer by layer; answered at once, each layer notified by [`Landed`].
    PushLayers,
    /// Whether all pushes have ended at the prefill's side too; answered by a bool.
    Settled,
}

/// What a prefill's cache holds.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Contents {
    /// BLAKE3 of each layer's bytes: its tensors in order, their blocks in order.
    pub(super) digests: Vec<[u8; 32]>,
    /// Bytes that mean something; the rest of the last block is zero.
    pub(super) length: u64,
    /// Transports, by name, and how the bytes are reached over each.
    pub(super) paths: Vec<(String, String)>,
}

/// Notification of a push.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Landed {
    /// First layer that is in place.
    pub(super) layer: u32,
    /// Number of layers.
    pub(super) layers: u32,
    /// Work requests that the blocks were merged into.
    pub(super) work_requests: u64,
}

/// Names under which the two caches are looked up.
pub(super) const PREFILL_CACHE: &str = "prefill";
pub(super) const DECODE_CACHE: &str = "decode";

/// As bytes of a request, an answer or a notification.
pub(super) fn encode(value: &impl Serialize) -> Vec<u8> {
    // Only a failing writer makes this fail, and a vector does not.
    postcard::to_allocvec(value).unwrap_or_default()
}
