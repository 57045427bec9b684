//! Memory of accelerators over the soft HCA. Nothing but streams may touch it here: whoever does otherwise ends the test
//! with a signal.

mod soft_support;

use std::{
    thread,
    time::{Duration, Instant},
};

use pmd_core::{
    accelerator::{Accelerator, AcceleratorKind},
    memory::{Access, Sge},
    provider::{Completion, CompletionKind, Operation, Payload, Provider},
    queue::QueuePairState,
    wire::Syndrome,
};
use pmd_host::{
    accelerator::{CpuAccelerator, CpuOptions},
    backend::{Backend, ConnectOptions},
    region::RegionPath,
    soft::{Device, DeviceConfig, ProtectionDomain, RegisterError},
};
use soft_support::{
    child::{LENGTH, Peer, digest, run},
    *,
};

/// What the other process runs.
#[test]
fn peer_process() {
    run();
}

/// Two connected sides whose devices drive one accelerator; each opens the other's memory unless `same_process`.
struct Scene {
    accelerator: CpuAccelerator,
    one: Device,
    two: Device,
    a: Side,
    b: Side,
}

impl Scene {
    fn new(same_process: bool) -> Self {
        let accelerator = CpuAccelerator::new(SHIELDED);
        let (one, two) = (accelerated(&accelerator, same_process), accelerated(&accelerator, same_process));
        let (a, b) = connect(&one, &two);
        Self { accelerator, one, two, a, b }
    }

    fn here(&self, length: usize) -> Memory {
        Memory::on_device(&self.one, &self.accelerator, length, all())
    }

    fn there(&self, length: usize) -> Memory {
        Memory::on_device(&self.two, &self.accelerator, length, all())
    }

    /// Completions of the first side.
    fn finish(&mut self, count: usize) -> Vec<Completion> {
        drive(&mut self.a, &mut self.b, (count, 0)).0
    }

    /// Polls until a copy has begun that somebody holds.
    fn held(&mut self) {
        let start = Instant::now();
        while self.accelerator.held_copies() == 0 {
            self.a.poll();
            self.b.poll();
            assert!(start.elapsed() < DEADLINE, "no copy begins");
        }
    }

    fn done(&mut self, operation: Operation<'_>, kind: CompletionKind) {
        self.a.post(77, operation);
        succeeded(&self.finish(1)[0], 77, kind);
    }

    fn fails(&mut self, operation: Operation<'_>, syndrome: Syndrome) {
        self.a.post(78, operation);
        failed(&self.finish(1)[0], 78, syndrome);
        assert_eq!(self.a.backend.state(self.a.queue_pair), QueuePairState::Error);
        (self.a, self.b) = connect(&self.one, &self.two);
    }
}

fn connect(one: &Device, two: &Device) -> (Side, Side) {
    let (mut a, mut b) = (Side::new(one), Side::new(two));
    a.connect(&b, &ConnectOptions::default());
    b.connect(&a, &ConnectOptions::default());
    (a, b)
}

const SIZES: [usize; 8] = [1, 7, 8, 4096, 65_537, (2 << 20) - 1, (2 << 20) + 1, (5 << 20) + 3];
const ROOM: usize = 6 << 20;

#[test]
fn device_to_device() {
    for same_process in [true, false] {
        let mut scene = Scene::new(same_process);
        let (here, there) = (scene.here(ROOM), scene.there(ROOM));
        assert_eq!(here.region.path(), RegionPath::DeviceCopy);
        for (seed, size) in SIZES.into_iter().enumerate() {
            let bytes = pattern(seed as u64, size);
            here.write(3, &bytes);
            there.fill(0xee);
            scene.done(write(there.remote(5), &[here.sge(3, size)]), CompletionKind::Write);
            assert!(there.read(5, size) == bytes, "{size} bytes");
            assert_eq!((there.read(0, 5), there.read(5 + size, 9)), (vec![0xee; 5], vec![0xee; 9]));
            here.fill(0xdd);
            scene.done(read(there.remote(5), &[here.sge(1, size)]), CompletionKind::Read);
            assert!(here.read(1, size) == bytes, "{size} bytes back");
            assert_eq!(here.read(1 + size, 9), [0xdd; 9]);
        }
        quiet(&mut scene.a, &mut scene.b);
    }
}

