//! Loom model: interleavings of senders and a receiver over a ring of two slots.

use alloc::vec::Vec;

use loom::thread;

use super::*;
use crate::sync::spin_hint;

fn push_all(sender: &Sender<u32>, values: &[u32]) {
    for value in values {
        while sender.push(*value).is_err() {
            spin_hint();
        }
    }
}

fn pop_all(receiver: &mut Receiver<u32>, count: usize) -> Vec<u32> {
    let mut values = Vec::new();
    while values.len() < count {
        match receiver.pop() {
            Some(value) => values.push(value),
            None => spin_hint(),
        }
    }
    values
}

/// Both edges that hand a slot over: the third value overwrites the first one's slot.
#[test]
fn values_cross_once_and_in_order() {
    loom::model(|| {
        let (sender, mut receiver) = channel(2);
        let pushing = thread::spawn(move || push_all(&sender, &[10, 11, 12]));
        assert_eq!(pop_all(&mut receiver, 3), [10, 11, 12]);
        pushing.join().unwrap();
    });
}

/// Two senders never get the same slot; what was accepted arrives once, each sender's in order, and only a ring that
/// was full refuses.
#[test]
fn senders_claim_slots_apart() {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(|| {
        let (sender, mut receiver) = channel(2);
        let offer = |sender: Sender<u32>, values: &'static [u32]| {
            thread::spawn(move || {
                values.iter().copied().filter(|value| sender.push(*value).is_ok()).collect()
            })
        };
        let first = offer(sender.clone(), &[10, 11]);
        let second = offer(sender, &[20]);
        let mut values: Vec<u32> = receiver.pop().into_iter().collect();
        let mut accepted: Vec<u32> = first.join().unwrap();
        accepted.append(&mut second.join().unwrap());
        values.extend(core::iter::from_fn(|| receiver.pop()));
        let from_first: Vec<_> = values.iter().copied().filter(|value| *value < 20).collect();
        assert!(from_first.is_sorted());
        assert!(accepted.len() >= 2);
        values.sort_unstable();
        assert_eq!(values, accepted);
    });
}

/// The third edge: who sees no sender left also sees the values of all of them.
#[test]
fn the_last_values_are_seen_before_the_disconnection() {
    loom::model(|| {
        let (sender, mut receiver) = channel(2);
        let other = sender.clone();
        let first = thread::spawn(move || push_all(&sender, &[10]));
        let second = thread::spawn(move || push_all(&other, &[20]));
        if receiver.is_disconnected() {
            let mut values: Vec<_> = core::iter::from_fn(|| receiver.pop()).collect();
            values.sort_unstable();
            assert_eq!(values, [10, 20]);
        }
        first.join().unwrap();
        second.join().unwrap();
    });
}
