//! What the fault tests share: endpoints with an application that can be made to misbehave, memory registered with
//! them, and work lists between two memories.
#![allow(dead_code, unreachable_pub, unsafe_code)] // each test file uses a part; transfers need registered memory

pub mod child;

use std::{
    sync::{Arc, Condvar, Mutex, mpsc},
    time::{Duration, Instant},
};

use pmd_core::memory::{Access, MemoryKind, RegionDescription, RemoteAddress};
use pmd_host::{
    backend::Transport,
    control::{DownReason, Refusal},
    endpoint::{Endpoint, EndpointConfig, Peer, PeerService, Registered},
    lane::{Idle, LaneConfig, Message, Route},
    soft::{Arena, ArenaOptions, DeviceConfig},
    transfer::{
        Direction, LocalPiece, Outcome, SubmitError, TransferError, TransferOptions, WaitError, WorkList,
        WorkListBuilder, WorkListLimits,
    },
};

/// Longest that any wait may take.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What an application was told.
#[derive(Debug, PartialEq)]
pub enum Seen {
    Connected(String),
    Message(String, Vec<u8>),
    Event(u16),
    Down(String, DownReason),
}

/// What an application can be made to panic in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Callback {
    Connected,
    Request,
    Message,
    Event,
    Down,
}

/// An application that reports what it sees, panics where it is told to, and waits in `message` while the gate is
/// shut. Answers requests with the body reversed.
pub struct Application {
    saw: Mutex<mpsc::Sender<Seen>>,
    panics_in: Mutex<Option<Callback>>,
    shut: Mutex<bool>,
    opened: Condvar,
}

impl Application {
    pub fn panic_in(&self, callback: Option<Callback>) {
        *self.panics_in.lock().unwrap() = callback;
    }

    /// From now on the lane stops at the next message.
    pub fn shut_gate(&self) {
        *self.shut.lock().unwrap() = true;
    }

    pub fn open_gate(&self) {
        *self.shut.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn called(&self, callback: Callback) {
        let panics = *self.panics_in.lock().unwrap() == Some(callback);
        assert!(!panics, "an application may be wrong in {callback:?}");
    }

    fn tell(&self, seen: Seen) {
        let _ = self.saw.lock().unwrap().send(seen);
    }
}

fn name(peer: &Peer) -> String {
    peer.identity().name.clone()
}

impl PeerService for Application {
    fn connected(&self, peer: &Peer) {
        self.called(Callback::Connected);
        self.tell(Seen::Connected(name(peer)));
    }

    fn request(&self, _: &Peer, _: u16, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        self.called(Callback::Request);
        Ok(body.iter().rev().copied().collect())
    }

    fn event(&self, _: &Peer, kind: u16, _: &[u8]) {
        self.called(Callback::Event);
        self.tell(Seen::Event(kind));
    }

    fn message(&self, peer: &Peer, message: Message<'_>) {
        self.called(Callback::Message);
        self.tell(Seen::Message(name(peer), message.bytes.to_vec()));
        let shut = self.shut.lock().unwrap();
        let (_shut, waited) = self.opened.wait_timeout_while(shut, PATIENCE, |shut| *shut).unwrap();
        assert!(!waited.timed_out(), "nobody opened the gate");
    }

