//! The send side of one queue pair: requests become links of a chain, one ibv_post_send takes the chain.
//!
//! All arrays are as long as the queue and filled in place; posting allocates nothing. A request's place is its
//! sequence number modulo the queue's length.
#![allow(unsafe_code)] // links of the chain are raw pointers into the arrays

use std::{fmt, ptr::null_mut};

use pmd_core::{
    memory::Sge,
    provider::{CompletionKind, Operation, Payload, PostError, SendFlags, SendRequest},
};
use pmd_sys::{inline::ibv_post_send, verbs::*};

use super::identity::{Identity, Queue};

/// Send queue of one queue pair.
pub(super) struct SendChain {
    requests: Vec<ibv_send_wr>,
    /// `limits.sges` for each request.
    entries: Vec<ibv_sge>,
    /// `limits.inline` for each request.
    inline: Vec<u8>,
    shadow: Vec<Shadow>,
    limits: SendLimits,
    /// Requests built, free-running.
    producer: u32,
    /// Requests handed to the library or refused by it.
    rung: u32,
    /// Requests retired.
    consumer: u32,
    refused: Option<Refused>,
    /// Handle and generation of the queue pair.
    owner: (u16, u16),
}

/// What one request may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct SendLimits {
    /// Requests, a power of two.
    pub(super) requests: u32,
    pub(super) sges: u32,
    pub(super) inline: u32,
    pub(super) message: u32,
}

/// What is remembered of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shadow {
    pub(super) id: u64,
    pub(super) kind: CompletionKind,
    pub(super) returned_length: u32,
}

/// Requests that the library would not take: from `next` to where the chain ended.
#[derive(Clone, Copy, Debug)]
struct Refused {
    next: u32,
    end: u32,
    errno: i32,
    is_first: bool,
}

/// One refused request, to be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) id: u64,
    pub(super) errno: i32,
    /// The one that the library objected to; the others came behind it.
    pub(super) is_first: bool,
}

impl fmt::Debug for SendChain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { producer, rung, consumer, refused, limits, .. } = self;
        write!(formatter, "SendChain {{ {producer}, {rung}, {consumer}, {refused:?}, {limits:?} }}")
    }
}

// SAFETY: the pointers in the requests lead into this value's own arrays.
unsafe impl Send for SendChain {}

impl SendChain {
    pub(super) fn new(limits: SendLimits, handle: u16, generation: u16) -> Self {
        debug_assert!(limits.requests.is_power_of_two());
        let requests = limits.requests as usize;
        let nothing = Shadow { id: 0, kind: CompletionKind::Nop, returned_length: 0 };
        Self {
            requests: vec![ibv_send_wr::default(); requests],
            entries: vec![ibv_sge::default(); requests * limits.sges.max(1) as usize],
            inline: vec![0; requests * limits.inline as usize],
            shadow: vec![nothing; requests],
            limits,
            producer: 0,
            rung: 0,
            consumer: 0,
            refused: None,
            owner: (handle, generation),
        }
    }

    /// Builds one request as the last link. The library does not see it before [`SendChain::ring`].
    ///
    /// # Errors
    /// [`PostError`]; nothing was built.
    #[inline]
    pub(super) fn post(&mut self, request: &SendRequest<'_>) -> Result<(), PostError> {
        let free = self.room();
        if free == 0 {
            return Err(PostError::QueueFull { needed: 1, free, capacity: self.limits.requests });
        }
        let parts = Parts::new(&request.operation)?;
        parts.check(&self.limits)?;
        let place = self.place(self.producer);
        let mut built = parts.request;
        (built.sg_list, built.num_sge) = match parts.data {
            Payload::Gather(list) => self.gather(place, list),
            Payload::Inline(bytes) => self.copy(place, bytes),
        };
        built.send_flags =
            request.flags.bits() & (SendFlags::FENCE | SendFlags::SIGNALED | SendFlags::SOLICITED).bits();
        if matches!(parts.data, Payload::Inline([_, ..])) {
            built.send_flags |= IBV_SEND_INLINE;
        }
        let (handle, generation) = self.owner;
        let identity = Identity { queue: Queue::Send, generation, handle, index: self.producer };
        built.wr_id = identity.to_bits();
        let returned_length = if parts.returns_data { parts.data.length() as u32 } else { 0 };
        self.shadow[place] = Shadow { id: request.id, kind: parts.kind, returned_length };
        self.append(place, built);
        Ok(())
    }

