//! Posting, ringing and polling through libibverbs.
#![allow(unsafe_code)] // calls through the provider's function pointers

use pmd_core::{
    provider::{
        Completion, CompletionQueueError, PostError, Provider, QueuePairHandle, ReceiveRequest, SendRequest,
        SharedReceiveHandle,
    },
    queue::QueuePairState,
};
use pmd_sys::{
    inline::{ibv_poll_cq, ibv_post_recv, ibv_post_srq_recv},
    verbs::ibv_wc,
};

use super::{
    BATCH, VerbsBackend,
    objects::{Queues, Receives},
};

/// Empty polls between two looks at the device's asynchronous events.
const POLLS_BETWEEN_EVENTS: u32 = 1 << 14;

impl Provider for VerbsBackend {
    #[inline]
    fn post_send(&mut self, queue_pair: QueuePairHandle, request: &SendRequest<'_>) -> Result<(), PostError> {
        let queues = self.objects.queues_mut(queue_pair)?;
        if !queues.state.takes_sends() {
            return Err(PostError::WrongState { state: queues.state });
        }
        queues.send.post(request)
    }

    #[inline]
    fn ring_send(&mut self, queue_pair: QueuePairHandle) {
        if let Ok(queues) = self.objects.queues_mut(queue_pair) {
            // SAFETY: the queue pair lives as long as its queues; callers of `post_send` name registered memory.
            let refused = unsafe { queues.send.ring(queues.queue_pair.as_ptr()) };
            if refused {
                self.refused(queue_pair);
            }
        }
    }

    #[inline]
    fn post_receive(
        &mut self,
        queue_pair: QueuePairHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        let queues = self.objects.queues_mut(queue_pair)?;
        if !queues.state.takes_receives() {
            return Err(PostError::WrongState { state: queues.state });
        }
        match &mut queues.receive {
            Receives::Own(chain) => chain.post(request),
            Receives::Shared => Err(PostError::UsesSharedQueue),
            Receives::None => Err(PostError::LargerThanQueue { needed: 1, capacity: 0 }),
        }
    }

    #[inline]
    fn ring_receive(&mut self, queue_pair: QueuePairHandle) {
        if let Ok(Queues { queue_pair: raw, receive: Receives::Own(chain), .. }) =
            self.objects.queues_mut(queue_pair)
        {
            let raw = raw.as_ptr();
            // SAFETY: the queue pair lives as long as its queues, and the chain is made of live requests.
            let refused = chain.ring(|list, bad| unsafe { ibv_post_recv(raw, list, bad) });
            if refused {
                self.refused(queue_pair);
            }
        }
    }

    #[inline]
    fn post_shared_receive(
        &mut self,
        queue: SharedReceiveHandle,
        request: &ReceiveRequest<'_>,
    ) -> Result<(), PostError> {
        self.objects.shared_mut(queue)?.post(request)
    }

    #[inline]
    fn ring_shared_receive(&mut self, queue: SharedReceiveHandle) {
        let Some(shared) = self.shared.get(queue.0 as usize) else { return };
        if let Ok(chain) = self.objects.shared_mut(queue) {
            let raw = shared.as_ptr();
            // SAFETY: the queue is live, and the chain is made of live requests.
            let refused = chain.ring(|list, bad| unsafe { ibv_post_srq_recv(raw, list, bad) });
            self.objects.has_refusals |= refused;
        }
    }

    #[inline]
    fn poll(&mut self, completions: &mut [Completion]) -> Result<usize, CompletionQueueError> {
        if self.completion_queue.sink().is_pending() {
            self.take_events();
        }
        if let Some(error) = self.broken {
            return Err(error);
        }
        let mut count = 0;
        while count < completions.len() {
            let wanted = (completions.len() - count).min(BATCH);
            let taken = self.take(wanted)?;
            for index in 0..taken {
                match self.objects.complete(&self.taken.0[index]) {
                    Ok(Some(completion)) => {
                        completions[count] = completion;
                        count += 1;
                    }
                    Ok(None) => {}
                    Err(error) => return self.give_up(error, count),
                }
            }
            if taken < wanted {
                break;
            }
        }
        if self.objects.has_refusals {
            count += self.objects.report_refusals(&mut completions[count..]);
        }
        if count == 0 {
            self.count_empty_poll();
        }
        Ok(count)
    }

    fn state(&self, queue_pair: QueuePairHandle) -> QueuePairState {
        self.objects.queues(queue_pair).map_or(QueuePairState::Reset, |queues| queues.state)
    }

