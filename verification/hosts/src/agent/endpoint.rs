//! What an agent does with an endpoint: it moves bytes into its peer's memory and back, and asks it things.

use std::{
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use interoperation::process::PATIENCE;
use pmd_core::memory::{Access, MemoryKind, RegionDescription, RemoteAddress, RemoteKey};
use pmd_host::{
    backend::Transport,
    control::{DownReason, Refusal},
    endpoint::{Endpoint, EndpointConfig, Peer, PeerService, Registered, TransportChoice},
    lane::{Idle, LaneConfig, Message},
    transfer::{
        Direction, LocalPiece, Transfer, TransferOptions, WaitError, WorkList, WorkListBuilder,
        WorkListLimits,
    },
};

use super::say;

/// Bytes that go there and come back: over streams, where there are some.
const LENGTH: usize = 1 << 20;
/// Asks where the peer's memory is.
const PLACE: u16 = 1;

/// An endpoint and the peer that it has connected to.
pub(super) struct Member {
    peer: Option<Peer>,
    /// Writes into the peer's memory.
    work: Option<Arc<WorkList>>,
    // Deregistered before the endpoint goes.
    memory: Memory,
    endpoint: Endpoint,
    under_way: Vec<Transfer>,
    asked: Option<JoinHandle<String>>,
}

impl Member {
    /// Opens an endpoint with a wish for a transport, which listens or not, and gives up a peer after such a silence.
    pub(super) fn open(wish: &str, listen: Option<&str>, bound: Option<Duration>) -> Self {
        let only = Transport::ALL.into_iter().find(|transport| transport.name() == wish);
        let config = EndpointConfig {
            listen: listen.map(|address| address.parse().expect("an address")),
            transport: only.map_or(TransportChoice::Auto, TransportChoice::Only),
            lane: LaneConfig { idle: Idle::Park, ..LaneConfig::default() },
            down_after: bound.unwrap_or(PATIENCE),
            patience: PATIENCE,
            ..EndpointConfig::default()
        };
        let application = Arc::new(Application::default());
        let service = Arc::clone(&application) as Arc<dyn PeerService>;
        let endpoint = Endpoint::open(config, service).expect("an endpoint");
        *application.memory.lock().expect("nobody panicked") = Some(Memory::new(&endpoint));
        let memory = Memory::new(&endpoint);
        Self { endpoint, memory, peer: None, work: None, under_way: Vec::new(), asked: None }
    }

    /// Where it listens.
    pub(super) fn local_address(&self) -> String {
        self.endpoint.local_address().map(|address| address.to_string()).unwrap_or_default()
    }

    /// Connects, and moves bytes there and back. The link and what was chosen, or why there is none.
    pub(super) fn connect(&mut self, address: &str) -> Result<String, String> {
        let address = address.parse().expect("an address");
        let peer = self.endpoint.connect(address).map_err(|error| error.to_string())?;
        self.move_bytes(&peer)?;
        let said = format!("{} {}", peer.choice().link, peer.choice());
        self.work = Some(self.work_with(&peer, Direction::Write)?);
        self.peer = Some(peer);
        Ok(said)
    }

    /// Writes a pattern into the peer's memory and reads it back.
    fn move_bytes(&mut self, peer: &Peer) -> Result<(), String> {
        self.memory.fill(7);
        let expected = self.memory.bytes.clone();
        for direction in [Direction::Write, Direction::Read] {
            let work = self.work_with(peer, direction)?;
            let transfer = peer.route().submit(&work, TransferOptions::default());
            let mut transfer = transfer.map_err(|error| error.to_string())?;
            let outcome =
                transfer.wait(Some(Instant::now() + PATIENCE)).map_err(|error| error.to_string())?;
            assert_eq!(outcome.bytes, LENGTH as u64);
            if direction == Direction::Write {
                self.memory.bytes.fill(0);
            }
        }
        if self.memory.bytes == expected { Ok(()) } else { Err("other bytes came back".into()) }
    }

    fn work_with(&self, peer: &Peer, direction: Direction) -> Result<Arc<WorkList>, String> {
        let place = peer.request(PLACE, Vec::new(), PATIENCE).map_err(|error| error.to_string())?;
        let (address, key) = place.split_first_chunk::<8>().ok_or("no place of the peer's")?;
        let key = RemoteKey(u32::from_le_bytes(key.try_into().map_err(|_| "no key of the peer's")?));
        let remote = RemoteAddress { address: u64::from_le_bytes(*address), key };
        let mut work = WorkListBuilder::new(direction, WorkListLimits::default());
        work.push(self.memory.piece(peer.transport()), remote);
        Ok(Arc::new(work.finish()))
    }
}

/// With a peer.
impl Member {
    fn peer(&self) -> Peer {
        self.peer.clone().expect("a peer")
    }

    /// Writes into the peer's memory so many times.
    pub(super) fn submit(&mut self, count: usize) {
        let (peer, work) = (self.peer(), self.work.clone().expect("a peer"));
        let submit = |_| peer.route().submit(&work, TransferOptions::default()).expect("a transfer");
        self.under_way = (0..count).map(submit).collect();
    }

    /// What became of all transfers, or of the first one that failed.
    pub(super) fn outcome(&mut self) -> String {
        let mut done = 0;
        for mut transfer in self.under_way.drain(..) {
            match transfer.wait(Some(Instant::now() + PATIENCE)) {
                Ok(_) => done += 1,
                Err(WaitError::Failed(error)) => return format!("failed {error:?}"),
                Err(WaitError::Timeout) => return "pending".into(),
            }
        }
        format!("done {done}")
    }

    /// Asks the peer where its memory is, on a thread.
    pub(super) fn ask(&mut self) {
        let peer = self.peer();
        self.asked = Some(thread::spawn(move || match peer.request(PLACE, Vec::new(), PATIENCE) {
            Ok(_) => "answered".into(),
            Err(error) => format!("{error:?}"),
        }));
    }

    /// What came of asking.
    pub(super) fn asked(&mut self) -> String {
        self.asked.take().expect("it was asked").join().expect("a thread that ends well")
    }

    /// Whether the peer lives.
    pub(super) fn state(&self) -> String {
        self.peer().down_reason().map_or_else(|| "lives".into(), |reason| format!("{reason:?}"))
    }
}

/// Memory of the heap that peers reach.
struct Memory {
    bytes: Vec<u64>,
    registered: Option<Registered>,
}

impl Memory {
    #[expect(unsafe_code, reason = "registers memory of the heap")]
    fn new(endpoint: &Endpoint) -> Self {
        let bytes = vec![0_u64; LENGTH / 8];
        let address = bytes.as_ptr() as u64;
        let memory =
            RegionDescription { address, length: LENGTH as u64, kind: MemoryKind::Host, descriptor: None };
        // SAFETY: the vector is never grown and outlives the registration; its bytes are looked at between transfers.
        let registered = unsafe { endpoint.register_memory(&memory, Access::READ_WRITE) };
        Self { bytes, registered: Some(registered.expect("a registration")) }
    }

    fn registered(&self) -> &Registered {
        self.registered.as_ref().expect("a registration")
    }

    fn fill(&mut self, seed: u64) {
        let words = self.bytes.iter_mut().zip(0_u64..);
        words.for_each(|(word, index)| *word = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed);
    }

    fn piece(&self, transport: Transport) -> LocalPiece {
        let key = self.registered().local_key(transport).expect("a key");
        LocalPiece { address: self.registered().address(), length: LENGTH as u64, key }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // Before the bytes.
        self.registered = None;
    }
}

/// Tells where its memory is, says what it is told.
#[derive(Default)]
struct Application {
    memory: Mutex<Option<Memory>>,
}

impl PeerService for Application {
    fn connected(&self, peer: &Peer) {
        say(&format!("connected {} {}", peer.choice().link, peer.choice()));
    }

    fn request(&self, peer: &Peer, _: u16, _: &[u8]) -> Result<Vec<u8>, Refusal> {
        let memory = self.memory.lock().expect("nobody panicked");
        let registered = memory.as_ref().expect("memory").registered();
        let key = registered.remote_key(peer.transport()).expect("a key");
        Ok([&registered.address().to_le_bytes()[..], &key.0.to_le_bytes()].concat())
    }

    fn message(&self, peer: &Peer, message: Message<'_>) {
        let _ = peer.route().send(message.bytes, None);
    }

    fn down(&self, _: &Peer, reason: &DownReason) {
        say(&format!("down {reason:?}"));
    }
}
