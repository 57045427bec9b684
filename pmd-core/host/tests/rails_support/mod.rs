//! A relay on a rail's way, which can be cut, fall silent and come back; and two endpoints with rails between them.
#![allow(dead_code)] // each test file uses a part

use std::{
    io::{ErrorKind, Read, Write},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use pmd_core::{
    memory::{Access, RemoteAddress},
    sync::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst},
};
use pmd_host::{
    backend::Transport,
    endpoint::{
        Endpoint, EndpointConfig, Peer, PeerService, RailPort, RailReport, RailsConfig, Registered,
        TransportChoice,
    },
    lane::{LaneConfig, Message},
    rail::{BundleConfig, RailState},
    security::Security,
    soft::{Arena, ArenaOptions, DeviceConfig, TcpConfig},
    transfer::{Direction, LocalPiece, WorkList, WorkListBuilder, WorkListLimits},
};

/// Time for anything at all.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The arenas of a scene.
pub(crate) const LENGTH: usize = 32 << 20;

/// The size of chunks, and of the work requests in them.
pub(crate) const CHUNK: usize = 1 << 20;

const THROUGH: u32 = 0;
const SILENT: u32 = 1;
const CUT: u32 = 2;
const HOLDS_BACK: u32 = 3;

/// Carries the streams of one address to another.
pub(crate) struct Relay(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    target: SocketAddr,
    /// Whose streams are carried, if not everybody's; others are hung up on.
    only: Option<Ipv4Addr>,
    mode: AtomicU32,
    /// Which way nothing comes through while it holds back: to whose address it listens at, or from there.
    to_target: AtomicBool,
    /// Bytes after which the mode changes by itself, and to what.
    left: AtomicU64,
    then: AtomicU32,
    ended: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Relay {
    /// Listens at any port of `at` and carries to the same port of `target`.
    pub(crate) fn start(at: Ipv4Addr, target: Ipv4Addr) -> Self {
        Self::start_for(None, at, target)
    }

    /// The same, for the streams from one address where one is given.
    fn start_for(only: Option<Ipv4Addr>, at: Ipv4Addr, target: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((at, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            address,
            target: SocketAddr::new(target.into(), address.port()),
            only,
            mode: AtomicU32::new(THROUGH),
            to_target: AtomicBool::new(false),
            left: AtomicU64::new(u64::MAX),
            then: AtomicU32::new(THROUGH),
            ended: AtomicBool::new(false),
            streams: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Self(shared)
    }

    pub(crate) fn port(&self) -> u16 {
        self.0.address.port()
    }

    /// After so many bytes all streams break, and new ones are hung up on.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.0.then.store(CUT, SeqCst);
        self.0.left.store(bytes, SeqCst);
    }

    /// After so many bytes nothing comes through, and nobody is told.
    pub(crate) fn silence_after(&self, bytes: u64) {
        self.0.then.store(SILENT, SeqCst);
        self.0.left.store(bytes, SeqCst);
    }

    /// From now on nothing comes through, and nobody is told.
    pub(crate) fn silence(&self) {
        self.0.mode.store(SILENT, SeqCst);
    }

    /// From now on nothing comes through one way, the end of a stream neither: to the target, or from it.
    pub(crate) fn hold_back(&self, to_target: bool) {
        self.0.to_target.store(to_target, SeqCst);
        self.0.mode.store(HOLDS_BACK, SeqCst);
    }

    pub(crate) fn is_through(&self) -> bool {
        self.0.mode.load(SeqCst) == THROUGH
    }

    /// Streams pass again.
    pub(crate) fn heal(&self) {
        self.0.left.store(u64::MAX, SeqCst);
        self.0.mode.store(THROUGH, SeqCst);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.ended.store(true, SeqCst);
        self.0.hang_up();
        let _ = TcpStream::connect(self.0.address);
    }
}

impl Shared {
    fn accept(self: Arc<Self>, listener: &TcpListener) {
        while let Ok((near, from)) = listener.accept() {
            if self.ended.load(SeqCst) {
                return;
            }
            let is_kept_out = self.only.is_some_and(|only| from.ip() != only);
            if is_kept_out || self.mode.load(SeqCst) == CUT {
                continue;
            }
            let Ok(far) = TcpStream::connect(self.target) else { continue };
            for (from, to, to_target) in [(&near, &far, true), (&far, &near, false)] {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                let shared = Arc::clone(&self);
                thread::spawn(move || shared.carry(from, to, to_target));
            }
            self.streams.lock().unwrap_or_else(PoisonError::into_inner).extend([near, far]);
        }
    }

    fn carry(&self, mut from: TcpStream, mut to: TcpStream, to_target: bool) {
        let mut bytes = vec![0; 64 << 10];
        from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        to.set_nodelay(true).unwrap();
        while !self.ended.load(SeqCst) {
            if self.keeps(to_target) {
                thread::sleep(Duration::from_millis(5));
                continue;
            }
            let count = match from.read(&mut bytes) {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
                Err(_) => break,
            };
            if to.write_all(&bytes[..count]).is_err() {
                break;
            }
            self.count(count as u64);
        }
        // What goes the other way may have more to say.
        let _ = (from.shutdown(Shutdown::Read), to.shutdown(Shutdown::Write));
    }

    fn keeps(&self, to_target: bool) -> bool {
        match self.mode.load(SeqCst) {
            SILENT => true,
            HOLDS_BACK => self.to_target.load(SeqCst) == to_target,
            _ => false,
        }
    }

    fn count(&self, bytes: u64) {
        let take = |left: u64| (left != u64::MAX).then(|| left.saturating_sub(bytes));
        if self.left.fetch_update(SeqCst, SeqCst, take).is_ok_and(|left| left <= bytes) {
            let mode = self.then.load(SeqCst);
            self.mode.store(mode, SeqCst);
            if mode == CUT {
                self.hang_up();
            }
        }
    }

    fn hang_up(&self) {
        for stream in self.streams.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Counts messages. Events keep the control thread busy while somebody wants that.
#[derive(Default)]
pub(crate) struct Inbox {
    messages: Mutex<Vec<Vec<u8>>>,
    events: AtomicU32,
    busy: Mutex<()>,
}

impl Inbox {
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        self.messages.lock().unwrap().clone()
    }

    /// Events that have come.
    pub(crate) fn events(&self) -> u32 {
        self.events.load(SeqCst)
    }

    /// The control thread stays at the next event that comes for as long as the guard lives.
    pub(crate) fn keep_busy(&self) -> MutexGuard<'_, ()> {
        self.busy.lock().unwrap()
    }
}

impl PeerService for Inbox {
    fn event(&self, _: &Peer, _: u16, _: &[u8]) {
        self.events.fetch_add(1, SeqCst);
        drop(self.busy.lock());
    }

    fn message(&self, _: &Peer, message: Message<'_>) {
        self.messages.lock().unwrap().push(message.bytes.to_vec());
    }
}

/// One endpoint: rail 0 reaches it directly, rail 1 through the relay.
pub(crate) struct End {
    pub(crate) endpoint: Endpoint,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) relay: Relay,
    others: Vec<Relay>,
    pub(crate) arena: Arena,
    pub(crate) registered: Registered,
}

impl End {
    /// One that opens so many rails.
    fn open(number: u8, rails: usize, layout: Layout, bundle: BundleConfig) -> Self {
        let (direct, relayed) = (Ipv4Addr::new(127, 0, 1, number), Ipv4Addr::new(127, 0, 2, number));
        Self::behind((direct, relayed), |relay| {
            let mut tcp = TcpConfig::default();
            tcp.listen = SocketAddr::new(direct.into(), relay.port());
            let addresses: Vec<IpAddr> = vec![direct.into(), relayed.into()];
            let addresses = addresses[2 - layout.rails..].to_vec();
            let rails = RailsConfig { count: rails, addresses, bundle, ..RailsConfig::default() };
            let soft = DeviceConfig { tcp: Some(tcp), ..DeviceConfig::default() };
            let lane = LaneConfig { grace: layout.grace, ..LaneConfig::default() };
            EndpointConfig { soft, lane, ..config(number, rails) }
        })
    }

    /// One whose rails have so many soft HCAs to themselves; the last of them is reached through the relay.
    pub(crate) fn on_ports(number: u8, ports: u8, rails: &RailsConfig, security: &Security) -> Self {
        let (direct, relayed) = (Ipv4Addr::new(127, 0, 3, number), Ipv4Addr::new(127, 0, 4, number));
        Self::behind((direct, relayed), |relay| {
            let soft = |index: u8| {
                let own = Ipv4Addr::new(127, 0, 5 + index, number);
                let is_last = index + 1 == ports;
                let (listen, port, reached) =
                    if is_last { (direct, relay.port(), relayed) } else { (own, 0, own) };
                let mut tcp = TcpConfig::default();
                tcp.listen = SocketAddr::new(listen.into(), port);
                (RailPort::Soft(tcp), IpAddr::from(reached))
            };
            let (ports, addresses) = (0..ports).map(soft).unzip();
            let rails = RailsConfig { ports, addresses, ..rails.clone() };
            EndpointConfig { security: security.clone(), ..config(number, rails) }
        })
    }

    /// One whose rails are on these devices, without a relay.
    pub(crate) fn on(number: u8, ports: &[RailPort], rails: &RailsConfig) -> Self {
        let nowhere = Ipv4Addr::new(127, 0, 3, number);
        let rails = RailsConfig { ports: ports.to_vec(), ..rails.clone() };
        Self::behind((nowhere, nowhere), |_| config(number, rails.clone()))
    }

    /// One whose rails have a soft HCA on each of these networks, in this order. It is reached from the soft HCA alone that the
    /// end of the other number has on the same network, through a relay of its own.
    pub(crate) fn on_networks((number, other): (u8, u8), networks: &[u8], rails: &RailsConfig) -> Self {
        let own = |network: &u8, number: u8| Ipv4Addr::new(127, 0, 20 + *network, number);
        let reached = |network: &u8| Ipv4Addr::new(127, 0, 40 + *network, number);
        let relay = |network: &u8| {
            Relay::start_for(Some(own(network, other)), reached(network), own(network, number))
        };
        let relays = || networks.iter().map(relay).collect::<Vec<_>>();
        Self::behind_all(relays, |relays: &[Relay]| {
            let soft = |(network, relay): (&u8, &Relay)| {
                let mut tcp = TcpConfig::default();
                tcp.listen = SocketAddr::new(own(network, number).into(), relay.port());
                (RailPort::Soft(tcp), IpAddr::from(reached(network)))
            };
            let (ports, addresses) = networks.iter().zip(relays).map(soft).unzip();
            config(number, RailsConfig { ports, addresses, ..rails.clone() })
        })
    }

    /// One with a relay at the second address, which carries to the first one.
    fn behind((direct, relayed): (Ipv4Addr, Ipv4Addr), config: impl Fn(&Relay) -> EndpointConfig) -> Self {
        Self::behind_all(|| vec![Relay::start(relayed, direct)], |relays: &[Relay]| config(&relays[0]))
    }

    fn behind_all(start: impl Fn() -> Vec<Relay>, config: impl Fn(&[Relay]) -> EndpointConfig) -> Self {
        // Another socket may have the port of a relay on the other address: then a new relay has another.
        let mut tries = 0..20;
        loop {
            let (mut others, inbox) = (start(), Arc::new(Inbox::default()));
            match Endpoint::open(config(&others), Arc::clone(&inbox) as Arc<dyn PeerService>) {
                Ok(endpoint) => {
                    let arena = endpoint.allocate(LENGTH, ArenaOptions::default()).unwrap();
                    let registered = endpoint.register(&arena, Access::READ_WRITE).unwrap();
                    let relay = others.remove(0);
                    return Self { endpoint, inbox, relay, others, arena, registered };
                }
                Err(error) => assert!(tries.next().is_some(), "{error}"),
            }
        }
    }

    pub(crate) fn fill(&self, seed: u64) {
        self.words(|index, word| *word = content(seed, index));
    }

    pub(crate) fn holds(&self, seed: u64) -> bool {
        let mut right = true;
        self.words(|index, word| right &= *word == content(seed, index));
        right
    }

    /// Whether the last word of each chunk is there, which is stored when the rest of it is; transfers may be on the arena.
    pub(crate) fn has_chunks(&self, seed: u64) -> bool {
        (1..=LENGTH / CHUNK).map(|chunk| chunk * CHUNK / 8 - 1).all(|index| {
            let word = self.arena.as_ptr().cast::<u64>().wrapping_add(index);
            // SAFETY: the arena has this word, aligned, and while transfers are on it nobody looks at it but by atomics.
            let word = unsafe { AtomicU64::from_ptr(word) }.load(SeqCst);
            word == content(seed, index as u64)
        })
    }

    /// Looks at all words of the arena, on which there is no transfer.
    fn words(&self, mut each: impl FnMut(u64, &mut u64)) {
        // SAFETY: the arena has so many bytes, is aligned to pages, and no transfer is on it.
        let words = unsafe { std::slice::from_raw_parts_mut(self.arena.as_ptr().cast::<u64>(), LENGTH / 8) };
        (0..).zip(words).for_each(|(index, word)| each(index, word));
    }
}

fn config(number: u8, rails: RailsConfig) -> EndpointConfig {
    let chunk = CHUNK as u64;
    EndpointConfig {
        name: format!("end {number}"),
        listen: Some(([127, 0, 0, 1], 0).into()),
        transport: TransportChoice::Only(Transport::Tcp),
        rails: RailsConfig { from: 2 * chunk, chunk, ..rails },
        ..EndpointConfig::default()
    }
}

fn content(seed: u64, index: u64) -> u64 {
    (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed
}

/// The end that opens rails, the end that awaits them, and each as the other's peer.
pub(crate) struct Scene {
    pub(crate) near: End,
    pub(crate) far: End,
    pub(crate) peer: Peer,
    rails: usize,
}

/// The rails of a scene, the last of them behind the relay.
#[derive(Clone, Copy)]
struct Layout {
    rails: usize,
    grace: Duration,
}

impl Default for Layout {
    fn default() -> Self {
        Self { rails: 2, grace: LaneConfig::default().grace }
    }
}

/// Loses no rail for being slow.
fn patient() -> BundleConfig {
    BundleConfig { stall: PATIENCE, probe: PATIENCE, ..BundleConfig::default() }
}

impl Scene {
    /// No rail is lost for being slow: the machine may be.
    pub(crate) fn new() -> Self {
        Self::with(patient())
    }

    /// A rail is lost that shows no progress for this long.
    pub(crate) fn stalling(stall: Duration) -> Self {
        Self::with(BundleConfig { stall, ..BundleConfig::default() })
    }

    pub(crate) fn with(bundle: BundleConfig) -> Self {
        Self::on(Layout::default(), bundle)
    }

    /// As [`Scene::new`], and no rail is lost because what is stopped is slow to end.
    pub(crate) fn unhurried() -> Self {
        Self::on(Layout { grace: PATIENCE, ..Layout::default() }, patient())
    }

    /// The same with the second rail alone.
    pub(crate) fn on_one_rail() -> Self {
        Self::on(Layout { rails: 1, grace: PATIENCE }, patient())
    }

    fn on(layout: Layout, bundle: BundleConfig) -> Self {
        let rails = layout.rails;
        let bundle = BundleConfig { reopen: Duration::from_millis(50), ..bundle };
        let (near, far) = (End::open(1, rails, layout, bundle), End::open(2, 0, layout, bundle));
        let peer = near.endpoint.connect(far.endpoint.local_address().unwrap()).unwrap();
        let scene = Self { near, far, peer, rails };
        scene.until_up();
        scene
    }

    /// The other end's view.
    pub(crate) fn back(&self) -> Peer {
        self.far.endpoint.peers()[0].clone()
    }

    /// Waits until all rails are up at both ends.
    pub(crate) fn until_up(&self) {
        let up = |peer: &Peer| {
            let reports = peer.rail_reports();
            reports.len() == self.rails && reports.iter().all(|report| report.state == RailState::Up)
        };
        until("all rails", || up(&self.peer) && up(&self.back()));
    }

    pub(crate) fn relays(&self) -> [&Relay; 2] {
        [&self.near.relay, &self.far.relay]
    }

    /// All of the arena, in work requests of a chunk each, between the near end and the far one.
    pub(crate) fn work(&self, direction: Direction) -> Arc<WorkList> {
        whole(&self.near, &self.far, direction)
    }

    pub(crate) fn rail(&self, number: usize) -> RailReport {
        self.peer.rail_reports()[number]
    }
}

pub(crate) fn whole(from: &End, to: &End, direction: Direction) -> Arc<WorkList> {
    let limits = WorkListLimits { max_message: CHUNK as u32, ..WorkListLimits::default() };
    let mut work = WorkListBuilder::new(direction, limits);
    let key = from.registered.local_key(Transport::Tcp).unwrap();
    let local = LocalPiece { address: from.registered.address(), length: LENGTH as u64, key };
    let key = to.registered.remote_key(Transport::Tcp).unwrap();
    work.push(local, RemoteAddress { address: to.registered.address(), key });
    Arc::new(work.finish())
}

/// Waits until something is so.
pub(crate) fn until(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
    }
}
