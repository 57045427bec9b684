//! What both memories of a connection should hold, and what is outstanding on it.

use std::{collections::VecDeque, ops::Range};

use pmd_core::provider::{Completion, CompletionKind};

use crate::context::{Random, pattern};

/// Bytes of each memory.
pub(super) const BYTES: usize = 48 << 10;
/// Bytes of the part that one-sided requests use; the slots for messages follow.
const PLAIN: usize = 32 << 10;
/// Slots for messages.
pub(super) const SLOTS: usize = 8;
/// Bytes of a slot.
pub(super) const SLOT_BYTES: usize = (BYTES - PLAIN) / SLOTS;
/// Longest inline payload.
const INLINE: usize = 64;

/// First byte of a slot.
pub(super) const fn slot(index: usize) -> usize {
    PLAIN + index * SLOT_BYTES
}

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Write,
    WriteImmediate(u32),
    Read,
    Send(Option<u32>),
    FetchAdd(u64),
    CompareSwap(u64, u64),
}

impl Kind {
    const fn fetches(self) -> bool {
        matches!(self, Self::Read | Self::FetchAdd(_) | Self::CompareSwap(..))
    }

    const fn takes_receive(self) -> bool {
        matches!(self, Self::WriteImmediate(_) | Self::Send(_))
    }

    const fn completes_as(self) -> CompletionKind {
        match self {
            Self::Write | Self::WriteImmediate(_) => CompletionKind::Write,
            Self::Read => CompletionKind::Read,
            Self::Send(_) => CompletionKind::Send,
            Self::FetchAdd(_) => CompletionKind::FetchAdd,
            Self::CompareSwap(..) => CompletionKind::CompareSwap,
        }
    }
}

/// A request to be.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) id: u64,
    pub(super) kind: Kind,
    /// Places in the left memory, in order.
    pub(super) pieces: Vec<Range<usize>>,
    /// Place in the right memory.
    pub(super) remote: usize,
    pub(super) inline: bool,
    pub(super) signaled: bool,
    pub(super) fenced: bool,
}

impl Plan {
    /// A write of nothing, after everything else.
    pub(super) const fn marker(id: u64) -> Self {
        Self {
            id,
            kind: Kind::Write,
            pieces: Vec::new(),
            remote: 0,
            inline: false,
            signaled: true,
            fenced: true,
        }
    }

    fn length(&self) -> usize {
        self.pieces.iter().map(Range::len).sum()
    }

    fn remote_range(&self) -> Range<usize> {
        match self.kind {
            Kind::Send(_) => 0..0,
            _ => self.remote..self.remote + self.length(),
        }
    }
}

/// A message on its way to the oldest receive.
#[derive(Debug)]
struct Expected {
    length: usize,
    immediate: Option<u32>,
    kind: CompletionKind,
}

/// The model.
pub(super) struct Model {
    left: Vec<u8>,
    right: Vec<u8>,
    next_id: u64,
    /// Requests that complete, oldest first.
    signaled: VecDeque<(u64, CompletionKind)>,
    /// Posted receives, oldest first: id and slot.
    receives: VecDeque<(u64, usize)>,
    next_receive: u64,
    /// Messages that are on their way, oldest first; the oldest receives are theirs.
    messages: VecDeque<Expected>,
    /// Places in both memories that earlier reads and atomics fetch from and to.
    fetching: Vec<(Range<usize>, Vec<Range<usize>>)>,
}

