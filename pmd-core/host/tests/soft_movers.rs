//! How the mover gives copies to streams, what it does when they fail, and what device memory lacks.

mod soft_support;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pmd_core::{
    accelerator::{Accelerator, AcceleratorError, AcceleratorKind, DeviceMemory, ShareHandle},
    memory::{Access, RegionDescription, RegionSource},
    provider::{Completion, CompletionKind, Operation},
    wire::Syndrome,
};
use pmd_host::{
    accelerator::{CpuAccelerator, CpuCounters},
    backend::{Backend, ConnectOptions, QueuePairConfig},
    soft::{Accelerators, Device, DeviceConfig, ProtectionDomain, RegisterError, Tuning},
    transfer::DeviceFault,
};
use soft_support::{
    child::{Peer, run},
    *,
};

/// Two connected sides whose devices drive one accelerator, with memory on both.
struct Scene {
    accelerator: CpuAccelerator,
    one: Device,
    two: Device,
    a: Side,
    b: Side,
    here: Memory,
    there: Memory,
}

const ROOM: usize = 4 << 20;

impl Scene {
    fn new() -> Self {
        let accelerator = CpuAccelerator::new(SHIELDED);
        let (one, two) = (accelerated(&accelerator, false), accelerated(&accelerator, false));
        let (a, b) = connect(&one, &two);
        let here = Memory::on_device(&one, &accelerator, ROOM, all());
        let there = Memory::on_device(&two, &accelerator, ROOM, all());
        Self { accelerator, one, two, a, b, here, there }
    }

    fn finish(&mut self, count: usize) -> Vec<Completion> {
        drive(&mut self.a, &mut self.b, (count, 0)).0
    }

    fn done(&mut self, operation: Operation<'_>, kind: CompletionKind) {
        self.a.post(77, operation);
        succeeded(&self.finish(1)[0], 77, kind);
    }

    fn fails(&mut self, operation: Operation<'_>, syndrome: Syndrome, fault: DeviceFault) {
        self.a.post(78, operation);
        let completion = self.finish(1)[0];
        failed(&completion, 78, syndrome);
        assert_eq!(self.a.backend.device_fault(&completion), Some(fault));
        (self.a, self.b) = connect(&self.one, &self.two);
    }

    /// Polls until this holds.
    fn until(&mut self, what: &str, holds: impl Fn(&CpuAccelerator) -> bool) {
        let start = Instant::now();
        while !holds(&self.accelerator) {
            self.a.poll();
            self.b.poll();
            assert!(start.elapsed() < DEADLINE, "{what}: {:?}", self.accelerator.counters());
        }
    }
}

fn connect(one: &Device, two: &Device) -> (Side, Side) {
    let config = QueuePairConfig { send_slots: 4096, ..QueuePairConfig::default() };
    let side = |device| Side::with(device, Tuning::default(), &config);
    let (mut a, mut b) = (side(one), side(two));
    a.connect(&b, &ConnectOptions::default());
    b.connect(&a, &ConnectOptions::default());
    (a, b)
}

/// What was counted since.
fn since(before: CpuCounters, accelerator: &CpuAccelerator) -> (u64, u64, u64, u64) {
    let now = accelerator.counters();
    let CpuCounters { copies, ranges, launches, blocks, .. } = before;
    (now.copies - copies, now.ranges - ranges, now.launches - launches, now.blocks - blocks)
}

