//! One server as a worker has it: credits, layouts, what is in flight, and what happens when it goes down.
//!
//! A connection that fails takes no more requests at once. Those in flight end when its route is closed, on a thread of its
//! own: before that the server might still write their tensors.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    thread,
    time::Duration,
};

use pmd_host::{control::RequestError, endpoint::Peer, lane::Message};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    DownCause, FailureCause, PushPullError,
    areas::{Areas, Room},
    batches::Batches,
    layouts::Layouts,
    operation::Leg,
    slots::Slots,
};
use crate::{
    gate::Gate,
    trace::PeerNumber,
    waiting::Wakers,
    wire::{
        AgreeArea, AreaAgreed, AreaGone, CancelAnswer, CancelRequest, Immediate, NodeIdentity, ResponseView,
        kind,
    },
};

/// One server.
pub(super) struct Connection {
    pub(super) peer: Peer,
    pub(super) server: NodeIdentity,
    /// Longest message that both ends take.
    pub(super) message_bytes: usize,
    patience: Duration,
    depth: u16,
    /// Its number in the worker's recorder.
    pub(super) trace: PeerNumber,
    /// Waits for copies to devices that the server does not reach.
    pub(super) landings: Gate,
    state: Mutex<State>,
    /// Held while an area is asked for, so that two threads do not ask for the same one.
    agreeing: Mutex<()>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) slots: Slots,
    pub(super) areas: Areas,
    pub(super) layouts: Layouts,
    pub(super) batches: Batches,
    fault: Option<DownCause>,
    /// Those who wait for slots.
    wakers: Wakers,
}

impl Connection {
    pub(super) fn new(
        peer: Peer,
        server: NodeIdentity,
        message_bytes: usize,
        (config, trace, landings): (&super::WorkerConfig, PeerNumber, Gate),
    ) -> Arc<Self> {
        let state = State {
            slots: Slots::new(config.requests),
            areas: Areas::default(),
            layouts: Layouts::default(),
            batches: Batches::default(),
            fault: None,
            wakers: Wakers::default(),
        };
        Arc::new(Self {
            peer,
            server,
            message_bytes,
            patience: config.patience,
            depth: config.depth.max(1),
            trace,
            landings,
            state: Mutex::new(state),
            agreeing: Mutex::default(),
        })
    }

