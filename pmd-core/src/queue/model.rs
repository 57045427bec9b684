//! Loom models: the queues against a thread that stands for the device.
//!
//! The queues are the very ones that ship, over tracked memory ([`super::lines::model`]); barriers are fences, records
//! and doorbells atomics without an ordering ([`crate::mmio`]). The device thread acquires where hardware's DMA reads
//! cannot pass each other, and releases where its DMA writes arrive in order.

use alloc::{vec, vec::Vec};
use core::{convert::Infallible, ptr::NonNull};

use loom::thread;

use super::{
    ArmRegister, CompletionQueue, DoorbellRegister, QueuePairLimits, ReceiveQueue, SendQueue,
    SharedReceiveQueue, lines::model::TrackedLine,
};
use crate::{
    memory::{LocalKey, RemoteAddress, RemoteKey, Sge},
    provider::*,
    sync::{Arc, AtomicU32, AtomicU64, Ordering, fence, spin_hint},
    wire::{Arm, Cqe, Opcode, RequesterCompletion, Scatter, cqe},
};

/// Words of the register memory, of which the second half begins in the middle.
const REGISTER_WORDS: usize = 32;

/// A doorbell record, aligned as the queues want it.
#[repr(align(64))]
struct Record([AtomicU32; 2]);

/// What driver and device share.
struct Shared {
    lines: Vec<TrackedLine>,
    record: Record,
    registers: Vec<AtomicU64>,
}

impl Shared {
    fn new(lines: usize) -> Arc<Self> {
        Arc::new(Self {
            lines: (0..lines).map(|_| TrackedLine::new()).collect(),
            record: Record([AtomicU32::new(0), AtomicU32::new(0)]),
            registers: (0..REGISTER_WORDS).map(|_| AtomicU64::new(0)).collect(),
        })
    }

    fn buffer(&self) -> NonNull<u8> {
        NonNull::from(&*self.lines).cast()
    }

    fn doorbell_record<T>(&self) -> NonNull<T> {
        NonNull::from(&self.record).cast()
    }

    fn register(&self) -> NonNull<u8> {
        NonNull::from(&*self.registers).cast()
    }

    /// The device reads a record, and what it fetches then is no older.
    fn read_record(&self, word: usize) -> u32 {
        let value = u32::from_be(self.record.0[word].load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        value
    }

    /// Waits until the device has been rung through any half of the register.
    fn wait_rung(&self) {
        while self.registers.iter().all(|word| word.load(Ordering::Relaxed) == 0) {
            spin_hint();
        }
        fence(Ordering::Acquire);
    }

    fn send_queue(&self, slots: u32) -> SendQueue {
        let memory = SendQueueMemory {
            buffer: self.buffer(),
            wqe_count: slots,
            doorbell_record: self.doorbell_record(),
        };
        // SAFETY: the model keeps the memory until all threads have ended, and the device only reads it.
        unsafe {
            SendQueue::new(
                QueuePairNumber(5),
                memory,
                QueuePairLimits { inline: 64, ..QueuePairLimits::default() },
            )
        }
        .unwrap()
    }
}

const REMOTE: RemoteAddress = RemoteAddress { address: 0x1000, key: RemoteKey(7) };

fn write(id: u64, list: &[Sge]) -> SendRequest<'_> {
    let operation = Operation::Write { remote: REMOTE, local: Payload::Gather(list) };
    SendRequest { id, operation, flags: SendFlags::SIGNALED }
}

fn inline(id: u64, bytes: &[u8]) -> SendRequest<'_> {
    let operation = Operation::Write { remote: REMOTE, local: Payload::Inline(bytes) };
    SendRequest { id, operation, flags: SendFlags::SIGNALED }
}

const ENTRY: Sge = Sge { address: 0x2000, length: 8, key: LocalKey(9) };

/// Checks every WQE that the record counts: its index, in the control segment.
fn check_posted(shared: &Shared, posted: u32) {
    for slot in 0..posted {
        let line = shared.lines[slot as usize].fetch();
        assert_eq!(u32::from(u16::from_be_bytes([line[1], line[2]])), slot, "not the WQE of this slot");
        assert_eq!(line[3], Opcode::RdmaWrite as u8);
    }
}

