//! Our side of an exchange with the peer: a back end, a queue pair, registered memory.
#![allow(unsafe_code)] // registers memory that the device changes

use std::{
    cell::UnsafeCell,
    thread,
    time::{Duration, Instant},
};

use pmd_core::{
    memory::{Access, RemoteAddress, Sge},
    provider::{
        Completion, Operation, QueuePairHandle, ReceiveRequest, SendFlags, SendRequest, SharedReceiveHandle,
    },
};
use pmd_host::{
    backend::{Backend, ConnectOptions, FabricAddress, QueuePairAddress, QueuePairConfig},
    nic::{Device, LinkLayer},
    region::Region,
};

use crate::peer::{Peer, pattern};

/// Bytes of our memory.
pub const BYTES: usize = 4 << 20;
/// Longest wait for a completion.
const PATIENCE: Duration = Duration::from_secs(20);
/// Inline bytes of a request, at most.
pub const INLINE: u32 = 64;

/// A connected side.
#[derive(Debug)]
pub struct Side<B> {
    backend: B,
    queue_pair: QueuePairHandle,
    shared: Option<SharedReceiveHandle>,
    memory: Memory,
}

impl<B: Backend> Side<B> {
    /// Creates a queue pair and connects it and `peer` to each other. Receives come from a shared queue if asked for.
    ///
    /// # Panics
    /// When anything of that fails.
    pub fn connect(
        mut backend: B,
        device: &Device,
        peer: &mut Peer,
        shared_receives: bool,
        mtu: u16,
    ) -> Self {
        let shared = shared_receives
            .then(|| backend.create_shared_receive_queue(16, 4).expect("a shared receive queue"));
        let config = QueuePairConfig {
            send_slots: 64,
            receives: 16,
            sges: 4,
            inline_bytes: INLINE,
            shared_receive: shared,
        };
        let queue_pair = backend.create_queue_pair(&config).expect("a queue pair");
        let memory = Memory::new(device);
        let QueuePairAddress::Fabric(ours) = backend.address(queue_pair).expect("an address") else {
            panic!("a NIC has an address in the fabric");
        };
        let theirs = FabricAddress { mtu, ..peer.address };
        // A receive may come as late as the machine is slow: a message waits for it without end.
        let options = ConnectOptions { mtu: Some(mtu), rnr_retry: 7, ..ConnectOptions::default() };
        backend.connect(queue_pair, &QueuePairAddress::Fabric(theirs), &options).expect("connecting");
        peer.connect(&ours, mtu);
        Self { backend, queue_pair, shared, memory }
    }

    /// Our memory.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Posts without ringing.
    ///
    /// # Panics
    /// When the request is refused.
    pub fn post(&mut self, id: u64, operation: Operation<'_>, flags: SendFlags) {
        let request = SendRequest { id, operation, flags };
        self.backend.post_send(self.queue_pair, &request).unwrap_or_else(|error| panic!("posting: {error}"));
    }

    /// Rings for what was posted.
    pub fn ring(&mut self) {
        self.backend.ring_send(self.queue_pair);
    }

    /// Posts, rings and waits; gives the only completion.
    ///
    /// # Panics
    /// When there is another one, or none in time.
    pub fn run(&mut self, operation: Operation<'_>) -> Completion {
        self.post(0x77, operation, SendFlags::SIGNALED);
        self.ring();
        let completion = self.wait();
        assert_eq!(completion.id, 0x77, "{completion:?}");
        completion
    }

    /// Posts a receive of one entry.
    ///
    /// # Panics
    /// When it is refused.
    pub fn receive(&mut self, id: u64, entries: &[Sge]) {
        let request = ReceiveRequest { id, scatter: entries };
        match self.shared {
            Some(queue) => {
                self.backend.post_shared_receive(queue, &request).expect("a shared receive");
                self.backend.ring_shared_receive(queue);
            }
            None => {
                self.backend.post_receive(self.queue_pair, &request).expect("a receive");
                self.backend.ring_receive(self.queue_pair);
            }
        }
    }

