//! The device's halves against what a driver writes by hand.
#![allow(unsafe_code)] // plays the driver, by address

use pmd_core::{
    provider::CompletionQueueError,
    wire::{
        ControlFlags, ControlSegment, Cqe, DataSegment, ErrorCompletion, NextSegment, Opcode, Side, Syndrome,
        cqe,
    },
};

use super::*;

fn flushed(index: u16) -> Cqe {
    Cqe::Error(ErrorCompletion {
        side: Side::Requester,
        queue_pair: 7,
        operation: 0,
        wqe_counter: index,
        syndrome: Syndrome::Flushed,
        vendor: 0,
        shared_receive_queue: 0,
    })
}

#[test]
fn entries_change_owner_with_each_lap_and_overrun_is_told() {
    let mut ring = CompletionRing::new(2).unwrap();
    let memory = ring.memory(1);
    let entry = |index: u32| {
        // SAFETY: two entries of 64 bytes.
        unsafe { memory.buffer.cast::<[u8; 64]>().add(index as usize % 2).read() }
    };
    assert!(!cqe::ownership(entry(0)[63], 0, 2));
    for index in 0..4u32 {
        assert_eq!(ring.room(), 2);
        ring.push(&flushed(index as u16));
        assert!(cqe::ownership(entry(index)[63], index, 2));
        assert_eq!(Cqe::parse(&entry(index)), Ok(flushed(index as u16)));
        // SAFETY: the driver's consumer record.
        unsafe { memory.doorbell_record.cast::<u32>().write((index + 1).to_be()) };
    }
    ring.push(&flushed(4));
    ring.push(&flushed(5));
    assert_eq!((ring.room(), ring.state()), (0, Ok(())));
    ring.push(&flushed(6));
    assert_eq!(ring.state(), Err(CompletionQueueError::Overrun { capacity: 2 }));
}

#[test]
fn send_queue_gives_whole_requests_and_skips_unreadable_ones() {
    let mut ring = SendRing::new(4).unwrap();
    let memory = ring.memory();
    let write = |block: usize, bytes: [u8; 16]| {
        // SAFETY: four blocks of 64 bytes.
        unsafe { memory.buffer.add(block * 64).cast::<[u8; 16]>().write(bytes) };
    };
    let flags = ControlFlags::empty();
    let nop = ControlSegment {
        opcode: Opcode::Nop,
        opmod: 0,
        index: 0,
        queue_pair: 7,
        units: 5,
        flags,
        immediate: 0,
    };
    write(0, nop.to_bytes());
    // SAFETY: the driver's producer record.
    unsafe { memory.doorbell_record.write(3u32.to_be()) };
    assert_eq!((ring.available(), ring.parse(0).unwrap().basic_blocks()), (3, 2));
    assert_eq!(ring.skip(), Some((0, Opcode::Nop as u8)));
    assert_eq!((ring.available(), ring.head()), (1, 2));
    write(2, [0xff; 16]);
    assert!(ring.parse(2).is_err());
    assert_eq!(ring.skip(), Some((2, 0xff)));
    assert_eq!(ring.skip(), None);
}

#[test]
fn receives_are_taken_in_order_and_shared_ones_along_their_links() {
    let segment = DataSegment { length: 10, lkey: 1, address: 0x1000 };
    let mut own = ReceiveRing::own(2, 1).unwrap();
    let memory = own.memory();
    // SAFETY: two slots of 16 bytes; the driver's record.
    unsafe {
        memory.buffer.cast::<[u8; 16]>().write({
            let mut unit = [0; 16];
            segment.emit(&mut unit);
            unit
        });
        memory.doorbell_record.write(1u32.to_be());
    }
    let slot = own.take().unwrap();
    assert_eq!((slot.index, own.segments(slot).collect::<Vec<_>>()), (0, vec![segment]));
    assert_eq!(own.take(), None);

    let mut shared = ReceiveRing::shared(4, 1).unwrap();
    let memory = shared.shared_memory();
    for (slot, next) in [(0u16, 3u16), (3, 1), (1, 2), (2, 0)] {
        let mut units = [[0; 16]; 2];
        NextSegment { next_index: next }.emit(&mut units[0]);
        DataSegment { length: slot.into(), lkey: 1, address: 1 }.emit(&mut units[1]);
        // SAFETY: four slots of 32 bytes.
        unsafe { memory.buffer.cast::<[[u8; 16]; 2]>().add(slot.into()).write(units) };
    }
    // SAFETY: the driver's record.
    unsafe { memory.doorbell_record.write(3u32.to_be()) };
    let taken: Vec<u16> = std::iter::from_fn(|| shared.take()).map(|slot| slot.index).collect();
    assert_eq!(taken, [0, 3, 1]);
}

#[test]
fn queues_take_what_their_configuration_says() {
    use crate::backend::QueuePairConfig;

    let config = QueuePairConfig { send_slots: 100, receives: 20, sges: 5, ..QueuePairConfig::default() };
    let send = SendRing::new(config.send_slots).unwrap();
    let receive = ReceiveRing::own(config.receives, config.sges).unwrap();
    let (slots, stride) = (send.count(), 1 << receive.memory().stride_shift);
    assert_eq!((slots, receive.memory().wqe_count, stride), (128, 32, 128));
    assert_eq!(config.queue_bytes(), 128 * 64 + 32 * 128 + (128 + 32) * 64);
}
