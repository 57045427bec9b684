//! The end that writes packets.
#![allow(unsafe_code)] // shared memory is reached through pointers

use core::ptr::NonNull;

use super::memory::{ConsumedLine, Line, LineCount, Lines, Storage};
use super::{Corrupt, LINE_BYTES, MARKER_BYTES, NOTHING, OutOfBounds, PAD, lines_of};
use crate::sync::{Arc, Ordering};

/// The end that writes packets; one per ring.
#[derive(Debug)]
pub struct Producer {
    lines: Lines,
    consumed: NonNull<ConsumedLine>,
    /// Where the next packet starts. Private: what the other process writes cannot move it.
    tail: u32,
    /// How far the consumer is known to have come; never beyond `tail`.
    head_seen: u32,
    /// Keeps memory of this process alive; none when attached.
    _storage: Option<Arc<Storage>>,
}

// SAFETY: the one producing end; all that it shares with the consuming end is reached as the module's description
// says, from whatever thread owns it.
unsafe impl Send for Producer {}

/// The packet was not accepted; nothing has changed for the consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not enough lines are free as far as this end knows: `refresh`, then try again.
    #[error("{needed} lines needed, {free} free: refresh and try again once the consumer has come on")]
    Full {
        /// Lines that the packet takes.
        needed: u32,
        /// Lines that may be written.
        free: u32,
    },
    /// Such a packet never fits.
    #[error("a body of {body} bytes, at most {most} fit the ring: send it in parts")]
    TooLong {
        /// Bytes asked for.
        body: usize,
        /// The longest body of this ring.
        most: usize,
    },
}

impl Producer {
    /// Uses shared memory as the producing end, from position 0.
    ///
    /// # Safety
    /// - `lines` points to `count` lines and `consumed` to one, zeroed before either end attached; they stay mapped,
    ///   readable and writable, until the producer is dropped.
    /// - It is the only producer of this memory, and all else in this process that writes it is one [`Consumer`].
    ///   (What another process writes there is checked.)
    ///
    /// [`Consumer`]: super::Consumer
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
        Self { lines, consumed, tail: 0, head_seen: 0, _storage: storage }
    }

    /// Makes room for a packet with a body of `body` bytes, to be filled and committed.
    ///
    /// Looks at nothing shared. Where the packet does not fit before the end of the ring, the skip to its start is
    /// published at once and moves [`position`](Self::position), even if the packet itself then has to wait.
    #[inline]
    pub fn reserve(&mut self, body: usize) -> Result<Grant<'_>, Refused> {
        if body > self.longest_body() {
            return Err(Refused::TooLong { body, most: self.longest_body() });
        }
        let lines = lines_of(body as u64) as u32;
        let until_end = self.lines.until_end(self.tail);
        if lines > until_end {
            self.require(until_end)?;
            self.publish(until_end, PAD);
        }
        self.require(lines)?;
        Ok(Grant { producer: self, lines, body })
    }

    /// Reserves, fills and commits a packet in one go.
    #[inline]
    pub fn push(&mut self, body: &[u8]) -> Result<(), Refused> {
        let mut grant = self.reserve(body.len())?;
        grant.fill(0, body);
        grant.commit();
        Ok(())
    }

    /// Where the next packet starts, in lines since the start, modulo 2^32: behind all that was committed. Once the
    /// consumer's position has come here, it has released all of it.
    #[inline]
    pub fn position(&self) -> u32 {
        self.tail
    }

    /// Goes on at `position`, where another ring of as many lines has its next packet: passes over the rest of the
    /// ring if that one did. For an end that repeats the packets of a ring elsewhere, at the same positions.
    ///
    /// # Errors
    /// [`Corrupt::Position`] when a ring that has come as far as this one cannot go on there.
    pub fn skip_to(&mut self, position: u32) -> Result<(), Corrupt> {
        let until_end = self.lines.until_end(self.tail);
        let skips = position == self.tail.wrapping_add(until_end) && self.lines.index(self.tail) != 0;
        if position == self.tail {
            Ok(())
        } else if skips && self.require(until_end).is_ok() {
            self.publish(until_end, PAD);
            Ok(())
        } else {
            Err(Corrupt::Position { position, consumed: self.head_seen, tail: self.tail })
        }
    }

    /// Lines that hold packets, as far as this end knows.
    #[inline]
    pub fn lines_in_use(&self) -> u32 {
        self.tail.wrapping_sub(self.head_seen)
    }

    /// The longest body that this ring can carry: all of its lines but one.
    #[inline]
    pub fn longest_body(&self) -> usize {
        (self.lines.count() as usize - 1) * LINE_BYTES - MARKER_BYTES
    }

    /// Reads from the shared word how far the consumer has come.
    #[inline]
    pub fn refresh(&mut self) -> Result<(), Corrupt> {
        // SAFETY: mapped as long as this end lives (`attach`).
        let position = unsafe { &self.consumed.as_ref().position }.load(Ordering::Acquire);
        self.acknowledge(position)
    }

    /// Takes note of the consumer's position as it came in a packet of the opposite ring.
    ///
    /// That packet must have been peeked by this thread, or handed to it in order: its marker is what orders the
    /// consumer's reads before the writes that this permits. An old position (by less than 2^31 lines) is ignored.
    #[inline]
    pub fn acknowledge(&mut self, position: u32) -> Result<(), Corrupt> {
        let advance = position.wrapping_sub(self.head_seen);
        if advance <= self.lines_in_use() {
            self.head_seen = position;
            return Ok(());
        }
        if (advance as i32) < 0 {
            return Ok(());
        }
        Err(Corrupt::Position { position, consumed: self.head_seen, tail: self.tail })
    }

    /// One line always stays free: the marker behind the last packet lies there.
    #[inline]
    fn require(&self, needed: u32) -> Result<(), Refused> {
        let free = self.lines.count() - 1 - self.lines_in_use();
        if needed <= free { Ok(()) } else { Err(Refused::Full { needed, free }) }
    }

    /// Hands `lines` lines at the tail to the consumer.
    #[inline]
    fn publish(&mut self, lines: u32, marker: u32) {
        let next = self.tail.wrapping_add(lines);
        self.lines.marker(next).store(NOTHING, Ordering::Relaxed);
        self.lines.marker(self.tail).store(marker, Ordering::Release);
        self.tail = next;
    }
}

