//! Driving a lane: by a thread of its own, or by the caller, turn by turn.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pmd_core::{
    ring::mpsc,
    sync::{Ordering, spin_hint},
};

use super::{
    Idle, Lane, LaneConfig, Route, RouteConfig, RouteError,
    command::{Answer, SetupCommand, reply},
    shared::LaneShared,
    worker::Worker,
};
use crate::{
    backend::{Backend, ConnectOptions, QueuePairAddress},
    transfer::{CancelOutcome, LaneFault, Outcome, Transfer, WaitError},
};

/// Turns without work before a parking lane sleeps, and before a driver's wait lets other threads run.
const IDLE_TURNS: u32 = 256;

/// Turns between two looks at the clock while waiting with a deadline.
const CLOCK_TURNS: u64 = 32;

/// Drives a lane from the caller's thread. Dropping it ends the lane.
///
/// Everything that waits for the lane is also here, because on the driving thread the methods of [`Lane`], [`Route`]
/// and [`Transfer`] of the same name would wait for ever.
#[derive(Debug)]
pub struct LaneDriver<B: Backend> {
    /// `None` once the lane has ended.
    worker: Option<Box<Worker<B>>>,
    shared: Arc<LaneShared>,
}

impl<B: Backend> LaneDriver<B> {
    /// Makes a lane that runs in the turns that the caller gives it. [`LaneConfig::core`] is not looked at.
    pub fn new(backend: B, config: LaneConfig) -> (Self, Lane) {
        let (driver, shared) = Self::with_shared(backend, config);
        (driver, Lane::driven(shared))
    }

    pub(crate) fn with_shared(backend: B, config: LaneConfig) -> (Self, Arc<LaneShared>) {
        let (sender, receiver) = mpsc::channel(config.submissions);
        let shared = Arc::new(LaneShared::new(backend.waker(), sender, config.latencies, backend.retries()));
        let worker = Box::new(Worker::new(backend, config, Arc::clone(&shared), receiver));
        (Self { worker: Some(worker), shared: Arc::clone(&shared) }, shared)
    }

    /// Takes commands, polls, posts one batch per queue pair, looks at deadlines. Returns whether anything happened.
    ///
    /// What was consumed may be kept back for an answer to take along, until the next turn: who has something else to do for
    /// long [parks](Self::park) before, for no time if need be.
    #[inline]
    pub fn turn(&mut self) -> bool {
        let Some(worker) = self.worker.as_mut() else { return false };
        match catch_unwind(AssertUnwindSafe(|| worker.turn())) {
            Ok(Ok(progressed)) => progressed,
            Ok(Err(fault)) => self.end(fault),
            Err(_) => self.end(LaneFault::Panicked),
        }
    }

    /// Sleeps until there is something to do or `timeout` has passed, as a lane's own thread does between turns.
    pub fn park(&mut self, timeout: Duration) {
        let Some(worker) = self.worker.as_mut() else { return };
        if catch_unwind(AssertUnwindSafe(|| worker.park(timeout))).is_err() {
            self.end(LaneFault::Panicked);
        }
    }

    /// Drives the lane until the transfer has an outcome or `deadline` has passed.
    ///
    /// # Errors
    /// As [`Transfer::wait`].
    pub fn run_until(
        &mut self,
        transfer: &Transfer,
        deadline: Option<Instant>,
    ) -> Result<Outcome, WaitError> {
        self.drive(deadline, || transfer.poll()).map_or(Err(WaitError::Timeout), |result| Ok(result?))
    }

    /// Stops a transfer and drives the lane until it is quiet. As [`Transfer::cancel`].
    pub fn cancel(&mut self, transfer: &Transfer) -> CancelOutcome {
        transfer.request_cancel();
        loop {
            match self.run_until(transfer, None) {
                Ok(outcome) => return CancelOutcome::Completed(outcome),
                Err(WaitError::Failed(error)) => return error.into(),
                Err(WaitError::Timeout) => {}
            }
        }
    }

    /// Opens a route. As [`Lane::open_route`].
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn open_route(&mut self, lane: &Lane, config: RouteConfig) -> Result<Route, RouteError> {
        let (reply, answer) = reply();
        self.command(lane, SetupCommand::Open { config, reply }, &answer).map(|shared| lane.route(shared))
    }

    /// Connects a route. As [`Route::connect`].
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn connect(
        &mut self,
        route: &Route,
        addresses: &[QueuePairAddress],
        options: &ConnectOptions,
    ) -> Result<(), RouteError> {
        let (reply, answer) = reply();
        let command = route.connect_command(addresses, options, reply);
        self.command(route.lane(), command, &answer)
    }

    /// Closes a route. As [`Route::close`].
    ///
    /// # Errors
    /// [`RouteError`].
    pub fn close(&mut self, route: &Route) -> Result<(), RouteError> {
        let (reply, answer) = reply();
        self.command(route.lane(), route.close_command(reply), &answer)
    }

    /// Drives the lane until it ends; the body of a lane's own thread.
    pub(crate) fn run(&mut self) {
        let mut idle_turns = 0;
        while let Some(worker) = self.worker.as_ref() {
            let idle = worker.config().idle;
            let longest = worker.config().longest_park;
            if self.turn() {
                idle_turns = 0;
                continue;
            }
            idle_turns += 1;
            match idle {
                Idle::Spin => spin_hint(),
                Idle::Yield => thread::yield_now(),
                Idle::Park if idle_turns < IDLE_TURNS => spin_hint(),
                Idle::Park => {
                    self.park(longest);
                    idle_turns = 0;
                }
            }
        }
    }

    fn command<T>(
        &mut self,
        lane: &Lane,
        command: SetupCommand,
        answer: &Answer<T>,
    ) -> Result<T, RouteError> {
        lane.command(command, || {
            self.turn();
        });
        loop {
            // Without a deadline this ends with the answer: a lane that ends answers too.
            if let Some(result) = self.drive(None, || answer.poll()) {
                return result;
            }
        }
    }

    /// Gives turns until `ready` has something or `deadline` has passed.
    fn drive<T>(&mut self, deadline: Option<Instant>, ready: impl Fn() -> Option<T>) -> Option<T> {
        let mut idle_turns = 0;
        for turn in 1_u64.. {
            if let Some(result) = ready() {
                self.settle();
                return Some(result);
            }
            idle_turns = if self.turn() { 0 } else { idle_turns + 1 };
            // The clock costs as much as a turn: it is not looked at in each.
            let look = turn % CLOCK_TURNS == 0;
            if look && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                self.settle();
                return ready();
            }
            if idle_turns < IDLE_TURNS { spin_hint() } else { thread::yield_now() }
        }
        None
    }

    /// The caller goes on with something else, and peers may wait for what was kept back.
    #[inline]
    fn settle(&mut self) {
        if let Some(worker) = self.worker.as_mut() {
            worker.keep_nothing_back();
        }
    }

    /// Ends the lane. Returns true: a turn in which it ends has done something.
    #[cold]
    fn end(&mut self, fault: LaneFault) -> bool {
        if let Some(worker) = self.worker.take() {
            worker.end(fault);
        }
        true
    }
}

impl<B: Backend> Drop for LaneDriver<B> {
    fn drop(&mut self) {
        self.shared.shutdown.store(true, Ordering::Relaxed);
        self.end(LaneFault::Shutdown);
    }
}
