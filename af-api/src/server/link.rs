//! One worker as a server has it: its areas, its layouts, its requests, and what it asks over the control connection.
//!
//! # A request's life at the server
//! ```text
//!  header ---> collecting ---> waiting ---> in hands ---> responding ---> gone
//!              (parts of a      (inbox)     (Request)     (transfer on
//!               batch)             |            |          the lane)
//!                                  +-- cancel --+-- cancel: quiet at once; a response is refused from now on
//!                                                            +-- cancel: transfer stopped, quiet when it has ended
//! ```
//! | state | cancel answers |
//! |---|---|
//! | not arrived | quiet; the header is dropped when it comes |
//! | collecting, waiting, in hands | quiet; nothing has been written, and nothing will be |
//! | responding | stopping; quiet once the transfer has ended |
//! | gone | quiet: the response's work requests have completed |

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pmd_host::{endpoint::Peer, transfer::Transfer};

use super::{
    areas::{Areas, Place},
    request::{Part, Pushed},
};
use crate::{
    tensor::{Layout, Tensor},
    trace::PeerNumber,
    waiting::Wakers,
    wire::{
        AreaAgreed, AreaGone, BatchPart, CancelAnswer, CancelRequest, Flags, Immediate, NodeIdentity,
        PushEntry, RequestView,
    },
};

/// Batches of one worker of which some parts are missing.
const MOST_BATCHES: usize = 1024;

/// One worker.
pub(super) struct Link {
    pub(super) peer: Peer,
    pub(super) worker: NodeIdentity,
    /// Longest message that both ends take.
    pub(super) message_bytes: usize,
    /// Its number in the server's recorder.
    pub(super) trace: PeerNumber,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    areas: Areas,
    layouts: HashMap<u16, Layout>,
    /// By the worker's slot.
    requests: HashMap<u16, Entry>,
    /// Generation of the last request that arrived in each slot.
    arrived: HashMap<u16, u16>,
    /// Requests that were cancelled before they arrived.
    cancelled: HashMap<u16, u16>,
    /// Parts of batches.
    batches: HashMap<u32, Vec<(BatchPart, Part)>>,
    /// The last ones that their worker gave up: of these more parts may be on their way.
    given_up: VecDeque<u32>,
    down: bool,
    /// Those who wait for areas to be released.
    wakers: Wakers,
}

/// A request that has no complete response yet.
struct Entry {
    generation: u16,
    status: Status,
}

enum Status {
    /// Nothing is written for it.
    Waiting,
    /// The worker gave it up.
    Cancelled,
    /// The response is being written; the transfer is there once it is posted.
    Responding(Option<Transfer>),
}

/// What a header turned out to be.
pub(super) enum Arrival {
    /// All parts of a request.
    Complete(Vec<Part>),
    /// Nothing to hand out: a part of something, or cancelled.
    Nothing,
    /// A part of something. These are of a batch that will never be complete.
    GivenUp(Vec<Part>),
    /// Names what was not agreed on.
    Wrong(Immediate),
}

impl Link {
    pub(super) fn new(
        peer: Peer,
        worker: NodeIdentity,
        message_bytes: usize,
        trace: PeerNumber,
    ) -> Arc<Self> {
        Arc::new(Self { peer, worker, message_bytes, trace, state: Mutex::default() })
    }

    /// Takes in a request's header.
    pub(super) fn arrived(&self, view: &RequestView<'_>) -> Arrival {
        let header = view.header;
        let immediate = Immediate { slot: header.slot, generation: header.generation };
        let mut state = self.state();
        state.arrived.insert(immediate.slot, immediate.generation);
        let cancelled = state.cancelled.remove(&immediate.slot) == Some(immediate.generation);
        let pushes = state.take_in(view, cancelled);
        // A part that was given up has its place all the same: the others of its batch must not wait for it.
        if state.down || cancelled && header.batch.is_none() {
            return Arrival::Nothing;
        }
        let Some(pushes) = pushes else { return Arrival::Wrong(immediate) };
        let status = if cancelled { Status::Cancelled } else { Status::Waiting };
        state.requests.insert(immediate.slot, Entry { generation: immediate.generation, status });
        let part =
            Part { immediate, flags: header.flags, tag: header.tag, pushes, pulls: view.pulls.clone() };
        match header.batch {
            None => Arrival::Complete(vec![part]),
            Some(place) => state.collect(place, part),
        }
    }

