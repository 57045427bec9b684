//! A connected queue pair as the tests drive it: post, ring, poll, and wait with a bound.

use std::{
    thread,
    time::{Duration, Instant},
};

use pmd_core::memory::Sge;
use pmd_core::provider::{Completion, Operation, QueuePairHandle, ReceiveRequest, SendFlags, SendRequest};
use pmd_host::backend::Backend;

use super::{
    error::PerfError,
    peer::{Message, Peer},
    plan::Idle,
};

/// Longest wait in which nothing happens.
const STALL: Duration = Duration::from_secs(10);

/// Completions taken in one poll.
const POLLED: usize = 32;

/// A queue pair of `B`, connected to the peer's.
#[derive(Debug)]
pub(super) struct Link<B> {
    pub(super) backend: B,
    pub(super) peer: Peer,
    queue_pair: QueuePairHandle,
    idle: Idle,
    completions: [Completion; POLLED],
}

impl<B: Backend> Link<B> {
    /// A link over a connected queue pair.
    pub(super) fn new(backend: B, queue_pair: QueuePairHandle, peer: Peer, idle: Idle) -> Self {
        Self { backend, peer, queue_pair, idle, completions: [Completion::EMPTY; POLLED] }
    }

    /// Writes one request; the device does not see it yet.
    #[inline]
    pub(super) fn post(
        &mut self,
        id: u64,
        operation: Operation<'_>,
        signaled: bool,
    ) -> Result<(), PerfError> {
        let flags = if signaled { SendFlags::SIGNALED } else { SendFlags::empty() };
        Ok(self.backend.post_send(self.queue_pair, &SendRequest { id, operation, flags })?)
    }

    /// Hands over what was posted.
    #[inline]
    pub(super) fn ring(&mut self) {
        self.backend.ring_send(self.queue_pair);
    }

    /// Writes one receive; the device does not see it yet.
    pub(super) fn post_receive(&mut self, id: u64, scatter: Sge) -> Result<(), PerfError> {
        Ok(self.backend.post_receive(self.queue_pair, &ReceiveRequest { id, scatter: &[scatter] })?)
    }

    /// Hands over posted receives.
    pub(super) fn ring_receive(&mut self) {
        self.backend.ring_receive(self.queue_pair);
    }

    /// What has completed.
    #[inline]
    pub(super) fn poll(&mut self) -> Result<&[Completion], PerfError> {
        let count = self.backend.poll(&mut self.completions)?;
        Ok(&self.completions[..count])
    }

    /// Polls for the sake of a device that works while polled, and for one completion of each request in `open`.
    #[inline]
    pub(super) fn reap(&mut self, open: &mut u32) -> Result<(), PerfError> {
        for completion in self.poll()? {
            completion.result?;
            *open -= 1;
        }
        Ok(())
    }

    /// One fruitless turn of a wait.
    #[inline]
    pub(super) fn idle(&mut self, wait: &mut Wait) -> Result<(), PerfError> {
        wait.turns += 1;
        let look = match self.idle {
            Idle::Spin => wait.turns.is_multiple_of(1 << 16),
            Idle::Yield => {
                thread::yield_now();
                wait.turns.is_multiple_of(1 << 10)
            }
        };
        if look { self.look(wait) } else { Ok(()) }
    }

    /// What the peer says next, within `patience` if there is one. Polls until then: a software device has to answer
    /// for this side's memory and to acknowledge what it received, and has no thread of its own.
    pub(super) fn next(&mut self, patience: Option<Duration>) -> Result<Message, PerfError> {
        let start = Instant::now();
        for turn in 0_u64.. {
            for completion in self.poll()? {
                completion.result?;
            }
            if turn.is_multiple_of(64) {
                if let Some(message) = self.peer.try_receive()? {
                    return Ok(message);
                }
                if let Some(patience) = patience.filter(|patience| start.elapsed() > *patience) {
                    return Err(PerfError::Silent(patience));
                }
            }
            if self.idle == Idle::Yield {
                thread::yield_now();
            }
        }
        Err(PerfError::OutOfTurn)
    }

    #[cold]
    fn look(&mut self, wait: &mut Wait) -> Result<(), PerfError> {
        self.peer.check()?;
        let since = *wait.since.get_or_insert_with(Instant::now);
        if since.elapsed() > STALL { Err(PerfError::Stalled(STALL)) } else { Ok(()) }
    }
}

/// How long nothing has happened.
#[derive(Debug, Default)]
pub(super) struct Wait {
    pub(super) turns: u64,
    since: Option<Instant>,
}
