//! A posted transfer: its handle, and the record that outlives the handle to count it, learn from it and tell the peer
//! if it fails.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock, Weak},
    task::{Context, Poll},
    time::Instant,
};

use pmd_host::{
    control::Connection,
    transfer::{
        CancelOutcome, Outcome, Priority, Transfer, TransferEnd, TransferError, TransferObserver, WaitError,
    },
};

use super::{
    Shared,
    failure::{FailureReason, LayerNote, Report, TransferId},
    metrics::PeerRecord,
    outline::Outline,
    remote::request::FAILED,
    stream::StreamEnd,
};
use crate::planner::{BlockSet, Direction, End};

/// How a transfer is posted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PostOptions {
    /// It is given up when it is not done by then.
    pub deadline: Option<Instant>,
    /// Its turns among the transfers to the same peer.
    pub priority: Priority,
}

/// A transfer between two caches in flight. As [`Transfer`], whose methods it has, and it knows which blocks a failure
/// leaves invalid.
#[derive(Debug)]
#[must_use = "dropping the handle leaves the transfer running with nobody to learn its outcome"]
pub struct CacheTransfer {
    transfer: Transfer,
    record: Arc<Record>,
}

/// What is kept of a transfer until it has ended. Holds neither memory nor routes.
pub(super) struct Record {
    pub(super) id: TransferId,
    pub(super) begun: Instant,
    pub(super) work_requests: u64,
    pub(super) outline: Arc<Outline>,
    pub(super) connection: Connection,
    pub(super) peer: Arc<PeerRecord>,
    pub(super) engine: Weak<Shared>,
    /// The notification, unless it is a layer's.
    pub(super) notification: Option<Vec<u8>>,
    pub(super) layer: Option<LayerNote>,
    /// The stream that it is a layer of.
    pub(super) stream: Option<StreamEnd>,
    pub(super) end: OnceLock<TransferEnd>,
}

impl CacheTransfer {
    pub(super) const fn new(transfer: Transfer, record: Arc<Record>) -> Self {
        Self { transfer, record }
    }

    /// Its number, by which the peer is told of a failure.
    #[must_use]
    pub fn id(&self) -> TransferId {
        self.record.id
    }

    /// The outcome, once there is one. Never waits.
    ///
    /// # Errors
    /// Inside the option: why the transfer failed.
    #[must_use]
    pub fn poll(&self) -> Option<Result<Outcome, TransferError>> {
        self.transfer.poll()
    }

    /// Whether the transfer has an outcome and is quiet.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.transfer.is_done()
    }

    /// As [`Transfer::wait`].
    ///
    /// # Errors
    /// [`WaitError::Timeout`], after which the transfer goes on, or why the transfer failed.
    pub fn wait(&mut self, deadline: Option<Instant>) -> Result<Outcome, WaitError> {
        self.transfer.wait(deadline)
    }

    /// As [`Transfer::request_cancel`].
    pub fn request_cancel(&self) {
        self.transfer.request_cancel();
    }

    /// As [`Transfer::cancel`]: when this returns nothing will write the caller's memory on the transfer's behalf, nor
    /// the peer's.
    pub fn cancel(&mut self) -> CancelOutcome {
        self.transfer.cancel()
    }

    /// Blocks of the local cache that are not proven to have moved: none after a success, all while the transfer is in
    /// flight, and after a failure those that are not valid (pull) or may not have left (push). Takes time in proportion
    /// to the blocks.
    #[must_use]
    pub fn unproven(&self) -> BlockSet {
        self.record.unproven(End::Local)
    }

    /// The handle of the transfer alone, which does not know of blocks.
    pub fn into_transfer(self) -> Transfer {
        self.transfer
    }
}

impl Future for CacheTransfer {
    type Output = Result<Outcome, TransferError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.transfer).poll(context)
    }
}

impl Record {
    fn unproven(&self, end: End) -> BlockSet {
        match self.end.get() {
            Some(TransferEnd { outcome: Ok(_), .. }) => BlockSet::default(),
            ended => self.outline.unproven(ended.map_or(0, |end| end.landed), end),
        }
    }
}

impl TransferObserver for Record {
    fn ended(&self, end: TransferEnd) {
        let _ = self.end.set(end);
        let engine = self.engine.upgrade();
        if let Some(engine) = &engine {
            self.peer.ended(&engine.counters, &end, self.begun, self.work_requests);
        }
        if let Some(stream) = &self.stream {
            stream.ended(end.outcome);
        }
        // An engine that is gone has said goodbye: its peers know that nothing of it goes on.
        let (Some(engine), Err(error)) = (engine, end.outcome) else { return };
        let Some(reason) = FailureReason::of(&error) else { return };
        let failed = Failed {
            id: self.id,
            outline: Arc::clone(&self.outline),
            landed: end.landed,
            reason,
            detail: error.to_string(),
            notification: self.notification.clone(),
            layer: self.layer,
        };
        let connection = self.connection.clone();
        engine.courier.send(move || failed.tell(&connection));
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Record").field("id", &self.id).field("end", &self.end).finish_non_exhaustive()
    }
}

/// A failed transfer about which the peer has to be told.
pub(super) struct Failed {
    pub(super) id: TransferId,
    pub(super) outline: Arc<Outline>,
    pub(super) landed: u32,
    pub(super) reason: FailureReason,
    pub(super) detail: String,
    pub(super) notification: Option<Vec<u8>>,
    pub(super) layer: Option<LayerNote>,
}

impl Failed {
    pub(super) fn tell(self, connection: &Connection) {
        let report = Report {
            transfer: self.id,
            push: self.outline.direction == Direction::Push,
            cache: self.outline.remote.name.clone(),
            blocks: self.outline.unproven(self.landed, End::Remote),
            reason: self.reason,
            detail: self.detail,
            notification: self.notification,
            layer: self.layer,
        };
        if let Ok(body) = postcard::to_allocvec(&report) {
            // A connection that cannot take it is down, which the peer notices.
            let _ = connection.event(FAILED, body);
        }
    }
}
