//! Requests: prepared once, posted many times, never while active; released without waiting.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use pmd_host::{
    backend::Transport,
    endpoint::Peer,
    lane::Route,
    transfer::{
        Direction, KeepAlive, Notification, Observer, Transfer, TransferEnd, TransferError, TransferObserver,
        TransferOptions,
    },
};

use super::{CostEstimate, Registration, Shared, connection::Remote, plan::Plan};
use crate::{
    agent::{AgentError, Status},
    fabric::Segment,
};

/// Longest sleep of a waiting thread: two may wait for one request, and only one of them is woken.
const NAP: Duration = Duration::from_millis(1);

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Never posted.
    Prepared,
    /// Posted and not done.
    Active,
    /// Done; can be posted again.
    Done,
    /// Failed and quiet; can be posted again.
    Failed,
    /// Told to stop, and not quiet yet.
    Aborting,
    /// Stopped and quiet; can be posted again.
    Aborted,
}

/// What the last posting of a request did. NIXL's `nixlXferTelemetry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestTelemetry {
    /// When it was posted.
    pub started: Instant,
    /// How long the call took that posted it.
    pub posting: Duration,
    /// From then until its last byte, and its notification, were there.
    pub transfer: Duration,
    /// Bytes.
    pub bytes: u64,
    /// Descriptors that were given.
    pub descriptors: usize,
    /// Work requests that they were merged into.
    pub work_requests: usize,
}

/// A prepared transfer. May be used from any thread.
///
/// Dropping it while it is active stops it, without waiting; its memory stays registered until it is quiet.
pub struct Request(Arc<Inner>);

/// What the backend knows of a request.
pub(super) struct Inner {
    backend: Arc<Shared>,
    remote: Arc<Remote>,
    /// Of the keys in the plan.
    transport: Transport,
    plan: Plan,
    number: u64,
    state: Mutex<State>,
}

struct State {
    phase: Phase,
    flight: Option<Flight>,
    failure: Option<TransferError>,
    /// Descriptors of the last posting that are certain to have arrived, in the order of the work requests.
    valid: usize,
    telemetry: Option<RequestTelemetry>,
}

/// One posting.
struct Flight {
    transfer: Transfer,
    peer: Peer,
    clock: Arc<Clock>,
    posting: Duration,
    /// Of a notification too long to come along.
    token: Option<u64>,
}

/// When a posting began and ended, and how far it came. The lane stops it.
struct Clock {
    started: Instant,
    ended: OnceLock<(Instant, u32)>,
}

impl TransferObserver for Clock {
    fn ended(&self, end: TransferEnd) {
        let _ = self.ended.set((Instant::now(), end.landed));
    }
}

impl Request {
    pub(super) fn new(backend: &Arc<Shared>, remote: &Arc<Remote>, peer: &Peer, plan: Plan) -> Self {
        let state = State { phase: Phase::Prepared, flight: None, failure: None, valid: 0, telemetry: None };
        Self(Arc::new(Inner {
            backend: Arc::clone(backend),
            remote: Arc::clone(remote),
            transport: peer.transport(),
            plan,
            number: backend.next_number(),
            state: Mutex::new(state),
        }))
    }

    /// Posts the transfer; [`Status::Success`] when it is done already. With a notification, the remote agent gets it when every byte is in place (write) or was
    /// read (read). Waits only while the lane's ring is full, or for a new route where the last one has failed.
    ///
    /// # Errors
    /// [`AgentError::Active`] while the last posting is not quiet; [`AgentError::Invalidated`], [`AgentError::Down`],
    /// [`AgentError::Deregistered`]; what the route says. Nothing was posted.
    pub fn post(&self, notification: Option<&[u8]>) -> Result<Status, AgentError> {
        let inner = &self.0;
        let mut state = inner.state();
        inner.settle(&mut state);
        if matches!(state.phase, Phase::Active | Phase::Aborting) {
            return Err(AgentError::Active);
        }
        state.flight = Some(inner.submit(notification)?);
        (state.phase, state.failure, state.valid, state.telemetry) = (Phase::Active, None, 0, None);
        inner.backend.activate(inner.number, inner);
        inner.settle(&mut state);
        // That it has failed already is for the next look to say: an error here means that nothing was posted.
        Ok(if state.phase == Phase::Done { Status::Success } else { Status::InProgress })
    }

