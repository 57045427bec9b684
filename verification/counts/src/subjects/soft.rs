//! The soft HCA: two queue pairs of one device, connected to each other, and arenas as peers map them.
#![allow(unsafe_code)] // looks at bytes that the device has moved

use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

use pmd_core::{
    memory::Access,
    provider::{Completion, Operation, Payload, Provider, QueuePairHandle, SendFlags, SendRequest},
};
use pmd_host::{
    backend::{Backend, ConnectOptions, QueuePairConfig},
    lane::{LaneConfig, LaneDriver, RouteConfig},
    region::Region,
    soft::{Arena, ArenaOptions, Device, DeviceConfig, ProtectionDomain, SoftBackend, Tuning},
    transfer::{Direction, LocalPiece, TransferOptions, WorkListBuilder, WorkListLimits},
};

use super::{SubjectError, permutation};
use crate::meter::Meter;

/// Writes of a size.
const WRITES: u64 = 1000;

/// Bytes of a block of a transfer: so few that the copy hardly counts.
const BLOCK: u32 = 64;

/// Name, blocks of a transfer, and how often it is submitted.
const TRANSFERS: [(&str, u32, u64); 3] = [
    ("transfer-block-of-1", 1, 100),
    ("transfer-block-of-1k", 1000, 3),
    ("transfer-block-of-100k", 100_000, 1),
];

/// Longest that a transfer may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn run(meter: &mut Meter) -> Result<(), SubjectError> {
    write(meter, "soft-write-8", 8)?;
    write(meter, "soft-write-4096", 4096)?;
    TRANSFERS.into_iter().try_for_each(|(name, blocks, times)| transfer(meter, name, blocks, times))
}

/// Registered memory of one end.
struct Memory {
    // Goes first: the range must be mapped until it is deregistered.
    region: Region,
    arena: Arena,
}

impl Memory {
    fn new(device: &Device, length: usize, byte: u8) -> Result<Self, SubjectError> {
        let arena = device.allocate(length, ArenaOptions { prefault: true, ..ArenaOptions::default() })?;
        // SAFETY: the arena is as long, and nobody else has it yet.
        unsafe { arena.as_ptr().write_bytes(byte, length) };
        let region = device.register_source(&arena, Access::READ_WRITE, ProtectionDomain::default())?;
        Ok(Self { region, arena })
    }

    /// Whether the first bytes are this one.
    fn holds(&self, length: usize, byte: u8) -> bool {
        assert!(length <= self.arena.length());
        // SAFETY: in range, and no request is under way.
        (0..length).all(|index| unsafe { self.arena.as_ptr().add(index).read_volatile() } == byte)
    }
}

/// One WRITE at a time: posted, rung, which moves the bytes, and its completion taken.
fn write(meter: &mut Meter, name: &str, bytes: u32) -> Result<(), SubjectError> {
    let device = Device::open(DeviceConfig::default())?;
    let mut backend = SoftBackend::new(&device, ProtectionDomain::default(), Tuning::default())?;
    let queue_pair = loopback(&mut backend)?;
    let (source, target) = (Memory::new(&device, 4096, 1)?, Memory::new(&device, 4096, 2)?);
    let entry = [source.region.sge(0, bytes).ok_or("beyond the source")?];
    let remote = target.region.remote_address(0).ok_or("beyond the target")?;
    let operation = Operation::Write { remote, local: Payload::Gather(&entry) };
    let mut once = |id: u64, patience: Duration| -> Result<bool, SubjectError> {
        let request = SendRequest { id, operation, flags: SendFlags::SIGNALED };
        backend.post_send(queue_pair, black_box(&request))?;
        backend.ring_send(queue_pair);
        let mut completions = [Completion::EMPTY; 16];
        let mut count = backend.poll(black_box(&mut completions))?;
        if count == 0 && !patience.is_zero() {
            let deadline = Instant::now() + patience;
            while count == 0 && Instant::now() < deadline {
                count = backend.poll(&mut completions)?;
            }
        }
        Ok(count == 1 && completions[0].id == id && completions[0].result.is_ok())
    };
    // The first one waits until the queue pairs are connected, and maps the arena.
    for id in 0..2 * WRITES {
        let patience = if id == 0 { PATIENCE } else { Duration::ZERO };
        let done = if id < WRITES { once(id, patience) } else { meter.span(|| once(id, patience)) };
        if !done? {
            return Err(format!("{name}: request {id} has not completed at once").into());
        }
    }
    meter.end(name, WRITES);
    let length = bytes as usize;
    if target.holds(length, 1) { Ok(()) } else { Err(format!("{name}: other bytes have arrived").into()) }
}

/// A queue pair whose peer is one of the same back end.
fn loopback(backend: &mut SoftBackend) -> Result<QueuePairHandle, SubjectError> {
    let config = QueuePairConfig::default();
    let pair = [backend.create_queue_pair(&config)?, backend.create_queue_pair(&config)?];
    let addresses = [backend.address(pair[1])?, backend.address(pair[0])?];
    for (queue_pair, address) in pair.into_iter().zip(&addresses) {
        backend.connect(queue_pair, address, &ConnectOptions::default())?;
    }
    Ok(pair[0])
}

/// A transfer of permuted blocks: submitted, posted batch by batch by the lane, which this thread drives, until it is done.
fn transfer(meter: &mut Meter, name: &str, blocks: u32, times: u64) -> Result<(), SubjectError> {
    let device = Device::open(DeviceConfig::default())?;
    let backend = SoftBackend::new(&device, ProtectionDomain::default(), Tuning::default())?;
    let (mut driver, lane) = LaneDriver::new(backend, LaneConfig::default());
    let routes = [
        driver.open_route(&lane, RouteConfig::default())?,
        driver.open_route(&lane, RouteConfig::default())?,
    ];
    for (one, other) in [(0, 1), (1, 0)] {
        driver.connect(&routes[one], routes[other].addresses(), &ConnectOptions::default())?;
    }
    let length = (blocks * BLOCK) as usize;
    let (source, target) = (Memory::new(&device, length, 1)?, Memory::new(&device, length, 2)?);
    let key = source.region.local_key();
    let mut list = WorkListBuilder::new(Direction::Write, WorkListLimits::default());
    for (from, to) in (0..).zip(permutation(blocks)) {
        let address = source.region.address() + from * u64::from(BLOCK);
        let local = LocalPiece { address, length: BLOCK.into(), key };
        let remote = target.region.remote_address(u64::from(to) * u64::from(BLOCK));
        list.push(local, remote.ok_or("beyond the target")?);
    }
    let work = Arc::new(list.finish());
    let mut once = || -> Result<u64, SubjectError> {
        let transfer = routes[0].submit(&work, TransferOptions::default())?;
        Ok(driver.run_until(&transfer, Some(Instant::now() + PATIENCE))?.bytes)
    };
    once()?;
    for _ in 0..times {
        let moved = meter.span(&mut once)?;
        if moved != length as u64 {
            return Err(format!("{name}: {moved} bytes of {length}").into());
        }
    }
    meter.end(name, times * u64::from(blocks));
    if target.holds(length, 1) { Ok(()) } else { Err(format!("{name}: other bytes have arrived").into()) }
}
