//! This process's side: plans, posts and waits, copies for comparison, and verifies what arrived.
#![allow(unsafe_code)] // borrows the blocks between transfers

use std::{
    ptr::NonNull,
    time::{Duration, Instant},
};

use super::{
    Arguments, Operation, PATIENCE,
    api::{Client, Setup},
    baseline, content,
    protocol::{PeerSays, Task},
    samples::Sample,
};
use crate::{
    child::RoleProcess,
    failure::Failure,
    memory::{Memory, Mirror},
    pattern::Pattern,
};

/// A connected benchmark.
pub(super) struct Bench {
    operation: Operation,
    client: Box<dyn Client>,
    child: RoleProcess,
    /// Stands for the peer's blocks in copies within this process: source of reads, destination of writes.
    stand_in: Option<Memory>,
    blocks: u32,
    block: usize,
    permutations: Pattern,
    /// The transfer comes before the copy in this iteration.
    transfer_first: bool,
}

impl Bench {
    /// Connects to the API's end in `child`, which has not said anything yet.
    pub(super) fn connect(arguments: &Arguments, mut child: RoleProcess) -> Result<Self, Failure> {
        let address = match child.hear(PATIENCE)? {
            PeerSays::Ready { address } => address,
            other => return Err(child.babbles(&other)),
        };
        let (shape, operation) = (arguments.shape, arguments.op);
        let setup = Setup { shape, operation, common: arguments.common, place: arguments.place };
        let client = arguments.api.connect(&setup, &address)?;
        let bytes = shape.layout()?.total_bytes();
        let mut stand_in = arguments.baseline.then(|| Memory::new(shape.memory, bytes)).transpose()?;
        let block = shape.block_size as usize;
        match (operation, &mut stand_in) {
            // SAFETY: nobody else knows of memory that was made just now.
            (Operation::Read, Some(sent)) => content::fill(unsafe { bytes_mut(sent.bytes()) }, block),
            (Operation::Read, None) => {}
            // SAFETY: no transfer has been posted, and the peer posts none.
            (Operation::Write, _) => content::fill(unsafe { bytes_mut(client.memory()) }, block),
        }
        client.mirror().map_or(Ok(()), Mirror::upload)?;
        Ok(Self {
            operation,
            client,
            child,
            stand_in,
            blocks: shape.blocks,
            block,
            permutations: Pattern::new(1),
            transfer_first: true,
        })
    }

    /// Name of what carries the bytes.
    pub(super) fn transport(&self) -> &'static str {
        self.client.transport()
    }

    /// How this process's blocks are reached, where the API tells.
    pub(super) fn path(&self) -> Option<&'static str> {
        self.client.path()
    }

    /// Lets the other process go and waits for it to end well.
    pub(super) fn finish(self) -> Result<(), Failure> {
        drop(self.client);
        self.child.finish(PATIENCE)
    }

    /// One iteration, and whether its bytes are right (or were not looked at).
    pub(super) fn iterate(&mut self, verify: bool) -> Result<(Sample, bool), Failure> {
        let destination = self.permutations.permutation(self.blocks);
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
        let two_sided = self.client.is_two_sided();
        if two_sided {
            self.tell(&Task::Serve(destination.to_vec()))?;
        }
        let begun = Instant::now();
        let mut planned = self.client.plan(destination)?;
        let plan = begun.elapsed();
        let begun = Instant::now();
        planned.post()?;
        let post = begun.elapsed();
        planned.wait()?;
        let total = begun.elapsed();
        let sample = Sample { plan, post, total, work_requests: planned.work_requests(), memcpy: None };
        drop(planned);
        if two_sided {
            self.hear_done()?;
        }
        Ok((sample, !verify || self.arrived(destination)?))
    }

    /// The same blocks within this process; `None` without `--baseline`. `clear` makes it begin with what the transfer
    /// of a verified iteration begins with: a destination that was just overwritten.
    fn copy(&mut self, destination: &[u32], clear: bool) -> Option<Duration> {
        let stand_in = self.stand_in.as_ref()?.bytes();
        let (from, to) = match self.operation {
            Operation::Read => (stand_in, self.client.memory()),
            Operation::Write => (self.client.memory(), stand_in),
        };
        // SAFETY: no transfer is in flight: `transfer` waits for its own, and the peer posts none. Both are different
        // memory.
        let (from, to) = unsafe { (from.as_ref(), bytes_mut(to)) };
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
                unsafe { bytes_mut(self.client.memory()) }.fill(content::NOTHING);
                self.client.mirror().map_or(Ok(()), Mirror::upload)
            }
            Operation::Write => self.tell(&Task::Clear),
        }
    }

    fn arrived(&mut self, destination: &[u32]) -> Result<bool, Failure> {
        // SAFETY: no transfer is in flight, and nobody borrows the blocks.
        self.client.mirror().map_or(Ok(()), |mirror| unsafe { mirror.download(0, usize::MAX) })?;
        let memory = self.client.memory();
        // SAFETY: no transfer is in flight.
        let bytes = unsafe { memory.as_ref() };
        match self.operation {
            Operation::Read => Ok(content::arrived(bytes, self.block, destination)),
            Operation::Write => {
                let expected = content::digest_of_arrived(bytes, self.block, destination);
                self.child.tell(&Task::Digest)?;
                Ok(self.child.hear::<PeerSays>(PATIENCE)? == PeerSays::Digest(expected))
            }
        }
    }

    /// Has the peer do something, and waits until it has done it or begun.
    fn tell(&mut self, task: &Task) -> Result<(), Failure> {
        self.child.tell(task)?;
        self.hear_done()
    }

    fn hear_done(&mut self) -> Result<(), Failure> {
        match self.child.hear(PATIENCE)? {
            PeerSays::Done => Ok(()),
            other => Err(self.child.babbles(&other)),
        }
    }
}

/// # Safety
/// No transfer touches the memory while the slice lives, and there is no other slice to it.
const unsafe fn bytes_mut<'a>(mut memory: NonNull<[u8]>) -> &'a mut [u8] {
    // SAFETY: the memory is there as long as what it was asked of; the caller promises the rest.
    unsafe { memory.as_mut() }
}
