//! A process that dies in the middle of a turn: its peer's queues go on.

use pmd_core::wire::{Cqe, DataSegment};

use super::{
    bench::{ALL, Fabric, Plan, Region, register},
    raw::{self, Raw},
};
use crate::state::QueuePair;

fn segment(region: &Region, offset: u64) -> DataSegment {
    DataSegment { address: region.address() + offset, length: 8, lkey: region.key }
}

/// Two receives on the right, and a message into the first of them.
fn halfway() -> (Raw, Raw, Region) {
    let (mut left, mut right) = raw::pair(&Fabric::new(), Plan::default());
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    right.post_receive(segment(&target, 0));
    right.post_receive(segment(&target, 8));
    left.post_send(segment(&source, 0));
    (left, right, source)
}

/// Makes the tables what they were when the last completion of `receiver` had been handed over and no more.
fn interrupt(receiver: &Raw, is_taken: bool) {
    let mut tables = receiver.device.lock();
    let queue_pair = tables.queue_pairs.find_mut(receiver.number()).expect("it is there");
    queue_pair.receive_consumer -= u16::from(!is_taken);
    let QueuePair { receive_completions, .. } = *queue_pair;
    tables.completion_queues.find_mut(receive_completions).expect("it is there").producer -= 1;
    tables.interrupted = true;
}

fn counters(receiver: &mut Raw) -> Vec<u16> {
    let counter = |cqe| match cqe {
        Cqe::Responder(completion) => completion.wqe_counter,
        other => panic!("{other:?}"),
    };
    receiver.poll().into_iter().map(counter).collect()
}

#[test]
fn a_completion_that_was_handed_over_has_happened() {
    for is_taken in [false, true] {
        let (mut left, mut right, source) = halfway();
        assert_eq!(counters(&mut right), [0]);
        interrupt(&right, is_taken);
        left.post_send(segment(&source, 0));
        assert_eq!(counters(&mut right), [1], "neither the entry nor the receive is used twice");
        assert_eq!(right.device.lock().counters.violations, 0);
    }
}

#[test]
fn a_completion_that_was_not_handed_over_has_not_happened() {
    let (mut left, mut right, source) = halfway();
    right.device.lock().interrupted = true;
    left.post_send(segment(&source, 0));
    assert_eq!(counters(&mut right), [0, 1]);
    assert_eq!(right.device.lock().counters.violations, 0);
}
