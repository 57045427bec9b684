//! Gates hold requests back until an accelerator's events are done: a push waits for the kernel that computes it.
//!
//! # Place in the flow
//! The application records an [`Event`] behind its kernels and gives it to a push, or to a response; the worker, or the
//! server, hands it to its [`Gate`], which posts it once the event is done. The other way round a
//! [`Flag`](pmd_core::accelerator::Flag) is set when a pull has arrived, and a stream waits for its value. Streams, events and
//! flags are those of `pmd_core::accelerator`, whatever the accelerator is.
//!
//! ```text
//!  stream:  kernel  kernel  record ---> Event ---> Gate (polls) ---> post ---> lane
//!  lane:    arrived ---> Flag ---> stream: wait for value, kernel
//! ```
//!
//! # Who polls
//! A device tells only those who ask, so each worker and each server that is given events has one [`Gate`]: a thread with
//! a bounded queue, started with the first event. It asks every event that it holds in turn, without a pause but yielding
//! for [`GateConfig::busy`] after the last change, afterwards every [`GateConfig::pause`]. The caller's thread never
//! waits, and lanes never ask a device. A request without an event does not pass through it.
//!
//! ```
//! use std::{sync::mpsc::channel, time::Duration};
//!
//! use af_api::gate::{Gate, GateConfig, Pending};
//! use pmd_core::accelerator::{Accelerator, Stream};
//! use pmd_host::accelerator::CpuAccelerator;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let stream = CpuAccelerator::default().open_cpu_stream()?;
//! let (computed, is_computed) = channel();
//! stream.launch(move || Ok(drop(computed.send(()))));
//!
//! let gate = Gate::new(GateConfig::default());
//! let (tell, told) = channel();
//! let action = Box::new(move |outcome| drop(tell.send(outcome)));
//! gate.hold(Pending { event: stream.record()?, order: None, deadline: None, action }).map_err(|refused| refused.reason)?;
//! assert_eq!(told.recv_timeout(Duration::from_secs(10))?, Ok(()));
//! assert_eq!(is_computed.try_recv(), Ok(()));
//! # Ok(())
//! # }
//! ```

mod error;
#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle, ThreadId},
    time::{Duration, Instant},
};

pub use error::EventError;
use pmd_core::accelerator::Event;
use thiserror::Error;

/// What a flag is set to when what it stands for has failed: more than any value that a stream waits for, so that nothing waits
/// for ever. The host learns the error from the request. Runtimes compare cyclically: a word lets a stream go on while it is
/// less than 2^63 ahead of the value, so the largest number would let nothing go.
pub const FAILED: u64 = 1 << 62;

/// How a gate waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GateConfig {
    /// Requests that it holds at most.
    pub depth: usize,
    /// For how long after the last change it asks without a pause, yielding the processor in between.
    pub busy: Duration,
    /// The pause between two rounds of asking after that.
    pub pause: Duration,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self { depth: 256, busy: Duration::from_micros(500), pause: Duration::from_micros(50) }
    }
}

/// Something to do when an event is done.
pub struct Pending {
    /// The event.
    pub event: Arc<dyn Event>,
    /// Those with the same number go in the order in which they came: the parts of a batch. None has no order.
    pub order: Option<u64>,
    /// When to give up waiting, with [`EventError::Timeout`].
    pub deadline: Option<Instant>,
    /// What to do, on the gate's thread: called once with the event's outcome, unless cancelled before. It must be quick and
    /// must not wait for the gate; a panic in it is caught.
    pub action: Box<dyn FnOnce(Result<(), EventError>) + Send>,
}

impl fmt::Debug for Pending {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, order, deadline, action: _ } = self;
        let mut debug = formatter.debug_struct("Pending");
        debug.field("event", event).field("order", order).field("deadline", deadline).finish_non_exhaustive()
    }
}

/// Why a gate took nothing.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GateError {
    /// As many wait as it holds.
    #[error("{depth} requests wait for their events, and no more are held: wait for one of them")]
    Full {
        /// How many it holds.
        depth: usize,
    },
    /// It is closed.
    #[error("what waits for events here has been closed")]
    Closed,
    /// Its thread did not start.
    #[error("cannot start the thread that waits for events")]
    Thread(#[source] io::Error),
}

/// A request that was not taken, with the reason.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub reason: GateError,
    /// As it was handed in; its action was not called.
    pub pending: Pending,
}

/// A thread that waits for events. Clones are handles to the same one. When it closes, what still waits is told
/// [`EventError::Closed`].
#[derive(Clone, Debug)]
pub struct Gate(Arc<Owner>);

/// Closes the gate with the last handle.
#[derive(Debug)]
struct Owner(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: GateConfig,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// In the order in which they came.
    held: Vec<Held>,
    /// The one whose action runs now.
    running: Option<u64>,
    next: u64,
    closed: bool,
    /// Started with the first entry.
    thread: Option<JoinHandle<()>>,
    thread_id: Option<ThreadId>,
}

#[derive(Debug)]
struct Held {
    number: u64,
    since: Instant,
    pending: Pending,
}

/// A request at a gate. Dropping it changes nothing.
#[derive(Debug)]
pub struct Ticket {
    shared: Arc<Shared>,
    number: u64,
}

impl Gate {
    /// A gate; its thread starts with the first request.
    #[must_use]
    pub fn new(config: GateConfig) -> Self {
        let shared = Shared { config, state: Mutex::default(), changed: Condvar::new() };
        Self(Arc::new(Owner(Arc::new(shared))))
    }