#[test]
fn thousands_of_blocks_are_one_launch() {
    const BLOCKS: usize = 2000;
    const BLOCK: usize = 512;
    let mut scene = Scene::new();
    let bytes = pattern(1, BLOCKS * BLOCK);
    scene.here.write(0, &bytes);
    scene.there.fill(9);
    // The first keeps the mover's streams busy until all are there.
    let hold = scene.accelerator.hold_copies();
    for id in 0..2 {
        scene.a.post(id, write(scene.there.remote(3 << 20), &[scene.here.sge(3 << 20, 64)]));
        scene.until("both rounds are in flight", |accelerator| {
            accelerator.held_copies() == 1 && accelerator.counters().copies >= id
        });
    }
    let start = Instant::now();
    while scene.accelerator.counters().copies < 4 {
        // Two writes by the test above, two rounds.
        scene.a.poll();
        assert!(start.elapsed() < DEADLINE, "{:?}", scene.accelerator.counters());
    }
    let before = scene.accelerator.counters();
    for block in 0..BLOCKS {
        let to = block * 7 % BLOCKS;
        let entry = [scene.here.sge(block * BLOCK, BLOCK)];
        scene.a.post(block as u64 + 2, write(scene.there.remote(to * 2 * BLOCK), &entry));
    }
    drop(hold);
    let done = scene.finish(BLOCKS + 2);
    assert!(done.iter().all(|completion| completion.result.is_ok()), "{done:?}");
    assert_eq!(since(before, &scene.accelerator), (0, 0, 1, BLOCKS as u64));
    let arrived = scene.there.read(0, BLOCKS * 2 * BLOCK);
    for block in 0..BLOCKS {
        let to = block * 7 % BLOCKS * 2 * BLOCK;
        assert!(arrived[to..to + BLOCK] == bytes[block * BLOCK..][..BLOCK], "block {block}");
        assert!(arrived[to + BLOCK..to + 2 * BLOCK].iter().all(|byte| *byte == 9), "beside block {block}");
    }
}

#[test]
fn what_are_no_blocks_goes_in_batches() {
    let mut scene = Scene::new();
    let bytes = pattern(2, ROOM);
    scene.here.write(0, &bytes);
    // One request of 30 ranges, each of another length.
    let ranges: Vec<(usize, usize)> = (0..30).map(|index| (index * 2000, 100 + index)).collect();
    let entries: Vec<_> = ranges.iter().map(|(at, length)| scene.here.sge(*at, *length)).collect();
    let wanted: Vec<u8> = ranges.iter().flat_map(|(at, length)| bytes[*at..at + length].to_vec()).collect();
    let before = scene.accelerator.counters();
    let remote = scene.there.remote(1);
    scene.done(write(remote, &entries), CompletionKind::Write);
    let (_, ranges, launches, _) = since(before, &scene.accelerator);
    assert_eq!((ranges, launches), (30, 0));
    assert!(scene.there.read(1, wanted.len()) == wanted);
}

#[test]
fn the_next_round_is_put_behind_the_one_that_runs() {
    let mut scene = Scene::new();
    let host = Memory::heap(&scene.one, ROOM, all());
    for local in [scene.here.sge(0, 4096), host.sge(0, 4096)] {
        let before = scene.accelerator.counters().copies;
        let hold = scene.accelerator.hold_copies();
        scene.a.post(1, write(scene.there.remote(0), &[local]));
        scene.until("the first round runs", |accelerator| accelerator.held_copies() == 1);
        scene.a.post(2, write(scene.there.remote(8192), &[local]));
        scene.until("the second is queued", |accelerator| accelerator.counters().copies == before + 2);
        assert_eq!(scene.a.polled, [], "done while no stream copies");
        drop(hold);
        let order: Vec<u64> = scene.finish(2).iter().map(|completion| completion.id).collect();
        assert_eq!(order, [1, 2]);
    }
}

#[test]
fn a_read_sees_what_a_write_before_it_moves_to_the_host() {
    let mut scene = Scene::new();
    let inbox = Memory::heap(&scene.two, 1 << 20, all());
    for round in 0..20 {
        let bytes = pattern(round, 1 << 20);
        scene.here.write(0, &bytes);
        scene.here.write(1 << 20, &vec![0; 1 << 20]);
        let hold = scene.accelerator.hold_copies();
        scene.a.post(1, write(inbox.remote(0), &[scene.here.sge(0, 1 << 20)]));
        scene.a.post(2, read(inbox.remote(0), &[scene.here.sge(1 << 20, 1 << 20)]));
        drop(hold);
        scene.finish(2);
        assert!(scene.here.read(1 << 20, 1 << 20) == bytes, "round {round}");
    }
}

#[test]
fn staging_shrinks_and_says_so_where_nothing_is_left() {
    let mut scene = Scene::new();
    let host = Memory::heap(&scene.one, ROOM, all());
    let bytes = pattern(5, ROOM);
    host.write(0, &bytes);
    scene.accelerator.limit_pinned(0);
    let (to, from) = (scene.there.remote(0), [host.sge(0, ROOM)]);
    scene.fails(write(to, &from), Syndrome::LocalQueuePairOperation, DeviceFault::NoStaging);
    // What does not pass through the host goes on.
    let within = [scene.here.sge(0, 4096)];
    scene.done(write(to, &within), CompletionKind::Write);
    scene.accelerator.limit_pinned(100_000);
    scene.done(write(to, &from), CompletionKind::Write);
    assert!(scene.there.read(0, ROOM) == bytes);
}

