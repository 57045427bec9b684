//! What a lane has done so far, in all and on each route, readable from any thread.
//!
//! The lane counts once in its own cells and once in those of the route; [`crate::metrics`] tells both. Nothing is counted
//! for a single work request: a batch counts with its doorbell, a transfer with its outcome.

use std::time::Instant;

use crossbeam_utils::CachePadded;
use pmd_core::{
    sync::{AtomicU64, Ordering},
    wire::Syndrome,
};

use crate::{
    metrics::{HistogramCells, Latencies},
    transfer::Direction,
};

/// Counts of one lane, or of one route, since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Transfers that were taken in hand. Those without an outcome yet are this, less those that succeeded or failed.
    pub admitted_transfers: u64,
    /// Transfers that succeeded.
    pub transfers: u64,
    /// Transfers that failed or were cancelled.
    pub failed_transfers: u64,
    /// Bytes of transfers that succeeded.
    pub bytes: u64,
    /// Those of them that were read from peers.
    pub bytes_read: u64,
    /// Work requests posted to send queues.
    pub work_requests: u64,
    /// Those of them by operation.
    pub operations: Operations,
    /// Work requests of send queues that have completed, failed ones included. Less than those posted by as many as are
    /// outstanding.
    pub settled_work_requests: u64,
    /// Doorbells of send queues.
    pub doorbells: u64,
    /// Messages sent, credit messages among them.
    pub messages_sent: u64,
    /// Messages received, credit messages among them.
    pub messages_received: u64,
    /// Times that a notification was not sent at once because the peer had no receive for it.
    pub credit_waits: u64,
    /// Completions with an error, of sends and of receives.
    pub failed_completions: FailedCompletions,
    /// Polls of the completion queue; 0 for a route.
    pub polls: u64,
    /// Times the lane went to sleep; 0 for a route.
    pub parks: u64,
}

/// Work requests by operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operations {
    /// READs.
    pub read: u64,
    /// WRITEs.
    pub write: u64,
    /// WRITEs with an immediate.
    pub write_immediate: u64,
    /// SENDs, with and without an immediate.
    pub send: u64,
    /// NOPs, which ask for a completion of what was posted without one.
    pub nop: u64,
}

impl Operations {
    /// Names as metrics have them, and the counts.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, u64); 5] {
        let Self { read, write, write_immediate, send, nop } = *self;
        [("read", read), ("write", write), ("write_immediate", write_immediate), ("send", send), ("nop", nop)]
    }
}

/// Completions with an error by syndrome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FailedCompletions([u64; SYNDROMES]);

/// The listed ones, and one for all others.
const SYNDROMES: usize = Syndrome::ALL.len() + 1;

impl FailedCompletions {
    /// Completions with this syndrome; those that the manual does not list count together.
    #[must_use]
    pub fn of(&self, syndrome: Syndrome) -> u64 {
        self.0[place(syndrome)]
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Names as metrics have them, and the counts; `retry_exceeded` is a peer that does not answer,
    /// `receiver_not_ready_exceeded` one that posted no receive.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        NAMES.into_iter().zip(self.0)
    }
}

/// Names of [`Syndrome::ALL`] in its order, and of the rest.
const NAMES: [&str; SYNDROMES] = [
    "local_length",
    "local_queue_pair_operation",
    "local_protection",
    "flushed",
    "memory_window_bind",
    "bad_response",
    "local_access",
    "remote_invalid_request",
    "remote_access",
    "remote_operation",
    "retry_exceeded",
    "receiver_not_ready_exceeded",
    "remote_aborted",
    "unknown",
];

fn place(syndrome: Syndrome) -> usize {
    Syndrome::ALL.iter().position(|listed| *listed == syndrome).unwrap_or(SYNDROMES - 1)
}

