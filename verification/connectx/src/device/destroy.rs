//! The end of objects: nothing of them reaches the program any more.
//!
//! Called by `kernel`, which frees what it keeps itself. Entries that are in a completion queue already stay there; the
//! driver removes them.

use super::Device;
use crate::{
    errno::Errno,
    state::{AsynchronousKind, CompletionQueue, QueuePair, SharedReceiveQueue, Tables},
};

impl Device {
    /// Destroys a queue pair of this process, and gives what it was.
    ///
    /// # Errors
    /// `EINVAL` when this process has none of this number.
    pub fn destroy_queue_pair(&self, number: u32) -> Result<QueuePair, Errno> {
        let mut tables = self.lock();
        let found = tables.queue_pairs.find(number).copied();
        let queue_pair = found.filter(|queue_pair| queue_pair.owner == self.process).ok_or(MISSING)?;
        tables.queue_pairs.remove(number);
        tables.asynchronous.take(|event| is_of_queue_pair(event.kind) && event.number == number);
        Ok(queue_pair)
    }

    /// Destroys a completion queue of this process, and gives what it was: `events_reported` are those written to
    /// its channel. Pending events are forgotten.
    ///
    /// # Errors
    /// `EINVAL` when this process has none of this number, `EBUSY` while a queue pair completes into it.
    pub fn destroy_completion_queue(&self, number: u32) -> Result<CompletionQueue, Errno> {
        let mut tables = self.lock();
        let found = tables.completion_queues.find(number).copied();
        let queue = found.filter(|queue| queue.owner == self.process).ok_or(MISSING)?;
        let completes = |queue_pair: &QueuePair| {
            queue_pair.send_completions == number || queue_pair.receive_completions == number
        };
        refuse_used(&tables, completes)?;
        tables.completion_queues.remove(number);
        tables
            .asynchronous
            .take(|event| event.kind == AsynchronousKind::CompletionQueueError && event.number == number);
        Ok(queue)
    }

    /// Destroys a shared receive queue of this process, and gives what it was.
    ///
    /// # Errors
    /// `EINVAL` when this process has none of this number, `EBUSY` while a queue pair takes receives from it.
    pub fn destroy_shared_receive_queue(&self, number: u32) -> Result<SharedReceiveQueue, Errno> {
        let mut tables = self.lock();
        let found = tables.shared_receives.find(number).copied();
        let queue = found.filter(|queue| queue.owner == self.process).ok_or(MISSING)?;
        refuse_used(&tables, |queue_pair| queue_pair.shared_receives == number)?;
        tables.shared_receives.remove(number);
        tables
            .asynchronous
            .take(|event| event.kind == AsynchronousKind::SharedReceiveLimit && event.number == number);
        Ok(queue)
    }

    /// Sets below how many receives a shared receive queue raises its limit event, once; 0 for never. It is raised at
    /// once when there are fewer already.
    ///
    /// # Errors
    /// `EINVAL` when this process has no queue of this number, or it has fewer places.
    pub fn set_shared_receive_limit(&self, number: u32, limit: u32) -> Result<(), Errno> {
        self.turn(|turn| {
            let queue = turn.tables.shared_receives.find_mut(number).ok_or(MISSING)?;
            if queue.owner != turn.device.process || limit > queue.slots {
                return Err(MISSING);
            }
            queue.limit = limit;
            let queue = *queue;
            turn.check_limit(&queue);
            Ok(())
        })
    }
}

const MISSING: Errno = Errno(libc::EINVAL);

fn refuse_used(tables: &Tables, uses: impl Fn(&QueuePair) -> bool) -> Result<(), Errno> {
    if tables.queue_pairs.iter().any(uses) { Err(Errno(libc::EBUSY)) } else { Ok(()) }
}

fn is_of_queue_pair(kind: AsynchronousKind) -> bool {
    use AsynchronousKind::{
        LastReceiveReached, QueuePairAccessError, QueuePairFatal, QueuePairRequestError, SendQueueDrained,
    };
    matches!(
        kind,
        QueuePairFatal | QueuePairRequestError | QueuePairAccessError | SendQueueDrained | LastReceiveReached
    )
}
