//! Requests that wait to be handed out, worker by worker.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
    time::Duration,
};

use pmd_host::{control::DownReason, identity::DeviceId};

use super::{
    BatchError, Gather, ServerConfig,
    captured::Captured,
    link::Link,
    request::{Part, Request},
};
use crate::{tensor::Memory, trace::ServerRecorder, waiting::Wakers, wire::NodeIdentity};

/// What waits.
pub(crate) struct Inbox {
    workers: Option<usize>,
    inline_bytes: u32,
    patience: Duration,
    recorder: ServerRecorder,
    endpoint: Mutex<Option<DeviceId>>,
    state: Mutex<State>,
}

#[derive(Default)]
pub(super) struct State {
    /// Connected workers by rank.
    workers: BTreeMap<u32, Waiting>,
    downs: VecDeque<(NodeIdentity, DownReason)>,
    next_id: u64,
    closed: bool,
    wakers: Wakers,
    /// What streams take by themselves.
    pub(super) captured: Captured,
}

struct Waiting {
    link: Arc<Link>,
    requests: VecDeque<Request>,
}

impl Inbox {
    pub(super) fn new(config: &ServerConfig) -> Arc<Self> {
        Arc::new(Self {
            workers: config.workers,
            inline_bytes: config.inline_bytes,
            patience: config.patience,
            recorder: ServerRecorder::new(config.trace),
            endpoint: Mutex::default(),
            state: Mutex::default(),
        })
    }

    pub(super) const fn inline_bytes(&self) -> u32 {
        self.inline_bytes
    }

    pub(super) const fn patience(&self) -> Duration {
        self.patience
    }

    pub(super) const fn recorder(&self) -> &ServerRecorder {
        &self.recorder
    }

    pub(super) fn belongs_to(&self, endpoint: DeviceId) {
        *self.endpoint.lock().unwrap_or_else(PoisonError::into_inner) = Some(endpoint);
    }

    /// Whether the memory was registered with the server's endpoint.
    pub(super) fn owns(&self, memory: &Memory) -> bool {
        let endpoint = *self.endpoint.lock().unwrap_or_else(PoisonError::into_inner);
        endpoint.is_some_and(|endpoint| memory.is_of(&endpoint))
    }

    /// A worker has introduced itself. Returns an earlier life of the same rank; `Err` when there is a later one.
    pub(super) fn join(&self, link: &Arc<Link>) -> Result<Option<Arc<Link>>, NodeIdentity> {
        let mut state = self.state();
        let rank = link.worker.rank;
        if let Some(known) = state.workers.get(&rank)
            && known.link.worker.epoch > link.worker.epoch
        {
            return Err(known.link.worker);
        }
        let waiting = Waiting { link: Arc::clone(link), requests: VecDeque::new() };
        let earlier = state.workers.insert(rank, waiting);
        let gone = state.captured.joined(rank);
        let wakers = state.wakers.take();
        drop(state);
        drop(gone);
        wakers.wake();
        // Its requests are dropped here, outside of the lock.
        Ok(earlier.map(|earlier| earlier.link))
    }

    /// A worker is gone: its requests are of no use, and those who wait are told.
    pub(super) fn leave(&self, link: &Arc<Link>, reason: &DownReason) {
        let mut state = self.state();
        let rank = link.worker.rank;
        let current = state.workers.get(&rank).is_some_and(|known| Arc::ptr_eq(&known.link, link));
        let gone = if current { state.workers.remove(&rank) } else { None };
        let mut captured = Vec::new();
        if current {
            state.downs.push_back((link.worker, reason.clone()));
            captured = state.captured.left(rank, reason);
        }
        let wakers = state.wakers.take();
        drop(state);
        drop((gone, captured));
        wakers.wake();
    }

