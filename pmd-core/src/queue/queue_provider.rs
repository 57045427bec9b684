//! [`QueueProvider`]: everything that offers the lower seam, as a [`Provider`].
//!
//! Back ends create one per device context, attach the queue pairs they create, and hand it to a lane, which posts
//! and polls through the [`Provider`] trait.

#![allow(unsafe_code)] // Attaching takes over queue memory that is known by address only.

use alloc::vec::Vec;

use super::{
    AttachError, CompletionQueue, HandleError, QueueError, QueuePairLimits, QueuePairState, ReceiveQueue,
    SendQueue, SharedReceiveQueue,
    attached::{Attached, QueuePair, ReceiveSide},
};
use crate::provider::{
    Completion, CompletionQueueError, CompletionQueueMemory, Hardware, PostError, Provider, QueuePairHandle,
    QueuePairNumber, ReceiveQueueMemory, ReceiveRequest, SendQueueMemory, SendRequest, SharedReceiveHandle,
    SharedReceiveQueueMemory,
};

/// Where a queue pair takes its receives from.
#[derive(Clone, Copy, Debug)]
pub enum ReceiveSource {
    /// Nowhere: it only sends, or only one-sided operations without immediate arrive.
    None,
    /// A receive queue of its own.
    Own(ReceiveQueueMemory),
    /// A shared receive queue of the same provider.
    Shared(SharedReceiveHandle),
}

/// The queue pairs, shared receive queues and completion queue of one device context.
///
/// Moves between threads, but is used by one at a time.
#[derive(Debug)]
pub struct QueueProvider<H> {
    hardware: H,
    completion_queue: CompletionQueue,
    attached: Attached,
    /// Why the completion queue is unusable, once it is.
    broken: Option<CompletionQueueError>,
}

impl<H: Hardware> QueueProvider<H> {
    /// A provider without queue pairs over a fresh completion queue.
    ///
    /// The queue should have an entry for every slot of every queue that will complete into it: after an error each
    /// outstanding request completes, signalled or not, and a device that finds no room breaks the queue.
    ///
    /// # Errors
    /// [`QueueError`] when the memory's description does not fit together.
    ///
    /// # Safety
    /// As [`CompletionQueue::new`].
    pub unsafe fn new(hardware: H, completion_queue: CompletionQueueMemory) -> Result<Self, QueueError> {
        // SAFETY: the caller's promise.
        let completion_queue = unsafe { CompletionQueue::new(completion_queue) }?;
        Ok(Self { hardware, completion_queue, attached: Attached::new(), broken: None })
    }

    /// Takes over a queue pair that the device has just created, in state [`QueuePairState::Reset`].
    ///
    /// # Errors
    /// [`AttachError`]; nothing was taken over.
    ///
    /// # Safety
    /// - The device's queue pair `number` works on this memory and completes into this provider's queue only, and
    ///   its indexes are zero.
    /// - As [`SendQueue::new`] and [`ReceiveQueue::new`] until the queue pair is detached.
    pub unsafe fn attach(
        &mut self,
        number: QueuePairNumber,
        send: SendQueueMemory,
        receive: ReceiveSource,
        limits: QueuePairLimits,
    ) -> Result<QueuePairHandle, AttachError> {
        if number.0 >> 24 != 0 {
            return Err(AttachError::NumberTooLarge { number: number.0 });
        }
        if self.attached.find(number.0).is_some() {
            return Err(AttachError::NumberInUse { number: number.0 });
        }
        let receive = match receive {
            ReceiveSource::None => ReceiveSide::None,
            // SAFETY: the caller's promise.
            ReceiveSource::Own(memory) => ReceiveSide::Own(unsafe {
                ReceiveQueue::new(memory, limits.receive_sges, limits.scatter_to_completion)?
            }),
            ReceiveSource::Shared(handle) => match self.attached.shared_mut(handle) {
                Ok(_) => ReceiveSide::Shared(handle),
                Err(_) => return Err(AttachError::UnknownSharedQueue { handle: handle.0 }),
            },
        };
        // SAFETY: the caller's promise.
        let send = unsafe { SendQueue::new(number, send, limits) }?;
        Ok(self.attached.insert(QueuePair { number, state: QueuePairState::Reset, send, receive }))
    }

