//! A push-pull in flight: its parts, called legs, one for each header that was sent.
//!
//! # A leg's life
//! ```text
//!  submitted ---- reserve ----> posted ---- push ended ----> awaiting response ---- response ----> done
//!   waits for slots   |  (transfer on the lane)   |               |  (or before: then the push is awaited)
//!                     v                           v               v
//!                  refused                     failed, cancelled, refused by the server, server down
//! ```
//! | from | to | when |
//! |---|---|---|
//! | submitted | posted | a request slot and an area slot for each push were free; until then nobody else knows of it |
//! | posted | awaiting | the device has delivered the header: the pushed tensors are not read any more |
//! | posted | failed | the header was not sent: the transfer was cancelled or refused while the route lives |
//! | posted, awaiting | done | header delivered *and* response here, in either order |
//! | posted, awaiting | landing | the same, where what was pulled lies in pinned memory of the host: a stream copies it |
//! | landing | done, failed | the stream has copied, or cannot |
//! | awaiting | cancelled | the server said that it writes nothing any more |
//! | posted, awaiting | failed | the route is down **and closed**: the queue pairs are gone, nothing can write |
//!
//! An ended leg stays ended; its slots are free, its memory is let go of. Late messages for it find another generation in
//! the slot and are ignored.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use pmd_core::accelerator::{Event, Flag};
use pmd_host::transfer::{Transfer, TransferEnd, TransferObserver};

use super::{Failure, FailureCause, connection::Connection};
use crate::{
    gate::{EventError, FAILED, Pending, Ticket},
    tensor::{Landing, Memory, Tensor},
    trace::{self, Recorder},
    waiting::Wakers,
    wire::{Immediate, ResponseView},
};

/// All legs of a push-pull.
#[derive(Debug)]
pub(super) struct Operation {
    state: Mutex<State>,
    recorder: Recorder,
    /// Number of the push-pull at its worker.
    pub(super) number: u64,
}

/// What a push-pull is, beside its legs.
#[derive(Debug)]
pub(super) struct About {
    pub(super) recorder: Recorder,
    pub(super) number: u64,
    /// Tensors that are pulled.
    pub(super) pulls: usize,
    pub(super) then: Option<(Arc<dyn Flag>, u64)>,
}

#[derive(Debug)]
struct State {
    legs: Vec<Progress>,
    /// Legs that have not ended.
    running: usize,
    /// Bytes of each pull.
    lengths: Vec<u32>,
    /// While its event is waited for.
    held: Option<Ticket>,
    /// To be set at the end.
    then: Option<(Arc<dyn Flag>, u64)>,
    /// Whether its caller has a handle, or will.
    taken: bool,
    wakers: Wakers,
}

#[derive(Debug)]
struct Progress {
    server: u32,
    trace: trace::Part,
    pushed: bool,
    answer: Option<Result<(), FailureCause>>,
    end: Option<Result<(), FailureCause>>,
    /// Pulls that streams still copy to their tensors, and the first failure of one. The leg ends with the last, whatever
    /// else happens: until then its tensors are not quiet.
    landing: usize,
    lost: Option<EventError>,
    /// To cancel it; gone when the leg has ended.
    transfer: Option<Transfer>,
    /// What the leg keeps registered.
    memories: Vec<Memory>,
}

/// One header to one server, and what belongs to it.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) operation: Arc<Operation>,
    pub(super) index: usize,
    pub(super) connection: Arc<Connection>,
    pub(super) immediate: Immediate,
    /// Number of the batch that it is a part of.
    pub(super) batch: Option<u32>,
    /// Key and slot of each push with bytes.
    pub(super) area_slots: Vec<(u64, u16)>,
    /// Layouts whose meaning the header carries.
    pub(super) defined: Vec<u16>,
    pub(super) pulls: Vec<Target>,
    pub(super) up_to: bool,
}

/// Where a pulled tensor goes.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) place: usize,
    pub(super) tensor: Tensor,
    /// Where the server writes it, if not there.
    pub(super) landing: Option<Arc<Landing>>,
}

