//! Posting: one batch per queue pair and turn, one doorbell for it, the last work request of it signalled.
//!
//! # Turns
//! A batch takes entries from the transfers of the route in turn, so that many transfers advance together; those of high
//! priority have most of the turns ([`Turns`](super::turns::Turns)). A batch is
//! posted when it can be full, or when it holds all there is, or when the queue pair has nothing to do: a queue that
//! is drained a little at a time does not make for many small doorbells.

use std::mem;

use pmd_core::provider::{Operation, Payload, PostError, SendFlags, SendRequest};

use super::{
    RouteState, Worker,
    active::{Active, Notify},
    messages::Kind,
    slab::Slab,
    window::{Owner, QueuePair},
};
use crate::{
    backend::Backend,
    lane::{LaneConfig, command::OutgoingMessage, counters::Posted},
    transfer::{Direction, LaneFault, RouteFault, TransferError},
};

/// Slots that entries leave free: for messages, and for a NOP that asks for a completion when the last request of a
/// batch was refused.
const RESERVED_SLOTS: u32 = 8;

impl<B: Backend> Worker<B> {
    /// One batch on each queue pair that has something to post.
    #[inline]
    pub(super) fn post(&mut self) -> Result<bool, LaneFault> {
        let mut posted = false;
        for _ in 0..self.ready.len() {
            let Some(index) = self.ready.pop_front() else { break };
            posted |= self.post_route(index)?;
            let Some(route) = self.routes.find_mut(index) else { continue };
            route.is_ready = route.has_unposted();
            if route.is_ready {
                self.ready.push_back(index);
            }
        }
        Ok(posted)
    }

    fn post_route(&mut self, index: u32) -> Result<bool, LaneFault> {
        let Some(route) = self.routes.find_mut(index) else { return Ok(false) };
        let (count, first) = (route.queues.len(), route.first);
        route.first = (first + 1) % count;
        let mut posted = false;
        for offset in 0..count {
            posted |= self.post_queue(index, (first + offset) % count)?;
        }
        Ok(posted)
    }

    fn post_queue(&mut self, index: u32, position: usize) -> Result<bool, LaneFault> {
        let Self { backend, routes, queues, transfers, scratch, config, shared, .. } = self;
        let Some(route) = routes.find_mut(index).filter(|route| route.has_unposted()) else {
            return Ok(false);
        };
        let Some(queue) = queues.find_mut(route.queues[position]) else { return Ok(false) };
        let mut batch = Batch {
            backend,
            route,
            queue,
            transfers,
            scratch,
            config,
            posted: 0,
            counts: Posted::default(),
            refused: None,
        };
        let result = batch.fill(position == 0);
        let Batch { posted, counts, refused, .. } = batch;
        if posted > 0 {
            let handle = queue.handle;
            backend.ring_send(handle);
        }
        route.both(&shared.record).posted(&counts);
        if let Some(transfer) = refused {
            self.advance(transfer);
        }
        if let Err(fault) = result {
            self.fail_route(index, fault)?;
        }
        Ok(posted > 0 || refused.is_some())
    }
}

/// What goes with one doorbell.
struct Batch<'a, B> {
    backend: &'a mut B,
    route: &'a mut RouteState,
    queue: &'a mut QueuePair,
    transfers: &'a mut Slab<Active>,
    scratch: &'a mut Vec<u8>,
    config: &'a LaneConfig,
    /// Work requests so far.
    posted: u32,
    /// What they are.
    counts: Posted,
    /// A transfer that the back end refused; it ends the batch.
    refused: Option<u32>,
}

/// What became of one post.
enum Posting {
    Done,
    Full,
    Refused(PostError),
}

