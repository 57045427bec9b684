//! Memory of accelerators is moved as memory of the host is, and touched by streams only.

use std::thread;

use pmd_core::{
    memory::{Access, Sge},
    provider::{CompletionKind, Operation, Payload},
    wire::Syndrome,
};
use pmd_host::accelerator::{CpuAccelerator, Hold};

use super::{Case, case_with, errors::failed, lifetime::works};
use crate::{
    bed::{Ability, Place},
    context::{Context, Random, pattern},
    memory::Memory,
    stage::{Link, Stage, all, send, write},
};

const NEEDS: &[Ability] = &[Ability::DeviceMemory];

pub(super) const CASES: &[Case] = &[
    case_with("devices::bytes_of_every_size", NEEDS, sizes),
    case_with("devices::requests_of_host_and_device_in_order", NEEDS, order),
    case_with("devices::immediates_come_behind_their_bytes", NEEDS, immediates),
    case_with("devices::what_is_not_possible_is_refused", NEEDS, refused),
    case_with("devices::wrong_keys_bounds_and_rights", NEEDS, keys),
    case_with("devices::memory_is_quiet_after_it_was_taken_back", NEEDS, quiet),
    case_with("devices::a_queue_pair_that_fails_during_copies", NEEDS, failing),
];

/// Memory of a place's accelerator, with every right.
fn on_device(stage: &Stage, place: Place, length: usize) -> Memory {
    stage.device(place).device_memory(length, all())
}

/// Every pair of sides of which one at least is of a device.
fn pairs(stage: &Stage, length: usize) -> [(Memory, Memory); 3] {
    use Place::{Left, Right};
    [
        (on_device(stage, Left, length), on_device(stage, Right, length)),
        (stage.memory(Left, length), on_device(stage, Right, length)),
        (on_device(stage, Left, length), stage.memory(Right, length)),
    ]
}

fn sizes(context: &Context) {
    const MARGIN: usize = 64;
    let (mut stage, link) = Stage::connected(context);
    let mut sizes = vec![1, 7, 8, 9, 64, 4095, 4096, 4097, 65_537, 1 << 20];
    sizes.extend(context.scale(&[][..], &[(2 << 20) - 1, 2 << 20, (2 << 20) + 1, (8 << 20) + 5]));
    for (here, there) in pairs(&stage, sizes.iter().max().unwrap_or(&0) + 2 * MARGIN) {
        for (id, length) in (0..).zip(sizes.iter().copied()) {
            let bytes = pattern(id, length);
            here.write(3, &bytes);
            there.write(0, &vec![0xee; length + 2 * MARGIN]);
            stage.done(
                link.left,
                id,
                write(there.remote(MARGIN), &[here.sge(3, length)]),
                CompletionKind::Write,
            );
            assert!(there.read(MARGIN, length) == bytes, "{length} bytes differ");
            assert_eq!(there.read(0, MARGIN), [0xee; MARGIN]);
            assert_eq!(there.read(MARGIN + length, MARGIN), [0xee; MARGIN]);
            here.write(0, &vec![0xdd; length + 2 * MARGIN]);
            let operation = Operation::Read { remote: there.remote(MARGIN), local: &[here.sge(5, length)] };
            let done = stage.done(link.left, id, operation, CompletionKind::Read);
            assert_eq!(done.byte_length as usize, length);
            assert!(here.read(5, length) == bytes, "{length} bytes differ on their way back");
            assert_eq!((here.read(0, 5), here.read(5 + length, 9)), (vec![0xdd; 5], vec![0xdd; 9]));
        }
    }
    stage.nothing_more();
}

/// Writes and reads between four memories by chance, beside a model of what they hold.
fn order(context: &Context) {
    const LENGTH: usize = 512;
    let (mut stage, link) = Stage::connected(context);
    let here = [stage.memory(Place::Left, LENGTH), on_device(&stage, Place::Left, LENGTH)];
    let there = [stage.memory(Place::Right, LENGTH), on_device(&stage, Place::Right, LENGTH)];
    let mut model: Vec<Vec<u8>> = (0..4).map(|seed| pattern(seed, LENGTH)).collect();
    for (memory, bytes) in here.iter().chain(&there).zip(&model) {
        memory.write(0, bytes);
    }
    in_turn(&mut stage, link, (&here[0], &here[1]), &there[0]);
    there[0].write(0, &model[2]);
    let mut random = context.random(70);
    for _ in 0..context.scale(5, 40) {
        let count = 1 + random.below(20);
        for id in 0..count as u64 {
            begin(&mut stage, link, (&here, &there), &mut model, &mut random, id);
        }
        stage.ring(link.left);
        let done = stage.wait(link.left, count);
        for (completion, id) in done.iter().zip(0..) {
            assert_eq!((completion.id, completion.result.is_ok()), (id, true), "{completion:?}");
        }
        for (index, (memory, bytes)) in here.iter().chain(&there).zip(&model).enumerate() {
            assert!(memory.read(0, LENGTH) == *bytes, "memory {index} differs");
        }
    }
    stage.nothing_more();
}

