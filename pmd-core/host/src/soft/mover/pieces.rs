//! Pinned memory of the host that a stream copies from and to while the mover fills and empties the rest of it.
#![allow(unsafe_code)] // copies between addresses

use std::sync::Arc;

use pmd_core::accelerator::{Accelerator, AcceleratorError, DeviceMemory, Event};

use super::{Fault, host::HostBytes};
use crate::accelerator::wait_for;

/// Pieces: each of two rounds has one that is filled or emptied and one that the stream works with.
const COUNT: usize = 4;
/// Bytes of a piece, where there is room for so much.
const LARGEST: u64 = 1 << 20;
/// Below this a piece is of no use.
const SMALLEST: u64 = 64 << 10;

/// Which job: the serial number of its round, and its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) round: u64,
    pub(super) place: usize,
}

/// Jobs whose bytes did not reach the host.
pub(super) type Lost = Vec<(Owner, Fault)>;

/// All pieces of one accelerator; used in turn.
#[derive(Debug)]
pub(super) struct Pieces {
    pieces: [Piece; COUNT],
    bytes: u64,
    /// The one that is being filled.
    current: usize,
}

#[derive(Debug)]
struct Piece {
    memory: Box<dyn DeviceMemory>,
    used: u64,
    /// What has to go from here to the host once the event is done.
    leaving: Vec<Leaving>,
    /// Done when the stream is done with it; none while it is filled.
    event: Option<Arc<dyn Event>>,
}

#[derive(Clone, Copy, Debug)]
struct Leaving {
    at: u64,
    to: HostBytes,
    length: u64,
    owner: Owner,
}

impl Pieces {
    /// As large as the runtime gives them.
    pub(super) fn allocate(accelerator: &Arc<dyn Accelerator>) -> Result<Self, AcceleratorError> {
        let mut bytes = LARGEST;
        loop {
            let piece = || {
                let memory = accelerator.allocate_pinned(bytes)?;
                Ok(Piece { memory, used: 0, leaving: Vec::new(), event: None })
            };
            let pieces = || Ok([piece()?, piece()?, piece()?, piece()?]);
            match pieces() {
                Ok(pieces) => return Ok(Self { pieces, bytes, current: 0 }),
                Err(AcceleratorError::OutOfMemory { .. }) if bytes > SMALLEST => bytes /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether nothing is left of the piece that is being filled.
    pub(super) fn is_full(&self) -> bool {
        self.pieces[self.current].used == self.bytes
    }

    /// Whether anything of it is.
    pub(super) fn is_used(&self) -> bool {
        self.pieces[self.current].used > 0
    }

    /// A free part of at most `wanted` bytes: where, and how many. The piece is not full.
    pub(super) fn take(&mut self, wanted: u64) -> (u64, u64) {
        let piece = &mut self.pieces[self.current];
        let count = wanted.min(self.bytes - piece.used);
        let at = piece.memory.description().address + piece.used;
        piece.used += count;
        (at, count)
    }

    /// Notes that the bytes at `at` of the current piece have to go to the host.
    pub(super) fn leaving(&mut self, at: u64, to: HostBytes, length: u64, owner: Owner) {
        self.pieces[self.current].leaving.push(Leaving { at, to, length, owner });
    }

    /// Leaves the current piece to the stream, until `event`, and goes on with the next, which has to be
    /// [freed](Pieces::free) first.
    pub(super) fn turn(&mut self, event: Arc<dyn Event>) {
        self.pieces[self.current].event = Some(event);
        self.current = (self.current + 1) % COUNT;
    }

    /// Waits until the stream is done with the current piece, if it has it, and empties it.
    ///
    /// # Errors
    /// The stream has failed.
    pub(super) fn free(&mut self, lost: &mut Lost) -> Result<(), AcceleratorError> {
        let piece = &mut self.pieces[self.current];
        let Some(event) = piece.event.take() else { return Ok(()) };
        let done = wait_for(&*event, None);
        piece.empty(done.is_ok(), lost);
        done.map(drop)
    }

    /// Whether anything still has to go to the host.
    pub(super) fn has_leaving(&self) -> bool {
        self.pieces.iter().any(|piece| !piece.leaving.is_empty())
    }

    /// All of it goes; the stream is done with every piece, or has failed.
    pub(super) fn deliver(&mut self, arrived: bool, lost: &mut Lost) {
        for turn in 1..=COUNT {
            self.pieces[(self.current + turn) % COUNT].empty(arrived, lost);
        }
    }

    /// What leaves for the host by jobs of this round goes; the stream is done with the round, or has failed.
    pub(super) fn empty_round(&mut self, round: u64, arrived: bool, lost: &mut Lost) {
        for turn in 1..=COUNT {
            let piece = &mut self.pieces[(self.current + turn) % COUNT];
            if piece.leaving.first().is_some_and(|leaving| leaving.owner.round == round) {
                piece.empty(arrived, lost);
            }
        }
    }
}

impl Piece {
    fn empty(&mut self, arrived: bool, lost: &mut Lost) {
        self.event = None;
        self.used = 0;
        for Leaving { at, to, length, owner } in self.leaving.drain(..).filter(|_| arrived) {
            // SAFETY: the piece holds the bytes, and the host's were checked in the owner's round, which has not ended.
            if let Err(syndrome) = unsafe { to.scatter(at as *const u8, length as usize) } {
                lost.push((owner, syndrome.into()));
            }
        }
    }
}