impl Counters {
    /// The counts of two lanes together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (mut ours, theirs) = (self.to_array(), other.to_array());
        ours.iter_mut().zip(theirs).for_each(|(ours, theirs)| *ours += theirs);
        Self::from_array(&ours)
    }

    /// Transfers in hand: taken, without an outcome yet.
    #[must_use]
    pub const fn active_transfers(&self) -> u64 {
        self.admitted_transfers.saturating_sub(self.transfers + self.failed_transfers)
    }

    /// Work requests of send queues that are posted and have not completed.
    #[must_use]
    pub const fn outstanding_work_requests(&self) -> u64 {
        self.work_requests.saturating_sub(self.settled_work_requests)
    }

    /// Bytes of transfers that succeeded and were written to peers.
    #[must_use]
    pub const fn bytes_written(&self) -> u64 {
        self.bytes.saturating_sub(self.bytes_read)
    }

    fn from_array(values: &[u64; COUNT]) -> Self {
        let value = |counter: Counter| values[counter as usize];
        let mut failed = [0; SYNDROMES];
        failed.copy_from_slice(&values[FIRST_SYNDROME..]);
        Self {
            admitted_transfers: value(Counter::Admitted),
            transfers: value(Counter::Transfers),
            failed_transfers: value(Counter::FailedTransfers),
            bytes: value(Counter::Bytes),
            bytes_read: value(Counter::BytesRead),
            work_requests: value(Counter::WorkRequests),
            operations: Operations {
                read: value(Counter::Reads),
                write: value(Counter::Writes),
                write_immediate: value(Counter::WritesImmediate),
                send: value(Counter::Sends),
                nop: value(Counter::Nops),
            },
            settled_work_requests: value(Counter::Settled),
            doorbells: value(Counter::Doorbells),
            messages_sent: value(Counter::MessagesSent),
            messages_received: value(Counter::MessagesReceived),
            credit_waits: value(Counter::CreditWaits),
            failed_completions: FailedCompletions(failed),
            polls: value(Counter::Polls),
            parks: value(Counter::Parks),
        }
    }

    fn to_array(self) -> [u64; COUNT] {
        let Operations { read, write, write_immediate, send, nop } = self.operations;
        let mut values = [0; COUNT];
        let named = [
            (Counter::Admitted, self.admitted_transfers),
            (Counter::Transfers, self.transfers),
            (Counter::FailedTransfers, self.failed_transfers),
            (Counter::Bytes, self.bytes),
            (Counter::BytesRead, self.bytes_read),
            (Counter::WorkRequests, self.work_requests),
            (Counter::Reads, read),
            (Counter::Writes, write),
            (Counter::WritesImmediate, write_immediate),
            (Counter::Sends, send),
            (Counter::Nops, nop),
            (Counter::Settled, self.settled_work_requests),
            (Counter::Doorbells, self.doorbells),
            (Counter::MessagesSent, self.messages_sent),
            (Counter::MessagesReceived, self.messages_received),
            (Counter::CreditWaits, self.credit_waits),
            (Counter::Polls, self.polls),
            (Counter::Parks, self.parks),
        ];
        named.into_iter().for_each(|(counter, value)| values[counter as usize] = value);
        values[FIRST_SYNDROME..].copy_from_slice(&self.failed_completions.0);
        values
    }
}

/// The atomic form: written by the lane only, read by anybody.
///
/// All of it is relaxed. Each cell has one writer, so a load and a store lose nothing, and no reader concludes from one
/// cell what another holds. Who must see a count sees it for another reason: a transfer is counted before its outcome
/// is given, and the slot that gives it has the release and the acquire.
#[derive(Debug)]
pub(crate) struct CounterCells {
    cells: CachePadded<[AtomicU64; COUNT]>,
}

impl Default for CounterCells {
    fn default() -> Self {
        Self { cells: CachePadded::new([const { AtomicU64::new(0) }; COUNT]) }
    }
}

/// One of the counters.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(crate) enum Counter {
    Admitted,
    Transfers,
    FailedTransfers,
    Bytes,
    BytesRead,
    WorkRequests,
    Reads,
    Writes,
    WritesImmediate,
    Sends,
    Nops,
    Settled,
    Doorbells,
    MessagesSent,
    MessagesReceived,
    CreditWaits,
    Polls,
    Parks,
}

/// Where the syndromes begin.
const FIRST_SYNDROME: usize = Counter::Parks as usize + 1;
const COUNT: usize = FIRST_SYNDROME + SYNDROMES;

impl CounterCells {
    /// Adds to a counter. Only the lane calls this, hence no read-modify-write.
    #[inline]
    pub(crate) fn add(&self, counter: Counter, amount: u64) {
        self.add_at(counter as usize, amount);
    }

    #[inline]
    fn add_at(&self, index: usize, amount: u64) {
        let cell = &self.cells[index];
        cell.store(cell.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
    }

    /// All counters, each as of some moment during the call.
    pub(crate) fn read(&self) -> Counters {
        let mut values = [0; COUNT];
        values.iter_mut().zip(self.cells.iter()).for_each(|(value, cell)| {
            *value = cell.load(Ordering::Relaxed);
        });
        Counters::from_array(&values)
    }
}

/// Counters and latencies of a lane or of a route.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) counters: CounterCells,
    /// Where [`LaneConfig::latencies`](super::LaneConfig::latencies) asks for them.
    latencies: Option<LatencyCells>,
}

