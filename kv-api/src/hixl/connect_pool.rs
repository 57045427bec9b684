//! Links that are made and unmade by threads of the engine, and how they stand.
//!
//! Tasks of one peer are done one after the other, in the order in which they were given; those of different peers at
//! the same time, as far as there are threads. Threads start with the first task.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{AsyncConnectStatus, HixlError, links::Links, options};

/// The threads and their tasks.
pub(super) struct ConnectPool {
    config: options::ConnectPool,
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    links: Arc<Links>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    /// Peers that a thread is busy with.
    busy: HashSet<String>,
    /// Those not in it are not connected.
    statuses: BTreeMap<String, AsyncConnectStatus>,
    stopping: bool,
}

struct Task {
    remote: String,
    kind: Kind,
    patience: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Connect,
    Disconnect,
}

impl ConnectPool {
    pub(super) fn new(config: options::ConnectPool, links: Arc<Links>) -> Self {
        let shared = Arc::new(Shared { links, state: Mutex::default(), changed: Condvar::new() });
        Self { config, shared, threads: Mutex::default() }
    }

    /// Has a link made or unmade.
    pub(super) fn submit(&self, remote: &str, kind: Kind, patience: Duration) -> Result<(), HixlError> {
        self.start_threads()?;
        let mut state = self.shared.state();
        if state.stopping {
            return Err(HixlError::NotInitialized);
        }
        if state.tasks.len() >= self.config.capacity {
            return Err(HixlError::TooManyTasks { limit: self.config.capacity });
        }
        state.statuses.insert(remote.to_owned(), kind.pending());
        state.tasks.push_back(Task { remote: remote.to_owned(), kind, patience });
        drop(state);
        self.shared.changed.notify_all();
        Ok(())
    }

    pub(super) fn status(&self, remote: &str) -> AsyncConnectStatus {
        self.shared.state().statuses.get(remote).copied().unwrap_or(AsyncConnectStatus::NotConnect)
    }

    pub(super) fn statuses(&self) -> BTreeMap<String, AsyncConnectStatus> {
        self.shared.state().statuses.clone()
    }

    /// Drops what has not begun and waits for what has.
    pub(super) fn stop(&self) {
        let mut state = self.shared.state();
        state.stopping = true;
        state.tasks.clear();
        drop(state);
        self.shared.changed.notify_all();
        let threads = std::mem::take(&mut *self.threads());
        for thread in threads {
            let _ = thread.join();
        }
    }

    fn start_threads(&self) -> Result<(), HixlError> {
        let mut threads = self.threads();
        while threads.len() < self.config.threads {
            let shared = Arc::clone(&self.shared);
            let builder = thread::Builder::new().name("hixl-connect".into());
            let thread =
                builder.spawn(move || shared.work()).map_err(|source| HixlError::Thread { source })?;
            threads.push(thread);
        }
        Ok(())
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn work(&self) {
        while let Some(task) = self.next() {
            let done = self.carry_out(&task);
            let mut state = self.state();
            state.settle(&task, done);
            state.busy.remove(&task.remote);
            drop(state);
            self.changed.notify_all();
        }
    }

    fn carry_out(&self, task: &Task) -> AsyncConnectStatus {
        let deadline = Instant::now() + task.patience;
        match task.kind {
            Kind::Connect => match self.links.connect(&task.remote, deadline) {
                Ok(_) | Err(HixlError::AlreadyConnected { .. }) => AsyncConnectStatus::Connected,
                Err(_) => AsyncConnectStatus::ConnectFailed,
            },
            Kind::Disconnect => {
                // A link that was not there is as disconnected as one that was.
                let _ = self.links.disconnect(&task.remote, deadline);
                AsyncConnectStatus::NotConnect
            }
        }
    }

    /// The next task whose peer nobody is busy with; `None` when the engine stops.
    fn next(&self) -> Option<Task> {
        let mut state = self.state();
        loop {
            if state.stopping {
                return None;
            }
            if let Some(task) = state.take() {
                return Some(task);
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take(&mut self) -> Option<Task> {
        let index = self.tasks.iter().position(|task| !self.busy.contains(&task.remote))?;
        let task = self.tasks.remove(index)?;
        self.busy.insert(task.remote.clone());
        self.settle(&task, task.kind.running());
        Some(task)
    }

    /// Notes how a task stands, unless a later one of the same peer waits: the latest one's status is told.
    fn settle(&mut self, task: &Task, status: AsyncConnectStatus) {
        if self.tasks.iter().any(|later| later.remote == task.remote) {
            return;
        }
        if status == AsyncConnectStatus::NotConnect {
            self.statuses.remove(&task.remote);
        } else {
            self.statuses.insert(task.remote.clone(), status);
        }
    }
}

impl Kind {
    const fn pending(self) -> AsyncConnectStatus {
        match self {
            Self::Connect => AsyncConnectStatus::ConnectPending,
            Self::Disconnect => AsyncConnectStatus::DisconnectPending,
        }
    }

    const fn running(self) -> AsyncConnectStatus {
        match self {
            Self::Connect => AsyncConnectStatus::Connecting,
            Self::Disconnect => AsyncConnectStatus::Disconnecting,
        }
    }
}