    /// Takes over a shared receive queue that the device has just created.
    ///
    /// # Errors
    /// [`QueueError`] when the memory's description does not fit together.
    ///
    /// # Safety
    /// As [`SharedReceiveQueue::new`] until the queue is detached.
    pub unsafe fn attach_shared_receive(
        &mut self,
        memory: SharedReceiveQueueMemory,
        max_sges: u32,
        scatter_to_completion: bool,
    ) -> Result<SharedReceiveHandle, QueueError> {
        // SAFETY: the caller's promise.
        let queue = unsafe { SharedReceiveQueue::new(memory, max_sges, scatter_to_completion) }?;
        Ok(self.attached.insert_shared(queue))
    }

    /// Forgets a queue pair that the device has destroyed or reset. Its requests give no completions any more, and
    /// entries that it left in the completion queue are removed, so that a later queue pair of the same number
    /// never sees them.
    ///
    /// Returns the ids of receives of a shared queue that its removed entries had consumed: they are free, and
    /// nobody else hears of them.
    ///
    /// # Errors
    /// [`HandleError::UnknownQueuePair`].
    pub fn detach(&mut self, handle: QueuePairHandle) -> Result<Vec<u64>, HandleError> {
        let discarded = self.clean(handle)?;
        self.attached.remove(handle);
        Ok(discarded)
    }

    /// Starts a queue pair anew after the device has reset it: queues empty, indexes and doorbell records zero,
    /// entries removed and ids returned as by [`QueueProvider::detach`].
    ///
    /// # Errors
    /// [`HandleError::UnknownQueuePair`].
    pub fn reset(&mut self, handle: QueuePairHandle) -> Result<Vec<u64>, HandleError> {
        let discarded = self.clean(handle)?;
        let queue_pair = self.known(handle)?;
        queue_pair.send.reset();
        if let ReceiveSide::Own(queue) = &mut queue_pair.receive {
            queue.reset();
        }
        queue_pair.state = QueuePairState::Reset;
        Ok(discarded)
    }

    /// Forgets a shared receive queue that the device has destroyed.
    ///
    /// # Errors
    /// [`HandleError::SharedQueueInUse`] while queue pairs use it.
    pub fn detach_shared_receive(&mut self, handle: SharedReceiveHandle) -> Result<(), HandleError> {
        let queue_pairs = self.attached.users(handle);
        if queue_pairs != 0 {
            return Err(HandleError::SharedQueueInUse { handle: handle.0, queue_pairs });
        }
        let place = self.attached.shared.get_mut(handle.0 as usize).and_then(Option::take);
        place.map(drop).ok_or(HandleError::UnknownSharedQueue { handle: handle.0 })
    }

    /// Notes that the device has moved a queue pair to another state. For [`QueuePairState::Reset`] call
    /// [`QueueProvider::reset`].
    ///
    /// # Errors
    /// [`HandleError::Transition`] when the state table does not have the transition.
    pub fn set_state(&mut self, handle: QueuePairHandle, to: QueuePairState) -> Result<(), HandleError> {
        if to == QueuePairState::Reset {
            return Err(HandleError::CallReset);
        }
        let queue_pair = self.known(handle)?;
        queue_pair.state = queue_pair.state.transition(to)?;
        Ok(())
    }

    /// Asks the device for one event at the next completion, or at the next solicited or failed one. Entries that
    /// are there already raise none: poll once more after arming, then sleep.
    pub fn arm(&mut self, solicited_only: bool) {
        let register = self.completion_queue.arm(solicited_only);
        self.hardware.arm(register);
    }

    /// Notes that the event asked for has come. Call once per event, before arming again.
    pub fn event_received(&mut self) {
        self.completion_queue.event_received();
    }

    /// The device.
    pub fn hardware(&self) -> &H {
        &self.hardware
    }

    /// The device, to create or change what is attached here.
    pub fn hardware_mut(&mut self) -> &mut H {
        &mut self.hardware
    }

    /// Number of a queue pair.
    #[must_use]
    pub fn number(&self, handle: QueuePairHandle) -> Option<QueuePairNumber> {
        self.attached.queue_pair(handle).map(|queue_pair| queue_pair.number)
    }

    /// Handle of an attached queue pair.
    #[must_use]
    pub fn find(&self, number: QueuePairNumber) -> Option<QueuePairHandle> {
        self.attached.find(number.0)
    }

    /// Entries of the completion queue.
    #[must_use]
    pub fn completion_capacity(&self) -> u32 {
        self.completion_queue.capacity()
    }