    /// Where the transfer stands. Never waits.
    ///
    /// # Errors
    /// [`AgentError::NotPosted`]; why it failed; [`AgentError::Aborting`] and [`AgentError::Canceled`] once it was told
    /// to stop.
    pub fn check(&self) -> Result<Status, AgentError> {
        let mut state = self.0.state();
        self.0.settle(&mut state);
        self.0.status(&state)
    }

    /// Where the request stands.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let mut state = self.0.state();
        self.0.settle(&mut state);
        state.phase
    }

    /// Waits until the transfer is not active any more, at most until `deadline`.
    ///
    /// # Errors
    /// As [`Request::check`].
    pub fn wait(&self, deadline: Option<Instant>) -> Result<Status, AgentError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            if let Poll::Ready(result) = self.poll(&mut context) {
                return result;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return self.check();
            }
            thread::park_timeout(left.unwrap_or(NAP).min(NAP));
        }
    }

    /// For futures: ready when the transfer is not active any more. Wakes the waker of the last call.
    ///
    /// # Errors
    /// As [`Request::check`].
    pub fn poll(&self, context: &mut Context<'_>) -> Poll<Result<Status, AgentError>> {
        self.0.poll_quiet(context).map(|()| self.check())
    }

    /// Ends the request. One that is active is told to stop; it can be released once it is quiet, which may be now.
    /// Never waits. After `Ok` nothing writes the memory on its behalf.
    ///
    /// # Errors
    /// [`AgentError::Aborting`]: not quiet yet; release it again.
    pub fn release(&self) -> Result<(), AgentError> {
        let mut state = self.0.state();
        self.0.abort(&mut state);
        self.0.settle(&mut state);
        if state.phase == Phase::Aborting { Err(AgentError::Aborting) } else { Ok(()) }
    }

    /// Descriptors of the last posting that are not certain to have arrived, by their place in the lists. None when it
    /// is done; all of them while it is active.
    #[must_use]
    pub fn invalid_descriptors(&self) -> Vec<usize> {
        let mut state = self.0.state();
        self.0.settle(&mut state);
        self.0.plan.behind(state.valid)
    }

    /// What the last posting took, once it is done.
    #[must_use]
    pub fn telemetry(&self) -> Option<RequestTelemetry> {
        let mut state = self.0.state();
        self.0.settle(&mut state);
        state.telemetry
    }

    /// How long the transfer is expected to take.
    #[must_use]
    pub fn estimate(&self) -> CostEstimate {
        let Inner { remote, transport, plan, .. } = &*self.0;
        remote.estimate.of(*transport, plan.work.entries().len(), plan.work.bytes())
    }

    /// Name of the remote agent.
    #[must_use]
    pub fn agent(&self) -> &str {
        self.0.remote.agent()
    }

    /// Whether the remote agent is known to be gone. A transfer may fail a moment before that is known.
    #[must_use]
    pub fn is_agent_down(&self) -> bool {
        self.0.remote.is_down()
    }

    /// Which way the bytes go.
    #[must_use]
    pub fn direction(&self) -> Direction {
        self.0.plan.work.direction()
    }

    /// Bytes that it moves.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.plan.work.bytes()
    }

    /// Descriptors that it was made of.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.0.plan.extents.count()
    }

    /// Work requests that they were merged into.
    #[must_use]
    pub fn work_requests(&self) -> usize {
        self.0.plan.work.entries().len()
    }
}

impl Inner {
    fn submit(self: &Arc<Self>, notification: Option<&[u8]>) -> Result<Flight, AgentError> {
        let started = Instant::now();
        self.remote.check()?;
        let segments: Vec<Segment> =
            self.plan.registrations.iter().map(Registration::segment).collect::<Result<_, _>>()?;
        let messenger = self.backend.messenger();
        let peer = self.remote.connected(messenger)?;
        let (notify, token) = match notification {
            None => (None, None),
            Some(bytes) => {
                let (bytes, token) = messenger.attach(&peer, super::NOTIFICATION, &[], bytes)?.into_parts();
                (Some(Notification { bytes, immediate: None }), token)
            }
        };
        let clock = Arc::new(Clock { started, ended: OnceLock::new() });
        let (keep_alive, observer) =
            (Some(KeepAlive(Arc::new(segments))), Some(Observer(Arc::clone(&clock) as _)));
        let options = TransferOptions { notify, keep_alive, observer, ..TransferOptions::default() };
        match peer.submit_beside(self.route(&peer), &self.plan.work, options, None) {
            Ok(transfer) => Ok(Flight { transfer, peer, clock, posting: started.elapsed(), token }),
            Err(error) => {
                token.inspect(|token| messenger.detach(&peer, *token));
                Err(AgentError::submit(self.remote.agent(), error))
            }
        }
    }

