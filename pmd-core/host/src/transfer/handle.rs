//! The handle of a submitted transfer: held by the application, completed by the lane.

use std::{
    any::Any,
    fmt,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Weak},
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Instant,
};

use atomic_waker::AtomicWaker;
use pmd_core::{ring::slot::CompletionSlot, sync::spin_hint};

use super::{TransferError, WaitError, trace::Trace};
use crate::lane::Attention;

/// Looks at the slot this many times before the waiting thread goes to sleep: a few microseconds, about what going
/// to sleep and being woken costs.
const SPINS: u32 = 200;

/// What a finished transfer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Bytes moved.
    pub bytes: u64,
}

/// What became of a transfer that was asked to stop. Either way it is quiet now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It was stopped; a part of its bytes may have moved.
    Cancelled,
    /// It had finished before the lane saw the request.
    Completed(Outcome),
    /// It had failed, or failed while it was being stopped.
    Failed(TransferError),
}

/// A message to the peer about a transfer, sent when all of its bytes have moved.
///
/// The cheapest one has no bytes and an immediate: on a route of one queue pair it rides on the transfer's last WRITE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// The message; at most [`Route::message_limit`](crate::lane::Route::message_limit) bytes.
    pub bytes: Vec<u8>,
    /// Handed to the peer's handler beside the bytes.
    pub immediate: Option<u32>,
}

/// Something that must live until a transfer is quiet, such as the registration of its memory.
#[derive(Clone)]
pub struct KeepAlive(pub Arc<dyn Any + Send + Sync>);

impl fmt::Debug for KeepAlive {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("KeepAlive")
    }
}

/// Whose turn it is where transfers share a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Priority {
    /// In turns with all others.
    #[default]
    Normal,
    /// Seven turns of eight: for what somebody waits for while bulk is on its way. Does not overtake what is posted
    /// already, and does not starve the others.
    High,
}

/// Hears how transfers end, whoever holds their handles.
///
/// Runs on the lane's thread once the transfer is quiet, before its outcome can be seen: it must be quick and never wait
/// for the same lane. A panic in it is caught and changes nothing.
pub trait TransferObserver: Send + Sync {
    /// A transfer has ended.
    fn ended(&self, end: TransferEnd);
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferEnd {
    /// Its outcome.
    pub outcome: Result<Outcome, TransferError>,
    /// Entries of the work list, from the first, whose bytes are known to be in place. Where several queue pairs carry
    /// the list, or where it failed, more of them may be.
    pub landed: u32,
}

/// A [`TransferObserver`] of one transfer.
#[derive(Clone)]
pub struct Observer(pub Arc<dyn TransferObserver>);

impl fmt::Debug for Observer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Observer")
    }
}

/// How a transfer is carried out.
#[derive(Clone, Debug, Default)]
pub struct TransferOptions {
    /// Sent to the peer after all bytes have moved; the transfer is done once the peer's device has it.
    pub notify: Option<Notification>,
    /// The lane gives the transfer up when it is not done by then.
    pub deadline: Option<Instant>,
    /// Dropped on the lane's thread once the transfer is quiet.
    pub keep_alive: Option<KeepAlive>,
    /// Its turns among the transfers of its route.
    pub priority: Priority,
    /// Told of the end.
    pub observer: Option<Observer>,
}

/// A transfer in flight.
///
/// Dropping it does not cancel: the transfer goes on, and the lane keeps its work list until it is quiet. Waiting
/// takes `&mut self` because one thread or task at a time can be woken.
#[derive(Debug)]
#[must_use = "dropping the handle leaves the transfer running with nobody to learn its outcome"]
pub struct Transfer {
    shared: Arc<Shared>,
}

/// The lane's end of a transfer.
#[derive(Debug)]
pub(crate) struct Completer {
    shared: Arc<Shared>,
    trace: Trace,
}

#[derive(Debug)]
struct Shared {
    slot: CompletionSlot<Result<Outcome, TransferError>>,
    /// Who waits, if anybody does.
    waiter: AtomicWaker,
    /// Looks at cancel requests.
    listener: Listener,
    observer: Option<Observer>,
    /// When it was submitted, where that is of interest.
    begun: Option<Instant>,
}

/// Who looks at cancel requests.
#[derive(Clone, Debug)]
pub(crate) enum Listener {
    /// The lane that has the transfer.
    Lane(Attention),
    /// Another; nobody, once that is gone and has failed all transfers.
    Other(Weak<dyn Stopper>),
}

