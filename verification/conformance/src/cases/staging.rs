//! Memory of accelerators on NICs: staged where the NIC does not reach it, refused to peers, flushed where it does.

use std::thread;

use pmd_core::{
    memory::Access,
    provider::{CompletionKind, Operation, Payload},
    wire::Syndrome,
};

use super::{Case, case_with, errors::failed};
use crate::{
    bed::{Ability, Place},
    context::{Context, pattern},
    stage::{Stage, all, send, write},
};

const NEEDS: &[Ability] = &[Ability::Staging];

pub(super) const CASES: &[Case] = &[
    case_with("staging::bytes_of_every_size", NEEDS, sizes),
    case_with("staging::requests_of_host_and_device_in_order", NEEDS, order),
    case_with("staging::memory_is_quiet_after_it_was_taken_back", NEEDS, quiet),
    case_with("staging::what_the_nic_writes_is_flushed", NEEDS, flushed),
];

fn sizes(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let mut sizes = vec![1, 8, 4095, 4097, (256 << 10) - 1, (256 << 10) + 1];
    sizes.extend(context.scale(&[][..], &[(2 << 20) + 5]));
    let room = sizes.iter().max().unwrap_or(&0) + 64;
    let (here, there) = (stage.device(Place::Left).staged_memory(room), stage.memory(Place::Right, room));
    for (id, length) in (0..).zip(sizes) {
        let bytes = pattern(id, length);
        here.write(3, &bytes);
        there.fill(0xee);
        stage.done(link.left, id, write(there.remote(5), &[here.sge(3, length)]), CompletionKind::Write);
        assert!(there.read(5, length) == bytes, "{length} bytes differ");
        assert_eq!((there.read(0, 5), there.read(5 + length, 9)), (vec![0xee; 5], vec![0xee; 9]));
        here.fill(0xdd);
        let operation = Operation::Read { remote: there.remote(5), local: &[here.sge(1, length)] };
        let done = stage.done(link.left, id, operation, CompletionKind::Read);
        assert_eq!(done.byte_length as usize, length);
        assert!(here.read(1, length) == bytes, "{length} bytes differ on their way back");
        assert_eq!(here.read(1 + length, 9), [0xdd; 9]);
    }
    stage.nothing_more();
}

/// Writes of both kinds to one place, a message behind them, a read of what stands there then.
fn order(context: &Context) {
    const LENGTH: usize = 300_000;
    let (mut stage, link) = Stage::connected(context);
    let staged = stage.device(Place::Left).staged_memory(2 * LENGTH);
    let (host, there) = (stage.memory(Place::Left, LENGTH), stage.memory(Place::Right, LENGTH));
    let inbox = stage.memory(Place::Right, 64);
    for round in 0..context.scale(3, 20) {
        let (one, two) = (pattern(round, LENGTH), pattern(round + 1000, LENGTH));
        staged.write(0, &one);
        host.write(0, &two);
        stage.receive(link.right, 100, &[inbox.sge(0, 64)]);
        stage.receive(link.right, 101, &[]);
        stage.post(link.left, 1, write(there.remote(0), &[host.sge(0, LENGTH)]));
        stage.post(link.left, 2, write(there.remote(0), &[staged.sge(0, LENGTH)]));
        stage.post(link.left, 3, write(there.remote(0), &[host.sge(0, 1000)]));
        stage.post(link.left, 4, send(&[staged.sge(0, 64)]));
        let local = Payload::Gather(&[staged.sge(0, 8)]);
        let (remote, immediate) = (there.remote(LENGTH - 8), round as u32);
        stage.post(link.left, 5, Operation::WriteImmediate { remote, local, immediate });
        let back = [staged.sge(LENGTH, LENGTH)];
        stage.post(link.left, 6, Operation::Read { remote: there.remote(0), local: &back });
        stage.ring(link.left);
        let done = stage.wait(link.left, 6);
        let order: Vec<(u64, bool)> = done.iter().map(|one| (one.id, one.result.is_ok())).collect();
        assert_eq!(order, [1, 2, 3, 4, 5, 6].map(|id| (id, true)), "{done:?}");
        let received = stage.wait(link.right, 2);
        assert_eq!(received[1].immediate, Some(immediate));
        assert_eq!(inbox.read(0, 64), one[..64]);
        let mut wanted = one.clone();
        wanted[..1000].copy_from_slice(&two[..1000]);
        wanted[LENGTH - 8..].copy_from_slice(&one[..8]);
        assert!(there.read(0, LENGTH) == wanted && staged.read(LENGTH, LENGTH) == wanted, "round {round}");
    }
    stage.nothing_more();
}

fn quiet(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let (here, there) = (stage.device(Place::Left).staged_memory(4096), stage.memory(Place::Right, 4096));
    let (remote, local) = (there.remote(0), [here.sge(0, 4096)]);
    let device = stage.device(Place::Left).clone();
    let accelerator = device.accelerator().expect("a bed with staging has one");
    let hold = accelerator.hold_copies();
    stage.start(link.left, 1, write(remote, &local));
    stage.until("a copy begins", |_| (accelerator.held_copies() > 0).then_some(()));
    let revoker = thread::spawn(move || drop(here));
    stage.poll_times(100);
    thread::sleep(std::time::Duration::from_millis(20));
    assert!(!revoker.is_finished(), "deregistered while a stream copies");
    drop(hold);
    revoker.join().expect("deregistration does not panic");
    let done = stage.wait(link.left, 1);
    assert_eq!(done[0].result, Ok(CompletionKind::Write));
    // The key is nobody's now, to the NIC too.
    stage.start(link.left, 2, write(remote, &local));
    failed(context, &stage.wait(link.left, 1)[0], 2, Syndrome::LocalProtection);
}

fn flushed(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    let device = stage.device(Place::Right).clone();
    let accelerator = device.accelerator().expect("a bed with staging has one");
    let direct = device.direct_memory(4096, all());
    let host = stage.memory(Place::Left, 4096);
    host.write(0, &pattern(1, 4096));
    for told in 0..3 {
        assert_eq!(accelerator.counters().flushes, told);
        stage.receive(link.right, 7, &[]);
        let local = Payload::Gather(&[host.sge(0, 4096)]);
        let operation = Operation::WriteImmediate { remote: direct.remote(0), local, immediate: 9 };
        stage.done(link.left, 1, operation, CompletionKind::Write);
        assert_eq!(stage.wait(link.right, 1)[0].immediate, Some(9));
    }
    assert!(direct.read(0, 4096) == pattern(1, 4096));
    drop(direct);
    let plain = stage.device(Place::Right).memory(64, Access::all());
    stage.receive(link.right, 8, &[]);
    let operation =
        Operation::WriteImmediate { remote: plain.remote(0), local: Payload::Inline(b"host"), immediate: 1 };
    stage.done(link.left, 2, operation, CompletionKind::Write);
    stage.wait(link.right, 1);
    assert_eq!(accelerator.counters().flushes, 3, "nothing of the accelerator is registered any more");
}
