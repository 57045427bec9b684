//! What the tests of the soft HCA share: sides with memory, connected in pairs, driven by one thread.
#![allow(dead_code, unreachable_pub, unsafe_code)] // each test file uses a part; transfers need registered memory

pub mod child;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use pmd_core::{
    accelerator::{Accelerator, CopyDirection, CopyRange, DeviceMemory, Flag, Stream},
    memory::{Access, RemoteAddress, Sge},
    provider::{
        Completion, CompletionKind, Operation, Payload, Provider, QueuePairHandle, ReceiveRequest, SendFlags,
        SendRequest,
    },
    wire::Syndrome,
};
use pmd_host::{
    accelerator::{CpuAccelerator, CpuOptions, wait_for_value},
    backend::{Backend, ConnectOptions, QueuePairConfig},
    region::Region,
    soft::{Accelerators, Arena, ArenaOptions, Device, DeviceConfig, ProtectionDomain, SoftBackend, Tuning},
};

/// Longest that any wait may take.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How bytes get from one side to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    SameProcess,
    Arena,
    ProcessMemory,
    Packets,
    /// The child's second memory is an accelerator's.
    Device,
}

pub const PATHS: [Path; 4] = [Path::SameProcess, Path::Arena, Path::ProcessMemory, Path::Packets];

impl Path {
    pub fn device(self) -> Device {
        if self == Path::Device {
            return accelerated(&CpuAccelerator::new(SHIELDED), false);
        }
        let config = DeviceConfig {
            same_process: self == Path::SameProcess,
            mapping: self == Path::Arena,
            process_memory: self == Path::ProcessMemory,
            ..DeviceConfig::default()
        };
        Device::open(config).unwrap()
    }
}

/// Only streams touch its memory.
pub const SHIELDED: CpuOptions = CpuOptions { ordinal: 0, shielded: true, capacity: u64::MAX };

/// A device that drives this accelerator.
pub fn accelerated(accelerator: &CpuAccelerator, same_process: bool) -> Device {
    let accelerators = Accelerators::new(vec![Arc::new(accelerator.clone())]);
    Device::open(DeviceConfig { accelerators, same_process, ..DeviceConfig::default() }).unwrap()
}

/// Registered memory, of an arena, of the heap or of an accelerator.
pub struct Memory {
    pub region: Region,
    base: *mut u8,
    length: usize,
    _arena: Option<Arena>,
    _heap: Option<Vec<u64>>,
    /// What copies to and from an accelerator's memory.
    copies: Option<Copies>,
}

/// A stream, and what it counts its copies in.
struct Copies(Arc<dyn Stream>, Arc<dyn Flag>);

// SAFETY: the pointer is to memory that the value owns; a test hands it to one thread.
unsafe impl Send for Memory {}

impl Memory {
    pub fn arena(device: &Device, length: usize, access: Access) -> Self {
        let arena = device.allocate(length, ArenaOptions::default()).unwrap();
        let region = device.register_source(&arena, access, ProtectionDomain::default()).unwrap();
        Self { region, base: arena.as_ptr(), length, _arena: Some(arena), _heap: None, copies: None }
    }

    pub fn heap(device: &Device, length: usize, access: Access) -> Self {
        let mut heap = vec![0u64; length.div_ceil(8)];
        let base = heap.as_mut_ptr().cast::<u8>();
        // SAFETY: the vector lives as long as the region and is reached by pointer only.
        let region =
            unsafe { device.register(base as u64, length as u64, access, ProtectionDomain::default()) };
        Self { region: region.unwrap(), base, length, _arena: None, _heap: Some(heap), copies: None }
    }

    pub fn on_device(device: &Device, accelerator: &CpuAccelerator, length: usize, access: Access) -> Self {
        let memory: Arc<dyn DeviceMemory> = accelerator.allocate(length as u64).unwrap().into();
        let region = device.register_device(memory, access, ProtectionDomain::default()).unwrap();
        let copies = Copies(accelerator.open_stream().unwrap(), accelerator.flag().unwrap());
        let base = region.address() as *mut u8;
        Self { region, base, length, _arena: None, _heap: None, copies: Some(copies) }
    }

    pub fn of(path: Path, device: &Device, length: usize) -> Self {
        match path {
            Path::Arena => Self::arena(device, length, all()),
            _ => Self::heap(device, length, all()),
        }
    }

    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.length);
        if let Some(copies) = &self.copies {
            let to = self.region.address() + offset as u64;
            return copies.copy((bytes.as_ptr() as u64, to, bytes.len()), CopyDirection::HostToDevice);
        }
        // SAFETY: inside of the memory, which no transfer touches while a test prepares it.
        unsafe { self.base.add(offset).copy_from(bytes.as_ptr(), bytes.len()) }
    }

    pub fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.length);
        if let Some(copies) = &self.copies {
            let (mut bytes, from) = (vec![0; length], self.region.address() + offset as u64);
            copies.copy((from, bytes.as_mut_ptr() as u64, length), CopyDirection::DeviceToHost);
            return bytes;
        }
        // SAFETY: inside of the memory; what a transfer may change meanwhile is copied as it is.
        unsafe { std::slice::from_raw_parts(self.base.add(offset), length).to_vec() }
    }

    pub fn read_u64(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.read(offset, 8).try_into().unwrap())
    }

    pub fn fill(&self, byte: u8) {
        self.write(0, &vec![byte; self.length]);
    }

    pub fn sge(&self, offset: usize, length: usize) -> Sge {
        self.region.sge(offset as u64, length as u32).unwrap()
    }

    pub fn remote(&self, offset: usize) -> RemoteAddress {
        self.region.remote_address(offset as u64).unwrap()
    }
}