/// Looks at cancel requests of the transfers that it has; on any thread, and without waiting.
pub(crate) trait Stopper: fmt::Debug + Send + Sync {
    fn look(&self);
}

impl Listener {
    fn raise(&self) {
        match self {
            Self::Lane(attention) => attention.raise(),
            Self::Other(stopper) => {
                if let Some(stopper) = stopper.upgrade() {
                    stopper.look();
                }
            }
        }
    }
}

/// A pending transfer: the application's end and that of whoever carries it out.
pub(crate) fn transfer(
    listener: Listener,
    observer: Option<Observer>,
    begun: Option<Instant>,
    trace: Trace,
) -> (Transfer, Completer) {
    let (slot, waiter) = (CompletionSlot::new(), AtomicWaker::new());
    let shared = Arc::new(Shared { slot, waiter, listener, observer, begun });
    (Transfer { shared: Arc::clone(&shared) }, Completer { shared, trace })
}

impl Transfer {
    /// The outcome, once there is one. Never waits.
    ///
    /// # Errors
    /// Inside the option: why the transfer failed.
    #[must_use]
    pub fn poll(&self) -> Option<Result<Outcome, TransferError>> {
        self.shared.slot.poll()
    }

    /// Whether the transfer has an outcome and is quiet.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.poll().is_some()
    }

    /// Waits for the outcome, until `deadline` if there is one. Sleeps after a short spin.
    ///
    /// On the thread that drives the lane itself use [`LaneDriver::run_until`](crate::lane::LaneDriver::run_until):
    /// there this would only sleep.
    ///
    /// # Errors
    /// [`WaitError::Timeout`], after which the transfer goes on, or why the transfer failed.
    pub fn wait(&mut self, deadline: Option<Instant>) -> Result<Outcome, WaitError> {
        for _ in 0..SPINS {
            if let Some(result) = self.poll() {
                return Ok(result?);
            }
            spin_hint();
        }
        self.sleep(deadline)
    }

    /// Asks the lane to stop the transfer and returns at once. The outcome tells whether it did.
    pub fn request_cancel(&self) {
        self.shared.slot.request_cancel();
        self.shared.listener.raise();
    }

    /// Stops the transfer and waits until it is quiet: when this returns nothing of it is outstanding and nothing
    /// more is posted. Bounded by the lane's grace period.
    ///
    /// On the thread that drives the lane itself use [`LaneDriver::cancel`](crate::lane::LaneDriver::cancel).
    pub fn cancel(&mut self) -> CancelOutcome {
        self.request_cancel();
        loop {
            match self.wait(None) {
                Ok(outcome) => return CancelOutcome::Completed(outcome),
                Err(WaitError::Failed(error)) => return error.into(),
                Err(WaitError::Timeout) => {}
            }
        }
    }

    fn sleep(&mut self, deadline: Option<Instant>) -> Result<Outcome, WaitError> {
        UNPARK.with(|waker| {
            loop {
                self.shared.waiter.register(waker);
                if let Some(result) = self.poll() {
                    return Ok(result?);
                }
                match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                    None => thread::park(),
                    Some(left) if left.is_zero() => return Err(WaitError::Timeout),
                    Some(left) => thread::park_timeout(left),
                }
            }
        })
    }
}

impl Future for Transfer {
    type Output = Result<Outcome, TransferError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = Transfer::poll(&self) {
            return Poll::Ready(result);
        }
        self.shared.waiter.register(context.waker());
        Transfer::poll(&self).map_or(Poll::Pending, Poll::Ready)
    }
}

impl From<TransferError> for CancelOutcome {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Cancelled => Self::Cancelled,
            other => Self::Failed(other),
        }
    }
}

impl Completer {
    /// Whether the application asked to stop.
    #[inline]
    pub(crate) fn cancel_requested(&self) -> bool {
        self.shared.slot.cancel_requested()
    }

    /// When the transfer was submitted, where latencies are counted.
    #[inline]
    pub(crate) fn begun(&self) -> Option<Instant> {
        self.shared.begun
    }

    /// Leaves the outcome and wakes who waits. The transfer is quiet.
    #[inline]
    pub(crate) fn complete(self, outcome: Result<Outcome, TransferError>, landed: u32) {
        self.trace.end(outcome, landed);
        if let Some(Observer(observer)) = &self.shared.observer {
            let tell = || observer.ended(TransferEnd { outcome, landed });
            let _ = catch_unwind(AssertUnwindSafe(tell));
        }
        self.shared.slot.complete(outcome);
        self.shared.waiter.wake();
    }
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