/// Writes of memory of the host do not overtake one of device memory, however long its copy takes.
fn in_turn(stage: &mut Stage, link: Link, (host, device): (&Memory, &Memory), there: &Memory) {
    let hold = hold(stage);
    stage.start(link.left, 1, write(there.remote(0), &[device.sge(0, 64)]));
    held(stage);
    stage.start(link.left, 2, write(there.remote(0), &[host.sge(0, 64)]));
    stage.silent();
    drop(hold);
    let done = stage.wait(link.left, 2);
    assert!(done.iter().zip(1..).all(|(completion, id)| completion.id == id && completion.result.is_ok()));
    assert!(there.read(0, 64) == host.read(0, 64), "the first write came last");
}

/// Posts one request by chance, and does the same to the model. A fence keeps writes behind the reads before them.
fn begin(
    stage: &mut Stage,
    link: Link,
    (here, there): (&[Memory; 2], &[Memory; 2]),
    model: &mut [Vec<u8>],
    random: &mut Random,
    id: u64,
) {
    use pmd_core::provider::SendFlags;
    let (left, right) = (random.below(2), random.below(2));
    let length = 1 + random.below(200);
    let (mine, theirs) = (random.below(300), random.below(300));
    let (near, far) = (model[left].clone(), model[2 + right].clone());
    let entry = [here[left].sge(mine, length)];
    let flags = SendFlags::SIGNALED | SendFlags::FENCE;
    if random.once_in(2) {
        model[2 + right][theirs..theirs + length].copy_from_slice(&near[mine..mine + length]);
        stage.post_flagged(link.left, id, write(there[right].remote(theirs), &entry), flags);
    } else {
        model[left][mine..mine + length].copy_from_slice(&far[theirs..theirs + length]);
        let operation = Operation::Read { remote: there[right].remote(theirs), local: &entry };
        stage.post_flagged(link.left, id, operation, flags);
    }
}

fn immediates(context: &Context) {
    let (mut stage, link) = Stage::connected(context);
    in_order(&mut stage, link);
    let length = context.scale(65_537, 3 << 20);
    for (here, there) in pairs(&stage, length) {
        for (round, size) in [1, 64, 4097, length].into_iter().enumerate() {
            let bytes = pattern(round as u64, size);
            here.write(0, &bytes);
            stage.receive(link.right, 5, &[]);
            let entry = [here.sge(0, size)];
            let (remote, local, immediate) = (there.remote(0), Payload::Gather(&entry), round as u32);
            stage.start(link.left, 6, Operation::WriteImmediate { remote, local, immediate });
            let received = stage.wait(link.right, 1)[0];
            assert_eq!((received.id, received.immediate), (5, Some(immediate)));
            assert_eq!(received.byte_length as usize, size);
            assert!(there.read(0, size) == bytes, "the immediate of {size} bytes overtook them");
            assert_eq!(stage.wait(link.left, 1)[0].result, Ok(CompletionKind::Write));
        }
    }
    stage.nothing_more();
}

/// An immediate comes when its bytes have come, however long their copy takes.
fn in_order(stage: &mut Stage, link: Link) {
    let (here, there) = (on_device(stage, Place::Left, 64), on_device(stage, Place::Right, 64));
    let hold = hold(stage);
    stage.receive(link.right, 5, &[]);
    let entry = [here.sge(0, 64)];
    let (remote, local) = (there.remote(0), Payload::Gather(&entry));
    stage.start(link.left, 6, Operation::WriteImmediate { remote, local, immediate: 3 });
    held(stage);
    stage.silent();
    drop(hold);
    assert_eq!(stage.wait(link.right, 1)[0].immediate, Some(3));
    assert_eq!(stage.wait(link.left, 1)[0].result, Ok(CompletionKind::Write));
}

