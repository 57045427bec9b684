//! The worker's half: a push-pull that a stream asks for.

use std::{
    fmt,
    sync::{Arc, Mutex, Weak},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, Stream},
    ring::toggle::{Asked, Toggle},
};

use super::{
    CaptureError, CloseError, ExchangeCause, Launches,
    flush::Flushes,
    proxy::{Proxy, Shared, Site, lock},
};
use crate::worker::{CancelOutcome, Handle, Inner, PushPull, PushPullError, Worker};

/// A push-pull that streams make by themselves. Made by [`Worker::capture`].
///
/// Dropping it gives up the launch that is being served and waits until that is quiet; see the [module](super) for what
/// becomes of later ones.
pub struct CapturedExchange {
    toggle: Toggle,
    site: Shared<ExchangeSite>,
    launches: Arc<Launches<ExchangeCause>>,
    proxy: Proxy,
}

impl Worker {
    /// Captures a push-pull: from now on streams of the accelerator make it by themselves, wherever the returned object was
    /// [put](CapturedExchange::put). Agrees with the servers on room for its keys, so that launches need not.
    ///
    /// A launch that is not done within `patience` is stopped, and its stream goes on; without one it waits for as long as
    /// its server is there.
    ///
    /// # Errors
    /// [`CaptureError`].
    pub fn capture(
        &self,
        accelerator: &dyn Accelerator,
        request: &PushPull,
        patience: Option<Duration>,
    ) -> Result<CapturedExchange, CaptureError> {
        if request.is_ordered() {
            return Err(CaptureError::Ordered);
        }
        self.check_and_agree(request)?;
        let toggle = Toggle::new(accelerator.flag()?, accelerator.flag()?);
        let launches = Arc::new(Launches::new());
        let work = Work { worker: Arc::downgrade(self.inner()), request: request.clone(), patience };
        let site = ExchangeSite {
            toggle: toggle.clone(),
            launches: Arc::clone(&launches),
            work: Some(work),
            state: State::Idle,
            wanted: Wanted::Served,
        };
        let (site, proxy) = (Arc::new(Mutex::new(site)), self.proxy().clone());
        proxy.add(Arc::clone(&site) as Arc<Mutex<dyn Site>>).map_err(CaptureError::Thread)?;
        Ok(CapturedExchange { toggle, site, launches, proxy })
    }
}

impl CapturedExchange {
    /// Puts one push-pull into a stream: in a stream that is captured it becomes a part of the graph and happens at each
    /// launch, in another one it happens once. What is in the stream before has computed what is pushed; what comes behind
    /// finds what was pulled, or learns nothing of a failure: that is in [`CapturedExchange::launches`].
    ///
    /// # Errors
    /// Those of [`Stream::signal`]; a stream of another accelerator is [`AcceleratorError::Foreign`].
    pub fn put(&self, stream: &dyn Stream) -> Result<(), AcceleratorError> {
        self.toggle.put(stream)
    }

    /// What became of the launches.
    #[must_use]
    pub fn launches(&self) -> &Launches<ExchangeCause> {
        &self.launches
    }

    /// Serves no launch any more: those that come are answered with [`ExchangeCause::Closed`]. Its tensors are free from then
    /// on. Waits for the launch that is being served, until `deadline` if there is one.
    ///
    /// # Errors
    /// [`CloseError::InFlight`]: it closes once that launch has ended.
    pub fn close(&self, deadline: Option<Instant>) -> Result<(), CloseError> {
        self.end(Wanted::Closed, deadline)
    }

    fn end(&self, wanted: Wanted, deadline: Option<Instant>) -> Result<(), CloseError> {
        lock(&self.site).wanted = wanted;
        self.proxy.wake();
        if self.launches.wait_closed(deadline) {
            return Ok(());
        }
        Err(CloseError::InFlight { launch: self.launches.ended() + 1 })
    }
}

impl Drop for CapturedExchange {
    fn drop(&mut self) {
        // Without a deadline it ends.
        let _ = self.end(Wanted::GivenUp, None);
    }
}

impl fmt::Debug for CapturedExchange {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ended, failed) = (self.launches.ended(), self.launches.failed());
        let mut debug = formatter.debug_struct("CapturedExchange");
        debug.field("ended", &ended).field("failed", &failed).finish_non_exhaustive()
    }
}

/// What the owner wants of its site.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// To be served.
    Served,
    /// To be closed once nothing is in flight.
    Closed,
    /// To be closed now.
    GivenUp,
}

/// What launches ask for.
struct Work {
    /// The proxy does not keep the worker.
    worker: Weak<Inner>,
    request: PushPull,
    patience: Option<Duration>,
}