    fn down(&self, peer: &Peer, reason: &DownReason) {
        self.called(Callback::Down);
        self.tell(Seen::Down(name(peer), reason.clone()));
    }
}

/// An endpoint with its application.
pub struct Node {
    pub endpoint: Endpoint,
    pub application: Arc<Application>,
    pub seen: mpsc::Receiver<Seen>,
}

/// Opens an endpoint that listens. Its lane parks, and stops nothing by force while a loaded machine is slow.
pub fn open(name: &str) -> Node {
    open_with(name, |_| ())
}

pub fn open_with(name: &str, adjust: impl FnOnce(&mut EndpointConfig)) -> Node {
    let mut config = EndpointConfig {
        name: name.into(),
        listen: Some(([127, 0, 0, 1], 0).into()),
        lane: LaneConfig { idle: Idle::Park, grace: PATIENCE, ..LaneConfig::default() },
        down_after: PATIENCE,
        patience: PATIENCE,
        ..EndpointConfig::default()
    };
    adjust(&mut config);
    let (sender, seen) = mpsc::channel();
    let application = Arc::new(Application {
        saw: Mutex::new(sender),
        panics_in: Mutex::default(),
        shut: Mutex::default(),
        opened: Condvar::new(),
    });
    let service = Arc::clone(&application) as Arc<dyn PeerService>;
    Node { endpoint: Endpoint::open(config, service).unwrap(), application, seen }
}

impl Node {
    pub fn connect(&self, other: &Self) -> Peer {
        self.endpoint.connect(other.endpoint.local_address().unwrap()).unwrap()
    }

    pub fn sees(&self) -> Seen {
        self.seen.recv_timeout(PATIENCE).expect("nothing was seen in time")
    }

    /// The peer of that name, as this side knows it.
    pub fn peer(&self, called: &str) -> Peer {
        within(|| self.endpoint.peers().into_iter().find(|peer| name(peer) == called))
    }

    /// Waits until the application is told that the peer is down.
    pub fn sees_down(&self, called: &str) -> DownReason {
        loop {
            match self.sees() {
                Seen::Down(name, reason) if name == called => return reason,
                _ => {}
            }
        }
    }
}

/// Asks until there is an answer.
pub fn within<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "nothing happened within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How bytes get from one side to the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    SameProcess,
    Arena,
    ProcessMemory,
    Packets,
}

pub const PATHS: [Path; 4] = [Path::SameProcess, Path::Arena, Path::ProcessMemory, Path::Packets];

impl Path {
    pub fn device(self) -> DeviceConfig {
        DeviceConfig {
            same_process: self == Self::SameProcess,
            mapping: self == Self::Arena,
            process_memory: self == Self::ProcessMemory,
            ..DeviceConfig::default()
        }
    }
}

/// Memory of an arena or of the heap, registered with an endpoint.
pub struct Memory {
    registered: Option<Registered>,
    base: *mut u8,
    length: usize,
    _arena: Option<Arena>,
    _heap: Option<Vec<u64>>,
}

// SAFETY: the pointer is to memory that the value owns, read and written bytewise through the pointer only.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    pub fn arena(endpoint: &Endpoint, length: usize, access: Access) -> Self {
        let arena = endpoint.allocate(length, ArenaOptions::default()).unwrap();
        let registered = Some(endpoint.register(&arena, access).unwrap());
        Self { registered, base: arena.as_ptr(), length, _arena: Some(arena), _heap: None }
    }

    pub fn heap(endpoint: &Endpoint, length: usize, access: Access) -> Self {
        let mut heap = vec![0_u64; length.div_ceil(8)];
        let base = heap.as_mut_ptr().cast::<u8>();
        let memory = RegionDescription {
            address: base as u64,
            length: length as u64,
            kind: MemoryKind::Host,
            descriptor: None,
        };
        // SAFETY: the vector outlives the registration (it is dropped after it) and is reached by pointer only.
        let registered = unsafe { endpoint.register_memory(&memory, access) };
        Self { registered: Some(registered.unwrap()), base, length, _arena: None, _heap: Some(heap) }
    }

    /// Memory that is reached the given way.
    pub fn of(path: Path, endpoint: &Endpoint, length: usize) -> Self {
        match path {
            Path::Arena => Self::arena(endpoint, length, Access::READ_WRITE),
            _ => Self::heap(endpoint, length, Access::READ_WRITE),
        }
    }

    /// Takes the registration back; the memory stays.
    pub fn deregister(&mut self) {
        assert!(self.registered.take().is_some());
    }

    pub fn fill(&self, byte: u8) {
        // SAFETY: all of this memory. What transfers do at the same time is bytewise and part of the tests.
        unsafe { self.base.write_bytes(byte, self.length) };
    }

    pub fn byte(&self, offset: usize) -> u8 {
        assert!(offset < self.length);
        // SAFETY: inside of the memory.
        unsafe { self.base.add(offset).read_volatile() }
    }

    pub fn read(&self, offset: usize, length: usize) -> Vec<u8> {
        assert!(offset + length <= self.length);
        // SAFETY: inside of the memory; the tests read it while nothing may change it.
        unsafe { std::slice::from_raw_parts(self.base.add(offset), length).to_vec() }
    }

    /// Whether all bytes are one of `allowed`.
    pub fn holds_only(&self, allowed: &[u8]) -> bool {
        self.read(0, self.length).iter().all(|byte| allowed.contains(byte))
    }

    pub fn address(&self) -> u64 {
        self.base as u64
    }

    pub fn key(&self) -> u32 {
        self.registered.as_ref().unwrap().remote_key(Transport::SharedMemory).unwrap().0
    }

    pub fn piece(&self, offset: usize, length: usize) -> LocalPiece {
        let key = self.registered.as_ref().unwrap().local_key(Transport::SharedMemory).unwrap();
        LocalPiece { address: self.base as u64 + offset as u64, length: length as u64, key }
    }

    pub fn remote(&self, offset: usize) -> RemoteAddress {
        let key = self.registered.as_ref().unwrap().remote_key(Transport::SharedMemory).unwrap();
        RemoteAddress { address: self.base as u64 + offset as u64, key }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Before the memory itself.
        self.registered = None;
    }
}