/// By [`Direction`].
#[derive(Debug, Default)]
struct LatencyCells {
    read: HistogramCells,
    write: HistogramCells,
}

impl Record {
    pub(crate) fn new(latencies: bool) -> Self {
        Self { counters: CounterCells::default(), latencies: latencies.then(LatencyCells::default) }
    }

    /// When a transfer begins, where that is of interest.
    #[inline]
    pub(crate) fn begin(&self) -> Option<Instant> {
        self.latencies.as_ref().map(|_| Instant::now())
    }

    /// What the histograms hold; `None` where there are none.
    pub(crate) fn latencies(&self) -> Option<Latencies> {
        let cells = self.latencies.as_ref()?;
        Some(Latencies { read: cells.read.read(), write: cells.write.read() })
    }

    #[inline]
    fn record(&self, direction: Direction, nanoseconds: u64) {
        let Some(cells) = &self.latencies else { return };
        match direction {
            Direction::Read => cells.read.record(nanoseconds),
            Direction::Write => cells.write.record(nanoseconds),
        }
    }
}

/// Counts in the lane's record and in that of the route that it concerns.
#[derive(Clone, Copy)]
pub(super) struct Both<'a> {
    pub(super) lane: &'a Record,
    /// `None` for a route that is gone already.
    pub(super) route: Option<&'a Record>,
}

/// What went with one doorbell.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Posted {
    pub(super) reads: u32,
    pub(super) writes: u32,
    pub(super) writes_immediate: u32,
    pub(super) sends: u32,
    pub(super) nops: u32,
    pub(super) credit_waits: u32,
}

impl Posted {
    /// Counts an entry of a transfer.
    #[inline]
    pub(super) const fn entry(&mut self, direction: Direction, with_immediate: bool) {
        match (direction, with_immediate) {
            (Direction::Read, _) => self.reads += 1,
            (Direction::Write, false) => self.writes += 1,
            (Direction::Write, true) => self.writes_immediate += 1,
        }
    }

    /// Work requests.
    #[inline]
    pub(super) const fn total(&self) -> u32 {
        self.reads + self.writes + self.writes_immediate + self.sends + self.nops
    }
}

impl Both<'_> {
    #[inline]
    pub(super) fn add(self, counter: Counter, amount: u64) {
        self.lane.counters.add(counter, amount);
        if let Some(route) = self.route {
            route.counters.add(counter, amount);
        }
    }

    /// Counts a batch, which has rung its doorbell if there is anything in it.
    #[inline]
    pub(super) fn posted(self, posted: &Posted) {
        let total = posted.total();
        let kinds = [
            (Counter::WorkRequests, total),
            (Counter::Reads, posted.reads),
            (Counter::Writes, posted.writes),
            (Counter::WritesImmediate, posted.writes_immediate),
            (Counter::Sends, posted.sends),
            (Counter::Nops, posted.nops),
            (Counter::MessagesSent, posted.sends + posted.writes_immediate),
            (Counter::Doorbells, u32::from(total > 0)),
            (Counter::CreditWaits, posted.credit_waits),
        ];
        for (counter, amount) in kinds {
            if amount > 0 {
                self.add(counter, u64::from(amount));
            }
        }
    }

    /// Counts a transfer that moved every byte; `begun` as [`Record::begin`] told.
    #[inline]
    pub(super) fn succeeded(self, direction: Direction, bytes: u64, begun: Option<Instant>) {
        self.add(Counter::Transfers, 1);
        self.add(Counter::Bytes, bytes);
        if direction == Direction::Read {
            self.add(Counter::BytesRead, bytes);
        }
        let Some(begun) = begun else { return };
        let nanoseconds = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.lane.record(direction, nanoseconds);
        if let Some(route) = self.route {
            route.record(direction, nanoseconds);
        }
    }

    /// Counts a completion with an error.
    #[cold]
    pub(super) fn failed_completion(self, syndrome: Syndrome) {
        let index = FIRST_SYNDROME + place(syndrome);
        self.lane.counters.add_at(index, 1);
        if let Some(route) = self.route {
            route.counters.add_at(index, 1);
        }
    }
}
