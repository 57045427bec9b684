//! Bulk streams of one direction of asking: large messages in pieces, striped over the streams, straight from and into
//! registered memory.
//!
//! A connection has two groups on each side. Over the one, a side sends the bytes of its own WRITEs and receives those
//! of its own READs; over the other it receives the WRITEs of the peer and sends what the peer READs. So a WRITE that
//! the receiver cannot place yet holds up nothing but later WRITEs.
//!
//! Messages of one direction have numbers. One is sent at a time and one is received at a time; pieces of a later one
//! stay in the sockets until it is its turn, which is the back-pressure.
#![allow(unsafe_code)] // passes on addresses that callers have checked

use std::{os::fd::OwnedFd, time::Instant};

use libc::iovec;

use super::{
    record::{BULK_HEAD, BadRecord, BulkHead},
    stream::Stream,
};

/// Shortest and longest piece of a message, in bytes; the last of a message may be shorter.
const PIECE: (u64, u64) = (64 << 10, 256 << 10);
/// Entries of one vectored call: a work request has 30 at most, and there is a head on either side.
const ENTRIES: usize = 64;

/// The bulk streams over which one side asks and the other serves.
#[derive(Debug)]
pub(crate) struct Group {
    streams: Box<[Bulk]>,
    /// Stream that is next to send.
    turn: usize,
    sending: Course,
    receiving: Course,
    /// When a stream was first found to have ended, or to be broken.
    ended: Option<Instant>,
}

/// How far the message at the head of a direction has come.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    /// Number of the message.
    message: u32,
    /// Its bytes; 0 before it has begun.
    total: u64,
    /// Bytes given to streams, or received.
    done: u64,
    /// It is unfinished: news of the sockets matter.
    waits: bool,
}

#[derive(Debug)]
struct Bulk {
    stream: Stream,
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
    /// The next head as far as it has come.
    head: [u8; BULK_HEAD],
    have: usize,
}

/// A piece on its way out.
#[derive(Clone, Copy, Debug)]
struct Outgoing {
    head: [u8; BULK_HEAD],
    head_sent: usize,
    /// Next byte of the message.
    offset: u64,
    end: u64,
}

/// A piece on its way in.
#[derive(Clone, Copy, Debug)]
struct Incoming {
    message: u32,
    /// Next byte of the message.
    offset: u64,
    end: u64,
}

/// What a call has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Payload bytes.
    pub(crate) moved: u64,
    /// The message is over.
    pub(crate) done: bool,
}

/// Addresses of one vectored call.
pub(crate) struct Parts {
    entries: [iovec; ENTRIES],
    count: usize,
}

impl Parts {
    fn new() -> Self {
        Self { entries: [iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; ENTRIES], count: 0 }
    }

    /// Adds memory. What does not fit is left to a later call.
    #[inline]
    pub(crate) fn push(&mut self, address: *mut u8, length: usize) {
        if let Some(entry) = self.entries.get_mut(self.count) {
            *entry = iovec { iov_base: address.cast(), iov_len: length };
            self.count += 1;
        }
    }

    fn as_slice(&self) -> &[iovec] {
        &self.entries[..self.count]
    }

    fn bytes(&self) -> u64 {
        self.as_slice().iter().map(|entry| entry.iov_len as u64).sum()
    }
}

impl Group {
    pub(super) fn new(streams: Vec<Stream>) -> Self {
        Self {
            streams: streams.into_iter().map(Bulk::new).collect(),
            turn: 0,
            sending: Course::default(),
            receiving: Course::default(),
            ended: None,
        }
    }

    pub(super) fn stream_mut(&mut self, index: usize) -> Option<&mut Stream> {
        self.streams.get_mut(index).map(|bulk| &mut bulk.stream)
    }

    pub(super) fn count(&self) -> usize {
        self.streams.len()
    }

    pub(super) fn into_sockets(self) -> impl Iterator<Item = OwnedFd> {
        self.streams.into_iter().map(|bulk| bulk.stream.into_socket())
    }

