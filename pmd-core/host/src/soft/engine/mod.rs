//! The engine: executes the send queues of its queue pairs and serves their peers, on the thread that rings and polls.
//!
//! [`SoftHardware`] is the device behind the lower seam. Work happens in *passes*: the doorbell begins one for a
//! single queue pair, every poll one for all queue pairs with news. In a pass the engine is active (see
//! [`pmd_core::ring::quiesce`]): keys are checked and bytes are moved only there, and never more than a budget, so
//! that posting returns soon and a region can be revoked soon.
//!
//! | module | |
//! |---|---|
//! | [`queue_pair`] | one queue pair: link, failure, flush |
//! | [`requester`] | WQEs: begun in order, retired in order |
//! | [`responder`] | the peer's packets |
//! | [`packet`] | their format |
//! | [`queues`] | the device's half of send, receive and completion queues |
//! | [`copy`], [`batch`] | moving bytes: by address, by the kernel |
//!
//! # Acknowledgement
//! A request is acknowledged by being consumed. How far this side has consumed travels in every packet that it sends
//! anyway; where it sends none, it is stored in the link's shared word as soon as a poll finds nothing to do, or
//! when a quarter of the ring waits.

mod batch;
mod cold;
mod copy;
mod incoming;
mod outstanding;
mod packet;
mod pass;
mod queue_pair;
mod queues;
mod requester;
mod responder;
#[cfg(test)]
mod tests;
mod tuning;

use std::{os::fd::AsFd, sync::Arc, time::Duration};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use pmd_core::{
    provider::{
        CompletionQueueError, CompletionQueueMemory, Hardware, QueuePairHandle, ReceiveQueueMemory,
        SendDoorbell, SendQueueMemory, SharedReceiveHandle, SharedReceiveQueueMemory, WqeRing,
    },
    ring::quiesce::Active,
    wire::Syndrome,
};

use self::{
    batch::Batch,
    cold::Recent,
    pass::{Keys, Pass},
    queue_pair::QueuePair,
    queues::{CompletionRing, ReceiveRing},
    requester::Requester,
    responder::{ReceiveSource, Responder},
};
use super::{Device, Endpoint, Joining, MappingCache, Mover, ProtectionDomain, Seat, tcp::Poller};
use crate::{
    backend::{ConnectOptions, QueuePairConfig, SetupError, Waker},
    retries::{RetryCells, RetryCounter},
};
pub use tuning::Tuning;

/// Polls between two looks at the sockets.
const SERVICE_TURNS: u32 = 64;

/// The soft HCA's queues and engine: one completion queue and the queue pairs that complete into it.
#[derive(Debug)]
pub struct SoftHardware {
    // Before the queue pairs, whose memory it may be reading: dropping it waits for that.
    mover: Option<Mover>,
    // Links go before the seat, which stands for this engine towards their peers.
    queue_pairs: Vec<Option<Box<QueuePair>>>,
    means: Means,
    /// Sockets of the queue pairs; there is one once a queue pair was connected over TCP.
    poller: Option<Arc<Poller>>,
    seat: Seat,
    waker: Waker,
    domain: ProtectionDomain,
    tuning: Tuning,
    /// Requests that had to wait for a receive.
    retries: Arc<RetryCells>,
    /// Polls so far.
    turns: u32,
    /// Queue pair that is first in the next poll.
    first: usize,
    /// The last pass used its budget up: there may be more to move.
    unfinished: bool,
}

/// What passes use besides the queue pairs.
#[derive(Debug)]
struct Means {
    completions: CompletionRing,
    shared_receives: Vec<Option<ReceiveRing>>,
    mappings: MappingCache,
    recent: Recent,
    batch: Batch,
}

