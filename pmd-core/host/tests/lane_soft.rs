//! Lanes on the soft HCA: what the back end in memory cannot show, namely that the bytes arrive.
#![allow(unsafe_code)] // memory that devices write

mod soft_support;

use std::{
    ptr::NonNull,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use pmd_core::memory::{Access, LocalKey};
use pmd_host::{
    backend::{Backend, ConnectOptions, SetupError},
    lane::{Idle, Lane, LaneConfig, Message, MessageMemory, MessageRegistrar, Route, RouteConfig, RouteId},
    region::Region,
    retries::Retries,
    soft::{Arena, ArenaOptions, Device, ProtectionDomain, SoftBackend, Tuning},
    transfer::{
        CancelOutcome, Direction, LocalPiece, Notification, Outcome, TransferError, TransferOptions,
        WorkList, WorkListBuilder, WorkListLimits,
    },
};
use soft_support::{Memory, PATHS, Path, Side, all, pattern, send};

const BLOCKS: usize = 1000;
const BLOCK: usize = 4096;

/// Message memory in arenas.
struct Arenas(Device);

struct ArenaMemory {
    region: Region,
    arena: Arena,
}

impl MessageRegistrar for Arenas {
    fn allocate(&self, bytes: usize) -> Result<Box<dyn MessageMemory>, SetupError> {
        let arena = self.0.allocate(bytes, ArenaOptions::default()).unwrap();
        let domain = ProtectionDomain::default();
        let region = self.0.register_source(&arena, Access::LOCAL_WRITE, domain).unwrap();
        Ok(Box::new(ArenaMemory { region, arena }))
    }
}

// SAFETY: the arena lives as long as the value, and its region cannot be reached by peers.
unsafe impl MessageMemory for ArenaMemory {
    fn address(&self) -> NonNull<u8> {
        NonNull::new(self.arena.as_ptr()).unwrap()
    }

    fn length(&self) -> usize {
        self.arena.length()
    }

    fn key(&self) -> LocalKey {
        self.region.local_key()
    }
}

/// Two devices with a lane each, and a route between them.
struct Pair {
    devices: [Device; 2],
    routes: [Route; 2],
    lanes: [Lane; 2],
    messages: mpsc::Receiver<Vec<u8>>,
}

fn pair(path: Path, idle: Idle, queue_pairs: usize) -> Pair {
    let devices = [path.device(), path.device()];
    let (sender, messages) = mpsc::channel();
    let lanes = [0, 1].map(|side| {
        let backend =
            SoftBackend::new(&devices[side], ProtectionDomain::default(), Tuning::default()).unwrap();
        Lane::spawn(backend, LaneConfig { idle, ..LaneConfig::default() }).unwrap()
    });
    let routes = [0, 1].map(|side| {
        let sender = sender.clone();
        let handler = move |_: RouteId, message: Message<'_>| sender.send(message.bytes.to_vec()).unwrap();
        let config = RouteConfig {
            queue_pairs,
            handler: Some(Box::new(handler)),
            memory: Some(Arc::new(Arenas(devices[side].clone()))),
            ..RouteConfig::default()
        };
        lanes[side].open_route(config).unwrap()
    });
    for side in [0, 1] {
        routes[side].connect(routes[1 - side].addresses(), &ConnectOptions::default()).unwrap();
    }
    Pair { devices, routes, lanes, messages }
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(30))
}

/// Block `i` of one memory against block `i * 7 + 3` (modulo their number) of the other.
fn permuted(direction: Direction, local: &Memory, remote: &Memory) -> Arc<WorkList> {
    let mut builder = WorkListBuilder::with_capacity(direction, WorkListLimits::default(), BLOCKS);
    for block in 0..BLOCKS {
        let sge = local.sge(block * BLOCK, BLOCK);
        let piece = LocalPiece { address: sge.address, length: BLOCK as u64, key: sge.key };
        builder.push(piece, remote.remote((block * 7 + 3) % BLOCKS * BLOCK));
    }
    Arc::new(builder.finish())
}

fn assert_permuted(local: &Memory, remote: &Memory) {
    for block in 0..BLOCKS {
        let theirs = remote.read((block * 7 + 3) % BLOCKS * BLOCK, BLOCK);
        assert!(local.read(block * BLOCK, BLOCK) == theirs, "block {block} differs");
    }
}