impl Model {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            left: pattern(seed, BYTES),
            right: pattern(!seed, BYTES),
            next_id: 0,
            signaled: VecDeque::new(),
            receives: VecDeque::new(),
            next_receive: 0,
            messages: VecDeque::new(),
            fetching: Vec::new(),
        }
    }

    pub(super) fn left(&self) -> &[u8] {
        &self.left
    }

    pub(super) fn right(&self) -> &[u8] {
        &self.right
    }

    pub(super) const fn next_id(&self) -> u64 {
        self.next_id
    }

    pub(super) fn has_signaled(&self) -> bool {
        !self.signaled.is_empty()
    }

    pub(super) fn is_waiting_for(&self, id: u64) -> bool {
        self.signaled.iter().any(|(waiting, _)| *waiting == id)
    }

    /// Messages that are on their way.
    pub(super) fn messages(&self) -> usize {
        self.messages.len()
    }

    /// A receive was posted; its id.
    pub(super) fn receive(&mut self, slot: usize) -> u64 {
        self.next_receive += 1;
        self.receives.push_back((self.next_receive, slot));
        self.next_receive
    }

    /// A request by chance, unless it would find no receive.
    pub(super) fn plan(&self, random: &mut Random) -> Option<Plan> {
        let kind = match random.below(11) {
            0..=3 => Kind::Write,
            4..=5 => Kind::Read,
            6..=7 => Kind::Send(random.once_in(2).then(|| random.draw() as u32)),
            8 => Kind::WriteImmediate(random.draw() as u32),
            9 => Kind::FetchAdd(random.draw()),
            _ => Kind::CompareSwap(random.draw(), random.draw()),
        };
        if kind.takes_receive() && self.messages.len() == self.receives.len() {
            return None;
        }
        let mut plan = Plan {
            id: self.next_id,
            kind,
            pieces: pieces(kind, random),
            remote: 0,
            inline: false,
            // Enough of them that the queue never fills with requests that do not complete.
            signaled: random.once_in(3) || self.next_id.is_multiple_of(4),
            fenced: false,
        };
        plan.remote = random.below(PLAIN - plan.length() + 1);
        self.complete(&mut plan, random);
        Some(plan)
    }

    fn complete(&self, plan: &mut Plan, random: &mut Random) {
        if matches!(plan.kind, Kind::FetchAdd(_) | Kind::CompareSwap(..)) {
            plan.remote &= !7;
            // Half of the swaps find what they compare with.
            if let Kind::CompareSwap(_, swap) = plan.kind
                && random.once_in(2)
            {
                plan.kind = Kind::CompareSwap(self.word(plan.remote), swap);
            }
        }
        plan.inline = !plan.kind.fetches() && plan.length() <= INLINE && random.once_in(2);
        plan.fenced = random.once_in(10) || self.needs_fence(plan);
    }

    /// Whether an earlier read or atomic must be over before this begins.
    fn needs_fence(&self, plan: &Plan) -> bool {
        let remote = plan.remote_range();
        self.fetching.iter().any(|(theirs, ours)| {
            let same_memory = || plan.pieces.iter().any(|piece| ours.iter().any(|our| overlap(piece, our)));
            overlap(&remote, theirs) || same_memory()
        })
    }

    /// The bytes that a request sends, as they are when its turn comes.
    pub(super) fn gather(&self, plan: &Plan) -> Vec<u8> {
        plan.pieces.iter().flat_map(|piece| self.left[piece.clone()].iter().copied()).collect()
    }

    /// The request was posted: carries it out.
    pub(super) fn posted(&mut self, plan: &Plan, bytes: &[u8]) {
        self.next_id += 1;
        if plan.signaled {
            self.signaled.push_back((plan.id, plan.kind.completes_as()));
        }
        if plan.fenced {
            self.fetching.clear();
        }
        let (remote, length) = (plan.remote, plan.length());
        match plan.kind {
            Kind::Write => self.right[remote..remote + length].copy_from_slice(bytes),
            Kind::WriteImmediate(immediate) => {
                self.right[remote..remote + length].copy_from_slice(bytes);
                let kind = CompletionKind::ReceiveWriteImmediate;
                self.messages.push_back(Expected { length, immediate: Some(immediate), kind });
            }
            Kind::Send(immediate) => {
                let (_, slot_index) = self.receives[self.messages.len()];
                self.right[slot(slot_index)..][..length].copy_from_slice(bytes);
                let kind = CompletionKind::Receive;
                self.messages.push_back(Expected { length, immediate, kind });
            }
            Kind::Read => self.fetch(plan),
            Kind::FetchAdd(add) => {
                let old = self.word(remote);
                self.fetch(plan);
                self.right[remote..remote + 8].copy_from_slice(&old.wrapping_add(add).to_ne_bytes());
            }
            Kind::CompareSwap(compare, swap) => {
                let old = self.word(remote);
                self.fetch(plan);
                let new = if old == compare { swap } else { old };
                self.right[remote..remote + 8].copy_from_slice(&new.to_ne_bytes());
            }
        }
    }

    /// Copies from right to left.
    fn fetch(&mut self, plan: &Plan) {
        let mut from = plan.remote;
        for piece in &plan.pieces {
            let bytes = self.right[from..from + piece.len()].to_vec();
            self.left[piece.clone()].copy_from_slice(&bytes);
            from += piece.len();
        }
        self.fetching.push((plan.remote_range(), plan.pieces.clone()));
    }

    /// A request completed: the oldest one that was to.
    pub(super) fn completed(&mut self, done: &Completion) {
        let (id, kind) =
            self.signaled.pop_front().unwrap_or_else(|| panic!("nothing was to complete: {done:?}"));
        assert_eq!((done.id, done.result), (id, Ok(kind)));
    }

    /// A receive completed: the oldest one; its slot.
    pub(super) fn received(&mut self, received: &Completion) -> usize {
        let Some(expected) = self.messages.pop_front() else { panic!("no message was sent: {received:?}") };
        let Some((id, slot)) = self.receives.pop_front() else { panic!("no receive was posted") };
        assert_eq!((received.id, received.result), (id, Ok(expected.kind)));
        assert_eq!(
            (received.byte_length as usize, received.immediate),
            (expected.length, expected.immediate)
        );
        slot
    }

    /// Everything that was posted is over.
    pub(super) fn drained(&mut self) {
        assert!(self.signaled.is_empty() && self.messages.is_empty());
        self.fetching.clear();
    }

    fn word(&self, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.right[offset..offset + 8]);
        u64::from_ne_bytes(bytes)
    }
}

/// Places in the left memory: of eight bytes for atomics; disjoint ones where bytes come back.
fn pieces(kind: Kind, random: &mut Random) -> Vec<Range<usize>> {
    if matches!(kind, Kind::FetchAdd(_) | Kind::CompareSwap(..)) {
        let start = random.below(PLAIN / 8) * 8;
        return std::iter::once(start..start + 8).collect();
    }
    let count = random.below(5);
    let longest = if matches!(kind, Kind::Send(_)) { SLOT_BYTES / 4 } else { PLAIN / 4 };
    (0..count)
        .map(|index| {
            // Each piece in a quarter of its own.
            let quarter = index * (PLAIN / 4);
            let short = random.once_in(2);
            let length = random.below(if short { 20 } else { longest } + 1);
            let start = quarter + random.below(PLAIN / 4 - length + 1);
            start..start + length
        })
        .collect()
}

fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}
