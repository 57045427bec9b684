//! The error state: everything that is posted, or will be, completes as flushed, in order.
//!
//! Called by `requester` and `responder` when a request fails, by `transitions` for `ibv_modify_qp`, by `completion`
//! when a queue overran, and by `timers` for receives that are posted later. InfiniBand specification 10.3.1, 10.8.6.

use pmd_core::wire::Syndrome;

use super::{requester::advance, turn::Turn};
use crate::state::{AsynchronousKind, QueuePair, state};

impl Turn<'_> {
    /// Moves a queue pair to ERR, whoever's it is, and flushes both of its queues.
    pub(super) fn enter_error(&mut self, number: u32) {
        let Some(queue_pair) = self.tables.queue_pairs.find(number).copied() else { return };
        if queue_pair.state == state::ERR || queue_pair.state == state::RESET {
            return;
        }
        self.update(number, |queue_pair| queue_pair.state = state::ERR);
        self.flush_send(number);
        self.flush_receives(number);
        if queue_pair.shared_receives != 0 {
            let QueuePair { owner, user_handle, .. } = queue_pair;
            self.raise(owner, AsynchronousKind::LastReceiveReached, number, user_handle);
        }
    }

    /// Completes the posted sends of a queue pair as flushed.
    pub(super) fn flush_send(&mut self, number: u32) {
        let Some(queue_pair) = self.tables.queue_pairs.find(number).copied() else { return };
        let Ok(record) = self.counter_record(queue_pair.owner, queue_pair.record + 4) else { return };
        let mut consumer = queue_pair.send.consumer;
        while consumer != record {
            let Ok(fetched) = self.fetch(&queue_pair, consumer) else { break };
            self.fail_send(&queue_pair, consumer, fetched.opcode(), Syndrome::Flushed);
            let left = record.wrapping_sub(consumer);
            let blocks = fetched.blocks().min(left);
            consumer = consumer.wrapping_add(blocks);
            self.update(number, |queue_pair| advance(&mut queue_pair.send, blocks));
        }
        self.update(number, |queue_pair| queue_pair.send.rung = record);
    }

    /// Completes the posted receives of a failed queue pair as flushed; those of a shared queue stay there.
    pub(super) fn flush_receives(&mut self, number: u32) {
        while let Some(queue_pair) = self.tables.queue_pairs.find(number).copied()
            && queue_pair.state == state::ERR
            && queue_pair.shared_receives == 0
            && let Ok(Some(receive)) = self.next_receive(&queue_pair)
        {
            self.fail_receive(&queue_pair, &receive, Syndrome::Flushed);
        }
    }
}
