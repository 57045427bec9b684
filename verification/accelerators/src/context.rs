//! What a case is given, and how it moves bytes and waits.
#![allow(unsafe_code)] // copies between plain addresses

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use pmd_core::accelerator::{
    Accelerator, AcceleratorError, CopyDirection, CopyRange, DeviceMemory, Event, Stream,
};
use pmd_host::{backend::Transport, endpoint::TransportChoice};

use crate::{bench::Name, fake, way::Way};

/// What a case is given.
#[derive(Clone)]
pub(crate) struct Context {
    /// What it runs on.
    pub(crate) name: Name,
    /// Device 0 of it.
    pub(crate) accelerator: Arc<dyn Accelerator>,
    /// Longest wait for anything that must happen. Whatever takes longer is a hang.
    pub(crate) patience: Duration,
    /// Over which way of this machine's NIC its peers are reached; over shared memory where there is none.
    pub(crate) nic: Option<Way>,
}

/// Why a case does not apply.
#[derive(Debug)]
pub(crate) struct Skip(pub(crate) String);

/// What a case comes to; it panics if it fails.
pub(crate) type Outcome = Result<(), Skip>;

impl Context {
    /// Device 1, for cases with two.
    pub(crate) fn second(&self) -> Result<Arc<dyn Accelerator>, Skip> {
        self.name.open(1).map_err(|reason| Skip(format!("no second device: {reason}")))
    }

    /// What is alive in the stand-in.
    pub(crate) fn counts(&self) -> Result<fake::Counts, Skip> {
        fake::counts(self.name).ok_or_else(|| Skip("not a stand-in, which would count".to_owned()))
    }

    /// What reaches peers.
    pub(crate) fn transport(&self) -> TransportChoice {
        self.nic.map_or(TransportChoice::Auto, |_| TransportChoice::Only(Transport::Mlx5))
    }

    pub(crate) fn allocate(&self, length: usize) -> Box<dyn DeviceMemory> {
        self.accelerator.allocate(length as u64).expect("allocating")
    }

    /// Pinned memory with these bytes.
    pub(crate) fn pinned(&self, bytes: &[u8]) -> Pinned {
        let memory = self.accelerator.allocate_pinned(bytes.len() as u64).expect("allocating pinned memory");
        let pinned = Pinned { memory, length: bytes.len() };
        pinned.write(bytes);
        pinned
    }

    pub(crate) fn stream(&self) -> Arc<dyn Stream> {
        self.accelerator.open_stream().expect("opening a stream")
    }

    /// New memory on the device with these bytes.
    pub(crate) fn uploaded(&self, bytes: &[u8]) -> Box<dyn DeviceMemory> {
        let memory = self.allocate(bytes.len());
        self.upload(&*memory, 0, bytes);
        memory
    }

    /// Writes device memory, and waits for it.
    pub(crate) fn upload(&self, memory: &dyn DeviceMemory, offset: usize, bytes: &[u8]) {
        let (stream, source) = (self.stream(), self.pinned(bytes));
        let to = address(memory) + offset as u64;
        copy(&*stream, to_device(source.address(), to, bytes.len()));
        self.finish(&*stream);
    }

    /// Reads device memory, after waiting for the copy.
    pub(crate) fn download(&self, memory: &dyn DeviceMemory, offset: usize, length: usize) -> Vec<u8> {
        let (stream, target) = (self.stream(), self.pinned(&vec![0; length]));
        let from = address(memory) + offset as u64;
        copy(&*stream, to_host(from, target.address(), length));
        self.finish(&*stream);
        target.read()
    }

    /// Waits until everything in a stream is done.
    pub(crate) fn finish(&self, stream: &dyn Stream) {
        self.wait(&*stream.record().expect("recording"));
    }

    /// Waits until an event is done.
    pub(crate) fn wait(&self, event: &dyn Event) {
        self.until("an event", || event.query().expect("an event's state"));
    }

    /// Waits until an event fails, and says how.
    pub(crate) fn wait_for_failure(&self, event: &dyn Event) -> AcceleratorError {
        let mut failure = None;
        self.until("an event to fail", || {
            failure = event.query().map(|done| assert!(!done, "done, where it should have failed")).err();
            failure.is_some()
        });
        failure.expect("it has failed")
    }

    /// Waits for something.
    pub(crate) fn until(&self, what: &str, mut ready: impl FnMut() -> bool) {
        let deadline = Instant::now() + self.patience;
        while !ready() {
            assert!(Instant::now() < deadline, "hanging: {what}");
            thread::sleep(Duration::from_micros(100));
        }
    }
}

/// Pinned memory of the host that a case reads and writes.
pub(crate) struct Pinned {
    memory: Box<dyn DeviceMemory>,
    length: usize,
}

impl Pinned {
    pub(crate) fn address(&self) -> u64 {
        address(&*self.memory)
    }

    pub(crate) fn memory(&self) -> &dyn DeviceMemory {
        &*self.memory
    }

    pub(crate) fn write(&self, bytes: &[u8]) {
        assert!(bytes.len() <= self.length);
        // SAFETY: memory of the host of so many bytes; the case has waited for what touches it.
        unsafe { (self.address() as *mut u8).copy_from(bytes.as_ptr(), bytes.len()) };
    }

    pub(crate) fn read(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        // SAFETY: as above.
        unsafe { (self.address() as *const u8).copy_to(bytes.as_mut_ptr(), self.length) };
        bytes
    }
}

/// First byte of memory.
pub(crate) fn address(memory: &dyn DeviceMemory) -> u64 {
    memory.description().address
}

pub(crate) fn to_device(from: u64, to: u64, length: usize) -> CopyRange {
    CopyRange { from, to, length: length as u64, direction: CopyDirection::HostToDevice }
}

pub(crate) fn to_host(from: u64, to: u64, length: usize) -> CopyRange {
    CopyRange { from, to, length: length as u64, direction: CopyDirection::DeviceToHost }
}

pub(crate) fn within(from: u64, to: u64, length: usize) -> CopyRange {
    CopyRange { from, to, length: length as u64, direction: CopyDirection::DeviceToDevice }
}

/// Puts a copy into a stream. The case keeps both ranges until it has waited.
pub(crate) fn copy(stream: &dyn Stream, range: CopyRange) {
    copies(stream, &[range]).expect("copying");
}

/// Puts copies into a stream. The case keeps their ranges until it has waited.
pub(crate) fn copies(stream: &dyn Stream, ranges: &[CopyRange]) -> Result<(), AcceleratorError> {
    // SAFETY: the case's promise, as said above.
    unsafe { stream.copy(ranges) }
}

/// Numbers by chance, the same ones for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `limit`, which is not zero.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        (self.draw() % limit as u64) as usize
    }

    /// The numbers below `count` in another order.
    pub(crate) fn permutation(&mut self, count: usize) -> Vec<u32> {
        let mut numbers: Vec<u32> = (0..count as u32).collect();
        for place in (1..count).rev() {
            numbers.swap(place, self.below(place + 1));
        }
        numbers
    }
}

/// Bytes that differ from place to place and from seed to seed.
pub(crate) fn pattern(seed: u64, length: usize) -> Vec<u8> {
    let mut random = Random::new(seed);
    std::iter::repeat_with(|| random.draw().to_le_bytes()).flatten().take(length).collect()
}