    fn known(&mut self, handle: QueuePairHandle) -> Result<&mut QueuePair, HandleError> {
        self.attached.queue_pair_mut(handle).map_err(|_| HandleError::UnknownQueuePair { handle: handle.0 })
    }

    /// Removes a queue pair's completion entries and frees the shared receives they consumed.
    fn clean(&mut self, handle: QueuePairHandle) -> Result<Vec<u64>, HandleError> {
        let queue_pair = self.known(handle)?;
        let number = queue_pair.number.0;
        let shared = match queue_pair.receive {
            ReceiveSide::Shared(shared) => self.attached.shared_mut(shared).ok(),
            _ => None,
        };
        let mut discarded = Vec::new();
        let mut shared = shared;
        self.completion_queue.clean(number, |view| {
            if let Some(queue) = &mut shared
                && super::completion::is_responder(view)
            {
                discarded.extend(queue.retire(view.wqe_counter(), None));
            }
        });
        Ok(discarded)
    }

    /// Gives up after so many good completions, which are delivered first.
    #[cold]
    #[inline(never)]
    fn fail_after(
        &mut self,
        count: usize,
        error: CompletionQueueError,
    ) -> Result<usize, CompletionQueueError> {
        let error = self.fail(error);
        if count == 0 { Err(error) } else { Ok(count) }
    }

    #[cold]
    fn fail(&mut self, error: CompletionQueueError) -> CompletionQueueError {
        self.attached.fail_all();
        self.broken = Some(error);
        error
    }
}

impl<H: Hardware> Provider for QueueProvider<H> {
    #[inline(always)]
    fn post_send(&mut self, handle: QueuePairHandle, request: &SendRequest<'_>) -> Result<(), PostError> {
        let queue_pair = self.attached.queue_pair_mut(handle)?;
        if !queue_pair.state.takes_sends() {
            return Err(PostError::WrongState { state: queue_pair.state });
        }
        queue_pair.send.post(request)
    }

    #[inline]
    fn ring_send(&mut self, handle: QueuePairHandle) {
        if let Ok(queue_pair) = self.attached.queue_pair_mut(handle)
            && !queue_pair.send.is_rung()
        {
            queue_pair.send.ring(&mut self.hardware.doorbell(handle));
        }
    }

    #[inline]
    fn post_receive(
        &mut self,
        handle: QueuePairHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        let queue_pair = self.attached.queue_pair_mut(handle)?;
        if !queue_pair.state.takes_receives() {
            return Err(PostError::WrongState { state: queue_pair.state });
        }
        match &mut queue_pair.receive {
            ReceiveSide::Own(queue) => queue.post(request),
            ReceiveSide::Shared(_) => Err(PostError::UsesSharedQueue),
            ReceiveSide::None => Err(PostError::LargerThanQueue { needed: 1, capacity: 0 }),
        }
    }

    #[inline]
    fn ring_receive(&mut self, handle: QueuePairHandle) {
        if let Ok(QueuePair { receive: ReceiveSide::Own(queue), .. }) = self.attached.queue_pair_mut(handle) {
            queue.ring();
        }
    }

    #[inline]
    fn post_shared_receive(
        &mut self,
        handle: SharedReceiveHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        self.attached.shared_mut(handle)?.post(request)
    }

    #[inline]
    fn ring_shared_receive(&mut self, handle: SharedReceiveHandle) {
        if let Ok(queue) = self.attached.shared_mut(handle) {
            queue.ring();
        }
    }

    #[inline(always)]
    fn poll(&mut self, completions: &mut [Completion]) -> Result<usize, CompletionQueueError> {
        if let Some(error) = self.broken {
            return Err(error);
        }
        if let Err(error) = self.hardware.progress() {
            return Err(self.fail(error));
        }
        let attached = &mut self.attached;
        let (count, failure) = self
            .completion_queue
            .drain(completions, |completion, entry| attached.complete(entry, completion));
        self.completion_queue.publish();
        match failure {
            None => Ok(count),
            Some(error) => self.fail_after(count, error),
        }
    }

    fn state(&self, handle: QueuePairHandle) -> QueuePairState {
        self.attached.queue_pair(handle).map_or(QueuePairState::Reset, |queue_pair| queue_pair.state)
    }

    #[inline]
    fn send_room(&self, handle: QueuePairHandle) -> u32 {
        self.attached.queue_pair(handle).map_or(0, |queue_pair| queue_pair.send.free())
    }
}