#[test]
fn between_host_and_device() {
    for same_process in [true, false] {
        let mut scene = Scene::new(same_process);
        let (on_device, there) = (scene.here(ROOM), scene.there(ROOM));
        let arenas = [&scene.one, &scene.two].map(|device| Memory::arena(device, ROOM, all()));
        let heaps = [&scene.one, &scene.two].map(|device| Memory::heap(device, ROOM, all()));
        for [mine, theirs] in [arenas, heaps] {
            for (seed, size) in SIZES.into_iter().enumerate() {
                let bytes = pattern(seed as u64, size);
                mine.write(1, &bytes);
                scene.done(write(there.remote(2), &[mine.sge(1, size)]), CompletionKind::Write);
                assert!(there.read(2, size) == bytes, "{size} bytes of the host written to a device");
                mine.fill(0);
                scene.done(read(there.remote(2), &[mine.sge(4, size)]), CompletionKind::Read);
                assert!(mine.read(4, size) == bytes, "{size} bytes of a device read to the host");
                on_device.write(0, &bytes);
                scene.done(write(theirs.remote(3), &[on_device.sge(0, size)]), CompletionKind::Write);
                assert!(theirs.read(3, size) == bytes, "{size} bytes of a device written to the host");
                on_device.fill(0);
                scene.done(read(theirs.remote(3), &[on_device.sge(9, size)]), CompletionKind::Read);
                assert!(on_device.read(9, size) == bytes, "{size} bytes of the host read to a device");
            }
        }
    }
}

#[test]
fn many_entries_and_inline_bytes() {
    let mut scene = Scene::new(false);
    let (here, there) = (scene.here(8192), scene.there(8192));
    let host = Memory::heap(&scene.one, 8192, all());
    let (on_device, on_host) = (pattern(1, 8192), pattern(2, 8192));
    here.write(0, &on_device);
    host.write(0, &on_host);
    let local = [here.sge(100, 50), host.sge(7, 1), here.sge(0, 3000), host.sge(4000, 1000)];
    scene.done(write(there.remote(1), &local), CompletionKind::Write);
    let wanted = [&on_device[100..150], &on_host[7..8], &on_device[..3000], &on_host[4000..5000]].concat();
    assert!(there.read(1, wanted.len()) == wanted);
    here.fill(0);
    host.fill(0);
    scene.done(read(there.remote(1), &local), CompletionKind::Read);
    // The first 50 bytes and the 3,000 behind share a place: the later entry stands.
    assert_eq!(host.read(7, 1), on_host[7..8]);
    assert!(host.read(4000, 1000) == on_host[4000..5000]);
    assert!(here.read(0, 3000) == on_device[..3000]);
    let inline = Operation::Write { remote: there.remote(10), local: Payload::Inline(&on_host[..100]) };
    scene.done(inline, CompletionKind::Write);
    assert_eq!(there.read(10, 100), on_host[..100]);
    let nothing: [Sge; 0] = [];
    scene.done(write(there.remote(0), &nothing), CompletionKind::Write);
}

