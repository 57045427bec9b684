//! The wire of the soft HCA: lengths, laps, positions.
#![allow(unsafe_code)] // fills and reads bodies as a copy engine does
extern crate std;

mod hostile;
mod property;

use alloc::vec;
use alloc::vec::Vec;
use core::ptr::NonNull;
use std::thread;

use super::*;

/// Bytes that tell packets apart.
fn body(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (seed.wrapping_mul(0x9e37_79b9) ^ at.wrapping_mul(31)) as u8).collect()
}

/// Takes the oldest packet out.
fn take(consumer: &mut Consumer) -> Option<Vec<u8>> {
    let packet = consumer.peek().unwrap()?;
    let mut bytes = vec![0; packet.length()];
    packet.read(0, &mut bytes).unwrap();
    packet.release();
    Some(bytes)
}

/// Lets the producer know how far the consumer has come.
fn settle(producer: &mut Producer, consumer: &mut Consumer) {
    consumer.publish();
    producer.refresh().unwrap();
}

#[test]
fn the_layout_is_what_processes_share() {
    assert_eq!((size_of::<Line>(), align_of::<Line>()), (64, 64));
    assert_eq!((size_of::<ConsumedLine>(), align_of::<ConsumedLine>()), (64, 64));
    assert_eq!(core::mem::offset_of!(Line, marker), 0);
    assert_eq!(core::mem::offset_of!(Line, body), 4);
}

#[test]
fn a_small_packet_is_one_line() {
    let (mut producer, mut consumer) = ring(8).unwrap();
    for (length, lines) in [(0, 1), (1, 1), (SMALL_BODY, 1), (SMALL_BODY + 1, 2), (124, 2), (125, 3)] {
        let start = producer.position();
        producer.push(&body(length as u64, length)).unwrap();
        assert_eq!(producer.position() - start, lines, "{length} bytes");
        assert_eq!(take(&mut consumer), Some(body(length as u64, length)));
        assert_eq!(consumer.position(), producer.position());
        settle(&mut producer, &mut consumer);
        while !consumer.position().is_multiple_of(8) {
            producer.push(&[]).unwrap();
            take(&mut consumer).unwrap();
            settle(&mut producer, &mut consumer);
        }
    }
    assert_eq!(take(&mut consumer), None);
}

#[test]
fn nothing_is_there_before_the_commit_and_a_dropped_grant_leaves_nothing() {
    let (mut producer, mut consumer) = ring(4).unwrap();
    let mut grant = producer.reserve(100).unwrap();
    grant.write(0, &[0xff; 100]).unwrap();
    drop(grant);
    assert_eq!((producer.position(), producer.lines_in_use()), (0, 0));
    assert_eq!(take(&mut consumer), None);
    let mut grant = producer.reserve(10).unwrap();
    grant.write(0, b"first").unwrap();
    grant.write(5, b"packe").unwrap();
    assert_eq!(grant.length(), 10);
    grant.commit();
    assert_eq!(take(&mut consumer).as_deref(), Some(&b"firstpacke"[..]));
    assert_eq!(take(&mut consumer), None);
}

#[test]
fn a_peeked_packet_stays_until_released() {
    let (mut producer, mut consumer) = ring(4).unwrap();
    producer.push(b"one").unwrap();
    producer.push(b"two").unwrap();
    for _ in 0..3 {
        assert_eq!(consumer.peek().unwrap().unwrap().length(), 3);
        assert_eq!(consumer.position(), 0);
    }
    assert_eq!(take(&mut consumer).as_deref(), Some(&b"one"[..]));
    assert_eq!(take(&mut consumer).as_deref(), Some(&b"two"[..]));
}

