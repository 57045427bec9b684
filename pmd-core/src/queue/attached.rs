//! The queue pairs and shared receive queues of one provider, and how a completion entry finds its request.

use alloc::vec::Vec;

use super::{
    QueuePairState, ReceiveQueue, SendQueue, SharedReceiveQueue, completion::Entry, number_table::NumberTable,
};
use crate::{
    provider::{
        Completion, CompletionError, CompletionKind, CompletionQueueError, PostError, QueuePairHandle,
        QueuePairNumber, SharedReceiveHandle,
    },
    wire::{CqeOpcode, ErrorCompletion, Side},
};

/// One queue pair.
#[derive(Debug)]
pub(super) struct QueuePair {
    pub(super) number: QueuePairNumber,
    pub(super) state: QueuePairState,
    pub(super) send: SendQueue,
    pub(super) receive: ReceiveSide,
}

/// Where a queue pair takes its receives from.
#[derive(Debug)]
pub(super) enum ReceiveSide {
    None,
    Own(ReceiveQueue),
    Shared(SharedReceiveHandle),
}

/// Everything that completes into one completion queue.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) queue_pairs: Vec<Option<QueuePair>>,
    pub(super) shared: Vec<Option<SharedReceiveQueue>>,
    numbers: NumberTable,
}

impl Attached {
    pub(super) fn new() -> Self {
        Self { queue_pairs: Vec::new(), shared: Vec::new(), numbers: NumberTable::new([].into_iter()) }
    }

    /// Puts a queue pair into the first free place.
    pub(super) fn insert(&mut self, queue_pair: QueuePair) -> QueuePairHandle {
        let index = first_free(&mut self.queue_pairs);
        self.queue_pairs[index] = Some(queue_pair);
        self.index_numbers();
        QueuePairHandle(index as u32)
    }

    /// Takes a queue pair out.
    pub(super) fn remove(&mut self, handle: QueuePairHandle) -> Option<QueuePair> {
        let removed = self.queue_pairs.get_mut(handle.0 as usize)?.take();
        self.index_numbers();
        removed
    }

    /// Puts a shared receive queue into the first free place.
    pub(super) fn insert_shared(&mut self, queue: SharedReceiveQueue) -> SharedReceiveHandle {
        let index = first_free(&mut self.shared);
        self.shared[index] = Some(queue);
        SharedReceiveHandle(index as u32)
    }

    pub(super) fn find(&self, number: u32) -> Option<QueuePairHandle> {
        self.numbers.find(number)
    }

    #[inline]
    pub(super) fn queue_pair(&self, handle: QueuePairHandle) -> Option<&QueuePair> {
        self.queue_pairs.get(handle.0 as usize)?.as_ref()
    }

    #[inline(always)]
    pub(super) fn queue_pair_mut(&mut self, handle: QueuePairHandle) -> Result<&mut QueuePair, PostError> {
        let unknown = PostError::UnknownQueuePair { handle: handle.0 };
        self.queue_pairs.get_mut(handle.0 as usize).and_then(Option::as_mut).ok_or(unknown)
    }

    #[inline]
    pub(super) fn shared_mut(
        &mut self,
        handle: SharedReceiveHandle,
    ) -> Result<&mut SharedReceiveQueue, PostError> {
        let unknown = PostError::UnknownSharedQueue { handle: handle.0 };
        self.shared.get_mut(handle.0 as usize).and_then(Option::as_mut).ok_or(unknown)
    }

    /// Queue pairs that take their receives from a shared queue.
    pub(super) fn users(&self, handle: SharedReceiveHandle) -> u32 {
        let uses = |queue_pair: &&QueuePair| matches!(queue_pair.receive, ReceiveSide::Shared(used) if used == handle);
        self.queue_pairs.iter().flatten().filter(uses).count() as u32
    }

    /// Moves every queue pair that may hold work to the error state.
    #[cold]
    pub(super) fn fail_all(&mut self) {
        let working = |queue_pair: &&mut QueuePair| queue_pair.state != QueuePairState::Reset;
        self.queue_pairs
            .iter_mut()
            .flatten()
            .filter(working)
            .for_each(|queue_pair| queue_pair.state = QueuePairState::Error);
    }

    /// Retires the request that an entry completes, and fills in its completion.
    ///
    /// # Errors
    /// [`CompletionQueueError`] when the entry completes nothing that is outstanding.
    #[inline(always)]
    pub(super) fn complete(
        &mut self,
        entry: Entry<'_>,
        completion: &mut Completion,
    ) -> Result<(), CompletionQueueError> {
        if entry.is_plain_requester() {
            self.requester(entry, completion)
        } else {
            self.complete_other(entry, completion)
        }
    }

    /// What is no good completion of a send queue, or has its payload in the entry.
    #[inline(never)]
    fn complete_other(
        &mut self,
        entry: Entry<'_>,
        completion: &mut Completion,
    ) -> Result<(), CompletionQueueError> {
        let immediate = || Some(entry.view.immediate());
        match entry.view.opcode() {
            Ok(CqeOpcode::Requester) => self.requester_with_payload(entry, completion),
            // Which key the peer invalidated is not told: this driver has no memory windows.
            Ok(CqeOpcode::ResponderSend | CqeOpcode::ResponderSendInvalidate) => {
                self.responder(entry, CompletionKind::Receive, None, completion)
            }
            Ok(CqeOpcode::ResponderSendImmediate) => {
                self.responder(entry, CompletionKind::Receive, immediate(), completion)
            }
            Ok(CqeOpcode::ResponderWriteImmediate) => {
                self.responder(entry, CompletionKind::ReceiveWriteImmediate, immediate(), completion)
            }
            Ok(CqeOpcode::RequesterError) => self.failure(entry, Side::Requester, completion),
            Ok(CqeOpcode::ResponderError) => self.failure(entry, Side::Responder, completion),
            _ => Err(malformed(entry)),
        }
    }

