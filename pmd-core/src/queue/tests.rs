//! Indexes at the ends of their ranges, which no test reaches by counting.

extern crate std;

use alloc::{vec, vec::Vec};
use core::{convert::Infallible, ptr::NonNull};
use std::sync::Mutex;

use super::{CompletionQueue, QueuePairLimits, SendQueue};
use crate::{
    memory::{RemoteAddress, Sge},
    provider::{
        CompletionQueueMemory, Operation, Payload, QueuePairNumber, SendDoorbell, SendFlags, SendQueueMemory,
        SendRequest, WqeRing,
    },
    wire::{Cqe, Opcode, RequesterCompletion, Scatter, cqe},
};

#[derive(Clone, Copy)]
#[repr(C, align(128))]
struct Line([u8; 128]);

/// Zeroed memory that device and queue share; never freed, so that no test has to order its end.
fn memory(lines: usize) -> NonNull<u8> {
    let memory: NonNull<u8> = NonNull::from(Vec::leak(vec![Line([0; 128]); lines])).cast();
    // Known to be there: no leak to those who look for leaks.
    KEPT.lock().expect("no holder panics").push(memory.as_ptr().expose_provenance());
    memory
}

static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());

fn word(record: NonNull<u32>) -> u32 {
    // SAFETY: a leaked word that only this thread uses.
    u32::from_be(unsafe { record.read() })
}

#[derive(Default)]
struct Doorbell {
    rung: Vec<[u8; 8]>,
}

impl SendDoorbell for Doorbell {
    fn blue_flame_limit(&self) -> u32 {
        0
    }

    fn ring(&mut self, control: [u8; 8]) {
        self.rung.push(control);
    }

    fn blue_flame(&mut self, _: WqeRing) {}
}

#[test]
fn send_positions_wrap_after_32_bits() {
    let record = memory(1).cast::<u32>();
    let ring = SendQueueMemory { buffer: memory(8), wqe_count: 16, doorbell_record: record };
    // SAFETY: leaked memory that nobody else uses.
    let queue = unsafe { SendQueue::new(QueuePairNumber(0x12), ring, QueuePairLimits::default()) };
    let mut queue = queue.expect("a queue");
    let start = u32::MAX - 20;
    queue.start_at(start);
    let list = [Sge { length: 8, ..Sge::default() }; 5];
    let remote = RemoteAddress::default();
    let mut doorbell = Doorbell::default();
    let mut position = start;
    for id in 0..40u64 {
        let local = Payload::Gather(&list[..if id % 2 == 0 { 5 } else { 1 }]);
        let request =
            SendRequest { id, operation: Operation::Write { remote, local }, flags: SendFlags::SIGNALED };
        queue.post(&request).expect("room");
        queue.ring(&mut doorbell);
        assert_eq!(doorbell.rung.pop().expect("rung")[1..3], (position as u16).to_be_bytes());
        let next = position.wrapping_add(if id % 2 == 0 { 2 } else { 1 });
        assert_eq!(word(record), next & 0xffff);
        assert!(queue.retire(position.wrapping_sub(1) as u16).is_none());
        assert_eq!(queue.retire(position as u16).map(|retired| retired.id), Some(id));
        assert_eq!(queue.free(), 16);
        position = next;
    }
    assert!(position < start, "the position went past the end of its range");
}

#[test]
fn consumer_indexes_wrap_after_24_and_32_bits() {
    for start in [(1 << 24) - 20, u32::MAX - 20] {
        for cqe_size in [64, 128] {
            let record = memory(1);
            let buffer = memory(8);
            let doorbell_record = record.cast();
            let ring = CompletionQueueMemory { buffer, cqe_count: 8, cqe_size, doorbell_record, number: 1 };
            // SAFETY: leaked memory that nobody else uses.
            let mut queue = unsafe { CompletionQueue::new(ring) }.expect("a queue");
            queue.start_at(start);
            let mut index = start;
            for round in 0..10 {
                for place in 0..5 {
                    produce(ring, index.wrapping_add(place), (round * 5 + place) as u16);
                }
                let mut seen = Vec::new();
                let (count, refused) = queue.drain(&mut [(); 7], |(), entry| {
                    seen.push(u32::from(entry.view.wqe_counter()));
                    Ok::<(), Infallible>(())
                });
                assert_eq!((count, refused), (5, None));
                assert_eq!(seen, (round * 5..round * 5 + 5).collect::<Vec<u32>>());
                queue.publish();
                index = index.wrapping_add(5);
                assert_eq!(word(record.cast()), index & 0x00ff_ffff);
            }
        }
    }
}

/// Writes the entry with free-running number `index`, as a device does.
fn produce(ring: CompletionQueueMemory, index: u32, wqe_counter: u16) {
    let completion = RequesterCompletion {
        queue_pair: 1,
        operation: Opcode::Nop,
        wqe_counter,
        byte_count: 0,
        timestamp: 0,
        scatter: Scatter::Memory,
    };
    let mut entry = [0; 64];
    Cqe::Requester(completion).emit_cqe64(cqe::owner_bit(index, ring.cqe_count), &mut entry);
    let start = ((index % ring.cqe_count + 1) * ring.cqe_size - 64) as usize;
    // SAFETY: within the queue's memory.
    unsafe { ring.buffer.add(start).cast::<[u8; 64]>().write(entry) };
}
