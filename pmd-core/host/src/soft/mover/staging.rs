//! One accelerator as the mover drives it: a stream, and two pieces of pinned memory for what comes from or goes to the
//! host.
#![allow(unsafe_code)] // asks for copies between addresses

use std::sync::Arc;

use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, CopyDirection, CopyRange, DeviceMemory, Event, Stream},
    wire::Syndrome,
};

use super::host::HostBytes;
use crate::accelerator::wait_for;

/// Copies put on the stream by one call.
const RANGES: usize = 64;
/// Bytes of a piece.
const PIECE: u64 = 2 << 20;

/// Why a copy was not put on the stream.
pub(super) enum Refused {
    /// This one, for what it is.
    Copy(Syndrome),
    /// The stream took nothing.
    Stream,
}

impl From<AcceleratorError> for Refused {
    /// What exactly happened is the runtime's: the queue pairs fail either way.
    fn from(_reason: AcceleratorError) -> Self {
        Self::Stream
    }
}

/// A stream with what it copies in this round.
#[derive(Debug)]
pub(super) struct Conveyor {
    accelerator: Arc<dyn Accelerator>,
    stream: Option<Arc<dyn Stream>>,
    /// Not on the stream yet; they do not touch each other.
    ranges: Vec<CopyRange>,
    pieces: Option<[Piece; 2]>,
    /// The piece that is being filled.
    current: usize,
    /// There is something to wait for.
    busy: bool,
}

#[derive(Debug)]
struct Piece {
    memory: Box<dyn DeviceMemory>,
    used: u64,
    /// What has to go from here to the host once the event is done.
    leaving: Vec<Leaving>,
    event: Option<Arc<dyn Event>>,
}

#[derive(Clone, Copy, Debug)]
struct Leaving {
    at: u64,
    to: HostBytes,
    length: u64,
    /// Whose bytes they are.
    owner: usize,
}

impl Conveyor {
    pub(super) fn new(accelerator: Arc<dyn Accelerator>) -> Self {
        let ranges = Vec::with_capacity(RANGES);
        Self { accelerator, stream: None, ranges, pieces: None, current: 0, busy: false }
    }

    pub(super) fn accelerator(&self) -> &Arc<dyn Accelerator> {
        &self.accelerator
    }

    /// Copies within devices.
    pub(super) fn move_within(&mut self, from: u64, to: u64, length: u64) -> Result<(), Refused> {
        self.push(CopyRange { from, to, length, direction: CopyDirection::DeviceToDevice })
    }

    /// Copies from the host. `failed` is told whose bytes of the round before did not arrive.
    ///
    /// # Safety
    /// The bytes on both sides were checked in this round, which ends behind [`Conveyor::settle`].
    pub(super) unsafe fn move_in(
        &mut self,
        from: HostBytes,
        to: u64,
        length: u64,
        failed: &mut impl FnMut(usize, Syndrome),
    ) -> Result<(), Refused> {
        let mut offset = 0;
        while offset < length {
            let (at, count) = self.room(length - offset, failed)?;
            // SAFETY: `room` gave this part of the piece to nobody else; the host's bytes are the caller's promise.
            unsafe { from.at(offset).gather(at as *mut u8, count as usize) }.map_err(Refused::Copy)?;
            let (to, direction) = (to + offset, CopyDirection::HostToDevice);
            self.push(CopyRange { from: at, to, length: count, direction })?;
            offset += count;
        }
        Ok(())
    }

    /// Copies to the host, for `owner`.
    pub(super) fn move_out(
        &mut self,
        from: u64,
        to: HostBytes,
        length: u64,
        owner: usize,
        failed: &mut impl FnMut(usize, Syndrome),
    ) -> Result<(), Refused> {
        let mut offset = 0;
        while offset < length {
            let (at, count) = self.room(length - offset, failed)?;
            let (from, direction) = (from + offset, CopyDirection::DeviceToHost);
            self.push(CopyRange { from, to: at, length: count, direction })?;
            let leaving = Leaving { at, to: to.at(offset), length: count, owner };
            if let Some(pieces) = &mut self.pieces {
                pieces[self.current].leaving.push(leaving);
            }
            offset += count;
        }
        Ok(())
    }

