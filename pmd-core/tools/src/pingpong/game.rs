//! The ping-pong itself: SENDs back and forth over a connected queue pair, one message under way at a time.
//!
//! Generic over the back end; called by [`super::play`] once both sides have exchanged addresses.

use std::{
    thread,
    time::{Duration, Instant},
};

use pmd_core::{
    provider::{Completion, Operation, Payload, QueuePairHandle, ReceiveRequest, SendFlags, SendRequest},
    wire::Syndrome,
};
use pmd_host::backend::Backend;

use super::{content, error::PingpongError};
use crate::memory::Memory;

/// Which side this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Sends first.
    Client,
    /// Answers.
    Server,
}

/// Parameters of a game, the same on both sides.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) side: Side,
    /// Bytes of a message.
    pub(super) size: u32,
    /// Exchanges.
    pub(super) turns: u64,
    /// Receives that are kept posted.
    pub(super) receives: u32,
    /// Sleep until there is an event, rather than poll.
    pub(super) events: bool,
    /// Longest wait in which nothing happens.
    pub(super) patience: Duration,
}

/// Memory of receives, at most.
const RECEIVE_BYTES: u32 = 16 << 20;
/// Longest payload that is copied into the queue entry.
pub(super) const INLINE: u32 = 128;
/// Longest sleep without a look at the time.
const NAP: Duration = Duration::from_millis(100);
/// Completions taken in one poll.
const POLLED: usize = 16;
/// The request that sends; receives have the numbers below.
const SEND: u64 = u64::MAX;

impl Rules {
    /// Bytes of a side's memory: one message to send, and places to receive in.
    pub(super) fn memory(&self) -> u64 {
        u64::from(self.size) * (1 + u64::from(self.places()))
    }

    /// Places that receives take turns in.
    fn places(&self) -> u32 {
        (RECEIVE_BYTES / self.size).clamp(2, self.receives.max(2))
    }

    /// Where a receive's message goes: behind the outgoing one.
    fn place(&self, receive: u64) -> u64 {
        u64::from(self.size) * (1 + receive % u64::from(self.places()))
    }
}

/// What the peer does with what it gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lead {
    /// This side chooses what is sent: the peer sends it back.
    Own,
    /// The peer chooses, this side sends it back.
    Peer,
}

/// A side of a game.
#[derive(Debug)]
pub(super) struct Game<B> {
    rules: Rules,
    // Goes before the memory that its requests name.
    backend: B,
    queue_pair: QueuePairHandle,
    memory: Memory,
    lead: Lead,
    /// Receives posted, over all.
    posted: u64,
    received: u64,
    sent: u64,
    /// Whether a message is under way.
    sending: bool,
    is_acknowledged: bool,
    last: Instant,
    samples: Vec<Duration>,
}

/// A game that came to its end, every message verified.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Played {
    /// Time of each exchange.
    pub(super) exchanges: Vec<Duration>,
    /// Whether the peer said that it has the last message.
    pub(super) is_acknowledged: bool,
}

impl<B: Backend> Game<B> {
    /// A game over a connected queue pair, with its first receives posted.
    pub(super) fn new(
        rules: Rules,
        backend: B,
        queue_pair: QueuePairHandle,
        memory: Memory,
    ) -> Result<Self, PingpongError> {
        let mut game = Self {
            rules,
            backend,
            queue_pair,
            memory,
            lead: Lead::Own,
            posted: 0,
            received: 0,
            sent: 0,
            sending: false,
            is_acknowledged: true,
            last: Instant::now(),
            samples: Vec::with_capacity(rules.turns.min(1 << 20) as usize),
        };
        for receive in 0..u64::from(rules.places()) {
            content::poison(&mut game.memory, rules.place(receive) as usize, rules.size as usize);
        }
        game.post_receives()?;
        Ok(game)
    }

    /// Plays to the end.
    pub(super) fn play(&mut self) -> Result<Played, PingpongError> {
        self.last = Instant::now();
        let mut completions = [Completion::EMPTY; POLLED];
        let mut progress = Instant::now();
        while !self.is_over() {
            self.send_next()?;
            let count = self.backend.poll(&mut completions)?;
            for completion in &completions[..count] {
                // What is left after the end is flushed.
                if !self.is_over() {
                    self.take(completion)?;
                }
            }
            if count > 0 {
                progress = Instant::now();
            } else {
                self.wait(progress)?;
            }
        }
        Ok(Played { exchanges: std::mem::take(&mut self.samples), is_acknowledged: self.is_acknowledged })
    }

    fn is_over(&self) -> bool {
        self.received >= self.rules.turns && self.sent >= self.rules.turns
    }

