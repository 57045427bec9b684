//! Packets between two soft queue pairs: what the requester and the responder of an engine write into the rings.
//!
//! Nothing here knows what carries them; a packet is a slice with a known length. All fields are little-endian.
//!
//! | bytes | field | |
//! |---|---|---|
//! | 0 | kind | see below |
//! | 1 | flags | [`PacketFlags`] |
//! | 2..4 | detail | NAK: syndrome; receiver not ready: timer code; else 0 |
//! | 4..8 | acknowledged | how far the sender of this packet has consumed the requests that it receives |
//! | 8..12 | word | immediate; NAK and receiver not ready: position of the refused request |
//! | 12..16 | length | bytes of the whole message (SEND, WRITE, READ), else 0 |
//!
//! | kind | | then |
//! |---|---|---|
//! | 1 | SEND | payload; every packet of a message repeats its length |
//! | 2 | WRITE | first packet: remote header; payload unless `PLACED` or `STREAMED` |
//! | 3 | READ | remote header |
//! | 4 | compare and swap | remote header, operands |
//! | 5 | fetch and add | remote header, operands |
//! | 6 | fatal | nothing: the sender's queue pair failed, no request follows |
//! | 0x81 | READ response | payload |
//! | 0x82 | atomic response | the old value, 8 bytes |
//! | 0x83 | NAK | nothing: the request at `word` is refused, its sender fails |
//! | 0x84 | receiver not ready | nothing: the request at `word` waits for a receive |
//!
//! Remote header, 16 bytes: address u64, rkey u32, reserved u32. Operands, 16 bytes: swap or addend u64, compare u64.
//!
//! Requests are consumed in order. A request is acknowledged by being consumed, so success needs no packet of its
//! own; one that is refused or not ready is never consumed.

use bitflags::bitflags;
use pmd_core::wire::Syndrome;
use thiserror::Error;

/// Bytes of the header.
pub(crate) const HEADER: usize = 16;
/// Bytes of the remote header.
pub(crate) const REMOTE: usize = 16;
/// Bytes of an atomic's operands.
pub(crate) const OPERANDS: usize = 16;
/// The most bytes that come before a payload: what [`Packet::parse`] wants to see of a packet.
pub(crate) const LONGEST_HEAD: usize = HEADER + REMOTE + OPERANDS;

bitflags! {
    /// What a packet says about its place in a message.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub(crate) struct PacketFlags: u8 {
        /// First packet of its message.
        const FIRST = 1;
        /// Last packet of its message.
        const LAST = 1 << 1;
        /// The receiver's completion is solicited.
        const SOLICITED = 1 << 2;
        /// `word` is an immediate.
        const IMMEDIATE = 1 << 3;
        /// The bytes of this WRITE are in place already; the packet carries none.
        const PLACED = 1 << 4;
        /// The bytes of this WRITE or READ travel beside the packets, over streams; the packet carries none.
        const STREAMED = 1 << 5;
    }
}

impl PacketFlags {
    /// A message of one packet.
    pub(crate) const ONLY: Self = Self::FIRST.union(Self::LAST);
}

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// Part of a message for a receive.
    Send = 1,
    /// Part of a write.
    Write = 2,
    /// Asks for bytes.
    Read = 3,
    /// Compare and swap.
    CompareSwap = 4,
    /// Fetch and add.
    FetchAdd = 5,
    /// The sender's queue pair failed.
    Fatal = 6,
    /// Bytes that were asked for.
    ReadResponse = 0x81,
    /// Result of an atomic.
    AtomicResponse = 0x82,
    /// A request is refused.
    Nak = 0x83,
    /// A request waits for a receive.
    ReceiverNotReady = 0x84,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Send,
            2 => Self::Write,
            3 => Self::Read,
            4 => Self::CompareSwap,
            5 => Self::FetchAdd,
            6 => Self::Fatal,
            0x81 => Self::ReadResponse,
            0x82 => Self::AtomicResponse,
            0x83 => Self::Nak,
            0x84 => Self::ReceiverNotReady,
            _ => return None,
        })
    }
}

/// The first 16 bytes of every packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// What the packet is.
    pub(crate) kind: Kind,
    /// Its place in the message.
    pub(crate) flags: PacketFlags,
    /// Syndrome or timer code.
    pub(crate) detail: u16,
    /// Position up to which the sender has consumed the opposite request ring.
    pub(crate) acknowledged: u32,
    /// Immediate, or position of a refused request.
    pub(crate) word: u32,
    /// Bytes of the whole message.
    pub(crate) length: u32,
}

impl Header {
    /// The bytes.
    #[inline]
    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[0] = self.kind as u8;
        bytes[1] = self.flags.bits();
        bytes[2..4].copy_from_slice(&self.detail.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.acknowledged.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.word.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.length.to_le_bytes());
        bytes
    }

    #[inline]
    fn parse(bytes: &[u8; HEADER]) -> Result<Self, PacketError> {
        let kind = Kind::from_byte(bytes[0]).ok_or(PacketError::Kind(bytes[0]))?;
        Ok(Self {
            kind,
            flags: PacketFlags::from_bits(bytes[1]).ok_or(PacketError::Flags { kind, flags: bytes[1] })?,
            detail: u16::from_le_bytes([bytes[2], bytes[3]]),
            acknowledged: word32(bytes, 4),
            word: word32(bytes, 8),
            length: word32(bytes, 12),
        })
    }

    /// The immediate, if there is one.
    #[inline]
    pub(crate) fn immediate(&self) -> Option<u32> {
        self.flags.contains(PacketFlags::IMMEDIATE).then_some(self.word)
    }

    /// The reason of a NAK.
    pub(crate) fn syndrome(&self) -> Syndrome {
        Syndrome::from_byte(self.detail as u8)
    }
}

