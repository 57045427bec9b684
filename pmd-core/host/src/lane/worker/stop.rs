//! Stopping: cancels, deadlines, faults and closing, and the proof that nothing is outstanding any more.
//!
//! ```text
//!  transfer: stop posting -- all completed --> outcome
//!                |  grace passed
//!                v
//!  route:    fail every queue pair -- all flushed --> outcomes
//!                |  refused, or grace passed
//!                v
//!  queue pair: reset (requests vanish) -- refused --> destroy -- refused --> end the lane, close the device
//! ```
//! Neither a reset nor closing waits on the lane's thread for a peer that moves bytes still: that process may be stopped. The
//! lane asks again, turn by turn, and goes on with its other routes.

use std::time::Instant;

use pmd_core::{queue::QueuePairState, sync::Ordering};

use super::{Closing, Worker, active::Notify};
use crate::{
    backend::Backend,
    lane::{RouteError, command::Reply},
    outage::LAST_WORDS,
    transfer::{LaneFault, RouteFault, TransferError},
};

/// Polls, of up to 64 completions each, that routes are granted before they are failed on request. Enough for every receive
/// of a route, and an end where other routes give completions without end.
const LAST_POLLS: u32 = 64;

impl<B: Backend> Worker<B> {
    /// Looks at what handles have asked for beside the ring. Routes without handles are closed only when the commands
    /// pushed before are taken (`drained`).
    #[cold]
    pub(super) fn look_at_flags(&mut self, drained: bool) -> Result<(), LaneFault> {
        if self.shared.shutdown.load(Ordering::Relaxed) {
            return Err(LaneFault::Shutdown);
        }
        self.abandoned |= drained && self.shared.abandoned.load(Ordering::Relaxed);
        for transfer in self.transfers.indexes(|active| active.completer.cancel_requested()) {
            self.stop_transfer(transfer, TransferError::Cancelled);
        }
        let asked =
            self.routes.indexes(|route| route.fault.is_none() && !route.closed && route.shared.is_to_go());
        if !asked.is_empty() {
            self.take_in_last_words()?;
        }
        for index in asked {
            self.take_down(index)?;
        }
        if !drained {
            self.shared.attention.raise();
            return Ok(());
        }
        for index in self.routes.indexes(|route| route.shared.abandoned.load(Ordering::Relaxed)) {
            self.begin_closing(index, None)?;
        }
        Ok(())
    }

    /// Takes in what has completed before routes are failed on request: the messages of a peer that said goodbye right
    /// after them, and the ends of transfers that had moved every byte.
    #[cold]
    fn take_in_last_words(&mut self) -> Result<(), LaneFault> {
        for _ in 0..LAST_POLLS {
            if !self.poll()? && !self.backend.is_unfinished() {
                break;
            }
        }
        Ok(())
    }

    /// Fails a route as a handle asked for; one whose peer has said goodbye only when nothing of a transfer is outstanding on
    /// it any more.
    #[cold]
    fn take_down(&mut self, index: u32) -> Result<(), LaneFault> {
        let Some(route) = self.routes.find(index) else { return Ok(()) };
        match (route.shared.requested_fault.get().copied(), route.shared.left()) {
            (Some(fault), _) => self.fail_route(index, fault),
            (None, Some(left)) => self.let_finish(index, left),
            (None, None) => Ok(()),
        }
    }

    /// Posts no more transfers of a route whose peer has left or closed its end, and waits for the completions of what is posted.
    /// The last of them raises attention again.
    fn let_finish(&mut self, index: u32, (until, fault): (Instant, RouteFault)) -> Result<(), LaneFault> {
        let Some(route) = self.routes.find_mut(index) else { return Ok(()) };
        let _ = route.shared.fault.set(fault);
        route.running.clear();
        route.messages.give_up(|_| true);
        self.stop_unposted(index, fault);
        match self.routes.find(index) {
            Some(route) if route.transfers > 0 && Instant::now() < until => self.note_timer(until),
            _ => self.fail_route(index, fault)?,
        }
        Ok(())
    }

    /// Takes a route down of which the device has found that a queue pair has ended. Where that says no more than that the peer's
    /// end is gone, the other queue pairs may be told why: a peer that refuses a request on one of them closes all, and their
    /// ends arrive in any order.
    #[cold]
    pub(super) fn lose_route(&mut self, index: u32, fault: RouteFault) -> Result<(), LaneFault> {
        let Some(route) = self.routes.find(index) else { return Ok(()) };
        if !fault.is_disconnect() || route.queues.len() == 1 {
            return self.fail_route(index, fault);
        }
        let left = route.shared.let_finish(Instant::now() + LAST_WORDS, fault);
        self.let_finish(index, left)
    }

