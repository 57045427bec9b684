//! One message at a time: ping-pong by WRITE (found in memory) and by SEND (found by completion), and single READs.
//!
//! Both sides run the same turns, the client sends first. Messages carry a pattern whose last byte is a stamp that
//! changes from turn to turn; it is looked at in every turn, the rest at the end.

use std::time::{Duration, Instant};

use pmd_core::provider::{CompletionKind, Operation, Payload};
use pmd_host::backend::{Backend, Transport};

use super::{
    error::PerfError,
    link::{Link, Wait},
    peer::{Peer, Window},
    progress::Progress,
};
use crate::memory::Memory;

/// Requests from one completion to the next. Larger messages have one each: waiting for it moves them on.
const SIGNAL_EVERY: u32 = 64;

/// Largest message that may be unsignalled.
const UNSIGNALED_BYTES: u32 = 16 << 10;

/// Looks into memory between two polls, where bytes come without them.
const LOOKS: u64 = 256;

/// One message at a time.
pub(super) trait Turns {
    /// Sends message `turn`.
    fn send(&mut self, turn: u64) -> Result<(), PerfError>;

    /// Waits until the peer's message `turn` is here.
    fn wait(&mut self, turn: u64) -> Result<(), PerfError>;

    /// Takes the completions that are still to come.
    fn settle(&mut self) -> Result<(), PerfError>;

    /// Compares what arrived with what was sent, after `turns` turns.
    fn verify(&self, turns: u64) -> Result<(), PerfError>;
}

/// Runs the client's turns and gives the time of each measured one: from before the send to the answer.
pub(super) fn drive(
    turns: &mut impl Turns,
    warm_up: u64,
    iterations: u64,
    progress: &Progress,
) -> Result<Vec<Duration>, PerfError> {
    for turn in 0..warm_up {
        turns.send(turn)?;
        turns.wait(turn)?;
    }
    let mut samples = Vec::with_capacity(iterations as usize);
    for step in Progress::steps(iterations) {
        let done = step.end;
        let mut start = Instant::now();
        for turn in step {
            turns.send(warm_up + turn)?;
            turns.wait(warm_up + turn)?;
            let end = Instant::now();
            samples.push(end - start);
            start = end;
        }
        progress.reached(done);
    }
    turns.settle()?;
    Ok(samples)
}

/// Runs the server's turns.
pub(super) fn answer(turns: &mut impl Turns, count: u64) -> Result<(), PerfError> {
    for turn in 0..count {
        turns.wait(turn)?;
        turns.send(turn)?;
    }
    turns.settle()
}

/// The last byte of message `turn`; that of message 0 differs from memory that nothing was written to.
const fn stamp(turn: u64) -> u8 {
    (turn as u8).wrapping_add(1)
}

/// What a message is made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) size: u32,
    pub(super) inline: bool,
    /// Pattern of what this side receives.
    pub(super) seed: u64,
}

/// This side's memory of one round.
#[derive(Debug)]
pub(super) struct Buffers<'a> {
    pub(super) outgoing: &'a mut Memory,
    pub(super) incoming: &'a Memory,
}

impl Shape {
    fn is_unsignaled(&self) -> bool {
        self.size <= UNSIGNALED_BYTES
    }
}

/// Requests posted since the last signalled one, and signalled ones without completion.
#[derive(Debug, Default)]
struct Signals {
    quiet: u32,
    open: u32,
}

impl Signals {
    /// Whether the next request asks for a completion.
    fn next(&mut self, shape: &Shape) -> bool {
        self.quiet += 1;
        let signaled = !shape.is_unsignaled() || self.quiet == SIGNAL_EVERY;
        if signaled {
            self.quiet = 0;
            self.open += 1;
        }
        signaled
    }

    /// Large messages move on while their completion is awaited; of small ones two may be missing.
    fn limit(shape: &Shape) -> u32 {
        if shape.is_unsignaled() { 1 } else { 0 }
    }
}

/// WRITE ping-pong.
#[derive(Debug)]
pub(super) struct WriteTurns<'a, B> {
    link: &'a mut Link<B>,
    buffers: Buffers<'a>,
    remote: Window,
    shape: Shape,
    signals: Signals,
    /// Looks into memory between two polls.
    looks: u64,
}

