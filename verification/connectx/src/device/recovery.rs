//! After a process died in the middle of a turn: what it did to objects of others is finished.
//!
//! Its own objects are reaped; what it may have left undone is the end of a completion in a queue of its peer. The entry
//! in the queue's memory is the record of that: once `op_own` hands it over, it has happened, and the tables follow;
//! before that, nothing has. Called by [`super::Device::turn`] when the state says that it was interrupted.

use pmd_core::wire::{CqeOpcode, CqeView, cqe};

use super::{completion::next_entry, requester::advance, turn::Turn};
use crate::{
    dma,
    state::{CompletionQueue, QueuePair, state},
};

impl Turn<'_> {
    /// Brings the tables up to what is in the completion queues, and goes on with flushes.
    pub(super) fn recover(&mut self) {
        self.tables.interrupted = false;
        let queues: Vec<CompletionQueue> = self.tables.completion_queues.iter().copied().collect();
        queues.iter().for_each(|queue| self.recover_queue(queue));
        let failed = |queue_pair: &&QueuePair| queue_pair.state == state::ERR;
        let failed: Vec<u32> =
            self.tables.queue_pairs.iter().filter(failed).map(|queue_pair| queue_pair.number).collect();
        for number in failed {
            self.flush_send(number);
            self.flush_receives(number);
        }
    }

    /// At most one entry is written and not counted: the next one is written after the count.
    fn recover_queue(&mut self, queue: &CompletionQueue) {
        let mut entry = [0; 64];
        let address = next_entry(queue) + u64::from(queue.entry_bytes) - 64;
        if queue.overrun || dma::read(self.pid(queue.owner), address, &mut entry).is_err() {
            return;
        }
        let view = CqeView(&entry);
        if !cqe::ownership(view.op_own(), queue.producer, queue.entries) {
            return;
        }
        let Ok(opcode) = view.opcode() else { return };
        let is_error = matches!(opcode, CqeOpcode::RequesterError | CqeOpcode::ResponderError);
        self.recover_request(opcode, view);
        self.count_entry(queue.number, is_error || view.solicited());
    }

    /// Goes past the request that an entry completes, unless that has been done.
    fn recover_request(&mut self, opcode: CqeOpcode, view: CqeView<'_>) {
        let Some(queue_pair) = self.tables.queue_pairs.find(view.queue_pair()).copied() else { return };
        if matches!(opcode, CqeOpcode::Requester | CqeOpcode::RequesterError) {
            let at = queue_pair.send.consumer;
            if view.wqe_counter() == at
                && let Ok(fetched) = self.fetch(&queue_pair, at)
            {
                self.update(queue_pair.number, |queue_pair| advance(&mut queue_pair.send, fetched.blocks()));
            }
        } else if let Ok(Some(receive)) = self.next_receive(&queue_pair)
            && receive.counter == view.wqe_counter()
        {
            self.take_receive(&queue_pair, &receive);
        }
    }
}
