//! The bytes of a stream: a hello, then records. Nothing but formats; integers are little-endian.
//!
//! Hello, [`HELLO`] bytes:
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0..8 | magic | `pmd-tcp\n` |
//! | 8..10 | version | [`VERSION`] |
//! | 10 | stream | which of the connection's streams this is: 0 is the wire |
//! | 11 | streams | bulk streams of either side; the connection has twice as many and one |
//! | 12..15 | lines | lines of the sender's rings |
//! | 15 | protection | [`Protection`] that the sender has or wants |
//! | 16..24 | serial | ties the streams of one connection together; random |
//! | 24..40 | device | the sender's |
//! | 40..56 | peer device | the receiver's |
//! | 56..60 | queue pair | the sender's |
//! | 60..64 | peer queue pair | the receiver's |
//!
//! With a key the first message of a handshake follows the hello on every stream, and hellos of the side that is connected
//! to are inside of the second: see [`greeting`](super::greeting).
//!
//! Record of the wire: a head of [`WIRE_HEAD`] bytes, then the body.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0 | kind | [`WireKind`] |
//! | 1 | reserved | 0 |
//! | 2..4 | length | bytes of the body |
//! | 4..8 | position | of the packet in its ring; of the receiver's requests that were consumed |
//!
//! Record of a bulk stream: a head of [`BULK_HEAD`] bytes, then a piece of one message.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0..4 | length | bytes of the piece, not 0 |
//! | 4..8 | message | counts the streamed messages of this kind from 0 |
//! | 8..12 | offset | of the piece in its message |
//! | 12..16 | reserved | 0 |

use thiserror::Error;

use crate::{identity::DeviceId, security::Security};

/// Bytes of a hello.
pub(super) const HELLO: usize = 64;
/// Bytes of the head of a record of the wire.
pub(super) const WIRE_HEAD: usize = 8;
/// Bytes of the head of a record of a bulk stream.
pub(super) const BULK_HEAD: usize = 16;
/// Longest body of a record of the wire, with room left for what would seal it.
pub(super) const LONGEST_BODY: usize = 63 << 10;
/// Most bulk streams of either side.
pub(super) const MOST_STREAMS: usize = 16;
/// Lines that a ring may have: as many as [`DeviceConfig`](crate::soft::DeviceConfig) allows.
const LINES: std::ops::RangeInclusive<u32> = 64..=1 << 20;

const MAGIC: [u8; 8] = *b"pmd-tcp\n";
/// Version of hello, records, and the packets in them. Both sides must have the same.
pub(super) const VERSION: u16 = 2;

/// First bytes of either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) stream: u8,
    pub(super) streams: u8,
    pub(super) lines: u32,
    pub(super) protection: Protection,
    pub(super) serial: u64,
    pub(super) device: DeviceId,
    pub(super) peer_device: DeviceId,
    pub(super) queue_pair: u32,
    pub(super) peer_queue_pair: u32,
}

/// What keeps strangers out of a stream. The greater one of both sides' holds, unless only one side has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Protection {
    /// There is no key.
    Nothing = 0,
    /// Who connects has proven that it has the key; records are in the clear.
    Proof = 1,
    /// Records are sealed too.
    Sealed = 2,
}

/// What a record of the wire is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum WireKind {
    /// A packet of the request ring.
    Request = 1,
    /// A packet of the response ring.
    Response = 2,
    /// The request ring goes on at the position.
    SkipRequests = 3,
    /// The response ring goes on at the position.
    SkipResponses = 4,
    /// How far both rings of the receiver were consumed; the body is the position in the response ring.
    Consumed = 5,
    /// The connecting side has heard the other's hello.
    Ready = 6,
}

/// Head of a record of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WireHead {
    pub(super) kind: WireKind,
    pub(super) length: u16,
    pub(super) position: u32,
}

/// Head of a record of a bulk stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BulkHead {
    pub(super) length: u32,
    pub(super) message: u32,
    pub(super) offset: u32,
}

/// Why bytes are not of this protocol. The connection is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum BadRecord {
    /// Not a hello.
    #[error("not a stream of this protocol")]
    Magic,
    /// Another release.
    #[error("the peer speaks version {theirs}, this is {VERSION}: run the same release on both sides")]
    Version {
        /// The peer's.
        theirs: u16,
    },
    /// A field of a hello or of a head that cannot be.
    #[error("{field} of {value} cannot be")]
    Field {
        /// Which.
        field: &'static str,
        /// What it was.
        value: u64,
    },
    /// A record whose time has not come, or is over.
    #[error("record out of turn")]
    OutOfTurn,
    /// A sealed record that does not verify: somebody changed it, cut it, or sent it again.
    #[error("a sealed record does not verify")]
    Forged,
}

impl Protection {
    /// What a side with these settings has or wants.
    pub(super) fn of(security: &Security) -> Self {
        match (&security.key, security.seal_data) {
            (None, _) => Self::Nothing,
            (Some(_), false) => Self::Proof,
            (Some(_), true) => Self::Sealed,
        }
    }

    /// Whether there is a key.
    pub(super) fn is_keyed(self) -> bool {
        self != Self::Nothing
    }
}

