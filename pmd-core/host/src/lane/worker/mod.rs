//! The lane itself: everything that its one thread owns. Driven by [`LaneDriver`](super::LaneDriver).
//!
//! | file | part of a turn |
//! |---|---|
//! | `setup` | commands: open, connect and close routes, admit transfers and messages |
//! | `complete` | completions of sends: what has moved, what failed |
//! | `receive` | completions of receives: messages and credits |
//! | `post` | one batch per queue pair |
//! | `stop` | cancels, deadlines, faults, closing; the proof of quiet |
mod active;
mod buffers;
mod complete;
mod messages;
mod post;
mod receive;
mod setup;
mod slab;
mod stop;
mod turns;
mod window;

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use pmd_core::{provider::Completion, ring::mpsc::Receiver};

use self::{active::Active, messages::Messages, slab::Slab, turns::Turns, window::QueuePair};
pub(in crate::lane) use self::{buffers::Buffers, messages::HEADER_BYTES};
use super::{
    LaneConfig,
    command::{Command, Reply},
    counters::{Both, Counter, Record},
    route::RouteShared,
    shared::LaneShared,
};
use crate::{
    backend::Backend,
    transfer::{LaneFault, RouteFault, TransferError},
};

/// Completions taken in one poll.
const COMPLETIONS: usize = 64;

/// Commands taken in one turn, so that completions do not wait for a flood of them.
const COMMANDS: usize = 256;

/// What one thread drives.
#[derive(Debug)]
pub(super) struct Worker<B: Backend> {
    backend: B,
    config: LaneConfig,
    shared: Arc<LaneShared>,
    ring: Receiver<Command>,
    /// A command taken from the ring to see whether there is one.
    peeked: Option<Command>,
    routes: Slab<RouteState>,
    queues: Slab<QueuePair>,
    transfers: Slab<Active>,
    /// Routes with something to post, each once.
    ready: VecDeque<u32>,
    /// A message is put together here before it is posted inline.
    scratch: Vec<u8>,
    /// When to look at deadlines next.
    next_timer: Option<Instant>,
    /// Routes opened so far.
    route_count: u64,
    /// Queue pairs made so far, which tells lives of one index apart.
    queue_count: u32,
    /// Routes being closed.
    closing: u32,
    /// No handle is left: the lane ends with its last route.
    abandoned: bool,
    /// Message memory of queue pairs that could not be destroyed: the device may still write there.
    kept_buffers: Vec<Buffers>,
}

/// One route as the lane has it.
#[derive(Debug)]
struct RouteState {
    shared: Arc<RouteShared>,
    /// Its queue pairs; the first one carries the messages.
    queues: Vec<u32>,
    /// Transfers with entries to post, in the order of their turns.
    running: Turns,
    /// Most send-queue slots that an entry of these transfers takes.
    widest: u32,
    /// Queue pair that posts first in the next turn.
    first: usize,
    /// Transfers that are not quiet.
    transfers: u32,
    messages: Messages,
    fault: Option<RouteFault>,
    is_ready: bool,
    closing: Option<Closing>,
    closed: bool,
}

/// A route on its way to be closed.
#[derive(Debug)]
struct Closing {
    /// By when it is to be quiet of itself.
    by: Instant,
    replies: Vec<Reply<()>>,
}

impl<B: Backend> Worker<B> {
    pub(super) fn new(
        backend: B,
        config: LaneConfig,
        shared: Arc<LaneShared>,
        ring: Receiver<Command>,
    ) -> Self {
        let config = LaneConfig {
            batch: config.batch.max(1),
            signal_interval: config.signal_interval.clamp(1, config.batch.max(1)),
            transfers: config.transfers.max(1),
            ..config
        };
        Self {
            transfers: Slab::with_capacity(config.transfers),
            backend,
            config,
            shared,
            ring,
            peeked: None,
            routes: Slab::with_capacity(0),
            queues: Slab::with_capacity(0),
            ready: VecDeque::new(),
            scratch: Vec::new(),
            next_timer: None,
            route_count: 0,
            queue_count: 0,
            closing: 0,
            abandoned: false,
            kept_buffers: Vec::new(),
        }
    }

    pub(super) const fn config(&self) -> &LaneConfig {
        &self.config
    }

    /// One round of everything. Returns whether anything happened.
    ///
    /// # Errors
    /// Why the lane has to end.
    #[inline]
    pub(super) fn turn(&mut self) -> Result<bool, LaneFault> {
        // Flags are taken before commands and looked at after them: what a thread pushed before it raised a flag is
        // then in the lane's hands.
        let attention = self.shared.attention.take();
        let (commands, drained) = self.take_commands()?;
        if attention {
            self.look_at_flags(drained)?;
        }
        let completed = self.poll()?;
        let posted = self.post()?;
        let timed = self.look_at_timers()?;
        if self.abandoned && self.routes.len() == 0 {
            return Err(LaneFault::Shutdown);
        }
        Ok(commands || attention || completed || posted || timed || self.backend.is_unfinished())
    }

    /// Tells peers what the back end has kept back.
    #[inline]
    pub(super) fn keep_nothing_back(&mut self) {
        self.backend.settle();
    }

