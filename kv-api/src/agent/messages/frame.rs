//! Bytes of the messages layer: a frame is one message of the lane and holds records.
//!
//! Written by [`outgoing`](super::outgoing), read by [`incoming`](super::incoming). All numbers are little endian.
//!
//! ```text
//!  frame    magic 0xa6, version 1, then records
//!  record   0 kind | 1 flags | 2..4 number | 4..8 header bytes | 8..16 value | header | content
//! ```
//! | kind | number | value | content |
//! |---|---|---|---|
//! | eager | handler's number | payload bytes | the payload |
//! | rendezvous | handler's number | payload bytes | where to read it: address, key, token |
//! | acknowledge | 0 | sequenced records taken so far | none |
//! | finished | 0 | token whose payload was read | none |
//! | refused | [`Refused`]'s number | sequence or token | none |
//! | ask | 0 | 0 | none |

use pmd_core::memory::RemoteKey;

use super::Refused;

/// First bytes of a frame.
const PREAMBLE: [u8; 2] = [0xa6, 1];

/// Bytes of a record before its header.
pub(super) const RECORD_BYTES: usize = 16;

/// Bytes that say where a payload is to be read.
const SOURCE_BYTES: usize = 20;

/// Bytes of a frame that holds one record with `content` bytes behind it.
pub(super) const fn frame_bytes(content: usize) -> usize {
    PREAMBLE.len() + RECORD_BYTES + content
}

const EAGER: u8 = 1;
const RENDEZVOUS: u8 = 2;
const ACKNOWLEDGE: u8 = 3;
const FINISHED: u8 = 4;
const REFUSED: u8 = 5;
const ASK: u8 = 6;

/// The receiver is to acknowledge as soon as it has taken this one.
const FLAG_ASK: u8 = 1;

/// Came with a transfer: not counted among the sequenced ones.
const FLAG_LOOSE: u8 = 2;

/// Where the peer reads a payload that is too long to come along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) address: u64,
    pub(super) key: RemoteKey,
    /// Names the payload when it is told to be finished.
    pub(super) token: u64,
}

/// What carries a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    Eager(&'a [u8]),
    Rendezvous { length: u64, source: Source },
}

/// A message as it travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MessageRecord<'a> {
    pub(super) number: u16,
    pub(super) ask: bool,
    pub(super) loose: bool,
    pub(super) header: &'a [u8],
    pub(super) content: Content<'a>,
}

/// One record of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Record<'a> {
    Message(MessageRecord<'a>),
    Acknowledge { taken: u64 },
    Finished { token: u64 },
    Refused { loose: bool, which: u64, why: Refused },
    Ask,
}

/// Starts a frame.
pub(super) fn begin(frame: &mut Vec<u8>) {
    frame.clear();
    frame.extend_from_slice(&PREAMBLE);
}

impl Record<'_> {
    /// Appends the record.
    pub(super) fn emit(&self, frame: &mut Vec<u8>) {
        match self {
            Self::Message(message) => message.emit(frame),
            Self::Acknowledge { taken } => fixed(frame, ACKNOWLEDGE, 0, 0, 0, *taken),
            Self::Finished { token } => fixed(frame, FINISHED, 0, 0, 0, *token),
            Self::Refused { loose, which, why } => {
                fixed(frame, REFUSED, if *loose { FLAG_LOOSE } else { 0 }, *why as u16, 0, *which);
            }
            Self::Ask => fixed(frame, ASK, 0, 0, 0, 0),
        }
    }
}

impl MessageRecord<'_> {
    fn emit(&self, frame: &mut Vec<u8>) {
        let flags = if self.ask { FLAG_ASK } else { 0 } | if self.loose { FLAG_LOOSE } else { 0 };
        // A header is at most HEADER_BYTES.
        let header_bytes = self.header.len() as u32;
        match self.content {
            Content::Eager(payload) => {
                fixed(frame, EAGER, flags, self.number, header_bytes, payload.len() as u64);
                frame.extend_from_slice(self.header);
                frame.extend_from_slice(payload);
            }
            Content::Rendezvous { length, source } => {
                fixed(frame, RENDEZVOUS, flags, self.number, header_bytes, length);
                frame.extend_from_slice(self.header);
                frame.extend_from_slice(&source.address.to_le_bytes());
                frame.extend_from_slice(&source.key.0.to_le_bytes());
                frame.extend_from_slice(&source.token.to_le_bytes());
            }
        }
    }
}

/// Makes the receiver acknowledge the record that starts at `record`.
pub(super) fn set_ask(record: &mut [u8]) {
    if let Some(flags) = record.get_mut(1) {
        *flags |= FLAG_ASK;
    }
}

fn fixed(frame: &mut Vec<u8>, kind: u8, flags: u8, number: u16, header_bytes: u32, value: u64) {
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&number.to_le_bytes());
    frame.extend_from_slice(&header_bytes.to_le_bytes());
    frame.extend_from_slice(&value.to_le_bytes());
}

/// The records of a frame. Ends with an error at the first byte that does not fit.
#[derive(Clone, Debug)]
pub(super) struct Records<'a>(&'a [u8]);

/// A frame that is not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

impl<'a> Records<'a> {
    pub(super) fn of(frame: &'a [u8]) -> Result<Self, Malformed> {
        frame.strip_prefix(&PREAMBLE).map(Self).ok_or(Malformed)
    }

    fn parse(&mut self) -> Result<Record<'a>, Malformed> {
        let kind = self.number::<1>()?[0];
        let flags = self.number::<1>()?[0];
        let number = u16::from_le_bytes(self.number()?);
        let header_bytes = u32::from_le_bytes(self.number()?);
        let value = u64::from_le_bytes(self.number()?);
        let (ask, loose) = (flags & FLAG_ASK != 0, flags & FLAG_LOOSE != 0);
        let content = match kind {
            EAGER | RENDEZVOUS => {
                let header = self.take(u64::from(header_bytes))?;
                let content =
                    if kind == EAGER { Content::Eager(self.take(value)?) } else { self.source(value)? };
                return Ok(Record::Message(MessageRecord { number, ask, loose, header, content }));
            }
            ACKNOWLEDGE => Record::Acknowledge { taken: value },
            FINISHED => Record::Finished { token: value },
            REFUSED => {
                Record::Refused { loose, which: value, why: Refused::from_number(number).ok_or(Malformed)? }
            }
            ASK => Record::Ask,
            _ => return Err(Malformed),
        };
        Ok(content)
    }

    fn source(&mut self, length: u64) -> Result<Content<'a>, Malformed> {
        debug_assert_eq!(SOURCE_BYTES, 8 + 4 + 8);
        let address = u64::from_le_bytes(self.number()?);
        let key = RemoteKey(u32::from_le_bytes(self.number()?));
        let token = u64::from_le_bytes(self.number()?);
        Ok(Content::Rendezvous { length, source: Source { address, key, token } })
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    fn take(&mut self, bytes: u64) -> Result<&'a [u8], Malformed> {
        let bytes = usize::try_from(bytes).map_err(|_| Malformed)?;
        let (first, rest) = self.0.split_at_checked(bytes).ok_or(Malformed)?;
        self.0 = rest;
        Ok(first)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let record = self.parse();
        if record.is_err() {
            self.0 = &[];
        }
        Some(record)
    }
}
