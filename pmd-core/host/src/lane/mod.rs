//! Lanes: one thread, or the caller itself, drives one back end's queue pairs and completion queue.
//!
//! ```text
//!  application threads                     lane
//!    Route::submit ---- one ring slot ---> turn: take commands
//!    Route::send   ----     (mpsc)             : poll completions ---> Transfer (slot), MessageHandler
//!    Transfer::cancel -- attention flag ->     : post one batch per queue pair, one doorbell
//!                                              : look at deadlines
//!                                          nothing to do: spin, yield or park
//! ```
//! Called by `kv-api` and `af-api`; calls [`Backend`]. Nothing on the way from a submission to its outcome takes a lock
//! or allocates per piece: a transfer of 100,000 pieces is one ring slot, and the lane walks its
//! [`WorkList`](crate::transfer::WorkList).
//!
//! # Order
//! Transfers of one route share its queue pairs in turns of a batch, so a small one is not stuck behind a large one; of
//! eight turns seven go to transfers of [high priority](crate::transfer::Priority), if there are any.
//! A transfer may use all queue pairs of its route; it is done when all of its work requests have completed (counted),
//! and only then its notification goes out. Messages keep their order among each other.
//!
//! On a route of one queue pair the device keeps the order, so a WRITE's notification is posted right behind it; one
//! without bytes and with an immediate rides on the last WRITE (RDMA WRITE WITH IMMEDIATE) and costs no work request,
//! unless a message would be overtaken or there is no credit at that moment. The peer cannot tell the difference.
//!
//! # Stopping
//! A transfer's outcome is given only once nothing of it is outstanding. To stop one (cancel, deadline), the lane posts
//! no more of it and waits for what is outstanding. If that takes longer than [`LaneConfig::grace`], its route is taken
//! down: the queue pairs are failed and their flush completions drained, if need be reset, if need be destroyed, if
//! need be with the whole device. Then nothing can touch the memory any more. A lane that ends, or whose back end
//! panics, closes the device and then fails everything that waits.
//!
//! # Flow control of messages
//! Each side knows how many receives the other has for it (credits): a few at first, the rest with the first message
//! from there. Taken messages give credits back, on messages that go there anyway or, when half is due, in an
//! empty one. For empty ones a few receives are set aside, so neither side ever sends without a receive at the other.
mod command;
mod config;
mod counters;
mod driver;
mod message;
mod route;
mod shared;
mod worker;

#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle, ThreadId},
};

use pmd_core::ring::mpsc::Full;

pub use config::{Idle, LaneConfig, LaneError, RouteConfig, RouteError};
pub use counters::{Counters, FailedCompletions, Operations};
pub use driver::LaneDriver;
pub use message::{Message, MessageHandler, MessageMemory, MessageRegistrar};
pub use route::{Route, RouteId};
pub(crate) use shared::Attention;

use self::{
    command::{Command, SetupCommand, reply},
    route::{RouteHandle, RouteShared},
    shared::LaneShared,
};
use crate::{
    backend::Backend,
    metrics::Latencies,
    retries::{Retries, RetryCounter},
    transfer::LaneFault,
};

/// Fewest messages that a route must have receives for: what its peer may send before it has heard of more.
pub const MINIMUM_RECEIVES: u32 = 8;