    /// Its state, if it is not down.
    pub(super) fn live(&self) -> Result<MutexGuard<'_, State>, PushPullError> {
        let state = self.state();
        match &state.fault {
            None => Ok(state),
            Some(cause) => Err(PushPullError::ServerDown { server: self.server.rank, cause: cause.clone() }),
        }
    }

    pub(super) fn fault(&self) -> Option<DownCause> {
        self.state().fault.clone()
    }

    /// Sees to it that the key has room for pushes of so many bytes; asks the server where it must. Returns how many may be
    /// in flight.
    pub(super) fn agree(&self, key: u64, bytes: u64) -> Result<u16, PushPullError> {
        if let Some(depth) = self.agreed(key, bytes)? {
            return Ok(depth);
        }
        let _alone = lock(&self.agreeing);
        match self.agreed(key, bytes)? {
            Some(depth) => Ok(depth),
            None => self.ask(key, bytes, self.depth),
        }
    }

    /// Asks for room beforehand; later pushes of the key are not larger.
    pub(super) fn declare(&self, key: u64, capacity: u64, depth: u16) -> Result<(), PushPullError> {
        let _alone = lock(&self.agreeing);
        self.ask(key, capacity, depth.max(1))?;
        self.live()?.areas.declare(key, capacity);
        Ok(())
    }

    fn agreed(&self, key: u64, bytes: u64) -> Result<Option<u16>, PushPullError> {
        match self.live()?.areas.room(key, bytes) {
            Room::Agreed { depth } => Ok(Some(depth)),
            Room::Ask => Ok(None),
            Room::Beyond { capacity } => {
                Err(PushPullError::Capacity { server: self.server.rank, key, given: bytes, capacity })
            }
        }
    }

    fn ask(&self, key: u64, bytes: u64, depth: u16) -> Result<u16, PushPullError> {
        let question = AgreeArea { key, capacity: bytes.max(1), depth };
        let server = self.server.rank;
        self.live()?.areas.ask(key);
        let agreed: AreaAgreed = self
            .request(kind::AGREE_AREA, &question)
            .map_err(|error| PushPullError::Agreement { server, key, error })?;
        if agreed.capacity < bytes {
            return Err(PushPullError::Capacity { server, key, given: bytes, capacity: agreed.capacity });
        }
        let mut state = self.live()?;
        let released = state.areas.insert(key, agreed);
        let wakers = state.wakers.take();
        drop(state);
        self.tell_released(&released);
        // A new area is room as well as one whose slots came back.
        wakers.wake();
        Ok(agreed.depth)
    }

    /// Gives the server's answer to a cancel.
    pub(super) fn cancel(&self, at: Immediate) -> Result<CancelAnswer, RequestError> {
        self.request(kind::CANCEL, &CancelRequest { slot: at.slot, generation: at.generation })
    }

    fn request<Q: Serialize, A: DeserializeOwned>(&self, kind: u16, question: &Q) -> Result<A, RequestError> {
        super::ask(&self.peer, kind, question, self.patience)
    }

    /// Calls the waker when a slot becomes free, or the connection fails.
    pub(super) fn wait_for_room(&self, waker: &Waker) {
        self.state().wakers.register(waker);
    }

    /// A leg has ended: its slots are free. Its layouts are known to the server if it was answered.
    pub(super) fn release(&self, leg: &Leg, answered: bool) {
        let mut state = self.state();
        state.slots.give(leg.immediate);
        let mut released = Vec::new();
        for &(key, slot) in &leg.area_slots {
            released.extend(state.areas.give(key, slot));
        }
        if answered {
            leg.defined.iter().for_each(|number| state.layouts.confirm(*number));
        }
        let wakers = state.wakers.take();
        drop(state);
        self.tell_released(&released);
        wakers.wake();
    }

    /// The server takes an area back.
    pub(super) fn revoked(&self, gone: AreaGone) {
        let released = self.state().areas.revoke(gone);
        self.tell_released(&released);
    }

    /// Tells the server which areas nothing is written to any more.
    pub(super) fn tell_released(&self, released: &[AreaGone]) {
        for gone in released {
            // Postcard fails on lack of memory only; a server that is down has freed the area.
            if let Ok(body) = postcard::to_allocvec(gone) {
                let _ = self.peer.connection().event(kind::RELEASE_AREA, body);
            }
        }
    }

    /// A part of the batch was not sent: those that were must not wait for it, and no more are taken.
    pub(super) fn give_up_batch(&self, batch: u32) {
        self.state().batches.forget(batch);
        if let Ok(body) = postcard::to_allocvec(&batch) {
            // A server that is down holds nothing back.
            let _ = self.peer.connection().event(kind::GIVE_UP_BATCH, body);
        }
    }

    /// A message of the server.
    pub(super) fn message(self: &Arc<Self>, message: Message<'_>) {
        let Some(bits) = message.immediate else { return };
        let Some(leg) = self.leg(Immediate::from_bits(bits)) else { return };
        match ResponseView::parse(message.bytes) {
            Ok(response) => {
                if leg.answered(&response).is_err() {
                    self.fail(DownCause::WrongResponse);
                }
            }
            Err(error) => self.fail(error.into()),
        }
    }

    /// The leg that is in a slot.
    pub(super) fn leg(&self, at: Immediate) -> Option<Arc<Leg>> {
        self.state().slots.find(at)
    }

    /// Whether the route is down.
    pub(super) fn route_failed(&self) -> bool {
        self.peer.route().fault().is_some()
    }

    /// Fails the connection if its route has failed.
    pub(super) fn check_route(self: &Arc<Self>) {
        if let Some(fault) = self.peer.route().fault() {
            self.fail(fault.into());
        }
    }

    /// Takes the connection down, once: nothing more is taken, and when the route is closed everything in flight ends.
    pub(super) fn fail(self: &Arc<Self>, cause: DownCause) {
        let mut state = self.state();
        if state.fault.is_some() {
            return;
        }
        state.fault = Some(cause);
        let wakers = state.wakers.take();
        drop(state);
        wakers.wake();
        let connection = Arc::clone(self);
        let reaper = thread::Builder::new().name("af-reaper".to_owned());
        if reaper.spawn(move || connection.reap()).is_err() {
            // No thread to be had: the route is on its way down all the same, only the proof that it is quiet is missing,
            // and so the legs stay unended until the worker closes.
            self.peer.close();
        }
    }

    /// Ends what is in flight once nothing can write its tensors. Waits for the lane: on a thread of its own.
    pub(super) fn reap(&self) {
        self.peer.close();
        let routes: Vec<_> = self.peer.routes().cloned().collect();
        // A route that cannot be closed has taken its device down, which is as quiet.
        routes.iter().for_each(|route| drop(route.close()));
        let cause = self.fault().unwrap_or(DownCause::Closed);
        let legs = self.state().slots.legs();
        legs.iter().for_each(|leg| leg.give_up(FailureCause::Down(cause.clone())));
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Connection")
            .field("server", &self.server)
            .field("fault", &self.fault())
            .finish()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
