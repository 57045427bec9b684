//! The application's thread and what waits for it.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread::{self, JoinHandle},
};

use super::{AppHandler, AppMessage, Owner, Shared, SimpleApp};

/// Requests that wait to be handled. Responses are as many as this side's requests, and are always taken.
pub(super) const REQUESTS: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Inbox {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Whether it is a request, and it.
    waiting: VecDeque<(bool, AppMessage)>,
    requests: usize,
    closed: bool,
    thread: Option<JoinHandle<()>>,
}

impl Inbox {
    /// Starts the thread of an application whose inbox this is.
    pub(super) fn start(&self, app: &SimpleApp, handler: Arc<dyn AppHandler>) -> io::Result<()> {
        let (shared, owner) = (Arc::clone(app.shared()), Arc::downgrade(&app.0));
        let run = move || run(&shared, &owner, &*handler);
        let thread = thread::Builder::new().name("pmd-af-app".into()).spawn(run)?;
        self.state().thread = Some(thread);
        Ok(())
    }

    /// Puts a message in: false for a request that finds it full.
    pub(super) fn put(&self, request: bool, message: AppMessage) -> bool {
        let mut state = self.state();
        if request && state.requests >= REQUESTS {
            return false;
        }
        state.requests += usize::from(request);
        state.waiting.push_back((request, message));
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Ends the thread after the call that runs; waits for that unless it is the caller.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let thread = state.thread.take();
        drop(state);
        self.changed.notify_all();
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != thread::current().id()) {
            drop(thread.join());
        }
    }

    fn next(&self) -> Option<(bool, AppMessage)> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            if let Some((request, message)) = state.waiting.pop_front() {
                state.requests -= usize::from(request);
                return Some((request, message));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread. It holds a handle of the application only while a handler runs.
fn run(shared: &Shared, owner: &Weak<Owner>, handler: &dyn AppHandler) {
    while let Some((request, message)) = shared.inbox.next() {
        let Some(app) = owner.upgrade().map(SimpleApp) else { return };
        let (from, timestamp) = (message.from, message.timestamp);
        // What it panics with has been printed; the others' messages are handled all the same.
        let handled = catch_unwind(AssertUnwindSafe(|| match request {
            true => handler.request(&app, message),
            false => handler.response(&app, message),
        }));
        drop(handled);
        if !request {
            shared.answered(from, timestamp);
        }
    }
}
