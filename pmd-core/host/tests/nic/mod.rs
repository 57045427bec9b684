//! What the hardware tests of both NIC back ends share: a pair of queue pairs connected to each other on the device
//! named by `PMD_TEST_DEVICE`, and every operation over it.
//!
//! Without a device the tests fail: a skipped proof is no proof.
#![allow(unsafe_code)] // registers memory, which outlives its region here
#![allow(dead_code)] // each test binary uses a part

pub(crate) mod faults;
pub(crate) mod operations;
pub(crate) mod parking;
pub(crate) mod shared;
#[macro_use]
mod suite;

use std::{
    cell::UnsafeCell,
    time::{Duration, Instant},
};

use pmd_core::{
    memory::{Access, RemoteAddress, Sge},
    provider::{
        Completion, CompletionKind, Operation, Payload, QueuePairHandle, ReceiveRequest, SendFlags,
        SendRequest,
    },
    queue::QueuePairState,
};
use pmd_host::{
    backend::{Backend, ConnectOptions, QueuePairConfig},
    nic::{Device, NicOptions},
    region::Region,
};

/// Longest that any completion is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of each side's memory.
pub(crate) const BYTES: usize = 64 * 1024;

/// The device under test.
pub(crate) fn device() -> Device {
    let name = std::env::var("PMD_TEST_DEVICE").expect("PMD_TEST_DEVICE names the RDMA device to test on");
    let options = NicOptions { device: Some(name), ..NicOptions::default() };
    Device::open(&options).unwrap_or_else(|error| panic!("opening the device: {error}"))
}

/// Registered memory of one side, read and written while no transfer runs.
pub(crate) struct Memory {
    pub(crate) region: Region,
    bytes: Box<[UnsafeCell<u8>]>,
}

impl Memory {
    pub(crate) fn new(device: &Device) -> Self {
        let bytes: Box<[UnsafeCell<u8>]> = (0..BYTES + 64).map(|_| UnsafeCell::new(0)).collect();
        let address = (bytes.as_ptr().addr() as u64).next_multiple_of(64);
        let access = Access::READ_WRITE | Access::REMOTE_ATOMIC;
        // SAFETY: the memory lives as long as the region (fields drop in order) and is only reached through cells.
        let region = unsafe { device.register(address, BYTES as u64, access) };
        Self { region: region.unwrap_or_else(|error| panic!("registering: {error}")), bytes }
    }

    pub(crate) fn fill(&self, offset: usize, content: &[u8]) {
        assert!(offset + content.len() <= BYTES);
        // SAFETY: in range, and no transfer runs.
        unsafe { self.at(offset).copy_from(content.as_ptr(), content.len()) };
    }

    pub(crate) fn content(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= BYTES);
        // SAFETY: in range, and no transfer runs.
        unsafe { std::slice::from_raw_parts(self.at(offset), length) }.to_vec()
    }

    pub(crate) fn word(&self, offset: usize) -> u64 {
        u64::from_ne_bytes(self.content(offset, 8).try_into().expect("eight bytes"))
    }

    pub(crate) fn sge(&self, offset: usize, length: usize) -> Sge {
        self.region.sge(offset as u64, length as u32).expect("inside of the region")
    }

    pub(crate) fn remote(&self, offset: usize) -> RemoteAddress {
        self.region.remote_address(offset as u64).expect("inside of the region")
    }

    fn at(&self, offset: usize) -> *mut u8 {
        let base = self.bytes.as_ptr().cast_mut().cast::<u8>();
        let start = self.region.address() as usize - base.addr();
        base.wrapping_add(start + offset)
    }
}

/// Two queue pairs of one back end, connected to each other over the device's own loopback.
pub(crate) struct Pair<B> {
    pub(crate) backend: B,
    pub(crate) left: QueuePairHandle,
    pub(crate) right: QueuePairHandle,
    pub(crate) here: Memory,
    pub(crate) there: Memory,
}

/// Sizes in most tests.
pub(crate) fn config() -> QueuePairConfig {
    QueuePairConfig { send_slots: 64, receives: 16, sges: 4, inline_bytes: 64, shared_receive: None }
}

