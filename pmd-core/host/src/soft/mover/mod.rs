//! The mover: the thread that has accelerators copy what engines must not touch.
//!
//! # Why a thread
//! Memory of an accelerator is moved by its streams, and a runtime's calls take locks, allocate, and take as long as they
//! like. An engine does none of that: it hands each WRITE or READ with device memory on one of its sides to the mover
//! through a ring, and takes the results out of another in its polls. An engine of a soft HCA that was opened with
//! [`DeviceConfig::accelerators`](super::DeviceConfig::accelerators) has one mover; others have none. Both rings and all
//! that the mover needs for a copy are made beforehand.
//!
//! ```text
//!  engine    WQE -> keys, rights, bounds -> jobs ---ring---> mover    streams, staging, events
//!            CQE <- record of the WQE    <- results <-ring---'          '-> waker of the engine
//! ```
//!
//! # A round
//! The mover is an engine as far as [`quiesce`](pmd_core::ring::quiesce) is concerned: it has seats, that is activity lines,
//! in the device. In a round it takes jobs up to a bounded number of bytes, checks for each once more that the link
//! is open and that both keys allow it, puts the copies on a stream and records an event. The round ends, and its line with
//! it, **when that event is done**. A larger job goes on in further rounds, where it is checked anew. So the proof of quiet
//! for deregistration, for a queue pair that fails or is reset, and for a peer's region, is the one that engines have:
//! whoever takes a key back, or closes an end of a link, waits for the rounds that might have seen it, and no copy outlives
//! its round. A process that dies ends with its rounds: the kernel takes the runtime's contexts, and with them their copies,
//! before the process can be seen to have gone.
//!
//! Two rounds are in flight, each with a line of its own: while streams copy for one, the jobs of the next are checked and
//! put behind it, so that no stream runs dry for a look at the clock. Rounds end in the order in which they began.
//!
//! # How ranges become calls
//! Ranges that do not touch each other wait for one another, thousands at most. Those of one length and one direction that
//! are blocks of two tables (any 16 of them that lie within four billion strides) go by one
//! [`copy_blocks`](pmd_core::accelerator::Stream::copy_blocks), which is one launch of a kernel where the device has one;
//! others by [`copy`](pmd_core::accelerator::Stream::copy), 64 in a call.
//!
//! # Which way bytes take
//! | from | to | how |
//! |---|---|---|
//! | device | device, of this process or of a peer's | one stream copy; the peer's memory is opened with what its exchange announced |
//! | host | device | copied into a piece of pinned memory, from there by the stream |
//! | device | host, of this process or in reach | by the stream into a piece, from there once its event is done |
//! | device, or an arena | an arena, or device | by the stream itself where arenas are [page-locked](super::DeviceConfig::pin_arenas) |
//!
//! There are four pieces of a mebibyte, or of less where the runtime pins less: while the stream works with some, the mover
//! fills or empties the others, within a round and across two. A peer's memory of the
//! host is reached as engines reach it (same process, arena, `process_vm_*`); where only packets would do, the request
//! fails with `RemoteOperation`. Memory of a peer's device is opened by an accelerator of the same device that this soft
//! HCA was opened with, at the first copy, and closed when the peer withdraws it or goes; without such an accelerator, or
//! where opening fails, requests fail with `RemoteOperation`. What exactly is missing stands in the vendor's byte of the
//! completion: [`DeviceFault`].
//!
//! # Order
//! Jobs of an engine are done in the order in which they were posted, copies of a stream in theirs. Copies that
//! touch each other's bytes are put on the stream by calls of their own, which it keeps in order. Any other WQE of the
//! same queue pair, and the immediate of a WRITE that is moved, waits until all of its moves have come back, and a move
//! waits for what a direct WRITE or READ waits for. The bytes of one WRITE appear in no order: a program on the
//! accelerator that polls for the last of them should wait for an immediate or a flag instead.
//!
//! # When it fails
//! | what | syndrome | fault |
//! |---|---|---|
//! | key, right or bounds, here or there, when posted or at a later round | `LocalProtection`, `RemoteAccess` | |
//! | the stream or the runtime | `LocalQueuePairOperation`; the stream is given up and a new one opened for the next job | `Stream` |
//! | no pinned memory at all | `LocalQueuePairOperation`; what does not pass through the host goes on | `NoStaging` |
//! | the peer's memory cannot be opened or reached | `RemoteOperation` | `NoAccelerator`, `NotOpened`, `NotShared`, `OtherRuntime`, `HostOutOfReach` |
//! | an end of the link is closed | `Flushed`: the queue pair has failed, and its first error stands | |
//!
//! Behind a job that is known to have failed nothing of the same link is begun; what was on a stream by then is flushed,
//! whatever the stream made of it. A queue pair in the error state flushes once all of its jobs are
//! back, and one that is reset waits for them, so that nothing is written after a flush or a reset.

mod host;
mod imports;
mod pieces;
mod ranges;
mod round;
mod staging;
mod thread;

use std::{
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::Duration,
};

use pmd_core::{
    ring::{
        parking::{Parking, Published},
        spsc::{Consumer, Producer, channel},
    },
    wire::Syndrome,
};