impl Means {
    #[inline]
    fn pass<'a>(
        &'a mut self,
        mover: &'a mut Option<Mover>,
        active: &'a Active<'a>,
        device: &'a Device,
        tuning: &'a Tuning,
        budget: u64,
    ) -> Pass<'a> {
        Pass {
            keys: Keys { active, device },
            completions: &mut self.completions,
            mappings: &mut self.mappings,
            recent: &mut self.recent,
            batch: &mut self.batch,
            shared_receives: &mut self.shared_receives,
            mover: mover.as_mut(),
            tuning,
            budget,
        }
    }
}

impl SoftHardware {
    /// An engine without queue pairs. Its queue pairs use regions of `domain`.
    ///
    /// # Errors
    /// [`SetupError`] when the device has no seat left, or memory or descriptors are short.
    pub fn new(device: &Device, domain: ProtectionDomain, tuning: Tuning) -> Result<Self, SetupError> {
        let waker =
            Waker::new().map_err(|source| SetupError::System { call: "eventfd", source: source.into() })?;
        let seat = device.seat(waker.clone()).map_err(|full| {
            let limit = full.limit as u64;
            SetupError::Limit { what: "engines of one soft HCA", wanted: limit + 1, limit }
        })?;
        let means = Means {
            completions: CompletionRing::new(tuning.completions)?,
            shared_receives: Vec::new(),
            mappings: MappingCache::new(device),
            recent: Recent::new(tuning.cached),
            batch: Batch::new(),
        };
        let mover = Mover::start(device, &waker)?;
        Ok(Self {
            mover,
            queue_pairs: Vec::new(),
            means,
            poller: None,
            seat,
            waker,
            domain,
            tuning,
            retries: Arc::default(),
            turns: 0,
            first: 0,
            unfinished: false,
        })
    }

    /// The device that the engine works for.
    #[must_use]
    pub fn device(&self) -> &Device {
        self.seat.device()
    }

    /// What is counted of requests that had to wait for a receive.
    #[must_use]
    pub fn retries(&self) -> RetryCounter {
        RetryCounter(Arc::clone(&self.retries))
    }

    /// Whether the next poll may go on at once: the last doorbell or poll moved as much as it was allowed to.
    #[inline]
    #[must_use]
    pub const fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    /// Wakes the engine out of its sleep.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Memory of the completion queue.
    #[must_use]
    pub fn completion_queue(&self) -> CompletionQueueMemory {
        const NUMBER: u32 = 1;
        self.means.completions.memory(NUMBER)
    }

    /// Makes a queue pair, to be installed under the handle that its driver gives it.
    pub(crate) fn build(&self, config: &QueuePairConfig) -> Result<NewQueuePair, SetupError> {
        let number = self.seat.next_queue_pair();
        let requester = Requester::new(number, self.domain, config.send_slots, Arc::clone(&self.retries))?;
        let source = match config.shared_receive {
            Some(handle) => ReceiveSource::Shared(handle.0),
            None => ReceiveSource::Own(ReceiveRing::own(config.receives, config.sges)?),
        };
        let responder = Responder::new(number, self.domain, source, Arc::clone(&self.retries));
        Ok(NewQueuePair(Box::new(QueuePair::new(number, requester, responder))))
    }

    /// Takes a queue pair in.
    pub(crate) fn install(&mut self, handle: QueuePairHandle, new: NewQueuePair) {
        place(&mut self.queue_pairs, handle.0, new.0);
    }

    /// Drops a queue pair; its memory goes with it.
    pub(crate) fn remove(&mut self, handle: QueuePairHandle) {
        self.await_moves(handle);
        if let Some(mut queue_pair) = self.queue_pairs.get_mut(handle.0 as usize).and_then(Option::take) {
            queue_pair.reset();
        }
    }

    /// Makes a shared receive queue, to be installed under the handle that its driver gives it.
    pub(crate) fn build_shared(receives: u32, sges: u32) -> Result<NewSharedReceive, SetupError> {
        ReceiveRing::shared(receives, sges).map(NewSharedReceive)
    }

