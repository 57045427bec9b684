//! What is outstanding on one queue pair's send queue, in order, so that one completion can answer for many requests.

use std::{collections::VecDeque, time::Instant};

use pmd_core::provider::QueuePairHandle;

/// One queue pair of a route.
#[derive(Debug)]
pub(super) struct QueuePair {
    pub(super) handle: QueuePairHandle,
    /// Route it belongs to.
    pub(super) route: u32,
    /// Slots of the empty send queue.
    pub(super) capacity: u32,
    pub(super) window: Window,
    /// Stopped by destroying it: the handle may belong to another one by now.
    pub(super) destroyed: bool,
    /// When failed: by when its flush completions are to have come.
    pub(super) drain_by: Option<Instant>,
    identity: Identity,
}

/// Which queue pair, and which of its lives; 31 bits of a work request's id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Identity(u32);

/// A work request's id, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WorkId {
    /// Index of the queue pair in the lane.
    pub(super) queue: u32,
    /// Life of the queue pair.
    pub(super) life: u32,
    pub(super) is_receive: bool,
    /// Sends: position in the send queue. Receives: index of the buffer.
    pub(super) sequence: u32,
}

/// Queue pairs of one lane are counted in 16 bits of an id, and their lives in 15.
pub(super) const LARGEST_INDEX: u32 = 0xffff;
const LIFE_MASK: u32 = 0x7fff;
const RECEIVE: u64 = 1 << 63;

impl WorkId {
    #[inline]
    pub(super) const fn from_bits(bits: u64) -> Self {
        let identity = (bits >> 32) as u32;
        Self {
            queue: identity & LARGEST_INDEX,
            life: identity >> 16 & LIFE_MASK,
            is_receive: bits & RECEIVE != 0,
            sequence: bits as u32,
        }
    }
}

impl QueuePair {
    pub(super) fn new(handle: QueuePairHandle, route: u32, index: u32, life: u32, slots: u32) -> Self {
        Self {
            handle,
            route,
            capacity: slots,
            window: Window::with_capacity(slots.next_power_of_two() as usize),
            destroyed: false,
            drain_by: None,
            identity: Identity((life & LIFE_MASK) << 16 | index),
        }
    }

    /// Id for the next send request.
    #[inline]
    pub(super) const fn send_id(&self) -> u64 {
        (self.identity.0 as u64) << 32 | self.window.next as u64
    }

    /// Id for a receive into buffer `buffer`.
    #[inline]
    pub(super) const fn receive_id(&self, buffer: u32) -> u64 {
        RECEIVE | (self.identity.0 as u64) << 32 | buffer as u64
    }

    /// Whether a completion with this id belongs to this life of the queue pair.
    #[inline]
    pub(super) const fn owns(&self, id: WorkId) -> bool {
        self.identity.0 >> 16 == id.life
    }
}

/// Whose work request it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Entries of a transfer's list.
    Transfer(u32),
    /// A transfer's notification.
    Notification { transfer: u32, staged: bool },
    /// A message.
    Message { staged: bool },
    /// A NOP that asks for a completion.
    Filler,
}

/// Consecutive work requests of one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) owner: Owner,
    /// Entry of the owner's list that the first of them carries out.
    pub(super) first_entry: u32,
    pub(super) count: u32,
}

/// Outstanding work requests from the oldest to the newest; their positions are free-running numbers.
#[derive(Debug)]
pub(super) struct Window {
    segments: VecDeque<Segment>,
    /// Position of the oldest outstanding one.
    oldest: u32,
    /// Position of the next one to be posted.
    next: u32,
    /// Posted since the last one that gives a completion.
    unsignalled: u32,
}

impl Window {
    fn with_capacity(requests: usize) -> Self {
        Self { segments: VecDeque::with_capacity(requests), oldest: 0, next: 0, unsignalled: 0 }
    }

    /// Notes a posted work request.
    #[inline]
    pub(super) fn push(&mut self, owner: Owner, entry: u32, signalled: bool) {
        self.next = self.next.wrapping_add(1);
        self.unsignalled = if signalled { 0 } else { self.unsignalled + 1 };
        if let (Some(last), Owner::Transfer(_)) = (self.segments.back_mut(), owner)
            && last.owner == owner
            && last.first_entry + last.count == entry
        {
            last.count += 1;
            return;
        }
        self.segments.push_back(Segment { owner, first_entry: entry, count: 1 });
    }

    #[inline]
    pub(super) const fn unsignalled(&self) -> u32 {
        self.unsignalled
    }

    #[inline]
    pub(super) const fn outstanding(&self) -> u32 {
        self.next.wrapping_sub(self.oldest)
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.outstanding() == 0
    }

    /// Whether the request at this position is outstanding.
    #[inline]
    pub(super) const fn contains(&self, position: u32) -> bool {
        position.wrapping_sub(self.oldest) < self.outstanding()
    }

    /// Position of the newest outstanding request.
    pub(super) const fn newest(&self) -> u32 {
        self.next.wrapping_sub(1)
    }

    /// Takes the oldest requests of one owner, none younger than `position`, which is outstanding or was just taken.
    #[inline]
    pub(super) fn take_through(&mut self, position: u32) -> Option<Segment> {
        let left = position.wrapping_add(1).wrapping_sub(self.oldest);
        if left == 0 || left > self.outstanding() {
            return None;
        }
        let front = self.segments.front_mut()?;
        let count = front.count.min(left);
        let taken = Segment { count, ..*front };
        if count == front.count {
            self.segments.pop_front();
        } else {
            front.first_entry += count;
            front.count -= count;
        }
        self.oldest = self.oldest.wrapping_add(count);
        Some(taken)
    }
}