    /// Requests take turns on the lanes; each one stays on its own, unless it goes over rails.
    fn route<'a>(&self, peer: &'a Peer) -> &'a Route {
        let mut routes = peer.routes();
        let turn = self.number as usize % routes.len();
        routes.nth(turn).unwrap_or(peer.route())
    }

    /// Takes note of the outcome, if there is one by now.
    fn settle(&self, state: &mut State) {
        let Some(outcome) = state.flight.as_ref().and_then(|flight| flight.transfer.poll()) else { return };
        let Some(flight) = state.flight.take() else { return };
        self.backend.deactivate(self.number);
        match outcome {
            Ok(_) => {
                (state.phase, state.valid) = (Phase::Done, self.plan.extents.count());
                state.telemetry = Some(self.measured(&flight));
            }
            Err(error) => {
                let aborted = state.phase == Phase::Aborting;
                state.phase = if aborted { Phase::Aborted } else { Phase::Failed };
                (state.failure, state.valid) = (Some(error), self.arrived(&flight.clock, error));
                flight.token.inspect(|token| self.backend.messenger().detach(&flight.peer, *token));
            }
        }
    }

    fn measured(&self, flight: &Flight) -> RequestTelemetry {
        let Clock { started, ended } = &*flight.clock;
        let transfer =
            ended.get().map_or_else(|| started.elapsed(), |(ended, _)| ended.duration_since(*started));
        let (bytes, work_requests) = (self.plan.work.bytes(), self.plan.work.entries().len());
        self.remote.estimate.learn(self.transport, work_requests, bytes, transfer);
        let descriptors = self.plan.extents.count();
        RequestTelemetry {
            started: *started,
            posting: flight.posting,
            transfer,
            bytes,
            descriptors,
            work_requests,
        }
    }

    /// Descriptors, from the first, whose bytes are in place.
    fn arrived(&self, clock: &Clock, error: TransferError) -> usize {
        if let TransferError::NotificationFailed { .. } = error {
            return self.plan.extents.count();
        }
        let landed = clock.ended.get().map_or(0, |(_, landed)| *landed);
        let entries = self.plan.work.entries().iter().take(landed as usize);
        self.plan.extents.within(entries.map(|entry| u64::from(entry.length)).sum())
    }

    fn abort(&self, state: &mut State) {
        if let Some(flight) = state.flight.as_ref().filter(|_| state.phase == Phase::Active) {
            flight.transfer.request_cancel();
            state.phase = Phase::Aborting;
        }
    }

    fn status(&self, state: &State) -> Result<Status, AgentError> {
        match state.phase {
            Phase::Prepared => Err(AgentError::NotPosted),
            Phase::Active => Ok(Status::InProgress),
            Phase::Done => Ok(Status::Success),
            Phase::Aborting => Err(AgentError::Aborting),
            Phase::Aborted => Err(AgentError::Canceled),
            Phase::Failed => Err(state.failure.map_or(AgentError::Canceled, AgentError::Transfer)),
        }
    }

    fn poll_quiet(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if let Some(flight) = state.flight.as_mut()
            && Future::poll(Pin::new(&mut flight.transfer), context).is_pending()
        {
            return Poll::Pending;
        }
        self.settle(&mut state);
        Poll::Ready(())
    }

    /// Stops it if it uses the registration.
    pub(super) fn stop_if_using(&self, registration: &Registration) {
        if self.plan.registrations.iter().any(|used| used.is(registration)) {
            let mut state = self.state();
            self.abort(&mut state);
            self.settle(&mut state);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut state = self.0.state();
        self.0.abort(&mut state);
        self.0.settle(&mut state);
        if state.flight.is_none() {
            return;
        }
        drop(state);
        let inner = Arc::clone(&self.0);
        self.0.backend.messenger().spawn(poll_fn(move |context| inner.poll_quiet(context)));
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Request")
            .field("agent", &self.agent())
            .field("bytes", &self.bytes())
            .field("descriptors", &self.descriptors())
            .field("phase", &self.phase())
            .finish_non_exhaustive()
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}
