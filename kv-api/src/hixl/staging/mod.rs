//! Transfers of memory that is not registered, through buffers that are.
//!
//! A transfer of which any piece is not registered, here or at the peer, goes in chunks of at most one buffer. For each
//! chunk a buffer is lent from the pool, filled from the local pieces (write), and then
//!
//! | the peer's pieces are | write | read |
//! |---|---|---|
//! | registered | written to them, one-sided | read from them, one-sided |
//! | not registered | the peer is asked ([`protocol`]) to take them out of the buffer | ... to put them into the buffer |
//!
//! and for a read the buffer is emptied into the local pieces. As many chunks are under way as there are buffers. Two
//! pools, one for what this engine begins and one for what it is asked for, so that two engines that transfer to each
//! other do not wait for each other's buffers.
//!
//! # What a peer may reach
//! Memory that nobody has registered is copied by the kernel on this process's behalf ([`copy`]): bytes that are not
//! mapped, or not writable, are an error and never a fault. Which peers may ask for it at all is
//! [`STAGE_FOR_VARIABLE`](super::STAGE_FOR_VARIABLE)'s to say. By default those that share memory with this process,
//! which run as the same user on the same host: the kernel lets them reach all of this process's memory anyway.
#![allow(unsafe_code)] // looks into buffers that no transfer touches at the time

mod calls;
mod copy;
mod pool;
mod protocol;
mod queue;
mod server;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc, time::Instant};

use pmd_host::{
    endpoint::Peer,
    transfer::{CancelOutcome, Direction, Transfer, TransferError, WaitError},
};

pub use protocol::StageFault;
pub(super) use queue::{StagedTransfer, StagingQueue};
pub(super) use server::{Questions, Server};
pub(super) use {
    calls::Calls,
    protocol::{ANSWER, ASK, CANCEL},
};

use self::{
    calls::Asked,
    pool::{BufferPool, Lease},
    protocol::{PIECES, Piece},
};
use super::{
    HixlError,
    options::{StageFor, Staging},
};
use crate::fabric::{Descriptor, Fabric, FabricError, PostOptions};

/// An answer as a peer sends it.
#[cfg(test)]
pub(super) fn answer_of(number: u64) -> Vec<u8> {
    protocol::encode(&protocol::Answer { number, outcome: Ok(()) })
}

/// A question as a peer sends it: to fill its buffer from the pieces.
#[cfg(test)]
pub(super) fn question_of(number: u64, buffer: u64, pieces: &[(u64, u64)]) -> Vec<u8> {
    let pieces =
        pieces.iter().map(|(address, length)| Piece { address: *address, length: *length }).collect();
    protocol::encode(&protocol::Ask { number, write: false, buffer, patience_in_millis: 20_000, pieces })
}

/// This engine's end of staged transfers that it begins.
pub(super) struct Stager {
    fabric: Fabric,
    pool: Arc<BufferPool>,
    calls: Arc<Calls>,
}

/// What arrives from peers about staging.
pub(super) struct Desk {
    pub(super) calls: Arc<Calls>,
    pub(super) questions: Arc<Questions>,
    pub(super) staging: Option<Staging>,
    pub(super) stage_for: StageFor,
}

/// The pool and the thread for what peers ask for.
pub(super) fn serve(
    fabric: &Fabric,
    config: Staging,
    questions: &Arc<Questions>,
) -> Result<Server, HixlError> {
    Server::start(fabric.clone(), BufferPool::new(fabric.clone(), config), Arc::clone(questions))
}

impl Desk {
    /// Takes note of an event. On the control thread.
    pub(super) fn event(&self, peer: &Peer, kind: u16, body: &[u8]) {
        match kind {
            ASK => self.asked(peer, body),
            ANSWER => {
                if let Some(answer) = protocol::decode(body) {
                    self.calls.answered(peer.connection().number(), answer);
                }
            }
            CANCEL => {
                if let Some(cancel) = protocol::decode(body) {
                    self.questions.cancel(peer, cancel);
                }
            }
            _ => {}
        }
    }