    #[inline(always)]
    fn requester(
        &mut self,
        entry: Entry<'_>,
        completion: &mut Completion,
    ) -> Result<(), CompletionQueueError> {
        let queue_pair = self.completed(entry)?;
        let Some(retired) = queue_pair.send.retire(entry.view.wqe_counter()) else {
            return Err(foreign(entry));
        };
        *completion = Completion {
            id: retired.id,
            queue_pair: queue_pair.number,
            byte_length: retired.returned_length,
            immediate: None,
            result: Ok(retired.kind),
        };
        Ok(())
    }

    #[cold]
    fn requester_with_payload(
        &mut self,
        entry: Entry<'_>,
        completion: &mut Completion,
    ) -> Result<(), CompletionQueueError> {
        let payload = payload(entry)?;
        let send = &mut self.completed(entry)?.send;
        if let Some(payload) = payload
            && !send.scatter(entry.view.wqe_counter(), payload)
        {
            return Err(malformed(entry));
        }
        self.requester(entry, completion)
    }

    fn responder(
        &mut self,
        entry: Entry<'_>,
        kind: CompletionKind,
        immediate: Option<u32>,
        completion: &mut Completion,
    ) -> Result<(), CompletionQueueError> {
        let payload = payload(entry)?;
        let (id, queue_pair) = self.retire_receive(entry, payload)?;
        let queue_pair = queue_pair.number;
        let byte_length = entry.view.byte_count();
        *completion = Completion { id, queue_pair, byte_length, immediate, result: Ok(kind) };
        Ok(())
    }

    /// A request that failed. Its queue pair is in the error state from here on; the device flushes what follows.
    #[cold]
    fn failure(
        &mut self,
        entry: Entry<'_>,
        side: Side,
        completion: &mut Completion,
    ) -> Result<(), CompletionQueueError> {
        let (id, queue_pair) = match side {
            Side::Requester => {
                let queue_pair = self.completed(entry)?;
                let retired = queue_pair.send.retire(entry.view.wqe_counter());
                (retired.ok_or_else(|| foreign(entry))?.id, queue_pair)
            }
            Side::Responder => self.retire_receive(entry, None)?,
        };
        queue_pair.state = QueuePairState::Error;
        let queue_pair = queue_pair.number;
        let ErrorCompletion { syndrome, vendor, .. } = ErrorCompletion::parse(side, entry.view.0);
        let error = CompletionError { syndrome, vendor, is_receive: side == Side::Responder };
        *completion = Completion { id, queue_pair, byte_length: 0, immediate: None, result: Err(error) };
        Ok(())
    }

    /// Takes the receive that an entry completes: the oldest one, or the one in the shared queue's slot.
    #[inline]
    fn retire_receive(
        &mut self,
        entry: Entry<'_>,
        payload: Option<&[u8]>,
    ) -> Result<(u64, &mut QueuePair), CompletionQueueError> {
        let handle = self.find(entry.view.queue_pair()).ok_or_else(|| foreign(entry))?;
        let queue_pair = self.queue_pairs.get_mut(handle.0 as usize).and_then(Option::as_mut);
        let queue_pair = queue_pair.ok_or_else(|| foreign(entry))?;
        let carried = payload.is_some();
        let id = match &mut queue_pair.receive {
            ReceiveSide::Own(queue) if !carried || queue.keeps_lists() => queue.retire(payload),
            ReceiveSide::Shared(shared) => {
                let queue = self.shared.get_mut(shared.0 as usize).and_then(Option::as_mut);
                let queue = queue.ok_or_else(|| foreign(entry))?;
                if carried && !queue.keeps_lists() {
                    return Err(malformed(entry));
                }
                queue.retire(entry.view.wqe_counter(), payload)
            }
            ReceiveSide::Own(_) => return Err(malformed(entry)),
            ReceiveSide::None => None,
        };
        id.map(|id| (id, queue_pair)).ok_or_else(|| foreign(entry))
    }

    /// The queue pair that an entry names.
    #[inline(always)]
    fn completed(&mut self, entry: Entry<'_>) -> Result<&mut QueuePair, CompletionQueueError> {
        let handle = self.numbers.find_again(entry.view.queue_pair());
        match handle.and_then(|handle| self.queue_pairs.get_mut(handle.0 as usize)) {
            Some(Some(queue_pair)) => Ok(queue_pair),
            _ => Err(foreign(entry)),
        }
    }

    fn index_numbers(&mut self) {
        let places = self.queue_pairs.iter().enumerate();
        self.numbers = NumberTable::new(places.filter_map(|(index, place)| {
            place.as_ref().map(|queue_pair| (queue_pair.number, QueuePairHandle(index as u32)))
        }));
    }
}

#[inline]
fn payload<'a>(entry: Entry<'a>) -> Result<Option<&'a [u8]>, CompletionQueueError> {
    entry.payload(entry.view.byte_count()).map_err(|opcode| CompletionQueueError::Malformed { opcode })
}

#[cold]
fn foreign(entry: Entry<'_>) -> CompletionQueueError {
    CompletionQueueError::Foreign { queue_pair: entry.view.queue_pair(), index: entry.view.wqe_counter() }
}

#[cold]
fn malformed(entry: Entry<'_>) -> CompletionQueueError {
    CompletionQueueError::Malformed { opcode: entry.view.opcode_bits() }
}

fn first_free<T>(places: &mut Vec<Option<T>>) -> usize {
    let found = places.iter().position(Option::is_none);
    found.unwrap_or_else(|| {
        places.push(None);
        places.len() - 1
    })
}