impl Operation {
    /// `legs` are the servers, and what a recorder is told of each.
    pub(super) fn new(legs: impl Iterator<Item = (u32, trace::Part)>, about: About) -> Arc<Self> {
        let legs: Vec<_> = legs.map(|(server, trace)| Progress::new(server, trace)).collect();
        let About { recorder, number, pulls, then } = about;
        let running = legs.len();
        let (lengths, wakers) = (vec![0; pulls], Wakers::default());
        let state = State { running, legs, lengths, held: None, then, taken: true, wakers };
        Arc::new(Self { state: Mutex::new(state), recorder, number })
    }

    /// Its event is done.
    pub(super) fn event_done(&self) {
        let now = self.recorder.now();
        self.state().legs.iter_mut().for_each(|leg| leg.trace.stamps.event_done = now);
    }

    /// It waits for its event; the ticket takes it back.
    pub(super) fn set_held(&self, ticket: Ticket) {
        self.state().held = Some(ticket);
    }

    /// Takes it back from where it waits for its event: true if nothing of it was sent, and nothing will be.
    pub(super) fn take_back(&self) -> bool {
        let ticket = self.state().held.take();
        ticket.is_some_and(|ticket| ticket.cancel())
    }

    /// It was not taken: nothing waits for its flag, and its places in batches are the next one's.
    pub(super) fn disarm(&self) {
        let mut state = self.state();
        (state.then, state.taken) = (None, false);
    }

    /// Every leg has ended.
    fn complete(&self, state: &mut State) {
        let now = self.recorder.now();
        state.legs.iter_mut().for_each(|leg| leg.trace.stamps.completed = now);
        self.recorder.complete(self.number, state.legs.iter().map(|leg| leg.trace));
        if let Some((flag, value)) = state.then.take() {
            let failed = state.legs.iter().any(|leg| matches!(leg.end, Some(Err(_))));
            flag.store(if failed { FAILED } else { value });
        }
    }

    /// The result, once every leg has ended; otherwise the waker is kept.
    pub(super) fn look(&self, waker: Option<&Waker>) -> Option<Result<Vec<u32>, Failure>> {
        self.look_for(waker, |state| (state.running == 0).then(|| state.result()))
    }

    /// Whether every leg has ended or has its header at the server.
    pub(super) fn look_pushed(&self, waker: Option<&Waker>) -> Option<()> {
        let settled = |leg: &Progress| leg.pushed || leg.end.is_some();
        self.look_for(waker, |state| state.legs.iter().all(settled).then_some(()))
    }

    /// Whether that leg has ended.
    pub(super) fn look_ended(&self, leg: usize, waker: Option<&Waker>) -> Option<()> {
        self.look_for(waker, |state| state.legs[leg].end.is_some().then_some(()))
    }

    /// What became of each leg so far.
    pub(super) fn ends(&self) -> Vec<(u32, Option<Result<(), FailureCause>>)> {
        self.state().legs.iter().map(|leg| (leg.server, leg.end.clone())).collect()
    }

    pub(super) fn request_cancel(&self) {
        let state = self.state();
        state.legs.iter().filter_map(|leg| leg.transfer.as_ref()).for_each(Transfer::request_cancel);
    }

    fn look_for<T>(&self, waker: Option<&Waker>, find: impl FnOnce(&State) -> Option<T>) -> Option<T> {
        let mut state = self.state();
        let found = find(&state);
        if let (None, Some(waker)) = (&found, waker) {
            state.wakers.register(waker);
        }
        found
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn result(&self) -> Result<Vec<u32>, Failure> {
        for Progress { server, end, .. } in &self.legs {
            if let Some(Err(cause)) = end {
                return Err(Failure { server: *server, cause: cause.clone() });
            }
        }
        Ok(self.lengths.clone())
    }
}

impl Progress {
    const fn new(server: u32, trace: trace::Part) -> Self {
        Self {
            server,
            trace,
            pushed: false,
            answer: None,
            end: None,
            landing: 0,
            lost: None,
            transfer: None,
            memories: Vec::new(),
        }
    }

