//! Staging over a soft HCA that drives no accelerator: to its engine device memory is as far as to a NIC.
#![allow(unsafe_code)] // registers and copies memory of the tests

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pmd_core::{
    accelerator::{Accelerator, CopyDirection, CopyRange, DeviceMemory},
    memory::{Access, LocalKey, RemoteAddress, Sge},
    provider::{
        Completion, CompletionKind, Operation, Payload, PostError, Provider, QueuePairHandle, ReceiveRequest,
        SendFlags, SendRequest,
    },
    queue::QueuePairState,
    wire::Syndrome,
};

use super::{DeviceMemories, RegisterPinned, StagedBackend};
use crate::{
    accelerator::{CpuAccelerator, CpuOptions, wait_for},
    backend::{Backend, ConnectOptions, QueuePairConfig},
    region::Region,
    soft::{self, ProtectionDomain, SoftBackend, Tuning},
    transfer::DeviceFault,
};

const DEADLINE: Duration = Duration::from_secs(20);
const DOMAIN: ProtectionDomain = ProtectionDomain(0);

/// Registers slots with the soft HCA.
#[derive(Debug)]
struct SoftPins(soft::Device);

impl RegisterPinned for SoftPins {
    fn register(&self, memory: &Arc<dyn DeviceMemory>) -> Option<Region> {
        self.0.register_device(memory.clone(), Access::LOCAL_WRITE, DOMAIN).ok()
    }
}

/// Two back ends, the first of which stages memory of an accelerator.
struct Scene {
    accelerator: CpuAccelerator,
    memories: Arc<DeviceMemories>,
    device: soft::Device,
    a: StagedBackend<SoftBackend>,
    b: SoftBackend,
    pair: (QueuePairHandle, QueuePairHandle),
    done: Vec<Completion>,
    received: Vec<Completion>,
    /// Memory of the second side, every right.
    there: Heap,
}

/// Registered memory of the host.
struct Heap {
    region: Region,
    bytes: Vec<u8>,
}

impl Heap {
    fn new(device: &soft::Device, length: usize, access: Access) -> Self {
        let mut bytes = vec![0_u8; length];
        // SAFETY: the vector lives as long as the region; transfers and tests take turns with it.
        let region = unsafe { device.register(bytes.as_mut_ptr() as u64, length as u64, access, DOMAIN) };
        Self { region: region.unwrap(), bytes }
    }

    fn remote(&self, offset: u64) -> RemoteAddress {
        self.region.remote_address(offset).unwrap()
    }

    fn sge(&self, offset: u64, length: u32) -> Sge {
        self.region.sge(offset, length).unwrap()
    }

    /// What transfers have made of it.
    fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        // SAFETY: inside of the vector; nothing else writes while a test reads.
        unsafe { std::slice::from_raw_parts(self.bytes.as_ptr().add(offset), length).to_vec() }
    }

    fn write(&self, bytes: &[u8]) {
        // SAFETY: as above.
        unsafe { self.bytes.as_ptr().cast_mut().copy_from(bytes.as_ptr(), bytes.len()) };
    }
}

/// Staged memory: dropping it deregisters.
struct Staged {
    memories: Arc<DeviceMemories>,
    accelerator: CpuAccelerator,
    address: u64,
    key: u32,
    _token: Heap,
}

impl Drop for Staged {
    fn drop(&mut self) {
        self.memories.remove_staged(self.key);
    }
}

impl Staged {
    fn sge(&self, offset: u64, length: u32) -> Sge {
        Sge { address: self.address + offset, length, key: LocalKey(self.key) }
    }

    fn copy(&self, from: u64, to: u64, length: usize, direction: CopyDirection) {
        let stream = self.accelerator.open_stream().unwrap();
        // SAFETY: both sides live until the copy is done.
        unsafe { stream.copy(&[CopyRange { from, to, length: length as u64, direction }]) }.unwrap();
        assert_eq!(wait_for(&*stream.record().unwrap(), Some(Instant::now() + DEADLINE)), Ok(true));
    }