fn refused(context: &Context) {
    let (mut stage, mut link) = Stage::connected(context);
    let host = stage.memories(64);
    let device = (on_device(&stage, Place::Left, 64), on_device(&stage, Place::Right, 64));
    device.1.fill(7);
    let (here, there) = (host.0.sge(0, 8), device.1.remote(0));
    let (invalid, protection) = (Syndrome::RemoteInvalidRequest, Syndrome::LocalProtection);
    let own = [device.0.sge(0, 8)];
    let result = Operation::FetchAdd { remote: host.1.remote(0), local: own[0], add: 1 };
    for (operation, syndrome) in [
        (Operation::FetchAdd { remote: there, local: here, add: 1 }, invalid),
        (Operation::CompareSwap { remote: there, local: here, compare: 1, swap: 2 }, invalid),
        (result, protection),
        (send(&own), protection),
        (send(&[here]), Syndrome::RemoteOperation),
    ] {
        stage.receive(link.right, 9, &[device.1.sge(0, 8)]);
        stage.start(link.left, 1, operation);
        failed(context, &stage.wait(link.left, 1)[0], 1, syndrome);
        stage.wait(link.right, 1);
        link = stage.renew(link);
    }
    assert_eq!((device.1.read(0, 64), host.1.read(0, 8)), (vec![7; 64], vec![0; 8]));
    works(&mut stage, link, (&host.0, &host.1), 1);
}

fn keys(context: &Context) {
    let (mut stage, mut link) = Stage::connected(context);
    let (here, there) = (on_device(&stage, Place::Left, 4096), on_device(&stage, Place::Right, 4096));
    let constant = stage.device(Place::Right).device_memory(64, Access::REMOTE_READ);
    let unwritable = stage.device(Place::Left).device_memory(64, Access::empty());
    there.fill(7);
    let local = [here.sge(0, 64)];
    let beyond = [Sge { length: 65, ..here.sge(4032, 64) }];
    let result = [unwritable.sge(0, 64)];
    for (operation, syndrome) in [
        (write(there.remote(0), &beyond), Syndrome::LocalProtection),
        (Operation::Read { remote: there.remote(0), local: &result }, Syndrome::LocalProtection),
        (write(there.remote(4033), &local), Syndrome::RemoteAccess),
        (write(constant.remote(0), &local), Syndrome::RemoteAccess),
    ] {
        stage.start(link.left, 1, operation);
        failed(context, &stage.wait(link.left, 1)[0], 1, syndrome);
        link = stage.renew(link);
    }
    assert_eq!(there.read(0, 4096), [7; 4096]);
    works(&mut stage, link, (&here, &there), 1);
}

/// The left device's accelerator, whose streams copy, whoever owns the memory.
fn copier(stage: &Stage) -> CpuAccelerator {
    stage.device(Place::Left).accelerator().expect("a bed with an accelerator").clone()
}

/// Holds every copy until the value is dropped.
fn hold(stage: &Stage) -> Hold {
    copier(stage).hold_copies()
}

/// Waits until a copy has begun that is held.
fn held(stage: &mut Stage) {
    let accelerator = copier(stage);
    stage.until("a copy that begins", |_| (accelerator.held_copies() > 0).then_some(()));
}

fn quiet(context: &Context) {
    for far in [false, true] {
        let (mut stage, link) = Stage::connected(context);
        let (here, there) = (on_device(&stage, Place::Left, 4096), on_device(&stage, Place::Right, 4096));
        let (local, remote) = ([here.sge(0, 4096)], there.remote(0));
        let hold = hold(&stage);
        stage.start(link.left, 1, write(remote, &local));
        held(&mut stage);
        let mut revoked = if far { there } else { here };
        let revoker = thread::spawn(move || {
            revoked.deregister();
            revoked
        });
        stage.silent();
        assert!(!revoker.is_finished(), "taken back while a stream copies");
        drop(hold);
        let _memory = revoker.join().expect("deregistering");
        assert_eq!(stage.wait(link.left, 1)[0].result, Ok(CompletionKind::Write));
        stage.start(link.left, 2, write(remote, &local));
        let syndrome = if far { Syndrome::RemoteAccess } else { Syndrome::LocalProtection };
        failed(context, &stage.wait(link.left, 1)[0], 2, syndrome);
    }
}

fn failing(context: &Context) {
    use pmd_host::backend::Backend;
    let (mut stage, link) = Stage::connected(context);
    let (here, there) = (on_device(&stage, Place::Left, 4096), on_device(&stage, Place::Right, 4096));
    let hold = hold(&stage);
    for id in 0..3 {
        stage.start(link.left, id, write(there.remote(0), &[here.sge(0, 64)]));
    }
    held(&mut stage);
    stage.backend(Place::Left).fail(link.left.handle).expect("failing");
    // Nothing is flushed while the stream may still write.
    stage.silent();
    drop(hold);
    for (completion, id) in stage.wait(link.left, 3).iter().zip(0..) {
        failed(context, completion, id, Syndrome::Flushed);
    }
    there.fill(7);
    let link = stage.renew(link);
    assert_eq!(there.read(0, 4096), [7; 4096]);
    works(&mut stage, link, (&here, &there), 1);
}
