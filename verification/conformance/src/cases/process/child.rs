//! The peer's program, and the parent's handle of it.

use std::{
    env,
    io::{BufRead, BufReader, Read, Write},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use pmd_core::memory::{RemoteAddress, RemoteKey};
use pmd_host::{
    endpoint::{Endpoint, EndpointConfig, Peer, PeerService},
    lane::{LaneConfig, Message},
    transfer::{Direction, Notification, TransferOptions},
};

use super::memory::{BLOCK, HALF, ROUNDS, Shared, list};
use crate::{
    bed::{self, Bed, Place},
    context::{Context, pattern},
};

/// Names the part that a process plays.
const PART: &str = "CONFORMANCE_PEER";
/// Seed of a child's bytes.
pub(super) const CONTENT: u64 = 55;

/// How both sides' endpoints are made: nothing is stopped by force while a loaded machine is slow.
pub(super) fn config(bed: &dyn Bed, place: Place, patience: Duration) -> EndpointConfig {
    let config = bed.endpoint(place).expect("a bed with processes has endpoints");
    EndpointConfig {
        name: format!("{place:?} {}", std::process::id()),
        lane: LaneConfig { grace: patience, ..LaneConfig::default() },
        down_after: patience,
        patience,
        ..config
    }
}

/// Where a child pushes to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inbox {
    pub(super) address: u64,
    pub(super) key: u32,
}

/// What a child does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) inbox: Inbox,
    /// The push after which it kills itself.
    pub(super) die_after: Option<u64>,
}

impl Order {
    fn to_bytes(self) -> Vec<u8> {
        let words = [self.inbox.address, self.inbox.key.into(), self.die_after.unwrap_or(u64::MAX)];
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (words, _) = bytes.as_chunks::<8>();
        let [address, key, die_after] = <[[u8; 8]; 3]>::try_from(words).ok()?.map(u64::from_le_bytes);
        let inbox = Inbox { address, key: key as u32 };
        Some(Self { inbox, die_after: (die_after != u64::MAX).then_some(die_after) })
    }
}

/// A child process; killed when it is dropped.
pub(super) struct Child {
    process: Mutex<std::process::Child>,
    pub(super) address: SocketAddr,
    memory: RemoteAddress,
}

impl Child {
    /// Starts one, and waits until it listens.
    pub(super) fn start(context: &Context) -> Self {
        let part = context.bed.part().expect("a bed with processes has parts for them");
        let part = format!("{} {part}", context.patience.as_secs());
        let program = env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.env(PART, part).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().expect("starting a child");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        let (sender, answer) = mpsc::channel();
        thread::spawn(move || {
            let line = output.lines().map_while(Result::ok).next();
            let _ = sender.send(line.unwrap_or_default());
        });
        let line = answer.recv_timeout(context.patience).expect("hanging: the child does not start");
        let words: Vec<&str> = line.split(' ').collect();
        let [address, memory, key] = words[..] else { panic!("the child says {line:?}") };
        let number = |text: &str| text.parse::<u64>().expect("a number");
        let memory = RemoteAddress { address: number(memory), key: RemoteKey(number(key) as u32) };
        Self { process: Mutex::new(process), address: address.parse().expect("an address"), memory }
    }

    /// A place in its memory.
    pub(super) fn remote(&self, offset: usize) -> RemoteAddress {
        RemoteAddress { address: self.memory.address + offset as u64, ..self.memory }
    }

    /// Tells it what to do.
    pub(super) fn order(&self, peer: &Peer, order: &Order) {
        peer.route().send(&order.to_bytes(), None).expect("the first message finds room");
    }

    /// SIGKILL.
    pub(super) fn kill(&self) {
        let _ = self.process.lock().unwrap_or_else(PoisonError::into_inner).kill();
    }

    /// Waits until nothing is left of the process.
    pub(super) fn reap(&self) {
        let _ = self.process.lock().unwrap_or_else(PoisonError::into_inner).wait();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
        self.reap();
    }
}

/// Plays a peer if this process was started to, and says whether it was.
#[must_use]
pub fn run_if_asked() -> bool {
    let Ok(part) = env::var(PART) else { return false };
    let (patience, part) = part.split_once(' ').expect("patience and part");
    let patience = Duration::from_secs(patience.parse().expect("seconds"));
    let bed = bed::of_part(part).expect("a bed of this name");
    let (orders, order) = mpsc::channel();
    let listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    let config = EndpointConfig { listen, ..config(&*bed, Place::Right, patience) };
    let endpoint =
        Endpoint::open(config, Arc::new(Obedient { orders: Mutex::new(orders) })).expect("an endpoint");
    let memory = Shared::new(&endpoint, bed.maps_memory(), 2 * HALF);
    memory.write(0, &pattern(CONTENT, HALF));
    let (address, transport) = (endpoint.local_address().expect("it listens"), endpoint.transports()[0]);
    println!("{address} {} {}", memory.address(), memory.remote_key(transport));
    std::io::stdout().flush().expect("the parent reads");
    thread::spawn(|| {
        // Ends with its parent, however that ends.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    while let Ok((peer, order)) = order.recv() {
        push(&endpoint, &*bed, &peer, order);
    }
    true
}

/// Hands orders to the main thread.
struct Obedient {
    orders: Mutex<mpsc::Sender<(Peer, Order)>>,
}

impl PeerService for Obedient {
    fn message(&self, peer: &Peer, message: Message<'_>) {
        if let Some(order) = Order::of_bytes(message.bytes) {
            let _ = self.orders.lock().unwrap_or_else(PoisonError::into_inner).send((peer.clone(), order));
        }
    }
}

/// Writes one block after the other into the inbox, each with a notification, and dies where it is told to.
fn push(endpoint: &Endpoint, bed: &dyn Bed, peer: &Peer, order: Order) {
    let source = Shared::new(endpoint, bed.maps_memory(), ROUNDS as usize * BLOCK);
    let mut running = Vec::new();
    for round in 0..ROUNDS {
        let offset = round as usize * BLOCK;
        source.write(offset, &pattern(round, BLOCK));
        let remote =
            RemoteAddress { address: order.inbox.address + offset as u64, key: RemoteKey(order.inbox.key) };
        let work = list(Direction::Write, [(source.piece(peer.transport(), offset, BLOCK), remote)]);
        let notify = Some(Notification { bytes: round.to_le_bytes().to_vec(), immediate: None });
        let options = TransferOptions { notify, ..TransferOptions::default() };
        let Ok(transfer) = peer.route().submit_waiting(&work, options, None) else { return };
        running.push(transfer);
        if order.die_after == Some(round) {
            let _ = nix::sys::signal::kill(nix::unistd::getpid(), nix::sys::signal::SIGKILL);
        }
        // Some in flight at any time.
        if running.len() > 3 && running.remove(0).wait(None).is_err() {
            return;
        }
    }
    for transfer in &mut running {
        let _ = transfer.wait(None);
    }
}