    #[inline]
    fn send_room(&self, queue_pair: QueuePairHandle) -> u32 {
        self.objects.queues(queue_pair).map_or(0, |queues| queues.send.room())
    }
}

impl VerbsBackend {
    /// Moves up to `wanted` completions into the batch: kept ones first, then the library's.
    #[inline]
    fn take(&mut self, wanted: usize) -> Result<usize, CompletionQueueError> {
        let mut taken = 0;
        while taken < wanted
            && let Some(kept) = self.backlog.pop_front()
        {
            self.taken.0[taken] = kept;
            taken += 1;
        }
        let rest: &mut [ibv_wc] = &mut self.taken.0[taken..wanted];
        if rest.is_empty() {
            return Ok(taken);
        }
        // SAFETY: the queue is live and this back end's alone; as many entries can be written.
        let polled =
            unsafe { ibv_poll_cq(self.completion_queue.as_ptr(), rest.len() as i32, rest.as_mut_ptr()) };
        match usize::try_from(polled) {
            Ok(polled) => Ok(taken + polled),
            Err(_) => {
                let error = CompletionQueueError::Library { errno: polled.wrapping_neg() };
                self.give_up(error, taken)
            }
        }
    }

    /// Keeps what the library has for the next poll. True when there was something.
    pub(super) fn keep_completions(&mut self) -> bool {
        let mut batch = [ibv_wc::default(); BATCH];
        let mut found = false;
        loop {
            // SAFETY: as in `take`.
            let polled =
                unsafe { ibv_poll_cq(self.completion_queue.as_ptr(), BATCH as i32, batch.as_mut_ptr()) };
            // An error shows again in the next poll.
            let polled = usize::try_from(polled).unwrap_or(0);
            self.backlog.extend(batch.iter().take(polled));
            found |= polled != 0;
            if polled < BATCH {
                return found;
            }
        }
    }

    /// The completion queue is unusable: every queue pair is in the error state. What was polled is still given out.
    #[cold]
    fn give_up(&mut self, error: CompletionQueueError, count: usize) -> Result<usize, CompletionQueueError> {
        self.broken = Some(error);
        for (_, queues) in self.objects.all_mut() {
            queues.state = QueuePairState::Error;
        }
        if count == 0 { Err(error) } else { Ok(count) }
    }

    /// The library refused requests of a queue pair. It stops, so that nothing behind them is executed.
    #[cold]
    fn refused(&mut self, queue_pair: QueuePairHandle) {
        self.objects.has_refusals = true;
        self.stop(queue_pair);
    }

    /// Moves a queue pair to the error state, whatever the library says to that.
    #[cold]
    fn stop(&mut self, queue_pair: QueuePairHandle) {
        if let Ok(queues) = self.objects.queues_mut(queue_pair) {
            queues.state = QueuePairState::Error;
        }
        if let Some(Some(control)) = self.controls.get_mut(queue_pair.0 as usize) {
            let _ = control.queue_pair.fail();
        }
    }

    #[cold]
    fn count_empty_poll(&mut self) {
        self.empty_polls = self.empty_polls.wrapping_add(1);
        if self.empty_polls.is_multiple_of(POLLS_BETWEEN_EVENTS) {
            self.device.read_events();
        }
    }

    /// Turns asynchronous events into errors that polling and posting report.
    #[cold]
    fn take_events(&mut self) {
        let happened = self.completion_queue.sink().take();
        if happened.device_failed {
            self.broken = Some(CompletionQueueError::Library { errno: libc::EIO });
        } else if happened.completion_queue_failed {
            let capacity = self.completion_queue.capacity();
            self.broken = Some(CompletionQueueError::Overrun { capacity });
        }
        let all = self.broken.is_some() || happened.shared_receive_failed;
        let concerned = |queues: &Queues| all || happened.queue_pairs.contains(&queues.number.0);
        let failed: Vec<QueuePairHandle> = self
            .objects
            .all_mut()
            .filter(|(_, queues)| queues.state != QueuePairState::Reset && concerned(queues))
            .map(|(handle, _)| handle)
            .collect();
        for handle in failed {
            let control = self.controls.get(handle.0 as usize).and_then(Option::as_ref);
            if all || control.is_some_and(|control| control.queue_pair.has_failed()) {
                // Moving it again makes sure that everything is flushed.
                self.stop(handle);
            }
        }
    }
}
