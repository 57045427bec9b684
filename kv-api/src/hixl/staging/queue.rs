//! Staged transfers that nobody waits for: a thread of the engine carries them out, one after the other.
#![allow(unsafe_code)] // passes on what the caller promised about its memory

use std::{
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use pmd_core::sync::{AtomicBool, Ordering};
use pmd_host::{endpoint::Peer, transfer::Direction};

use super::Stager;
use crate::{
    fabric::Descriptor,
    hixl::{HixlError, Status},
};

/// The thread, started with the first such transfer.
pub(in crate::hixl) struct StagingQueue {
    stager: Arc<Stager>,
    thread: Mutex<Option<(Sender<Job>, JoinHandle<()>)>>,
}

struct Job {
    peer: Peer,
    direction: Direction,
    descriptors: Vec<Descriptor>,
    deadline: Instant,
    staged: Arc<StagedTransfer>,
}

/// A staged transfer while it waits and is carried out, and how it ended.
#[derive(Default)]
pub(in crate::hixl) struct StagedTransfer {
    stop: AtomicBool,
    /// Set before its end is told.
    ended: Mutex<bool>,
    changed: Condvar,
    outcome: OnceLock<Status>,
}

impl StagingQueue {
    pub(in crate::hixl) fn new(stager: Arc<Stager>) -> Self {
        Self { stager, thread: Mutex::default() }
    }

    /// Queues a transfer.
    ///
    /// # Safety
    /// As [`Stager::transfer`], until the transfer has ended.
    pub(in crate::hixl) unsafe fn push(
        &self,
        peer: Peer,
        direction: Direction,
        descriptors: Vec<Descriptor>,
        deadline: Instant,
    ) -> Result<Arc<StagedTransfer>, HixlError> {
        let staged = Arc::new(StagedTransfer::default());
        let job = Job { peer, direction, descriptors, deadline, staged: Arc::clone(&staged) };
        let mut thread = self.thread();
        if thread.is_none() {
            *thread = Some(start(Arc::clone(&self.stager))?);
        }
        if let Some((jobs, _)) = &*thread {
            // The thread takes jobs for as long as this end lives.
            let _ = jobs.send(job);
        }
        Ok(staged)
    }

    /// Waits until everything that was queued has ended.
    pub(in crate::hixl) fn stop(&self) {
        let thread = self.thread().take();
        if let Some((jobs, thread)) = thread {
            drop(jobs);
            let _ = thread.join();
        }
    }

    fn thread(&self) -> MutexGuard<'_, Option<(Sender<Job>, JoinHandle<()>)>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn start(stager: Arc<Stager>) -> Result<(Sender<Job>, JoinHandle<()>), HixlError> {
    let (jobs, arriving) = channel();
    let builder = thread::Builder::new().name("hixl-staged".into());
    let thread =
        builder.spawn(move || work(&stager, &arriving)).map_err(|source| HixlError::Thread { source })?;
    Ok((jobs, thread))
}

fn work(stager: &Stager, jobs: &Receiver<Job>) {
    for Job { peer, direction, descriptors, deadline, staged } in jobs {
        let stopped = || staged.stop.load(Ordering::Relaxed);
        // SAFETY: whoever queued it promised that it holds until the transfer has ended, which is told below.
        let outcome = unsafe { stager.transfer(&peer, direction, &descriptors, deadline, &stopped) };
        staged.end(outcome.err().map_or(Status::Success, |error| error.status()));
    }
}

impl StagedTransfer {
    /// How it ended, once it has.
    pub(in crate::hixl) fn outcome(&self) -> Option<Status> {
        self.outcome.get().copied()
    }

    /// Stops it between two chunks, if it is not done before, and waits until it has ended.
    pub(in crate::hixl) fn stop(&self) -> Status {
        self.stop.store(true, Ordering::Relaxed);
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        while !*ended {
            ended = self.changed.wait(ended).unwrap_or_else(PoisonError::into_inner);
        }
        self.outcome().unwrap_or(Status::Failed)
    }

    fn end(&self, status: Status) {
        // It ends once.
        let _ = self.outcome.set(status);
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }
}