    fn write(&self, offset: u64, bytes: &[u8]) {
        let to = self.address + offset;
        self.copy(bytes.as_ptr() as u64, to, bytes.len(), CopyDirection::HostToDevice);
    }

    fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0_u8; length];
        let to = bytes.as_mut_ptr() as u64;
        self.copy(self.address + offset, to, length, CopyDirection::DeviceToHost);
        bytes
    }
}

const ROOM: usize = 6 << 20;

impl Scene {
    fn new() -> Self {
        let accelerator = CpuAccelerator::new(CpuOptions { shielded: true, ..CpuOptions::default() });
        let memories = Arc::<DeviceMemories>::default();
        let open = || soft::Device::open(soft::DeviceConfig::default()).unwrap();
        let (device, other) = (open(), open());
        let backend = |device: &soft::Device| SoftBackend::new(device, DOMAIN, Tuning::default()).unwrap();
        let pins = Box::new(SoftPins(device.clone()));
        let a = StagedBackend::new(backend(&device), memories.clone(), pins);
        let there = Heap::new(&other, ROOM, Access::all());
        let (done, received) = (Vec::new(), Vec::new());
        let (b, pair) = (backend(&other), (QueuePairHandle(0), QueuePairHandle(0)));
        let mut scene = Self { accelerator, memories, device, a, b, pair, done, received, there };
        scene.pair = scene.connect();
        scene
    }

    /// Two new queue pairs.
    fn connect(&mut self) -> (QueuePairHandle, QueuePairHandle) {
        let config = QueuePairConfig::default();
        let ours = self.a.create_queue_pair(&config).unwrap();
        let theirs = self.b.create_queue_pair(&config).unwrap();
        let (from, to) = (self.a.address(ours).unwrap(), self.b.address(theirs).unwrap());
        self.a.connect(ours, &to, &ConnectOptions::default()).unwrap();
        self.b.connect(theirs, &from, &ConnectOptions::default()).unwrap();
        (ours, theirs)
    }

    fn stage(&self, length: usize) -> Staged {
        let token = Heap::new(&self.device, 4096, Access::empty());
        let memory = Arc::<dyn DeviceMemory>::from(self.accelerator.allocate(length as u64).unwrap());
        let (address, key) = (memory.description().address, token.region.local_key().0);
        self.memories.add_staged(key, memory, Access::LOCAL_WRITE);
        let (memories, accelerator) = (self.memories.clone(), self.accelerator.clone());
        Staged { memories, accelerator, address, key, _token: token }
    }

    fn try_post(&mut self, id: u64, operation: Operation<'_>, flags: SendFlags) -> Result<(), PostError> {
        self.a.post_send(self.pair.0, &SendRequest { id, operation, flags })?;
        self.a.ring_send(self.pair.0);
        Ok(())
    }

    fn post(&mut self, id: u64, operation: Operation<'_>) {
        self.try_post(id, operation, SendFlags::SIGNALED).unwrap();
    }

    fn receive(&mut self, id: u64, scatter: &[Sge]) {
        self.b.post_receive(self.pair.1, &ReceiveRequest { id, scatter }).unwrap();
        self.b.ring_receive(self.pair.1);
    }

    fn poll(&mut self) {
        let mut completions = [Completion::EMPTY; 8];
        let count = self.a.poll(&mut completions).unwrap();
        self.done.extend_from_slice(&completions[..count]);
        let count = self.b.poll(&mut completions).unwrap();
        self.received.extend_from_slice(&completions[..count]);
    }

    /// Polls until this many sends have completed, and takes them.
    fn finish(&mut self, count: usize) -> Vec<Completion> {
        let start = Instant::now();
        while self.done.len() < count {
            self.poll();
            assert!(start.elapsed() < DEADLINE, "{:?}", self.done);
        }
        self.done.drain(..count).collect()
    }

    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            self.poll();
            assert!(start.elapsed() < DEADLINE, "{what}");
        }
    }

    fn fails(&mut self, operation: Operation<'_>, syndrome: Syndrome, fault: DeviceFault) {
        self.post(78, operation);
        let completion = self.finish(1)[0];
        assert_eq!((completion.id, reason(&completion)), (78, Some(syndrome)));
        assert_eq!(self.a.device_fault(&completion), Some(fault));
        assert_eq!(self.a.state(self.pair.0), QueuePairState::Error);
        self.pair = self.connect();
    }
}