impl Copies {
    /// Copies, and waits for it by a flag: an atomic of this code hands the bytes over. What an event is told under its mutex
    /// the thread sanitiser does not see where both sides meet there, and then it looks into each byte that is read here.
    fn copy(&self, (from, to, length): (u64, u64, usize), direction: CopyDirection) {
        let Self(stream, flag) = self;
        let range = CopyRange { from, to, length: length as u64, direction };
        let next = flag.load() + 1;
        // SAFETY: the caller keeps both sides until this returns, which it does when the copy is done.
        unsafe { stream.copy(&[range]) }.unwrap();
        stream.signal(flag, next).unwrap();
        assert!(wait_for_value(&**flag, next, Some(Instant::now() + DEADLINE)), "the stream failed or hangs");
    }
}

/// Every right.
pub fn all() -> Access {
    Access::all()
}

/// Bytes that differ from place to place and from seed to seed.
pub fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

/// One back end with a queue pair.
pub struct Side {
    pub backend: SoftBackend,
    pub queue_pair: QueuePairHandle,
    /// Completions that were polled and not asked for yet.
    pub polled: Vec<Completion>,
}

impl Side {
    pub fn new(device: &Device) -> Self {
        Self::with(device, Tuning::default(), &QueuePairConfig::default())
    }

    pub fn with(device: &Device, tuning: Tuning, config: &QueuePairConfig) -> Self {
        let mut backend = SoftBackend::new(device, ProtectionDomain::default(), tuning).unwrap();
        let queue_pair = backend.create_queue_pair(config).unwrap();
        Self { backend, queue_pair, polled: Vec::new() }
    }

    pub fn connect(&mut self, other: &Side, options: &ConnectOptions) {
        let remote = other.backend.address(other.queue_pair).unwrap();
        self.backend.connect(self.queue_pair, &remote, options).unwrap();
    }

    pub fn post(&mut self, id: u64, operation: Operation<'_>) {
        self.post_flagged(id, operation, SendFlags::SIGNALED);
    }

    pub fn post_flagged(&mut self, id: u64, operation: Operation<'_>, flags: SendFlags) {
        self.backend.post_send(self.queue_pair, &SendRequest { id, operation, flags }).unwrap();
        self.backend.ring_send(self.queue_pair);
    }

    pub fn receive(&mut self, id: u64, scatter: &[Sge]) {
        self.backend.post_receive(self.queue_pair, &ReceiveRequest { id, scatter }).unwrap();
        self.backend.ring_receive(self.queue_pair);
    }

    pub fn poll(&mut self) {
        let mut completions = [Completion::EMPTY; 32];
        let count = self.backend.poll(&mut completions).unwrap();
        self.polled.extend_from_slice(&completions[..count]);
    }
}

/// Two connected sides on devices of their own.
pub fn connected(path: Path) -> (Side, Side, Device, Device) {
    connected_with(path, Tuning::default(), &QueuePairConfig::default(), &ConnectOptions::default())
}

pub fn connected_with(
    path: Path,
    tuning: Tuning,
    config: &QueuePairConfig,
    options: &ConnectOptions,
) -> (Side, Side, Device, Device) {
    let (one, two) = (path.device(), path.device());
    let (mut a, mut b) = (Side::with(&one, tuning, config), Side::with(&two, tuning, config));
    a.connect(&b, options);
    b.connect(&a, options);
    (a, b, one, two)
}

/// Polls both until each has given the number of completions, and takes them.
pub fn drive(a: &mut Side, b: &mut Side, wanted: (usize, usize)) -> (Vec<Completion>, Vec<Completion>) {
    let start = Instant::now();
    while a.polled.len() < wanted.0 || b.polled.len() < wanted.1 {
        a.poll();
        b.poll();
        assert!(
            start.elapsed() < DEADLINE,
            "waited for {wanted:?} completions, got {:?} and {:?}",
            a.polled,
            b.polled
        );
    }
    (a.polled.drain(..wanted.0).collect(), b.polled.drain(..wanted.1).collect())
}

/// Polls both some times more: nothing else may come.
pub fn quiet(a: &mut Side, b: &mut Side) {
    for _ in 0..300 {
        a.poll();
        b.poll();
    }
    assert_eq!((a.polled.as_slice(), b.polled.as_slice()), (&[][..], &[][..]));
}

pub fn write(remote: RemoteAddress, local: &[Sge]) -> Operation<'_> {
    Operation::Write { remote, local: Payload::Gather(local) }
}

pub fn read(remote: RemoteAddress, local: &[Sge]) -> Operation<'_> {
    Operation::Read { remote, local }
}

pub fn send(local: &[Sge]) -> Operation<'_> {
    Operation::Send { local: Payload::Gather(local), immediate: None }
}

pub fn succeeded(completion: &Completion, id: u64, kind: CompletionKind) {
    assert_eq!((completion.id, completion.result), (id, Ok(kind)));
}

pub fn failed(completion: &Completion, id: u64, syndrome: Syndrome) {
    let found = completion.result.map_err(|error| error.syndrome);
    assert_eq!((completion.id, found), (id, Err(syndrome)));
}
