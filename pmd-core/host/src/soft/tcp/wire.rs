//! The wire: the stream that carries the packets of both rings, and who has consumed how much of them.
//!
//! The engine writes packets into rings of this process and reads packets from rings of this process. The wire repeats
//! what is in the outgoing rings in the incoming rings of the peer, at the same positions, so that a position means the
//! same at both ends. A packet's lines are free again at the sender when the peer has consumed the packet; so the peer
//! always has room for what comes, its wire is always read, and nothing on it waits for anything.

use std::os::fd::OwnedFd;

use pmd_core::ring::packet::{Consumer, Corrupt, Producer, Refused};
use thiserror::Error;

use super::{
    record::{BadRecord, LONGEST_BODY, WIRE_HEAD, WireHead, WireKind},
    stream::Stream,
};

/// Bytes that are collected for one call, about.
const BATCH: usize = 64 << 10;
/// Bytes that are taken in with one call.
const INTAKE: usize = 128 << 10;
/// Bytes of the record that says how much was consumed.
const WORD: usize = WIRE_HEAD + 4;
/// Calls of one pass.
const CALLS: usize = 8;

/// What came over a connection cannot be: it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum WireFault {
    /// A record.
    #[error(transparent)]
    Record(#[from] BadRecord),
    /// A position in a ring.
    #[error(transparent)]
    Position(#[from] Corrupt),
    /// A packet for which there is no room: the peer knew.
    #[error(transparent)]
    Room(#[from] Refused),
}

/// Positions up to which this side's engine has consumed requests and responses.
pub(crate) type Consumed = (u32, u32);

/// The wire and its ends of the four rings.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    outgoing: Outgoing,
    incoming: Incoming,
    rings: WireRings,
    /// What the peer was told last.
    told: Consumed,
    /// What was consumed since was kept back once, for a packet to take along: the next pass says it, with one or without.
    overdue: bool,
}

/// The wire's ends: it reads what the engine writes, and writes what the engine reads.
#[derive(Debug)]
pub(super) struct WireRings {
    pub(super) requests_out: Consumer,
    pub(super) responses_out: Consumer,
    pub(super) requests_in: Producer,
    pub(super) responses_in: Producer,
}

#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

#[derive(Debug)]
struct Incoming {
    bytes: Box<[u8]>,
    /// Bytes from `taken` to `filled` are not parsed yet.
    taken: usize,
    filled: usize,
}

impl Wire {
    pub(super) fn new(stream: Stream, rings: WireRings) -> Self {
        let outgoing = Outgoing { bytes: Vec::with_capacity(3 * BATCH), sent: 0 };
        let incoming = Incoming { bytes: vec![0; INTAKE].into(), taken: 0, filled: 0 };
        Self { stream, outgoing, incoming, rings, told: (0, 0), overdue: false }
    }

    pub(super) fn stream_mut(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Whether the peer has closed it and all that came before was taken in.
    pub(super) fn has_ended(&self) -> bool {
        self.stream.ended
    }

    /// Whether there is something to take in, or room for what waits to be sent.
    pub(super) fn is_ready(&self) -> bool {
        self.stream.readable || self.stream.writable && (self.overdue || !self.outgoing.is_empty())
    }

    /// Whether what was consumed was kept back.
    pub(super) fn is_overdue(&self) -> bool {
        self.overdue
    }

    /// Puts what has come into the rings of the engine, which has consumed as much as `consumed` says.
    pub(super) fn take_in(&mut self, consumed: Consumed) -> Result<(), WireFault> {
        self.rings.requests_in.acknowledge(consumed.0)?;
        self.rings.responses_in.acknowledge(consumed.1)?;
        for _ in 0..CALLS {
            if self.incoming.fill(&mut self.stream) == 0 {
                if self.stream.forged {
                    return Err(BadRecord::Forged.into());
                }
                break;
            }
            while let Some((head, body)) = self.incoming.next()? {
                self.rings.take(head, body)?;
            }
        }
        Ok(())
    }

    /// Sends what is in the outgoing rings, as far as the socket has room, and says with it how much was `consumed`. Where
    /// there is nothing to say that with it waits for the next call: who has heard of a request answers at once, as a rule,
    /// and a record of its own costs both sides as much as the answer.
    pub(super) fn transmit(&mut self, consumed: Consumed) {
        while self.stream.writable && !self.stream.ended {
            if self.outgoing.is_empty() && !self.collect(consumed) {
                break;
            }
            self.outgoing.sent += self.stream.send(&self.outgoing.bytes[self.outgoing.sent..]);
        }
    }

    /// The same, and waits for nothing.
    pub(super) fn tell(&mut self, consumed: Consumed) {
        self.overdue = true;
        self.transmit(consumed);
    }

    /// The socket, and all that is left to be sent over it.
    pub(super) fn into_rest(mut self, consumed: Consumed) -> (OwnedFd, Vec<u8>) {
        let mut rest = self.outgoing.bytes[self.outgoing.sent..].to_vec();
        // The last request says that this end has failed, behind which the peer looks at nothing.
        while self.collect_from(consumed, false) || self.collect_from(consumed, true) {
            rest.extend_from_slice(&self.outgoing.bytes);
        }
        self.stream.into_rest(rest)
    }

    /// Collects records to be sent, nothing being left of those before. Whether there are any.
    fn collect(&mut self, consumed: Consumed) -> bool {
        let told = self.told;
        let found = self.collect_from(consumed, true);
        let alone = self.told != told && self.outgoing.bytes.len() == WORD;
        self.overdue = alone && !self.overdue;
        if self.overdue {
            self.outgoing.bytes.clear();
            self.told = told;
        }
        found && !self.overdue
    }

    /// Collects what there is, of responses alone where there are to be no requests.
    fn collect_from(&mut self, consumed: Consumed, requests: bool) -> bool {
        let Self { outgoing, rings, told, .. } = self;
        outgoing.bytes.clear();
        outgoing.sent = 0;
        // In front of packets, which also say how much was consumed: the copies of the rings never hear of more from
        // those.
        if *told != consumed {
            *told = consumed;
            outgoing.push(WireKind::Consumed, consumed.0, &consumed.1.to_le_bytes());
        }
        outgoing.drain(&mut rings.responses_out, WireKind::Response, WireKind::SkipResponses);
        if requests {
            outgoing.drain(&mut rings.requests_out, WireKind::Request, WireKind::SkipRequests);
        }
        !outgoing.is_empty()
    }
}

impl WireRings {
    /// Takes a record.
    fn take(&mut self, head: WireHead, body: &[u8]) -> Result<(), WireFault> {
        let WireHead { kind, position, .. } = head;
        match kind {
            WireKind::Request => repeat(&mut self.requests_in, position, body),
            WireKind::Response => repeat(&mut self.responses_in, position, body),
            WireKind::SkipRequests => Ok(self.requests_in.skip_to(position)?),
            WireKind::SkipResponses => Ok(self.responses_in.skip_to(position)?),
            WireKind::Consumed => {
                let mut word = [0; 4];
                word.copy_from_slice(body);
                self.requests_out.publish_to(position)?;
                Ok(self.responses_out.publish_to(u32::from_le_bytes(word))?)
            }
            WireKind::Ready => Err(BadRecord::OutOfTurn.into()),
        }
    }
}

fn repeat(ring: &mut Producer, position: u32, body: &[u8]) -> Result<(), WireFault> {
    ring.skip_to(position)?;
    Ok(ring.push(body)?)
}

impl Outgoing {
    fn is_empty(&self) -> bool {
        self.sent == self.bytes.len()
    }

    fn push(&mut self, kind: WireKind, position: u32, body: &[u8]) {
        let head = WireHead { kind, length: body.len() as u16, position };
        self.bytes.extend_from_slice(&head.to_bytes());
        self.bytes.extend_from_slice(body);
    }

    /// Copies packets, about a batch of them.
    fn drain(&mut self, ring: &mut Consumer, packet_kind: WireKind, skip_kind: WireKind) {
        let limit = self.bytes.len() + BATCH;
        while self.bytes.len() < limit {
            let before = ring.position();
            // The rings are this process's: they are never corrupt.
            let found = matches!(ring.peek(), Ok(Some(_)));
            let position = ring.position();
            if position != before {
                self.push(skip_kind, position, &[]);
            }
            let Ok(Some(packet)) = ring.peek() else { break };
            debug_assert!(found && packet.length() <= LONGEST_BODY);
            let head = WireHead { kind: packet_kind, length: packet.length() as u16, position };
            self.bytes.extend_from_slice(&head.to_bytes());
            let start = self.bytes.len();
            self.bytes.resize(start + packet.length(), 0);
            // Never fails: as long as the packet.
            let _ = packet.read(0, &mut self.bytes[start..]);
            packet.release();
        }
    }
}

impl Incoming {
    /// Takes bytes from the stream. How many.
    fn fill(&mut self, stream: &mut Stream) -> usize {
        self.bytes.copy_within(self.taken..self.filled, 0);
        self.filled -= self.taken;
        self.taken = 0;
        let room = &mut self.bytes[self.filled..];
        let wanted = room.len();
        let taken = stream.receive(room);
        if taken < wanted {
            stream.note_drained();
        }
        self.filled += taken;
        taken
    }

    /// The next whole record.
    fn next(&mut self) -> Result<Option<(WireHead, &[u8])>, BadRecord> {
        let waiting = &self.bytes[self.taken..self.filled];
        let Some((head, rest)) = waiting.split_first_chunk::<WIRE_HEAD>() else { return Ok(None) };
        let head = WireHead::parse(head)?;
        let Some(body) = rest.get(..head.length.into()) else { return Ok(None) };
        self.taken += WIRE_HEAD + body.len();
        Ok(Some((head, body)))
    }
}
