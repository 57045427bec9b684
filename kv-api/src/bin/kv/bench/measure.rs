//! This process's side: plans, posts and waits, copies for comparison, and verifies what arrived.
#![allow(unsafe_code)] // borrows the caches between transfers

use std::{
    net::SocketAddr,
    thread,
    time::{Duration, Instant},
};

use kv_api::{
    engine::{Engine, EngineError, Prepared, RemoteCache},
    layout::CacheLayout,
    planner::{BlockMap, Selection},
};
use pmd_host::endpoint::Peer;

use super::{
    Arguments, Operation, PATIENCE, baseline, content,
    protocol::{Ask, PEER_CACHE, Progress, Task, encode},
    samples::Sample,
};
use crate::{failure::Failure, memory::OwnedCache, pattern::Pattern};

/// A connected benchmark.
pub(super) struct Bench {
    operation: Operation,
    peer: Peer,
    remote: RemoteCache,
    /// Destination of reads, source of writes.
    local: OwnedCache,
    /// Stands for the peer's cache in copies within this process: source of reads, destination of writes.
    stand_in: Option<OwnedCache>,
    /// All block numbers in order.
    source: Vec<u32>,
    block: usize,
    permutations: Pattern,
    /// The transfer comes before the copy in this iteration.
    transfer_first: bool,
    /// After the caches, so that they go first.
    engine: Engine,
}

impl Bench {
    pub(super) fn connect(
        arguments: &Arguments,
        layout: CacheLayout,
        address: SocketAddr,
    ) -> Result<Self, Failure> {
        let engine = Engine::open(arguments.common.endpoint("bench", false))?;
        let memory = arguments.shape.memory;
        let block = layout.block_bytes() as usize;
        let mut local = OwnedCache::new(&engine, "bench", layout, memory)?;
        let mut stand_in =
            arguments.baseline.then(|| OwnedCache::new(&engine, "memcpy", layout, memory)).transpose()?;
        let sent = match arguments.op {
            Operation::Read => stand_in.as_mut(),
            Operation::Write => Some(&mut local),
        };
        if let Some(sent) = sent {
            // SAFETY: no transfer has been posted, and the peer posts none.
            content::fill(unsafe { sent.bytes_mut() }, block);
        }
        let peer = engine.connect(address)?;
        let remote = engine.remote_cache(&peer, PEER_CACHE, PATIENCE)?;
        let (source, permutations) = ((0..layout.blocks()).collect(), Pattern::new(1));
        let operation = arguments.op;
        Ok(Self {
            operation,
            peer,
            remote,
            local,
            stand_in,
            source,
            block,
            permutations,
            transfer_first: true,
            engine,
        })
    }

    /// Name of what carries the bytes.
    pub(super) fn transport(&self) -> &'static str {
        self.peer.transport().name()
    }

    /// One iteration, and whether its bytes are right (or were not looked at).
    pub(super) fn iterate(&mut self, verify: bool) -> Result<(Sample, bool), Failure> {
        let destination = self.permutations.permutation(self.source.len() as u32);
        let transfer_first = self.transfer_first;
        self.transfer_first = !transfer_first;
        if transfer_first {
            let (sample, right) = self.transfer(&destination, verify)?;
            let memcpy = self.copy(&destination, verify);
            return Ok((Sample { memcpy, ..sample }, right));
        }
        let memcpy = self.copy(&destination, verify);
        let (sample, right) = self.transfer(&destination, verify)?;
        Ok((Sample { memcpy, ..sample }, right))
    }

    fn transfer(&mut self, destination: &[u32], verify: bool) -> Result<(Sample, bool), Failure> {
        if verify {
            self.clear()?;
        }
        let begun = Instant::now();
        let prepared = self.plan(destination)?;
        let plan = begun.elapsed();
        let begun = Instant::now();
        let mut transfer = prepared.post(None)?;
        let post = begun.elapsed();
        transfer.wait(None)?;
        let total = begun.elapsed();
        let sample = Sample { plan, post, total, work_requests: prepared.work_requests(), memcpy: None };
        Ok((sample, !verify || self.arrived(destination)?))
    }

    fn plan(&self, destination: &[u32]) -> Result<Prepared, EngineError> {
        let blocks = BlockMap::Table { source: &self.source, destination };
        let selection = Selection { layers: 0..1, blocks };
        match self.operation {
            Operation::Read => self.remote.pull(self.local.cache(), selection),
            Operation::Write => self.remote.push(self.local.cache(), selection),
        }
    }

    /// The same blocks within this process; `None` without `--baseline`. `clear` makes it begin with what the transfer
    /// of a verified iteration begins with: a destination that was just overwritten.
    fn copy(&mut self, destination: &[u32], clear: bool) -> Option<Duration> {
        let stand_in = self.stand_in.as_mut()?;
        let (from, to) = match self.operation {
            Operation::Read => (stand_in, &mut self.local),
            Operation::Write => (&mut self.local, stand_in),
        };
        // SAFETY: no transfer is in flight: `transfer` waits for its own, and the peer posts none.
        let (from, to) = unsafe { (from.bytes(), to.bytes_mut()) };
        if clear {
            to.fill(content::NOTHING);
        }
        let begun = Instant::now();
        baseline::copy_blocks(from, to, self.block, destination);
        Some(begun.elapsed())
    }

    /// Overwrites the destination of the transfers.
    fn clear(&mut self) -> Result<(), Failure> {
        match self.operation {
            Operation::Read => {
                // SAFETY: no transfer is in flight.
                unsafe { self.local.bytes_mut() }.fill(content::NOTHING);
                Ok(())
            }
            Operation::Write => self.ask(Task::Clear).map(drop),
        }
    }

    fn arrived(&self, destination: &[u32]) -> Result<bool, Failure> {
        // SAFETY: no transfer is in flight.
        let bytes = unsafe { self.local.bytes() };
        match self.operation {
            Operation::Read => Ok(content::arrived(bytes, self.block, destination)),
            Operation::Write => {
                let expected = content::digest_of_arrived(bytes, self.block, destination);
                Ok(self.ask(Task::Digest)? == Progress::Digest(expected))
            }
        }
    }

    /// Has the peer do something, and waits until it is done.
    fn ask(&self, task: Task) -> Result<Progress, Failure> {
        self.engine.ask(&self.peer, encode(&Ask::Begin(task)), PATIENCE)?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            let answer = self.engine.ask(&self.peer, encode(&Ask::Progress), PATIENCE)?;
            let malformed = |_| EngineError::Malformed { length: answer.len() };
            match postcard::from_bytes(&answer).map_err(malformed)? {
                Progress::Busy if Instant::now() < deadline => thread::sleep(Duration::from_millis(1)),
                Progress::Busy => {
                    return Err(EngineError::Timeout { what: "the peer's cache", patience: PATIENCE }.into());
                }
                done => return Ok(done),
            }
        }
    }
}
