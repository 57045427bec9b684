//! The thread that answers streams. Each worker and each server has one; it starts with the first capture and lives as long
//! as the worker or server, or any of its captured objects.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle, ThreadId},
    time::{Duration, Instant},
};

use pmd_host::lane::Idle;

/// How a proxy waits for what streams ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyConfig {
    /// What it does when nothing is asked. It asks all the same: a device wakes nobody.
    pub idle: Idle,
    /// With [`Idle::Park`]: for how long after the last change it looks without a pause, yielding the processor.
    pub busy: Duration,
    /// With [`Idle::Park`]: the pause between two looks after that. While nothing is captured it sleeps until something is.
    pub pause: Duration,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self { idle: Idle::Park, busy: Duration::from_millis(2), pause: Duration::from_micros(50) }
    }
}

/// What a proxy looks after.
pub(super) trait Site: Send {
    /// Looks and goes on as far as it can without waiting; whether anything has changed.
    fn turn(&mut self) -> bool;
}

/// A site, shared between the proxy and its owner.
pub(super) type Shared<S> = Arc<Mutex<S>>;

/// A handle to the thread. With the last one it ends.
#[derive(Clone, Debug)]
pub(crate) struct Proxy(Arc<Owner>);

#[derive(Debug)]
struct Owner(Arc<Inner>);

struct Inner {
    config: ProxyConfig,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    sites: Vec<Arc<Mutex<dyn Site>>>,
    /// Counts what the thread has to look at anew: sites, requests to close.
    news: u64,
    ended: bool,
    thread: Option<JoinHandle<()>>,
    thread_id: Option<ThreadId>,
}

impl Proxy {
    pub(crate) fn new(config: ProxyConfig) -> Self {
        Self(Arc::new(Owner(Arc::new(Inner { config, state: Mutex::default(), changed: Condvar::new() }))))
    }

    /// Looks after a site from now on.
    pub(super) fn add(&self, site: Arc<Mutex<dyn Site>>) -> Result<(), io::Error> {
        let inner = &self.0.0;
        let mut state = inner.state();
        if state.thread.is_none() {
            let run = Arc::clone(inner);
            let thread = thread::Builder::new().name("pmd-af-graphs".into()).spawn(move || run.run())?;
            state.thread_id = Some(thread.thread().id());
            state.thread = Some(thread);
        }
        state.sites.push(site);
        state.news += 1;
        inner.changed.notify_all();
        Ok(())
    }

    /// Makes the thread look now.
    pub(super) fn wake(&self) {
        self.0.0.state().news += 1;
        self.0.0.changed.notify_all();
    }
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sites = self.state().sites.len();
        formatter.debug_struct("Proxy").field("config", &self.config).field("sites", &sites).finish()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.ended = true;
        let ourselves = state.thread_id == Some(thread::current().id());
        let thread = state.thread.take().filter(|_| !ourselves);
        drop(state);
        self.0.changed.notify_all();
        // A panic in it was caught.
        thread.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Inner {
    /// The thread.
    fn run(&self) {
        let (mut sites, mut known, mut changed) = (Vec::new(), 0, Instant::now());
        loop {
            let mut state = self.state();
            while state.sites.is_empty() && !state.ended {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.ended {
                return;
            }
            if state.news != known {
                sites.clone_from(&state.sites);
                (known, changed) = (state.news, Instant::now());
            }
            drop(state);
            let broken: Vec<_> =
                sites.iter().filter(|site| !self.look(site, &mut changed)).cloned().collect();
            if !broken.is_empty() {
                let mut state = self.state();
                state.sites.retain(|site| !broken.iter().any(|broken| Arc::ptr_eq(site, broken)));
                state.news += 1;
            }
            self.rest(known, changed.elapsed());
        }
    }

    /// A turn of one site; whether there will be another.
    fn look(&self, site: &Arc<Mutex<dyn Site>>, changed: &mut Instant) -> bool {
        let mut locked = lock(site);
        // Whatever it panics with has been printed; the others go on.
        match catch_unwind(AssertUnwindSafe(|| locked.turn())) {
            Ok(moved) => {
                if moved {
                    *changed = Instant::now();
                }
                true
            }
            Err(_) => false,
        }
    }

    fn rest(&self, known: u64, unchanged: Duration) {
        match self.config.idle {
            Idle::Spin => std::hint::spin_loop(),
            Idle::Park if unchanged >= self.config.busy => {
                let state = self.state();
                if state.news == known && !state.ended {
                    drop(self.changed.wait_timeout(state, self.config.pause));
                }
            }
            Idle::Yield | Idle::Park => thread::yield_now(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// What panicked under one of these locks is not used any more.
pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