fn reason(completion: &Completion) -> Option<Syndrome> {
    completion.result.err().map(|error| error.syndrome)
}

fn write(remote: RemoteAddress, local: &[Sge]) -> Operation<'_> {
    Operation::Write { remote, local: Payload::Gather(local) }
}

fn pattern(seed: u64, length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(seed * 2 + 3) >> 3) as u8 ^ seed as u8).collect()
}

#[test]
fn bytes_of_every_size_go_and_come() {
    let mut scene = Scene::new();
    let staged = scene.stage(ROOM);
    let piece = 256 << 10;
    for (seed, size) in (0..).zip([1, 8, 4096, piece - 1, piece, piece + 1, (5 << 20) + 3]) {
        let bytes = pattern(seed, size);
        staged.write(3, &bytes);
        let remote = scene.there.remote(5);
        scene.post(1, write(remote, &[staged.sge(3, size as u32)]));
        assert_eq!(scene.finish(1)[0].result, Ok(CompletionKind::Write));
        assert!(scene.there.read(5, size) == bytes, "{size} bytes");
        staged.write(0, &vec![0xdd; size + 16]);
        scene.post(2, Operation::Read { remote, local: &[staged.sge(1, size as u32)] });
        let read = scene.finish(1)[0];
        assert_eq!((read.result, read.byte_length as usize), (Ok(CompletionKind::Read), size));
        assert!(staged.read(1, size) == bytes, "{size} bytes back");
        assert_eq!(staged.read(1 + size as u64, 9), [0xdd; 9]);
    }
}

