//! Failures that are the soft HCA's own: peers that close or never connect, an overrun queue, a region that is taken back
//! between two passes. What every back end has in common is in the conformance suite.

#![allow(unsafe_code)] // looks at memory that transfers may touch

mod soft_support;

use std::time::{Duration, Instant};

use pmd_core::{
    provider::{Completion, CompletionQueueError, Operation, Provider},
    queue::QueuePairState,
    wire::Syndrome,
};
use pmd_host::{
    backend::{ConnectOptions, QueuePairConfig},
    soft::{ProtectionDomain, Tuning},
};
use soft_support::*;

#[test]
fn a_peer_that_closes_fails_what_is_outstanding() {
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let (mine, theirs) = (Memory::of(path, &one, 64), Memory::of(path, &two, 64));
        a.post(1, write(theirs.remote(0), &[mine.sge(0, 8)]));
        drive(&mut a, &mut b, (1, 0));
        a.post(2, send(&[mine.sge(0, 8)]));
        a.receive(3, &[]);
        drop(b);
        let mut other = Side::new(&two);
        let (done, _) = drive(&mut a, &mut other, (2, 0));
        failed(&done[0], 2, Syndrome::RetryExceeded);
        failed(&done[1], 3, Syndrome::Flushed);
    }
}

#[test]
fn a_peer_that_never_connects_is_given_up() {
    let (one, two) = (Path::SameProcess.device(), Path::SameProcess.device());
    let mut tuning = Tuning::default();
    tuning.connect_timeout = Duration::from_millis(20);
    let mut a = Side::with(&one, tuning, &QueuePairConfig::default());
    let mut b = Side::new(&two);
    a.connect(&b, &ConnectOptions::default());
    a.post(1, Operation::Nop);
    let (done, _) = drive(&mut a, &mut b, (1, 0));
    failed(&done[0], 1, Syndrome::RetryExceeded);
}

#[test]
fn an_overrun_completion_queue_is_told_and_fails_its_queue_pairs() {
    let mut tuning = Tuning::default();
    tuning.completions = 4;
    let (mut a, mut b, _one, _two) =
        connected_with(Path::SameProcess, tuning, &QueuePairConfig::default(), &ConnectOptions::default());
    a.post(0, Operation::Nop);
    drive(&mut a, &mut b, (1, 0));
    b.receive(9, &[]);
    (0..5).for_each(|id| a.post(id, Operation::Nop));
    let mut completions = [Completion::EMPTY; 8];
    assert_eq!(a.backend.poll(&mut completions), Err(CompletionQueueError::Overrun { capacity: 4 }));
    assert_eq!(a.backend.poll(&mut completions), Err(CompletionQueueError::Overrun { capacity: 4 }));
    assert_eq!(a.backend.state(a.queue_pair), QueuePairState::Error);
    let start = Instant::now();
    while b.polled.is_empty() {
        b.poll();
        assert!(start.elapsed() < DEADLINE);
    }
    failed(&b.polled[0], 9, Syndrome::Flushed);
}

#[test]
fn a_region_taken_back_in_a_large_transfer_is_not_written_any_more() {
    const SIZE: usize = 3 << 20;
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let mine = Memory::of(path, &one, SIZE);
        mine.fill(0xaa);
        let target = two.allocate(SIZE, Default::default()).unwrap();
        let region = two.register_source(&target, all(), ProtectionDomain::default()).unwrap();
        drive_a_little(&mut a, &mut b);
        a.post(1, write(region.remote_address(0).unwrap(), &[mine.sge(0, SIZE)]));
        for _ in 0..3 {
            a.poll();
            b.poll();
        }
        region.deregister();
        // SAFETY: the arena's memory; the region is gone, so nothing may write it.
        let contents = |target: &pmd_host::soft::Arena| unsafe {
            std::slice::from_raw_parts(target.as_ptr(), SIZE).to_vec()
        };
        let before = contents(&target);
        assert_ne!(before[SIZE - 1], 0xaa, "{path:?}: the transfer was over already");
        let (done, _) = drive(&mut a, &mut b, (1, 0));
        failed(&done[0], 1, Syndrome::RemoteAccess);
        assert!(contents(&target) == before, "{path:?}: written after deregistration");
    }
}

fn drive_a_little(a: &mut Side, b: &mut Side) {
    a.post(100, Operation::Nop);
    drive(a, b, (1, 0));
}