impl<B: Backend> Batch<'_, B> {
    fn fill(&mut self, with_messages: bool) -> Result<(), RouteFault> {
        let entries = self.entries();
        if self.queue.window.unsignalled() > 0 {
            self.filler()?;
        }
        entries?;
        if with_messages { self.messages() } else { Ok(()) }
    }

    /// Posts entries of the transfers in turn.
    fn entries(&mut self) -> Result<(), RouteFault> {
        let size = self.size();
        while self.posted < size {
            let Some(&transfer) = self.route.running.front() else { break };
            let share = (size / self.route.running.len() as u32).max(1).min(size - self.posted);
            match self.entries_of(transfer, share, size) {
                Posting::Done => {}
                Posting::Full => break,
                // The queue pair is in the error state: no other transfer would fare better.
                Posting::Refused(error @ PostError::WrongState { .. }) => {
                    return Err(RouteFault::Refused(error));
                }
                Posting::Refused(error) => {
                    self.refuse(transfer, error);
                    break;
                }
            }
        }
        Ok(())
    }

    /// Work requests to post now.
    fn size(&self) -> u32 {
        let mut wanted = 0;
        for &transfer in self.route.running.iter() {
            let unposted = |active: &Active| active.unposted().min(active.share);
            wanted += self.transfers.find(transfer).map_or(0, unposted);
            if wanted >= self.config.batch {
                break;
            }
        }
        let wanted = wanted.min(self.config.batch);
        if wanted == 0 {
            return 0;
        }
        let room = self.backend.send_room(self.queue.handle).saturating_sub(RESERVED_SLOTS);
        let fitting = room / self.route.widest;
        if self.queue.window.is_empty() {
            return wanted.min(fitting.max(1));
        }
        let full = wanted.min((self.queue.capacity / (2 * self.route.widest)).max(1));
        if fitting < full { 0 } else { wanted.min(fitting) }
    }

    /// Posts up to `share` entries of the transfer whose turn it is, then ends its turn.
    #[inline]
    fn entries_of(&mut self, transfer: u32, share: u32, size: u32) -> Posting {
        let Some(active) = self.transfers.find_mut(transfer) else {
            self.route.running.pop_front();
            return Posting::Done;
        };
        for _ in 0..share.min(active.unposted()) {
            let rider = take_rider(self.route, active);
            let due = self.queue.window.unsignalled() + 1 >= self.config.signal_interval;
            let signalled = due || self.posted + 1 == size || rider.is_some();
            let posted = post_entry(self.backend, self.queue, active, signalled, rider);
            if posted.is_err() && rider.is_some() {
                self.route.shared.credits.give(1);
            }
            match posted {
                Ok(()) => {
                    self.posted += 1;
                    self.counts.entry(active.work.direction(), rider.is_some());
                }
                Err(PostError::QueueFull { .. }) if !self.queue.window.is_empty() => return Posting::Full,
                Err(error) => return Posting::Refused(error),
            }
            self.queue.window.push(Owner::Transfer(transfer), active.next_entry, signalled);
            active.next_entry += 1;
            active.outstanding += 1;
            if rider.is_some() {
                active.notify = Notify::Riding;
            }
        }
        self.route.running.pop_front();
        if active.unposted() > 0 {
            self.route.running.push_back(transfer, active.priority);
        } else if active.may_notify(self.route.queues.len()) {
            active.notify = Notify::Queued;
            self.route.messages.notifications.push_back(transfer);
        }
        Posting::Done
    }

    /// Gives a transfer up of which a request was refused.
    #[cold]
    fn refuse(&mut self, transfer: u32, error: PostError) {
        self.route.running.pop_front();
        if let Some(active) = self.transfers.find_mut(transfer) {
            active.failure = Some(TransferError::Refused { entry: active.next_entry, error });
            self.refused = Some(transfer);
        }
    }

    /// Asks for a completion of what was posted without one.
    #[cold]
    fn filler(&mut self) -> Result<(), RouteFault> {
        let request =
            SendRequest { id: self.queue.send_id(), operation: Operation::Nop, flags: SendFlags::SIGNALED };
        self.backend.post_send(self.queue.handle, &request).map_err(RouteFault::Refused)?;
        self.queue.window.push(Owner::Filler, 0, true);
        self.posted += 1;
        self.counts.nops += 1;
        Ok(())
    }

    /// Posts messages as far as there are credits and room.
    fn messages(&mut self) -> Result<(), RouteFault> {
        while let Some(message) = self.route.messages.outgoing.pop_front() {
            let OutgoingMessage { bytes, immediate, .. } = &message;
            let owner = |staged| Owner::Message { staged };
            if !self.message(Kind::Data, bytes.as_slice(), *immediate, owner)? {
                self.route.messages.outgoing.push_front(message);
                return Ok(());
            }
        }
        while let Some(&transfer) = self.route.messages.notifications.front() {
            if !self.notification(transfer)? {
                break;
            }
            self.route.messages.notifications.pop_front();
        }
        if self.route.messages.account.owes() {
            self.message(Kind::Credits, &[], None, |staged| Owner::Message { staged })?;
        }
        Ok(())
    }

    /// Posts the notification of a transfer. Returns whether it is off the list.
    fn notification(&mut self, transfer: u32) -> Result<bool, RouteFault> {
        let Some(active) = self.transfers.find_mut(transfer) else { return Ok(true) };
        let Some(notification) = active.notification.take() else { return Ok(true) };
        if !self.route.messages.account.take_reserved() && !self.route.shared.credits.take() {
            active.notification = Some(notification);
            self.counts.credit_waits += u32::from(!mem::replace(&mut active.waits_for_credit, true));
            return Ok(false);
        }
        let owner = |staged| Owner::Notification { transfer, staged };
        let posted = self.message(Kind::Data, &notification.bytes, notification.immediate, owner)?;
        let Some(active) = self.transfers.find_mut(transfer) else { return Ok(true) };
        if posted {
            active.notify = Notify::Posted;
            active.outstanding += 1;
        } else {
            self.route.messages.account.put_reserved();
            active.notification = Some(notification);
        }
        Ok(posted)
    }

    /// Posts one message, inline or from a staging buffer. Returns whether there was room.
    fn message(
        &mut self,
        kind: Kind,
        bytes: &[u8],
        immediate: Option<u32>,
        owner: impl Fn(bool) -> Owner,
    ) -> Result<bool, RouteFault> {
        let messages = &mut self.route.messages;
        let header = messages.header(kind);
        self.scratch.clear();
        self.scratch.extend_from_slice(&header.emit());
        self.scratch.extend_from_slice(bytes);
        let staged = self.scratch.len() > messages.inline_limit;
        let mut sge = [pmd_core::memory::Sge::default()];
        if staged {
            let Some(staging) = messages.buffers.as_mut().and_then(|buffers| buffers.stage(self.scratch))
            else {
                messages.take_back(header);
                return Ok(false);
            };
            sge = [staging];
        }
        let local = if staged { Payload::Gather(&sge) } else { Payload::Inline(self.scratch) };
        let operation = Operation::Send { local, immediate };
        let request = SendRequest { id: self.queue.send_id(), operation, flags: SendFlags::SIGNALED };
        let result = self.backend.post_send(self.queue.handle, &request);
        if result.is_err() {
            messages.take_back(header);
            if let Some(buffers) = messages.buffers.as_mut().filter(|_| staged) {
                buffers.unstage();
            }
        }
        match result {
            Ok(()) => {}
            Err(PostError::QueueFull { .. }) if !self.queue.window.is_empty() => return Ok(false),
            Err(error) => return Err(RouteFault::Refused(error)),
        }
        self.queue.window.push(owner(staged), 0, true);
        self.posted += 1;
        self.counts.sends += 1;
        Ok(true)
    }
}

