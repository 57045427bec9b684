//! A message on the wire: version (u8), then the frame in postcard's encoding.

use serde::{Deserialize, Serialize};

use crate::simple::tracker::Timestamp;

const VERSION: u8 = 1;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Request,
    Response,
    /// The request of this timestamp was dropped.
    Busy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Frame {
    pub(super) app: u32,
    pub(super) kind: Kind,
    /// The requester's.
    pub(super) timestamp: Timestamp,
    pub(super) head: i32,
    pub(super) body: Vec<u8>,
}

impl Frame {
    pub(super) fn encode(&self) -> Vec<u8> {
        // Into a growing vector it does not fail; an empty message would be refused by the receiver.
        postcard::to_extend(self, vec![VERSION]).unwrap_or_default()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, frame) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        postcard::take_from_bytes(frame).ok().filter(|(_, rest)| rest.is_empty()).map(|(frame, _)| frame)
    }
}