/// A device that reads the record by itself, without being rung, finds every WQE that it counts: one written at once,
/// one segment by segment, one inline.
#[test]
fn a_record_comes_after_its_work_requests() {
    loom::model(|| {
        let shared = Shared::new(4);
        let mut queue = shared.send_queue(4);
        let device = shared.clone();
        let reading = thread::spawn(move || check_posted(&device, device.read_record(0)));
        // SAFETY: loom's words stand for a register, and outlive it.
        let mut register = unsafe { DoorbellRegister::new(shared.register(), 0) };
        queue.post(&write(1, &[ENTRY])).unwrap();
        queue.ring(&mut &mut register);
        queue.post(&write(2, &[Sge { length: 0, ..ENTRY }, ENTRY])).unwrap();
        queue.post(&inline(3, b"bytes")).unwrap();
        queue.ring(&mut &mut register);
        reading.join().unwrap();
    });
}

/// Rings once, and has a device that was rung look at the record.
fn rung_after_the_record(half: u32, post: impl Fn(&mut SendQueue) + Send + Sync + 'static) {
    loom::model(move || {
        let shared = Shared::new(2);
        let mut queue = shared.send_queue(2);
        let device = shared.clone();
        let ringing = thread::spawn(move || {
            device.wait_rung();
            let posted = device.read_record(0);
            assert_eq!(posted, 1, "rung with an old record");
            check_posted(&device, posted);
        });
        // SAFETY: loom's words stand for a register, and outlive it; each half has more than `half` bytes.
        let mut register = unsafe { DoorbellRegister::new(shared.register(), half) };
        post(&mut queue);
        queue.ring(&mut &mut register);
        ringing.join().unwrap();
    });
}

/// A device that was rung finds the record that counts the WQE.
#[test]
fn a_doorbell_comes_after_its_record() {
    rung_after_the_record(0, |queue| queue.post(&write(1, &[ENTRY])).unwrap());
}

/// The same where the WQE itself is the doorbell.
#[test]
fn blue_flame_comes_after_its_record() {
    rung_after_the_record(64, |queue| queue.post(&inline(1, b"bytes")).unwrap());
}

const RECEIVE: Sge = Sge { address: 0x3000, length: 64, key: LocalKey(3) };

/// A device finds the receives that the record counts.
#[test]
fn a_receive_record_comes_after_its_receives() {
    loom::model(|| {
        let shared = Shared::new(2);
        let memory = ReceiveQueueMemory {
            buffer: shared.buffer(),
            wqe_count: 2,
            stride_shift: 6,
            doorbell_record: shared.doorbell_record(),
        };
        // SAFETY: as for the send queue.
        let mut queue = unsafe { ReceiveQueue::new(memory, 4, false) }.unwrap();
        let device = shared.clone();
        let reading = thread::spawn(move || {
            for slot in 0..device.read_record(0) {
                assert_eq!(device.lines[slot as usize].fetch()[..4], 64_u32.to_be_bytes());
            }
        });
        for id in 0..2 {
            queue.post(&ReceiveRequest { id, scatter: &[RECEIVE] }).unwrap();
            queue.ring();
        }
        reading.join().unwrap();
    });
}

/// The same for a shared receive queue, whose slots begin with the link to the next one.
#[test]
fn a_shared_receive_record_comes_after_its_receives() {
    loom::model(|| {
        let shared = Shared::new(2);
        let memory = SharedReceiveQueueMemory {
            buffer: shared.buffer(),
            wqe_count: 2,
            stride_shift: 6,
            doorbell_record: shared.doorbell_record(),
        };
        // SAFETY: as for the send queue.
        let mut queue = unsafe { SharedReceiveQueue::new(memory, 3, false) }.unwrap();
        let device = shared.clone();
        let reading = thread::spawn(move || {
            for slot in 0..device.read_record(0) {
                assert_eq!(device.lines[slot as usize].fetch()[16..20], 64_u32.to_be_bytes());
            }
        });
        queue.post(&ReceiveRequest { id: 1, scatter: &[RECEIVE] }).unwrap();
        queue.ring();
        reading.join().unwrap();
    });
}