    /// Hands the chain to the library. What it refuses is kept for [`SendChain::take_refusal`]; true when there is
    /// such.
    ///
    /// # Safety
    /// `queue_pair` is live and this chain's; the memory that requests name is registered.
    #[inline]
    pub(super) unsafe fn ring(&mut self, queue_pair: *mut ibv_qp) -> bool {
        if self.producer == self.rung {
            return false;
        }
        let first = self.place(self.rung);
        let requests = self.requests.as_mut_ptr();
        let mut bad = null_mut();
        // SAFETY: a place is below the arrays' length; the links between the first and the last request lead into the
        // arrays, and the last one ends the chain.
        let errno = unsafe { ibv_post_send(queue_pair, requests.add(first), &mut bad) };
        let refused = errno != 0;
        if refused {
            self.note_refusal(errno, bad);
        }
        self.rung = self.producer;
        refused
    }

    /// The next request that the library refused, in order.
    pub(super) fn take_refusal(&mut self) -> Option<Refusal> {
        let refused = self.refused.as_mut()?;
        let sequence = refused.next;
        let (errno, is_first) = (refused.errno, refused.is_first);
        (refused.next, refused.is_first) = (sequence.wrapping_add(1), false);
        if refused.next == refused.end {
            self.refused = None;
        }
        Some(Refusal { id: self.shadow[self.place(sequence)].id, errno, is_first })
    }

    /// Takes the request with this sequence number out, and all unsignalled ones before it. `None` when the library
    /// does not have it.
    #[inline]
    pub(super) fn retire(&mut self, sequence: u32) -> Option<Shadow> {
        let outstanding = self.rung.wrapping_sub(self.consumer);
        if sequence.wrapping_sub(self.consumer) >= outstanding {
            return None;
        }
        self.consumer = sequence.wrapping_add(1);
        self.shadow.get(self.place(sequence)).copied()
    }

    /// Requests that can be built now.
    #[inline]
    pub(super) fn room(&self) -> u32 {
        self.limits.requests - self.producer.wrapping_sub(self.consumer)
    }

    /// Forgets everything; completions of the old generation are not this queue's any more.
    pub(super) fn reset(&mut self, generation: u16) {
        (self.producer, self.rung, self.consumer, self.refused) = (0, 0, 0, None);
        self.owner.1 = generation;
    }

    #[inline]
    fn place(&self, sequence: u32) -> usize {
        (sequence & (self.limits.requests - 1)) as usize
    }

    /// Copies a gather list without its empty entries, which some providers take for 2 GiB.
    #[inline]
    fn gather(&mut self, place: usize, list: &[Sge]) -> (*mut ibv_sge, i32) {
        let first = place * self.limits.sges.max(1) as usize;
        let mut count = 0;
        for entry in list.iter().filter(|entry| entry.length != 0) {
            self.entries[first + count] =
                ibv_sge { addr: entry.address, length: entry.length, lkey: entry.key.0 };
            count += 1;
        }
        (self.entries.as_mut_ptr().wrapping_add(first), count as i32)
    }

    /// Copies inline bytes, which must last until the ring.
    #[inline]
    fn copy(&mut self, place: usize, bytes: &[u8]) -> (*mut ibv_sge, i32) {
        let first = place * self.limits.inline as usize;
        self.inline[first..first + bytes.len()].copy_from_slice(bytes);
        let address = self.inline.as_ptr().wrapping_add(first);
        let entry = place * self.limits.sges.max(1) as usize;
        self.entries[entry] =
            ibv_sge { addr: address.expose_provenance() as u64, length: bytes.len() as u32, lkey: 0 };
        (self.entries.as_mut_ptr().wrapping_add(entry), i32::from(!bytes.is_empty()))
    }

    #[inline]
    fn append(&mut self, place: usize, built: ibv_send_wr) {
        self.requests[place] = built;
        if self.producer != self.rung {
            let before = self.place(self.producer.wrapping_sub(1));
            self.requests[before].next = self.requests.as_mut_ptr().wrapping_add(place);
        }
        self.producer = self.producer.wrapping_add(1);
    }

    /// Remembers which requests the library did not take.
    #[cold]
    fn note_refusal(&mut self, errno: i32, bad: *mut ibv_send_wr) {
        let size = size_of::<ibv_send_wr>();
        let place = bad.addr().wrapping_sub(self.requests.as_ptr().addr()) / size;
        let first = self.place(self.rung);
        let pending = self.producer.wrapping_sub(self.rung);
        let taken = (place.wrapping_sub(first) & (self.limits.requests as usize - 1)) as u32;
        // A provider that says nothing useful has taken nothing.
        let taken = if place < self.requests.len() && taken < pending { taken } else { 0 };
        let next = self.rung.wrapping_add(taken);
        self.refused = Some(Refused { next, end: self.producer, errno, is_first: true });
    }
}

