//! Taking requests: waiting, trying, as a future, or by a handler.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pmd_core::sync::{AtomicBool, Ordering};

use super::{BatchError, Gather, Request, Server, inbox::Inbox};
use crate::waiting::wait_until;

/// How often a serving thread looks whether it is to end.
const SERVING_PAUSE: Duration = Duration::from_millis(100);

impl Server {
    /// Waits for a batch, until `deadline` if there is one.
    ///
    /// # Errors
    /// [`BatchError`]; no request is lost by it.
    pub fn batch(&self, gather: Gather, deadline: Option<Instant>) -> Result<Vec<Request>, BatchError> {
        wait_until(deadline, |waker| self.inbox().look(gather, waker)).unwrap_or_else(|| {
            let (ready, wanted) = self.inbox().progress(gather);
            Err(BatchError::Timeout { ready, wanted })
        })
    }

    /// Waits for a request of every worker, and at `deadline` takes what there is: it may be nothing.
    ///
    /// # Errors
    /// [`BatchError::WorkerDown`] and [`BatchError::Closed`].
    pub fn batch_until(&self, deadline: Instant) -> Result<Vec<Request>, BatchError> {
        match self.batch(Gather::All, Some(deadline)) {
            Err(BatchError::Timeout { .. }) => Ok(self.inbox().take_ready()),
            result => result,
        }
    }

    /// A batch if there is one now.
    ///
    /// # Errors
    /// [`BatchError::WorkerDown`] and [`BatchError::Closed`].
    pub fn try_batch(&self, gather: Gather) -> Result<Option<Vec<Request>>, BatchError> {
        self.inbox().look(gather, None).transpose()
    }

    /// A batch to be awaited. Dropping the future loses no request.
    pub fn next_batch(&self, gather: Gather) -> Batches {
        Batches { inbox: Arc::clone(self.inbox()), gather }
    }

    /// Calls `handler` for each request, in the order of arrival, on a thread of its own until the returned value is dropped
    /// or the server closed. Events of workers that went down are dropped. A handler that panics has refused its
    /// request.
    ///
    /// # Errors
    /// When the thread cannot be started.
    pub fn serve(&self, handler: impl FnMut(Request) + Send + 'static) -> std::io::Result<Serving> {
        let (inbox, stop) = (Arc::clone(self.inbox()), Arc::new(AtomicBool::new(false)));
        let stopped = Arc::clone(&stop);
        let name = "af-serve".to_owned();
        let thread = thread::Builder::new().name(name).spawn(move || run(&inbox, handler, &stopped))?;
        Ok(Serving { stop, thread: Some(thread) })
    }
}

fn run(inbox: &Inbox, mut handler: impl FnMut(Request), stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        let until = Instant::now() + SERVING_PAUSE;
        match wait_until(Some(until), |waker| inbox.look(Gather::Any, waker)) {
            Some(Ok(requests)) => requests.into_iter().for_each(|request| {
                // The request is dropped by the unwinding, and so refused.
                let _ = catch_unwind(AssertUnwindSafe(|| handler(request)));
            }),
            Some(Err(BatchError::Closed)) => return,
            Some(Err(_)) | None => {}
        }
    }
}

/// A batch to come.
#[derive(Clone)]
#[must_use = "a future does nothing unless it is polled"]
pub struct Batches {
    inbox: Arc<Inbox>,
    gather: Gather,
}

impl Future for Batches {
    type Output = Result<Vec<Request>, BatchError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.inbox.look(self.gather, Some(context.waker())).map_or(Poll::Pending, Poll::Ready)
    }
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Batches").field("gather", &self.gather).finish_non_exhaustive()
    }
}

/// A handler at work. Dropping it stops the thread, after the request that it has in hands.
#[derive(Debug)]
pub struct Serving {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        let thread = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id());
        if let Some(thread) = thread {
            // A handler's panic was caught: there is nothing to learn.
            let _ = thread.join();
        }
    }
}