/// Where a one-sided request works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RemoteHeader {
    /// Virtual address in the responder.
    pub(crate) address: u64,
    /// Its key.
    pub(crate) rkey: u32,
}

impl RemoteHeader {
    /// The bytes.
    pub(crate) fn to_bytes(self) -> [u8; REMOTE] {
        let mut bytes = [0; REMOTE];
        bytes[..8].copy_from_slice(&self.address.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.rkey.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8], offset: usize) -> Self {
        Self { address: word64(bytes, offset), rkey: word32(bytes, offset + 8) }
    }
}

/// Operands of an atomic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operands {
    /// New value, or what to add.
    pub(crate) swap_or_add: u64,
    /// Expected value of a compare and swap.
    pub(crate) compare: u64,
}

impl Operands {
    /// The bytes.
    pub(crate) fn to_bytes(self) -> [u8; OPERANDS] {
        let mut bytes = [0; OPERANDS];
        bytes[..8].copy_from_slice(&self.swap_or_add.to_le_bytes());
        bytes[8..].copy_from_slice(&self.compare.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8], offset: usize) -> Self {
        Self { swap_or_add: word64(bytes, offset), compare: word64(bytes, offset + 8) }
    }
}

/// A packet's head, checked; the payload stays where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    /// The header.
    pub(crate) header: Header,
    /// Where it works: READ, atomics, first packet of a WRITE; else zero.
    pub(crate) remote: RemoteHeader,
    /// Operands of an atomic, the old value of an atomic response (in `swap_or_add`); else zero.
    pub(crate) operands: Operands,
    /// Offset of the payload.
    pub(crate) payload: usize,
    /// Bytes of the payload.
    pub(crate) payload_length: usize,
}

impl Packet {
    /// Reads a packet of `length` bytes; `head` is a private copy of its first bytes, zero behind `length`.
    ///
    /// # Errors
    /// [`PacketError`]: the peer does not speak this protocol, or its memory was overwritten. Drop the connection.
    #[inline]
    pub(crate) fn parse(head: &[u8; LONGEST_HEAD], length: usize) -> Result<Self, PacketError> {
        if length < HEADER {
            return Err(PacketError::Short { needed: HEADER, length });
        }
        let (bytes, _) =
            head.split_first_chunk::<HEADER>().ok_or(PacketError::Short { needed: HEADER, length })?;
        let header = Header::parse(bytes)?;
        let head_length = header.head_length();
        if length < head_length {
            return Err(PacketError::Short { needed: head_length, length });
        }
        let mut packet = Self {
            header,
            remote: RemoteHeader::default(),
            operands: Operands::default(),
            payload: head_length,
            payload_length: length - head_length,
        };
        packet.parse_segments(head);
        packet.check_payload()?;
        Ok(packet)
    }

    #[inline]
    fn parse_segments(&mut self, head: &[u8; LONGEST_HEAD]) {
        match self.header.kind {
            Kind::CompareSwap | Kind::FetchAdd => {
                self.remote = RemoteHeader::parse(head, HEADER);
                self.operands = Operands::parse(head, HEADER + REMOTE);
            }
            Kind::AtomicResponse => self.operands.swap_or_add = word64(head, HEADER),
            _ if self.payload == HEADER + REMOTE => self.remote = RemoteHeader::parse(head, HEADER),
            _ => {}
        }
    }

    /// Only SEND, WRITE and READ response have a payload, never more than their message.
    #[inline]
    fn check_payload(&self) -> Result<(), PacketError> {
        let limit = match self.header.kind {
            Kind::Write if self.header.flags.intersects(PacketFlags::PLACED | PacketFlags::STREAMED) => 0,
            Kind::Send | Kind::Write | Kind::ReadResponse => self.header.length as usize,
            _ => 0,
        };
        if self.payload_length > limit {
            return Err(PacketError::Long { kind: self.header.kind, payload: self.payload_length, limit });
        }
        Ok(())
    }
}

impl Header {
    /// Bytes in front of the payload.
    #[inline]
    fn head_length(&self) -> usize {
        match self.kind {
            Kind::Read => HEADER + REMOTE,
            Kind::Write if self.flags.contains(PacketFlags::FIRST) => HEADER + REMOTE,
            Kind::CompareSwap | Kind::FetchAdd => LONGEST_HEAD,
            Kind::AtomicResponse => HEADER + 8,
            _ => HEADER,
        }
    }
}

/// Why bytes are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum PacketError {
    /// Kind byte names nothing.
    #[error("packet kind {0:#04x} is unknown")]
    Kind(u8),
    /// Flag bits without a meaning.
    #[error("packet flags {flags:#04x} of {kind:?} are unknown")]
    Flags {
        /// Kind of the packet.
        kind: Kind,
        /// Flag byte.
        flags: u8,
    },
    /// Ends before its head does.
    #[error("packet of {length} bytes, its head takes {needed}")]
    Short {
        /// Bytes that the head takes.
        needed: usize,
        /// Bytes there are.
        length: usize,
    },
    /// Carries more than its message has.
    #[error("{kind:?} packet with {payload} bytes of payload, at most {limit} belong there")]
    Long {
        /// Kind of the packet.
        kind: Kind,
        /// Bytes of payload.
        payload: usize,
        /// Most bytes allowed.
        limit: usize,
    },
    /// A good packet that does not belong here: another one had to come, or none.
    #[error("{kind:?} packet out of place")]
    OutOfPlace {
        /// Kind of the packet.
        kind: Kind,
    },
}

#[inline]
fn word32(bytes: &[u8], offset: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(word)
}

#[inline]
fn word64(bytes: &[u8], offset: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(word)
}

#[cfg(test)]
mod tests;