    /// Whether the message that is sent or received could go on.
    pub(super) fn is_ready(&self) -> bool {
        let receives = |bulk: &Bulk| bulk.stream.readable && bulk.may_receive(self.receiving.message);
        let left = self.sending.done < self.sending.total;
        let sends = |bulk: &Bulk| bulk.stream.writable && (left || bulk.outgoing.is_some());
        self.receiving.waits && self.streams.iter().any(receives)
            || self.sending.waits && self.streams.iter().any(sends)
    }

    /// A message will come in: what the sockets say matters from now on.
    pub(crate) fn expect(&mut self) {
        self.receiving.waits = true;
    }

    /// Whether a message comes in: one stream may have ended while another still has its bytes.
    pub(super) fn is_receiving(&self) -> bool {
        self.receiving.waits && !self.streams.iter().all(|bulk| bulk.stream.ended)
    }

    /// Since when a stream is known to have ended.
    pub(super) fn ended(&self) -> Option<Instant> {
        self.ended
    }

    /// Sends from the message of `total` bytes at the head, about `budget` of them. `gather` gives the addresses of a
    /// range (offset and length) of the message.
    ///
    /// # Errors
    /// What `gather` says.
    ///
    /// # Safety
    /// What `gather` gives may be read until this returns.
    pub(crate) unsafe fn send<E>(
        &mut self,
        total: u64,
        budget: u64,
        mut gather: impl FnMut((u64, u64), &mut Parts) -> Result<(), E>,
    ) -> Result<Progress, E> {
        let Self { streams, turn, sending, ended, .. } = self;
        (sending.total, sending.waits) = (total, true);
        let (mut moved, mut idle) = (0, 0);
        while idle < streams.len() && moved < budget {
            let count = streams.len() as u64;
            let bulk = &mut streams[*turn];
            // SAFETY: passed on.
            let sent = unsafe { bulk.send(sending, count, budget - moved, &mut gather) }?;
            if bulk.stream.broken {
                ended.get_or_insert_with(Instant::now);
            }
            moved += sent;
            idle = if sent == 0 { idle + 1 } else { 0 };
            if sent == 0 || bulk.outgoing.is_none() {
                *turn = (*turn + 1) % streams.len();
            }
        }
        let done = sending.done == total && streams.iter().all(|bulk| bulk.outgoing.is_none());
        if done {
            sending.finish();
        }
        Ok(Progress { moved, done })
    }

    /// Receives into the message of `total` bytes at the head, at most `budget` of them. `scatter` gives the addresses of
    /// a range (offset and length) of the message.
    ///
    /// # Errors
    /// [`BadRecord`], or what `scatter` says.
    ///
    /// # Safety
    /// What `scatter` gives may be written until this returns.
    pub(crate) unsafe fn receive<E: From<BadRecord>>(
        &mut self,
        total: u64,
        budget: u64,
        mut scatter: impl FnMut((u64, u64), &mut Parts) -> Result<(), E>,
    ) -> Result<Progress, E> {
        let Self { streams, receiving, ended, .. } = self;
        (receiving.total, receiving.waits) = (total, true);
        let mut moved = 0;
        for bulk in streams {
            while moved < budget {
                // SAFETY: passed on.
                let taken = unsafe { bulk.receive(receiving, budget - moved, &mut scatter) }?;
                if taken == 0 {
                    break;
                }
                moved += taken;
                receiving.done += taken;
                if receiving.done > total {
                    return Err(BadRecord::OutOfTurn.into());
                }
            }
            if bulk.stream.forged {
                return Err(BadRecord::Forged.into());
            }
            if bulk.stream.ended {
                ended.get_or_insert_with(Instant::now);
            }
        }
        let done = receiving.done == total;
        if done {
            receiving.finish();
        }
        Ok(Progress { moved, done })
    }
}

impl Course {
    fn finish(&mut self) {
        *self = Self { message: self.message.wrapping_add(1), ..Self::default() };
    }

    /// The next piece to send.
    fn assign(&mut self, streams: u64) -> Option<Outgoing> {
        let (offset, left) = (self.done, self.total - self.done);
        let length = (self.total / streams).clamp(PIECE.0, PIECE.1).min(left);
        if length == 0 {
            return None;
        }
        self.done += length;
        let head = BulkHead { length: length as u32, message: self.message, offset: offset as u32 };
        Some(Outgoing { head: head.to_bytes(), head_sent: 0, offset, end: offset + length })
    }
}

