//! What travels when a worker fetches a server's stamps: a request and its answer over the control connection.
//!
//! | bytes | query | answer |
//! |---|---|---|
//! | 0 | version, 1 | version, 1 |
//! | 1..8 | 0 | 0 |
//! | 8.. | a tag (u64) each | tag, received, processed, responded, sent (u64 each) |
//!
//! All numbers are little-endian. An answer has no entry for a tag that the server does not know (any more).

use std::collections::HashMap;

use thiserror::Error;

use super::ServerStamps;

const VERSION: u8 = 1;
const HEADER: usize = 8;
const TAG: usize = 8;
const ENTRY: usize = TAG + 4 * 8;

/// A query names at most so many requests.
pub const MOST_TAGS: usize = 64 << 10;

/// Why a query or an answer is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MessageError {
    /// Not a whole number of entries behind the header, or no header.
    #[error("{bytes} bytes are not a trace message: {HEADER} bytes and a multiple of {entry}")]
    Length {
        /// Bytes that came.
        bytes: usize,
        /// Bytes of each entry.
        entry: usize,
    },
    /// The peer speaks another version.
    #[error("trace messages of version {found} came, not {VERSION}: let both sides run the same release")]
    Version {
        /// The version that came.
        found: u8,
    },
    /// More requests than [`MOST_TAGS`].
    #[error("stamps of {count} requests are asked for, and {MOST_TAGS} at most are answered")]
    TooMany {
        /// Requests in the query.
        count: usize,
    },
}

/// The requests whose stamps are wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) tags: Vec<u64>,
}

/// The stamps that the server has of them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer(HashMap<u64, ServerStamps>);

impl Query {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = header(self.tags.len() * TAG);
        self.tags.iter().take(MOST_TAGS).for_each(|tag| bytes.extend(tag.to_le_bytes()));
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let tags: Vec<u64> = entries::<TAG>(bytes)?.map(|entry| word(entry, 0)).collect();
        if tags.len() > MOST_TAGS {
            return Err(MessageError::TooMany { count: tags.len() });
        }
        Ok(Self { tags })
    }
}

impl Answer {
    pub(super) fn encode(stamps: impl Iterator<Item = (u64, ServerStamps)>) -> Vec<u8> {
        let mut bytes = header(stamps.size_hint().0 * ENTRY);
        for (tag, stamps) in stamps {
            let words = [tag, stamps.received, stamps.processed, stamps.responded, stamps.sent];
            words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        }
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, MessageError> {
        let parse = |entry: &[u8; ENTRY]| {
            let [received, processed, responded, sent] = [1, 2, 3, 4].map(|at| word(entry, at));
            (word(entry, 0), ServerStamps { received, processed, responded, sent })
        };
        Ok(Self(entries::<ENTRY>(bytes)?.map(parse).collect()))
    }

    pub(super) fn stamps(&self, tag: u64) -> Option<ServerStamps> {
        self.0.get(&tag).copied()
    }
}

fn header(more: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + more);
    bytes.extend([VERSION, 0, 0, 0, 0, 0, 0, 0]);
    bytes
}

/// The entries behind a valid header.
fn entries<const BYTES: usize>(bytes: &[u8]) -> Result<impl Iterator<Item = &[u8; BYTES]>, MessageError> {
    let wrong = MessageError::Length { bytes: bytes.len(), entry: BYTES };
    let (header, body) = bytes.split_at_checked(HEADER).ok_or(wrong)?;
    if header[0] != VERSION {
        return Err(MessageError::Version { found: header[0] });
    }
    let (entries, rest) = body.as_chunks();
    if rest.is_empty() { Ok(entries.iter()) } else { Err(wrong) }
}

fn word<const BYTES: usize>(entry: &[u8; BYTES], index: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&entry[8 * index..8 * index + 8]);
    u64::from_le_bytes(word)
}