    pub(super) fn arrived(self: &Arc<Self>, link: &Arc<Link>, parts: Vec<Part>) {
        let received = self.recorder.now();
        let mut state = self.state();
        let id = state.next_id;
        state.next_id += 1;
        let request = Request::new((id, received), Arc::clone(link), parts, Arc::clone(self));
        let State { workers, captured, .. } = &mut *state;
        let known = workers.get_mut(&link.worker.rank);
        let refused = match known.filter(|known| Arc::ptr_eq(&known.link, link)) {
            Some(known) => {
                known.requests.extend(captured.take_in(link.worker.rank, request));
                None
            }
            None => Some(request),
        };
        let wakers = state.wakers.take();
        drop(state);
        drop(refused);
        wakers.wake();
    }

    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let workers = std::mem::take(&mut state.workers);
        let captured = state.captured.close();
        let wakers = state.wakers.take();
        drop(state);
        drop((workers, captured));
        wakers.wake();
    }

    pub(super) fn workers(&self) -> Vec<NodeIdentity> {
        self.state().workers.values().map(|waiting| waiting.link.worker).collect()
    }

    pub(super) fn link(&self, rank: u32) -> Option<Arc<Link>> {
        self.state().workers.get(&rank).map(|waiting| Arc::clone(&waiting.link))
    }

    /// A batch, if there is one; otherwise the waker is kept.
    pub(super) fn look(
        &self,
        gather: Gather,
        waker: Option<&Waker>,
    ) -> Option<Result<Vec<Request>, BatchError>> {
        let mut cancelled = Vec::new();
        let mut state = self.state();
        let found = state.find(gather, self.workers, &mut cancelled);
        if let (None, Some(waker)) = (&found, waker) {
            state.wakers.register(waker);
        }
        drop(state);
        drop(cancelled);
        found.map(|batch| batch.map(|requests| self.handed_out(requests)))
    }

    /// One request of each worker that has one.
    pub(super) fn take_ready(&self) -> Vec<Request> {
        let ready = self.state().take_ready(usize::MAX);
        self.handed_out(ready)
    }

    fn handed_out(&self, mut requests: Vec<Request>) -> Vec<Request> {
        self.note_handed_out(&mut requests);
        requests
    }

    pub(super) fn note_handed_out<'a>(&self, requests: impl IntoIterator<Item = &'a mut Request>) {
        let now = self.recorder.now();
        requests.into_iter().for_each(|request| request.note_processed(now));
    }

    /// Whoever waits looks again.
    pub(super) fn wake(&self) {
        let wakers = self.state().wakers.take();
        wakers.wake();
    }

    /// Workers of which a request waits, and how many are waited for.
    pub(super) fn progress(&self, gather: Gather) -> (usize, usize) {
        let state = self.state();
        (state.ready(), state.wanted(gather, self.workers))
    }

    /// Requests that have not been handed out.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.state().workers.values().map(|waiting| waiting.requests.len()).sum()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Gives captured services what waits already and is theirs.
    pub(super) fn move_captured(&mut self) {
        let Self { workers, captured, .. } = self;
        for (rank, waiting) in workers {
            let requests = std::mem::take(&mut waiting.requests);
            waiting.requests = requests.into_iter().filter_map(|one| captured.take_in(*rank, one)).collect();
        }
    }

    /// Takes requests back that no service waits for; those of workers that are gone are returned.
    pub(super) fn put_back(&mut self, requests: Vec<Request>) -> Vec<Request> {
        let mut gone = Vec::new();
        for request in requests {
            match self.workers.get_mut(&request.worker().rank) {
                Some(waiting) if !request.is_down() => waiting.requests.push_back(request),
                _ => gone.push(request),
            }
        }
        for waiting in self.workers.values_mut() {
            waiting.requests.make_contiguous().sort_by_key(Request::id);
        }
        gone
    }

    fn find(
        &mut self,
        gather: Gather,
        workers: Option<usize>,
        cancelled: &mut Vec<Request>,
    ) -> Option<Result<Vec<Request>, BatchError>> {
        if self.closed {
            return Some(Err(BatchError::Closed));
        }
        if let Some((worker, reason)) = self.downs.pop_front() {
            return Some(Err(BatchError::WorkerDown { worker, reason }));
        }
        for waiting in self.workers.values_mut() {
            while waiting.requests.front().is_some_and(Request::is_cancelled) {
                cancelled.extend(waiting.requests.pop_front());
            }
        }
        if self.ready() < self.wanted(gather, workers) {
            return None;
        }
        Some(Ok(match gather {
            Gather::Any => self.take_oldest().into_iter().collect(),
            Gather::All | Gather::Quorum(_) => self.take_ready(usize::MAX),
        }))
    }

    fn ready(&self) -> usize {
        self.workers.values().filter(|waiting| !waiting.requests.is_empty()).count()
    }

    fn wanted(&self, gather: Gather, workers: Option<usize>) -> usize {
        match gather {
            Gather::All => workers.unwrap_or(self.workers.len()).max(1),
            Gather::Any => 1,
            Gather::Quorum(count) => count.max(1),
        }
    }

    fn take_ready(&mut self, most: usize) -> Vec<Request> {
        let queues = self.workers.values_mut().map(|waiting| &mut waiting.requests);
        queues.filter_map(VecDeque::pop_front).take(most).collect()
    }

    fn take_oldest(&mut self) -> Option<Request> {
        let queues = self.workers.values_mut().map(|waiting| &mut waiting.requests);
        let oldest =
            queues.filter(|queue| !queue.is_empty()).min_by_key(|queue| queue.front().map(Request::id));
        oldest?.pop_front()
    }
}
