//! The work: what a driver does with pmd-core, checked by content.

use pmd_core::ring::{mpsc, spsc};
use pmd_core::wire::{
    ControlFlags, ControlSegment, Cqe, DataItem, DataSegment, Opcode, Operation, RemoteSegment, SendWqe, Service,
};

const CONTROL: ControlSegment = ControlSegment {
    opcode: Opcode::RdmaWrite,
    opmod: 0,
    index: 0,
    queue_pair: 0x00ab_cdef,
    units: 3,
    flags: ControlFlags::CQ_UPDATE,
    immediate: 0,
};
const REMOTE: RemoteSegment = RemoteSegment { address: 0x7fff_dead_beef_0000, rkey: 0x00be_ef07 };
const DATA: DataSegment = DataSegment { length: 0x1000, lkey: 0x00ca_fe01, address: 0x1122_3344_5566_7788 };

/// The bytes that ConnectX reads for these three segments.
const WRITE: [u8; 48] = [
    0x00, 0x00, 0x00, 0x08, 0xab, 0xcd, 0xef, 0x03, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x00, //
    0x7f, 0xff, 0xde, 0xad, 0xbe, 0xef, 0x00, 0x00, 0x00, 0xbe, 0xef, 0x07, 0x00, 0x00, 0x00, 0x00, //
    0x00, 0x00, 0x10, 0x00, 0x00, 0xca, 0xfe, 0x01, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88,
];

/// A work-queue entry has the bytes of the manual, and a device reads the same request out of them.
pub(crate) fn write_request() -> bool {
    let mut queue = [0_u8; 64];
    let (units, _) = queue.as_chunks_mut::<16>();
    CONTROL.emit(&mut units[0]);
    REMOTE.emit(&mut units[1]);
    DATA.emit(&mut units[2]);
    let Ok(request) = SendWqe::parse(&queue, 0, Service::Connected) else { return false };
    let Operation::Write { remote, immediate: None, mut data } = request.operation else { return false };
    let same = request.control == CONTROL && remote == REMOTE && data.next() == Some(DataItem::Memory(DATA));
    same && queue[..48] == WRITE && queue[48..] == [0; 16]
}

/// Bytes that are no completion are an error, and do not end the program.
pub(crate) fn completion() -> bool {
    Cqe::parse(&[0xff; 64]).is_err()
}

/// Values leave a ring in the order in which they came, and a full ring gives the value back.
pub(crate) fn ring() -> bool {
    let (mut producer, mut consumer) = spsc::channel::<u64>(4);
    let mut popped = 0;
    for round in 0..100 {
        for value in 0..4 {
            if producer.push(round * 4 + value).is_err() {
                return false;
            }
        }
        if producer.push(u64::MAX).map_err(|full| full.0) != Err(u64::MAX) {
            return false;
        }
        while let Some(value) = consumer.pop() {
            if value != popped {
                return false;
            }
            popped += 1;
        }
    }
    popped == 400
}

/// Every value of two senders arrives once, in each sender's order.
pub(crate) fn shared_ring() -> bool {
    let (sender, mut receiver) = mpsc::channel::<u64>(8);
    let other = sender.clone();
    let mut sum = 0;
    for value in 0..100 {
        if sender.push(value).is_err() || other.push(1000 + value).is_err() {
            return false;
        }
        if receiver.pop() != Some(value) || receiver.pop() != Some(1000 + value) {
            return false;
        }
        sum += 1;
    }
    sum == 100 && receiver.pop().is_none()
}