    /// Takes a shared receive queue in.
    pub(crate) fn install_shared(&mut self, handle: SharedReceiveHandle, new: NewSharedReceive) {
        place(&mut self.means.shared_receives, handle.0, new.0);
    }

    /// What a connection of this queue pair starts from.
    pub(crate) fn endpoint(&self, handle: QueuePairHandle) -> Result<Endpoint, SetupError> {
        let queue_pair = self.queue_pair(handle)?.number();
        Ok(Endpoint { queue_pair, protection_domain: self.domain, waker: self.waker(), may_park: true })
    }

    /// Whether a queue pair is in RESET.
    pub(crate) fn is_reset(&self, handle: QueuePairHandle) -> Result<bool, SetupError> {
        Ok(self.queue_pair(handle)?.is_reset())
    }

    /// Connects a queue pair once the peer does.
    pub(crate) fn connect(
        &mut self,
        handle: QueuePairHandle,
        link: Joining,
        options: &ConnectOptions,
    ) -> Result<(), SetupError> {
        let timeout = self.tuning.connect_timeout;
        let queue_pair = self.queue_pair_mut(handle)?;
        queue_pair.requester.set_rnr_retry(options.rnr_retry);
        queue_pair.responder.set_not_ready_timer(options.minimum_rnr_timer);
        queue_pair.connect(link, timeout);
        Ok(())
    }

    /// The poll set for sockets of queue pairs, which is made when it is first asked for.
    pub(crate) fn poller(&mut self) -> Result<Arc<Poller>, SetupError> {
        if let Some(poller) = &self.poller {
            return Ok(poller.clone());
        }
        let made = Poller::new().map(Arc::new);
        let poller =
            made.map_err(|source| SetupError::System { call: "epoll_create1", source: source.into() })?;
        self.poller = Some(poller.clone());
        Ok(poller)
    }

    /// Fails a queue pair: everything outstanding is flushed in the polls that follow.
    pub(crate) fn fail(&mut self, handle: QueuePairHandle) -> Result<(), SetupError> {
        self.queue_pair_mut(handle)?.fail(Syndrome::Flushed);
        Ok(())
    }

    /// Whether no peer moves bytes on the behalf of a queue pair that has failed or is reset.
    pub(crate) fn is_quiet(&mut self, handle: QueuePairHandle) -> bool {
        self.queue_pair_mut(handle).map_or(true, QueuePair::is_quiet)
    }

    /// Resets a queue pair. Waits until no peer moves bytes on its behalf.
    pub(crate) fn reset(&mut self, handle: QueuePairHandle) -> Result<(), SetupError> {
        self.await_moves(handle);
        self.queue_pair_mut(handle)?.reset();
        Ok(())
    }

    /// Sleeps until a peer or a waker has news, at most for `timeout`.
    pub(crate) fn park(&mut self, timeout: Duration) {
        /// With something to wait for that wakes nobody.
        const SHORT: Duration = Duration::from_millis(1);
        // Polls are rare from now on, and what a peer that went has left mapped here is memory that nobody else gets.
        self.means.mappings.trim();
        self.set_parked(true);
        let shared = &self.means.shared_receives;
        let mut queue_pairs = self.queue_pairs.iter_mut().flatten();
        if !queue_pairs.any(|queue_pair| queue_pair.is_busy(shared)) {
            let hurry = self.queue_pairs.iter().flatten().any(|queue_pair| queue_pair.needs_time());
            self.sleep(if hurry { timeout.min(SHORT) } else { timeout });
        }
        self.set_parked(false);
    }

    fn set_parked(&mut self, parked: bool) {
        self.queue_pairs.iter_mut().flatten().for_each(|queue_pair| queue_pair.set_parked(parked));
    }