impl Bulk {
    fn new(stream: Stream) -> Self {
        Self { stream, outgoing: None, incoming: None, head: [0; BULK_HEAD], have: 0 }
    }

    /// Whether what comes next may be of this message.
    fn may_receive(&self, message: u32) -> bool {
        self.incoming.is_some()
            || self.have < BULK_HEAD
            || BulkHead::parse(&self.head).is_ok_and(|head| head.message == message)
    }

    /// Sends from one piece; the payload bytes.
    ///
    /// # Safety
    /// As [`Group::send`].
    unsafe fn send<E>(
        &mut self,
        course: &mut Course,
        streams: u64,
        budget: u64,
        gather: &mut impl FnMut((u64, u64), &mut Parts) -> Result<(), E>,
    ) -> Result<u64, E> {
        if !self.stream.writable {
            return Ok(0);
        }
        if self.outgoing.is_none() {
            self.outgoing = course.assign(streams);
        }
        let Some(piece) = &mut self.outgoing else { return Ok(0) };
        let mut parts = Parts::new();
        if piece.head_sent < BULK_HEAD {
            let rest = &mut piece.head[piece.head_sent..];
            parts.push(rest.as_mut_ptr(), rest.len());
        }
        gather((piece.offset, budget.min(piece.end - piece.offset)), &mut parts)?;
        // SAFETY: the head is this stream's, the rest the caller's promise.
        let sent = unsafe { self.stream.send_from(parts.as_slice()) };
        let of_head = sent.min(BULK_HEAD - piece.head_sent);
        piece.head_sent += of_head;
        let payload = (sent - of_head) as u64;
        piece.offset += payload;
        if piece.offset == piece.end {
            self.outgoing = None;
        }
        Ok(payload)
    }

    /// Receives into one piece, and the head behind it; the payload bytes.
    ///
    /// # Safety
    /// As [`Group::receive`].
    unsafe fn receive<E: From<BadRecord>>(
        &mut self,
        course: &Course,
        budget: u64,
        scatter: &mut impl FnMut((u64, u64), &mut Parts) -> Result<(), E>,
    ) -> Result<u64, E> {
        let Some(Incoming { offset, end, .. }) = self.expect(course)? else { return Ok(0) };
        let mut parts = Parts::new();
        scatter((offset, budget.min(end - offset)), &mut parts)?;
        let wanted = parts.bytes();
        if wanted == end - offset {
            parts.push(self.head.as_mut_ptr(), BULK_HEAD);
        }
        // SAFETY: the head is this stream's, the rest the caller's promise.
        let taken = unsafe { self.stream.receive_into(parts.as_slice()) } as u64;
        let payload = taken.min(wanted);
        self.have = (taken - payload) as usize;
        if let Some(piece) = &mut self.incoming {
            piece.offset += payload;
        }
        if offset + payload == end {
            self.incoming = None;
        }
        Ok(payload)
    }

    /// The piece that comes in, if it is of the message whose turn it is.
    fn expect(&mut self, course: &Course) -> Result<Option<Incoming>, BadRecord> {
        if let Some(piece) = self.incoming {
            return if piece.message == course.message { Ok(Some(piece)) } else { Err(BadRecord::OutOfTurn) };
        }
        if self.have < BULK_HEAD {
            self.have += self.stream.receive(&mut self.head[self.have..]);
        }
        if self.have < BULK_HEAD {
            return Ok(None);
        }
        let BulkHead { length, message, offset } = BulkHead::parse(&self.head)?;
        if message != course.message {
            let later = message.wrapping_sub(course.message) as i32 > 0;
            return if later { Ok(None) } else { Err(BadRecord::OutOfTurn) };
        }
        let (offset, end) = (u64::from(offset), u64::from(offset) + u64::from(length));
        if end > course.total {
            return Err(BadRecord::Field { field: "end of a piece", value: end });
        }
        self.have = 0;
        self.incoming = Some(Incoming { message, offset, end });
        Ok(self.incoming)
    }
}