#[test]
fn requests_of_all_kinds_keep_their_order() {
    let mut scene = Scene::new(false);
    let (here, there) = (scene.here(4096), scene.there(4096));
    let (host, inbox) = (Memory::heap(&scene.one, 4096, all()), Memory::heap(&scene.two, 4096, all()));
    for round in 0..50 {
        host.write(0, &pattern(round, 64));
        host.write(64, &pattern(round + 1000, 64));
        scene.b.receive(500, &[inbox.sge(64, 64)]);
        let hold = scene.accelerator.hold_copies();
        let a = &mut scene.a;
        // The second of two writes to one place stands; what is read behind them is that.
        a.post(1, write(there.remote(8), &[host.sge(0, 64)]));
        a.post(2, write(there.remote(8), &[host.sge(64, 64)]));
        a.post(3, read(there.remote(8), &[here.sge(0, 64)]));
        a.post(4, write(inbox.remote(0), &[here.sge(0, 64)]));
        a.post(5, send(&[host.sge(0, 64)]));
        a.post(6, write(inbox.remote(1000), &[host.sge(0, 64)]));
        a.post(7, read(inbox.remote(0), &[host.sge(128, 64)]));
        for _ in 0..50 {
            scene.a.poll();
            scene.b.poll();
        }
        assert_eq!((scene.a.polled.len(), scene.b.polled.len()), (0, 0), "something overtook the copies");
        drop(hold);
        let (done, received) = drive(&mut scene.a, &mut scene.b, (7, 1));
        let order: Vec<u64> = done.iter().map(|completion| completion.id).collect();
        assert_eq!(order, [1, 2, 3, 4, 5, 6, 7]);
        assert!(done.iter().all(|completion| completion.result.is_ok()), "{done:?}");
        succeeded(&received[0], 500, CompletionKind::Receive);
        assert_eq!(there.read(8, 64), pattern(round + 1000, 64));
        assert_eq!(inbox.read(0, 64), pattern(round + 1000, 64));
        assert_eq!(inbox.read(64, 64), pattern(round, 64));
        assert_eq!(host.read(128, 64), pattern(round + 1000, 64));
    }
}

#[test]
fn an_immediate_comes_behind_its_bytes() {
    let mut scene = Scene::new(false);
    let (here, there) = (scene.here(ROOM), scene.there(ROOM));
    for (round, size) in SIZES.into_iter().enumerate() {
        let bytes = pattern(round as u64, size);
        here.write(0, &bytes);
        scene.b.receive(9, &[]);
        let hold = scene.accelerator.hold_copies();
        let entry = [here.sge(0, size)];
        let (remote, local, immediate) = (there.remote(0), Payload::Gather(&entry), 0x1234 + round as u32);
        scene.a.post(1, Operation::WriteImmediate { remote, local, immediate });
        for _ in 0..50 {
            scene.a.poll();
            scene.b.poll();
        }
        assert_eq!(scene.b.polled, [], "the immediate overtook its bytes");
        drop(hold);
        let (sent, received) = drive(&mut scene.a, &mut scene.b, (1, 1));
        succeeded(&sent[0], 1, CompletionKind::Write);
        assert_eq!((received[0].immediate, received[0].byte_length), (Some(immediate), size as u32));
        assert!(there.read(0, size) == bytes);
    }
}

#[test]
fn many_writes_at_once() {
    const BLOCKS: usize = 1500;
    const BLOCK: usize = 96;
    let mut scene = Scene::new(false);
    let (here, there) = (scene.here(BLOCKS * BLOCK), scene.there(BLOCKS * BLOCK));
    let bytes = pattern(1, BLOCKS * BLOCK);
    here.write(0, &bytes);
    // More than the mover has room for, and more than the queue has.
    let mut posted = 0;
    let mut done = 0;
    let start = Instant::now();
    while done < BLOCKS {
        while posted < BLOCKS && scene.a.backend.send_room(scene.a.queue_pair) > 0 {
            let to = posted * 7 % BLOCKS;
            let entry = [here.sge(posted * BLOCK, BLOCK)];
            scene.a.post(posted as u64, write(there.remote(to * BLOCK), &entry));
            posted += 1;
        }
        scene.a.poll();
        scene.b.poll();
        for completion in scene.a.polled.drain(..) {
            succeeded(&completion, done as u64, CompletionKind::Write);
            done += 1;
        }
        assert!(start.elapsed() < DEADLINE, "{done} of {posted}");
    }
    let arrived = there.read(0, BLOCKS * BLOCK);
    for block in 0..BLOCKS {
        let to = block * 7 % BLOCKS * BLOCK;
        assert!(arrived[to..to + BLOCK] == bytes[block * BLOCK..][..BLOCK], "block {block}");
    }
}