    fn sleep(&self, timeout: Duration) {
        // Rounded up: a shorter timeout than a millisecond must not become a busy loop.
        let milliseconds = timeout.as_micros().div_ceil(1000).min(i32::MAX as u128) as i32;
        let timeout = PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX);
        let device = self.seat.device();
        let watched = |descriptor| PollFd::new(descriptor, PollFlags::POLLIN);
        // Where there is none of a kind the waker stands in for it.
        let hub = device.hub().map_or(self.waker.0.as_fd(), AsFd::as_fd);
        let sockets = self.poller.as_ref().map_or(self.waker.0.as_fd(), |poller| poller.as_fd());
        let mut descriptors = [self.waker.0.as_fd(), device.service_descriptor(), hub, sockets].map(watched);
        // An interrupted sleep is a short one.
        let _ = poll(&mut descriptors, timeout);
        let [waker, exchange, hub, _] = descriptors.map(|descriptor| descriptor.any().unwrap_or(false));
        if waker {
            let _ = self.waker.0.read();
        }
        if exchange || hub {
            device.service();
        }
    }

    fn queue_pair(&self, handle: QueuePairHandle) -> Result<&QueuePair, SetupError> {
        let found = self.queue_pairs.get(handle.0 as usize).and_then(Option::as_deref);
        found.ok_or(SetupError::UnknownQueuePair(handle))
    }

    fn queue_pair_mut(&mut self, handle: QueuePairHandle) -> Result<&mut QueuePair, SetupError> {
        let found = self.queue_pairs.get_mut(handle.0 as usize).and_then(Option::as_deref_mut);
        found.ok_or(SetupError::UnknownQueuePair(handle))
    }

    /// Executes what a doorbell handed over.
    #[inline]
    fn ring(&mut self, handle: QueuePairHandle) {
        let Some(Some(queue_pair)) = self.queue_pairs.get_mut(handle.0 as usize) else { return };
        let active = self.seat.enter();
        let budget = self.tuning.doorbell_budget;
        let mut pass = self.means.pass(&mut self.mover, &active, self.seat.device(), &self.tuning, budget);
        queue_pair.send(&mut pass);
        self.unfinished |= pass.budget == 0;
    }

    /// Runs every queue pair that has news.
    #[inline]
    fn run(&mut self) {
        let mut budget = self.tuning.poll_budget;
        let mut active = None;
        // Where a used-up budget ended the last round this one starts, so that all have their turn.
        let count = self.queue_pairs.len();
        let mut next = self.first;
        for _ in 0..count {
            let index = next;
            next = if index + 1 < count { index + 1 } else { 0 };
            let Some(Some(queue_pair)) = self.queue_pairs.get_mut(index) else { continue };
            if !queue_pair.has_news() {
                continue;
            }
            let active = active.get_or_insert_with(|| self.seat.enter());
            let mut pass = self.means.pass(&mut self.mover, active, self.seat.device(), &self.tuning, budget);
            queue_pair.run(&mut pass);
            budget = pass.budget;
            if budget == 0 {
                self.first = next;
                break;
            }
        }
        drop(active);
        self.unfinished = budget == 0;
        if self.unfinished {
            // It took long, and so may the next.
            self.settle();
        }
    }

    /// Tells peers what was kept back for a packet to take along.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if self.poller.is_some() {
            self.queue_pairs.iter_mut().flatten().for_each(|queue_pair| queue_pair.settle());
        }
    }

    /// Notes what has happened to sockets.
    fn take_socket_news(&mut self) {
        let Self { poller: Some(poller), queue_pairs, .. } = self else { return };
        poller.take(|event| {
            if let Some(Some(queue_pair)) = queue_pairs.get_mut(event.tag as usize) {
                queue_pair.note(event.index, event.flags);
            }
        });
    }

    /// Notes what the mover is done with.
    fn take_moved(&mut self) {
        let Some(mover) = &mut self.mover else { return };
        while let Some(moved) = mover.pop() {
            let mut queue_pairs = self.queue_pairs.iter_mut().flatten();
            if let Some(queue_pair) = queue_pairs.find(|one| one.number() == moved.queue_pair) {
                queue_pair.requester.moved(&moved);
            }
        }
        if mover.has_ended() {
            self.give_up_moves();
        }
    }

    /// Nothing comes back any more.
    #[cold]
    fn give_up_moves(&mut self) {
        for queue_pair in self.queue_pairs.iter_mut().flatten() {
            if queue_pair.requester.forget_moves() {
                queue_pair.fail(Syndrome::LocalQueuePairOperation);
            }
        }
    }

    /// Waits until nothing of this queue pair is at the mover, having closed its link so that nothing new begins.
    #[cold]
    fn await_moves(&mut self, handle: QueuePairHandle) {
        const PAUSE: Duration = Duration::from_micros(50);
        while let Some(Some(queue_pair)) = self.queue_pairs.get_mut(handle.0 as usize)
            && queue_pair.requester.has_moves()
        {
            queue_pair.fail(Syndrome::Flushed);
            std::thread::sleep(PAUSE);
            self.take_moved();
        }
    }

    #[cold]
    fn look_after_sockets(&mut self) {
        const TRIM_TURNS: u32 = 1 << 12;
        self.seat.device().service_if_due();
        if self.turns.is_multiple_of(TRIM_TURNS) {
            self.means.mappings.trim();
        }
    }
}

