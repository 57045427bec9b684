//! The handle of a push-pull: poll it, wait for it, await it, cancel it.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    thread,
    time::{Duration, Instant},
};

use pmd_core::accelerator::Accelerator;
use pmd_host::control::RequestError;

use super::{
    DownCause, Failure, FailureCause, WaitError,
    operation::{Leg, Operation},
};
use crate::{waiting::wait_until, wire::CancelAnswer};

/// Pause between two questions whether a response has been stopped.
const CANCEL_PAUSE: Duration = Duration::from_micros(200);

/// What a push-pull brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// Bytes that came for each pull, in the order in which the request names them. Without
    /// [`up_to`](super::PushPull::up_to) they are those of the tensors.
    pub lengths: Vec<u32>,
}

/// What a cancel found. Either way nothing reads the pushed tensors and nothing writes the pulled ones any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CancelOutcome {
    /// It was stopped, at one server at least; a part of the data may have arrived.
    Cancelled,
    /// It had been done everywhere.
    Completed(Results),
    /// It had failed, or failed while it was being stopped.
    Failed(Failure),
}

/// A push-pull in flight. Clones are handles to the same one.
///
/// Dropping it does not cancel: the request goes on, and keeps its tensors registered until it has ended.
#[derive(Clone, Debug)]
#[must_use = "dropping the handle leaves the request running with nobody to learn its outcome"]
pub struct Handle {
    operation: Arc<Operation>,
    legs: Vec<Arc<Leg>>,
}

impl Handle {
    pub(super) const fn new(operation: Arc<Operation>, legs: Vec<Arc<Leg>>) -> Self {
        Self { operation, legs }
    }

    /// The result, once every server has answered or failed. Never waits.
    ///
    /// # Errors
    /// Inside the option: [`Failure`].
    #[must_use]
    pub fn poll(&self) -> Option<Result<Results, Failure>> {
        self.operation.look(None).map(results)
    }

    /// Its number at its worker: by it the worker's [`recorder`](super::Worker::recorder) knows it.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.operation.number
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.poll().is_some()
    }

    /// Waits for the result, until `deadline` if there is one. Sleeps after a short spin.
    ///
    /// # Errors
    /// [`WaitError::Timeout`], after which the request goes on, or why it failed.
    pub fn wait(&self, deadline: Option<Instant>) -> Result<Results, WaitError> {
        match wait_until(deadline, |waker| self.operation.look(waker)) {
            Some(result) => Ok(results(result)?),
            None => Err(WaitError::Timeout),
        }
    }

    /// What became of each server's part so far, in the order of the request; `None` while it runs. A server has several
    /// parts where one header could not hold all of its tensors.
    #[must_use]
    pub fn parts(&self) -> Vec<(u32, Option<Result<(), FailureCause>>)> {
        self.operation.ends()
    }

    /// Whose memory NICs have written for it: to be flushed before a stream goes on with what was pulled.
    pub(crate) fn written_by_nics(&self) -> impl Iterator<Item = Arc<dyn Accelerator>> {
        self.legs.iter().flat_map(|leg| {
            let transport = leg.connection.peer.transport();
            leg.pulls.iter().filter_map(move |pull| pull.tensor.memory().written_by_nic(transport))
        })
    }

    /// Stops the request at every server and waits until it is quiet: when this returns, no tensor of it is read or written
    /// any more. Takes as long as the servers need to say so, or as their connections need to go down.
    pub fn cancel(&self) -> CancelOutcome {
        if self.operation.take_back() {
            self.legs.iter().for_each(|leg| leg.give_up(FailureCause::Cancelled));
        }
        self.operation.request_cancel();
        wait_until(None, |waker| self.operation.look_pushed(waker));
        self.legs.iter().for_each(cancel_at_server);
        loop {
            match self.wait(None) {
                Ok(results) => return CancelOutcome::Completed(results),
                Err(WaitError::Failed(_)) => return self.cancelled_or_failed(),
                Err(WaitError::Timeout) => {}
            }
        }
    }

    fn cancelled_or_failed(&self) -> CancelOutcome {
        let other = self.parts().into_iter().find_map(|(server, end)| match end {
            Some(Err(FailureCause::Cancelled)) | Some(Ok(())) | None => None,
            Some(Err(cause)) => Some(Failure { server, cause }),
        });
        other.map_or(CancelOutcome::Cancelled, CancelOutcome::Failed)
    }
}

/// Waits for the first of several push-pulls to end, until `deadline` if there is one. Returns its index, or `None` at the
/// deadline or where there are no handles.
#[must_use]
pub fn wait_any<'a>(
    handles: impl IntoIterator<Item = &'a Handle>,
    deadline: Option<Instant>,
) -> Option<usize> {
    let handles: Vec<_> = handles.into_iter().collect();
    if handles.is_empty() {
        return None;
    }
    wait_until(deadline, |waker| handles.iter().position(|handle| handle.operation.look(waker).is_some()))
}

impl Future for Handle {
    type Output = Result<Results, Failure>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.operation
            .look(Some(context.waker()))
            .map_or(Poll::Pending, |result| Poll::Ready(results(result)))
    }
}

fn results(result: Result<Vec<u32>, Failure>) -> Result<Results, Failure> {
    result.map(|lengths| Results { lengths })
}

/// Asks the server until it says that it writes nothing more, or the leg has ended.
fn cancel_at_server(leg: &Arc<Leg>) {
    while !leg.has_ended() {
        match leg.connection.cancel(leg.immediate) {
            Ok(CancelAnswer::Quiet) => {
                leg.settle_cancelled();
                // What has come may still be on its way to the device.
                if !leg.has_ended() {
                    thread::sleep(CANCEL_PAUSE);
                }
            }
            Ok(CancelAnswer::Stopping) => thread::sleep(CANCEL_PAUSE),
            // Taking it down proves the same.
            Err(error) => {
                leg.connection.fail(match error {
                    RequestError::Down(reason) => reason.into(),
                    _ => DownCause::Unresponsive,
                });
                wait_until(None, |waker| leg.operation.look_ended(leg.index, waker));
            }
        }
    }
}
