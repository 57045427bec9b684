//! Completions of sends. One answers for every earlier request of its queue pair, and a transfer is done when all of
//! its requests, on whichever queue pairs, have been answered for.

use pmd_core::provider::{Completion, CompletionError};

use super::{
    Worker,
    active::Notify,
    window::{Owner, Segment, WorkId},
};
use crate::{
    backend::Backend,
    lane::counters::Counter,
    transfer::{DeviceFault, LaneFault, Outcome, RouteFault, TransferError},
};

impl<B: Backend> Worker<B> {
    #[inline]
    pub(super) fn completed(&mut self, completion: &Completion) -> Result<(), LaneFault> {
        let id = WorkId::from_bits(completion.id);
        // Completions of an earlier life of the queue pair were answered for when it ended.
        let Some(queue) = self.queues.find(id.queue).filter(|queue| queue.owns(id)) else { return Ok(()) };
        if id.is_receive {
            return self.received(id, completion);
        }
        if !queue.window.contains(id.sequence) {
            return Ok(());
        }
        match completion.result {
            Ok(_) => self.settle(id.queue, id.sequence, None),
            Err(error) => {
                let device = self.backend.device_fault(completion);
                let keys = self.backend.key_mismatch(completion);
                let fault = keys.map_or_else(|| RouteFault::of(error, device), RouteFault::Keys);
                self.send_failed(id, (error, device), fault)?;
            }
        }
        Ok(())
    }

    /// Answers for everything up to position `through`: it moved, or failed for the given reason.
    pub(super) fn settle(&mut self, queue: u32, through: u32, failure: Option<TransferError>) {
        while let Some(state) = self.queues.find_mut(queue) {
            let route = state.route;
            let Some(part) = state.window.take_through(through) else { break };
            self.settle_part(route, part, failure);
        }
    }

    #[inline]
    fn settle_part(&mut self, route: u32, part: Segment, failure: Option<TransferError>) {
        self.both(route).add(Counter::Settled, u64::from(part.count));
        match part.owner {
            Owner::Transfer(transfer) => {
                self.note_landed(transfer, part, failure);
                self.settle_transfer(transfer, part.count, false, failure);
            }
            Owner::Notification { transfer, staged } => {
                self.release_staged(route, staged);
                self.settle_transfer(transfer, 1, true, failure);
            }
            Owner::Message { staged } => self.release_staged(route, staged),
            Owner::Filler => {}
        }
    }

    /// Counts entries that are in place, as far as all before them are too.
    #[inline]
    fn note_landed(&mut self, transfer: u32, part: Segment, failure: Option<TransferError>) {
        let Some(active) = self.transfers.find_mut(transfer).filter(|_| failure.is_none()) else { return };
        active.note_landed(part.first_entry, part.count);
    }

    #[inline]
    fn settle_transfer(&mut self, transfer: u32, count: u32, notified: bool, failure: Option<TransferError>) {
        let Some(active) = self.transfers.find_mut(transfer) else { return };
        active.outstanding -= count;
        match failure {
            // What was wrong with a request is told rather than that its route goes down with it.
            Some(error) => {
                let before = active.failure.filter(|before| !before.is_route_down() || error.is_route_down());
                active.failure = before.or(Some(error));
            }
            None if notified => active.notify = Notify::Done,
            None => {}
        }
        self.advance(transfer);
    }

    fn release_staged(&mut self, route: u32, staged: bool) {
        let Some(route) = self.routes.find_mut(route).filter(|_| staged) else { return };
        if let Some(buffers) = &mut route.messages.buffers {
            buffers.release_staged();
        }
    }

