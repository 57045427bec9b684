//! Receives of a queue pair or of a shared queue: a chain of ibv_recv_wr, built in place.
//!
//! Receives of a shared queue complete in any order, so that both kinds keep a list of free slots.
#![allow(unsafe_code)] // links of the chain are raw pointers into the arrays

use std::{ffi::c_int, fmt, ptr::null_mut};

use pmd_core::provider::{PostError, ReceiveRequest};
use pmd_sys::verbs::{ibv_recv_wr, ibv_sge};

use super::{
    identity::{Identity, Queue},
    send::Refusal,
};

/// A receive queue as this back end fills it.
pub(super) struct ReceiveChain {
    requests: Vec<ibv_recv_wr>,
    /// `sges` for each slot.
    entries: Vec<ibv_sge>,
    slots: Vec<Slot>,
    /// Slots that nothing is posted in.
    free: Vec<u32>,
    sges: u32,
    /// First and last slot of what was built since the last ring.
    pending: Option<(u32, u32)>,
    /// First refused slot, and what the library said; the others follow by their links.
    refused: Option<(u32, i32)>,
    is_refusal_first: bool,
    queue: Queue,
    owner: (u16, u16),
}

/// What is remembered of a receive.
#[derive(Clone, Copy, Debug)]
struct Slot {
    id: u64,
    /// Slot built after this one in the same chain; itself at the end.
    next: u32,
    is_posted: bool,
}

impl fmt::Debug for ReceiveChain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (queue, free, pending) = (self.queue, self.free.len(), self.pending);
        write!(formatter, "ReceiveChain {{ {queue:?}, {free} free, {pending:?} }}")
    }
}

// SAFETY: the pointers in the requests lead into this value's own arrays.
unsafe impl Send for ReceiveChain {}

impl ReceiveChain {
    /// `receives` slots of `sges` entries.
    pub(super) fn new(receives: u32, sges: u32, queue: Queue, handle: u16, generation: u16) -> Self {
        let count = receives as usize;
        let mut chain = Self {
            requests: vec![ibv_recv_wr::default(); count],
            entries: vec![ibv_sge::default(); count * sges.max(1) as usize],
            slots: vec![Slot { id: 0, next: 0, is_posted: false }; count],
            free: Vec::with_capacity(count),
            sges,
            pending: None,
            refused: None,
            is_refusal_first: false,
            queue,
            owner: (handle, generation),
        };
        chain.reset(generation);
        chain
    }

    /// Builds one receive. The library does not see it before [`ReceiveChain::ring`].
    ///
    /// # Errors
    /// [`PostError::TooManySges`], [`PostError::QueueFull`]; nothing was built.
    #[inline]
    pub(super) fn post(&mut self, request: &ReceiveRequest<'_>) -> Result<(), PostError> {
        if request.scatter.len() > self.sges as usize {
            return Err(PostError::TooManySges { given: request.scatter.len(), limit: self.sges });
        }
        let Some(slot) = self.free.pop() else {
            let capacity = self.slots.len() as u32;
            return Err(PostError::QueueFull { needed: 1, free: 0, capacity });
        };
        let first = slot as usize * self.sges.max(1) as usize;
        let mut count = 0;
        for entry in request.scatter.iter().filter(|entry| entry.length != 0) {
            self.entries[first + count] =
                ibv_sge { addr: entry.address, length: entry.length, lkey: entry.key.0 };
            count += 1;
        }
        let (handle, generation) = self.owner;
        let identity = Identity { queue: self.queue, generation, handle, index: slot };
        self.requests[slot as usize] = ibv_recv_wr {
            wr_id: identity.to_bits(),
            next: null_mut(),
            sg_list: self.entries.as_mut_ptr().wrapping_add(first),
            num_sge: count as i32,
        };
        self.slots[slot as usize] = Slot { id: request.id, next: slot, is_posted: true };
        self.link(slot);
        Ok(())
    }

    /// Hands the chain to `post`, which answers like ibv_post_recv. What it refuses is kept for
    /// [`ReceiveChain::take_refusal`]; true when there is such.
    #[inline]
    pub(super) fn ring(
        &mut self,
        post: impl FnOnce(*mut ibv_recv_wr, *mut *mut ibv_recv_wr) -> c_int,
    ) -> bool {
        let Some((first, _)) = self.pending.take() else { return false };
        let mut bad = null_mut();
        let errno = post(self.requests.as_mut_ptr().wrapping_add(first as usize), &mut bad);
        if errno == 0 {
            return false;
        }
        let offset = bad.addr().wrapping_sub(self.requests.as_ptr().addr());
        let slot = offset / size_of::<ibv_recv_wr>();
        // A provider that says nothing useful has taken nothing.
        let slot = if slot < self.slots.len() { slot as u32 } else { first };
        self.note_refusal(slot, errno);
        true
    }

    /// Puts refused receives behind those that were refused before and are not reported yet.
    #[cold]
    fn note_refusal(&mut self, slot: u32, errno: i32) {
        let Some((mut last, _)) = self.refused else {
            (self.refused, self.is_refusal_first) = (Some((slot, errno)), true);
            return;
        };
        while self.slots[last as usize].next != last {
            last = self.slots[last as usize].next;
        }
        self.slots[last as usize].next = slot;
    }

    /// The next receive that the library refused, in order; its slot is free again.
    pub(super) fn take_refusal(&mut self) -> Option<Refusal> {
        let (slot, errno) = self.refused?;
        let next = self.slots.get(slot as usize)?.next;
        let id = self.retire(slot)?;
        let is_first = std::mem::replace(&mut self.is_refusal_first, false);
        self.refused = (next != slot).then_some((next, errno));
        Some(Refusal { id, errno, is_first })
    }

    /// Takes the receive in a slot out. `None` when nothing is posted there.
    #[inline]
    pub(super) fn retire(&mut self, slot: u32) -> Option<u64> {
        let posted = self.slots.get_mut(slot as usize).filter(|slot| slot.is_posted)?;
        posted.is_posted = false;
        self.free.push(slot);
        Some(posted.id)
    }

    /// Forgets everything; completions of the old generation are not this queue's any more.
    pub(super) fn reset(&mut self, generation: u16) {
        self.owner.1 = generation;
        (self.pending, self.refused) = (None, None);
        self.free.clear();
        for (index, slot) in self.slots.iter_mut().enumerate().rev() {
            slot.is_posted = false;
            self.free.push(index as u32);
        }
    }

    #[inline]
    fn link(&mut self, slot: u32) {
        self.pending = match self.pending {
            None => Some((slot, slot)),
            Some((first, last)) => {
                self.requests[last as usize].next = self.requests.as_mut_ptr().wrapping_add(slot as usize);
                self.slots[last as usize].next = slot;
                Some((first, slot))
            }
        };
    }
}