    /// Waits until everything of this round has been copied. On an error the stream is given up.
    pub(super) fn settle(&mut self, failed: &mut impl FnMut(usize, Syndrome)) -> Result<(), Refused> {
        if !self.busy {
            return Ok(());
        }
        let issued = self.issue();
        // What was put on the stream before is waited for in any case.
        let done = self.record().and_then(|event| Ok(wait_for(&*event, None)?));
        self.busy = false;
        let good = issued.is_ok() && done.is_ok();
        for turn in 1..=2 {
            if let Some(pieces) = &mut self.pieces {
                pieces[(self.current + turn) % 2].empty(good, failed);
            }
        }
        if good {
            return Ok(());
        }
        self.ranges.clear();
        self.stream = None;
        Err(Refused::Stream)
    }

    /// A free part of the current piece, of at most `wanted` bytes; while the stream works with one piece the other
    /// is filled.
    fn room(&mut self, wanted: u64, failed: &mut impl FnMut(usize, Syndrome)) -> Result<(u64, u64), Refused> {
        self.have_pieces()?;
        if self.pieces.as_ref().is_some_and(|pieces| pieces[self.current].used == PIECE) {
            self.turn(failed)?;
        }
        let current = self.current;
        let Some(pieces) = &mut self.pieces else { return Err(Refused::Stream) };
        let piece = &mut pieces[current];
        let count = wanted.min(PIECE - piece.used);
        let at = piece.memory.description().address + piece.used;
        piece.used += count;
        self.busy = true;
        Ok((at, count))
    }

    /// Goes on with the other piece, once it is free.
    fn turn(&mut self, failed: &mut impl FnMut(usize, Syndrome)) -> Result<(), Refused> {
        self.issue()?;
        let event = self.record()?;
        let (current, other) = (self.current, 1 - self.current);
        let Some(pieces) = &mut self.pieces else { return Err(Refused::Stream) };
        pieces[current].event = Some(event);
        self.current = other;
        if let Some(event) = pieces[other].event.take() {
            wait_for(&*event, None)?;
        }
        pieces[other].empty(true, failed);
        Ok(())
    }

    fn have_pieces(&mut self) -> Result<(), Refused> {
        if self.pieces.is_none() {
            let piece = || {
                let memory = self.accelerator.allocate_pinned(PIECE)?;
                Ok::<_, AcceleratorError>(Piece { memory, used: 0, leaving: Vec::new(), event: None })
            };
            self.pieces = Some([piece()?, piece()?]);
        }
        Ok(())
    }

    fn push(&mut self, range: CopyRange) -> Result<(), Refused> {
        if self.ranges.len() == RANGES || self.ranges.iter().any(|earlier| touch(earlier, &range)) {
            self.issue()?;
        }
        self.busy = true;
        self.ranges.push(range);
        Ok(())
    }

    fn issue(&mut self) -> Result<(), Refused> {
        if self.ranges.is_empty() {
            return Ok(());
        }
        let stream = self.stream()?;
        // SAFETY: both sides of every range were checked in this round, or are of a piece; the round, and the piece's
        // contents, outlive the event that is recorded behind.
        let copied = unsafe { stream.copy(&self.ranges) };
        self.ranges.clear();
        Ok(copied?)
    }

    fn record(&mut self) -> Result<Arc<dyn Event>, Refused> {
        Ok(self.stream()?.record()?)
    }

    fn stream(&mut self) -> Result<Arc<dyn Stream>, Refused> {
        if let Some(stream) = &self.stream {
            return Ok(stream.clone());
        }
        let stream = self.accelerator.open_stream()?;
        self.stream = Some(stream.clone());
        Ok(stream)
    }
}

impl Piece {
    /// The stream is done with it: what has to go to the host goes, unless it never came.
    fn empty(&mut self, arrived: bool, failed: &mut impl FnMut(usize, Syndrome)) {
        self.event = None;
        self.used = 0;
        for Leaving { at, to, length, owner } in self.leaving.drain(..).filter(|_| arrived) {
            // SAFETY: the piece holds the bytes, and the host's were checked in this round.
            if let Err(syndrome) = unsafe { to.scatter(at as *const u8, length as usize) } {
                failed(owner, syndrome);
            }
        }
    }
}

/// Whether the order of two copies matters.
fn touch(one: &CopyRange, two: &CopyRange) -> bool {
    let overlap = |one: u64, first: u64, two: u64, second: u64| one < two + second && two < one + first;
    overlap(one.to, one.length, two.to, two.length)
        || overlap(one.from, one.length, two.to, two.length)
        || overlap(one.to, one.length, two.from, two.length)
}