#[test]
fn a_context_that_is_destroyed_fails_what_needs_it_and_nothing_else() {
    let mut scene = Scene::new();
    let (host, inbox) = (Memory::heap(&scene.one, 4096, all()), Memory::heap(&scene.two, 4096, all()));
    let hold = scene.accelerator.hold_copies();
    scene.a.post(1, write(scene.there.remote(0), &[scene.here.sge(0, 64)]));
    scene.until("a copy runs", |accelerator| accelerator.held_copies() == 1);
    scene.accelerator.destroy();
    drop(hold);
    let completion = scene.finish(1)[0];
    failed(&completion, 1, Syndrome::LocalQueuePairOperation);
    assert_eq!(scene.a.backend.device_fault(&completion), Some(DeviceFault::Stream));
    (scene.a, scene.b) = connect(&scene.one, &scene.two);
    let remote = scene.there.remote(0);
    let kind = scene.accelerator.identity().kind;
    for local in [scene.here.sge(0, 64), host.sge(0, 64)] {
        // Other queue pairs have the peer's memory opened anew, or try to.
        scene.fails(write(remote, &[local]), Syndrome::RemoteOperation, DeviceFault::NotOpened { kind });
    }
    scene.done(write(inbox.remote(0), &[host.sge(0, 64)]), CompletionKind::Write);
    let Scene { accelerator, here, there, a, b, one, two } = scene;
    drop((here, there, a, b, one, two));
    assert_eq!(accelerator.allocations(), 0);
}

#[test]
fn a_job_of_many_rounds_fails_once() {
    const LARGE: usize = 48 << 20;
    let mut scene = Scene::new();
    let host = Memory::heap(&scene.one, LARGE, all());
    let there = Memory::on_device(&scene.two, &scene.accelerator, LARGE, all());
    let remote = there.remote(0);
    // In the first round, in the second, in the last: staging copies a piece at a time.
    for copy in [0, 20, 47] {
        scene.accelerator.fail_copy(copy);
        let operation = [host.sge(0, LARGE)];
        scene.fails(write(remote, &operation), Syndrome::LocalQueuePairOperation, DeviceFault::Stream);
        scene.done(write(remote, &operation), CompletionKind::Write);
    }
}

#[test]
fn what_the_peers_memory_takes_is_told() {
    let mut scene = Scene::new();
    let plain = Device::open(pmd_host::soft::DeviceConfig::default()).unwrap();
    let host = Memory::heap(&plain, 64, all());
    let kind = scene.accelerator.identity().kind;
    let other = CpuAccelerator::new(pmd_host::accelerator::CpuOptions { ordinal: 1, ..SHIELDED });
    let elsewhere = accelerated(&other, false);
    let mine = Memory::heap(&elsewhere, 64, all());
    for (device, local) in [(&plain, host.sge(0, 8)), (&elsewhere, mine.sge(0, 8))] {
        for operation in [write(scene.there.remote(0), &[local]), read(scene.there.remote(0), &[local])] {
            (scene.a, scene.b) = connect(device, &scene.two);
            scene.a.post(1, operation);
            let completion = scene.finish(1)[0];
            failed(&completion, 1, Syndrome::RemoteOperation);
            let fault = scene.a.backend.device_fault(&completion);
            assert_eq!(fault, Some(DeviceFault::NoAccelerator { kind }));
        }
    }
    // The peer's host memory where only packets would do.
    let packets = |process_memory| {
        let accelerators = pmd_host::soft::Accelerators::new(vec![Arc::new(scene.accelerator.clone())]);
        let config = pmd_host::soft::DeviceConfig {
            accelerators,
            same_process: false,
            process_memory,
            ..pmd_host::soft::DeviceConfig::default()
        };
        Device::open(config).unwrap()
    };
    let (one, two) = (packets(false), packets(false));
    let here = Memory::on_device(&one, &scene.accelerator, 64, all());
    let inbox = Memory::heap(&two, 64, all());
    (scene.one, scene.two) = (one, two);
    (scene.a, scene.b) = connect(&scene.one, &scene.two);
    let operation = [here.sge(0, 64)];
    scene.fails(write(inbox.remote(0), &operation), Syndrome::RemoteOperation, DeviceFault::HostOutOfReach);
}