    /// Whether it has not ended, and nothing is under way with which it will by itself.
    const fn is_open(&self) -> bool {
        self.end.is_none() && self.landing == 0
    }
}

impl Leg {
    /// It is about to be handed to the lane.
    pub(super) fn note_posted(&self) {
        let now = self.operation.recorder.now();
        self.operation.state().legs[self.index].trace.stamps.posted = now;
    }

    /// Keeps the leg's memory registered while it runs.
    pub(super) fn hold(&self, memories: Vec<Memory>) {
        self.operation.state().legs[self.index].memories = memories;
    }

    /// Keeps the transfer so that it can be cancelled, unless the leg has ended already.
    pub(super) fn keep(&self, transfer: Transfer) {
        let mut state = self.operation.state();
        let progress = &mut state.legs[self.index];
        if progress.end.is_none() {
            progress.transfer = Some(transfer);
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.operation.state().legs[self.index].end.is_some()
    }

    /// The response is here. Data that came with it is copied while the leg is known to wait for it.
    ///
    /// # Errors
    /// It does not fit the request; the leg goes on.
    pub(super) fn answered(&self, response: &ResponseView<'_>) -> Result<(), ()> {
        let mut state = self.operation.state();
        if !state.legs[self.index].is_open() {
            return Ok(());
        }
        let answer = match response {
            ResponseView::Refused(refusal) => Err(FailureCause::Refused(*refusal)),
            accepted => {
                self.take_in(accepted, &mut state.lengths)?;
                Ok(())
            }
        };
        let progress = &mut state.legs[self.index];
        progress.trace.stamps.arrived = self.operation.recorder.now();
        progress.answer = Some(answer);
        self.end_if_complete(state);
        Ok(())
    }

    /// Notes how much came, and copies what came inside the message.
    fn take_in(&self, response: &ResponseView<'_>, lengths: &mut [u32]) -> Result<(), ()> {
        let (given, data) = match response {
            ResponseView::Lengths(given) => (given.as_slice(), &[][..]),
            ResponseView::Inline { lengths, data } => (lengths.as_slice(), *data),
            _ => {
                self.pulls.iter().for_each(|target| lengths[target.place] = target.tensor.bytes());
                return Ok(());
            }
        };
        let fits = |(target, length): (&Target, &u32)| {
            *length == target.tensor.bytes() || self.up_to && *length < target.tensor.bytes()
        };
        // Data inside of the message is for tensors that the processor reaches; for others the server was told to write.
        let reached = data.is_empty() || self.pulls.iter().all(|target| target.tensor.memory().is_host());
        if given.len() != self.pulls.len() || !self.pulls.iter().zip(given).all(fits) || !reached {
            return Err(());
        }
        let mut rest = data;
        for (target, &length) in self.pulls.iter().zip(given) {
            lengths[target.place] = length;
            if let Some((first, others)) = rest.split_at_checked(length as usize).filter(|_| !data.is_empty())
            {
                target.copy(first);
                rest = others;
            }
        }
        Ok(())
    }

    /// Ends the leg without a response. Nothing can write its tensors any more: the caller knows.
    pub(super) fn give_up(&self, cause: FailureCause) {
        let state = self.operation.state();
        if state.legs[self.index].is_open() {
            self.end(state, Err(cause));
        }
    }

    /// As [`Leg::give_up`], but a response that came in the meantime counts.
    pub(super) fn settle_cancelled(&self) {
        let mut state = self.operation.state();
        let progress = &mut state.legs[self.index];
        if progress.is_open() {
            let result = progress.answer.take().unwrap_or(Err(FailureCause::Cancelled));
            self.end(state, result);
        }
    }

    fn end_if_complete(&self, mut state: MutexGuard<'_, State>) {
        let progress = &mut state.legs[self.index];
        let answer = if progress.is_open() && progress.pushed { progress.answer.take() } else { None };
        match answer {
            Some(Ok(())) if self.lands() => self.land(state),
            Some(answer) => self.end(state, answer),
            None => {
                let wakers = state.wakers.take();
                drop(state);
                wakers.wake();
            }
        }
    }

    /// Whether a pull lies elsewhere than in its tensor when it is here.
    fn lands(&self) -> bool {
        self.pulls.iter().any(|target| target.landing.is_some())
    }

    /// Has streams copy what was pulled to its tensors; the leg ends when they have.
    fn land(&self, mut state: MutexGuard<'_, State>) {
        let landings = self.pulls.iter().filter_map(|target| Some((target, target.landing.as_ref()?)));
        let landings: Vec<_> =
            landings.map(|(target, landing)| (target, landing, state.lengths[target.place])).collect();
        state.legs[self.index].landing = landings.len();
        drop(state);
        for (target, landing, length) in landings {
            if length == 0 {
                self.landed(Ok(()));
                continue;
            }
            match landing.carry(target.tensor.address(), length) {
                Ok(copied) => self.await_landing(copied, landing),
                Err(error) => self.landed(Err(error.into())),
            }
        }
    }

    fn await_landing(&self, copied: Arc<dyn Event>, landing: &Arc<Landing>) {
        // The leg is in its slot until it has ended.
        let Some(leg) = self.connection.leg(self.immediate) else { return };
        let landing = Arc::clone(landing);
        let action = Box::new(move |outcome: Result<(), EventError>| {
            if outcome.is_err() {
                landing.renew();
            }
            leg.landed(outcome);
        });
        let pending = Pending { event: copied, order: None, deadline: None, action };
        if let Err(refused) = self.connection.landings.hold(pending) {
            (refused.pending.action)(Err(EventError::Closed));
        }
    }

    /// One of the copies has ended; nothing of it is under way any more.
    fn landed(&self, outcome: Result<(), EventError>) {
        let mut state = self.operation.state();
        let progress = &mut state.legs[self.index];
        progress.landing -= 1;
        progress.lost = progress.lost.take().or(outcome.err());
        if progress.landing > 0 {
            return;
        }
        let result = progress.lost.take().map_or(Ok(()), |error| Err(FailureCause::Landing(error)));
        self.end(state, result);
    }

    fn end(&self, mut state: MutexGuard<'_, State>, result: Result<(), FailureCause>) {
        // The slots are free before anybody can learn of the end.
        self.connection.release(self, result.is_ok());
        let unsent = result.is_err() && !state.legs[self.index].pushed && state.taken;
        if let Some(batch) = self.batch.filter(|_| unsent) {
            self.connection.give_up_batch(batch);
        }
        let progress = &mut state.legs[self.index];
        progress.end = Some(result);
        let held = (progress.transfer.take(), std::mem::take(&mut progress.memories));
        state.running -= 1;
        if state.running == 0 {
            self.operation.complete(&mut state);
        }
        let wakers = state.wakers.take();
        drop(state);
        // Deregistration may wait: not under the lock, but before anybody wakes.
        drop(held);
        wakers.wake();
    }
}

impl TransferObserver for Leg {
    fn ended(&self, end: TransferEnd) {
        match end.outcome {
            Ok(_) => {
                let mut state = self.operation.state();
                state.legs[self.index].pushed = true;
                self.end_if_complete(state);
            }
            // Whether the header was delivered is not known: the leg ends when the route is closed.
            Err(_) if self.connection.route_failed() => self.connection.check_route(),
            Err(pmd_host::transfer::TransferError::Cancelled) => self.give_up(FailureCause::Cancelled),
            Err(error) => self.give_up(FailureCause::Transfer(error)),
        }
    }
}

impl Target {
    #[expect(unsafe_code, reason = "fills a tensor with what came inside a message")]
    fn copy(&self, bytes: &[u8]) {
        // SAFETY: the leg waits for this response, so its caller keeps the tensor free of other uses; only tensors that
        // the processor reaches are pulled inside messages. The length was checked against the tensor's.
        let _ = unsafe { self.tensor.write(bytes) };
    }
}
