//! The back end for ConnectX: rdma-core creates queue pairs, this driver writes their queue entries itself.
//!
//! ```text
//!   lane -> Mlx5Backend -> pmd_core::queue::QueueProvider<Mlx5Hardware>   post, ring, poll
//!             | create, connect, park                 | 8-byte doorbells, BlueFlame copies
//!             v                                       v
//!   libibverbs and libmlx5 (mlx5dv_create_qp, mlx5dv_init_obj)   doorbell register of the thread domain
//! ```
//! Queue pairs are created in a parent domain over a thread domain, which gives this back end a doorbell register that
//! no other thread writes; where the device has none to give, plain doorbells are used and BlueFlame is not. Scatter to
//! CQE is off. libmlx5 marks queues whose addresses it handed out as owned by direct verbs and keeps away from them;
//! ibv_post_send, ibv_post_recv and ibv_poll_cq are never called here.

mod domain;
mod hardware;
mod objects;
mod setup;

#[cfg(test)]
mod tests;

pub use hardware::Mlx5Hardware;

use std::{collections::VecDeque, time::Duration};

use pmd_core::{
    provider::{
        Completion, CompletionError, CompletionKind, CompletionQueueError, PostError, Provider,
        QueuePairHandle, QueuePairNumber, ReceiveRequest, SendRequest, SharedReceiveHandle,
    },
    queue::{QueuePairState, QueueProvider},
    wire::Syndrome,
};
use pmd_sys::Mlx5;

use crate::{
    backend::Waker,
    nic::{
        BackendError, CompletionQueue, CompletionRoom, Device, NicBackendOptions, QueuePair,
        SharedReceiveQueue,
    },
};
use domain::ThreadDomain;

/// Empty polls between two looks at the device's asynchronous events.
const POLLS_BETWEEN_EVENTS: u32 = 1 << 14;
/// Completions taken while parking.
const PARK_BATCH: usize = 16;

/// A lane's queue pairs on one ConnectX.
///
/// Fields are dropped in their order: queue pairs before what they complete into.
#[derive(Debug)]
pub struct Mlx5Backend {
    provider: QueueProvider<Mlx5Hardware>,
    /// By handle.
    queue_pairs: Vec<Option<Created>>,
    /// By handle.
    shared: Vec<SharedReceiveQueue>,
    domain: ThreadDomain,
    completion_queue: CompletionQueue,
    room: CompletionRoom,
    mlx5: Table,
    device: Device,
    waker: Waker,
    /// Whether an event was asked for and has not come.
    armed: bool,
    empty_polls: u32,
    /// Why the device gave the completion queue up, once it has.
    broken: Option<CompletionQueueError>,
    /// Completions taken while parking, and shared receives that a reset queue pair had consumed.
    backlog: VecDeque<Completion>,
}

/// A queue pair and the completion entries promised to it.
#[derive(Debug)]
struct Created {
    control: QueuePair,
    completions: u32,
    /// Whether it takes its receives from a shared queue.
    shares_receives: bool,
}

/// libmlx5's functions.
#[derive(Clone, Copy)]
struct Table(&'static Mlx5);

impl std::fmt::Debug for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("libmlx5")
    }
}

