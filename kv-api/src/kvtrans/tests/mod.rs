//! Two engines in one process, over shared memory.
#![allow(unsafe_code)] // registers memory of the tests

mod devices;
mod errors;
mod exchange;
mod faults;
mod rails;
mod soak;
mod stopping;
mod stripes;
mod wire;

use std::time::Duration;

use pmd_host::{backend::Transport, endpoint::TransportChoice};

use super::*;

/// Long enough for any machine; a test that waits so long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two engines and a connection between them. The buffers of a test are declared before it, so that they outlive it.
struct Pair {
    sender: Engine,
    receiver: Engine,
    /// As the sender knows it.
    out: ConnectionId,
    /// As the receiver knows it.
    back: ConnectionId,
}

fn config(ncpus: u32, nconn_per_cpu: u32) -> Config {
    let mut config = Config::new("lo", ncpus, nconn_per_cpu, 0);
    config.endpoint.transport = TransportChoice::Only(Transport::SharedMemory);
    (config.patience, config.withdraw_patience) = (PATIENCE, PATIENCE);
    // Where many tests share a core, a lane that is not run for long is no dead peer.
    (config.endpoint.down_after, config.endpoint.lane.grace) = (PATIENCE, PATIENCE);
    config
}

fn engine(config: Config) -> Engine {
    Engine::open(config).expect("an engine")
}

fn connect(sender: &Engine, receiver: &Engine) -> (ConnectionId, ConnectionId) {
    let address = receiver.listen_address().expect("it listens");
    let out = sender.connect(address.ip(), address.port()).expect("connected");
    (out, receiver.accept(PATIENCE).expect("accepted").connection)
}

fn pair_of(sender: Config, receiver: Config) -> Pair {
    let (sender, receiver) = (engine(sender), engine(receiver));
    let (out, back) = connect(&sender, &receiver);
    Pair { sender, receiver, out, back }
}

fn pair(ncpus: u32, nconn_per_cpu: u32) -> Pair {
    pair_of(config(ncpus, nconn_per_cpu), config(ncpus, nconn_per_cpu))
}

/// Registers memory of a test, which keeps it for longer than the engine.
fn reg_kv(engine: &Engine, connection: ConnectionId, bytes: &[u8]) -> KvId {
    // SAFETY: the tests declare their buffers before the engines, and do not look at them while an operation runs.
    unsafe { engine.reg_kv(connection, &Memory::from(bytes).host()) }.expect("registered")
}

fn reg_memory(engine: &Engine, bytes: &[u8]) -> MemoryId {
    // SAFETY: as for `reg_kv`.
    unsafe { engine.reg_memory(&Memory::from(bytes).host()) }.expect("registered")
}

fn post_send(engine: &Engine, via: impl Into<Via>, bytes: &[u8], timeout: Option<Duration>) -> SendHandle {
    // SAFETY: the tests keep the bytes until the send has an outcome.
    unsafe { engine.post_send(via, Memory::from(bytes), timeout) }.expect("posted")
}

fn send_kv(engine: &Engine, via: impl Into<Via>, bytes: &[u8]) -> Result<(), SendError> {
    // SAFETY: the bytes are borrowed until the send is done.
    unsafe { engine.send_kv(via, Memory::from(bytes)) }
}

/// Bytes that differ from place to place and from seed to seed.
fn pattern(length: usize, seed: u8) -> Vec<u8> {
    (0..length).map(|index| (index ^ (index >> 8) ^ (index >> 16)) as u8 ^ seed).collect()
}
