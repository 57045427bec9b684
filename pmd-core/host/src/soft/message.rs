//! What devices tell each other over their sockets: one frame is one packet of a SOCK_SEQPACKET socket.
//!
//! ```text
//!  0  "pmd\x01"    4 bytes
//!  4  version      u16, little endian
//!  6  message      postcard
//! ```
//! Descriptors travel beside it. [`Message::descriptors`] says how many each message has.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::peer::Token;
use crate::identity::DeviceId;

/// Version of frames, segments and links together: peers of another version are not spoken to.
const VERSION: u16 = 3;
const MAGIC: [u8; 4] = *b"pmd\x01";
const BODY_AT: usize = 6;
/// Longest frame; all messages are far shorter.
pub(super) const LONGEST: usize = 256;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Message {
    /// First on every connection. With the segment's descriptor.
    Hello(Hello),
    /// An arena that may be mapped. With its descriptor.
    Arena {
        /// Unique for the life of the device, never 0.
        id: u32,
        /// Bytes.
        length: u64,
        /// Fill in the page tables when mapping it.
        prefault: bool,
    },
    /// The arena is not used any more.
    ArenaGone {
        /// Which.
        id: u32,
    },
    /// Memory of an accelerator that may be opened.
    Share(Share),
    /// That memory is not used any more.
    ShareGone {
        /// Which.
        number: u32,
    },
    /// The answer to it: the sender does not have that memory open, and will not have.
    ShareClosed {
        /// Which, as its owner, who receives this, numbers it.
        number: u32,
    },
    /// A link for two queue pairs. With its descriptor and the sender's wake-up event.
    Offer(Letter),
    /// The link is accepted. With the sender's wake-up event.
    Answer(Letter),
}

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hello {
    /// The device.
    pub(super) device: DeviceId,
    /// Where in its process `token` is found.
    pub(super) token_address: u64,
    /// Proves that this process's memory is meant.
    pub(super) token: Token,
}

/// A [`ShareHandle`](pmd_core::accelerator::ShareHandle) under the number that its owner's regions have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Share {
    /// Unique for the life of the device, never 0.
    pub(super) number: u32,
    /// [`AcceleratorKind::name`](pmd_core::accelerator::AcceleratorKind::name).
    pub(super) kind: String,
    /// The accelerator's unique id.
    pub(super) device: [u8; 16],
    /// What its runtime opens the allocation with.
    pub(super) opaque: Vec<u8>,
    /// Where in the allocation the memory begins.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) length: u64,
}

/// From queue pair to queue pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Letter {
    /// The sender's queue pair.
    pub(super) from: u32,
    /// The receiver's.
    pub(super) to: u32,
    /// Which offer of the offering device.
    pub(super) serial: u64,
}

/// The packet is no frame of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum BadFrame {
    #[error("{length} bytes are no frame")]
    Length { length: usize },
    #[error("not a frame of this protocol")]
    Magic,
    #[error("the peer speaks version {theirs}, this is version {ours}")]
    Version { theirs: u16, ours: u16 },
    #[error("not a message")]
    Content,
}

impl Message {
    /// The frame.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut frame = Vec::with_capacity(LONGEST);
        frame.extend_from_slice(&MAGIC);
        frame.extend_from_slice(&VERSION.to_le_bytes());
        // Postcard fails for types without a known length only, of which a message has none.
        frame.extend(postcard::to_stdvec(self).unwrap_or_default());
        frame
    }

    /// Reads a frame.
    pub(super) fn decode(frame: &[u8]) -> Result<Self, BadFrame> {
        let (Some(magic), Some(version)) = (frame.first_chunk::<4>(), frame.get(4..BODY_AT)) else {
            return Err(BadFrame::Length { length: frame.len() });
        };
        if *magic != MAGIC {
            return Err(BadFrame::Magic);
        }
        let theirs = u16::from_le_bytes([version[0], version[1]]);
        if theirs != VERSION {
            return Err(BadFrame::Version { theirs, ours: VERSION });
        }
        match postcard::take_from_bytes(&frame[BODY_AT..]) {
            Ok((message, [])) => Ok(message),
            _ => Err(BadFrame::Content),
        }
    }

    /// How many descriptors come with it.
    pub(super) fn descriptors(&self) -> usize {
        match self {
            Self::Hello(_) | Self::Arena { .. } | Self::Answer(_) => 1,
            Self::Offer(_) => 2,
            Self::ArenaGone { .. } | Self::Share(_) | Self::ShareGone { .. } | Self::ShareClosed { .. } => 0,
        }
    }
}
