//! Commands: what handles ask for.

use std::{sync::Arc, time::Instant};

use pmd_core::{provider::ReceiveRequest, ring::credits, sync::Ordering};

use super::{
    HEADER_BYTES, RouteState, Worker,
    active::Active,
    buffers::Buffers,
    messages::Messages,
    window::{LARGEST_INDEX, QueuePair},
};
use crate::{
    backend::{Backend, ConnectOptions, QueuePairAddress, QueuePairConfig, SetupError},
    lane::{
        MINIMUM_RECEIVES, RouteConfig, RouteError, RouteId,
        command::{Command, OutgoingMessage, SetupCommand, Submission},
        counters::Counter,
        route::{RouteKey, RouteShared},
    },
    transfer::{LaneFault, RouteFault, TransferError},
};

impl<B: Backend> Worker<B> {
    #[inline]
    pub(super) fn carry_out(&mut self, command: Command) -> Result<(), LaneFault> {
        match command {
            Command::Submit(submission) => self.submit(submission),
            Command::Send(message) => self.send(message),
            Command::Setup(command) => return self.set_up(*command),
        }
        Ok(())
    }

    fn submit(&mut self, submission: Submission) {
        let index = submission.route.shared.key.index;
        let Some(route) = self.routes.find_mut(index) else {
            submission.completer.complete(Err(TransferError::RouteClosed), 0);
            return;
        };
        let mut active = Active::new(submission, route.queues.len());
        route.transfers += 1;
        route.both(&self.shared.record).add(Counter::Admitted, 1);
        if active.notification.is_some() {
            // So that queueing it, later, does not allocate.
            route.messages.notifications.reserve(route.transfers as usize);
        }
        let late = active.deadline.is_some_and(|deadline| deadline <= Instant::now());
        let late = late.then_some(TransferError::DeadlineExceeded);
        active.failure = route.refusal().map(RouteFault::transfer_error).or(late);
        let unposted = active.failure.is_none() && active.unposted() > 0;
        let slots = slots(u32::from(active.work.widest()));
        let (deadline, priority) = (active.deadline, active.priority);
        let transfer = self.transfers.insert(active);
        if unposted {
            route.widest = if route.running.is_empty() { slots } else { route.widest.max(slots) };
            route.running.push_back(transfer, priority);
            self.make_ready(index);
        }
        if let Some(deadline) = deadline {
            self.note_timer(deadline);
        }
        self.advance(transfer);
    }

    fn send(&mut self, message: OutgoingMessage) {
        let index = message.route.index;
        let Some(route) = self.route(message.route) else { return };
        if route.fault.is_none() && !route.closed {
            route.messages.outgoing.push_back(message);
            self.make_ready(index);
        }
    }

    fn set_up(&mut self, command: SetupCommand) -> Result<(), LaneFault> {
        match command {
            SetupCommand::Open { config, reply } => reply.give(self.open(config)),
            SetupCommand::Connect { route, addresses, options, reply } => {
                reply.give(self.connect(route, &addresses, &options));
            }
            SetupCommand::Close { route, reply } => match self.route(route) {
                // Routes leave the lane closed.
                None => reply.give(Ok(())),
                Some(_) => return self.begin_closing(route.index, Some(reply)),
            },
        }
        Ok(())
    }

    /// The route of this key, unless it is gone.
    fn route(&mut self, key: RouteKey) -> Option<&mut RouteState> {
        self.routes.find_mut(key.index).filter(|route| route.shared.key == key)
    }

    fn open(&mut self, config: RouteConfig) -> Result<Arc<RouteShared>, RouteError> {
        let RouteConfig { queue_pairs, config: sizes, handler, memory, message_receives, message_bytes } =
            config;
        check(queue_pairs, message_receives, message_bytes)?;
        let receives = message_receives.saturating_add(credits::RESERVED);
        let inline_limit = sizes.inline_bytes as usize;
        let message_bytes = if memory.is_some() { message_bytes } else { 0 };
        let buffers = memory.map(|registrar| {
            let too_large = || limit("message size", message_bytes as u64, u64::from(u32::MAX));
            let bytes = Buffers::bytes_for(receives, message_bytes).ok_or_else(too_large)?;
            Buffers::new(registrar.allocate(bytes)?, receives, message_bytes).ok_or_else(too_large)
        });
        let buffers = buffers.transpose()?;
        let message_queue = match &buffers {
            Some(buffers) => QueuePairConfig { receives: sizes.receives.max(buffers.receives()), ..sizes },
            None => sizes,
        };
        self.route_count += 1;
        let key = RouteKey { index: self.routes.next_index(), id: RouteId(self.route_count) };
        let (queues, addresses) = self.create_queues(key.index, queue_pairs, &message_queue, &sizes)?;
        let shared = Arc::new(RouteShared::new(
            key,
            addresses.into(),
            sizes.sges,
            message_bytes,
            self.config.latencies,
        ));
        let messages = Messages::new(handler, buffers, message_receives, inline_limit);
        self.scratch.reserve(message_bytes + HEADER_BYTES);
        self.ready.reserve(self.routes.len() + 1);
        self.routes.insert(RouteState::new(Arc::clone(&shared), queues, messages));
        Ok(shared)
    }