impl<'a, B: Backend> WriteTurns<'a, B> {
    /// Turns that write to the start of `remote`.
    pub(super) fn new(link: &'a mut Link<B>, buffers: Buffers<'a>, remote: Window, shape: Shape) -> Self {
        // Over TCP it is this side that puts the peer's bytes in place.
        let looks = if link.backend.transport() == Transport::Tcp { 1 } else { LOOKS };
        Self { link, buffers, remote, shape, signals: Signals::default(), looks }
    }

    /// Polls until no more than `limit` completions are missing.
    #[inline]
    fn complete(&mut self, limit: u32) -> Result<(), PerfError> {
        let mut wait = Wait::default();
        while self.signals.open > limit {
            self.link.reap(&mut self.signals.open)?;
            self.link.idle(&mut wait)?;
        }
        Ok(())
    }
}

impl<B: Backend> Turns for WriteTurns<'_, B> {
    #[inline]
    fn send(&mut self, turn: u64) -> Result<(), PerfError> {
        let size = self.shape.size;
        self.buffers.outgoing.stamp(size as usize - 1, stamp(turn));
        let signaled = self.signals.next(&self.shape);
        let remote = self.remote.at(0);
        if self.shape.inline {
            let local = Payload::Inline(self.buffers.outgoing.outgoing(0, size));
            self.link.post(turn, Operation::Write { remote, local }, signaled)?;
        } else {
            let entry = [self.buffers.outgoing.sge(0, size)?];
            self.link.post(turn, Operation::Write { remote, local: Payload::Gather(&entry) }, signaled)?;
        }
        self.link.ring();
        self.complete(Signals::limit(&self.shape))
    }

    #[inline]
    fn wait(&mut self, turn: u64) -> Result<(), PerfError> {
        let (last, expected) = (self.shape.size as usize - 1, stamp(turn));
        let mut wait = Wait::default();
        while self.buffers.incoming.byte(last) != expected {
            self.link.idle(&mut wait)?;
            if wait.turns.is_multiple_of(self.looks) {
                self.link.reap(&mut self.signals.open)?;
            }
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), PerfError> {
        self.complete(0)
    }

    fn verify(&self, turns: u64) -> Result<(), PerfError> {
        let last = turns.checked_sub(1).map(stamp);
        Ok(self.buffers.incoming.check(0, self.shape.size, self.shape.seed, last)?)
    }
}

/// SEND ping-pong.
#[derive(Debug)]
pub(super) struct SendTurns<'a, B> {
    link: &'a mut Link<B>,
    buffers: Buffers<'a>,
    shape: Shape,
    signals: Signals,
    /// Receives that are posted in turn, each with its place in memory.
    places: u64,
    /// Turns of the round: no more receives than this are posted.
    total: u64,
    posted: u64,
    received: u64,
}

impl<'a, B: Backend> SendTurns<'a, B> {
    /// Turns over `places` receives, which are posted now.
    pub(super) fn new(
        link: &'a mut Link<B>,
        buffers: Buffers<'a>,
        shape: Shape,
        places: u64,
        total: u64,
    ) -> Result<Self, PerfError> {
        let signals = Signals::default();
        let mut turns = Self { link, buffers, shape, signals, places, total, posted: 0, received: 0 };
        turns.post_receives()?;
        Ok(turns)
    }

    /// The process that sends and receives in turn.
    pub(super) fn peer(&self) -> &Peer {
        &self.link.peer
    }

    /// Posts receives into every place that is free.
    fn post_receives(&mut self) -> Result<(), PerfError> {
        let end = self.total.min(self.received + self.places);
        for message in self.posted..end {
            let offset = self.offset(message);
            self.link.post_receive(message, self.buffers.incoming.sge(offset, self.shape.size)?)?;
        }
        self.posted = end.max(self.posted);
        self.link.ring_receive();
        Ok(())
    }

    fn offset(&self, message: u64) -> u64 {
        message % self.places * u64::from(self.shape.size)
    }