    fn asked(&self, peer: &Peer, body: &[u8]) {
        let Some(ask) = protocol::decode::<protocol::Ask>(body) else { return };
        match self.staging {
            Some(staging) => self.questions.put(peer, ask, self.stage_for, staging.bytes as u64),
            None => {
                let answer = protocol::Answer { number: ask.number, outcome: Err(StageFault::Off) };
                calls::answer(peer, &answer);
            }
        }
    }

    /// A peer is gone.
    pub(super) fn down(&self, peer: &Peer) {
        self.calls.down(peer.connection().number());
        self.questions.forget(peer);
    }
}

impl Stager {
    pub(super) fn new(fabric: Fabric, config: Staging, calls: Arc<Calls>) -> Self {
        Self { pool: BufferPool::new(fabric.clone(), config), fabric, calls }
    }

    /// Carries a transfer out. When this returns, nothing touches its local memory any more.
    ///
    /// Between two chunks `stopped` is asked whether to give up.
    ///
    /// # Safety
    /// The local memory of `descriptors` is not borrowed, and nobody minds that it is written (read).
    pub(super) unsafe fn transfer(
        &self,
        peer: &Peer,
        direction: Direction,
        descriptors: &[Descriptor],
        deadline: Instant,
        stopped: &dyn Fn() -> bool,
    ) -> Result<(), HixlError> {
        let mut run =
            Run { stager: self, peer, direction, deadline, asks: false, under_way: VecDeque::new() };
        for chunk in Chunks::new(descriptors, self.pool.bytes()) {
            if stopped() {
                return Err(TransferError::Cancelled.into());
            }
            let lease = run.lend()?;
            run.begin(lease, chunk)?;
        }
        while run.finish_oldest()? {}
        Ok(())
    }
}

/// Waits for a transfer, and when it takes too long stops it: it has ended when this returns.
pub(super) fn finish(mut transfer: Transfer, deadline: Instant) -> Result<(), HixlError> {
    match transfer.wait(Some(deadline)) {
        Ok(_) => Ok(()),
        Err(WaitError::Failed(error)) => Err(error.into()),
        Err(WaitError::Timeout) => match transfer.cancel() {
            CancelOutcome::Completed(_) => Ok(()),
            CancelOutcome::Cancelled => Err(TransferError::DeadlineExceeded.into()),
            CancelOutcome::Failed(error) => Err(error.into()),
        },
    }
}

/// A transfer while it is carried out. What is under way when it is dropped is stopped.
struct Run<'a> {
    stager: &'a Stager,
    peer: &'a Peer,
    direction: Direction,
    deadline: Instant,
    /// The peer has to be asked: some of its memory is not registered.
    asks: bool,
    under_way: VecDeque<UnderWay>,
}

/// A chunk under way.
struct UnderWay {
    chunk: Chunk,
    lease: Lease,
    work: Work,
}

enum Work {
    OneSided(Transfer),
    Asked(Asked),
}

