//! Loom model: every interleaving of one producer and one consumer over a ring of one slot.

use loom::thread;

use super::*;
use crate::sync::spin_hint;

/// Both edges that hand a slot over: the second value overwrites the first one's slot.
#[test]
fn values_cross_once_and_in_order() {
    loom::model(|| {
        let (mut producer, mut consumer) = channel(1);
        let pushing = thread::spawn(move || {
            for value in [10, 11] {
                while producer.push(value).is_err() {
                    spin_hint();
                }
            }
        });
        for expected in [10, 11] {
            let value = loop {
                match consumer.pop() {
                    Some(value) => break value,
                    None => spin_hint(),
                }
            };
            assert_eq!(value, expected);
        }
        pushing.join().unwrap();
    });
}

/// The third edge: who sees the producer gone also sees its last value.
#[test]
fn the_last_value_is_seen_before_the_disconnection() {
    loom::model(|| {
        let (mut producer, mut consumer) = channel(2);
        let pushing = thread::spawn(move || producer.push(10).unwrap());
        if consumer.is_disconnected() {
            assert_eq!(consumer.pop(), Some(10));
            assert_eq!(consumer.pop(), None);
        }
        pushing.join().unwrap();
    });
}

/// A value that nobody pops is dropped with the last end, whichever that is.
#[test]
fn values_left_behind_are_dropped() {
    loom::model(|| {
        let (mut producer, mut consumer) = channel(2);
        let left = loom::sync::Arc::new(());
        let pushed = left.clone();
        let pushing = thread::spawn(move || producer.push(pushed).unwrap());
        drop(consumer.pop());
        drop(consumer);
        pushing.join().unwrap();
        assert_eq!(loom::sync::Arc::strong_count(&left), 1);
    });
}