/// Fails fast where the device is not there.
pub(crate) fn options() -> ConnectOptions {
    ConnectOptions { timeout: 14, retry_count: 3, rnr_retry: 3, ..ConnectOptions::default() }
}

impl<B: Backend> Pair<B> {
    pub(crate) fn new(device: &Device, backend: B) -> Self {
        Self::with(device, backend, &config())
    }

    pub(crate) fn with(device: &Device, mut backend: B, config: &QueuePairConfig) -> Self {
        let left = backend.create_queue_pair(config).expect("creating the left queue pair");
        let right = backend.create_queue_pair(config).expect("creating the right queue pair");
        assert_ne!(left, right);
        let mut pair = Self { left, right, here: Memory::new(device), there: Memory::new(device), backend };
        pair.connect();
        pair
    }

    pub(crate) fn connect(&mut self) {
        let (left, right) = (self.backend.address(self.left), self.backend.address(self.right));
        let (left, right) = (left.expect("left address"), right.expect("right address"));
        self.backend.connect(self.left, &right, &options()).expect("connecting the left side");
        self.backend.connect(self.right, &left, &options()).expect("connecting the right side");
        assert_eq!(self.backend.state(self.left), QueuePairState::ReadyToSend);
    }

    /// Posts on the left side, signalled, without ringing.
    pub(crate) fn post(&mut self, id: u64, operation: Operation<'_>) {
        let request = SendRequest { id, operation, flags: SendFlags::SIGNALED };
        self.backend.post_send(self.left, &request).unwrap_or_else(|error| panic!("posting {id}: {error}"));
    }

    /// Posts on the left side, rings, and waits for that request alone.
    pub(crate) fn run(&mut self, id: u64, operation: Operation<'_>) -> Completion {
        self.post(id, operation);
        self.backend.ring_send(self.left);
        let completion = self.wait(1).remove(0);
        assert_eq!(completion.id, id);
        completion
    }

    /// As `run`, and it must succeed as `kind`.
    pub(crate) fn done(&mut self, id: u64, operation: Operation<'_>, kind: CompletionKind) -> Completion {
        let completion = self.run(id, operation);
        assert_eq!(completion.result, Ok(kind), "request {id}: {:?}", completion.result);
        completion
    }

    /// Posts a receive on the right side into its memory.
    pub(crate) fn receive(&mut self, id: u64, offset: usize, length: usize) {
        let request = ReceiveRequest { id, scatter: &[self.there.sge(offset, length)] };
        self.backend.post_receive(self.right, &request).expect("posting a receive");
        self.backend.ring_receive(self.right);
    }

    /// Polls exactly `count` completions, and sees that there are no more.
    pub(crate) fn wait(&mut self, count: usize) -> Vec<Completion> {
        let completions = poll(&mut self.backend, count);
        let mut more = [Completion::EMPTY; 4];
        assert_eq!(self.backend.poll(&mut more), Ok(0), "more than was asked for: {more:?}");
        completions
    }
}

/// Polls until `count` completions are there, or patience ends.
pub(crate) fn poll<B: Backend>(backend: &mut B, count: usize) -> Vec<Completion> {
    let deadline = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    let mut batch = [Completion::EMPTY; 8];
    while all.len() < count {
        let wanted = (count - all.len()).min(batch.len());
        let polled = backend.poll(&mut batch[..wanted]).expect("polling");
        all.extend_from_slice(&batch[..polled]);
        if polled == 0 {
            assert!(Instant::now() < deadline, "{} of {count} completions in time: {all:?}", all.len());
            std::thread::yield_now();
        }
    }
    all
}

/// Bytes that differ from offset to offset and from seed to seed.
pub(crate) fn pattern(seed: u8, length: usize) -> Vec<u8> {
    (0..length).map(|index| (index as u8).wrapping_mul(7).wrapping_add(seed)).collect()
}

/// A payload gathered from one entry.
pub(crate) fn gather(entries: &[Sge]) -> Payload<'_> {
    Payload::Gather(entries)
}
