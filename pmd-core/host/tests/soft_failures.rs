//! Requests that must fail, with hardware's syndromes, and what becomes of those around them.

#![allow(unsafe_code)] // looks at memory that transfers may touch

mod soft_support;

use std::time::{Duration, Instant};

use pmd_core::{
    memory::{Access, LocalKey, RemoteAddress, RemoteKey, Sge},
    provider::{
        Completion, CompletionKind, CompletionQueueError, Operation, PostError, Provider, SendFlags,
        SendRequest,
    },
    queue::QueuePairState,
    wire::Syndrome,
};
use pmd_host::{
    backend::{Backend, ConnectOptions, QueuePairConfig, SetupError},
    soft::{Device, ProtectionDomain, Tuning},
};
use soft_support::*;

/// After `failing` both queues of both sides are flushed.
fn fails_and_flushes(
    path: Path,
    syndrome: Syndrome,
    prepare: impl Fn(&Device, &Device) -> (Memory, Memory),
    failing: impl Fn(&mut Side, &Memory, &Memory),
) {
    let (mut a, mut b, one, two) = connected(path);
    let (mine, theirs) = prepare(&one, &two);
    let local = Memory::heap(&one, 64, all());
    a.receive(50, &[local.sge(0, 8)]);
    b.receive(60, &[]);
    failing(&mut a, &mine, &theirs);
    if a.backend.state(a.queue_pair) == QueuePairState::ReadyToSend {
        let request = SendRequest { id: 2, operation: Operation::Nop, flags: SendFlags::empty() };
        a.backend.post_send(a.queue_pair, &request).unwrap();
        a.backend.ring_send(a.queue_pair);
    }
    let (mut own, others) = drive(&mut a, &mut b, (3, 1));
    own.sort_by_key(|completion| completion.id);
    failed(&own[0], 1, syndrome);
    failed(&own[1], 2, Syndrome::Flushed);
    failed(&own[2], 50, Syndrome::Flushed);
    failed(&others[0], 60, Syndrome::Flushed);
    assert_eq!(a.backend.state(a.queue_pair), QueuePairState::Error, "{path:?}");
    assert_eq!(b.backend.state(b.queue_pair), QueuePairState::Error, "{path:?}");
    quiet(&mut a, &mut b);
}

fn both(one: &Device, two: &Device) -> (Memory, Memory) {
    (Memory::arena(one, 8192, all()), Memory::arena(two, 8192, all()))
}

#[test]
fn a_wrong_local_key_is_a_local_protection_error() {
    let wrong =
        |memory: &Memory| Sge { key: LocalKey(memory.region.local_key().0 ^ 1 << 20), ..memory.sge(0, 8) };
    let outside = |memory: &Memory| Sge { length: 3, ..memory.sge(8190, 2) };
    for path in PATHS {
        let fails = |post: &dyn Fn(&mut Side, &Memory, &Memory)| {
            fails_and_flushes(path, Syndrome::LocalProtection, both, post);
        };
        fails(&|a, mine, theirs| a.post(1, write(theirs.remote(0), &[wrong(mine)])));
        fails(&|a, mine, theirs| a.post(1, read(theirs.remote(0), &[outside(mine)])));
        fails(&|a, mine, _| a.post(1, send(&[mine.sge(0, 8), wrong(mine)])));
        fails(&|a, mine, theirs| {
            a.post(1, Operation::FetchAdd { remote: theirs.remote(0), local: wrong(mine), add: 1 });
        });
    }
}

#[test]
fn reads_and_atomics_need_local_writing() {
    let read_only = |one: &Device, two: &Device| {
        (Memory::arena(one, 64, Access::REMOTE_READ), Memory::arena(two, 64, all()))
    };
    for path in PATHS {
        fails_and_flushes(path, Syndrome::LocalProtection, read_only, |a, mine, theirs| {
            a.post(1, read(theirs.remote(0), &[mine.sge(0, 8)]));
        });
    }
}

#[test]
fn a_wrong_remote_key_is_a_remote_access_error() {
    for path in PATHS {
        let fails = |post: &dyn Fn(&mut Side, &Memory, &Memory)| {
            fails_and_flushes(path, Syndrome::RemoteAccess, both, post);
        };
        let wrong = |memory: &Memory| {
            let remote = memory.remote(0);
            RemoteAddress { key: RemoteKey(remote.key.0 ^ 1 << 20), ..remote }
        };
        fails(&|a, mine, theirs| a.post(1, write(wrong(theirs), &[mine.sge(0, 8)])));
        fails(&|a, mine, theirs| a.post(1, read(wrong(theirs), &[mine.sge(0, 8)])));
        fails(&|a, mine, theirs| a.post(1, write(theirs.remote(8190), &[mine.sge(0, 8)])));
        fails(&|a, mine, theirs| {
            a.post(1, Operation::FetchAdd { remote: wrong(theirs), local: mine.sge(0, 8), add: 1 });
        });
    }
}