#[test]
fn accesses_beyond_the_body_are_refused() {
    let (mut producer, mut consumer) = ring(4).unwrap();
    let mut grant = producer.reserve(8).unwrap();
    for (offset, length) in [(0, 9), (8, 1), (9, 0), (usize::MAX, 1), (1, 8)] {
        let refused = OutOfBounds { offset, length, body: 8 };
        assert_eq!(grant.write(offset, &vec![1; length]), Err(refused));
    }
    grant.write(8, &[]).unwrap();
    grant.write(0, &[2; 8]).unwrap();
    grant.commit();
    let packet = consumer.peek().unwrap().unwrap();
    for (offset, length) in [(0, 9), (8, 1), (9, 0), (usize::MAX, 1), (1, 8)] {
        let mut bytes = vec![7; length];
        assert_eq!(packet.read(offset, &mut bytes), Err(OutOfBounds { offset, length, body: 8 }));
        assert_eq!(bytes, vec![7; length]);
    }
}

#[test]
fn the_body_is_contiguous_for_a_copy_engine() {
    let (mut producer, mut consumer) = ring(64).unwrap();
    let bytes = body(3, 3000);
    let mut grant = producer.reserve(bytes.len()).unwrap();
    // SAFETY: the grant gives `length` bytes to write.
    unsafe { grant.body().copy_from_nonoverlapping(NonNull::from(&bytes[..]).cast(), bytes.len()) };
    grant.commit();
    let packet = consumer.peek().unwrap().unwrap();
    // SAFETY: the packet gives `length` bytes to read.
    let seen = unsafe { core::slice::from_raw_parts(packet.body().as_ptr(), packet.length()) };
    assert_eq!(seen, bytes);
}

#[test]
fn full_until_the_consumed_position_is_known() {
    let (mut producer, mut consumer) = ring(4).unwrap();
    for _ in 0..3 {
        producer.push(b"x").unwrap();
    }
    let full = Err(Refused::Full { needed: 1, free: 0 });
    assert_eq!(producer.push(b"y"), full);
    take(&mut consumer).unwrap();
    assert_eq!(producer.push(b"y"), full);
    producer.refresh().unwrap();
    assert_eq!(producer.push(b"y"), full, "released, not published");
    assert_eq!(consumer.unpublished(), 1);
    consumer.publish();
    assert_eq!(consumer.unpublished(), 0);
    producer.refresh().unwrap();
    assert_eq!(producer.push(b"y"), Ok(()));
    assert_eq!(producer.push(b"z"), full);
    take(&mut consumer).unwrap();
    producer.acknowledge(consumer.position()).unwrap();
    assert_eq!(producer.push(b"z"), Ok(()));
}

#[test]
fn the_longest_packet_fits_from_any_place() {
    for lines in [2, 4, 16] {
        let (mut producer, mut consumer) = ring(lines).unwrap();
        let longest = producer.longest_body();
        assert_eq!(longest, (lines - 1) * 64 - 4);
        let too_long = Refused::TooLong { body: longest + 1, most: longest };
        assert_eq!(producer.reserve(longest + 1).err(), Some(too_long));
        assert_eq!(
            producer.reserve(usize::MAX).err(),
            Some(Refused::TooLong { body: usize::MAX, most: longest })
        );
        for round in 0..40 {
            let bytes = body(round, longest);
            // At most the skip and the packet each have to wait once.
            for _ in 0..2 {
                if producer.push(&bytes).is_ok() {
                    break;
                }
                assert_eq!(take(&mut consumer), None);
                settle(&mut producer, &mut consumer);
            }
            assert_eq!(take(&mut consumer), Some(bytes));
            settle(&mut producer, &mut consumer);
            producer.push(&[]).unwrap();
            assert_eq!(take(&mut consumer), Some(vec![]));
            settle(&mut producer, &mut consumer);
        }
    }
}

#[test]
fn only_powers_of_two_are_rings() {
    for lines in [0, 1, 3, 6, 1 << 31, usize::MAX] {
        assert_eq!(ring(lines).err(), Some(LineCount { lines }));
    }
}

#[test]
fn two_threads_move_packets_of_every_length() {
    const COUNT: u64 = 100_000;
    let length = |at: u64| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 33) as usize % 300;
    let (mut producer, mut consumer) = ring(64).unwrap();
    let pushing = thread::spawn(move || {
        for at in 0..COUNT {
            let bytes = body(at, length(at));
            while producer.push(&bytes).is_err() {
                thread::yield_now();
                producer.refresh().unwrap();
            }
        }
    });
    for at in 0..COUNT {
        let bytes = loop {
            if let Some(bytes) = take(&mut consumer) {
                break bytes;
            }
            consumer.publish();
            thread::yield_now();
        };
        assert_eq!(bytes, body(at, length(at)), "packet {at}");
    }
    assert_eq!(take(&mut consumer), None);
    pushing.join().unwrap();
}