impl Mlx5Backend {
    /// Creates a completion queue on `device` and asks for a private doorbell register.
    ///
    /// # Errors
    /// [`BackendError`]; [`BackendError::NotMlx5`] on every other NIC.
    pub fn new(device: Device, options: &NicBackendOptions) -> Result<Self, BackendError> {
        let mlx5 = Mlx5::load()?;
        if !device.is_mlx5() {
            return Err(BackendError::NotMlx5 { device: device.name().to_owned() });
        }
        let completion_queue = CompletionQueue::create(&device, options.completions)?;
        let provider = objects::provider(mlx5, &completion_queue)?;
        let domain = ThreadDomain::new(&device)?;
        Ok(Self {
            room: CompletionRoom::new(provider.completion_capacity()),
            provider,
            queue_pairs: Vec::new(),
            shared: Vec::new(),
            domain,
            completion_queue,
            mlx5: Table(mlx5),
            device,
            waker: Waker::new().map_err(|error| crate::backend::SetupError::System {
                call: "eventfd",
                source: error.into(),
            })?,
            armed: false,
            empty_polls: 0,
            broken: None,
            backlog: VecDeque::with_capacity(PARK_BATCH),
        })
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Whether the doorbell register is this back end's own, so that BlueFlame is used.
    #[must_use]
    pub fn has_private_doorbell(&self) -> bool {
        self.domain.is_private()
    }

    /// What is not in the common path of a poll.
    #[cold]
    fn attend(&mut self, completions: &mut [Completion]) -> Result<usize, CompletionQueueError> {
        if self.completion_queue.sink().is_pending() {
            self.take_events();
        }
        if let Some(error) = self.broken {
            return Err(error);
        }
        let count = completions.len().min(self.backlog.len());
        for (place, kept) in completions.iter_mut().zip(self.backlog.drain(..count)) {
            *place = kept;
        }
        Ok(count)
    }

    /// Turns asynchronous events into errors that polling and posting report.
    fn take_events(&mut self) {
        let happened = self.completion_queue.sink().take();
        if happened.device_failed {
            self.broken = Some(CompletionQueueError::Library { errno: libc::EIO });
        } else if happened.completion_queue_failed {
            let capacity = self.provider.completion_capacity();
            self.broken = Some(CompletionQueueError::Overrun { capacity });
        }
        let all = self.broken.is_some() || happened.shared_receive_failed;
        for index in 0..self.queue_pairs.len() {
            let Some(Some(created)) = self.queue_pairs.get_mut(index) else { continue };
            let named = happened.queue_pairs.contains(&created.control.number().0);
            if all || named && created.control.has_failed() {
                // Moving it again makes sure that everything is flushed.
                let _ = created.control.fail();
                let _ = self.provider.set_state(QueuePairHandle(index as u32), QueuePairState::Error);
            }
        }
    }

    /// Keeps completions that came before the queue was armed for the next poll.
    fn take_early(&mut self) {
        let mut early = [Completion::EMPTY; PARK_BATCH];
        // A broken queue says so again in the next poll.
        if let Ok(count) = self.provider.poll(&mut early) {
            self.backlog.extend(early.iter().take(count));
        }
    }

    /// Reports shared receives whose completions went with the queue pair that had consumed them.
    fn report_discarded(&mut self, ids: Vec<u64>, queue_pair: QueuePairNumber) {
        let error = CompletionError { syndrome: Syndrome::Flushed, vendor: 0, is_receive: true };
        self.backlog.extend(ids.into_iter().map(|id| Completion {
            id,
            queue_pair,
            byte_length: 0,
            immediate: None,
            result: Err(error),
        }));
    }

    /// Drops kept completions of a queue pair that was reset. Those of shared receives stay: the memory is the shared
    /// queue's user's.
    fn forget_kept(&mut self, queue_pair: QueuePairNumber, shares_receives: bool) {
        self.backlog.retain(|kept| kept.queue_pair != queue_pair || shares_receives && is_receive(kept));
    }

    /// Whether there is something to report without sleeping.
    fn is_ready(&self) -> bool {
        !self.backlog.is_empty() || self.broken.is_some() || self.completion_queue.sink().is_pending()
    }

    fn sleep(&mut self, timeout: Duration) {
        if self.is_ready() {
            return;
        }
        if !self.armed {
            self.provider.arm(false);
            self.armed = true;
        }
        self.take_early();
        if self.is_ready() {
            return;
        }
        for _ in 0..self.completion_queue.sleep(&self.waker, timeout).completion_events {
            self.provider.event_received();
            self.armed = false;
        }
    }
}

fn is_receive(completion: &Completion) -> bool {
    match completion.result {
        Ok(kind) => matches!(kind, CompletionKind::Receive | CompletionKind::ReceiveWriteImmediate),
        Err(error) => error.is_receive,
    }
}

impl Provider for Mlx5Backend {
    #[inline]
    fn post_send(&mut self, queue_pair: QueuePairHandle, request: &SendRequest<'_>) -> Result<(), PostError> {
        self.provider.post_send(queue_pair, request)
    }

    #[inline]
    fn ring_send(&mut self, queue_pair: QueuePairHandle) {
        self.provider.ring_send(queue_pair);
    }

    #[inline]
    fn post_receive(
        &mut self,
        queue_pair: QueuePairHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        self.provider.post_receive(queue_pair, request)
    }

    #[inline]
    fn ring_receive(&mut self, queue_pair: QueuePairHandle) {
        self.provider.ring_receive(queue_pair);
    }

    #[inline]
    fn post_shared_receive(
        &mut self,
        queue: SharedReceiveHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        self.provider.post_shared_receive(queue, request)
    }

    #[inline]
    fn ring_shared_receive(&mut self, queue: SharedReceiveHandle) {
        self.provider.ring_shared_receive(queue);
    }

    #[inline]
    fn poll(&mut self, completions: &mut [Completion]) -> Result<usize, CompletionQueueError> {
        let mut count = 0;
        if self.is_ready() {
            count = self.attend(completions)?;
        }
        let rest = completions.get_mut(count..).unwrap_or_default();
        match self.provider.poll(rest) {
            Ok(polled) => count += polled,
            Err(error) if count == 0 => return Err(error),
            Err(_) => {}
        }
        if count == 0 {
            self.empty_polls = self.empty_polls.wrapping_add(1);
            if self.empty_polls.is_multiple_of(POLLS_BETWEEN_EVENTS) {
                self.device.read_events();
            }
        }
        Ok(count)
    }

    fn state(&self, queue_pair: QueuePairHandle) -> QueuePairState {
        self.provider.state(queue_pair)
    }

    #[inline]
    fn send_room(&self, queue_pair: QueuePairHandle) -> u32 {
        self.provider.send_room(queue_pair)
    }
}
