//! A queue of WRITEs or READs in flight, one doorbell and one completion a batch.

use std::time::{Duration, Instant};

use pmd_core::provider::{Operation, Payload};
use pmd_host::backend::Backend;

use super::{
    error::PerfError,
    link::{Link, Wait},
    peer::Window,
    progress::Progress,
};
use crate::memory::Memory;

/// What a bandwidth test does over and over.
#[derive(Debug)]
pub(super) struct Stream<'a> {
    /// The bytes written, or where the bytes read go.
    pub(super) local: &'a Memory,
    pub(super) remote: Window,
    pub(super) is_read: bool,
    pub(super) inline: bool,
    pub(super) size: u32,
    /// Messages that lie beside one another.
    pub(super) places: u64,
    pub(super) queue_depth: u64,
    pub(super) batch: u64,
}

impl Stream<'_> {
    /// Moves `warm_up` messages, then `iterations` more, and gives the time of those: first post to last completion.
    pub(super) fn run<B: Backend>(
        &self,
        link: &mut Link<B>,
        warm_up: u64,
        iterations: u64,
        progress: &Progress,
    ) -> Result<Duration, PerfError> {
        self.pass(link, warm_up, |_| ())?;
        let start = Instant::now();
        let step = iterations.div_ceil(50).max(1);
        let mut next = step;
        self.pass(link, iterations, |done| {
            if done >= next {
                progress.reached(done);
                next = done + step;
            }
        })?;
        Ok(start.elapsed())
    }

    fn pass<B: Backend>(
        &self,
        link: &mut Link<B>,
        count: u64,
        mut reached: impl FnMut(u64),
    ) -> Result<(), PerfError> {
        let (mut posted, mut completed) = (0, 0);
        let mut wait = Wait::default();
        while completed < count {
            while posted < count && posted - completed + self.batch.min(count - posted) <= self.queue_depth {
                posted = self.post_batch(link, posted, count)?;
            }
            let before = completed;
            for completion in link.poll()? {
                completion.result?;
                completed = completion.id;
            }
            if completed == before {
                link.idle(&mut wait)?;
            } else {
                wait = Wait::default();
                reached(completed);
            }
        }
        Ok(())
    }

    /// Posts the next batch, its last request signalled. A request's id is the number of requests up to it.
    #[inline]
    fn post_batch<B: Backend>(&self, link: &mut Link<B>, posted: u64, count: u64) -> Result<u64, PerfError> {
        let end = count.min(posted + self.batch);
        for message in posted..end {
            let id = message + 1;
            self.post(link, message % self.places * u64::from(self.size), id, id == end)?;
        }
        link.ring();
        Ok(end)
    }

    #[inline]
    fn post<B: Backend>(
        &self,
        link: &mut Link<B>,
        offset: u64,
        id: u64,
        signaled: bool,
    ) -> Result<(), PerfError> {
        let remote = self.remote.at(offset);
        if self.inline {
            let local = Payload::Inline(self.local.outgoing(offset, self.size));
            return link.post(id, Operation::Write { remote, local }, signaled);
        }
        let entry = [self.local.sge(offset, self.size)?];
        let operation = if self.is_read {
            Operation::Read { remote, local: &entry }
        } else {
            Operation::Write { remote, local: Payload::Gather(&entry) }
        };
        link.post(id, operation, signaled)
    }
}