    /// As for WRITEs.
    #[inline]
    fn complete(&mut self, limit: u32) -> Result<(), PerfError> {
        let mut wait = Wait::default();
        while self.signals.open > limit {
            self.poll()?;
            self.link.idle(&mut wait)?;
        }
        Ok(())
    }

    /// Polls once and notes what completed.
    #[inline]
    fn poll(&mut self) -> Result<(), PerfError> {
        let (size, next) = (self.shape.size, self.received);
        let mut received = 0;
        for completion in self.link.poll()? {
            if completion.result? != CompletionKind::Receive {
                self.signals.open -= 1;
                continue;
            }
            let (id, found) = (completion.id, completion.byte_length);
            if id != next + received || found != size {
                return Err(PerfError::Unexpected { id, found, expected: size });
            }
            received += 1;
        }
        self.received += received;
        Ok(())
    }
}

impl<B: Backend> Turns for SendTurns<'_, B> {
    #[inline]
    fn send(&mut self, turn: u64) -> Result<(), PerfError> {
        let size = self.shape.size;
        self.buffers.outgoing.stamp(size as usize - 1, stamp(turn));
        let signaled = self.signals.next(&self.shape);
        if self.shape.inline {
            let local = Payload::Inline(self.buffers.outgoing.outgoing(0, size));
            self.link.post(turn, Operation::Send { local, immediate: None }, signaled)?;
        } else {
            let entry = [self.buffers.outgoing.sge(0, size)?];
            let local = Payload::Gather(&entry);
            self.link.post(turn, Operation::Send { local, immediate: None }, signaled)?;
        }
        self.link.ring();
        // Receives for later turns, while the message is on its way.
        if self.posted < self.total && self.posted - self.received <= self.places / 2 {
            self.post_receives()?;
        }
        self.complete(Signals::limit(&self.shape))
    }

    #[inline]
    fn wait(&mut self, turn: u64) -> Result<(), PerfError> {
        let mut wait = Wait::default();
        while self.received <= turn {
            self.poll()?;
            self.link.idle(&mut wait)?;
        }
        let (offset, size) = (self.offset(turn), self.shape.size);
        if self.buffers.incoming.byte(offset as usize + size as usize - 1) == stamp(turn) {
            return Ok(());
        }
        Ok(self.buffers.incoming.check(offset, size, self.shape.seed, Some(stamp(turn)))?)
    }

    fn settle(&mut self) -> Result<(), PerfError> {
        self.complete(0)
    }

    fn verify(&self, turns: u64) -> Result<(), PerfError> {
        for message in turns.saturating_sub(self.places)..turns {
            let (offset, size) = (self.offset(message), self.shape.size);
            self.buffers.incoming.check(offset, size, self.shape.seed, Some(stamp(message)))?;
        }
        Ok(())
    }
}

/// Single READs; the server has no turns.
#[derive(Debug)]
pub(super) struct ReadTurns<'a, B> {
    link: &'a mut Link<B>,
    incoming: &'a Memory,
    remote: Window,
    shape: Shape,
    open: u32,
}

impl<'a, B: Backend> ReadTurns<'a, B> {
    /// Turns that read from the start of `remote`.
    pub(super) fn new(link: &'a mut Link<B>, incoming: &'a Memory, remote: Window, shape: Shape) -> Self {
        Self { link, incoming, remote, shape, open: 0 }
    }
}

impl<B: Backend> Turns for ReadTurns<'_, B> {
    #[inline]
    fn send(&mut self, turn: u64) -> Result<(), PerfError> {
        let local = [self.incoming.sge(0, self.shape.size)?];
        self.link.post(turn, Operation::Read { remote: self.remote.at(0), local: &local }, true)?;
        self.open = 1;
        self.link.ring();
        Ok(())
    }

    #[inline]
    fn wait(&mut self, _turn: u64) -> Result<(), PerfError> {
        let mut wait = Wait::default();
        while self.open > 0 {
            self.link.reap(&mut self.open)?;
            self.link.idle(&mut wait)?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<(), PerfError> {
        self.wait(0)
    }

    fn verify(&self, _turns: u64) -> Result<(), PerfError> {
        Ok(self.incoming.check(0, self.shape.size, self.shape.seed, None)?)
    }
}