#[test]
fn what_streams_do_not_do_is_refused() {
    let mut scene = Scene::new(false);
    let (here, there) = (scene.here(4096), scene.there(4096));
    let host = Memory::heap(&scene.one, 4096, all());
    let inbox = Memory::heap(&scene.two, 4096, all());
    there.fill(7);
    let invalid = Syndrome::RemoteInvalidRequest;
    scene.fails(Operation::FetchAdd { remote: there.remote(0), local: host.sge(0, 8), add: 1 }, invalid);
    let swap = Operation::CompareSwap { remote: there.remote(8), local: host.sge(0, 8), compare: 1, swap: 2 };
    scene.fails(swap, invalid);
    let result = Operation::FetchAdd { remote: inbox.remote(0), local: here.sge(0, 8), add: 1 };
    scene.fails(result, Syndrome::LocalProtection);
    scene.fails(send(&[here.sge(0, 8)]), Syndrome::LocalProtection);
    scene.b.receive(1, &[there.sge(0, 8)]);
    scene.fails(send(&[host.sge(0, 8)]), Syndrome::RemoteOperation);
    assert_eq!(there.read(0, 4096), [7; 4096]);
    assert_eq!(inbox.read(0, 8), [0; 8]);
}

#[test]
fn keys_are_checked_on_both_sides() {
    let mut scene = Scene::new(false);
    let (here, there) = (scene.here(4096), scene.there(4096));
    there.fill(7);
    let readable = Memory::on_device(&scene.two, &scene.accelerator, 64, Access::REMOTE_READ);
    let local = [here.sge(0, 64)];
    let beyond = Sge { length: 65, address: here.sge(4032, 64).address, ..local[0] };
    scene.fails(write(there.remote(0), &[beyond]), Syndrome::LocalProtection);
    scene.fails(write(there.remote(4033), &local), Syndrome::RemoteAccess);
    scene.fails(write(readable.remote(0), &local), Syndrome::RemoteAccess);
    let constant = Memory::on_device(&scene.one, &scene.accelerator, 64, Access::empty());
    scene.fails(read(there.remote(0), &[constant.sge(0, 64)]), Syndrome::LocalProtection);
    assert_eq!(there.read(0, 4096), [7; 4096]);
}

#[test]
fn a_region_is_quiet_when_it_is_deregistered() {
    for (far, immediate) in [(false, false), (true, false), (true, true)] {
        let mut scene = Scene::new(false);
        let (here, there) = (scene.here(4096), scene.there(4096));
        let (local, remote) = ([here.sge(0, 4096)], there.remote(0));
        let hold = scene.accelerator.hold_copies();
        let operation = match immediate {
            true => Operation::WriteImmediate { remote, local: Payload::Gather(&local), immediate: 1 },
            false => write(remote, &local),
        };
        scene.b.receive(1, &[]);
        scene.a.post(1, operation);
        scene.held();
        // Deregistration waits for the copy, whichever side of it the region is; a move that had not begun yet would fail.
        let revoked = if far { there } else { here };
        let revoker = thread::spawn(move || drop(revoked));
        thread::sleep(Duration::from_millis(200));
        assert!(!revoker.is_finished(), "deregistered while a stream copies");
        drop(hold);
        revoker.join().unwrap();
        succeeded(&scene.finish(1)[0], 1, CompletionKind::Write);
        scene.a.post(2, write(remote, &local));
        let syndrome = if far { Syndrome::RemoteAccess } else { Syndrome::LocalProtection };
        failed(&scene.finish(1)[0], 2, syndrome);
    }
}