/// Handle of a lane, for any thread. A clone is another handle of the same lane; routes hold one.
///
/// When the last handle is dropped the lane closes what routes are left, ends, and its thread is joined.
#[derive(Clone, Debug)]
pub struct Lane(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    shared: Arc<LaneShared>,
    /// The lane's own thread, until it is joined.
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Lane {
    /// Starts a lane on a thread of its own.
    ///
    /// # Errors
    /// [`LaneError`] when the thread cannot be started or pinned.
    pub fn spawn<B: Backend + 'static>(backend: B, config: LaneConfig) -> Result<Self, LaneError> {
        Self::spawn_on(backend, config, &[])
    }

    /// The same, on a thread that keeps to these cores unless [`LaneConfig::core`] names one; on any if there are none.
    /// [`LanePinning::cores`](crate::topology::LanePinning::cores) tells those near a NIC.
    ///
    /// # Errors
    /// As [`Lane::spawn`].
    pub fn spawn_on<B: Backend + 'static>(
        backend: B,
        config: LaneConfig,
        cores: &[usize],
    ) -> Result<Self, LaneError> {
        let (started, pinned) = mpsc::sync_channel(1);
        let (name, cores) = (config.name.clone(), config.core.map_or(cores.to_vec(), |core| vec![core]));
        let (mut driver, shared) = LaneDriver::with_shared(backend, config);
        let run = move || {
            let result = keep_to(&cores);
            let go = result.is_ok();
            let _ = started.send(result);
            if go {
                driver.run();
            }
        };
        let thread = thread::Builder::new().name(name).spawn(run).map_err(LaneError::Thread)?;
        // A thread that is gone without an answer panicked before it could run; then nothing is pinned.
        pinned.recv().unwrap_or(Ok(()))?;
        Ok(Self(Arc::new(Handle { shared, thread: Mutex::new(Some(thread)) })))
    }

    /// Opens a route: creates its queue pairs. Waits for the lane; see [`LaneDriver::open_route`].
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn open_route(&self, config: RouteConfig) -> Result<Route, RouteError> {
        let (reply, answer) = reply();
        self.command(SetupCommand::Open { config, reply }, thread::yield_now);
        answer.wait().map(|shared| self.route(shared))
    }

    /// What the lane has done so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.0.shared.record.counters.read()
    }

    /// Requests that had to wait for a receive; `None` where the device does not tell, as NICs do not.
    #[must_use]
    pub fn retries(&self) -> Option<Retries> {
        self.0.shared.retries.as_ref().map(RetryCounter::read)
    }

    /// How long transfers took from [`Route::submit`] to the outcome, those that moved every byte; `None` unless
    /// [`LaneConfig::latencies`] asks for it.
    #[must_use]
    pub fn latencies(&self) -> Option<Latencies> {
        self.0.shared.record.latencies()
    }

    /// Why the lane ended, if it did.
    #[must_use]
    pub fn fault(&self) -> Option<LaneFault> {
        self.0.shared.fault()
    }

    /// Ends the lane: everything on it fails with [`LaneFault::Shutdown`]. With a thread of its own it is joined, unless
    /// this is that thread; a lane that the caller drives ends in the driver's next turn.
    pub fn shutdown(&self) {
        self.0.shared.request_shutdown();
        self.0.join();
    }

    pub(crate) fn shared(&self) -> &Arc<LaneShared> {
        &self.0.shared
    }

    pub(crate) fn route(&self, shared: Arc<RouteShared>) -> Route {
        Route(Arc::new(RouteHandle { shared, lane: self.clone() }))
    }

    /// Hands a setup command to the lane; calls `wait` again and again while the ring is full.
    pub(crate) fn command(&self, command: SetupCommand, mut wait: impl FnMut()) {
        let mut command = Command::Setup(Box::new(command));
        while let Err(Full(returned)) = self.0.shared.push(command) {
            command = returned;
            wait();
        }
    }

    /// A handle without a thread, for a lane that the caller drives.
    pub(crate) fn driven(shared: Arc<LaneShared>) -> Self {
        Self(Arc::new(Handle { shared, thread: Mutex::new(None) }))
    }
}

impl Handle {
    fn join(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The last handle may go with a transfer that the lane itself drops: it ends when it comes round.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != current()) {
            let _ = thread.join();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.abandon();
        self.join();
    }
}

fn current() -> ThreadId {
    thread::current().id()
}

/// Pins the calling thread to these cores; no cores leave it where it is.
fn keep_to(cores: &[usize]) -> Result<(), LaneError> {
    let Some(first) = cores.first() else { return Ok(()) };
    let mut set = nix::sched::CpuSet::new();
    let refused = |core| move |error: nix::Error| LaneError::Pin { core, source: error.into() };
    for core in cores {
        set.set(*core).map_err(refused(*core))?;
    }
    nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).map_err(refused(*first))
}
