//! What the processes run: an endpoint that does as its parent tells it by lines, and ends with it.
#![allow(unsafe_code)] // registers memory of the heap

use std::{
    collections::HashMap,
    env,
    io::{BufRead, Write},
    sync::{Arc, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

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

use super::{MARK, PATIENCE};

pub const PART: &str = "PMD_HOSTS_PART";
/// Bytes that go there and come back: over streams, where there are some.
const LENGTH: usize = 1 << 20;
/// Asks where the peer's memory is.
const PLACE: u16 = 1;

fn say(text: &str) {
    println!("{MARK}{text}");
    std::io::stdout().flush().unwrap();
}

/// Memory of the heap that peers reach.
struct Memory {
    bytes: Vec<u64>,
    registered: Option<Registered>,
}

impl Memory {
    fn new(endpoint: &Endpoint) -> Self {
        let bytes = vec![0_u64; LENGTH / 8];
        let address = bytes.as_ptr() as u64;
        let memory =
            RegionDescription { address, length: LENGTH as u64, kind: MemoryKind::Host, descriptor: None };
        // SAFETY: the vector is never grown and outlives the registration; its bytes are looked at between transfers.
        let registered = unsafe { endpoint.register_memory(&memory, Access::READ_WRITE) }.unwrap();
        Self { bytes, registered: Some(registered) }
    }

    fn registered(&self) -> &Registered {
        self.registered.as_ref().unwrap()
    }

    fn fill(&mut self, seed: u64) {
        let words = self.bytes.iter_mut().zip(0_u64..);
        words.for_each(|(word, index)| *word = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed);
    }

    fn piece(&self, transport: Transport) -> LocalPiece {
        let key = self.registered().local_key(transport).unwrap();
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
        let memory = self.memory.lock().unwrap();
        let registered = memory.as_ref().unwrap().registered();
        let key = registered.remote_key(peer.transport()).unwrap();
        Ok([&registered.address().to_le_bytes()[..], &key.0.to_le_bytes()].concat())
    }

    fn message(&self, peer: &Peer, message: Message<'_>) {
        let _ = peer.route().send(message.bytes, None);
    }

    fn down(&self, _: &Peer, reason: &DownReason) {
        say(&format!("down {reason:?}"));
    }
}

/// An agent's endpoint and its peers.
struct Agent {
    peer: Option<Peer>,
    /// Writes into the peer's memory.
    work: Option<Arc<WorkList>>,
    // Deregistered before the endpoint goes.
    memory: Memory,
    endpoint: Endpoint,
    under_way: Vec<Transfer>,
    asked: Option<JoinHandle<String>>,
}

impl Agent {
    fn open(wish: &str, listen: Option<&str>, bound: Option<Duration>) -> Self {
        let only = Transport::ALL.into_iter().find(|transport| transport.name() == wish);
        let mut config = EndpointConfig {
            listen: listen.map(|address| address.parse().unwrap()),
            transport: only.map_or(TransportChoice::Auto, TransportChoice::Only),
            lane: LaneConfig { idle: Idle::Park, ..LaneConfig::default() },
            down_after: PATIENCE,
            patience: PATIENCE,
            ..EndpointConfig::default()
        };
        config.down_after = bound.unwrap_or(config.down_after);
        let application = Arc::new(Application::default());
        let endpoint = Endpoint::open(config, Arc::clone(&application) as Arc<dyn PeerService>).unwrap();
        *application.memory.lock().unwrap() = Some(Memory::new(&endpoint));
        let memory = Memory::new(&endpoint);
        Self { endpoint, memory, peer: None, work: None, under_way: Vec::new(), asked: None }
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
        let (address, key) = place.split_first_chunk::<8>().unwrap();
        let key = RemoteKey(u32::from_le_bytes(*key.first_chunk().unwrap()));
        let remote = RemoteAddress { address: u64::from_le_bytes(*address), key };
        let mut work = WorkListBuilder::new(direction, WorkListLimits::default());
        work.push(self.memory.piece(peer.transport()), remote);
        Ok(Arc::new(work.finish()))
    }

    fn connect(&mut self, address: &str) -> Result<String, String> {
        let peer = self.endpoint.connect(address.parse().unwrap()).map_err(|error| error.to_string())?;
        self.move_bytes(&peer)?;
        let said = format!("{} {}", peer.choice().link, peer.choice());
        self.work = Some(self.work_with(&peer, Direction::Write)?);
        self.peer = Some(peer);
        Ok(said)
    }
}

/// With a peer.
impl Agent {
    fn peer(&self) -> Peer {
        self.peer.clone().unwrap()
    }

    /// Asks where the peer's memory is while the peer can be asked, and writes there as often as it is told.
    fn submit(&mut self, times: usize) {
        let work = self.work.clone().unwrap();
        let submit = |_| self.peer().route().submit(&work, TransferOptions::default()).unwrap();
        self.under_way = (0..times).map(submit).collect();
    }

    /// What became of all transfers, or of the first one that failed.
    fn outcome(&mut self) -> String {
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

    fn ask(&mut self) {
        let peer = self.peer();
        self.asked = Some(thread::spawn(move || match peer.request(PLACE, Vec::new(), PATIENCE) {
            Ok(_) => "answered".into(),
            Err(error) => format!("{error:?}"),
        }));
    }

    fn asked(&mut self) -> String {
        self.asked.take().unwrap().join().unwrap()
    }

    fn state(&self) -> String {
        self.peer().down_reason().map_or_else(|| "lives".into(), |reason| format!("{reason:?}"))
    }
}

/// What a child process runs; returns at once in a parent.
pub fn run() {
    if env::var(PART).is_err() {
        return;
    }
    say("ready");
    let mut agents: HashMap<String, Agent> = HashMap::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        obey(&line, &mut agents);
    }
    std::process::exit(0);
}

/// The one that connected.
fn linked(agents: &mut HashMap<String, Agent>) -> &mut Agent {
    agents.get_mut("connects").unwrap()
}

fn obey(line: &str, agents: &mut HashMap<String, Agent>) {
    let words: Vec<&str> = line.split(' ').collect();
    let bound = words.get(3).map(|text| Duration::from_millis(text.parse().unwrap()));
    match words[..] {
        ["listen", address, wish, ..] => {
            let agent = Agent::open(wish, Some(address), bound);
            say(&format!("listens {}", agent.endpoint.local_address().unwrap()));
            agents.insert("listens".into(), agent);
        }
        ["connect", address, wish, ..] => {
            let mut agent = Agent::open(wish, None, bound);
            match agent.connect(address) {
                Ok(choice) => say(&format!("linked {choice}")),
                Err(why) => say(&format!("refused {why}")),
            }
            agents.insert("connects".into(), agent);
        }
        ["leave"] => {
            agents.clear();
            say("left");
        }
        ["relink", address] => say(&match linked(agents).connect(address) {
            Ok(choice) => format!("linked {choice}"),
            Err(why) => format!("refused {why}"),
        }),
        ["submit", times] => {
            linked(agents).submit(times.parse().unwrap());
            say("submitted");
        }
        ["ask"] => {
            linked(agents).ask();
            say("asking");
        }
        ["outcome"] => say(&linked(agents).outcome()),
        ["asked"] => say(&linked(agents).asked()),
        ["state"] => say(&linked(agents).state()),
        _ => panic!("no such order: {line}"),
    }
}