#[test]
fn a_queue_pair_flushes_once_its_copies_are_over() {
    let mut scene = Scene::new(false);
    let (here, there) = (scene.here(4096), scene.there(4096));
    there.fill(1);
    here.fill(2);
    let hold = scene.accelerator.hold_copies();
    scene.a.post(1, write(there.remote(0), &[here.sge(0, 64)]));
    scene.a.post(2, write(there.remote(64), &[here.sge(0, 64)]));
    scene.held();
    scene.a.backend.fail(scene.a.queue_pair).unwrap();
    quiet(&mut scene.a, &mut scene.b);
    drop(hold);
    for (completion, id) in scene.finish(2).iter().zip(1..) {
        failed(completion, id, Syndrome::Flushed);
    }
    there.fill(1);
    scene.a.backend.reset(scene.a.queue_pair).unwrap();
    quiet(&mut scene.a, &mut scene.b);
    assert_eq!(there.read(0, 4096), [1; 4096]);
}

#[test]
fn a_reset_waits_for_copies() {
    let scene = Scene::new(false);
    let (here, there) = (scene.here(64), scene.there(64));
    let Scene { mut a, b, accelerator, .. } = scene;
    let mut b = b;
    let hold = accelerator.hold_copies();
    a.post(1, write(there.remote(0), &[here.sge(0, 64)]));
    let start = Instant::now();
    while accelerator.held_copies() == 0 {
        a.poll();
        b.poll();
        assert!(start.elapsed() < DEADLINE, "no copy begins");
    }
    let resetting = thread::spawn(move || {
        a.backend.reset(a.queue_pair).unwrap();
        a
    });
    thread::sleep(Duration::from_millis(200));
    assert!(!resetting.is_finished(), "reset while a stream copies");
    drop(hold);
    let mut a = resetting.join().unwrap();
    quiet(&mut a, &mut b);
}

#[test]
fn a_stream_that_fails_takes_its_requests_along_and_no_others() {
    let mut scene = Scene::new(false);
    let (here, there) = (scene.here(4096), scene.there(4096));
    let host = Memory::heap(&scene.one, 4096, all());
    for local in [here.sge(0, 64), host.sge(0, 64)] {
        scene.accelerator.fail_copy(0);
        scene.fails(write(there.remote(0), &[local]), Syndrome::LocalQueuePairOperation);
        scene.done(write(there.remote(0), &[local]), CompletionKind::Write);
    }
}

#[test]
fn without_the_accelerator() {
    let accelerator = CpuAccelerator::new(SHIELDED);
    let (plain, two) = (Device::open(DeviceConfig::default()).unwrap(), accelerated(&accelerator, false));
    let there = Memory::on_device(&two, &accelerator, 64, all());
    let host = Memory::heap(&plain, 64, all());
    for operation in [write(there.remote(0), &[host.sge(0, 8)]), read(there.remote(0), &[host.sge(0, 8)])] {
        let (mut a, mut b) = connect(&plain, &two);
        a.post(1, operation);
        failed(&drive(&mut a, &mut b, (1, 0)).0[0], 1, Syndrome::RemoteOperation);
    }
    let memory = accelerator.allocate(64).unwrap();
    let refused = plain.register_device(memory.into(), all(), ProtectionDomain::default()).unwrap_err();
    let kind = AcceleratorKind::Cpu;
    assert!(
        matches!(refused, RegisterError::NoAccelerator { kind: of, ordinal: 0 } if of == kind),
        "{refused}"
    );
    // Another device of the same kind does not do either.
    let other = CpuAccelerator::new(CpuOptions { ordinal: 1, ..SHIELDED });
    let elsewhere = accelerated(&other, false);
    let mine = Memory::heap(&elsewhere, 64, all());
    let (mut a, mut b) = connect(&elsewhere, &two);
    a.post(1, write(there.remote(0), &[mine.sge(0, 8)]));
    failed(&drive(&mut a, &mut b, (1, 0)).0[0], 1, Syndrome::RemoteOperation);
}