/// The entry with free-running number `index`.
fn entry(index: u32, count: u32) -> [u8; 64] {
    let mut bytes = [0; 64];
    let completion = RequesterCompletion {
        queue_pair: 5,
        operation: Opcode::RdmaWrite,
        wqe_counter: index as u16,
        byte_count: 0,
        timestamp: 0,
        scatter: Scatter::Memory,
    };
    Cqe::Requester(completion).emit_cqe64(cqe::owner_bit(index, count), &mut bytes);
    bytes
}

fn completion_queue(shared: &Shared, count: u32) -> CompletionQueue {
    let memory = CompletionQueueMemory {
        buffer: shared.buffer(),
        cqe_count: count,
        cqe_size: 64,
        doorbell_record: shared.doorbell_record(),
        number: 1,
    };
    // SAFETY: the model keeps the memory until all threads have ended; its device writes an entry once the queue has
    // given it back.
    unsafe { CompletionQueue::new(memory) }.unwrap()
}

/// Entries are read after they were written, and overwritten after they were read: three laps of one entry, and more
/// than one of two.
#[test]
fn completions_cross_over_laps() {
    for (count, entries) in [(1, 3), (2, 3)] {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(move || {
            let shared = Shared::new(count as usize);
            let mut queue = completion_queue(&shared, count);
            let device = shared.clone();
            let producing = thread::spawn(move || {
                for index in 0..entries {
                    while index - device.read_record(0) == count {
                        spin_hint();
                    }
                    device.lines[(index % count) as usize].complete(entry(index, count));
                }
            });
            let mut seen = vec![];
            while seen.len() < entries as usize {
                let (taken, refused) = queue.drain(&mut [(); 2], |(), entry| {
                    seen.push(u32::from(entry.view.wqe_counter()));
                    Ok::<(), Infallible>(())
                });
                assert_eq!(refused, None);
                queue.publish();
                if taken == 0 {
                    spin_hint();
                }
            }
            assert_eq!(seen, (0..entries).collect::<Vec<u32>>());
            producing.join().unwrap();
        });
    }
}

/// A queue that takes out the entries of a queue pair that is gone gives back only what it has read.
#[test]
fn cleaned_entries_are_given_back_after_they_were_moved() {
    loom::model(|| {
        let shared = Shared::new(2);
        let mut queue = completion_queue(&shared, 2);
        let device = shared.clone();
        let producing = thread::spawn(move || {
            for index in 0..3 {
                while index - device.read_record(0) == 2 {
                    spin_hint();
                }
                let mut bytes = entry(index, 2);
                // Queue pair 6 has the first entry.
                bytes[59] += u8::from(index == 0);
                device.lines[(index % 2) as usize].complete(bytes);
            }
        });
        let mut gone = 0;
        while gone == 0 {
            queue.clean(6, |_| gone += 1);
            spin_hint();
        }
        let mut seen = vec![];
        while seen.len() < 2 {
            let _ = queue.drain(&mut [(); 2], |(), entry| {
                seen.push(entry.view.wqe_counter());
                Ok::<(), Infallible>(())
            });
            queue.publish();
            spin_hint();
        }
        assert_eq!(seen, [1, 2]);
        producing.join().unwrap();
    });
}

/// A device whose arm register was written finds the arm word that goes with it.
#[test]
fn an_arm_doorbell_comes_after_its_record() {
    loom::model(|| {
        let shared = Shared::new(2);
        let mut queue = completion_queue(&shared, 2);
        queue.event_received();
        let device = shared.clone();
        let armed = Arm { sequence: 1, solicited_only: false, consumer_index: 0, completion_queue: 1 };
        let arming = thread::spawn(move || {
            device.wait_rung();
            assert_eq!(device.read_record(1), u32::from_be(armed.record()), "armed with an old record");
        });
        // SAFETY: loom's words stand for a register, and outlive it.
        let mut register = unsafe { ArmRegister::new(shared.register().cast()) };
        register.ring(queue.arm(false));
        arming.join().unwrap();
    });
}