/// The immediate that rides on the next entry of a transfer, with the credit that it takes. Where a message would be
/// overtaken, or there is no credit, it waits its turn as any other notification.
#[inline]
fn take_rider(route: &RouteState, active: &Active) -> Option<u32> {
    let immediate = active.rider(route.queues.len())?;
    (route.messages.are_all_posted() && route.shared.credits.take()).then_some(immediate)
}

/// Posts the next entry of a transfer, with its notification if that rides on it.
#[inline]
fn post_entry<B: Backend>(
    backend: &mut B,
    queue: &QueuePair,
    active: &Active,
    signalled: bool,
    rider: Option<u32>,
) -> Result<(), PostError> {
    let entry = &active.work.entries()[active.next_entry as usize];
    let (remote, local) = (entry.remote_address(), active.work.local(entry));
    let operation = match (active.work.direction(), rider) {
        (Direction::Read, _) => Operation::Read { remote, local },
        (Direction::Write, None) => Operation::Write { remote, local: Payload::Gather(local) },
        (Direction::Write, Some(immediate)) => {
            Operation::WriteImmediate { remote, local: Payload::Gather(local), immediate }
        }
    };
    let flags = if signalled { SendFlags::SIGNALED } else { SendFlags::empty() };
    backend.post_send(queue.handle, &SendRequest { id: queue.send_id(), operation, flags })
}
