//! Order, bounds, disconnection and drops of the many-to-one ring.
extern crate std;

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use std::thread;

use proptest::prelude::*;

use super::*;

#[test]
fn full_gives_the_value_back_and_order_survives_many_laps() {
    let (sender, mut receiver) = channel(3);
    let other = sender.clone();
    assert_eq!(sender.capacity(), 4);
    for lap in 0..100 {
        for value in 0..4 {
            let sender = if value % 2 == 0 { &sender } else { &other };
            assert_eq!(sender.push((lap, value)), Ok(()));
        }
        assert_eq!(other.push((lap, 4)), Err(Full((lap, 4))));
        for value in 0..4 {
            assert_eq!(receiver.pop(), Some((lap, value)));
        }
        assert_eq!(receiver.pop(), None);
    }
}

#[test]
fn two_slots_at_the_least() {
    let (sender, mut receiver) = channel(0);
    assert_eq!(sender.capacity(), 2);
    for value in 0..10 {
        assert_eq!(sender.push(value), Ok(()));
        assert_eq!(sender.push(value + 100), Ok(()));
        assert_eq!(sender.push(99), Err(Full(99)));
        assert_eq!((receiver.pop(), receiver.pop(), receiver.pop()), (Some(value), Some(value + 100), None));
    }
}

#[test]
fn the_receiver_is_disconnected_with_the_last_sender() {
    let (sender, mut receiver) = channel(2);
    let other = sender.clone();
    drop(sender);
    assert!(!receiver.is_disconnected());
    other.push(7).unwrap();
    drop(other);
    assert!(receiver.is_disconnected());
    assert_eq!((receiver.pop(), receiver.pop()), (Some(7), None));

    let (sender, receiver) = channel::<u8>(2);
    assert!(!sender.is_disconnected());
    drop(receiver);
    assert!(sender.is_disconnected());
}

#[test]
fn values_left_in_the_ring_are_dropped_once() {
    for popped in 0..12 {
        let value = Arc::new(());
        let (sender, mut receiver) = channel(4);
        for _ in 0..popped {
            sender.push(value.clone()).unwrap();
            drop(receiver.pop());
        }
        for _ in 0..3 {
            sender.push(value.clone()).unwrap();
        }
        drop(receiver);
        sender.push(value.clone()).unwrap();
        assert_eq!(sender.push(value.clone()).map_err(|_| ()), Err(()));
        assert_eq!(Arc::strong_count(&value), 5);
        drop(sender);
        assert_eq!(Arc::strong_count(&value), 1);
    }
}

#[test]
fn each_of_four_threads_arrives_in_its_order() {
    const COUNT: u64 = 50_000;
    let (sender, mut receiver) = channel(64);
    let pushing: Vec<_> = (0..4usize)
        .map(|thread| {
            let sender = sender.clone();
            thread::spawn(move || {
                for value in 0..COUNT {
                    while sender.push((thread, value, !value)).is_err() {
                        thread::yield_now();
                    }
                }
            })
        })
        .collect();
    drop(sender);
    let mut next = [0; 4];
    loop {
        let last = receiver.is_disconnected();
        match receiver.pop() {
            Some((thread, value, inverse)) => {
                assert_eq!((value, inverse), (next[thread], !next[thread]));
                next[thread] += 1;
            }
            None if last => break,
            None => thread::yield_now(),
        }
    }
    assert_eq!(next, [COUNT; 4]);
    pushing.into_iter().for_each(|thread| thread.join().unwrap());
}

proptest! {
    #[test]
    fn behaves_as_a_bounded_queue(capacity in 1usize..9, steps in prop::collection::vec(any::<Option<u16>>(), 0..200)) {
        let (sender, mut receiver) = channel(capacity);
        let mut model = VecDeque::new();
        for step in steps {
            match step {
                Some(value) if model.len() == sender.capacity() => {
                    prop_assert_eq!(sender.push(value), Err(Full(value)));
                }
                Some(value) => {
                    prop_assert_eq!(sender.push(value), Ok(()));
                    model.push_back(value);
                }
                None => prop_assert_eq!(receiver.pop(), model.pop_front()),
            }
        }
        let rest: Vec<_> = core::iter::from_fn(|| receiver.pop()).collect();
        prop_assert_eq!(rest, Vec::from(model));
    }
}