/// Room for one packet. Dropped without [`commit`](Self::commit), it leaves nothing behind.
#[derive(Debug)]
#[must_use = "a packet is published by commit"]
pub struct Grant<'producer> {
    producer: &'producer mut Producer,
    lines: u32,
    body: usize,
}

impl Grant<'_> {
    /// Bytes of the body.
    #[inline]
    pub fn length(&self) -> usize {
        self.body
    }

    /// Copies `bytes` to `offset` in the body. What is never written holds bytes of earlier packets.
    #[inline]
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), OutOfBounds> {
        OutOfBounds::check(offset, bytes.len(), self.body)?;
        self.fill(offset, bytes);
        Ok(())
    }

    /// The body, for a copy engine: [`length`](Self::length) bytes may be written there until the commit.
    #[cfg(not(loom))]
    #[inline]
    pub fn body(&mut self) -> NonNull<u8> {
        self.producer.lines.body(self.producer.tail)
    }

    /// Publishes the packet.
    #[inline]
    pub fn commit(self) {
        self.producer.publish(self.lines, self.body as u32 + 1);
    }

    /// `write`, for accesses known to be inside.
    #[inline]
    fn fill(&mut self, offset: usize, bytes: &[u8]) {
        // SAFETY: inside of the body, whose lines are free, contiguous and this end's.
        unsafe { self.producer.lines.copy_in(self.producer.tail, offset, bytes) }
    }
}

/// Tests of counters that wrap start close to the end.
#[cfg(all(test, not(loom)))]
impl Producer {
    pub(super) fn start_at(&mut self, position: u32) {
        (self.tail, self.head_seen) = (position, position);
    }
}
