//! One accelerator as the mover drives it: a stream, and pieces of pinned memory for what comes from or goes to the host.
#![allow(unsafe_code)] // asks for copies between addresses

use std::sync::Arc;

use pmd_core::accelerator::{
    Accelerator, AcceleratorError, BlockCopies, BlockPair, CopyDirection, CopyRange, Event, Stream,
};

use super::{
    Fault,
    host::HostBytes,
    pieces::{Lost, Owner, Pieces},
    ranges::{Ranges, tables},
};
use crate::{accelerator::wait_for, transfer::DeviceFault};

/// Ranges that wait for one another before they are put on the stream.
const RANGES: usize = 4096;
/// Ranges in one call.
const AT_ONCE: usize = 64;

/// Why a copy was not put on the stream.
pub(super) enum Refused {
    /// This one, for what it is.
    Copy(Fault),
    /// The stream took nothing.
    Stream,
}

impl From<AcceleratorError> for Refused {
    /// What exactly happened is the runtime's: the queue pairs fail either way.
    fn from(_reason: AcceleratorError) -> Self {
        Self::Stream
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Copy(fault) => fault,
            Refused::Stream => DeviceFault::Stream.into(),
        }
    }
}

/// What has to be awaited for a round to be over.
#[derive(Debug)]
pub(super) struct Token {
    /// None where the stream took nothing more: it does nothing more either.
    event: Option<Arc<dyn Event>>,
    /// Everything of the round is on the stream.
    issued: bool,
}

/// A stream with what it copies.
#[derive(Debug)]
pub(super) struct Conveyor {
    accelerator: Arc<dyn Accelerator>,
    stream: Option<Arc<dyn Stream>>,
    /// Not on the stream yet.
    ranges: Ranges,
    pairs: Vec<BlockPair>,
    pieces: Option<Pieces>,
    /// There is something in this round to wait for.
    busy: bool,
    /// Something of this round was not taken by the stream.
    failed: bool,
    /// The last round in which the stream itself copies to the host.
    outward: Option<u64>,
}

impl Token {
    /// Nothing to wait for, and nothing was copied.
    pub(super) const FAILED: Self = Self { event: None, issued: false };
}

impl Conveyor {
    pub(super) fn new(accelerator: Arc<dyn Accelerator>) -> Self {
        let (ranges, pairs) = (Ranges::default(), Vec::new());
        Self {
            accelerator,
            stream: None,
            ranges,
            pairs,
            pieces: None,
            busy: false,
            failed: false,
            outward: None,
        }
    }

    pub(super) fn accelerator(&self) -> &Arc<dyn Accelerator> {
        &self.accelerator
    }

    /// Copies within devices.
    pub(super) fn move_within(&mut self, from: u64, to: u64, length: u64) -> Result<(), Refused> {
        self.push(CopyRange { from, to, length, direction: CopyDirection::DeviceToDevice })
    }