impl Hello {
    pub(super) fn to_bytes(self) -> [u8; HELLO] {
        let mut bytes = [0; HELLO];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&VERSION.to_le_bytes());
        (bytes[10], bytes[11]) = (self.stream, self.streams);
        bytes[12..15].copy_from_slice(&self.lines.to_le_bytes()[..3]);
        bytes[15] = self.protection as u8;
        bytes[16..24].copy_from_slice(&self.serial.to_le_bytes());
        bytes[24..40].copy_from_slice(&self.device.0);
        bytes[40..56].copy_from_slice(&self.peer_device.0);
        bytes[56..60].copy_from_slice(&self.queue_pair.to_le_bytes());
        bytes[60..64].copy_from_slice(&self.peer_queue_pair.to_le_bytes());
        bytes
    }

    pub(super) fn parse(bytes: &[u8; HELLO]) -> Result<Self, BadRecord> {
        if bytes[..8] != MAGIC {
            return Err(BadRecord::Magic);
        }
        let theirs = u16::from_le_bytes([bytes[8], bytes[9]]);
        if theirs != VERSION {
            return Err(BadRecord::Version { theirs });
        }
        let (mut device, mut peer_device, mut serial) = ([0; 16], [0; 16], [0; 8]);
        serial.copy_from_slice(&bytes[16..24]);
        device.copy_from_slice(&bytes[24..40]);
        peer_device.copy_from_slice(&bytes[40..56]);
        let protection = [Protection::Nothing, Protection::Proof, Protection::Sealed];
        let unknown = BadRecord::Field { field: "protection", value: bytes[15].into() };
        let hello = Self {
            stream: bytes[10],
            streams: bytes[11],
            lines: word(bytes, 12) & 0xff_ffff,
            protection: *protection.get(usize::from(bytes[15])).ok_or(unknown)?,
            serial: u64::from_le_bytes(serial),
            device: DeviceId(device),
            peer_device: DeviceId(peer_device),
            queue_pair: word(bytes, 56),
            peer_queue_pair: word(bytes, 60),
        };
        hello.check().map(|()| hello)
    }

    fn check(&self) -> Result<(), BadRecord> {
        let field = |field, value| Err(BadRecord::Field { field, value });
        if self.streams == 0 || usize::from(self.streams) > MOST_STREAMS {
            return field("number of streams", self.streams.into());
        }
        if usize::from(self.stream) >= self.count() {
            return field("stream", self.stream.into());
        }
        if !LINES.contains(&self.lines) || !self.lines.is_power_of_two() {
            return field("number of lines", self.lines.into());
        }
        Ok(())
    }

    /// Whether this is what `stream` of a connection may be answered with that was begun with this hello.
    pub(super) fn is_answered_by(&self, theirs: &Self, stream: usize) -> bool {
        (theirs.serial, theirs.device, theirs.queue_pair)
            == (self.serial, self.peer_device, self.peer_queue_pair)
            && usize::from(theirs.stream) == stream
            && theirs.protection.is_keyed() == self.protection.is_keyed()
            && theirs.protection >= self.protection
    }

    /// Streams of the connection.
    pub(super) fn count(&self) -> usize {
        1 + 2 * usize::from(self.streams)
    }
}

impl WireKind {
    fn from_byte(byte: u8) -> Option<Self> {
        use WireKind::{Consumed, Ready, Request, Response, SkipRequests, SkipResponses};
        [Request, Response, SkipRequests, SkipResponses, Consumed, Ready]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    /// Whether a body of this length belongs to it.
    fn takes(self, length: usize) -> bool {
        match self {
            Self::Request | Self::Response => length <= LONGEST_BODY,
            Self::Consumed => length == 4,
            Self::SkipRequests | Self::SkipResponses | Self::Ready => length == 0,
        }
    }
}

impl WireHead {
    pub(super) fn to_bytes(self) -> [u8; WIRE_HEAD] {
        let mut bytes = [0; WIRE_HEAD];
        bytes[0] = self.kind as u8;
        bytes[2..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.position.to_le_bytes());
        bytes
    }

    pub(super) fn parse(bytes: &[u8; WIRE_HEAD]) -> Result<Self, BadRecord> {
        let field = |field, value| BadRecord::Field { field, value };
        let kind = WireKind::from_byte(bytes[0]).ok_or(field("kind", bytes[0].into()))?;
        let length = u16::from_le_bytes([bytes[2], bytes[3]]);
        if !kind.takes(length.into()) {
            return Err(field("length", length.into()));
        }
        Ok(Self { kind, length, position: word(bytes, 4) })
    }
}

impl BulkHead {
    pub(super) fn to_bytes(self) -> [u8; BULK_HEAD] {
        let mut bytes = [0; BULK_HEAD];
        bytes[..4].copy_from_slice(&self.length.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.message.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }

    pub(super) fn parse(bytes: &[u8; BULK_HEAD]) -> Result<Self, BadRecord> {
        let head = Self { length: word(bytes, 0), message: word(bytes, 4), offset: word(bytes, 8) };
        if head.length == 0 {
            return Err(BadRecord::Field { field: "length", value: 0 });
        }
        Ok(head)
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}
