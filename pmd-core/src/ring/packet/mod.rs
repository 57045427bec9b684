//! A ring of packets of any length from one process to another, in memory that both can write.
//!
//! This is the soft HCA's wire: two of these, one each way, make a connection. Neither end trusts what the other
//! leaves in the memory: whatever is read is checked, and a value that cannot be is [`Corrupt`], never a panic or
//! an access out of bounds. Positions that decide about memory are kept in private by the end that they belong to.
//!
//! ```
//! let (mut producer, mut consumer) = pmd_core::ring::packet::ring(8)?;
//! let mut grant = producer.reserve(5)?;
//! grant.write(0, b"hello")?;
//! grant.commit();
//!
//! let mut bytes = [0; 5];
//! let packet = consumer.peek()?.expect("one was published");
//! packet.read(0, &mut bytes)?;
//! packet.release();
//! assert_eq!(&bytes, b"hello");
//!
//! consumer.publish();
//! producer.refresh()?;
//! assert_eq!(producer.lines_in_use(), 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Memory
//! An array of [`Line`]s of 64 bytes (a power of two of them), zeroed at the start, and a [`ConsumedLine`]. A packet
//! starts on a line: 4 bytes of marker, then the body, running on through as many whole lines as it needs. Up to
//! 60 bytes a packet is a single line, so that its news and its contents cross between two cores together. A packet
//! never wraps: where it does not fit before the end of the ring, the rest of the ring is skipped.
//!
//! | marker | means |
//! |---|---|
//! | 0 | nothing here yet |
//! | `0xffff_ffff` | skip to the first line of the ring |
//! | other | a packet with a body of `marker - 1` bytes |
//!
//! # States and orderings
//! Positions count lines and run freely; line `p` is `p` modulo the number of lines. From the consumer's head to the
//! producer's tail lines hold packets and are the consumer's; the others are the producer's.
//! - Before the producer publishes `n` lines at `p` it stores 0 in the marker of line `p + n`, where the consumer
//!   will look next: whatever bytes an earlier lap left there do no harm. For that one line always stays free.
//! - Producer to consumer: body and that 0 are written, then the marker is stored (release); the consumer loads the
//!   marker (acquire), then reads.
//! - Consumer to producer: the body is read, then the consumed position is stored (release); the producer loads it
//!   (acquire), then overwrites. Or the position travels in a packet of the opposite ring, whose marker gives the
//!   same edge, and is given to [`Producer::acknowledge`]: then the shared word, and the transfer of its cache line,
//!   is needed only when traffic goes one way.
//! - Where a network is between two rings, an end at each carries packets across: one takes them out
//!   ([`Consumer::publish_to`] stores what the far consumer has consumed, in place of what it has taken itself), the
//!   other puts them in at the same positions ([`Producer::skip_to`]). Each ring keeps the edges above.

mod consumer;
mod memory;
#[cfg(all(loom, test))]
mod model;
mod producer;
#[cfg(all(test, not(loom)))]
mod tests;

pub use consumer::{Consumer, Packet};
pub use memory::{ConsumedLine, Line, LineCount, ring};
pub use producer::{Grant, Producer, Refused};

/// Bytes of one line.
pub const LINE_BYTES: usize = 64;
/// Bytes of the marker, in front of the body.
const MARKER_BYTES: usize = 4;
/// The longest body of a packet of one line.
pub const SMALL_BODY: usize = LINE_BYTES - MARKER_BYTES;

/// Nothing published here yet.
const NOTHING: u32 = 0;
/// No packet here: go on at the first line.
const PAD: u32 = u32::MAX;

/// How many lines a packet takes, marker included.
#[inline]
fn lines_of(body: u64) -> u64 {
    (body + MARKER_BYTES as u64).div_ceil(LINE_BYTES as u64)
}

/// The other end left something that cannot be. Nothing more can be done with the ring: drop the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// A marker announces a packet that reaches beyond the end of the ring.
    #[error(
        "marker {marker:#x} at line {line} does not fit the {lines} lines of the ring: drop the connection"
    )]
    Marker {
        /// The value found.
        marker: u32,
        /// Index of the line in the ring.
        line: u32,
        /// Lines of the ring.
        lines: u32,
    },
    /// A consumed position lies beyond what was produced.
    #[error("consumed position {position} is not between {consumed} and {tail}: drop the connection")]
    Position {
        /// The value found.
        position: u32,
        /// The last good one.
        consumed: u32,
        /// What was produced.
        tail: u32,
    },
}

/// An access that reaches beyond a packet's body; nothing was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{length} bytes at offset {offset} reach beyond the body of {body} bytes")]
pub struct OutOfBounds {
    /// Where in the body the access starts.
    pub offset: usize,
    /// Its length.
    pub length: usize,
    /// Length of the body.
    pub body: usize,
}

impl OutOfBounds {
    /// Accepts only an access inside of the body.
    #[inline]
    fn check(offset: usize, length: usize, body: usize) -> Result<(), Self> {
        match offset.checked_add(length) {
            Some(end) if end <= body => Ok(()),
            _ => Err(Self { offset, length, body }),
        }
    }
}