#[test]
fn two_rings_acknowledge_each_other() {
    const COUNT: u32 = 50_000;
    let (mut requests, mut request_in) = ring(16).unwrap();
    let (mut answers, mut answer_in) = ring(16).unwrap();
    let echo = thread::spawn(move || {
        for _ in 0..COUNT {
            let bytes = loop {
                match take(&mut request_in) {
                    Some(bytes) => break bytes,
                    None => thread::yield_now(),
                }
            };
            answers.acknowledge(u32::from_le_bytes(bytes[..4].try_into().unwrap())).unwrap();
            answers.push(&[&request_in.position().to_le_bytes(), &bytes[4..]].concat()).unwrap();
        }
    });
    for at in 0..COUNT {
        let text = body(u64::from(at), at as usize % 90);
        requests.push(&[&answer_in.position().to_le_bytes(), &text[..]].concat()).unwrap();
        let bytes = loop {
            match take(&mut answer_in) {
                Some(bytes) => break bytes,
                None => thread::yield_now(),
            }
        };
        requests.acknowledge(u32::from_le_bytes(bytes[..4].try_into().unwrap())).unwrap();
        assert_eq!(bytes[4..], text);
        assert_eq!(requests.lines_in_use(), 0);
        // The shared word lags, by less than a lap, and never looks corrupt.
        requests.refresh().unwrap();
    }
    echo.join().unwrap();
}

/// Takes what one ring holds to another ring, as an end that carries packets over a network does.
fn carry(from: &mut Consumer, to: &mut Producer) {
    loop {
        let there = from.peek().unwrap().is_some();
        to.skip_to(from.position()).unwrap();
        let Some(bytes) = there.then(|| take(from)).flatten() else { return };
        to.push(&bytes).unwrap();
    }
}

#[test]
fn a_ring_is_repeated_at_the_same_positions() {
    let (mut producer, mut carrier) = ring(8).unwrap();
    let (mut repeater, mut consumer) = ring(8).unwrap();
    for round in 0..200_u64 {
        let length = (round * 37 % 200) as usize;
        producer.push(&body(round, length)).unwrap();
        carry(&mut carrier, &mut repeater);
        assert_eq!(repeater.position(), producer.position());
        assert!(producer.refresh().is_ok() && producer.lines_in_use() > 0, "nobody has consumed it");
        assert_eq!(take(&mut consumer), Some(body(round, length)));
        settle(&mut repeater, &mut consumer);
        carrier.publish_to(consumer.position()).unwrap();
        producer.refresh().unwrap();
        assert_eq!(producer.lines_in_use(), 0);
    }
    assert!(producer.position() > 200, "the ring was passed round often");
}

#[test]
fn positions_of_another_ring_are_checked() {
    let (mut producer, mut consumer) = ring(8).unwrap();
    producer.push(&body(1, 100)).unwrap();
    take(&mut consumer).unwrap();
    assert!(matches!(consumer.publish_to(3), Err(Corrupt::Position { position: 3, .. })));
    assert_eq!(consumer.publish_to(2), Ok(()));
    assert!(consumer.publish_to(1).is_err(), "it was stored before");
    for position in [1, 3, 16, 7] {
        assert!(matches!(producer.skip_to(position), Err(Corrupt::Position { .. })), "{position}");
    }
    assert!(producer.skip_to(8).is_err(), "as far as is known the lines are not free");
    producer.refresh().unwrap();
    assert!(producer.skip_to(8).is_ok(), "the rest of the ring is passed over");
    assert!(producer.skip_to(16).is_err(), "at its start there is nothing to pass over");
    producer.push(&body(2, 0)).unwrap();
    assert!(producer.skip_to(16).is_err(), "the consumer has not given back the lines");
}