/// Memory that its runtime does not know as it should.
#[derive(Debug)]
struct Odd {
    memory: Box<dyn DeviceMemory>,
    error: AcceleratorError,
}

// SAFETY: the description of memory that the value keeps.
#[expect(unsafe_code, reason = "describes memory")]
unsafe impl RegionSource for Odd {
    fn description(&self) -> RegionDescription {
        self.memory.description()
    }
}

impl DeviceMemory for Odd {
    fn accelerator(&self) -> Arc<dyn Accelerator> {
        self.memory.accelerator()
    }

    fn share(&self) -> Result<ShareHandle, AcceleratorError> {
        Err(self.error.clone())
    }
}

#[test]
fn what_a_runtime_does_not_share_is_refused_with_its_reason_and_leaves_nothing() {
    let mut scene = Scene::new();
    let (kind, address) = (AcceleratorKind::Cpu, 0x1000);
    let unsupported = AcceleratorError::Unsupported { kind, what: "share memory", why: "a test says so" };
    let before = scene.accelerator.allocations();
    // Freed, of another library, managed, of another device, without a handle.
    for error in [
        AcceleratorError::Gone { kind },
        AcceleratorError::NotDeviceMemory { kind, address },
        AcceleratorError::Managed { address },
        AcceleratorError::WrongDevice { address, found: 1, wanted: 0 },
        unsupported.clone(),
    ] {
        let memory = scene.accelerator.allocate(64).unwrap();
        let odd = Arc::new(Odd { memory, error: error.clone() });
        let refused = scene.one.register_device(odd, all(), ProtectionDomain::default()).unwrap_err();
        assert!(matches!(&refused, RegisterError::Accelerator(told) if *told == error), "{refused}");
        assert_eq!(scene.accelerator.allocations(), before, "{error}");
    }
    // Peers do not come into it: then it needs no handle.
    let odd = Arc::new(Odd { memory: scene.accelerator.allocate(64).unwrap(), error: unsupported });
    let local = scene.one.register_device(odd, Access::LOCAL_WRITE, ProtectionDomain::default()).unwrap();
    let remote = scene.there.remote(0);
    scene.done(read(remote, &[local.sge(0, 64).unwrap()]), CompletionKind::Read);
    drop(local);
    assert_eq!(scene.accelerator.allocations(), before + 1, "the peer's memory is open here");
    // A device that is full.
    let small = CpuAccelerator::new(pmd_host::accelerator::CpuOptions { capacity: 64, ..SHIELDED });
    assert_eq!(small.allocate(65).unwrap_err(), AcceleratorError::OutOfMemory { kind, wanted: 65 });
}

/// What the other process runs.
#[test]
fn peer_process() {
    run();
}

/// Memory that another process copies from.
fn shared_with_a_process() -> (CpuAccelerator, Device, Side, Peer, Memory) {
    let accelerator = CpuAccelerator::new(SHIELDED);
    let device = accelerated(&accelerator, false);
    let mut side = Side::new(&device);
    let memory = Memory::on_device(&device, &accelerator, 4096, all());
    let peer = Peer::start(Path::Device, &mut side);
    (accelerator, device, side, peer, memory)
}

fn read_by(peer: &mut Peer, side: &mut Side, memory: &Memory) {
    let (address, key) = (memory.region.address(), memory.region.remote_key().0);
    peer.ask(side, &format!("read {address} {key} 4096"));
}

#[test]
fn deregistration_waits_for_copies_of_a_process_and_a_kill_ends_them() {
    let (accelerator, _device, mut side, mut peer, memory) = shared_with_a_process();
    peer.ask(&mut side, "hold");
    read_by(&mut peer, &mut side, &memory);
    peer.ask_until(&mut side, "held", "1");
    let revoker = thread::spawn(move || drop(memory));
    thread::sleep(Duration::from_millis(30));
    assert!(!revoker.is_finished(), "deregistered while another process copies");
    assert_eq!(accelerator.allocations(), 1);
    peer.kill();
    revoker.join().unwrap();
    assert_eq!(accelerator.allocations(), 0, "nobody is left to close it");
}

