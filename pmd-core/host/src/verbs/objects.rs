//! The queues of one back end, and how a completion finds its request.

use std::ptr::NonNull;

use pmd_core::{
    provider::{
        Completion, CompletionError, CompletionKind, CompletionQueueError, PostError, QueuePairHandle,
        QueuePairNumber, SharedReceiveHandle,
    },
    queue::QueuePairState,
    wire::Syndrome,
};
use pmd_sys::verbs::*;

use super::{
    identity::{Identity, MAX_HANDLES, Queue, following},
    receive::ReceiveChain,
    send::{Refusal, SendChain, Shadow},
    syndrome::syndrome_of,
};

/// Everything that completes into one completion queue.
#[derive(Debug, Default)]
pub(super) struct Objects {
    places: Vec<Place>,
    /// By handle.
    pub(super) shared: Vec<ReceiveChain>,
    /// Whether the library has refused requests that are not reported yet.
    pub(super) has_refusals: bool,
}

/// A handle, and what it stands for.
#[derive(Debug, Default)]
struct Place {
    generation: u16,
    queues: Option<Queues>,
}

/// The queues of one queue pair.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) queue_pair: NonNull<ibv_qp>,
    pub(super) number: QueuePairNumber,
    pub(super) state: QueuePairState,
    pub(super) send: SendChain,
    pub(super) receive: Receives,
}

/// Where a queue pair takes its receives from.
#[derive(Debug)]
pub(super) enum Receives {
    None,
    Own(ReceiveChain),
    Shared,
}

#[expect(unsafe_code, reason = "holds the address of a queue pair")]
// SAFETY: the address is only handed to libibverbs, by the back end that owns the queue pair.
unsafe impl Send for Queues {}

impl Objects {
    /// A free handle and its generation; `None` when all are taken.
    pub(super) fn reserve(&mut self) -> Option<(u16, u16)> {
        let free = self.places.iter().position(|place| place.queues.is_none());
        let index = free.unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() - 1
        });
        (index < MAX_HANDLES).then(|| (index as u16, self.places[index].generation))
    }

    /// Puts queues into a reserved place.
    pub(super) fn insert(&mut self, handle: u16, queues: Queues) -> QueuePairHandle {
        self.places[usize::from(handle)].queues = Some(queues);
        QueuePairHandle(handle.into())
    }

    /// Takes queues out; their completions are nobody's from here on.
    pub(super) fn remove(&mut self, handle: QueuePairHandle) -> Option<Queues> {
        let place = self.places.get_mut(handle.0 as usize)?;
        place.generation = following(place.generation);
        place.queues.take()
    }

    /// Empties the queues; completions of what was in them are nobody's from here on.
    pub(super) fn reset(&mut self, handle: QueuePairHandle) {
        let Some(place) = self.places.get_mut(handle.0 as usize) else { return };
        place.generation = following(place.generation);
        if let Some(queues) = &mut place.queues {
            queues.state = QueuePairState::Reset;
            queues.send.reset(place.generation);
            if let Receives::Own(receives) = &mut queues.receive {
                receives.reset(place.generation);
            }
        }
    }

    #[inline]
    pub(super) fn queues(&self, handle: QueuePairHandle) -> Option<&Queues> {
        self.places.get(handle.0 as usize)?.queues.as_ref()
    }

    #[inline]
    pub(super) fn queues_mut(&mut self, handle: QueuePairHandle) -> Result<&mut Queues, PostError> {
        let place = self.places.get_mut(handle.0 as usize);
        place.and_then(|place| place.queues.as_mut()).ok_or(PostError::UnknownQueuePair { handle: handle.0 })
    }

    #[inline]
    pub(super) fn shared_mut(&mut self, handle: SharedReceiveHandle) -> Result<&mut ReceiveChain, PostError> {
        let unknown = PostError::UnknownSharedQueue { handle: handle.0 };
        self.shared.get_mut(handle.0 as usize).ok_or(unknown)
    }

    /// Handle and queues of every queue pair.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = (QueuePairHandle, &mut Queues)> {
        let places = self.places.iter_mut().enumerate();
        places.filter_map(|(index, place)| Some((QueuePairHandle(index as u32), place.queues.as_mut()?)))
    }

    /// Retires the request that the library says is complete. `None` when it was of a queue pair that has been reset
    /// or destroyed since.
    ///
    /// # Errors
    /// [`CompletionQueueError::Foreign`] when nothing of the kind is outstanding.
    #[inline]
    pub(super) fn complete(&mut self, entry: &ibv_wc) -> Result<Option<Completion>, CompletionQueueError> {
        let identity = Identity::from_bits(entry.wr_id);
        if identity.queue == Queue::SharedReceive {
            return self.complete_shared(entry, identity).map(Some);
        }
        let place = self.places.get_mut(usize::from(identity.handle));
        let place = place.filter(|place| place.generation == identity.generation);
        let Some(queues) = place.and_then(|place| place.queues.as_mut()) else { return Ok(None) };
        if entry.status != IBV_WC_SUCCESS {
            queues.state = QueuePairState::Error;
        }
        let number = queues.number;
        let completion = if identity.queue == Queue::Send {
            queues.send.retire(identity.index).map(|shadow| sent(entry, number, shadow))
        } else {
            let retired = match &mut queues.receive {
                Receives::Own(receives) => receives.retire(identity.index),
                _ => None,
            };
            retired.map(|id| received(entry, number, id))
        };
        completion.map(Some).ok_or_else(|| foreign(entry, identity))
    }

    fn complete_shared(
        &mut self,
        entry: &ibv_wc,
        identity: Identity,
    ) -> Result<Completion, CompletionQueueError> {
        let chain = self.shared.get_mut(usize::from(identity.handle));
        let id = chain.and_then(|chain| chain.retire(identity.index));
        let id = id.ok_or_else(|| foreign(entry, identity))?;
        let number = QueuePairNumber(entry.qp_num);
        if entry.status != IBV_WC_SUCCESS {
            let failed = self.all_mut().find(|(_, queues)| queues.number == number);
            if let Some((_, queues)) = failed {
                queues.state = QueuePairState::Error;
            }
        }
        Ok(received(entry, number, id))
    }

    /// Reports requests that the library refused, as failed. Returns how many.
    #[cold]
    pub(super) fn report_refusals(&mut self, completions: &mut [Completion]) -> usize {
        let mut count = 0;
        for place in completions {
            let Some(refused) = self.next_refusal() else {
                self.has_refusals = false;
                break;
            };
            *place = refused;
            count += 1;
        }
        count
    }

    fn next_refusal(&mut self) -> Option<Completion> {
        for queues in self.places.iter_mut().filter_map(|place| place.queues.as_mut()) {
            if let Some(refusal) = queues.send.take_refusal() {
                return Some(refused(refusal, queues.number, false));
            }
            if let Receives::Own(receives) = &mut queues.receive
                && let Some(refusal) = receives.take_refusal()
            {
                return Some(refused(refusal, queues.number, true));
            }
        }
        let refusal = self.shared.iter_mut().find_map(ReceiveChain::take_refusal)?;
        Some(refused(refusal, QueuePairNumber(0), true))
    }
}