    /// The worker gives a request up.
    pub(super) fn cancel(&self, request: CancelRequest) -> CancelAnswer {
        let CancelRequest { slot, generation } = request;
        let mut state = self.state();
        let entry = state.requests.get_mut(&slot).filter(|entry| entry.generation == generation);
        if let Some(entry) = entry {
            if let Status::Responding(transfer) = &entry.status {
                transfer.iter().for_each(Transfer::request_cancel);
                return CancelAnswer::Stopping;
            }
            entry.status = Status::Cancelled;
        } else if state.arrived.get(&slot) != Some(&generation) {
            state.cancelled.insert(slot, generation);
        }
        CancelAnswer::Quiet
    }

    /// The worker will not complete a batch. Returns the parts that are there.
    pub(super) fn batch_given_up(&self, batch: u32) -> Vec<Part> {
        let mut state = self.state();
        if state.given_up.len() == MOST_BATCHES {
            state.given_up.pop_front();
        }
        state.given_up.push_back(batch);
        state.batches.remove(&batch).map(without_places).unwrap_or_default()
    }

    /// Whether the worker gave a request up that has no answer yet. It has, too, where another one has its slot.
    pub(super) fn is_cancelled(&self, immediate: Immediate) -> bool {
        let state = self.state();
        state.find(immediate).is_none_or(|entry| matches!(entry.status, Status::Cancelled))
    }

    pub(super) fn is_down(&self) -> bool {
        self.state().down
    }

    /// From now on a cancel has to stop the response. `false` when the worker gave the request up before.
    pub(super) fn start_responding(&self, immediate: Immediate) -> bool {
        let mut state = self.state();
        match state.find_mut(immediate) {
            Some(entry) if matches!(entry.status, Status::Waiting) => {
                entry.status = Status::Responding(None);
                true
            }
            _ => false,
        }
    }

    /// Keeps the response's transfer so that it can be cancelled, unless it has ended already.
    pub(super) fn keep(&self, immediate: Immediate, transfer: Transfer) {
        if let Some(entry) = self.state().find_mut(immediate) {
            entry.status = Status::Responding(Some(transfer));
        }
    }

    /// The request is over: nothing is written for it any more.
    pub(super) fn forget(&self, immediate: Immediate) {
        let mut state = self.state();
        if state.find(immediate).is_some() {
            // Dropped outside of the lock: a transfer may be the last holder of a route.
            let entry = state.requests.remove(&immediate.slot);
            drop(state);
            drop(entry);
        }
    }

    pub(super) fn add_area(&self, key: u64, place: Place, remote_key: u32) -> Option<AreaAgreed> {
        self.state().areas.insert(key, place, remote_key)
    }

    /// The worker writes there no more.
    pub(super) fn release_area(&self, gone: AreaGone) {
        let mut state = self.state();
        state.areas.remove(gone.key, gone.first_slot);
        let wakers = state.wakers.take();
        drop(state);
        wakers.wake();
    }

    /// First slots of the key's areas, of those in one memory if it is given.
    pub(super) fn areas(&self, key: u64, memory: Option<&crate::tensor::Memory>) -> Vec<u16> {
        let state = self.state();
        memory.map_or_else(|| state.areas.of_key(key), |memory| state.areas.in_memory(key, memory))
    }

    /// Whether the worker has let go of the key's areas in that memory; otherwise the waker is kept.
    pub(super) fn look_released(
        &self,
        key: u64,
        memory: &crate::tensor::Memory,
        waker: Option<&std::task::Waker>,
    ) -> Option<()> {
        let mut state = self.state();
        if state.down || state.areas.in_memory(key, memory).is_empty() {
            return Some(());
        }
        waker.into_iter().for_each(|waker| state.wakers.register(waker));
        None
    }

    /// The worker is gone: its areas are freed as their last tensors go.
    pub(super) fn down(&self) {
        let mut state = self.state();
        state.down = true;
        let areas = std::mem::take(&mut state.areas);
        let batches = std::mem::take(&mut state.batches);
        state.layouts.clear();
        let wakers = state.wakers.take();
        drop(state);
        drop((areas, batches));
        wakers.wake();
    }

