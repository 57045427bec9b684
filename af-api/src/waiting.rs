//! Waiting for something that another thread brings about, the same for threads and tasks.
//!
//! [`worker`](crate::worker) and [`server`](crate::server) keep [`Wakers`] inside the mutex of what is waited for:
//! who finds nothing leaves a waker there, who changes it wakes them all.

use std::{
    sync::Arc,
    task::{Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

/// Looks this many times before the thread sleeps. Every few looks another thread gets the core: what is waited for may
/// need it.
const LOOKS: u32 = 64;

/// Who waits.
#[derive(Debug, Default)]
pub(crate) struct Wakers(Vec<Waker>);

impl Wakers {
    /// Keeps a waker, once.
    pub(crate) fn register(&mut self, waker: &Waker) {
        if !self.0.iter().any(|known| known.will_wake(waker)) {
            self.0.push(waker.clone());
        }
    }

    /// All of them, to be woken once the mutex is free.
    #[must_use]
    pub(crate) fn take(&mut self) -> Self {
        Self(std::mem::take(&mut self.0))
    }

    pub(crate) fn wake(self) {
        self.0.into_iter().for_each(Waker::wake);
    }
}

/// Calls `look` until it finds something, or `deadline` has passed. When it is given a waker it must leave it where it
/// will be woken.
pub(crate) fn wait_until<T>(
    deadline: Option<Instant>,
    mut look: impl FnMut(Option<&Waker>) -> Option<T>,
) -> Option<T> {
    for turn in 0..LOOKS {
        if let Some(found) = look(None) {
            return Some(found);
        }
        if turn % 8 == 7 {
            thread::yield_now();
        } else {
            std::hint::spin_loop();
        }
    }
    UNPARK.with(|waker| {
        loop {
            if let Some(found) = look(Some(waker)) {
                return Some(found);
            }
            match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => thread::park(),
                Some(left) if left.is_zero() => return None,
                Some(left) => thread::park_timeout(left),
            }
        }
    })
}

thread_local! {
    /// Wakes this thread.
    static UNPARK: Waker = Waker::from(Arc::new(Unpark(thread::current())));
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}