#[inline]
fn sent(entry: &ibv_wc, queue_pair: QueuePairNumber, shadow: Shadow) -> Completion {
    let (byte_length, result) = match entry.status {
        IBV_WC_SUCCESS => (shadow.returned_length, Ok(shadow.kind)),
        _ => (0, Err(failure(entry, false))),
    };
    Completion { id: shadow.id, queue_pair, byte_length, immediate: None, result }
}

#[inline]
fn received(entry: &ibv_wc, queue_pair: QueuePairNumber, id: u64) -> Completion {
    if entry.status != IBV_WC_SUCCESS {
        let result = Err(failure(entry, true));
        return Completion { id, queue_pair, byte_length: 0, immediate: None, result };
    }
    let kind = match entry.opcode {
        IBV_WC_RECV_RDMA_WITH_IMM => CompletionKind::ReceiveWriteImmediate,
        _ => CompletionKind::Receive,
    };
    let has_immediate = entry.wc_flags & IBV_WC_WITH_IMM != 0;
    let immediate = has_immediate.then(|| immediate(entry));
    Completion { id, queue_pair, byte_length: entry.byte_len, immediate, result: Ok(kind) }
}

#[expect(unsafe_code, reason = "a C union of an immediate and a key")]
fn immediate(entry: &ibv_wc) -> u32 {
    // SAFETY: both members are plain 32-bit words; the flags say that it is an immediate.
    u32::from_be(unsafe { entry.__bindgen_anon_1.imm_data })
}

#[cold]
fn failure(entry: &ibv_wc, is_receive: bool) -> CompletionError {
    CompletionError { syndrome: syndrome_of(entry.status), vendor: entry.vendor_err as u8, is_receive }
}

/// What the library refused: the first is a bad request, those behind it were never looked at. The vendor's code is
/// the library's error number.
fn refused(refusal: Refusal, queue_pair: QueuePairNumber, is_receive: bool) -> Completion {
    let syndrome = if refusal.is_first { Syndrome::LocalQueuePairOperation } else { Syndrome::Flushed };
    let vendor = refusal.errno.unsigned_abs() as u8;
    let result = Err(CompletionError { syndrome, vendor, is_receive });
    Completion { id: refusal.id, queue_pair, byte_length: 0, immediate: None, result }
}

#[cold]
fn foreign(entry: &ibv_wc, identity: Identity) -> CompletionQueueError {
    CompletionQueueError::Foreign { queue_pair: entry.qp_num, index: identity.index as u16 }
}
