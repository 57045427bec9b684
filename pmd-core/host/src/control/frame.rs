//! Bytes of the control connection.
//!
//! Each side first sends a preamble of 12 bytes: [`MAGIC`], version (u16), whether it has a key (u16, 0 or 1). After that
//! come frames: length (u32) and that many bytes of postcard; with a key they are inside the records of a
//! [`Channel`](super::channel::Channel). All integers little-endian. No length is believed before it
//! is checked, and memory grows only with bytes that have arrived.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::{KeepAlive, PeerIdentity};

/// First bytes of either direction.
pub const MAGIC: [u8; 8] = *b"pmd-ctl\n";

/// Version of frames and of what they carry. Both sides must have the same.
pub const VERSION: u16 = 4;

/// Longest frame in bytes once the peer has said who it is.
pub const FRAME_LIMIT: u32 = 16 << 20;

/// Longest frame in bytes before that.
pub const HELLO_LIMIT: u32 = 4 << 10;

/// Bytes of a preamble.
pub(super) const PREAMBLE: usize = 12;
/// Bytes that are read at a time.
pub(super) const READ_CHUNK: usize = 64 << 10;
/// The same for a peer that has not said who it is.
const SHORT_CHUNK: usize = 8 << 10;

/// What travels after the preamble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Frame {
    /// First frame of either side: who it is, and its terms.
    Hello { identity: PeerIdentity, keep_alive: KeepAlive },
    /// "Still here": sent when nothing else was for an interval.
    KeepAlive,
    /// Asks for an answer under the same number.
    Request { number: u64, kind: u16, body: Vec<u8> },
    /// Answers a request.
    Response { number: u64, result: Result<Vec<u8>, Refusal> },
    /// Tells something; no answer.
    Event { kind: u16, body: Vec<u8> },
    /// Orderly end: the peer closes on purpose.
    Goodbye,
}

/// A peer's refusal of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Error)]
#[error("peer refused (code {code}): {detail}")]
pub struct Refusal {
    /// Meaning is the application's; codes from 0xff00 are this crate's.
    pub code: u16,
    /// For people.
    pub detail: String,
}

impl Refusal {
    /// The service knows no such request.
    pub const UNKNOWN_KIND: u16 = 0xff00;
    /// The service panicked on the request.
    pub const PANICKED: u16 = 0xff01;
}

/// Why the bytes of a control connection are not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The first bytes are not a preamble.
    #[error("not a pmd control connection: it began with {first:02x?}")]
    NotOurs {
        /// First bytes received.
        first: [u8; 8],
    },
    /// The peer speaks another version.
    #[error("peer speaks control version {theirs}, this is {VERSION}: run the same release on both sides")]
    Version {
        /// The peer's version.
        theirs: u16,
    },
    /// A frame longer than allowed.
    #[error("frame of {length} bytes, the limit is {limit}")]
    TooLong {
        /// Length announced.
        length: u32,
        /// Length allowed now.
        limit: u32,
    },
    /// A frame that does not parse.
    #[error("frame of {length} bytes does not parse")]
    Malformed {
        /// Length of the frame.
        length: u32,
    },
    /// A frame that may not come now: the first one must say who the peer is, later ones must not.
    #[error("frame out of turn")]
    OutOfTurn,
    /// One side has a pre-shared key and the other one has none.
    #[error(
        "{} has a pre-shared key and {} has none: give both the same (--key-file, PMD_KEY_FILE)",
        if *here { "this side" } else { "the peer" },
        if *here { "the peer" } else { "this side" }
    )]
    OnlyOneKey {
        /// Whether it is this side that has one.
        here: bool,
    },
    /// The handshake does not verify.
    #[error("the peer has another pre-shared key: give both the same (--key-file, PMD_KEY_FILE)")]
    WrongKey,
    /// An encrypted record does not verify: somebody changed it, cut it, or sent it again.
    #[error("an encrypted record does not verify: somebody between the peers has changed it")]
    Forged,
    /// The peer is this process, reached over another host's address.
    #[error("the peer is this process itself: somebody between leads its connections back to it")]
    Reflected,
    /// There is no random source for the handshake.
    #[error("no random source for the handshake")]
    NoRandom,
}

/// The preamble of a side without a key, as bytes.
pub(super) fn preamble() -> [u8; PREAMBLE] {
    preamble_of(false)
}