#[test]
fn permuted_blocks_arrive_and_the_peer_is_told() {
    for (number, path) in PATHS.into_iter().enumerate() {
        let idle = if number % 2 == 0 { Idle::Park } else { Idle::Yield };
        let pair = pair(path, idle, 1 + number % 3);
        let length = BLOCKS * BLOCK;
        for arena in [true, false] {
            let memory = |side: usize| {
                if arena {
                    Memory::arena(&pair.devices[side], length, all())
                } else {
                    Memory::heap(&pair.devices[side], length, all())
                }
            };
            let (local, remote) = (memory(0), memory(1));
            local.write(0, &pattern(1, length));
            for direction in [Direction::Write, Direction::Read] {
                if direction == Direction::Read {
                    remote.write(0, &pattern(2, length));
                }
                let notify = Some(Notification { bytes: b"landed".to_vec(), immediate: None });
                let options = TransferOptions { notify, ..TransferOptions::default() };
                let work = permuted(direction, &local, &remote);
                let mut transfer = pair.routes[0].submit(&work, options).unwrap();
                let told = pair.messages.recv_timeout(Duration::from_secs(30)).unwrap();
                assert_permuted(&local, &remote);
                assert_eq!(told, b"landed");
                assert_eq!(transfer.wait(soon()), Ok(Outcome { bytes: length as u64 }));
            }
        }
        assert_eq!(pair.lanes[0].counters().transfers, 4);
    }
}

#[test]
fn messages_flow_both_ways() {
    let pair = pair(Path::Arena, Idle::Park, 1);
    for round in 0..2000_usize {
        let message = vec![round as u8; 1 + round % 1024];
        pair.routes[round % 2].send(&message, None).unwrap();
        let told = pair.messages.recv_timeout(Duration::from_secs(30)).unwrap();
        assert_eq!(told, message, "round {round}");
    }
}

#[test]
fn a_cancelled_transfer_writes_no_more() {
    let pair = pair(Path::Arena, Idle::Park, 2);
    let length = BLOCKS * BLOCK;
    let local = Memory::heap(&pair.devices[0], length, all());
    let remote = Memory::arena(&pair.devices[1], length, all());
    remote.write(0, &pattern(3, length));
    let work = permuted(Direction::Read, &local, &remote);
    for _ in 0..20 {
        let mut transfer = pair.routes[0].submit(&work, TransferOptions::default()).unwrap();
        let cancelled = transfer.cancel();
        assert!(matches!(cancelled, CancelOutcome::Cancelled | CancelOutcome::Completed(_)), "{cancelled:?}");
        local.fill(0xee);
        std::thread::sleep(Duration::from_millis(2));
        assert!(local.read(0, length).iter().all(|&byte| byte == 0xee));
    }
}

/// The lane's credits keep its own peers from it: here the peer is a back end that knows nothing of credits.
#[test]
fn requests_that_wait_for_a_receive_are_counted_on_both_sides() {
    for path in PATHS {
        let (device, other) = (path.device(), path.device());
        let backend = SoftBackend::new(&device, ProtectionDomain::default(), Tuning::default()).unwrap();
        let lane = Lane::spawn(backend, LaneConfig { idle: Idle::Park, ..LaneConfig::default() }).unwrap();
        assert_eq!(lane.retries(), Some(Retries::default()));
        // Without memory for messages it posts no receives.
        let route = lane.open_route(RouteConfig::default()).unwrap();
        let mut side = Side::new(&other);
        let counts = side.backend.retries().unwrap();
        let address = side.backend.address(side.queue_pair).unwrap();
        route.connect(&[address], &ConnectOptions::default()).unwrap();
        side.backend.connect(side.queue_pair, &route.addresses()[0], &ConnectOptions::default()).unwrap();
        let memory = Memory::arena(&other, BLOCK, all());
        side.post(1, send(&[memory.sge(0, 8)]));
        let deadline = soon().unwrap();
        let said = || lane.retries().unwrap().said;
        while counts.read().heard == 0 || said() == 0 {
            assert!(Instant::now() < deadline, "{:?} heard, {} said", counts.read(), said());
            side.poll();
        }
        assert_eq!((counts.read().heard, counts.read().said), (1, 0));
        assert_eq!((lane.retries().unwrap().heard, said()), (0, 1));
    }
}

#[test]
fn a_wrong_key_names_its_entry() {
    let pair = pair(Path::Arena, Idle::Park, 1);
    let local = Memory::arena(&pair.devices[0], BLOCK * 4, all());
    let remote = Memory::arena(&pair.devices[1], BLOCK * 4, all());
    let mut builder = WorkListBuilder::new(Direction::Write, WorkListLimits::default());
    for block in 0..4 {
        let sge = local.sge(block * BLOCK, 64);
        let mut place = remote.remote(block * BLOCK);
        place.key.0 ^= if block == 2 { 0x5555 } else { 0 };
        builder.push(LocalPiece { address: sge.address, length: 64, key: sge.key }, place);
    }
    let work = Arc::new(builder.finish());
    let mut transfer = pair.routes[0].submit(&work, TransferOptions::default()).unwrap();
    let error = transfer.wait(soon()).unwrap_err();
    let pmd_host::transfer::WaitError::Failed(TransferError::Failed { entry, syndrome, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!((entry, syndrome), (2, pmd_core::wire::Syndrome::RemoteAccess));
}
