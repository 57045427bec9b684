//! What a control connection takes, on the wire and in memory: for those who reckon how far a design reaches. Nothing that
//! runs needs it.
//!
//! Of connections without a key; with one, records add to it: see [`security`](crate::security).

use super::{
    KeepAlive, PeerIdentity,
    frame::{Frame, PREAMBLE, READ_CHUNK, encode},
};

/// Bytes that a connection keeps to read into, once the peer has said who it is. A longer frame takes more.
pub const READ_BUFFER: usize = READ_CHUNK;

/// Bytes that either side sends before anything else.
#[must_use]
pub fn greeting_bytes(identity: &PeerIdentity, keep_alive: KeepAlive) -> usize {
    PREAMBLE + frame_bytes(&Frame::Hello { identity: identity.clone(), keep_alive })
}

/// Bytes of an event. One beyond [`FRAME_LIMIT`](super::FRAME_LIMIT) takes none: it is not sent.
#[must_use]
pub fn event_bytes(kind: u16, body: &[u8]) -> usize {
    frame_bytes(&Frame::Event { kind, body: body.to_vec() })
}

/// Bytes of what is sent when nothing else was.
#[must_use]
pub fn keep_alive_bytes() -> usize {
    frame_bytes(&Frame::KeepAlive)
}

fn frame_bytes(frame: &Frame) -> usize {
    let mut bytes = Vec::new();
    // What is too long leaves nothing.
    let _ = encode(frame, &mut bytes);
    bytes.len()
}