    /// Waits for one completion.
    ///
    /// # Panics
    /// When none comes in time.
    pub fn wait(&mut self) -> Completion {
        let deadline = Instant::now() + PATIENCE;
        let mut completion = [Completion::EMPTY];
        while self.backend.poll(&mut completion).expect("polling") == 0 {
            assert!(Instant::now() < deadline, "nothing completed in time");
            thread::yield_now();
        }
        completion[0]
    }

    /// Sees that there is no completion.
    ///
    /// # Panics
    /// When there is one.
    pub fn quiet(&mut self) {
        let mut completion = [Completion::EMPTY];
        assert_eq!(self.backend.poll(&mut completion), Ok(0), "{completion:?}");
    }
}

/// Index of the GID to use, or `None` where packets go by LID.
#[must_use]
pub fn gid_index(device: &Device) -> Option<u32> {
    (device.port().link_layer == LinkLayer::Ethernet).then(|| device.gid().index)
}

/// Registered memory, read and written while no transfer runs.
#[derive(Debug)]
pub struct Memory {
    // Goes before the bytes that it registers.
    region: Region,
    bytes: Box<[UnsafeCell<u64>]>,
}

impl Memory {
    fn new(device: &Device) -> Self {
        let bytes: Box<[UnsafeCell<u64>]> = (0..BYTES / 8).map(|_| UnsafeCell::new(0)).collect();
        let access = Access::READ_WRITE | Access::REMOTE_ATOMIC;
        // SAFETY: the bytes live as long as the region, and are reached through cells only.
        let region = unsafe { device.register(bytes.as_ptr().addr() as u64, BYTES as u64, access) };
        Self { region: region.expect("registering"), bytes }
    }

    /// Writes a pattern.
    pub fn fill(&self, seed: u8, offset: usize, length: usize) {
        for index in 0..length {
            // SAFETY: in range (`at` checks), and no transfer runs.
            unsafe { self.at(offset + index).write(pattern(seed, index)) };
        }
    }

    /// Compares with a pattern, whose byte `first` is at `offset`.
    ///
    /// # Panics
    /// When a byte differs.
    pub fn check(&self, seed: u8, offset: usize, length: usize, first: usize) {
        for index in 0..length {
            // SAFETY: as for `fill`; the device may have written, hence volatile.
            let found = unsafe { self.at(offset + index).read_volatile() };
            assert_eq!(found, pattern(seed, first + index), "byte {index} of {length} at {offset}");
        }
    }

    /// Eight aligned bytes.
    #[must_use]
    pub fn word(&self, offset: usize) -> u64 {
        assert!(offset.is_multiple_of(8));
        // SAFETY: in range and aligned; no transfer runs.
        unsafe { self.at(offset).cast::<u64>().read_volatile() }
    }

    /// Sets eight aligned bytes.
    pub fn set_word(&self, offset: usize, value: u64) {
        assert!(offset.is_multiple_of(8));
        // SAFETY: in range and aligned; no transfer runs.
        unsafe { self.at(offset).cast::<u64>().write_volatile(value) };
    }

    /// Scatter-gather entry.
    ///
    /// # Panics
    /// When it is not inside.
    #[must_use]
    pub fn sge(&self, offset: usize, length: usize) -> Sge {
        self.region.sge(offset as u64, length as u32).expect("inside of our memory")
    }

    /// Where the peer reaches it.
    ///
    /// # Panics
    /// When it is not inside.
    #[must_use]
    pub fn remote(&self, offset: usize) -> RemoteAddress {
        self.region.remote_address(offset as u64).expect("inside of our memory")
    }

    fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset < BYTES, "{offset} is not inside of our memory");
        self.bytes.as_ptr().cast_mut().cast::<u8>().wrapping_add(offset)
    }
}