    /// Copies from the host. `lost` is told whose bytes of an earlier piece did not arrive.
    ///
    /// # Safety
    /// The bytes on both sides were checked in this round, which ends behind [`Conveyor::settle`].
    pub(super) unsafe fn move_in(
        &mut self,
        from: HostBytes,
        to: u64,
        length: u64,
        lost: &mut Lost,
    ) -> Result<(), Refused> {
        if let HostBytes::Pinned(from) = from {
            return self.push(CopyRange { from, to, length, direction: CopyDirection::HostToDevice });
        }
        let mut offset = 0;
        while offset < length {
            let (at, count) = self.room(length - offset, lost)?;
            // SAFETY: `room` gave this part of the piece to nobody else; the host's bytes are the caller's promise.
            let gathered = unsafe { from.at(offset).gather(at as *mut u8, count as usize) };
            gathered.map_err(|syndrome| Refused::Copy(syndrome.into()))?;
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
        owner: Owner,
        lost: &mut Lost,
    ) -> Result<(), Refused> {
        if let HostBytes::Pinned(to) = to {
            self.outward = Some(owner.round);
            return self.push(CopyRange { from, to, length, direction: CopyDirection::DeviceToHost });
        }
        let mut offset = 0;
        while offset < length {
            let (at, count) = self.room(length - offset, lost)?;
            let (from, direction) = (from + offset, CopyDirection::DeviceToHost);
            self.push(CopyRange { from, to: at, length: count, direction })?;
            if let Some(pieces) = &mut self.pieces {
                pieces.leaving(at, to.at(offset), count, owner);
            }
            offset += count;
        }
        Ok(())
    }

    /// Whether bytes of an earlier job still have to go to the host.
    pub(super) fn has_leaving(&self) -> bool {
        self.outward.is_some() || self.pieces.as_ref().is_some_and(Pieces::has_leaving)
    }

    /// Waits for these bytes, and hands them over.
    pub(super) fn deliver(&mut self, lost: &mut Lost) -> Result<(), Refused> {
        let issued = self.issue();
        let done = self.record().and_then(|event| Ok(wait_for(&*event, None)?));
        self.outward = None;
        if let Some(pieces) = &mut self.pieces {
            pieces.deliver(issued.is_ok() && done.is_ok(), lost);
        }
        self.failed |= done.is_err();
        issued.and(done.map(drop))
    }

    /// Puts what is left of this round on the stream. What comes back, if there is anything to wait for, is for
    /// [`Conveyor::is_over`] and then [`Conveyor::settle`].
    pub(super) fn end_round(&mut self) -> Option<Token> {
        if !std::mem::take(&mut self.busy) {
            return None;
        }
        let issued = self.issue().is_ok() && !self.failed;
        self.failed = false;
        // What was put on the stream before is waited for in any case.
        let event = self.record().ok();
        if let (Some(pieces), Some(event)) = (&mut self.pieces, &event)
            && pieces.is_used()
        {
            pieces.turn(event.clone());
        }
        Some(Token { event, issued })
    }

    /// Whether the stream is done with a round, or has failed.
    pub(super) fn is_over(token: &Token) -> bool {
        token.event.as_ref().is_none_or(|event| event.query().unwrap_or(true))
    }

    /// Waits until a round has been copied, and hands to the host what goes there. On an error the stream is given up.
    pub(super) fn settle(&mut self, token: Token, round: u64, lost: &mut Lost) -> Result<(), Refused> {
        let done = match &token.event {
            Some(event) => wait_for(&**event, None).map(drop).map_err(Refused::from),
            None => Err(Refused::Stream),
        };
        let good = token.issued && done.is_ok();
        self.outward = self.outward.filter(|last| *last > round);
        if let Some(pieces) = &mut self.pieces {
            pieces.empty_round(round, good, lost);
        }
        if good {
            return Ok(());
        }
        self.stream = None;
        Err(Refused::Stream)
    }

    /// A free part of the current piece, of at most `wanted` bytes; while the stream works with others this one is filled.
    fn room(&mut self, wanted: u64, lost: &mut Lost) -> Result<(u64, u64), Refused> {
        if self.pieces.is_none() {
            let pieces = Pieces::allocate(&self.accelerator).map_err(|error| match error {
                AcceleratorError::OutOfMemory { .. } => Refused::Copy(DeviceFault::NoStaging.into()),
                _ => Refused::Stream,
            })?;
            self.pieces = Some(pieces);
        }
        if self.pieces.as_ref().is_some_and(Pieces::is_full) {
            self.turn(lost)?;
        }
        let Some(pieces) = &mut self.pieces else { return Err(Refused::Stream) };
        pieces.free(lost)?;
        self.busy = true;
        Ok(pieces.take(wanted))
    }

    /// Goes on with the next piece.
    fn turn(&mut self, lost: &mut Lost) -> Result<(), Refused> {
        self.issue()?;
        let event = self.record()?;
        let Some(pieces) = &mut self.pieces else { return Err(Refused::Stream) };
        pieces.turn(event);
        Ok(pieces.free(lost)?)
    }

    fn push(&mut self, range: CopyRange) -> Result<(), Refused> {
        if self.ranges.len() == RANGES || self.ranges.touches(&range) {
            self.issue()?;
        }
        self.busy = true;
        self.ranges.push(range);
        Ok(())
    }

    /// Puts what waits on the stream: blocks of tables with one call each, the rest in batches.
    fn issue(&mut self) -> Result<(), Refused> {
        if self.ranges.is_empty() {
            return Ok(());
        }
        let issued = self.put_all();
        self.ranges.clear();
        // Other jobs of the round may have had a part in it.
        self.failed |= issued.is_err();
        issued
    }

    fn put_all(&mut self) -> Result<(), Refused> {
        let stream = self.stream()?;
        let Self { ranges, pairs, .. } = self;
        Ok(ranges.groups().try_for_each(|group| put(&*stream, group, pairs))?)
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

/// Puts ranges of one length and direction on a stream.
fn put(stream: &dyn Stream, group: &[CopyRange], pairs: &mut Vec<BlockPair>) -> Result<(), AcceleratorError> {
    let Some(found) = tables(group, pairs) else {
        // SAFETY: both sides of every range were checked in this round, or are of a piece; the round, and the piece's
        // contents, outlive the event that is recorded behind.
        return group.chunks(AT_ONCE).try_for_each(|batch| unsafe { stream.copy(batch) });
    };
    let blocks = BlockCopies {
        from: found.from,
        to: found.to,
        block_bytes: found.block_bytes,
        pairs,
        direction: group[0].direction,
    };
    // SAFETY: as above; the ranges, which the blocks are, do not touch each other.
    unsafe { stream.copy_blocks(&blocks) }
}