    /// Posts no more of a transfer, and gives it its outcome once nothing of it is outstanding.
    pub(super) fn stop_transfer(&mut self, transfer: u32, reason: TransferError) {
        let Some(active) = self.transfers.find_mut(transfer) else { return };
        if active.grace_by.is_some() {
            return;
        }
        active.failure = active.failure.or(Some(reason));
        if let Some(route) = self.routes.find_mut(active.route) {
            if active.unposted() > 0 {
                route.running.retain(|&running| running != transfer);
            }
            if active.notify == Notify::Queued {
                let credits = route.messages.give_up(|queued| queued == transfer);
                route.shared.credits.give(credits);
            }
        }
        let grace_by = Instant::now() + self.config.grace;
        active.grace_by = Some(grace_by);
        if active.outstanding > 0 {
            self.note_timer(grace_by);
        }
        self.advance(transfer);
    }

    /// Takes a route down. The first fault counts.
    #[cold]
    pub(super) fn fail_route(&mut self, index: u32, fault: RouteFault) -> Result<(), LaneFault> {
        let Some(route) = self.routes.find_mut(index) else { return Ok(()) };
        if route.fault.is_some() || route.closed {
            return Ok(());
        }
        let fault = route.shared.cause(fault);
        route.fault = Some(fault);
        let _ = route.shared.fault.set(fault);
        route.running.clear();
        route.messages.down(route.shared.key.id, fault);
        for queue in route.queues.clone() {
            self.fail_queue(queue)?;
        }
        self.stop_unposted(index, fault);
        Ok(())
    }

    /// Fails the transfers of a route that are not posted in full. What is may still have moved: its completions tell.
    fn stop_unposted(&mut self, index: u32, fault: RouteFault) {
        for transfer in self.transfers.indexes(|active| active.route == index) {
            if let Some(active) = self.transfers.find_mut(transfer)
                && active.has_unposted()
            {
                active.failure = active.failure.or(Some(fault.transfer_error()));
            }
            self.advance(transfer);
        }
    }

    /// Moves a queue pair to the error state and waits, in later turns, for its flush completions.
    fn fail_queue(&mut self, index: u32) -> Result<(), LaneFault> {
        let Some(queue) = self.queues.find_mut(index) else { return Ok(()) };
        let handle = queue.handle;
        let stopped =
            self.backend.state(handle) == QueuePairState::Error || self.backend.fail(handle).is_ok();
        if !stopped {
            return self.reset_queue(index);
        }
        if !queue.window.is_empty() {
            let by = Instant::now() + self.config.grace;
            queue.drain_by = Some(by);
            self.note_timer(by);
        }
        Ok(())
    }

    /// Stops a queue pair that cannot be failed or gives no flush completions.
    #[cold]
    fn reset_queue(&mut self, index: u32) -> Result<(), LaneFault> {
        let Some(queue) = self.queues.find_mut(index) else { return Ok(()) };
        if !self.backend.quiesce(queue.handle) {
            let by = Instant::now() + self.config.grace;
            queue.drain_by = Some(by);
            self.note_timer(by);
            return Ok(());
        }
        queue.drain_by = None;
        let (handle, route, newest) = (queue.handle, queue.route, queue.window.newest());
        let outstanding = !queue.window.is_empty();
        if self.backend.reset(handle).is_err() {
            self.backend.destroy_queue_pair(handle).map_err(|_| LaneFault::CannotStop)?;
            queue.destroyed = true;
        }
        let fault = self.routes.find(route).and_then(|route| route.fault).unwrap_or(RouteFault::Unresponsive);
        if outstanding {
            self.settle(index, newest, Some(fault.transfer_error()));
        }
        Ok(())
    }

    /// Looks at deadlines when the first of them has passed, and at routes that are being closed.
    #[inline]
    pub(super) fn look_at_timers(&mut self) -> Result<bool, LaneFault> {
        let mut progressed = false;
        if let Some(at) = self.next_timer {
            let now = Instant::now();
            if now >= at {
                self.run_timers(now)?;
                progressed = true;
            }
        }
        if self.closing > 0 {
            progressed |= self.close_quiet_routes()?;
        }
        Ok(progressed)
    }

    #[cold]
    fn run_timers(&mut self, now: Instant) -> Result<(), LaneFault> {
        let passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        for transfer in self.transfers.indexes(|active| passed(active.deadline)) {
            self.stop_transfer(transfer, TransferError::DeadlineExceeded);
        }
        for transfer in self.transfers.indexes(|active| passed(active.grace_by)) {
            if let Some(active) = self.transfers.find(transfer) {
                self.fail_route(active.route, RouteFault::Unresponsive)?;
            }
        }
        let gone = |route: &super::RouteState| route.fault.is_none() && passed(route.shared.left_until());
        for index in self.routes.indexes(gone) {
            let fault = self.routes.find(index).and_then(|route| route.shared.leaving());
            self.fail_route(index, fault.unwrap_or(RouteFault::PeerDown))?;
        }
        for queue in self.queues.indexes(|queue| passed(queue.drain_by)) {
            if self.queues.find(queue).is_some_and(|queue| !queue.window.is_empty()) {
                self.reset_queue(queue)?;
            }
        }
        let overdue = |closing: &Closing| closing.by <= now;
        for index in self.routes.indexes(|route| route.closing.as_ref().is_some_and(overdue)) {
            self.fail_route(index, RouteFault::Closed)?;
        }
        self.next_timer = self.earliest_timer(now);
        Ok(())
    }