impl Hardware for SoftHardware {
    type Doorbell<'a> = SoftDoorbell<'a>;

    #[inline]
    fn doorbell(&mut self, queue_pair: QueuePairHandle) -> SoftDoorbell<'_> {
        SoftDoorbell { hardware: self, queue_pair }
    }

    #[inline]
    fn progress(&mut self) -> Result<(), CompletionQueueError> {
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(SERVICE_TURNS) {
            self.look_after_sockets();
        }
        if self.mover.is_some() {
            self.take_moved();
        }
        if self.poller.is_some() {
            self.take_socket_news();
        }
        self.run();
        let state = self.means.completions.state();
        if state.is_err() {
            self.queue_pairs.iter_mut().flatten().for_each(|queue_pair| queue_pair.fail(Syndrome::Flushed));
        }
        state
    }

    /// Never asked for events: an engine that sleeps is woken by its peers.
    fn arm(&mut self, _value: [u8; 8]) {}
}

/// Doorbell of one queue pair.
#[derive(Debug)]
pub struct SoftDoorbell<'a> {
    hardware: &'a mut SoftHardware,
    queue_pair: QueuePairHandle,
}

impl SendDoorbell for SoftDoorbell<'_> {
    /// None: the queue is read in place.
    fn blue_flame_limit(&self) -> u32 {
        0
    }

    #[inline]
    fn ring(&mut self, _control: [u8; 8]) {
        self.hardware.ring(self.queue_pair);
    }

    fn blue_flame(&mut self, _wqe: WqeRing) {
        self.hardware.ring(self.queue_pair);
    }
}

/// A queue pair that no driver has taken over yet.
#[derive(Debug)]
pub(crate) struct NewQueuePair(Box<QueuePair>);

impl NewQueuePair {
    /// Its number.
    pub(crate) fn number(&self) -> u32 {
        self.0.number()
    }

    /// Its send queue.
    pub(crate) fn send_queue(&self) -> SendQueueMemory {
        self.0.requester.memory()
    }

    /// Its receive queue, unless it uses a shared one.
    pub(crate) fn receive_queue(&self) -> Option<ReceiveQueueMemory> {
        self.0.responder.memory()
    }
}

/// A shared receive queue that no driver has taken over yet.
#[derive(Debug)]
pub(crate) struct NewSharedReceive(ReceiveRing);

impl NewSharedReceive {
    /// Its memory.
    pub(crate) fn memory(&self) -> SharedReceiveQueueMemory {
        self.0.shared_memory()
    }
}

fn place<T>(places: &mut Vec<Option<T>>, index: u32, value: T) {
    let index = index as usize;
    if places.len() <= index {
        places.resize_with(index + 1, || None);
    }
    places[index] = Some(value);
}