/// An operation taken apart.
struct Parts<'a> {
    /// With opcode, remote address, operands and immediate filled in.
    request: ibv_send_wr,
    kind: CompletionKind,
    data: Payload<'a>,
    /// Whether the data comes back: reads and atomics.
    returns_data: bool,
    is_atomic: bool,
}

impl<'a> Parts<'a> {
    #[inline]
    fn new(operation: &'a Operation<'a>) -> Result<Self, PostError> {
        let part = |opcode, kind, data| Self {
            request: ibv_send_wr { opcode, ..Default::default() },
            kind,
            data,
            returns_data: false,
            is_atomic: false,
        };
        let mut parts = match operation {
            Operation::Nop => return Err(PostError::Unsupported { operation: "NOP" }),
            Operation::Write { local, .. } => part(IBV_WR_RDMA_WRITE, CompletionKind::Write, *local),
            Operation::WriteImmediate { local, .. } => {
                part(IBV_WR_RDMA_WRITE_WITH_IMM, CompletionKind::Write, *local)
            }
            Operation::Read { local, .. } => {
                part(IBV_WR_RDMA_READ, CompletionKind::Read, Payload::Gather(local))
            }
            Operation::Send { local, immediate: None } => part(IBV_WR_SEND, CompletionKind::Send, *local),
            Operation::Send { local, .. } => part(IBV_WR_SEND_WITH_IMM, CompletionKind::Send, *local),
            Operation::CompareSwap { local, .. } => {
                part(IBV_WR_ATOMIC_CMP_AND_SWP, CompletionKind::CompareSwap, one(local))
            }
            Operation::FetchAdd { local, .. } => {
                part(IBV_WR_ATOMIC_FETCH_AND_ADD, CompletionKind::FetchAdd, one(local))
            }
        };
        parts.fill(operation);
        Ok(parts)
    }

    /// Fills in the remote address, the operands and the immediate.
    #[inline]
    fn fill(&mut self, operation: &Operation<'_>) {
        match operation {
            Operation::Nop => {}
            Operation::Write { remote, .. } => self.at(remote.address, remote.key.0),
            Operation::WriteImmediate { remote, immediate, .. } => {
                self.at(remote.address, remote.key.0);
                self.request.__bindgen_anon_1.imm_data = immediate.to_be();
            }
            Operation::Read { remote, .. } => {
                self.at(remote.address, remote.key.0);
                self.returns_data = true;
            }
            Operation::Send { immediate, .. } => {
                self.request.__bindgen_anon_1.imm_data = immediate.unwrap_or(0).to_be();
            }
            Operation::CompareSwap { remote, compare, swap, .. } => {
                self.atomic(remote.address, remote.key.0, *compare, *swap);
            }
            Operation::FetchAdd { remote, add, .. } => {
                self.atomic(remote.address, remote.key.0, *add, 0);
            }
        }
    }

    #[inline]
    fn at(&mut self, remote_addr: u64, rkey: u32) {
        self.request.wr.rdma = ibv_send_wr__bindgen_ty_2__bindgen_ty_1 { remote_addr, rkey };
    }

    #[inline]
    fn atomic(&mut self, remote_addr: u64, rkey: u32, compare_add: u64, swap: u64) {
        self.request.wr.atomic =
            ibv_send_wr__bindgen_ty_2__bindgen_ty_2 { remote_addr, compare_add, swap, rkey };
        (self.returns_data, self.is_atomic) = (true, true);
    }

    /// Checks the operation against what the queue pair was created for.
    #[inline]
    fn check(&self, limits: &SendLimits) -> Result<(), PostError> {
        let length = self.data.length();
        match self.data {
            Payload::Inline(bytes) if bytes.len() > limits.inline as usize => {
                Err(PostError::InlineTooLong { given: bytes.len(), limit: limits.inline })
            }
            Payload::Gather(list) if self.is_atomic && length != 8 => {
                Err(PostError::AtomicLength { given: list.first().map_or(0, |entry| entry.length) })
            }
            Payload::Gather(list) if list.len() > limits.sges as usize => {
                Err(PostError::TooManySges { given: list.len(), limit: limits.sges })
            }
            _ if length > u64::from(limits.message) => {
                Err(PostError::MessageTooLong { given: length, limit: limits.message.into() })
            }
            _ => Ok(()),
        }
    }
}

#[inline]
fn one(entry: &Sge) -> Payload<'_> {
    Payload::Gather(std::slice::from_ref(entry))
}
