//! A transfer as its lane has it in hand.

use std::{sync::Arc, time::Instant};

use crate::{
    lane::{command::Submission, route::RouteHandle},
    transfer::{Completer, Direction, KeepAlive, Notification, Outcome, Priority, TransferError, WorkList},
};

/// Lists of fewer bytes stay on one queue pair: what a second one moves meanwhile does not make up for its doorbell.
const WORTH_SPREADING: u64 = 64 << 10;

/// A transfer that is not quiet yet.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) completer: Completer,
    pub(super) work: Arc<WorkList>,
    pub(super) notification: Option<Notification>,
    pub(super) notify: Notify,
    /// The notification has found no credit at least once.
    pub(super) waits_for_credit: bool,
    pub(super) deadline: Option<Instant>,
    /// By when what is outstanding is to have finished, once the transfer is being stopped.
    pub(super) grace_by: Option<Instant>,
    /// Index of its route.
    pub(super) route: u32,
    /// Next entry to post.
    pub(super) next_entry: u32,
    /// Entries that one queue pair takes at a time.
    pub(super) share: u32,
    /// Work requests posted and not completed, the notification's included.
    pub(super) outstanding: u32,
    /// Entries from the first on that have completed.
    pub(super) landed: u32,
    pub(super) priority: Priority,
    /// Why it is being stopped, or has failed.
    pub(super) failure: Option<TransferError>,
    _keep_alive: Option<KeepAlive>,
    _route: Arc<RouteHandle>,
}

/// Where a transfer's notification stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Notify {
    /// There is none.
    None,
    /// It waits for the bytes.
    Wanted,
    /// It waits for a credit and room.
    Queued,
    /// It is outstanding.
    Posted,
    /// It rides on the last WRITE, which is outstanding.
    Riding,
    /// The peer has it.
    Done,
}

impl Active {
    pub(super) fn new(submission: Submission, queue_pairs: usize) -> Self {
        let Submission { completer, work, options, route } = submission;
        let entries = work.entries().len();
        let spread = if work.bytes() < WORTH_SPREADING { 1 } else { queue_pairs.max(1) };
        Self {
            completer,
            notify: if options.notify.is_some() { Notify::Wanted } else { Notify::None },
            notification: options.notify,
            waits_for_credit: false,
            deadline: options.deadline,
            grace_by: None,
            route: route.shared.key.index,
            next_entry: 0,
            share: entries.div_ceil(spread).max(1) as u32,
            outstanding: 0,
            landed: 0,
            priority: options.priority,
            failure: None,
            work,
            _keep_alive: options.keep_alive,
            _route: route,
        }
    }

    /// Entries not posted yet.
    #[inline]
    pub(super) fn unposted(&self) -> u32 {
        self.work.entries().len() as u32 - self.next_entry
    }

    /// Whether something of it would still have to be posted.
    pub(super) fn has_unposted(&self) -> bool {
        self.unposted() > 0 || matches!(self.notify, Notify::Wanted | Notify::Queued)
    }

    /// Whether the notification can go out now. A reliable connection executes a SEND after the WRITEs before it, so
    /// on a route of one queue pair it can follow them at once; otherwise all parts have to have completed.
    #[inline]
    pub(super) fn may_notify(&self, queue_pairs: usize) -> bool {
        let ordered = self.is_ordered(queue_pairs);
        self.notify == Notify::Wanted && self.unposted() == 0 && (ordered || self.outstanding == 0)
    }

    /// The immediate that the next entry can take along, being the last one: all that the peer is to be told, on the
    /// queue pair on which everything before it went.
    #[inline]
    pub(super) fn rider(&self, queue_pairs: usize) -> Option<u32> {
        if self.notify != Notify::Wanted || self.unposted() != 1 || !self.is_ordered(queue_pairs) {
            return None;
        }
        let notification = self.notification.as_ref()?;
        notification.immediate.filter(|_| notification.bytes.is_empty())
    }

    /// Whether the peer sees what is posted next only after all entries.
    #[inline]
    fn is_ordered(&self, queue_pairs: usize) -> bool {
        queue_pairs == 1 && self.work.direction() == Direction::Write
    }

    /// Notes that entries from `first` on have completed: they count as far as all before them have, too. A
    /// notification that rode on the last one has arrived with it.
    #[inline]
    pub(super) fn note_landed(&mut self, first: u32, count: u32) {
        if first == self.landed {
            self.landed += count;
        }
        if self.notify == Notify::Riding && self.landed as usize == self.work.entries().len() {
            self.notify = Notify::Done;
        }
    }

    /// Whether nothing of it is outstanding and nothing will be posted.
    #[inline]
    pub(super) fn is_quiet(&self) -> bool {
        self.outstanding == 0 && (self.failure.is_some() || !self.has_unposted())
    }

    /// Gives the outcome, and with it everything that was kept alive.
    pub(super) fn complete(self, outcome: Result<Outcome, TransferError>) {
        let Self { completer, work, landed, _keep_alive, _route, .. } = self;
        // Before the outcome: who has it may count on the lane holding nothing any more.
        drop((work, _keep_alive, _route));
        completer.complete(outcome, landed);
    }
}
