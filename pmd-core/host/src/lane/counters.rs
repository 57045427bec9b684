//! What a lane has done so far, readable from any thread.

use crossbeam_utils::CachePadded;
use pmd_core::sync::{AtomicU64, Ordering};

/// Counts of one lane since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Transfers that succeeded.
    pub transfers: u64,
    /// Transfers that failed or were cancelled.
    pub failed_transfers: u64,
    /// Bytes of transfers that succeeded.
    pub bytes: u64,
    /// Work requests posted to send queues.
    pub work_requests: u64,
    /// Doorbells of send queues.
    pub doorbells: u64,
    /// Messages sent, credit messages among them.
    pub messages_sent: u64,
    /// Messages received, credit messages among them.
    pub messages_received: u64,
    /// Polls of the completion queue.
    pub polls: u64,
    /// Times the lane went to sleep.
    pub parks: u64,
}

impl Counters {
    /// The counts of two lanes together.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            transfers: self.transfers + other.transfers,
            failed_transfers: self.failed_transfers + other.failed_transfers,
            bytes: self.bytes + other.bytes,
            work_requests: self.work_requests + other.work_requests,
            doorbells: self.doorbells + other.doorbells,
            messages_sent: self.messages_sent + other.messages_sent,
            messages_received: self.messages_received + other.messages_received,
            polls: self.polls + other.polls,
            parks: self.parks + other.parks,
        }
    }
}

/// The atomic form: written by the lane only, read by anybody.
#[derive(Debug, Default)]
pub(crate) struct CounterCells {
    cells: CachePadded<[AtomicU64; COUNT]>,
}

const COUNT: usize = 9;

/// One of the counters.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(crate) enum Counter {
    Transfers,
    FailedTransfers,
    Bytes,
    WorkRequests,
    Doorbells,
    MessagesSent,
    MessagesReceived,
    Polls,
    Parks,
}

impl CounterCells {
    /// Adds to a counter. Only the lane calls this, hence no read-modify-write.
    #[inline]
    pub(crate) fn add(&self, counter: Counter, amount: u64) {
        let cell = &self.cells[counter as usize];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// All counters, each as of some moment during the call.
    pub(crate) fn read(&self) -> Counters {
        let value = |counter: Counter| self.cells[counter as usize].load(Ordering::Relaxed);
        Counters {
            transfers: value(Counter::Transfers),
            failed_transfers: value(Counter::FailedTransfers),
            bytes: value(Counter::Bytes),
            work_requests: value(Counter::WorkRequests),
            doorbells: value(Counter::Doorbells),
            messages_sent: value(Counter::MessagesSent),
            messages_received: value(Counter::MessagesReceived),
            polls: value(Counter::Polls),
            parks: value(Counter::Parks),
        }
    }
}
