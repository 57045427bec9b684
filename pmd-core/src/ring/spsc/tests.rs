//! Order, bounds, disconnection and drops of the one-to-one ring.
extern crate std;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use std::thread;

use proptest::prelude::*;

use super::*;

#[test]
fn full_gives_the_value_back_and_order_survives_many_laps() {
    let (mut producer, mut consumer) = channel(3);
    assert_eq!(producer.capacity(), 4);
    for lap in 0..100 {
        for value in 0..4 {
            assert_eq!(producer.push((lap, value)), Ok(()));
        }
        assert!(producer.is_full());
        assert_eq!(producer.push((lap, 4)), Err(Full((lap, 4))));
        for value in 0..4 {
            assert_eq!(consumer.pop(), Some((lap, value)));
        }
        assert_eq!(consumer.pop(), None);
    }
}

#[test]
fn one_slot_is_a_ring() {
    let (mut producer, mut consumer) = channel(0);
    assert_eq!(producer.capacity(), 1);
    for value in 0..10 {
        assert_eq!(producer.push(value), Ok(()));
        assert_eq!(producer.push(99), Err(Full(99)));
        assert_eq!(consumer.pop(), Some(value));
    }
}

#[test]
fn each_end_learns_that_the_other_is_gone() {
    let (mut producer, mut consumer) = channel(2);
    producer.push(7).unwrap();
    assert!(!producer.is_disconnected() && !consumer.is_disconnected());
    drop(producer);
    assert!(consumer.is_disconnected());
    assert_eq!(consumer.pop(), Some(7));
    assert_eq!(consumer.pop(), None);

    let (producer, consumer) = channel::<u8>(2);
    drop(consumer);
    assert!(producer.is_disconnected());
}

#[test]
fn values_left_in_the_ring_are_dropped_once() {
    let value = Arc::new(());
    let (mut producer, mut consumer) = channel(8);
    for _ in 0..6 {
        producer.push(value.clone()).unwrap();
    }
    drop(consumer.pop());
    assert_eq!(Arc::strong_count(&value), 6);
    drop(consumer);
    producer.push(value.clone()).unwrap();
    drop(producer);
    assert_eq!(Arc::strong_count(&value), 1);
}

#[test]
fn two_threads_see_the_same_sequence() {
    const COUNT: u64 = 200_000;
    let (mut producer, mut consumer) = channel(64);
    let pushing = thread::spawn(move || {
        for value in 0..COUNT {
            while producer.push([value, !value]).is_err() {
                thread::yield_now();
            }
        }
    });
    let mut next = 0;
    loop {
        let last = consumer.is_disconnected();
        match consumer.pop() {
            Some(value) => assert_eq!(value, [next, !next]),
            None if last => break,
            None => {
                thread::yield_now();
                continue;
            }
        }
        next += 1;
    }
    assert_eq!(next, COUNT);
    pushing.join().unwrap();
}

proptest! {
    #[test]
    fn behaves_as_a_bounded_queue(capacity in 1usize..9, steps in prop::collection::vec(any::<Option<u16>>(), 0..200)) {
        let (mut producer, mut consumer) = channel(capacity);
        let mut model = VecDeque::new();
        for step in steps {
            match step {
                Some(value) if model.len() == producer.capacity() => {
                    prop_assert_eq!(producer.push(value), Err(Full(value)));
                }
                Some(value) => {
                    prop_assert_eq!(producer.push(value), Ok(()));
                    model.push_back(value);
                }
                None => prop_assert_eq!(consumer.pop(), model.pop_front()),
            }
        }
        let rest: Vec<_> = core::iter::from_fn(|| consumer.pop()).collect();
        prop_assert_eq!(rest, Vec::from(model));
    }
}
