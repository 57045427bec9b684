//! The thread that waits for push-pulls and calls what comes after them.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{self, JoinHandle},
};

use crate::worker::{Failure, Handle, Results};

/// What to do with the outcome.
pub(super) type Then = Box<dyn FnOnce(Result<Results, Failure>) + Send>;

#[derive(Default)]
pub(super) struct Completer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    added: Vec<(Handle, Then)>,
    woken: bool,
    closed: bool,
}

impl Completer {
    pub(super) fn start() -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let run = {
            let shared = Arc::clone(&shared);
            move || shared.run()
        };
        let thread = thread::Builder::new().name("pmd-af-kv".into()).spawn(run)?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub(super) fn add(&self, handle: Handle, then: Then) {
        self.shared.state().added.push((handle, then));
        self.shared.changed.notify_all();
    }
}

impl Drop for Completer {
    /// Cancels what is in flight.
    fn drop(&mut self) {
        self.shared.state().closed = true;
        self.shared.changed.notify_all();
        if let Some(thread) =
            self.thread.take().filter(|thread| thread.thread().id() != thread::current().id())
        {
            drop(thread.join());
        }
    }
}

impl Shared {
    /// The thread: when it is closed it cancels what is in flight, tells that, and ends.
    fn run(self: &Arc<Self>) {
        let waker = Waker::from(Arc::clone(self));
        let mut running: Vec<(Handle, Then)> = Vec::new();
        loop {
            let mut state = self.state();
            while state.added.is_empty() && !state.woken && !state.closed {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            state.woken = false;
            running.append(&mut state.added);
            let closed = state.closed;
            drop(state);
            if closed {
                running.iter().for_each(|(handle, _)| drop(handle.cancel()));
            }
            let polled = std::mem::take(&mut running).into_iter();
            running.extend(polled.filter_map(|(handle, then)| poll(handle, then, &waker)));
            if closed {
                return;
            }
        }
    }

    /// Nothing of the application runs under it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Calls what comes after a request that has ended, or gives it back.
fn poll(handle: Handle, then: Then, waker: &Waker) -> Option<(Handle, Then)> {
    match pin!(handle.clone()).poll(&mut Context::from_waker(waker)) {
        Poll::Pending => Some((handle, then)),
        Poll::Ready(outcome) => {
            // A callback's panic has been printed; the others' outcomes are told all the same.
            drop(catch_unwind(AssertUnwindSafe(|| then(outcome))));
            None
        }
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.state().woken = true;
        self.changed.notify_all();
    }
}
