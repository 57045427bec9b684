//! Engines in one process, over shared memory. What needs a peer that is killed or stopped is in `kv-api/tests/hixl.rs`.

mod connecting;
mod devices;
mod foreign;
mod notifying;
mod options;
mod registering;
mod staged;
mod statuses;
mod transferring;

use std::{collections::BTreeMap, net::TcpListener, time::Duration};

use super::*;

/// No test waits for longer.
const PATIENCE: Duration = Duration::from_secs(20);

type Given = BTreeMap<String, String>;

fn options(given: &[(&str, &str)]) -> Given {
    given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Staging off.
fn direct() -> Given {
    options(&[(OPTION_BUFFER_POOL, "0:0")])
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).expect("a port").local_addr().expect("an address").port()
}

/// A server and its name. Another process may take the port in between, so it tries again.
fn server(given: &Given) -> (Hixl, String) {
    for _ in 0..16 {
        let name = format!("127.0.0.1:{}", free_port());
        let engine = Hixl::new();
        if engine.initialize_with(&name, given, endpoint()).is_ok() {
            return (engine, name);
        }
    }
    panic!("no port is free");
}

fn client(given: &Given) -> Hixl {
    let engine = Hixl::new();
    engine.initialize_with("127.0.0.1", given, endpoint()).expect("a client");
    engine
}

/// Takes no peer for dead because the machine is busy.
fn endpoint() -> EndpointConfig {
    let mut config = environment::endpoint_config().expect("the environment");
    (config.down_after, config.lane.grace) = (PATIENCE, PATIENCE);
    config
}

/// A client that is connected to a server: client, server, its name.
fn pair(given: &Given) -> (Hixl, Hixl, String) {
    let (server, name) = server(given);
    let client = client(given);
    client.connect(&name, PATIENCE).expect("connected");
    (client, server, name)
}

/// Memory of the test, kept where it is. The engines write it through its address while nobody looks.
struct Memory(Vec<u8>);

impl Memory {
    fn new(length: usize, byte: impl Fn(usize) -> u8) -> Self {
        Self((0..length).map(byte).collect())
    }

    fn zeroed(length: usize) -> Self {
        Self::new(length, |_| 0)
    }

    fn address(&mut self) -> u64 {
        self.0.as_mut_ptr() as u64
    }

    fn describe(&mut self) -> MemDesc {
        MemDesc { addr: self.address(), len: self.0.len() as u64 }
    }

    fn register(&mut self, engine: &Hixl) -> MemHandle {
        register(engine, self.describe(), MemType::Host).expect("registered")
    }

    /// What is there now.
    fn bytes(&mut self) -> &[u8] {
        let (address, length) = (self.0.as_mut_ptr(), self.0.len());
        // SAFETY: the vector's own bytes; the tests look only while no transfer runs.
        unsafe { std::slice::from_raw_parts(address, length) }
    }
}

fn register(engine: &Hixl, memory: MemDesc, kind: MemType) -> Result<MemHandle, HixlError> {
    // SAFETY: the tests keep memory for longer than engines, and look at it only while no transfer runs.
    unsafe { engine.register_mem(memory, kind) }
}

fn transfer(
    engine: &Hixl,
    remote: &str,
    operation: TransferOp,
    operations: &[TransferOpDesc],
    timeout: Duration,
) -> Result<(), HixlError> {
    // SAFETY: as for `register`.
    unsafe { engine.transfer_sync(remote, operation, operations, timeout) }
}

fn transfer_async(
    engine: &Hixl,
    remote: &str,
    operation: TransferOp,
    operations: &[TransferOpDesc],
    args: TransferArgs,
) -> Result<TransferReq, HixlError> {
    // SAFETY: as for `register`.
    unsafe { engine.transfer_async(remote, operation, operations, args) }
}

/// Asks until the transfer has ended.
fn ended(engine: &Hixl, req: TransferReq) -> TransferStatus {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match engine.transfer_status(req).expect("it is known") {
            TransferStatus::Waiting => assert!(Instant::now() < deadline, "not over within {PATIENCE:?}"),
            status => return status,
        }
        thread::yield_now();
    }
}

fn status<T: fmt::Debug>(result: Result<T, HixlError>) -> Status {
    result.expect_err("it has to fail").status()
}

/// Pieces of `length` bytes in a different order on each side.
fn permuted(local: u64, remote: u64, pieces: u64, length: u64) -> Vec<TransferOpDesc> {
    let operation = |index: u64| TransferOpDesc {
        local_addr: local + index * length,
        remote_addr: remote + turned(index, pieces) * length,
        len: length,
    };
    (0..pieces).map(operation).collect()
}

/// Where piece `index` lies at the peer: each place once, as 7 divides no number of pieces here.
fn turned(index: u64, pieces: u64) -> u64 {
    (index * 7 + 3) % pieces
}