    /// The device gave a request back with an error: the queue pair, hence the route, is down.
    #[cold]
    fn send_failed(
        &mut self,
        id: WorkId,
        (error, device): (CompletionError, Option<DeviceFault>),
        found: RouteFault,
    ) -> Result<(), LaneFault> {
        let Some(queue) = self.queues.find(id.queue) else { return Ok(()) };
        let index = queue.route;
        self.both(index).failed_completion(error.syndrome);
        let Some(route) = self.routes.find(index) else { return Ok(()) };
        let before = route.fault;
        let fault = before.unwrap_or_else(|| route.shared.cause(found));
        // Before any outcome is given: whoever learns of the failure finds the route down.
        let _ = route.shared.fault.set(fault);
        // Of keys that differ nothing was carried out, and no entry is to blame. A device that took the queue pair down by itself
        // says nothing of unsignalled requests before this one.
        let is_own = !matches!(found, RouteFault::Keys(_) | RouteFault::Disconnected);
        let is_told = is_own && (before.is_none() && fault == found || is_told_beside(found, fault));
        if is_own && (before.is_none() || is_told) {
            // A reliable connection carries requests out in order: those before the failed one are done.
            self.settle(id.queue, id.sequence.wrapping_sub(1), None);
        }
        if is_told {
            self.blame(id, error, device);
        } else {
            self.settle(id.queue, id.sequence, Some(fault.transfer_error()));
        }
        if before.is_some() { Ok(()) } else { self.lose_route(index, fault) }
    }

    /// Tells the owner of a failed request what happened to it.
    fn blame(&mut self, id: WorkId, error: CompletionError, device: Option<DeviceFault>) {
        let CompletionError { syndrome, vendor, .. } = error;
        let Some(queue) = self.queues.find_mut(id.queue) else { return };
        let route = queue.route;
        let Some(part) = queue.window.take_through(id.sequence) else { return };
        let failure = match part.owner {
            Owner::Transfer(transfer) => self.transfers.find(transfer).map(|active| {
                let entry = part.first_entry;
                let remote = active.work.entries()[entry as usize].remote_address();
                match device {
                    Some(fault) => TransferError::Device { fault, entry, remote },
                    None => TransferError::Failed { syndrome, vendor, entry, remote },
                }
            }),
            _ => Some(TransferError::NotificationFailed { syndrome, vendor }),
        };
        self.settle_part(route, part, failure);
    }

    /// Takes a transfer as far as it can go now: its notification is queued, or it is done.
    pub(super) fn advance(&mut self, transfer: u32) {
        let Some(active) = self.transfers.find_mut(transfer) else { return };
        if active.is_quiet() {
            self.finish(transfer);
            return;
        }
        let index = active.route;
        let Some(route) = self.routes.find_mut(index) else { return };
        if active.failure.is_none() && active.may_notify(route.queues.len()) {
            active.notify = Notify::Queued;
            route.messages.notifications.push_back(transfer);
            self.make_ready(index);
        }
    }

    /// Gives a quiet transfer its outcome.
    fn finish(&mut self, transfer: u32) {
        let Some(active) = self.transfers.remove(transfer) else { return };
        if let Some(route) = self.routes.find_mut(active.route) {
            route.transfers -= 1;
            if route.transfers == 0 && route.shared.leaving().is_some() {
                self.shared.attention.raise();
            }
        }
        let both = self.both(active.route);
        let bytes = active.work.bytes();
        // The peer has been told that the bytes are there: a stop that comes after that stops nothing.
        let outcome = match active.failure.filter(|_| active.notify != Notify::Done) {
            None => {
                both.succeeded(active.work.direction(), bytes, active.completer.begun());
                Ok(Outcome { bytes })
            }
            Some(error) => {
                both.add(Counter::FailedTransfers, 1);
                Err(error)
            }
        };
        active.complete(outcome);
    }
}

/// Whether what a device `found` is told of its request although it is `fault` that takes the route down. A peer's refusal is,
/// also when the route was given up before it came; but what comes of a peer that leaves or is down is no news.
const fn is_told_beside(found: RouteFault, fault: RouteFault) -> bool {
    !found.is_disconnect() && !matches!(fault, RouteFault::PeerDown | RouteFault::PeerSilent { .. })
}
