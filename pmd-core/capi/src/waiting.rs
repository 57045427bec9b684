//! Waiting for futures from any number of threads, without holding what is waited for.

use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Poll, Wake, Waker},
    time::Instant,
};

/// Wakes everyone who waits for one object. The object is locked only to be looked at, so that another thread can cancel
/// it meanwhile.
#[derive(Debug, Default)]
pub struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    /// Calls `look` until it finds something, or the deadline has passed. What it looks at keeps the waker.
    pub fn wait<T>(
        self: &Arc<Self>,
        deadline: Option<Instant>,
        mut look: impl FnMut(&Waker) -> Poll<T>,
    ) -> Option<T> {
        let waker = Waker::from(Arc::clone(self));
        loop {
            let before = *self.lock();
            if let Poll::Ready(found) = look(&waker) {
                return Some(found);
            }
            if !self.sleep(before, deadline) {
                return None;
            }
        }
    }

    /// Waits for a ring after `before`; whether it came in time.
    fn sleep(&self, before: u64, deadline: Option<Instant>) -> bool {
        let mut rings = self.lock();
        while *rings == before {
            rings = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.rung.wait(rings).unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => return false,
                Some(left) => self.rung.wait_timeout(rings, left).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.rings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        *self.lock() += 1;
        self.rung.notify_all();
    }
}
