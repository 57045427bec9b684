//! Requests that streams take by themselves: an inbox's queues for captured services.
//!
//! Called by the inbox, under its lock, and by the proxy in [`graph`](crate::graph).

use std::collections::{BTreeMap, VecDeque};

use pmd_host::control::DownReason;

use super::{
    inbox::Inbox,
    request::{Pushed, Request},
};

/// What there is for a launch that waits.
pub(crate) enum CapturedBatch {
    /// Not one of each worker yet.
    Waiting,
    /// The server was closed.
    Closed,
    /// One request of each worker in the order in which they were captured, or why its worker is down.
    Ready(Vec<Result<Request, DownReason>>),
}

/// The captured services of a server.
#[derive(Default)]
pub(super) struct Captured {
    made: u64,
    routes: BTreeMap<u64, Vec<Expected>>,
    /// Workers that were here and are down.
    down: BTreeMap<u32, DownReason>,
}

/// What is taken of one worker.
struct Expected {
    worker: u32,
    pushes: Vec<u64>,
    requests: VecDeque<Request>,
}

impl Inbox {
    /// Takes requests of these workers with pushes of exactly these keys out of what batches are made of, those that wait
    /// already among them; the number of the service, or the worker of whom another service takes the same.
    pub(crate) fn capture(&self, wanted: Vec<(u32, Vec<u64>)>) -> Result<u64, u32> {
        let fresh = |(worker, pushes)| Expected { worker, pushes, requests: VecDeque::new() };
        let expected: Vec<Expected> = wanted.into_iter().map(fresh).collect();
        let mut state = self.state();
        for (index, one) in expected.iter().enumerate() {
            let same = |other: &Expected| other.worker == one.worker && other.pushes == one.pushes;
            let known = state.captured.routes.values().flatten().any(same);
            if known || expected[..index].iter().any(same) {
                return Err(one.worker);
            }
        }
        state.captured.made += 1;
        let number = state.captured.made;
        state.captured.routes.insert(number, expected);
        state.move_captured();
        Ok(number)
    }

    /// What is not taken yet goes back to where batches are made of.
    pub(crate) fn release(&self, number: u64) {
        let mut state = self.state();
        let waiting = state.captured.routes.remove(&number);
        let requests = waiting.into_iter().flatten().flat_map(|expected| expected.requests);
        let gone = state.put_back(requests.collect());
        drop(state);
        drop(gone);
        self.wake();
    }

    /// A batch for a launch, if there is one.
    pub(crate) fn look_captured(&self, number: u64) -> CapturedBatch {
        let mut cancelled = Vec::new();
        let mut state = self.state();
        let mut found = if state.is_closed() {
            CapturedBatch::Closed
        } else {
            state.captured.find(number, &mut cancelled)
        };
        drop(state);
        drop(cancelled);
        if let CapturedBatch::Ready(batch) = &mut found {
            self.note_handed_out(batch.iter_mut().filter_map(|one| one.as_mut().ok()));
        }
        found
    }
}

impl Captured {
    /// Keeps a request that a service takes, or gives it back.
    pub(super) fn take_in(&mut self, worker: u32, request: Request) -> Option<Request> {
        let keys = || request.pushes().map(Pushed::key);
        let takes = |one: &&mut Expected| one.worker == worker && keys().eq(one.pushes.iter().copied());
        match self.routes.values_mut().flatten().find(takes) {
            Some(expected) => {
                expected.requests.push_back(request);
                None
            }
            None => Some(request),
        }
    }

    /// A worker is here.
    pub(super) fn joined(&mut self, worker: u32) -> Vec<Request> {
        self.down.remove(&worker);
        self.take_out(worker)
    }

    /// A worker is down. Its requests are of no use.
    pub(super) fn left(&mut self, worker: u32, reason: &DownReason) -> Vec<Request> {
        self.down.insert(worker, reason.clone());
        self.take_out(worker)
    }

    /// All requests, when the server closes.
    pub(super) fn close(&mut self) -> Vec<Request> {
        self.routes.values_mut().flatten().flat_map(|expected| expected.requests.drain(..)).collect()
    }

    fn take_out(&mut self, worker: u32) -> Vec<Request> {
        let all = self.routes.values_mut().flatten();
        let of_worker = all.filter(|expected| expected.worker == worker);
        of_worker.flat_map(|expected| expected.requests.drain(..)).collect()
    }

    fn find(&mut self, number: u64, cancelled: &mut Vec<Request>) -> CapturedBatch {
        let Some(expected) = self.routes.get_mut(&number) else { return CapturedBatch::Closed };
        for Expected { requests, .. } in expected.iter_mut() {
            while requests.front().is_some_and(Request::is_cancelled) {
                cancelled.extend(requests.pop_front());
            }
        }
        let down = &self.down;
        if !expected.iter().all(|one| !one.requests.is_empty() || down.contains_key(&one.worker)) {
            return CapturedBatch::Waiting;
        }
        let take = |one: &mut Expected| {
            let reason = || down.get(&one.worker).cloned().unwrap_or(DownReason::Closed);
            one.requests.pop_front().ok_or_else(reason)
        };
        CapturedBatch::Ready(expected.iter_mut().map(take).collect())
    }
}