#[test]
fn memory_stays_allocated_until_a_process_has_closed_it() {
    let (accelerator, device, mut side, mut peer, memory) = shared_with_a_process();
    read_by(&mut peer, &mut side, &memory);
    peer.ask_until(&mut side, "received", "1:4096 ");
    peer.ask_until(&mut side, "allocations", "2");
    peer.stop();
    // No copy is in flight: that the process does not close it holds up the freeing, and nothing else.
    drop(memory);
    assert!(!device.is_withdrawn());
    assert_eq!(accelerator.allocations(), 1, "freed while another process has it open");
    peer.go_on();
    let start = Instant::now();
    while !device.is_withdrawn() {
        side.poll();
        assert!(start.elapsed() < DEADLINE, "the process does not close it");
    }
    assert_eq!(accelerator.allocations(), 0);
    peer.ask_until(&mut side, "allocations", "1");
}

#[test]
fn a_process_that_is_killed_owes_no_answer() {
    let (accelerator, device, mut side, mut peer, memory) = shared_with_a_process();
    read_by(&mut peer, &mut side, &memory);
    peer.ask_until(&mut side, "received", "1:4096 ");
    peer.stop();
    drop(memory);
    assert_eq!((device.is_withdrawn(), accelerator.allocations()), (false, 1));
    peer.kill();
    let start = Instant::now();
    while !device.is_withdrawn() {
        side.poll();
        assert!(start.elapsed() < DEADLINE, "the memory stays for a process that is gone");
    }
    assert_eq!(accelerator.allocations(), 0);
}

#[test]
fn page_locked_arenas_need_no_piece_in_between() {
    const LENGTH: usize = 3 << 20;
    let accelerator = CpuAccelerator::new(SHIELDED);
    // The mover has no pinned memory of its own.
    accelerator.limit_pinned(0);
    let open = || {
        let accelerators = Accelerators::new(vec![Arc::new(accelerator.clone())]);
        let config =
            DeviceConfig { accelerators, pin_arenas: true, same_process: false, ..DeviceConfig::default() };
        Device::open(config).unwrap()
    };
    let (one, two) = (open(), open());
    let (mut a, mut b) = connect(&one, &two);
    let memories = |device: &Device| {
        let arena = Memory::arena(device, LENGTH, all());
        (Memory::on_device(device, &accelerator, LENGTH, all()), arena)
    };
    let ((near, near_arena), (far, far_arena)) = (memories(&one), memories(&two));
    let mut done = |operation: Operation<'_>, kind| {
        a.post(5, operation);
        succeeded(&drive(&mut a, &mut b, (1, 0)).0[0], 5, kind);
    };
    let bytes = pattern(9, LENGTH);
    near_arena.write(0, &bytes);
    far.fill(1);
    done(write(far.remote(7), &[near_arena.sge(3, LENGTH - 9)]), CompletionKind::Write);
    assert!(far.read(7, LENGTH - 9) == bytes[3..LENGTH - 6]);
    near.write(0, &bytes);
    done(write(far_arena.remote(0), &[near.sge(0, LENGTH)]), CompletionKind::Write);
    assert!(far_arena.read(0, LENGTH) == bytes);
    near.fill(2);
    let local = [near.sge(0, LENGTH)];
    done(Operation::Read { remote: far_arena.remote(0), local: &local }, CompletionKind::Read);
    assert!(near.read(0, LENGTH) == bytes);
    near_arena.fill(0);
    let local = [near_arena.sge(0, 4096)];
    done(Operation::Read { remote: far.remote(7), local: &local }, CompletionKind::Read);
    assert!(near_arena.read(0, 4096) == bytes[3..4099]);
    // A READ behind a WRITE finds what was written, although no piece holds it.
    near.write(0, &pattern(10, 4096));
    a.post(6, write(far_arena.remote(0), &[near.sge(0, 4096)]));
    let local = [near.sge(8192, 4096)];
    a.post(7, Operation::Read { remote: far_arena.remote(0), local: &local });
    assert!(drive(&mut a, &mut b, (2, 0)).0.iter().all(|completion| completion.result.is_ok()));
    assert!(near.read(8192, 4096) == pattern(10, 4096));
    // What lies on the heap does.
    let heap = Memory::heap(&one, 4096, all());
    a.post(8, write(far.remote(0), &[heap.sge(0, 4096)]));
    failed(&drive(&mut a, &mut b, (1, 0)).0[0], 8, Syndrome::LocalQueuePairOperation);
}