    /// Creates a route's queue pairs, or none.
    fn create_queues(
        &mut self,
        route: u32,
        count: usize,
        first: &QueuePairConfig,
        others: &QueuePairConfig,
    ) -> Result<(Vec<u32>, Vec<QueuePairAddress>), SetupError> {
        let mut queues = Vec::with_capacity(count);
        let mut addresses = Vec::with_capacity(count);
        for number in 0..count {
            let config = if number == 0 { first } else { others };
            match self.create_queue(route, config) {
                Ok((queue, address)) => {
                    queues.push(queue);
                    addresses.push(address);
                }
                Err(error) => {
                    for queue in queues {
                        self.discard_queue(queue);
                    }
                    return Err(error);
                }
            }
        }
        Ok((queues, addresses))
    }

    fn create_queue(
        &mut self,
        route: u32,
        config: &QueuePairConfig,
    ) -> Result<(u32, QueuePairAddress), SetupError> {
        let index = self.queues.next_index();
        if index > LARGEST_INDEX {
            return Err(limit("number of queue pairs in a lane", u64::from(index), u64::from(LARGEST_INDEX)));
        }
        let handle = self.backend.create_queue_pair(config)?;
        let address = self.backend.address(handle).inspect_err(|_| {
            let _ = self.backend.destroy_queue_pair(handle);
        })?;
        self.queue_count = self.queue_count.wrapping_add(1);
        let queue = QueuePair::new(handle, route, index, self.queue_count, config.send_slots.max(1));
        Ok((self.queues.insert(queue), address))
    }

    /// Destroys a queue pair on which nothing was posted.
    fn discard_queue(&mut self, queue: u32) {
        if let Some(queue) = self.queues.remove(queue) {
            let _ = self.backend.destroy_queue_pair(queue.handle);
        }
    }

    fn connect(
        &mut self,
        key: RouteKey,
        addresses: &[QueuePairAddress],
        options: &ConnectOptions,
    ) -> Result<(), RouteError> {
        let Some(route) = self.route(key) else { return Err(RouteError::Failed(RouteFault::Closed)) };
        if let Some(fault) = route.refusal() {
            return Err(RouteError::Failed(fault));
        }
        if route.shared.connected.load(Ordering::Relaxed) {
            return Err(RouteError::AlreadyConnected);
        }
        let queue_pairs = route.queues.len();
        if addresses.len() != queue_pairs {
            return Err(RouteError::AddressCount { given: addresses.len(), queue_pairs });
        }
        let (queues, shared) = (route.queues.clone(), Arc::clone(&route.shared));
        self.connect_queues(&queues, addresses, options)?;
        self.post_all_receives(key.index).map_err(RouteError::Failed)?;
        shared.credits.give(MINIMUM_RECEIVES);
        shared.connected.store(true, Ordering::Release);
        Ok(())
    }

    /// Connects all queue pairs, or leaves all in RESET.
    fn connect_queues(
        &mut self,
        queues: &[u32],
        addresses: &[QueuePairAddress],
        options: &ConnectOptions,
    ) -> Result<(), SetupError> {
        for (position, (&queue, address)) in queues.iter().zip(addresses).enumerate() {
            let Some(state) = self.queues.find_mut(queue) else { continue };
            if let Err(error) = self.backend.connect(state.handle, address, options) {
                for &queue in &queues[..position] {
                    if let Some(state) = self.queues.find(queue) {
                        let _ = self.backend.reset(state.handle);
                    }
                }
                return Err(error);
            }
            state.capacity = self.backend.send_room(state.handle).max(1);
        }
        Ok(())
    }

    /// Posts every receive of a route that was just connected.
    fn post_all_receives(&mut self, index: u32) -> Result<(), RouteFault> {
        let Some(route) = self.routes.find(index) else { return Ok(()) };
        let (Some(buffers), Some(&first)) = (&route.messages.buffers, route.queues.first()) else {
            return Ok(());
        };
        let Some(queue) = self.queues.find(first) else { return Ok(()) };
        for buffer in 0..buffers.receives() {
            let request =
                ReceiveRequest { id: queue.receive_id(buffer), scatter: &[buffers.receive(buffer)] };
            self.backend.post_receive(queue.handle, &request).map_err(RouteFault::Refused)?;
        }
        self.backend.ring_receive(queue.handle);
        Ok(())
    }
}

impl RouteState {
    /// Why the route takes no more work, if it does not.
    fn refusal(&self) -> Option<RouteFault> {
        let closing = self.closed || self.closing.is_some();
        self.fault.or_else(|| self.shared.leaving()).or_else(|| closing.then_some(RouteFault::Closed))
    }
}

/// Send-queue slots of a READ or WRITE with `sges` entries: 16 bytes each for control, remote address and entries.
pub(super) const fn slots(sges: u32) -> u32 {
    (2 + sges).div_ceil(4)
}

fn check(queue_pairs: usize, receives: u32, bytes: usize) -> Result<(), RouteError> {
    if queue_pairs == 0 {
        return Err(RouteError::NoQueuePairs);
    }
    if receives < MINIMUM_RECEIVES || bytes == 0 {
        return Err(RouteError::MessageSize { receives, minimum: MINIMUM_RECEIVES, bytes });
    }
    Ok(())
}

const fn limit(what: &'static str, wanted: u64, limit: u64) -> SetupError {
    SetupError::Limit { what, wanted, limit }
}
