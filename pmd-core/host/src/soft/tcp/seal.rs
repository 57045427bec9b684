//! Sealed records of one stream: what [`Stream`](super::stream::Stream) sends and receives where data is encrypted.
//!
//! A record is a length (u16, little-endian) and that many bytes, which open to 1 to [`RECORD`] bytes. Callers send and
//! receive bytes as without: they never see a record. All room is taken when the stream is connected; nothing is
//! allocated for a record.
//!
//! Sending reports bytes when the record with them is with the kernel as a whole. Until then callers come again with the same
//! bytes, as they do when a socket is full; so nothing is left here that nobody would send.
#![allow(unsafe_code)] // gathers from addresses and scatters to them, as vectored calls do

use std::fmt;

use libc::iovec;

use crate::security::{Cipher, NoiseFault, TAG};

/// Most bytes that are sealed at once.
pub(super) const RECORD: usize = 32 << 10;
/// Bytes of a record's length.
const LENGTH: usize = 2;
/// A record with its length.
const WHOLE: usize = LENGTH + RECORD + TAG;

/// Keys and buffers of one stream.
pub(super) struct Seal {
    cipher: Box<Cipher>,
    /// Bytes that were gathered.
    gathered: Box<[u8]>,
    /// The record that is being sent.
    outgoing: Box<[u8]>,
    /// Bytes from `sent` to `ready` of it are to be sent.
    sent: usize,
    ready: usize,
    /// Bytes that it holds.
    holds: usize,
    incoming: Box<[u8]>,
    /// Bytes from `taken` to `filled` are not opened yet.
    taken: usize,
    filled: usize,
    opened: Box<[u8]>,
    /// Bytes from `given` to `have` are to be given out.
    given: usize,
    have: usize,
}

impl Seal {
    pub(super) fn new(cipher: Box<Cipher>) -> Self {
        let room = |bytes: usize| vec![0; bytes].into_boxed_slice();
        Self {
            cipher,
            gathered: room(RECORD),
            outgoing: room(WHOLE),
            sent: 0,
            ready: 0,
            holds: 0,
            incoming: room(2 * WHOLE),
            taken: 0,
            filled: 0,
            opened: room(RECORD + TAG),
            given: 0,
            have: 0,
        }
    }

    /// Seals a record of what is there, unless one is being sent. Whether there is one to send.
    ///
    /// # Safety
    /// Each entry is memory that may be read for its length.
    pub(super) unsafe fn prepare(&mut self, parts: &[iovec]) -> Result<bool, NoiseFault> {
        if self.ready > 0 {
            return Ok(true);
        }
        let mut length = 0;
        for part in parts {
            let now = part.iov_len.min(RECORD - length);
            let to = self.gathered[length..].as_mut_ptr();
            // SAFETY: readable by the caller's promise; `now` bytes have room; the buffer is this stream's alone.
            unsafe { std::ptr::copy_nonoverlapping(part.iov_base.cast::<u8>(), to, now) };
            length += now;
        }
        if length > 0 {
            self.ready = record(&mut self.cipher, &self.gathered[..length], &mut self.outgoing)?;
            (self.sent, self.holds) = (0, length);
        }
        Ok(length > 0)
    }

    /// What is to be sent of the record.
    pub(super) fn unsent(&self) -> &[u8] {
        &self.outgoing[self.sent..self.ready]
    }

    /// So many bytes of it were sent. How many bytes it held, once all of it is.
    pub(super) fn note_sent(&mut self, count: usize) -> Option<usize> {
        self.sent += count;
        if self.sent < self.ready {
            return None;
        }
        (self.sent, self.ready) = (0, 0);
        Some(std::mem::take(&mut self.holds))
    }

    /// Room for bytes of the socket. Never none after [`Seal::open`] has said that there is no record.
    pub(super) fn room(&mut self) -> &mut [u8] {
        self.incoming.copy_within(self.taken..self.filled, 0);
        (self.taken, self.filled) = (0, self.filled - self.taken);
        &mut self.incoming[self.filled..]
    }

    /// So many bytes of the socket came.
    pub(super) fn note_received(&mut self, count: usize) {
        self.filled += count;
    }

    /// Opens the next record if it is there as a whole and nothing is left of the one before. Whether there are bytes
    /// to give out.
    pub(super) fn open(&mut self) -> Result<bool, NoiseFault> {
        if self.given < self.have {
            return Ok(true);
        }
        let waiting = &self.incoming[self.taken..self.filled];
        let Some((length, rest)) = waiting.split_first_chunk::<LENGTH>() else { return Ok(false) };
        let length = usize::from(u16::from_le_bytes(*length));
        if length <= TAG || length > RECORD + TAG {
            return Err(NoiseFault::Refused);
        }
        let Some(sealed) = rest.get(..length) else { return Ok(false) };
        self.have = self.cipher.open(sealed, &mut self.opened)?;
        self.given = 0;
        self.taken += LENGTH + length;
        Ok(true)
    }

    /// Gives opened bytes out, as many as have room. How many.
    ///
    /// # Safety
    /// Each entry is memory that may be written for its length.
    pub(super) unsafe fn give(&mut self, parts: &[iovec]) -> usize {
        let before = self.given;
        for part in parts {
            let rest = &self.opened[self.given..self.have];
            let now = part.iov_len.min(rest.len());
            // SAFETY: writable by the caller's promise, for no more than its length; nothing else is in the buffer's place.
            unsafe { std::ptr::copy_nonoverlapping(rest.as_ptr(), part.iov_base.cast::<u8>(), now) };
            self.given += now;
        }
        self.given - before
    }

    /// All that is still to be sent, with `rest` behind it, of which the record that is being sent holds the beginning.
    pub(super) fn into_rest(mut self, rest: &[u8]) -> Vec<u8> {
        let mut bytes = self.unsent().to_vec();
        let rest = rest.get(self.holds..).unwrap_or_default();
        for piece in rest.chunks(RECORD) {
            // A cipher that is used up has no last words.
            let Ok(length) = record(&mut self.cipher, piece, &mut self.outgoing) else { break };
            bytes.extend_from_slice(&self.outgoing[..length]);
        }
        bytes
    }
}

/// Writes a record. Its bytes with its length.
fn record(cipher: &mut Cipher, plain: &[u8], room: &mut [u8]) -> Result<usize, NoiseFault> {
    let length = cipher.seal(plain, &mut room[LENGTH..])?;
    room[..LENGTH].copy_from_slice(&(length as u16).to_le_bytes());
    Ok(LENGTH + length)
}

/// Shows no bytes and no keys.
impl fmt::Debug for Seal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Seal(hidden)")
    }
}
