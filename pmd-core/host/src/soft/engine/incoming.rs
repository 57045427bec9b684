//! Looking at the packet at the head of a ring: its head is copied and checked, its payload stays in place.
#![allow(unsafe_code)] // gives the payload's address

use std::ptr::NonNull;

use pmd_core::ring::packet::{Consumer, Corrupt};
use thiserror::Error;

use super::packet::{LONGEST_HEAD, Packet, PacketError};
use crate::soft::tcp::BadRecord;

/// What the peer left cannot be: the link is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum Broken {
    /// The ring itself.
    #[error(transparent)]
    Ring(#[from] Corrupt),
    /// A packet in it.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// What came over a stream.
    #[error(transparent)]
    Stream(#[from] BadRecord),
    /// A WQE that was good when it was begun is not any more: the driver overwrote its own queue.
    #[error("a work request changed while it was outstanding")]
    Queue,
}

/// The packet at the head of a ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Incoming {
    /// Its head.
    pub(super) packet: Packet,
    /// Where it starts in the ring, which is what a refusal names.
    pub(super) position: u32,
    body: NonNull<u8>,
}

/// Looks at the oldest packet, if there is one. It stays until it is released.
#[inline]
pub(super) fn peek(ring: &mut Consumer) -> Result<Option<Incoming>, Broken> {
    let Some(packet) = ring.peek()? else { return Ok(None) };
    let (length, body) = (packet.length(), packet.body());
    let mut head = [0; LONGEST_HEAD];
    let copied = length.min(LONGEST_HEAD);
    // Never fails: `copied` is within the body. Bytes behind a shorter one stay zero.
    let _ = packet.read(0, &mut head[..copied]);
    let packet = Packet::parse(&head, length)?;
    Ok(Some(Incoming { packet, position: ring.position(), body }))
}

impl Incoming {
    /// First byte of the payload; readable for its length until the release.
    #[inline]
    pub(super) fn payload(&self) -> *const u8 {
        // SAFETY: the payload starts within the body, or one past its end where it is empty.
        unsafe { self.body.as_ptr().add(self.packet.payload) }
    }

    /// Gives the packet back.
    #[inline]
    pub(super) fn release(self, ring: &mut Consumer) -> Result<(), Broken> {
        if let Some(packet) = ring.peek()? {
            packet.release();
        }
        Ok(())
    }
}
