//! Sends and receives under way, as their callers hold them.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use super::{ReceiveError, SendError, connection::Connection, signal::Interest};

/// A send under way. Poll it, wait for it, `.await` it, or cancel it.
///
/// Dropping it does not stop the send, which goes on until its deadline. Any number of threads may look.
#[derive(Debug)]
#[must_use = "dropping the handle leaves the send running with nobody to learn its outcome"]
pub struct SendHandle {
    connection: Arc<Connection>,
    number: u64,
}

/// A receive under way. Poll it, wait for it, `.await` it, or cancel it.
///
/// Dropping it withdraws the receive, as far as no send has met it; its registration stays until that is settled.
#[derive(Debug)]
#[must_use = "dropping the handle withdraws the receive"]
pub struct ReceiveHandle {
    connection: Arc<Connection>,
    ticket: u64,
}

impl SendHandle {
    pub(super) const fn new(connection: Arc<Connection>, number: u64) -> Self {
        Self { connection, number }
    }

    /// The outcome, once there is one. Never waits.
    ///
    /// # Errors
    /// Inside the option: why it failed.
    #[must_use]
    pub fn poll(&self) -> Option<Result<(), SendError>> {
        let mut state = self.connection.lock();
        self.connection.drive(&mut state, self.number);
        let outcome = state.sending.outcome(self.number);
        drop(state);
        self.settled(outcome)
    }

    /// Waits for the outcome, which the send's own deadline bounds.
    ///
    /// # Errors
    /// Why it failed.
    pub fn wait(&self) -> Result<(), SendError> {
        loop {
            if let Some(outcome) = self.wait_until(None) {
                return outcome;
            }
        }
    }

    /// Waits for the outcome until `deadline`; `None` when there is none by then, and the send goes on.
    ///
    /// # Errors
    /// Inside the option: why it failed.
    pub fn wait_until(&self, deadline: Option<Instant>) -> Option<Result<(), SendError>> {
        let outcome = self.connection.wait(Interest::Send(self.number), deadline, |state| {
            self.connection.drive(state, self.number);
            state.sending.outcome(self.number)
        });
        self.settled(outcome)
    }

    /// Asks to stop, and returns at once. The outcome tells whether it did.
    pub fn request_cancel(&self) {
        self.connection.cancel_send(self.number);
    }

    /// Stops, and waits until nothing reads the memory any more. A send that was done before stays done.
    ///
    /// # Errors
    /// [`SendError::Cancelled`] when it was stopped, or why it failed.
    pub fn cancel(&self) -> Result<(), SendError> {
        self.request_cancel();
        self.wait()
    }

    /// What is said only when the registrations are dropped too.
    fn settled<T>(&self, outcome: Option<T>) -> Option<T> {
        outcome.inspect(|_| self.connection.bury())
    }
}

impl Future for SendHandle {
    type Output = Result<(), SendError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.connection.signal.register(Interest::Send(self.number), context.waker());
        SendHandle::poll(&self).map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for SendHandle {
    fn drop(&mut self) {
        self.connection.lock().sending.detach(self.number);
    }
}

impl ReceiveHandle {
    pub(super) const fn new(connection: Arc<Connection>, ticket: u64) -> Self {
        Self { connection, ticket }
    }

    /// Bytes received, once there is an outcome. Never waits.
    ///
    /// # Errors
    /// Inside the option: why it failed.
    #[must_use]
    pub fn poll(&self) -> Option<Result<u64, ReceiveError>> {
        let outcome = self.connection.lock().receiving.outcome(self.ticket);
        self.settled(outcome)
    }

    /// Waits until bytes are received, and says how many. The receive's own deadline bounds it.
    ///
    /// # Errors
    /// Why it failed.
    pub fn wait(&self) -> Result<u64, ReceiveError> {
        loop {
            if let Some(outcome) = self.wait_until(None) {
                return outcome;
            }
        }
    }

    /// Waits for the outcome until `deadline`; `None` when there is none by then, and the receive goes on.
    ///
    /// # Errors
    /// Inside the option: why it failed.
    pub fn wait_until(&self, deadline: Option<Instant>) -> Option<Result<u64, ReceiveError>> {
        let interest = Interest::Receive(self.ticket);
        let outcome = self.connection.wait(interest, deadline, |state| state.receiving.outcome(self.ticket));
        self.settled(outcome)
    }

    /// Asks to withdraw, and returns at once. The outcome tells whether it was.
    pub fn request_cancel(&self) {
        self.connection.cancel_receive(self.ticket);
    }

    /// Withdraws, and waits until nothing writes the memory any more. What was received before stays received.
    ///
    /// # Errors
    /// [`ReceiveError::Cancelled`] when it was withdrawn, or why it failed.
    pub fn cancel(&self) -> Result<u64, ReceiveError> {
        self.request_cancel();
        self.wait()
    }

    fn settled<T>(&self, outcome: Option<T>) -> Option<T> {
        outcome.inspect(|_| self.connection.bury())
    }
}

impl Future for ReceiveHandle {
    type Output = Result<u64, ReceiveError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.connection.signal.register(Interest::Receive(self.ticket), context.waker());
        ReceiveHandle::poll(&self).map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for ReceiveHandle {
    fn drop(&mut self) {
        self.connection.abandon_receive(self.ticket);
    }
}
