//! Loom model: one producer and one consumer of packets, over laps of small rings.

use alloc::vec;
use alloc::vec::Vec;

use loom::thread;

use super::*;
use crate::sync::spin_hint;

/// Pushes, waiting for the shared word.
fn push(producer: &mut Producer, body: &[u8]) {
    while producer.push(body).is_err() {
        spin_hint();
        producer.refresh().unwrap();
    }
}

/// Takes the next packet out.
fn take(consumer: &mut Consumer) -> Vec<u8> {
    loop {
        if let Some(packet) = consumer.peek().unwrap() {
            let mut bytes = vec![0; packet.length()];
            packet.read(0, &mut bytes).unwrap();
            packet.release();
            return bytes;
        }
        spin_hint();
    }
}

/// Both edges, over more than a lap: each line is published, consumed, and overwritten.
#[test]
fn small_packets_cross_over_laps() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring(2).unwrap();
        let pushing = thread::spawn(move || {
            for byte in 1..=3 {
                push(&mut producer, &[byte]);
            }
        });
        for byte in 1..=3 {
            assert_eq!(take(&mut consumer), [byte]);
            consumer.publish();
        }
        pushing.join().unwrap();
    });
}

/// An end that carries packets elsewhere stores what was consumed there, behind what it has taken itself.
#[test]
fn lines_of_packets_that_are_carried_on_are_free_when_consumed() {
    loom::model(|| {
        let (mut producer, mut carrier) = ring(2).unwrap();
        let pushing = thread::spawn(move || {
            for byte in 1..=3 {
                push(&mut producer, &[byte]);
            }
        });
        for byte in 1..=3 {
            assert_eq!(take(&mut carrier), [byte]);
            carrier.publish_to(u32::from(byte)).unwrap();
        }
        pushing.join().unwrap();
    });
}

/// Payload that lies where the next lap has its headers, and a skip over the end of the ring.
#[test]
fn stale_payload_is_never_taken_for_a_packet() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(2);
    model.check(|| {
        let (mut producer, mut consumer) = ring(4).unwrap();
        // A second line that reads as a packet of one byte, were it looked at as a header.
        let long = |byte| [&[byte; SMALL_BODY][..], &2u32.to_ne_bytes()].concat();
        let pushing = thread::spawn(move || {
            push(&mut producer, &long(1));
            push(&mut producer, &[2]);
            push(&mut producer, &long(3));
            push(&mut producer, &[4]);
        });
        assert_eq!(take(&mut consumer), long(1));
        assert_eq!(take(&mut consumer), [2]);
        consumer.publish();
        assert_eq!(take(&mut consumer), long(3));
        consumer.publish();
        assert_eq!(take(&mut consumer), [4]);
        pushing.join().unwrap();
    });
}

/// Positions that travel in the opposite ring stand in for the shared words.
#[test]
fn opposite_rings_acknowledge_each_other() {
    loom::model(|| {
        let (mut requests, mut request_in) = ring(2).unwrap();
        let (mut answers, mut answer_in) = ring(2).unwrap();
        let echo = thread::spawn(move || {
            for _ in 0..2 {
                let request = take(&mut request_in);
                answers.acknowledge(u32::from(request[0])).unwrap();
                answers.push(&[request_in.position() as u8, request[1]]).unwrap();
            }
        });
        for byte in [10, 20] {
            requests.push(&[answer_in.position() as u8, byte]).unwrap();
            let answer = take(&mut answer_in);
            requests.acknowledge(u32::from(answer[0])).unwrap();
            assert_eq!(answer[1], byte);
        }
        echo.join().unwrap();
    });
}

/// A consumer that finds nothing, and one that peeks twice, change nothing.
#[test]
fn a_peek_without_release_finds_the_packet_again() {
    loom::model(|| {
        let (mut producer, mut consumer) = ring(2).unwrap();
        let pushing = thread::spawn(move || producer.push(&[7]).unwrap());
        let seen = consumer.peek().unwrap().is_some();
        if seen {
            assert_eq!(take(&mut consumer), [7]);
        }
        pushing.join().unwrap();
        assert_eq!(consumer.position(), u32::from(seen));
    });
}
