//! Injected faults, as software then sees them.

use pmd_core::wire::{DataSegment, Opcode, RemoteSegment};

use super::{
    bench::{ALL, Fabric, Plan, path, register},
    raw::Raw,
    wait,
};
use crate::{
    device::Event,
    lint::seen,
    state::{AsynchronousKind, ConnectedPath},
};

/// A connection whose left side has `faults`; it retries seven times.
fn faulty(faults: &str) -> (Raw, Raw) {
    let mut fabric = Fabric::new();
    let right = Raw::new(&fabric, Plan::default());
    fabric.config.faults = faults.into();
    let left = Raw::new(&fabric, Plan::default());
    left.connect(ConnectedPath { retry_count: 7, rnr_retry: 3, ..path(right.number()) });
    right.connect(path(left.number()));
    (left, right)
}

/// Posts `count` NOPs and WRITEs in turn; syndromes of what completed.
fn run(left: &mut Raw, right: &Raw, count: u16) -> Vec<(u16, u8)> {
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    let local = DataSegment { address: source.address(), length: 8, lkey: source.key };
    for _ in 0..count {
        left.post_write(local, RemoteSegment { address: target.address(), rkey: target.key });
        wait(&left.device);
    }
    left.poll_syndromes()
}

#[test]
fn a_syndrome_comes_with_the_wqe_that_it_was_asked_for() {
    let (mut left, right) = faulty("syndrome=0x22@3");
    assert_eq!(run(&mut left, &right, 4), [(0, 0), (1, 0), (2, 0x22), (3, 0x05)]);
    assert_eq!(left.device.lock().counters.faults, 1);
}

#[test]
fn unanswered_attempts_are_retried_until_they_are_too_many() {
    let (mut left, right) = faulty("no-answer@2..5");
    assert_eq!(run(&mut left, &right, 3), [(0, 0), (1, 0), (2, 0)]);
    assert_eq!(left.device.lock().counters.faults, 3);
    let (mut left, right) = faulty("no-answer@2..50");
    assert_eq!(run(&mut left, &right, 3), [(0, 0), (1, 0x15), (2, 0x05)]);
    let (mut left, right) = faulty("no-receive@1..3");
    assert_eq!(run(&mut left, &right, 1), [(0, 0)]);
    let (mut left, right) = faulty("no-receive@1..9");
    assert_eq!(run(&mut left, &right, 1), [(0, 0x16)]);
}

#[test]
fn a_link_goes_down_and_comes_up_and_all_processes_hear_of_it() {
    let (mut left, right) = faulty("link-down@2..6");
    assert_eq!(run(&mut left, &right, 3), [(0, 0), (1, 0), (2, 0)]);
    let kinds = [AsynchronousKind::PortError, AsynchronousKind::PortActive];
    let expected = kinds.map(|kind| Event::Asynchronous { kind, number: 1, user_handle: 1 });
    assert_eq!(right.device.take_events(), expected);
    assert_eq!(left.device.take_events(), expected);
}

#[test]
fn a_dropped_completion_never_comes_and_later_ones_do() {
    let (mut left, right) = faulty("drop-cqe@2");
    assert_eq!(run(&mut left, &right, 3), [(0, 0), (2, 0)]);
}

#[test]
fn a_delayed_wqe_completes_after_those_of_another_queue_pair() {
    let (mut left, right) = faulty("delay=2000@1");
    let mut other = Raw::on(left.device.clone(), left.completions, Plan::default());
    other.connect(path(other.number()));
    let (source, target) = (register(&left.device, 64, ALL), register(&right.device, 64, ALL));
    let local = DataSegment { address: source.address(), length: 8, lkey: source.key };
    left.post_write(local, RemoteSegment { address: target.address(), rkey: target.key });
    let nop = other.control(Opcode::Nop, 1).to_bytes();
    other.post(&[nop]);
    wait(&left.device);
    let numbers: Vec<u32> = std::iter::from_fn(|| left.poll_bytes())
        .map(|entry| pmd_core::wire::CqeView(&entry).queue_pair())
        .collect();
    assert_eq!(numbers, [other.number(), left.number()]);
}

#[test]
fn a_doorbell_that_is_seen_twice_does_no_harm() {
    let (mut left, right) = faulty("twice@/1");
    assert_eq!(run(&mut left, &right, 3), [(0, 0), (1, 0), (2, 0)]);
    let counters = left.device.lock().counters;
    assert_eq!((counters.doorbells, counters.work_requests, counters.faults), (6, 3, 3));
    assert_eq!(seen::take().len(), 0);
}

#[test]
fn a_list_that_is_not_understood_keeps_the_device_closed() {
    let mut fabric = Fabric::new();
    fabric.config.faults = "flood@1".into();
    let path = std::env::temp_dir().join(format!("connectx-faults-{}", std::process::id()));
    let config = crate::config::Config { state: path.clone(), ..fabric.config.clone() };
    let error = crate::device::Device::open(config).expect_err("no such fault");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    assert!(!path.exists(), "nothing was made");
}