/// The preamble of a side that has a key or none, as bytes.
pub(super) fn preamble_of(keyed: bool) -> [u8; PREAMBLE] {
    let mut bytes = [0; PREAMBLE];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
    bytes[10] = keyed.into();
    bytes
}

/// Whether the preamble is there, of a peer that has a key as this side has one, or has none as this side has none.
///
/// # Errors
/// [`FrameError::NotOurs`] as soon as a byte differs, [`FrameError::Version`], [`FrameError::OnlyOneKey`].
pub(super) fn check_preamble(waiting: &[u8], keyed: bool) -> Result<bool, FrameError> {
    let seen = waiting.len().min(MAGIC.len());
    if waiting[..seen] != MAGIC[..seen] {
        let mut first = [0; 8];
        first[..seen].copy_from_slice(&waiting[..seen]);
        return Err(FrameError::NotOurs { first });
    }
    let Some(preamble) = waiting.first_chunk::<PREAMBLE>() else { return Ok(false) };
    let theirs = u16::from_le_bytes([preamble[8], preamble[9]]);
    if theirs != VERSION {
        return Err(FrameError::Version { theirs });
    }
    if *preamble == preamble_of(keyed) {
        return Ok(true);
    }
    // A peer that asks for something that is not known yet is not one without a key.
    Err(FrameError::OnlyOneKey { here: keyed })
}

/// Appends a frame to `out`.
///
/// # Errors
/// [`FrameError::TooLong`]; `out` is as it was.
pub(super) fn encode(frame: &Frame, out: &mut Vec<u8>) -> Result<(), FrameError> {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let written = postcard::to_io(frame, &mut *out).is_ok();
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if !written || length > FRAME_LIMIT {
        out.truncate(start);
        return Err(FrameError::TooLong { length, limit: FRAME_LIMIT });
    }
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// Collects bytes and gives out frames.
#[derive(Debug)]
pub(super) struct FrameReader {
    bytes: Vec<u8>,
    taken: usize,
    greeted: bool,
    limit: u32,
}

impl FrameReader {
    pub(super) const fn new() -> Self {
        Self { bytes: Vec::new(), taken: 0, greeted: false, limit: HELLO_LIMIT }
    }

    /// Of bytes behind a preamble.
    pub(super) const fn greeted() -> Self {
        let mut reader = Self::new();
        reader.greeted = true;
        reader
    }

    /// Whether the preamble has come.
    pub(super) const fn is_greeted(&self) -> bool {
        self.greeted
    }

    /// The peer has said who it is: longer frames are allowed.
    pub(super) const fn raise_limit(&mut self) {
        self.limit = FRAME_LIMIT;
    }

    /// Reads once. Returns the number of bytes, zero at the end of the stream.
    ///
    /// # Errors
    /// What the stream says, `WouldBlock` among it.
    pub(super) fn fill(&mut self, stream: &mut impl Read) -> io::Result<usize> {
        self.bytes.drain(..self.taken);
        self.taken = 0;
        let before = self.bytes.len();
        let chunk = if self.limit == HELLO_LIMIT { SHORT_CHUNK } else { READ_CHUNK };
        self.bytes.resize(before + chunk, 0);
        let result = stream.read(&mut self.bytes[before..]);
        self.bytes.truncate(before + result.as_ref().copied().unwrap_or(0));
        result
    }

    /// The next whole frame, if it has arrived.
    ///
    /// # Errors
    /// [`FrameError`]; the connection is of no more use.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        if !self.greeted && !self.take_preamble()? {
            return Ok(None);
        }
        let waiting = &self.bytes[self.taken..];
        let Some((length, rest)) = waiting.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length);
        if length > self.limit {
            return Err(FrameError::TooLong { length, limit: self.limit });
        }
        let Some(body) = rest.get(..length as usize) else { return Ok(None) };
        let frame = match postcard::take_from_bytes(body) {
            Ok((frame, [])) => frame,
            _ => return Err(FrameError::Malformed { length }),
        };
        self.taken += 4 + length as usize;
        Ok(Some(frame))
    }

    fn take_preamble(&mut self) -> Result<bool, FrameError> {
        if check_preamble(&self.bytes[self.taken..], false)? {
            self.taken += PREAMBLE;
            self.greeted = true;
        }
        Ok(self.greeted)
    }
}