    /// Says goodbye if the route is down: the worker then ends what it waits for.
    pub(super) fn check_route(&self) {
        if self.peer.route().fault().is_some() {
            self.peer.close();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn find(&self, at: Immediate) -> Option<&Entry> {
        self.requests.get(&at.slot).filter(|entry| entry.generation == at.generation)
    }

    fn find_mut(&mut self, at: Immediate) -> Option<&mut Entry> {
        self.requests.get_mut(&at.slot).filter(|entry| entry.generation == at.generation)
    }

    /// The pushed tensors; what came inside the message is in its slot then, unless the request was given up: its slots
    /// may be another's by now. `None` where the header names what was not agreed on.
    fn take_in(&mut self, view: &RequestView<'_>, cancelled: bool) -> Option<Vec<Pushed>> {
        let unnumbered: Vec<Layout> =
            view.definitions.iter().filter(|one| one.number == 0).map(|one| one.layout).collect();
        for definition in view.definitions.iter().filter(|definition| definition.number != 0) {
            self.layouts.insert(definition.number, definition.layout);
        }
        let (mut unnumbered, mut data) = (unnumbered.into_iter(), view.data);
        let mut pushes = Vec::with_capacity(view.pushes.len());
        for entry in &view.pushes {
            let layout = match entry.layout {
                0 => unnumbered.next()?,
                number => *self.layouts.get(&number)?,
            };
            let tensor = self.tensor(entry, layout)?;
            if entry.is_inline() {
                let (inside, rest) = data.split_at_checked(entry.length as usize)?;
                // Where the processor does not reach, the worker was told to write.
                let tensor = tensor.as_ref().filter(|tensor| tensor.memory().is_host())?;
                if !cancelled {
                    write(tensor, inside)?;
                }
                data = rest;
            }
            pushes.push(Pushed::new(entry.key, layout, tensor));
        }
        Some(pushes)
    }

    /// Where the tensor is; inside, `None` for one without a byte.
    fn tensor(&self, entry: &PushEntry, layout: Layout) -> Option<Option<Tensor>> {
        if layout.bytes() != entry.length {
            return None;
        }
        match entry.area_slot() {
            Some(slot) => Some(Some(self.areas.tensor(entry.key, slot, layout).ok()?)),
            None => (entry.length == 0).then_some(None),
        }
    }

    /// Adds a part to its batch; gives out the batch when it is complete.
    fn collect(&mut self, place: BatchPart, part: Part) -> Arrival {
        if self.given_up.contains(&place.batch) {
            return Arrival::GivenUp(vec![part]);
        }
        let given_up = self.make_room(place.batch);
        let parts = self.batches.entry(place.batch).or_default();
        parts.push((place, part));
        let last =
            parts.iter().find(|(_, part)| !part.flags.contains(Flags::MORE)).map(|(place, _)| place.index);
        if last.is_none_or(|last| parts.len() != usize::from(last) + 1) {
            return given_up.map_or(Arrival::Nothing, Arrival::GivenUp);
        }
        let mut parts = self.batches.remove(&place.batch).unwrap_or_default();
        parts.sort_unstable_by_key(|(place, _)| place.index);
        Arrival::Complete(without_places(parts))
    }

    /// Takes out the parts of a batch where there are too many. A worker has no use for so many at once: the oldest number is
    /// one that was given up.
    fn make_room(&mut self, batch: u32) -> Option<Vec<Part>> {
        if self.batches.len() < MOST_BATCHES || self.batches.contains_key(&batch) {
            return None;
        }
        let oldest = self.batches.keys().copied().min()?;
        self.batches.remove(&oldest).map(without_places)
    }
}

fn without_places(parts: Vec<(BatchPart, Part)>) -> Vec<Part> {
    parts.into_iter().map(|(_, part)| part).collect()
}

#[expect(unsafe_code, reason = "puts what came inside a message into its slot")]
fn write(tensor: &Tensor, bytes: &[u8]) -> Option<()> {
    // SAFETY: the slot was given to the worker, which says with this header that it holds this push: no request that is
    // handed out has it. The processor reaches the area, which the caller has looked at.
    unsafe { tensor.write(bytes) }.ok()
}

impl fmt::Debug for Link {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Link").field("worker", &self.worker).finish_non_exhaustive()
    }
}