    /// Sleeps until something may be there.
    pub(super) fn park(&mut self, timeout: Duration) {
        let until_timer = self.next_timer.map(|at| at.saturating_duration_since(Instant::now()));
        let timeout = until_timer.map_or(timeout, |left| left.min(timeout));
        self.shared.attention.parking().announce();
        if !self.shared.attention.is_raised() && !self.has_command() {
            self.count(Counter::Parks, 1);
            self.backend.park(timeout);
        }
        self.shared.attention.parking().resume();
    }

    /// Ends the lane: stops the device, then fails everything that waits.
    pub(super) fn end(self, fault: LaneFault) {
        let Self {
            mut backend,
            mut queues,
            mut transfers,
            mut routes,
            ring,
            peeked,
            shared,
            kept_buffers,
            ..
        } = self;
        // A back end that panicked may panic again; its drop closes the device all the same.
        let _ = catch_unwind(AssertUnwindSafe(|| {
            for queue in queues.drain().filter(|queue| !queue.destroyed) {
                let _ = backend.destroy_queue_pair(queue.handle);
            }
        }));
        let _ = catch_unwind(AssertUnwindSafe(move || drop(backend)));
        drop(kept_buffers);
        for route in routes.drain() {
            route.end(fault);
        }
        for active in transfers.drain() {
            shared.record.counters.add(Counter::FailedTransfers, 1);
            let error = active.failure.unwrap_or(TransferError::LaneEnded { fault });
            active.completer.complete(Err(error), active.landed);
        }
        if let Some(command) = peeked {
            command.refuse(fault);
        }
        shared.end(fault, ring);
    }

    #[inline]
    fn count(&self, counter: Counter, amount: u64) {
        self.shared.record.counters.add(counter, amount);
    }

    /// Whether a command waits and could be taken.
    fn has_command(&mut self) -> bool {
        if self.peeked.is_none() && self.transfers.len() < self.config.transfers {
            self.peeked = self.ring.pop();
        }
        self.peeked.is_some()
    }

    /// Returns whether there were commands, and whether all were taken, those included that are being pushed.
    #[inline]
    fn take_commands(&mut self) -> Result<(bool, bool), LaneFault> {
        let mut any = false;
        for _ in 0..COMMANDS {
            if self.transfers.len() >= self.config.transfers {
                return Ok((any, false));
            }
            let Some(command) = self.peeked.take().or_else(|| self.ring.pop()) else {
                // A command may be hidden behind one that is being written: what was pushed before a flag was raised
                // is in the lane's hands only once nothing is on its way.
                return Ok((any, self.ring.is_drained()));
            };
            self.carry_out(command)?;
            any = true;
        }
        Ok((any, false))
    }

    #[inline]
    fn poll(&mut self) -> Result<bool, LaneFault> {
        let mut completions = [Completion::EMPTY; COMPLETIONS];
        let found = self.backend.poll(&mut completions).map_err(LaneFault::CompletionQueue)?;
        self.count(Counter::Polls, 1);
        for completion in &completions[..found.min(COMPLETIONS)] {
            self.completed(completion)?;
        }
        Ok(found > 0)
    }

    /// Where things are counted that concern this route.
    #[inline]
    fn both(&self, route: u32) -> Both<'_> {
        let of_route = self.routes.find(route).map(|route| &route.shared.record);
        Both { lane: &self.shared.record, route: of_route }
    }

    /// Makes sure that the route is looked at in the next round of posting.
    fn make_ready(&mut self, index: u32) {
        let Some(route) = self.routes.find_mut(index) else { return };
        if !route.is_ready {
            route.is_ready = true;
            self.ready.push_back(index);
        }
    }

    /// Sees to it that timers are looked at no later than `at`.
    fn note_timer(&mut self, at: Instant) {
        self.next_timer = Some(self.next_timer.map_or(at, |next| next.min(at)));
    }
}

impl RouteState {
    fn new(shared: Arc<RouteShared>, queues: Vec<u32>, messages: Messages) -> Self {
        Self {
            shared,
            queues,
            running: Turns::default(),
            widest: 1,
            first: 0,
            transfers: 0,
            messages,
            fault: None,
            is_ready: false,
            closing: None,
            closed: false,
        }
    }

    /// Where things are counted that concern it and its lane.
    #[inline]
    fn both<'a>(&'a self, lane: &'a Record) -> Both<'a> {
        Both { lane, route: Some(&self.shared.record) }
    }

    /// Whether anything waits to be posted.
    fn has_unposted(&self) -> bool {
        self.fault.is_none() && (!self.running.is_empty() || self.messages.is_waiting())
    }

    /// The lane ended.
    fn end(mut self, fault: LaneFault) {
        let fault = RouteFault::LaneEnded(fault);
        let _ = self.shared.fault.set(fault);
        self.messages.down(self.shared.key.id, fault);
        // The device is closed, so the route is.
        let replies = self.closing.map_or_else(Vec::new, |closing| closing.replies);
        replies.into_iter().for_each(|reply| reply.give(Ok(())));
    }
}
