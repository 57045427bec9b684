//! What queue pairs and peers take of the process: no more memory than the crate's documentation states, however many there
//! are and however much they move, and neither memory nor descriptors once they are gone. Alone in its process, because it
//! counts all that the process holds; the tests take turns.
#![allow(unsafe_code)] // a global allocator is unsafe to implement

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    time::{Duration, Instant},
};

use pmd_core::{
    memory::{Access, RemoteAddress},
    sync::{AtomicU64, Ordering},
};
use pmd_host::{
    backend::{Backend, QueuePairConfig, Transport},
    control::{DownReason, sizes},
    endpoint::{Endpoint, EndpointConfig, Peer, PeerService, TransportChoice},
    lane::RouteConfig,
    soft::{ArenaOptions, Device, DeviceConfig, ProtectionDomain, SoftBackend, Tuning},
    transfer::{Direction, LocalPiece, TransferOptions, WorkListBuilder, WorkListLimits},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a queue pair of the soft HCA keeps in mind of each slot and of each receive, and for itself, in bytes. Completion
/// entries are not among it: its engine has one queue of them for all queue pairs.
const BY_SLOT: u64 = 40;
const BY_RECEIVE: u64 = 8;
const BY_QUEUE_PAIR: u64 = 4 << 10;

/// What an end of a peer keeps beside queues, messages, rings and what it reads into, in bytes.
const BY_PEER: u64 = 16 << 10;

/// What may be left at an endpoint of a peer that is gone, in bytes: places in tables.
const LEFT: u64 = 1 << 10;

/// Bytes that are allocated now.
static ALLOCATED: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: the system's allocator does the work; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise is the one that System asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes that this process holds: allocated, and mapped of the files in which links and arenas lie, touched or not. A
/// device's segment is not among it, of which peers map the addresses and touch what its owner uses.
fn held() -> u64 {
    let mapped: u64 = {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let files = ["/memfd:pmd-link", "/memfd:pmd-arena"];
        maps.lines().filter(|line| files.iter().any(|file| line.contains(file))).map(length).sum()
    };
    ALLOCATED.load(Ordering::Relaxed) + mapped
}

/// Bytes of a mapping, by its line in /proc/self/maps.
fn length(line: &str) -> u64 {
    let (start, end) = line.split_whitespace().next().unwrap().split_once('-').unwrap();
    u64::from_str_radix(end, 16).unwrap() - u64::from_str_radix(start, 16).unwrap()
}

fn descriptors() -> u64 {
    fs::read_dir("/proc/self/fd").unwrap().count() as u64
}

/// Waits until there is at most `limit` of what `count` counts; how much there is then.
fn settled(limit: u64, count: fn() -> u64) -> u64 {
    let deadline = Instant::now() + PATIENCE;
    while count() > limit && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    count()
}

struct Downs(Mutex<mpsc::Sender<DownReason>>);

impl PeerService for Downs {
    fn down(&self, _: &Peer, reason: &DownReason) {
        let _ = self.0.lock().unwrap().send(reason.clone());
    }
}

fn open(listens: bool, transport: TransportChoice) -> (Endpoint, mpsc::Receiver<DownReason>) {
    let listen = listens.then(|| ([127, 0, 0, 1], 0).into());
    let (sender, receiver) = mpsc::channel();
    let config = EndpointConfig { listen, transport, ..EndpointConfig::default() };
    (Endpoint::open(config, Arc::new(Downs(Mutex::new(sender)))).unwrap(), receiver)
}

#[test]
fn connections_leave_no_descriptors_behind() {
    let _turn = turn();
    let before_all = descriptors();
    let (server, downs) = open(true, TransportChoice::Auto);
    let cycle = || {
        let (client, _downs) = open(false, TransportChoice::Auto);
        client.connect(server.local_address().unwrap()).unwrap();
        drop(client);
        assert_eq!(downs.recv_timeout(PATIENCE), Ok(DownReason::Goodbye));
    };
    cycle(); // Starts the server's lane.
    std::thread::sleep(Duration::from_millis(300));
    let before = descriptors();
    (0..20).for_each(|_| cycle());
    assert_eq!(settled(before, descriptors), before, "20 peers came and went");
    drop(server);
    assert_eq!(settled(before_all, descriptors), before_all, "the endpoint is gone");
}

#[test]
fn queue_pairs_hold_their_queues_and_little_more() {
    let _turn = turn();
    for config in [
        QueuePairConfig::default(),
        QueuePairConfig { send_slots: 64, receives: 32, sges: 4, ..QueuePairConfig::default() },
    ] {
        let device = Device::open(DeviceConfig::default()).unwrap();
        let mut backend = SoftBackend::new(&device, ProtectionDomain::default(), Tuning::default()).unwrap();
        let (slots, receives) = (u64::from(config.send_slots), u64::from(config.receives));
        let queues = config.queue_bytes() - (slots + receives) * 64;
        let bound = queues + slots * BY_SLOT + receives * BY_RECEIVE + BY_QUEUE_PAIR;
        let before_all = held();
        let mut peak = 0;
        // The second time takes what the first has given back.
        for _ in 0..2 {
            let mut made = Vec::new();
            for count in [1, 8, 64] {
                let before = held();
                made.extend((0..count).map(|_| backend.create_queue_pair(&config).unwrap()));
                let each = (held() - before) / count;
                println!("{config:?}: {each} bytes each of {count}, at most {bound}");
                assert!((queues..=bound).contains(&each), "{each} bytes each of {count}, at most {bound}");
            }
            peak = peak.max(held());
            made.into_iter().for_each(|queue_pair| backend.destroy_queue_pair(queue_pair).unwrap());
            let left = held().saturating_sub(before_all);
            assert!(left <= 73 * LEFT, "{left} bytes of 73 queue pairs that are gone");
        }
        assert!(peak - before_all <= 73 * bound, "{peak} at most");
    }
}

/// What an end of a peer may hold, in bytes, with the default configuration.
fn most_of_a_peer(transport: Transport) -> u64 {
    /// Bytes on their way out, and come in, of the stream that carries packets.
    const STREAM: u64 = (192 + 128) << 10;
    let config = EndpointConfig::default();
    let messages = RouteConfig::message_memory(config.message_receives, config.message_bytes).unwrap() as u64;
    let rings = 4 * u64::from(config.soft.ring_bytes);
    let stream = if transport == Transport::Tcp { STREAM } else { 0 };
    config.queue_pair.queue_bytes() + messages + rings + stream + sizes::READ_BUFFER as u64 + BY_PEER
}

/// Writes 64 KiB from every spoke to the hub, `times` times.
fn traffic(spokes: &[Endpoint], peers: &[Peer], hub: &Endpoint, times: usize) {
    const BYTES: u64 = 64 << 10;
    let target = hub.allocate(BYTES as usize, ArenaOptions::default()).unwrap();
    let to = hub.register(&target, Access::READ_WRITE).unwrap();
    for (spoke, peer) in spokes.iter().zip(peers) {
        let source = spoke.allocate(BYTES as usize, ArenaOptions::default()).unwrap();
        let from = spoke.register(&source, Access::LOCAL_WRITE).unwrap();
        let mut work = WorkListBuilder::new(Direction::Write, WorkListLimits::default());
        let key = from.local_key(peer.transport()).unwrap();
        let local = LocalPiece { address: source.as_ptr() as u64, length: BYTES, key };
        let key = to.remote_key(peer.transport()).unwrap();
        work.push(local, RemoteAddress { address: target.as_ptr() as u64, key });
        let work = Arc::new(work.finish());
        for _ in 0..times {
            let mut transfer = peer.route().submit(&work, TransferOptions::default()).unwrap();
            assert_eq!(transfer.wait(Some(Instant::now() + PATIENCE)).unwrap().bytes, BYTES);
        }
    }
}

#[test]
fn peers_hold_a_stated_amount_however_many_there_are() {
    let _turn = turn();
    for transport in [Transport::SharedMemory, Transport::Tcp] {
        let before_all = descriptors();
        let bound = most_of_a_peer(transport);
        let choice = TransportChoice::Only(transport);
        let hubs = [(); 2].map(|()| open(true, choice).0);
        let address = hubs[1].local_address().unwrap();
        // Every endpoint has a peer before: what the first brings, lanes, is not what each takes.
        let (first, _downs) = open(false, choice);
        let kept = hubs.each_ref().map(|hub| first.connect(hub.local_address().unwrap()).unwrap());
        for (hub, peer) in hubs.iter().zip(&kept) {
            traffic(std::slice::from_ref(&first), std::slice::from_ref(peer), hub, 4);
        }
        for count in [3, 12] {
            let before_spokes = held();
            let spokes: Vec<Endpoint> = (0..count).map(|_| open(false, choice).0).collect();
            let connect = |to| spokes.iter().map(|spoke| spoke.connect(to).unwrap()).collect::<Vec<_>>();
            let first_peers = connect(hubs[0].local_address().unwrap());
            traffic(&spokes, &first_peers, &hubs[0], 4);
            let before = held();
            let peers = connect(address);
            let each = || held().saturating_sub(before) / (2 * count);
            traffic(&spokes, &peers, &hubs[1], 4);
            let used = each();
            assert!(used <= bound, "{used} bytes for each end of {count} peers, at most {bound}");
            traffic(&spokes, &peers, &hubs[1], 64);
            let more = each();
            println!(
                "{transport:?}: {used} bytes for each end of {count} peers, then {more}, at most {bound}"
            );
            assert!(
                more <= used + LEFT,
                "{used} bytes for each end of {count} peers, {more} after more traffic"
            );
            drop((first_peers, peers, spokes));
            let limit = before_spokes + 2 * count * LEFT;
            let left = settled(limit, held);
            assert!(left <= limit, "{} bytes of {count} peers that are gone", left - before_spokes);
        }
        drop((kept, first, hubs));
        assert_eq!(settled(before_all, descriptors), before_all, "all endpoints are gone");
    }
}
