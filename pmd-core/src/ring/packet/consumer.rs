//! The end that reads packets.
#![allow(unsafe_code)] // shared memory is reached through pointers

use core::ptr::NonNull;

use super::memory::{ConsumedLine, Line, LineCount, Lines, Storage};
use super::{Corrupt, NOTHING, OutOfBounds, PAD, lines_of};
use crate::sync::{Arc, Ordering};

/// The end that reads packets; one per ring.
#[derive(Debug)]
pub struct Consumer {
    lines: Lines,
    consumed: NonNull<ConsumedLine>,
    /// Where the next packet is looked for. Private: what the other process writes cannot move it.
    head: u32,
    /// The position last stored in the shared word.
    published: u32,
    /// Keeps memory of this process alive; none when attached.
    _storage: Option<Arc<Storage>>,
}

// SAFETY: the one consuming end; all that it shares with the producing end is reached as the module's description
// says, from whatever thread owns it.
unsafe impl Send for Consumer {}

impl Consumer {
    /// Uses shared memory as the consuming end, from position 0.
    ///
    /// # Safety
    /// - `lines` points to `count` lines and `consumed` to one, zeroed before either end attached; they stay mapped,
    ///   readable and writable, until the consumer is dropped.
    /// - It is the only consumer of this memory, and all else in this process that writes it is one [`Producer`].
    ///   (What another process writes there is checked.)
    ///
    /// [`Producer`]: super::Producer
    pub unsafe fn attach(
        lines: NonNull<Line>,
        count: usize,
        consumed: NonNull<ConsumedLine>,
    ) -> Result<Self, LineCount> {
        // SAFETY: promised by the caller.
        let lines = unsafe { Lines::attach(lines, count)? };
        Ok(Self::new(lines, consumed, None))
    }

    pub(super) fn new(lines: Lines, consumed: NonNull<ConsumedLine>, storage: Option<Arc<Storage>>) -> Self {
        Self { lines, consumed, head: 0, published: 0, _storage: storage }
    }

    /// The oldest packet, if one was published. Until it is released each peek finds it again.
    ///
    /// A skip to the start of the ring is passed over on the way and moves [`position`](Self::position).
    #[inline]
    pub fn peek(&mut self) -> Result<Option<Packet<'_>>, Corrupt> {
        let mut marker = self.marker();
        // A skip is never published on the first line; one found there falls through, as a packet too long.
        if marker == PAD && self.lines.index(self.head) != 0 {
            self.advance(self.lines.until_end(self.head));
            marker = self.marker();
        }
        if marker == NOTHING {
            return Ok(None);
        }
        self.packet(marker).map(Some)
    }

    /// How far this end has come, in lines since the start, modulo 2^32: what to send to
    /// [`Producer::acknowledge`](super::Producer::acknowledge) in the opposite ring.
    #[inline]
    pub fn position(&self) -> u32 {
        self.head
    }

    /// Lines released since the shared word was last stored.
    #[inline]
    pub fn unpublished(&self) -> u32 {
        self.head.wrapping_sub(self.published)
    }

    /// Stores the position in the shared word, for [`Producer::refresh`](super::Producer::refresh).
    ///
    /// Call it when the producer may be waiting: before going idle with lines unpublished, and every so many lines.
    /// Each store takes a cache line from the producer, so do not after each packet.
    #[inline]
    pub fn publish(&mut self) {
        self.store(self.head);
    }

    /// Stores `position` in the shared word in place of this end's own: for an end that hands packets on, over a
    /// network for instance, and hears later how far they were consumed there. It keeps the word less than a lap
    /// behind.
    ///
    /// # Errors
    /// [`Corrupt::Position`] when nothing was released up to there, or it is behind what was stored before.
    pub fn publish_to(&mut self, position: u32) -> Result<(), Corrupt> {
        if position.wrapping_sub(self.published) > self.unpublished() {
            let (consumed, tail) = (self.published, self.head);
            return Err(Corrupt::Position { position, consumed, tail });
        }
        self.store(position);
        Ok(())
    }

    #[inline]
    fn store(&mut self, position: u32) {
        // SAFETY: mapped as long as this end lives (`attach`).
        let word = unsafe { &self.consumed.as_ref().position };
        word.store(position, Ordering::Release);
        self.published = position;
    }

    #[inline]
    fn marker(&self) -> u32 {
        self.lines.marker(self.head).load(Ordering::Acquire)
    }

    /// Accepts a marker only if its packet ends inside of the ring and leaves a line free.
    #[inline]
    fn packet(&mut self, marker: u32) -> Result<Packet<'_>, Corrupt> {
        let body = marker - 1;
        let lines = lines_of(u64::from(body));
        let count = self.lines.count();
        if lines > u64::from(self.lines.until_end(self.head).min(count - 1)) {
            return Err(Corrupt::Marker { marker, line: self.lines.index(self.head), lines: count });
        }
        Ok(Packet { consumer: self, lines: lines as u32, body: body as usize })
    }

    /// Gives lines back. The shared word is never left more than a lap behind, so that a producer that gets
    /// positions by the opposite ring can always tell an old word from a bad one.
    #[inline]
    fn advance(&mut self, lines: u32) {
        self.head = self.head.wrapping_add(lines);
        if self.unpublished() >= self.lines.count() {
            self.publish();
        }
    }
}

/// A published packet. The producer's process may still change its bytes: copy out what has to be checked, and
/// check the copy.
#[derive(Debug)]
pub struct Packet<'consumer> {
    consumer: &'consumer mut Consumer,
    lines: u32,
    body: usize,
}

impl Packet<'_> {
    /// Bytes of the body.
    #[inline]
    pub fn length(&self) -> usize {
        self.body
    }

    /// Copies from `offset` in the body until `bytes` is full.
    #[inline]
    pub fn read(&self, offset: usize, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        OutOfBounds::check(offset, bytes.len(), self.body)?;
        // SAFETY: inside of the body, whose lines are contiguous and this end's until released.
        unsafe { self.consumer.lines.copy_out(self.consumer.head, offset, bytes) };
        Ok(())
    }

    /// The body, for a copy engine: [`length`](Self::length) bytes may be read there until the release.
    #[cfg(not(loom))]
    #[inline]
    pub fn body(&self) -> NonNull<u8> {
        self.consumer.lines.body(self.consumer.head)
    }

    /// Gives the packet's lines back. The producer learns of it by the next publish, or by the position in a packet
    /// of the opposite ring.
    #[inline]
    pub fn release(self) {
        self.consumer.advance(self.lines);
    }
}

/// Tests of counters that wrap start close to the end.
#[cfg(all(test, not(loom)))]
impl Consumer {
    pub(super) fn start_at(&mut self, position: u32) {
        (self.head, self.published) = (position, position);
    }
}