#[test]
fn pinned_memory_is_registered_as_the_hosts() {
    let accelerator = CpuAccelerator::new(SHIELDED);
    let device = accelerated(&accelerator, false);
    let pinned = accelerator.allocate_pinned(8192).unwrap();
    let region = device.register_device(pinned.into(), all(), ProtectionDomain::default()).unwrap();
    assert_eq!((region.path(), region.length()), (RegionPath::ProcessMemory, 8192));
}

#[test]
fn another_process() {
    let accelerator = CpuAccelerator::new(SHIELDED);
    let device = accelerated(&accelerator, false);
    let mut side = Side::new(&device);
    let mine = Memory::on_device(&device, &accelerator, LENGTH, all());
    let host = Memory::heap(&device, LENGTH, all());
    let mut peer = Peer::start(Path::Device, &mut side);
    for (seed, size) in [1, 4095, (64 << 10) + 1, 3 << 20].into_iter().enumerate() {
        let bytes = pattern(seed as u64 + 10, size);
        for (local, arena) in [(&mine, false), (&host, false), (&mine, true)] {
            local.write(0, &bytes);
            side.post(1, write(peer.remote(arena, 100), &[local.sge(0, size)]));
            succeeded(&alone(&mut side, 1)[0], 1, CompletionKind::Write);
            assert_eq!(peer.digest(&mut side, arena, 100, size), digest(&bytes), "{arena} {size}");
            local.fill(0);
            side.post(2, read(peer.remote(arena, 100), &[local.sge(64, size)]));
            succeeded(&alone(&mut side, 1)[0], 2, CompletionKind::Read);
            assert!(local.read(64, size) == bytes, "{arena} {size}");
        }
    }
}

#[test]
fn a_peer_killed_during_copies() {
    let accelerator = CpuAccelerator::new(SHIELDED);
    let device = accelerated(&accelerator, false);
    let mut side = Side::new(&device);
    let mine = Memory::on_device(&device, &accelerator, LENGTH, all());
    let mut peer = Peer::start(Path::Device, &mut side);
    side.post(1, write(peer.remote(false, 0), &[mine.sge(0, 4096)]));
    succeeded(&alone(&mut side, 1)[0], 1, CompletionKind::Write);
    assert_eq!(accelerator.allocations(), 2, "the own memory and the peer's");
    let hold = accelerator.hold_copies();
    for id in 2..10 {
        side.post(id, read(peer.remote(false, 0), &[mine.sge(0, 1 << 20)]));
    }
    let start = Instant::now();
    while accelerator.held_copies() == 0 {
        side.poll();
        assert!(start.elapsed() < DEADLINE, "no copy begins");
    }
    peer.kill();
    for _ in 0..2000 {
        side.poll();
    }
    // What reads into this process's memory is not over, so nothing may have completed.
    assert_eq!(side.polled, []);
    drop(hold);
    let done = alone(&mut side, 8);
    let order: Vec<u64> = done.iter().map(|completion| completion.id).collect();
    assert_eq!(order, (2..10).collect::<Vec<_>>());
    let last = done[7].result.map_err(|error| error.syndrome);
    assert!(matches!(last, Err(Syndrome::RetryExceeded | Syndrome::Flushed)), "{last:?}");
    // Its memory is closed here once the mover has nothing to do.
    let start = Instant::now();
    while accelerator.allocations() > 1 {
        side.poll();
        assert!(start.elapsed() < DEADLINE, "the memory of a killed peer stays open");
    }
}

/// Completions of a side whose peer runs by itself.
fn alone(side: &mut Side, count: usize) -> Vec<Completion> {
    let start = Instant::now();
    while side.polled.len() < count {
        side.poll();
        assert!(start.elapsed() < DEADLINE, "{:?}", side.polled);
    }
    side.polled.drain(..count).collect()
}