impl Run<'_> {
    /// A buffer: a free one, or that of the oldest chunk when it is done, or one that others give back.
    fn lend(&mut self) -> Result<Lease, HixlError> {
        loop {
            if let Some(lease) = self.stager.pool.try_lend()? {
                return Ok(lease);
            }
            if !self.finish_oldest()? {
                return self.stager.pool.lend(self.deadline);
            }
        }
    }

    fn begin(&mut self, mut lease: Lease, chunk: Chunk) -> Result<(), HixlError> {
        if self.direction == Direction::Write {
            // SAFETY: the buffer was lent to this thread, and no transfer with it has begun.
            unsafe { lease.bytes(chunk.bytes) }.map_or(Ok(()), |buffer| buffer.gather(&chunk.local))?;
        }
        let work = match self.one_sided(&lease, &chunk)? {
            Some(transfer) => Work::OneSided(transfer),
            None => {
                let (write, pieces) = (self.direction == Direction::Write, chunk.remote.clone());
                Work::Asked(self.stager.calls.ask(self.peer, write, &lease, pieces, self.deadline)?)
            }
        };
        self.under_way.push_back(UnderWay { chunk, lease, work });
        Ok(())
    }

    /// Begins a chunk without the peer's help; `None` when its memory there is not registered.
    fn one_sided(&mut self, lease: &Lease, chunk: &Chunk) -> Result<Option<Transfer>, HixlError> {
        if self.asks {
            return Ok(None);
        }
        let patience = self.deadline.saturating_duration_since(Instant::now());
        let descriptors = chunk.descriptors(lease.address());
        match self.stager.fabric.plan(self.peer, self.direction, &descriptors, patience) {
            Ok(plan) => {
                let options = PostOptions { deadline: Some(self.deadline), ..PostOptions::default() };
                Ok(Some(plan.post(options)?))
            }
            Err(FabricError::Remote { .. }) => {
                self.asks = true;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Waits for the oldest chunk; `false` when there is none.
    fn finish_oldest(&mut self) -> Result<bool, HixlError> {
        let Some(UnderWay { chunk, lease, work }) = self.under_way.pop_front() else { return Ok(false) };
        let mut lease = match work {
            Work::OneSided(transfer) => finish(transfer, self.deadline).map(|()| lease)?,
            Work::Asked(asked) => self.finish_asked(asked, lease)?,
        };
        if self.direction == Direction::Read {
            // SAFETY: the transfer has ended, and with it everything that touches the buffer.
            unsafe { lease.bytes(chunk.bytes) }.map_or(Ok(()), |buffer| buffer.scatter(&chunk.local))?;
        }
        Ok(true)
    }

    /// The buffer, once the peer does not touch it any more.
    fn finish_asked(&self, asked: Asked, lease: Lease) -> Result<Lease, HixlError> {
        match self.stager.calls.wait(&asked, self.deadline) {
            Some(Ok(())) => Ok(lease),
            Some(Err(error @ HixlError::Stage(_))) => Err(error),
            Some(Err(error)) => {
                // Without an answer the peer may still use the buffer.
                lease.discard();
                Err(error)
            }
            None => {
                self.stager.calls.abandon(self.peer, &asked, lease);
                Err(HixlError::Timeout { what: "the peer's staging" })
            }
        }
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        for UnderWay { lease, work, .. } in self.under_way.drain(..) {
            match work {
                Work::OneSided(mut transfer) => {
                    transfer.cancel();
                    drop(lease);
                }
                Work::Asked(asked) => self.stager.calls.abandon(self.peer, &asked, lease),
            }
        }
    }
}

/// A part of a transfer that fits into a buffer: the pieces lie there one after the other.
#[derive(Debug, Default, PartialEq, Eq)]
struct Chunk {
    local: Vec<Piece>,
    remote: Vec<Piece>,
    bytes: u64,
}

impl Chunk {
    fn descriptors(&self, buffer: u64) -> Vec<Descriptor> {
        let mut local = buffer;
        let place = |piece: &Piece| {
            let descriptor = Descriptor { local, remote: piece.address, length: piece.length };
            local += piece.length;
            descriptor
        };
        self.remote.iter().map(place).collect()
    }
}

/// Cuts descriptors into chunks.
struct Chunks<'a> {
    left: &'a [Descriptor],
    /// Bytes of the first one that were given already.
    done: u64,
    limit: u64,
}

impl<'a> Chunks<'a> {
    const fn new(descriptors: &'a [Descriptor], limit: u64) -> Self {
        Self { left: descriptors, done: 0, limit }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        let mut chunk = Chunk::default();
        while let Some(first) = self.left.first() {
            let length = (first.length - self.done).min(self.limit - chunk.bytes);
            if length > 0 {
                let piece = |address: u64| Piece { address: address.wrapping_add(self.done), length };
                chunk.local.push(piece(first.local));
                chunk.remote.push(piece(first.remote));
                chunk.bytes += length;
                self.done += length;
            }
            if self.done == first.length {
                (self.left, self.done) = (&self.left[1..], 0);
            }
            if chunk.bytes == self.limit || chunk.local.len() == PIECES {
                break;
            }
        }
        (chunk.bytes > 0).then_some(chunk)
    }
}
