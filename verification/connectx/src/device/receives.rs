//! Receives: a queue pair's own queue, and shared ones.
//!
//! Called by `responder` and `datagram` for what arrives, and by `flush`. The record is read for every message: posting
//! a receive rings no doorbell. ConnectX PRM, "Receive WQE", "SRQ WQE"; rdma-core `mlx5_post_recv`,
//! `mlx5_post_srq_recv`.

use pmd_core::{
    memory::Access,
    wire::{
        Cqe, DataSegment, NextSegment, ReceivePath, ReceiveSegments, Received, ResponderCompletion, Syndrome,
        UNIT,
    },
};

use super::{
    completion::Entry,
    gather::{self, Forbidden, Right, Span},
    turn::Turn,
};
use crate::{
    dma::{self, CopyFault, DmaFault},
    lint::Rule,
    state::{AsynchronousKind, QueuePair, SharedReceiveQueue},
};

/// A receive that is there to be taken.
#[derive(Debug)]
pub(super) struct Receive {
    /// Counter, or slot of a shared queue: what its completion carries.
    pub(super) counter: u16,
    segments: Vec<DataSegment>,
    /// Slot that follows in a shared queue.
    next: Option<u16>,
}

/// What arrived, to be put into a receive.
pub(super) struct Message<'a> {
    /// What the completion says.
    pub(super) received: Received,
    /// Who sent it.
    pub(super) path: ReceivePath,
    /// The bytes; empty for the immediate of a WRITE.
    pub(super) payload: &'a [Span],
    /// Bytes that the completion states.
    pub(super) length: u64,
    /// The sender asked for an event.
    pub(super) solicited: bool,
}

/// Why a message was not put into a receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Undelivered {
    /// No receive is posted.
    NotReady,
    /// The receiving process is gone.
    Gone,
    /// The sending process's memory is gone.
    SenderFault,
    /// The receive failed with this syndrome, and has completed so.
    Failed(Syndrome),
}