#[test]
fn requests_of_all_kinds_keep_their_order() {
    let mut scene = Scene::new();
    let (staged, host) = (scene.stage(1 << 20), Heap::new(&scene.device, 4096, Access::all()));
    let inbox = [scene.there.sge(5 << 20, 4096), scene.there.sge((5 << 20) + 4096, 4096)];
    let immediate = Some(7);
    for round in 0..20 {
        let bytes = pattern(round, 600_000);
        staged.write(0, &bytes);
        host.write(&bytes[..4096]);
        scene.receive(100, &inbox[..1]);
        scene.receive(101, &[]);
        scene.receive(102, &inbox[1..]);
        let at = |offset| scene.there.remote(offset);
        let [first, second, third] = [at(0), at(1000), at(2000)];
        // Gathered from both; one that is not signalled; a message; one that tells; a plain one; a staged message; a READ.
        let both = [staged.sge(0, 300_000), host.sge(0, 4096), staged.sge(300_000, 300_000)];
        scene.try_post(1, write(first, &both), SendFlags::empty()).unwrap();
        scene.post(2, Operation::Send { local: Payload::Inline(&bytes[..64]), immediate });
        let local = Payload::Gather(&both[..1]);
        scene.post(3, Operation::WriteImmediate { remote: second, local, immediate: round as u32 });
        scene.post(4, write(third, &[host.sge(0, 8)]));
        scene.post(5, Operation::Send { local: Payload::Gather(&[staged.sge(9, 2000)]), immediate: None });
        scene.post(6, Operation::Read { remote: second, local: &[staged.sge(700_000, 4096)] });
        scene.post(7, Operation::Nop);
        let (remote, result) = (scene.there.remote(4 << 20), host.sge(2048, 8));
        scene.post(8, Operation::FetchAdd { remote, local: result, add: 1 });
        scene.post(
            9,
            Operation::CompareSwap { remote, local: result, compare: 2 * round + 1, swap: 2 * round + 2 },
        );
        let done = scene.finish(8);
        let order: Vec<u64> = done.iter().map(|completion| completion.id).collect();
        assert_eq!(order, [2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!((done[6].byte_length, done[7].result), (8, Ok(CompletionKind::CompareSwap)));
        assert_eq!(scene.there.read(4 << 20, 8), (2 * round + 2).to_ne_bytes());
        assert_eq!(host.read(2048, 8), (2 * round + 1).to_ne_bytes());
        scene.until("all is received", |scene| scene.received.len() == 3);
        let told: Vec<_> = scene.received.drain(..).map(|one| (one.id, one.immediate)).collect();
        assert_eq!(told, [(100, immediate), (101, Some(round as u32)), (102, None)]);
        assert_eq!(scene.there.read(5 << 20, 64), bytes[..64]);
        assert_eq!(scene.there.read((5 << 20) + 4096, 2000), bytes[9..2009]);
        let mut wanted = [&bytes[..300_000], &bytes[..4096], &bytes[300_000..]].concat();
        wanted[1000..301_000].copy_from_slice(&bytes[..300_000]);
        wanted[2000..2008].copy_from_slice(&bytes[..8]);
        assert!(scene.there.read(0, wanted.len()) == wanted, "round {round}");
        assert!(staged.read(700_000, 4096) == wanted[1000..5096]);
    }
}

#[test]
fn a_fenced_request_begins_when_reads_have_landed() {
    let mut scene = Scene::new();
    let staged = scene.stage(4096);
    let bytes = pattern(3, 4096);
    scene.there.write(&bytes);
    let (from, to) = (scene.there.remote(0), scene.there.remote(8192));
    scene.post(1, Operation::Read { remote: from, local: &[staged.sge(0, 4096)] });
    scene.try_post(2, write(to, &[staged.sge(0, 4096)]), SendFlags::FENCE | SendFlags::SIGNALED).unwrap();
    scene.finish(2);
    assert!(scene.there.read(8192, 4096) == bytes);
}

#[test]
fn a_queue_pair_that_fails_is_quiet_when_it_has_flushed() {
    let mut scene = Scene::new();
    let staged = scene.stage(1 << 20);
    staged.write(0, &vec![1; 1 << 20]);
    let remote = scene.there.remote(0);
    let hold = scene.accelerator.hold_copies();
    scene.post(1, write(remote, &[staged.sge(0, 1 << 20)]));
    scene.try_post(2, Operation::Nop, SendFlags::empty()).unwrap();
    scene.until("a copy runs", |scene| scene.accelerator.held_copies() == 1);
    scene.a.fail(scene.pair.0).unwrap();
    let refused = scene.try_post(3, write(remote, &[staged.sge(0, 8)]), SendFlags::SIGNALED);
    assert_eq!(refused, Err(PostError::WrongState { state: QueuePairState::Error }));
    for _ in 0..200 {
        scene.poll();
    }
    assert_eq!(scene.done, [], "flushed while a stream copies for it");
    drop(hold);
    let flushed: Vec<_> = scene.finish(2).iter().map(|one| (one.id, reason(one))).collect();
    assert_eq!(flushed, [(1, Some(Syndrome::Flushed)), (2, Some(Syndrome::Flushed))]);
    assert!(scene.there.read(0, 1 << 20).iter().all(|byte| *byte == 0), "written after it failed");
    // Every slot has come back.
    scene.pair = scene.connect();
    for id in 0..40 {
        scene.post(id, write(scene.there.remote(0), &[staged.sge(0, 1 << 20)]));
    }
    assert!(scene.finish(40).iter().all(|one| one.result.is_ok()));
}

#[test]
fn a_reset_waits_for_streams_and_gives_no_completion() {
    let mut scene = Scene::new();
    let staged = scene.stage(4096);
    let hold = scene.accelerator.hold_copies();
    scene.post(1, write(scene.there.remote(0), &[staged.sge(0, 4096)]));
    scene.until("a copy runs", |scene| scene.accelerator.held_copies() == 1);
    let resetting = thread::spawn(move || {
        scene.a.reset(scene.pair.0).unwrap();
        scene
    });
    thread::sleep(Duration::from_millis(30));
    assert!(!resetting.is_finished(), "reset while a stream copies");
    drop(hold);
    let mut scene = resetting.join().unwrap();
    for _ in 0..200 {
        scene.poll();
    }
    assert_eq!(scene.done, []);
    scene.a.destroy_queue_pair(scene.pair.0).unwrap();
}

#[test]
fn deregistration_waits_for_streams_and_later_requests_fail() {
    let mut scene = Scene::new();
    let staged = scene.stage(1 << 20);
    let remote = scene.there.remote(0);
    let (all, some) = ([staged.sge(0, 1 << 20)], [staged.sge(0, 64)]);
    let hold = scene.accelerator.hold_copies();
    scene.post(1, write(remote, &all));
    scene.until("a copy runs", |scene| scene.accelerator.held_copies() == 1);
    let revoker = thread::spawn(move || drop(staged));
    thread::sleep(Duration::from_millis(30));
    assert!(!revoker.is_finished(), "deregistered while a stream copies");
    drop(hold);
    revoker.join().unwrap();
    assert_eq!(scene.finish(1)[0].result, Ok(CompletionKind::Write));
    assert_eq!(scene.accelerator.allocations(), 0);
    // The key is nobody's: to the device below it never was that of these bytes.
    scene.post(2, write(remote, &some));
    assert_eq!(reason(&scene.finish(1)[0]), Some(Syndrome::LocalProtection));
}

#[test]
fn bytes_that_arrive_for_memory_that_was_taken_back_do_not_land() {
    let mut scene = Scene::new();
    let (busy, staged) = (scene.stage(64), scene.stage(1 << 20));
    let (busy_pair, remote) = (scene.connect(), scene.there.remote(0));
    let local = [staged.sge(0, 64)];
    scene.post(1, Operation::Read { remote, local: &local });
    // Nobody polls: the READ is done below, and has not landed.
    drop(staged);
    let completion = scene.finish(1)[0];
    assert_eq!(reason(&completion), Some(Syndrome::LocalProtection));
    assert_eq!(scene.a.device_fault(&completion), Some(DeviceFault::Deregistered));
    scene.pair = busy_pair;
    scene.post(2, write(remote, &[busy.sge(0, 64)]));
    assert_eq!(scene.finish(1)[0].result, Ok(CompletionKind::Write));
}

#[test]
fn a_stream_that_fails_takes_one_queue_pair_along() {
    let mut scene = Scene::new();
    let staged = scene.stage(1 << 20);
    let remote = scene.there.remote(0);
    let other = scene.connect();
    let local = [staged.sge(0, 1 << 20)];
    for operation in [write(remote, &local), Operation::Read { remote, local: &local }] {
        scene.accelerator.fail_copy(0);
        scene.fails(operation, Syndrome::LocalQueuePairOperation, DeviceFault::Stream);
    }
    scene.pair = other;
    scene.post(1, write(remote, &local));
    assert_eq!(scene.finish(1)[0].result, Ok(CompletionKind::Write));
}

#[test]
fn staging_shrinks_and_says_so_where_nothing_is_left() {
    let mut scene = Scene::new();
    let staged = scene.stage(ROOM);
    let (bytes, remote) = (pattern(9, 1 << 20), scene.there.remote(0));
    staged.write(0, &bytes);
    let local = [staged.sge(0, 1 << 20)];
    scene.accelerator.limit_pinned(0);
    scene.fails(write(remote, &local), Syndrome::LocalQueuePairOperation, DeviceFault::NoStaging);
    scene.accelerator.limit_pinned(300 << 10);
    scene.post(1, write(remote, &local));
    assert_eq!(scene.finish(1)[0].result, Ok(CompletionKind::Write));
    assert!(scene.there.read(0, 1 << 20) == bytes);
    // A message has to fit into one slot.
    scene.receive(1, &[scene.there.sge(0, 1 << 20)]);
    let message = Operation::Send { local: Payload::Gather(&local), immediate: None };
    scene.fails(message, Syndrome::LocalQueuePairOperation, DeviceFault::NoStaging);
}

#[test]
fn what_is_not_staged_is_refused() {
    let mut scene = Scene::new();
    let staged = scene.stage(4096);
    let scatter = [staged.sge(0, 64)];
    let request = ReceiveRequest { id: 1, scatter: &scatter };
    assert_eq!(scene.a.post_receive(scene.pair.0, &request), Err(PostError::NotStaged));
    let queue = scene.a.create_shared_receive_queue(4, 1).unwrap();
    assert_eq!(scene.a.post_shared_receive(queue, &request), Err(PostError::NotStaged));
    let (remote, local) = (scene.there.remote(0), staged.sge(0, 8));
    let atomic = Operation::FetchAdd { remote, local, add: 1 };
    assert_eq!(scene.try_post(1, atomic, SendFlags::SIGNALED), Err(PostError::NotStaged));
    let beyond = [staged.sge(4090, 7)];
    scene.post(1, write(remote, &beyond));
    assert_eq!(reason(&scene.finish(1)[0]), Some(Syndrome::LocalProtection));
    assert_eq!(scene.a.state(scene.pair.0), QueuePairState::Error);
    scene.pair = scene.connect();
    for id in 0..super::LINE as u64 {
        scene
            .a
            .post_send(
                scene.pair.0,
                &SendRequest { id, operation: write(remote, &scatter), flags: SendFlags::SIGNALED },
            )
            .unwrap();
    }
    let full = scene.try_post(1, write(remote, &scatter), SendFlags::SIGNALED);
    assert_eq!(full, Err(PostError::QueueFull { needed: 1, free: 0, capacity: super::LINE as u32 }));
    assert_eq!(scene.a.send_room(scene.pair.0), 0);
    scene.a.ring_send(scene.pair.0);
    assert_eq!(scene.finish(super::LINE).len(), super::LINE);
}

#[test]
fn what_a_nic_writes_is_flushed_before_anybody_is_told() {
    let mut scene = Scene::new();
    let host = Heap::new(&scene.device, 64, Access::all());
    let flushes = |scene: &Scene| scene.accelerator.counters().flushes;
    let accelerator: Arc<dyn Accelerator> = Arc::new(scene.accelerator.clone());
    let (remote, local) = (scene.there.remote(0), [host.sge(0, 64)]);
    let read = Operation::Read { remote, local: &local };
    scene.post(1, read);
    scene.finish(1);
    assert_eq!(flushes(&scene), 0, "nothing of the accelerator is registered");
    // Two regions of one accelerator are flushed once.
    scene.memories.add_direct(accelerator.clone());
    scene.memories.add_direct(accelerator.clone());
    scene.post(2, write(remote, &local));
    scene.finish(1);
    assert_eq!(flushes(&scene), 0, "a WRITE of this side's writes nothing here");
    scene.post(3, read);
    scene.finish(1);
    assert_eq!(flushes(&scene), 1);
    // A peer's WRITE, told by its immediate.
    scene.a.post_receive(scene.pair.0, &ReceiveRequest { id: 4, scatter: &[] }).unwrap();
    scene.a.ring_receive(scene.pair.0);
    let remote = host.remote(0);
    let local = Payload::Inline(b"told");
    let operation = Operation::WriteImmediate { remote, local, immediate: 5 };
    let request = SendRequest { id: 5, operation, flags: SendFlags::SIGNALED };
    scene.b.post_send(scene.pair.1, &request).unwrap();
    scene.b.ring_send(scene.pair.1);
    let told = scene.finish(1)[0];
    assert_eq!((told.id, told.immediate, flushes(&scene)), (4, Some(5), 2));
    // One that fails is no success.
    scene.accelerator.fail_flushes(true);
    scene.post(6, read);
    assert_eq!(reason(&scene.finish(1)[0]), Some(Syndrome::LocalQueuePairOperation));
    scene.memories.remove_direct(&accelerator);
    scene.memories.remove_direct(&accelerator);
    scene.post(7, read);
    assert_eq!(scene.finish(1)[0].result, Ok(CompletionKind::Read));
}
