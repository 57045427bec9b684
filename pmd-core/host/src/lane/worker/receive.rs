//! Completions of receives: messages from the peer.

use pmd_core::provider::{Completion, CompletionKind, ReceiveRequest};

use super::{Worker, window::WorkId};
use crate::{
    backend::Backend,
    lane::counters::Counter,
    transfer::{LaneFault, RouteFault},
};

impl<B: Backend> Worker<B> {
    /// One receive of a queue pair that is there.
    pub(super) fn received(&mut self, id: WorkId, completion: &Completion) -> Result<(), LaneFault> {
        let Some(queue) = self.queues.find(id.queue) else { return Ok(()) };
        let index = queue.route;
        let Some(route) = self.routes.find_mut(index) else { return Ok(()) };
        // Of a route that is down receives come back flushed, or too late.
        if route.fault.is_some() || route.closed {
            return Ok(());
        }
        if let Err(error) = completion.result {
            if route.shared.leaving().is_some() && route.queues.len() > 1 {
                return Ok(());
            }
            let fault = RouteFault::of(error, None);
            // A peer that closes its end has every receive of this one flushed: nothing that was to be received failed.
            if !fault.is_disconnect() {
                route.both(&self.shared.record).failed_completion(error.syndrome);
            }
            return self.lose_route(index, fault);
        }
        let result = self.take_message(index, id, completion);
        self.both(index).add(Counter::MessagesReceived, 1);
        match result {
            Ok(()) => Ok(()),
            Err(fault) => self.fail_route(index, fault),
        }
    }

    /// Delivers a message, posts its receive again and sees what it allows to be sent.
    fn take_message(&mut self, index: u32, id: WorkId, completion: &Completion) -> Result<(), RouteFault> {
        let (Some(route), Some(queue)) = (self.routes.find_mut(index), self.queues.find(id.queue)) else {
            return Ok(());
        };
        let name = route.shared.key.id;
        let credits = if completion.result == Ok(CompletionKind::ReceiveWriteImmediate) {
            // The length is that of what was written elsewhere; the receive's memory is untouched.
            route.messages.take_in_rider(name, completion.immediate)?
        } else {
            let received = (id.sequence, completion.byte_length);
            route.messages.take_in(name, received, completion.immediate)?
        };
        route.shared.credits.give(credits);
        if let Some(buffers) = &route.messages.buffers {
            let scatter = &[buffers.receive(id.sequence)];
            let request = ReceiveRequest { id: queue.receive_id(id.sequence), scatter };
            self.backend.post_receive(queue.handle, &request).map_err(RouteFault::Refused)?;
            self.backend.ring_receive(queue.handle);
        }
        if route.messages.is_waiting() {
            self.make_ready(index);
        }
        Ok(())
    }
}