use super::{Device, Route};
use crate::{
    backend::{SetupError, Waker},
    transfer::DeviceFault,
};

/// Jobs that an engine may have at its mover.
const JOBS: usize = 4096;

/// Which way a request goes, seen from the queue pair that posted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// Into the peer's memory.
    Write,
    /// Out of it.
    Read,
}

/// Where the bytes of this side are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Local {
    /// In registered memory.
    Registered {
        /// First byte.
        address: u64,
        /// Key.
        key: u32,
    },
    /// In the send queue, until the request completes.
    Inline(u64),
}

/// One piece of a request.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) route: Arc<Route>,
    pub(crate) queue_pair: u32,
    /// Sequence number of the request's record.
    pub(crate) sequence: u32,
    /// The request is done with this piece.
    pub(crate) last: bool,
    pub(crate) direction: Direction,
    pub(crate) local: Local,
    pub(crate) remote: u64,
    pub(crate) remote_key: u32,
    pub(crate) length: u64,
}

/// What became of a [`Job`]; each gives one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moved {
    pub(crate) queue_pair: u32,
    pub(crate) sequence: u32,
    pub(crate) last: bool,
    pub(crate) result: Result<(), Fault>,
}

/// Why a job failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What hardware would say.
    pub(crate) syndrome: Syndrome,
    /// What is missing, where it is about accelerators.
    pub(crate) device: Option<DeviceFault>,
}

impl From<Syndrome> for Fault {
    fn from(syndrome: Syndrome) -> Self {
        Self { syndrome, device: None }
    }
}

impl From<DeviceFault> for Fault {
    fn from(fault: DeviceFault) -> Self {
        let syndrome = match fault {
            DeviceFault::Stream | DeviceFault::NoStaging => Syndrome::LocalQueuePairOperation,
            _ => Syndrome::RemoteOperation,
        };
        Self { syndrome, device: Some(fault) }
    }
}

/// An engine's end of it. Dropping it ends the thread: what has not begun then never happens.
#[derive(Debug)]
pub(crate) struct Mover {
    device: Device,
    /// None only while it is dropped.
    jobs: Option<Producer<Job>>,
    results: Consumer<Moved>,
    /// Jobs whose results are not taken.
    outstanding: usize,
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

/// Wakes the mover's thread where it sleeps.
#[derive(Debug)]
struct Signal {
    parking: Parking,
    waker: Waker,
}

impl Mover {
    /// Starts the mover of an engine that `engine` wakes; none for a device without accelerators.
    pub(crate) fn start(device: &Device, engine: &Waker) -> Result<Option<Self>, SetupError> {
        if device.config().accelerators.is_empty() {
            return Ok(None);
        }
        let failed = |call| move |source| SetupError::System { call, source };
        let waker = Waker::new().map_err(|error| failed("eventfd")(error.into()))?;
        let seats = [device.seat(waker.clone())?, device.seat(waker.clone())?];
        let signal = Arc::new(Signal { parking: Parking::new(), waker });
        let (jobs, incoming) = channel(JOBS);
        let (outgoing, results) = channel(JOBS);
        let thread = {
            let (signal, engine) = (signal.clone(), engine.clone());
            let run = move || thread::run(thread::Ends { seats, incoming, outgoing, signal, engine });
            Builder::new().name("pmd-mover".into()).spawn(run).map_err(failed("starting a thread"))?
        };
        let (device, thread) = (device.clone(), Some(thread));
        Ok(Some(Self { device, jobs: Some(jobs), results, outstanding: 0, signal, thread }))
    }

    /// Whether a job would be taken now.
    #[inline]
    pub(crate) fn has_room(&self) -> bool {
        self.outstanding < JOBS
    }

    /// Hands a job over; there must be room. Call [`Mover::ring`] behind the last.
    #[inline]
    pub(crate) fn push(&mut self, job: Job) {
        // As many results are outstanding as jobs at most, so neither ring is ever full.
        if let Some(jobs) = &mut self.jobs
            && jobs.push(job).is_ok()
        {
            self.outstanding += 1;
        }
    }

    /// Sees to it that the mover looks at what was handed over.
    #[inline]
    pub(crate) fn ring(&self) {
        self.signal.published();
    }

    /// The oldest result that was not taken.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Moved> {
        if self.outstanding == 0 {
            return None;
        }
        let moved = self.results.pop()?;
        self.outstanding -= 1;
        Some(moved)
    }

    /// Whether the thread has ended, which it does only after this end of it.
    pub(crate) fn has_ended(&self) -> bool {
        self.results.is_disconnected()
    }
}

impl Signal {
    fn published(&self) {
        if self.parking.published() == Published::Wake {
            self.waker.wake();
        }
    }
}

impl Drop for Mover {
    fn drop(&mut self) {
        // Who sees the ring disconnected goes; a sleeper is woken to see it.
        self.jobs = None;
        let Some(thread) = self.thread.take() else { return };
        if self.device.is_owner() {
            self.signal.waker.wake();
            // Its panics are caught where they can come from, an accelerator's code.
            drop(thread.join());
        }
    }
}

/// How long the thread sleeps without being woken.
const NAP: Duration = Duration::from_millis(500);