    /// Holds a request until its event is done. Does not wait.
    ///
    /// # Errors
    /// [`Refused`], with the request.
    pub fn hold(&self, pending: Pending) -> Result<Ticket, Box<Refused>> {
        let shared = &self.0.0;
        let mut state = shared.state();
        if let Err(reason) = shared.room(&mut state) {
            return Err(Box::new(Refused { reason, pending }));
        }
        let number = state.next;
        state.next += 1;
        state.held.push(Held { number, since: Instant::now(), pending });
        shared.changed.notify_all();
        Ok(Ticket { shared: Arc::clone(shared), number })
    }

    /// How many are held now.
    #[must_use]
    pub fn held(&self) -> usize {
        self.0.0.state().held.len()
    }

    /// Closes it: what waits is told [`EventError::Closed`], and nothing is taken any more. Returns when the last action
    /// has returned, unless an action calls it.
    pub fn close(&self) {
        self.0.0.close();
    }
}

impl Ticket {
    /// Takes the request back: true if its action was not called and will not be. False if it has been, and has returned
    /// by now (unless the action itself asks).
    pub fn cancel(&self) -> bool {
        let mut state = self.shared.state();
        if let Some(at) = state.held.iter().position(|held| held.number == self.number) {
            let held = state.held.remove(at);
            drop(state);
            // What the action holds may itself have something to say when it goes: not under the lock.
            drop(held);
            return true;
        }
        let ourselves = state.thread_id == Some(thread::current().id());
        while state.running == Some(self.number) && !ourselves {
            state = self.shared.wait(state, None);
        }
        false
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Shared {
    /// Makes sure that there is room, and a thread.
    fn room(self: &Arc<Self>, state: &mut State) -> Result<(), GateError> {
        if state.closed {
            return Err(GateError::Closed);
        }
        let depth = self.config.depth;
        if state.held.len() >= depth {
            return Err(GateError::Full { depth });
        }
        if state.thread.is_none() {
            let shared = Arc::clone(self);
            let spawned = thread::Builder::new().name("pmd-af-events".into()).spawn(move || shared.run());
            let thread = spawned.map_err(GateError::Thread)?;
            state.thread_id = Some(thread.thread().id());
            state.thread = Some(thread);
        }
        Ok(())
    }

    /// The gate's thread: one round of asking after the other.
    fn run(&self) {
        let mut changed = Instant::now();
        let mut known = 0;
        let mut state = self.state();
        while !state.closed {
            if state.held.is_empty() {
                state = self.wait(state, None);
                changed = Instant::now();
                continue;
            }
            if let Some((held, outcome)) = take_settled(&mut state) {
                state = self.act(state, held, outcome);
                changed = Instant::now();
                continue;
            }
            if state.next != known {
                (known, changed) = (state.next, Instant::now());
            }
            state = self.rest(state, changed.elapsed());
        }
        while let Some(held) = first(&mut state) {
            state = self.act(state, held, Err(EventError::Closed));
        }
    }

    /// Calls an action without the lock.
    fn act<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        held: Held,
        outcome: Result<(), EventError>,
    ) -> MutexGuard<'a, State> {
        state.running = Some(held.number);
        drop(state);
        let action = held.pending.action;
        // Whatever it panics with has been printed; the gate goes on for the others.
        drop(catch_unwind(AssertUnwindSafe(move || action(outcome))));
        let mut state = self.state();
        state.running = None;
        self.changed.notify_all();
        state
    }

    fn rest<'a>(&'a self, state: MutexGuard<'a, State>, unchanged: Duration) -> MutexGuard<'a, State> {
        if unchanged < self.config.busy {
            drop(state);
            thread::yield_now();
            return self.state();
        }
        self.wait(state, Some(self.config.pause))
    }

    fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        self.changed.notify_all();
        let thread = state.thread.take();
        let ourselves = state.thread_id == Some(thread::current().id());
        drop(state);
        if let Some(thread) = thread.filter(|_| !ourselves) {
            drop(thread.join());
        }
    }

    fn wait<'a>(&'a self, state: MutexGuard<'a, State>, limit: Option<Duration>) -> MutexGuard<'a, State> {
        match limit {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => self.changed.wait_timeout(state, limit).unwrap_or_else(PoisonError::into_inner).0,
        }
    }

    /// Neither actions nor what they hold run under this lock; events are asked under it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn first(state: &mut State) -> Option<Held> {
    (!state.held.is_empty()).then(|| state.held.remove(0))
}

/// Takes out the first whose event has an outcome and which waits for no one of its order.
fn take_settled(state: &mut State) -> Option<(Held, Result<(), EventError>)> {
    let settled = (0..state.held.len()).find_map(|at| {
        let held = &state.held[at];
        let behind =
            |other: &Held| other.pending.order.is_some() && other.pending.order == held.pending.order;
        if state.held[..at].iter().any(behind) {
            return None;
        }
        Some((at, outcome(held)?))
    });
    settled.map(|(at, outcome)| (state.held.remove(at), outcome))
}

fn outcome(held: &Held) -> Option<Result<(), EventError>> {
    let asked = catch_unwind(AssertUnwindSafe(|| held.pending.event.query().map_err(EventError::from)));
    match asked.unwrap_or(Err(EventError::Panicked)) {
        Ok(true) => Some(Ok(())),
        Err(error) => Some(Err(error)),
        Ok(false) => {
            let now = Instant::now();
            let late = held.pending.deadline.is_some_and(|deadline| now >= deadline);
            late.then(|| Err(EventError::Timeout { waited: now - held.since }))
        }
    }
}