    /// The next time at which [`Worker::run_timers`] has something to do. What has passed has been dealt with.
    fn earliest_timer(&self, now: Instant) -> Option<Instant> {
        let of_transfers = self.transfers.iter().flat_map(|(_, active)| [active.deadline, active.grace_by]);
        let of_queues = self.queues.iter().map(|(_, queue)| queue.drain_by);
        let of_routes = self.routes.iter().flat_map(|(_, route)| {
            [route.closing.as_ref().map(|closing| closing.by), route.shared.left_until()]
        });
        of_transfers.chain(of_queues).chain(of_routes).flatten().filter(|&at| at > now).min()
    }

    /// Takes no more work for a route; once it is quiet it is closed and `reply` is given.
    pub(super) fn begin_closing(&mut self, index: u32, reply: Option<Reply<()>>) -> Result<(), LaneFault> {
        let by = Instant::now() + self.config.grace;
        let Some(route) = self.routes.find_mut(index) else { return Ok(()) };
        if route.closed {
            reply.into_iter().for_each(|reply| reply.give(Ok(())));
            self.forget(index);
            return Ok(());
        }
        if let Some(closing) = route.closing.as_mut() {
            closing.replies.extend(reply);
            return Ok(());
        }
        route.closing = Some(Closing { by, replies: reply.into_iter().collect() });
        let _ = route.shared.fault.set(RouteFault::Closed);
        self.closing += 1;
        self.note_timer(by);
        for transfer in self.transfers.indexes(|active| active.route == index && active.unposted() > 0) {
            self.stop_transfer(transfer, TransferError::RouteClosed);
        }
        Ok(())
    }

    /// Closes the routes on which nothing is outstanding any more and for which no peer moves bytes. Returns whether there was
    /// one.
    #[cold]
    fn close_quiet_routes(&mut self) -> Result<bool, LaneFault> {
        let mut any = false;
        for index in self.routes.indexes(|route| route.closing.is_some()) {
            if !self.is_quiet(index) {
                continue;
            }
            if self.quiesce(index) {
                self.close(index);
                any = true;
            } else {
                // From here on what is flushed is no news.
                self.fail_route(index, RouteFault::Closed)?;
            }
        }
        Ok(any)
    }

    /// Keeps peers from moving more bytes for a route; whether none does any more.
    fn quiesce(&mut self, index: u32) -> bool {
        let Some(route) = self.routes.find(index) else { return true };
        let queues = route.queues.iter().filter_map(|queue| self.queues.find(*queue));
        let there = queues.filter(|queue| !queue.destroyed);
        // All of them are told, whatever the first one answers.
        there.filter(|queue| !self.backend.quiesce(queue.handle)).count() == 0
    }

    fn is_quiet(&self, index: u32) -> bool {
        let Some(route) = self.routes.find(index) else { return false };
        let empty = |&queue: &u32| self.queues.find(queue).is_none_or(|queue| queue.window.is_empty());
        route.transfers == 0 && route.messages.outgoing.is_empty() && route.queues.iter().all(empty)
    }

    /// Gives everything of a quiet route back.
    fn close(&mut self, index: u32) {
        let Some(route) = self.routes.find_mut(index) else { return };
        let fault = route.fault.unwrap_or(RouteFault::Closed);
        route.closed = true;
        route.messages.down(route.shared.key.id, fault);
        let buffers = route.messages.buffers.take();
        let replies = route.closing.take().map_or_else(Vec::new, |closing| closing.replies);
        self.closing -= 1;
        let mut refused = None;
        for queue in std::mem::take(&mut route.queues) {
            let Some(queue) = self.queues.remove(queue).filter(|queue| !queue.destroyed) else { continue };
            refused = self.backend.destroy_queue_pair(queue.handle).err().or(refused);
        }
        if refused.is_some() {
            self.kept_buffers.extend(buffers);
        }
        for reply in replies {
            reply.give(refused.take().map_or(Ok(()), |error| Err(RouteError::Setup(error))));
        }
        self.forget(index);
    }

    /// Frees the place of a closed route without handles.
    fn forget(&mut self, index: u32) {
        let abandoned = |route: &super::RouteState| route.shared.abandoned.load(Ordering::Relaxed);
        if self.routes.find(index).is_some_and(|route| route.closed && abandoned(route)) {
            self.ready.retain(|&ready| ready != index);
            self.routes.remove(index);
        }
    }
}