#[test]
fn a_missing_right_is_a_remote_access_error() {
    for path in PATHS {
        for (access, index) in [(Access::REMOTE_READ, 0), (Access::LOCAL_WRITE, 1), (Access::READ_WRITE, 2)] {
            let prepare =
                |one: &Device, two: &Device| (Memory::arena(one, 64, all()), Memory::arena(two, 64, access));
            fails_and_flushes(path, Syndrome::RemoteAccess, prepare, |a, mine, theirs| match index {
                0 => a.post(1, write(theirs.remote(0), &[mine.sge(0, 8)])),
                1 => a.post(1, read(theirs.remote(0), &[mine.sge(0, 8)])),
                _ => {
                    a.post(1, Operation::FetchAdd { remote: theirs.remote(0), local: mine.sge(0, 8), add: 1 })
                }
            });
        }
    }
}

#[test]
fn a_region_of_another_domain_is_a_remote_access_error() {
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let mine = Memory::arena(&one, 64, all());
        let arena = two.allocate(64, Default::default()).unwrap();
        let domain = two.protection_domain();
        assert_ne!(domain, ProtectionDomain::default());
        let region = two.register_source(&arena, all(), domain).unwrap();
        a.post(1, write(region.remote_address(0).unwrap(), &[mine.sge(0, 8)]));
        let (done, _) = drive(&mut a, &mut b, (1, 0));
        failed(&done[0], 1, Syndrome::RemoteAccess);
    }
}

#[test]
fn an_unaligned_atomic_is_a_remote_invalid_request() {
    for path in PATHS {
        fails_and_flushes(path, Syndrome::RemoteInvalidRequest, both, |a, mine, theirs| {
            a.post(1, Operation::FetchAdd { remote: theirs.remote(4), local: mine.sge(0, 8), add: 1 });
        });
    }
}

#[test]
fn a_receive_that_is_too_small_fails_on_both_sides() {
    for size in [9, 100_000] {
        let (mut a, mut b, one, two) = connected(Path::Packets);
        let (mine, theirs) = (Memory::heap(&one, 200_000, all()), Memory::heap(&two, 200_000, all()));
        b.receive(1, &[theirs.sge(0, 8)]);
        b.receive(2, &[]);
        a.post(3, send(&[mine.sge(0, size)]));
        a.post(4, Operation::Nop);
        let (sent, received) = drive(&mut a, &mut b, (2, 2));
        failed(&sent[0], 3, Syndrome::RemoteInvalidRequest);
        failed(&sent[1], 4, Syndrome::Flushed);
        failed(&received[0], 1, Syndrome::LocalLength);
        failed(&received[1], 2, Syndrome::Flushed);
        quiet(&mut a, &mut b);
    }
}

#[test]
fn a_receive_with_a_wrong_key_fails_on_both_sides() {
    let (mut a, mut b, one, two) = connected(Path::SameProcess);
    let (mine, theirs) = (Memory::heap(&one, 64, all()), Memory::heap(&two, 64, Access::REMOTE_READ));
    b.receive(1, &[theirs.sge(0, 64)]);
    a.post(3, send(&[mine.sge(0, 8)]));
    let (sent, received) = drive(&mut a, &mut b, (1, 1));
    failed(&sent[0], 3, Syndrome::RemoteOperation);
    failed(&received[0], 1, Syndrome::LocalProtection);
}

#[test]
fn requests_before_the_failing_one_are_done() {
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let (mine, theirs) = (Memory::of(path, &one, 4096), Memory::of(path, &two, 4096));
        mine.write(0, &pattern(1, 4096));
        for id in 0..8u64 {
            let remote = if id == 5 { RemoteAddress::default() } else { theirs.remote(id as usize * 512) };
            let local = [mine.sge(id as usize * 512, 512)];
            let request = SendRequest { id, operation: write(remote, &local), flags: SendFlags::SIGNALED };
            a.backend.post_send(a.queue_pair, &request).unwrap();
        }
        a.backend.ring_send(a.queue_pair);
        let (done, _) = drive(&mut a, &mut b, (8, 0));
        for (id, completion) in done.iter().enumerate() {
            match id {
                0..5 => succeeded(completion, id as u64, CompletionKind::Write),
                5 => failed(completion, 5, Syndrome::RemoteAccess),
                _ => failed(completion, id as u64, Syndrome::Flushed),
            }
        }
        assert_eq!(theirs.read(0, 2560), mine.read(0, 2560), "{path:?}");
        assert_eq!(theirs.read(2560, 1536), vec![0; 1536], "{path:?}");
    }
}

#[test]
fn a_send_waits_for_a_receive() {
    for path in [Path::SameProcess, Path::Packets] {
        let (mut a, mut b, one, two) = connected(path);
        let (mine, theirs) = (Memory::of(path, &one, 64), Memory::of(path, &two, 64));
        mine.write(0, b"patience");
        a.post(1, send(&[mine.sge(0, 8)]));
        a.post(2, write(theirs.remote(32), &[mine.sge(0, 8)]));
        quiet_receiver(&mut a, &mut b);
        b.receive(7, &[theirs.sge(0, 8)]);
        let (sent, received) = drive(&mut a, &mut b, (2, 1));
        succeeded(&sent[0], 1, CompletionKind::Send);
        succeeded(&sent[1], 2, CompletionKind::Write);
        succeeded(&received[0], 7, CompletionKind::Receive);
        assert_eq!((theirs.read(0, 8), theirs.read(32, 8)), (b"patience".to_vec(), b"patience".to_vec()));
    }
}