impl Turn<'_> {
    /// The receive that a queue pair takes next, without taking it.
    pub(super) fn next_receive(&mut self, queue_pair: &QueuePair) -> Result<Option<Receive>, DmaFault> {
        match queue_pair.shared_receives {
            0 => self.next_own(queue_pair),
            number => match self.tables.shared_receives.find(number).copied() {
                Some(queue) => self.next_shared(&queue),
                None => Ok(None),
            },
        }
    }

    /// Takes the receive that [`Turn::next_receive`] gave.
    pub(super) fn take_receive(&mut self, queue_pair: &QueuePair, receive: &Receive) {
        let Some(next) = receive.next else {
            return self.update(queue_pair.number, |queue_pair| {
                queue_pair.receive_consumer = queue_pair.receive_consumer.wrapping_add(1);
            });
        };
        if let Some(queue) = self.tables.shared_receives.find_mut(queue_pair.shared_receives) {
            queue.head = next;
            queue.taken = queue.taken.wrapping_add(1);
            let queue = *queue;
            self.check_limit(&queue);
        }
    }

    /// Puts a message into the next receive of `receiver`, and completes it.
    pub(super) fn deliver(&mut self, receiver: &QueuePair, message: &Message<'_>) -> Result<(), Undelivered> {
        let receive = match self.next_receive(receiver) {
            Ok(Some(receive)) => receive,
            Ok(None) => return Err(Undelivered::NotReady),
            Err(_) => return Err(Undelivered::Gone),
        };
        let room = self.scatter_room(receiver, receiver.receive_completions);
        let in_entry = (1..=room).contains(&gather::total(message.payload));
        let placed = if in_entry {
            fetch_payload(message.payload).map(Some)
        } else {
            self.scatter(receiver, &receive, message.payload).map(|()| None)
        };
        if let Err(undelivered @ (Undelivered::Gone | Undelivered::SenderFault)) = placed {
            return Err(undelivered);
        }
        match placed {
            Ok(payload) => {
                self.complete_receive(receiver, &receive, message, payload.as_deref());
                Ok(())
            }
            Err(undelivered) => {
                match undelivered {
                    Undelivered::Failed(syndrome) => self.fail_receive(receiver, &receive, syndrome),
                    _ => self.take_receive(receiver, &receive),
                }
                Err(undelivered)
            }
        }
    }

    fn complete_receive(
        &mut self,
        receiver: &QueuePair,
        receive: &Receive,
        message: &Message<'_>,
        payload: Option<&[u8]>,
    ) {
        let cqe = Cqe::Responder(ResponderCompletion {
            received: message.received,
            queue_pair: receiver.number,
            path: message.path,
            shared_receive_queue: receiver.user_index,
            byte_count: message.length as u32,
            wqe_counter: receive.counter,
            solicited: message.solicited,
            timestamp: 0,
            scatter: self.scatter_format(receiver.receive_completions, payload),
        });
        let receive = Some((receiver, receive));
        let entry = Entry { cqe, user_index: receiver.user_index, payload, receive };
        self.complete(receiver.receive_completions, &entry);
    }

    /// Moves a payload into the memory of a receive.
    fn scatter(
        &mut self,
        receiver: &QueuePair,
        receive: &Receive,
        payload: &[Span],
    ) -> Result<(), Undelivered> {
        let length = gather::total(payload);
        let target = self.receive_spans(receiver, receive, length);
        let target = target.map_err(|Forbidden| Undelivered::Failed(Syndrome::LocalProtection))?;
        if gather::total(&target) < length {
            return Err(Undelivered::Failed(Syndrome::LocalLength));
        }
        gather::copy(payload, &target, 0, length).map_err(|fault| match fault {
            CopyFault::Source(_) => Undelivered::SenderFault,
            CopyFault::Target(fault) if fault.errno == libc::ESRCH => Undelivered::Gone,
            CopyFault::Target(_) => Undelivered::Failed(Syndrome::LocalProtection),
        })
    }

    /// The memory of a receive, as far as `length` bytes reach.
    fn receive_spans(
        &self,
        receiver: &QueuePair,
        receive: &Receive,
        length: u64,
    ) -> Result<Vec<Span>, Forbidden> {
        let domain = match self.tables.shared_receives.find(receiver.shared_receives) {
            Some(queue) => queue.domain,
            None => receiver.domain,
        };
        let right = Right { owner: receiver.owner, domain, access: Access::LOCAL_WRITE };
        let (mut spans, mut left) = (Vec::new(), length);
        for segment in &receive.segments {
            let taken = left.min(segment.length.into());
            if taken > 0 {
                spans.push(self.span(segment.lkey, (segment.address, taken), right)?);
                left -= taken;
            }
        }
        Ok(spans)
    }

    fn next_own(&mut self, queue_pair: &QueuePair) -> Result<Option<Receive>, DmaFault> {
        if queue_pair.receive_slots == 0 {
            return Ok(None);
        }
        let record = self.counter_record(queue_pair.owner, queue_pair.record)?;
        let counter = queue_pair.receive_consumer;
        if record == counter {
            return Ok(None);
        }
        if u32::from(record.wrapping_sub(counter)) > queue_pair.receive_slots {
            let (consumer, slots) = (counter, queue_pair.receive_slots);
            let rule = Rule::ReceiveQueueOverflow { record, consumer, slots };
            self.violate_at(queue_pair.owner, queue_pair.number, rule);
        }
        let slot = u64::from(counter) & u64::from(queue_pair.receive_slots - 1);
        let mut bytes = vec![0; 1 << queue_pair.receive_shift];
        let address = queue_pair.receive_buffer + (slot << queue_pair.receive_shift);
        dma::read(self.pid(queue_pair.owner), address, &mut bytes)?;
        Ok(Some(Receive { counter, segments: ReceiveSegments::new(&bytes).collect(), next: None }))
    }

    fn next_shared(&mut self, queue: &SharedReceiveQueue) -> Result<Option<Receive>, DmaFault> {
        let waiting = self.shared_waiting(queue)?;
        if waiting == 0 {
            return Ok(None);
        }
        let mut bytes = vec![0; 1 << queue.shift];
        let address = queue.buffer + (u64::from(queue.head) << queue.shift);
        dma::read(self.pid(queue.owner), address, &mut bytes)?;
        let (link, rest) = bytes.split_at(UNIT);
        let link = link.first_chunk().map_or(NextSegment::default(), NextSegment::parse);
        let segments = ReceiveSegments::new(rest).collect();
        let (slot, next, slots) = (queue.head, link.next_index, queue.slots);
        if u32::from(next) >= slots {
            self.violate_at(queue.owner, queue.number, Rule::WrongLink { slot, next, slots });
        }
        Ok(Some(Receive { counter: slot, segments, next: Some((u32::from(next) % slots.max(1)) as u16) }))
    }

    /// Receives that wait in a shared queue.
    fn shared_waiting(&mut self, queue: &SharedReceiveQueue) -> Result<u16, DmaFault> {
        let record = self.counter_record(queue.owner, queue.record)?;
        let waiting = record.wrapping_sub(queue.taken);
        if u32::from(waiting) > queue.slots {
            let rule = Rule::ReceiveQueueOverflow { record, consumer: queue.taken, slots: queue.slots };
            self.violate_at(queue.owner, queue.number, rule);
        }
        Ok(waiting)
    }

    /// Raises the limit event of a shared queue, once.
    pub(super) fn check_limit(&mut self, queue: &SharedReceiveQueue) {
        if queue.limit == 0 {
            return;
        }
        let Ok(waiting) = self.shared_waiting(queue) else { return };
        if u32::from(waiting) < queue.limit {
            if let Some(queue) = self.tables.shared_receives.find_mut(queue.number) {
                queue.limit = 0;
            }
            let (owner, handle) = (queue.owner, queue.user_handle);
            self.raise(owner, AsynchronousKind::SharedReceiveLimit, queue.number, handle);
        }
    }

    /// A 16-bit counter in a doorbell record.
    pub(super) fn counter_record(
        &self,
        owner: crate::state::ProcessIndex,
        address: u64,
    ) -> Result<u16, DmaFault> {
        let mut word = [0; 4];
        dma::read(self.pid(owner), address, &mut word)?;
        Ok(u32::from_be_bytes(word) as u16)
    }
}

/// The bytes of a payload that goes into a completion entry.
fn fetch_payload(payload: &[Span]) -> Result<Vec<u8>, Undelivered> {
    let length = gather::total(payload);
    let mut bytes = vec![0; length as usize];
    let target = [gather::own_bytes_mut(&mut bytes)];
    gather::copy(payload, &target, 0, length).map_err(|_| Undelivered::SenderFault)?;
    Ok(bytes)
}