    /// Sends the next message if it is this side's turn.
    fn send_next(&mut self) -> Result<(), PingpongError> {
        let next = match self.rules.side {
            Side::Client => self.sent <= self.received,
            Side::Server => self.sent < self.received,
        };
        if self.sending || !next || self.sent >= self.rules.turns {
            return Ok(());
        }
        let turn = match (self.rules.side, self.lead) {
            (Side::Client, _) | (_, Lead::Peer) => self.sent,
            // The answer is the peer's next message.
            (Side::Server, Lead::Own) => self.sent + 1,
        };
        content::fill(&mut self.memory, 0, self.rules.size as usize, turn);
        let gathered = [self.memory.sge(0, self.rules.size)?];
        let local = if self.rules.size <= INLINE {
            Payload::Inline(self.memory.outgoing(0, self.rules.size))
        } else {
            Payload::Gather(&gathered)
        };
        let operation = Operation::Send { local, immediate: None };
        let request = SendRequest { id: SEND, operation, flags: SendFlags::SIGNALED };
        self.backend.post_send(self.queue_pair, &request)?;
        self.backend.ring_send(self.queue_pair);
        self.sending = true;
        Ok(())
    }

    fn take(&mut self, completion: &Completion) -> Result<(), PingpongError> {
        if let Err(source) = completion.result {
            if completion.id == SEND && self.is_farewell(source.syndrome) {
                (self.sent, self.is_acknowledged) = (self.sent + 1, false);
                return Ok(());
            }
            return Err(PingpongError::Completion { received: self.received, sent: self.sent, source });
        }
        match completion.id {
            SEND if self.sending => {
                self.sending = false;
                self.sent += 1;
                Ok(())
            }
            id if id == self.received && id < self.posted => self.receive(completion.byte_length),
            id => Err(PingpongError::Unexpected { id }),
        }
    }

    /// Whether a client that has got all it wants has left: it destroys its queue pair at once, and where the network
    /// has lost its last acknowledgement nobody repeats it.
    fn is_farewell(&self, syndrome: Syndrome) -> bool {
        let is_last = self.received == self.rules.turns && self.sent + 1 == self.rules.turns;
        self.rules.side == Side::Server && is_last && syndrome == Syndrome::RetryExceeded
    }

    /// Checks the message that came, and gives its place to a later one.
    fn receive(&mut self, length: u32) -> Result<(), PingpongError> {
        let (turn, size) = (self.received, self.rules.size);
        if length != size {
            return Err(PingpongError::Length { message: turn, found: length, expected: size });
        }
        let place = self.rules.place(turn) as usize;
        self.verify(turn, place)?;
        content::poison(&mut self.memory, place, size as usize);
        self.received += 1;
        let now = Instant::now();
        self.samples.push(now.duration_since(self.last));
        self.last = now;
        if self.posted - self.received <= 1 { self.post_receives() } else { Ok(()) }
    }

    fn verify(&mut self, turn: u64, place: usize) -> Result<(), PingpongError> {
        let size = self.rules.size as usize;
        let checked = content::check(&self.memory, place, size, turn);
        if turn == 0 && self.rules.side == Side::Server {
            let known = checked.is_ok();
            self.lead = if known { Lead::Peer } else { Lead::Own };
            if known || content::is_first_of_client(&self.memory, place, size) {
                return Ok(());
            }
        }
        checked.map_err(|mismatch| PingpongError::Contents { message: turn, mismatch })
    }

    /// Posts receives until as many are outstanding as the rules say.
    fn post_receives(&mut self) -> Result<(), PingpongError> {
        while self.posted - self.received < u64::from(self.rules.receives) {
            let scatter = [self.memory.sge(self.rules.place(self.posted), self.rules.size)?];
            let request = ReceiveRequest { id: self.posted, scatter: &scatter };
            self.backend.post_receive(self.queue_pair, &request)?;
            self.posted += 1;
        }
        self.backend.ring_receive(self.queue_pair);
        Ok(())
    }

    /// Nothing was there: sleeps or lets another thread run, unless nothing has happened since `progress` for too
    /// long.
    fn wait(&mut self, progress: Instant) -> Result<(), PingpongError> {
        let left = self.rules.patience.saturating_sub(progress.elapsed());
        if left.is_zero() {
            let Self { received, sent, rules: Rules { turns: of, patience, .. }, .. } = *self;
            return Err(PingpongError::Stalled { received, sent, of, patience });
        }
        if self.rules.events {
            self.backend.park(left.min(NAP));
        } else {
            thread::yield_now();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