/// A work list of the pieces, in work requests of at most `max_message` bytes.
pub fn list(
    direction: Direction,
    max_message: u32,
    pieces: impl IntoIterator<Item = (LocalPiece, RemoteAddress)>,
) -> Arc<WorkList> {
    let limits = WorkListLimits { max_message, ..WorkListLimits::default() };
    let mut builder = WorkListBuilder::new(direction, limits);
    pieces.into_iter().for_each(|(local, remote)| builder.push(local, remote));
    Arc::new(builder.finish())
}

/// Carries a list out.
pub fn carry_out(route: &Route, work: &Arc<WorkList>) -> Result<Outcome, TransferError> {
    let mut transfer = route.submit(work, TransferOptions::default()).unwrap();
    outcome(transfer.wait(Some(Instant::now() + PATIENCE)))
}

pub fn outcome(result: Result<Outcome, WaitError>) -> Result<Outcome, TransferError> {
    match result {
        Ok(outcome) => Ok(outcome),
        Err(WaitError::Failed(error)) => Err(error),
        Err(WaitError::Timeout) => panic!("the transfer did not end within {PATIENCE:?}"),
    }
}

/// How a stream of transfers ended.
#[derive(Debug)]
pub enum End {
    Transfer(TransferError),
    Submit(SubmitError),
}

/// Carries a list out again and again until it fails; how often it went well before.
pub fn until_failure(route: &Route, work: &Arc<WorkList>) -> (u64, End) {
    let (mut done, deadline) = (0, Instant::now() + PATIENCE);
    loop {
        assert!(Instant::now() < deadline, "still no failure after {done} transfers");
        match route.submit_waiting(work, TransferOptions::default(), Some(deadline)) {
            Err(error) => return (done, End::Submit(error)),
            Ok(mut transfer) => match outcome(transfer.wait(Some(deadline))) {
                Ok(_) => done += 1,
                Err(error) => return (done, End::Transfer(error)),
            },
        }
    }
}

/// One message there and one back: whatever was on its way before has arrived.
pub fn round_trip(here: (&Node, &Peer), there: (&Node, &Peer)) {
    for ((_, sender), (receiver, _)) in [(here, there), (there, here)] {
        sender.route().send(b"marker", None).unwrap();
        within(|| match receiver.sees() {
            Seen::Message(_, bytes) => (bytes == b"marker").then_some(()),
            _ => None,
        });
    }
}