/// What the proxy looks after.
pub(super) struct ExchangeSite {
    toggle: Toggle,
    launches: Arc<Launches<ExchangeCause>>,
    /// None once it is closed.
    work: Option<Work>,
    state: State,
    wanted: Wanted,
}

enum State {
    /// Nothing is asked.
    Idle,
    /// A launch asks, and there is no room yet.
    Asked { since: Instant },
    /// The push-pull is in flight.
    InFlight { handle: Handle, since: Instant },
    /// It is being stopped, by a thread of its own: that takes a round to the server.
    Stopping { thread: JoinHandle<CancelOutcome>, handle: Handle, cause: ExchangeCause },
}

impl Site for ExchangeSite {
    fn turn(&mut self) -> bool {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::Idle => self.look(),
            State::Asked { since } => self.submit(since),
            State::InFlight { handle, since } => self.follow(handle, since),
            State::Stopping { thread, handle, cause } => self.stop(thread, handle, cause),
        }
    }
}

impl ExchangeSite {
    fn look(&mut self) -> bool {
        match self.toggle.take() {
            Some(Asked::Launch) => {
                self.submit(Instant::now());
            }
            Some(Asked::Overlap) => self.launches.note(Err(ExchangeCause::Overlap)),
            None if self.wanted == Wanted::Served || self.launches.is_closed() => return false,
            None => {
                // The tensors go before anybody is told that they are free.
                self.work = None;
                self.launches.note_closed();
            }
        }
        true
    }

    /// Submits what a launch asked for, or leaves it for the next turn where there is no room.
    fn submit(&mut self, since: Instant) -> bool {
        let Some(work) = self.work.as_ref().filter(|_| self.wanted != Wanted::GivenUp) else {
            return self.answer(Err(ExchangeCause::Closed));
        };
        let Some(worker) = work.worker.upgrade() else {
            return self.answer(Err(ExchangeCause::WorkerClosed));
        };
        match Worker::of(worker).try_push_pull(&work.request) {
            Ok(handle) => self.state = State::InFlight { handle, since },
            Err(PushPullError::Full { .. }) if work.patience_left(since) => {
                self.state = State::Asked { since };
                return false;
            }
            Err(error) => return self.answer(Err(error.into())),
        }
        true
    }

    fn follow(&mut self, handle: Handle, since: Instant) -> bool {
        if let Some(ended) = handle.poll() {
            return self.answer(ended.map_err(ExchangeCause::from).and_then(|_| flush(&handle)));
        }
        let late =
            self.work.as_ref().filter(|work| !work.patience_left(since)).and_then(|work| work.patience);
        let cause = match late {
            Some(patience) => ExchangeCause::Timeout { patience },
            None if self.wanted == Wanted::GivenUp => ExchangeCause::Closed,
            None => {
                self.state = State::InFlight { handle, since };
                return false;
            }
        };
        let cancelled = handle.clone();
        match thread::Builder::new().name("pmd-af-cancel".into()).spawn(move || cancelled.cancel()) {
            Ok(thread) => self.state = State::Stopping { thread, handle, cause },
            Err(_) => {
                let outcome = handle.cancel();
                self.settle(outcome, &handle, cause);
            }
        }
        true
    }

    fn stop(&mut self, thread: JoinHandle<CancelOutcome>, handle: Handle, cause: ExchangeCause) -> bool {
        if !thread.is_finished() {
            self.state = State::Stopping { thread, handle, cause };
            return false;
        }
        // A cancel does not panic; if it did, the failure is the same.
        let outcome = thread.join().unwrap_or(CancelOutcome::Cancelled);
        self.settle(outcome, &handle, cause)
    }

    fn settle(&mut self, outcome: CancelOutcome, handle: &Handle, cause: ExchangeCause) -> bool {
        self.answer(match outcome {
            CancelOutcome::Completed(_) => flush(handle),
            CancelOutcome::Cancelled => Err(cause),
            CancelOutcome::Failed(failure) => Err(failure.into()),
        })
    }

    /// The status first, then the stream goes on.
    fn answer(&mut self, outcome: Result<(), ExchangeCause>) -> bool {
        let launches = &self.launches;
        self.toggle.answer(|overlap| {
            launches.note(outcome);
            if overlap.is_some() {
                launches.note(Err(ExchangeCause::Overlap));
            }
        });
        true
    }
}

/// Makes what was pulled visible to the device.
fn flush(handle: &Handle) -> Result<(), ExchangeCause> {
    Flushes::default().of(handle.written_by_nics()).map_err(ExchangeCause::Flush)
}

impl Work {
    fn patience_left(&self, since: Instant) -> bool {
        self.patience.is_none_or(|patience| since.elapsed() < patience)
    }
}