fn quiet_receiver(a: &mut Side, b: &mut Side) {
    for _ in 0..200 {
        a.poll();
        b.poll();
        assert!(a.polled.is_empty() && b.polled.is_empty());
    }
}

#[test]
fn limited_retries_end_when_no_receive_is_posted() {
    for (retries, timer) in [(0, 12), (3, 14)] {
        let options =
            ConnectOptions { rnr_retry: retries, minimum_rnr_timer: timer, ..ConnectOptions::default() };
        let config = QueuePairConfig::default();
        let (mut a, mut b, one, _two) = connected_with(Path::Packets, Tuning::default(), &config, &options);
        let mine = Memory::heap(&one, 64, all());
        let start = Instant::now();
        a.post(1, send(&[mine.sge(0, 8)]));
        let (sent, _) = drive(&mut a, &mut b, (1, 0));
        failed(&sent[0], 1, Syndrome::ReceiverNotReadyExceeded);
        assert!(start.elapsed() >= Duration::from_micros(1280) * u32::from(retries));
    }
}

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
fn a_request_after_the_peer_closed_exceeds_its_retries() {
    let (mut a, mut b, one, two) = connected(Path::SameProcess);
    let (mine, theirs) = (Memory::heap(&one, 64, all()), Memory::heap(&two, 64, all()));
    a.post(1, write(theirs.remote(0), &[mine.sge(0, 8)]));
    drive(&mut a, &mut b, (1, 0));
    b.backend.destroy_queue_pair(b.queue_pair).unwrap();
    for _ in 0..500 {
        a.poll();
    }
    a.post(2, write(theirs.remote(0), &[mine.sge(0, 8)]));
    let mut other = Side::new(&two);
    let (done, _) = drive(&mut a, &mut other, (1, 0));
    failed(&done[0], 2, Syndrome::RetryExceeded);
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
fn a_full_queue_gives_the_request_back() {
    let config = QueuePairConfig { send_slots: 8, ..QueuePairConfig::default() };
    let (mut a, mut b, one, two) =
        connected_with(Path::Packets, Tuning::default(), &config, &ConnectOptions::default());
    let (mine, theirs) = (Memory::heap(&one, 64, all()), Memory::heap(&two, 64, all()));
    let local = [mine.sge(0, 8)];
    let request =
        SendRequest { id: 1, operation: write(theirs.remote(0), &local), flags: SendFlags::SIGNALED };
    let mut posted = 0;
    let refused = loop {
        match a.backend.post_send(a.queue_pair, &request) {
            Ok(()) => posted += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((posted, refused), (8, PostError::QueueFull { needed: 1, free: 0, capacity: 8 }));
    a.backend.ring_send(a.queue_pair);
    assert_eq!(drive(&mut a, &mut b, (8, 0)).0.len(), 8);
    a.backend.post_send(a.queue_pair, &request).unwrap();
    a.backend.ring_send(a.queue_pair);
    drive(&mut a, &mut b, (1, 0));
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
fn failing_flushes_and_reset_makes_new() {
    for path in PATHS {
        let (mut a, mut b, one, two) = connected(path);
        let (mine, theirs) = (Memory::of(path, &one, 4096), Memory::of(path, &two, 4096));
        for round in 0..5u64 {
            mine.write(0, &pattern(round, 4096));
            a.post(1, write(theirs.remote(0), &[mine.sge(0, 4096)]));
            drive(&mut a, &mut b, (1, 0));
            assert_eq!(theirs.read(0, 4096), pattern(round, 4096), "{path:?} {round}");
            b.receive(4, &[]);
            a.post(2, send(&[mine.sge(0, 0)]));
            if round % 2 == 0 {
                a.post(3, send(&[mine.sge(0, 64)]));
                a.backend.fail(a.queue_pair).unwrap();
                let request = SendRequest { id: 5, operation: Operation::Nop, flags: SendFlags::SIGNALED };
                let refused = a.backend.post_send(a.queue_pair, &request);
                assert_eq!(refused, Err(PostError::WrongState { state: QueuePairState::Error }));
                let (flushed, _) = drive(&mut a, &mut b, (2, 1));
                failed(&flushed[0], 2, Syndrome::Flushed);
                failed(&flushed[1], 3, Syndrome::Flushed);
            }
            a.backend.reset(a.queue_pair).unwrap();
            b.backend.reset(b.queue_pair).unwrap();
            (0..100).for_each(|_| (a.poll(), b.poll()).0);
            assert!(a.polled.is_empty() && b.polled.is_empty());
            a.connect(&b, &ConnectOptions::default());
            assert!(matches!(
                a.backend.connect(
                    a.queue_pair,
                    &b.backend.address(b.queue_pair).unwrap(),
                    &ConnectOptions::default()
                ),
                Err(SetupError::Transition { .. })
            ));
            b.connect(&a, &ConnectOptions::default());
        }
    }
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
