//! Workers, servers and tensors for tests.

use std::time::{Duration, Instant};

use crate::{
    server::{Gather, Request, Server, ServerConfig},
    tensor::{DataType, Layout, Memory, Tensor},
    wire::NodeIdentity,
    worker::{Worker, WorkerConfig},
};

/// Nothing in a test takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

/// Waits for what another thread brings about.
pub(crate) fn until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited for: {what}");
        std::thread::yield_now();
    }
}

pub(crate) fn node(rank: u32) -> NodeIdentity {
    NodeIdentity { rank, instance: 0, epoch: 1 }
}

pub(crate) fn server(rank: u32) -> Server {
    let mut config = ServerConfig { identity: node(rank), ..ServerConfig::default() };
    config.endpoint.lane.grace = PATIENCE;
    Server::open(config).unwrap()
}

pub(crate) fn worker(rank: u32, servers: &[&Server]) -> Worker {
    worker_with(WorkerConfig { identity: node(rank), ..WorkerConfig::default() }, servers)
}

/// Its lane takes no server for unresponsive because the machine is busy while a request is cancelled.
pub(crate) fn worker_with(mut config: WorkerConfig, servers: &[&Server]) -> Worker {
    config.endpoint.lane.grace = PATIENCE;
    let worker = Worker::open(config).unwrap();
    for server in servers {
        let rank = server.identity().rank;
        assert_eq!(worker.connect(rank, server.local_address().unwrap()).unwrap().rank, rank);
    }
    worker
}

pub(crate) fn bytes_in(memory: &Memory, bytes: u32) -> Tensor {
    Tensor::new(memory, 0, Layout::of_bytes(bytes)).unwrap()
}

/// A tensor of bytes in a worker's memory.
pub(crate) fn ours(worker: &Worker, bytes: u32, fill: u8) -> Tensor {
    filled(&bytes_in(&worker.allocate(bytes.max(1) as usize).unwrap(), bytes), fill)
}

/// A tensor of bytes in a server's memory.
pub(crate) fn theirs(server: &Server, bytes: u32, fill: u8) -> Tensor {
    filled(&bytes_in(&server.allocate(bytes.max(1) as usize).unwrap(), bytes), fill)
}

pub(crate) fn filled(tensor: &Tensor, fill: u8) -> Tensor {
    write(tensor, &vec![fill; tensor.bytes() as usize]);
    tensor.clone()
}

/// Rows of bytes, row `r` filled with `r + 1`.
pub(crate) fn rows(worker: &Worker, rows: u64, width: u64) -> Tensor {
    let layout = Layout::new(DataType::Uint8, &[rows, width]).unwrap();
    let tensor = Tensor::new(&worker.allocate(layout.bytes() as usize).unwrap(), 0, layout).unwrap();
    let content: Vec<u8> = (0..rows).flat_map(|row| vec![row as u8 + 1; width as usize]).collect();
    write(&tensor, &content);
    tensor
}

#[expect(unsafe_code, reason = "prepares memory that no request uses")]
pub(crate) fn write(tensor: &Tensor, bytes: &[u8]) {
    // SAFETY: tests call it while no request uses the tensor.
    unsafe { tensor.write(bytes) }.unwrap();
}

#[expect(unsafe_code, reason = "looks at memory that no request uses")]
pub(crate) fn read(tensor: &Tensor) -> Vec<u8> {
    // SAFETY: tests call it once the request is done, or before its answer.
    unsafe { tensor.read() }
}

pub(crate) fn is_filled(tensor: &Tensor, byte: u8) -> bool {
    read(tensor).iter().all(|found| *found == byte)
}

/// The one request that comes next.
pub(crate) fn next(server: &Server) -> Request {
    let mut requests = server.batch(Gather::Any, soon()).unwrap();
    assert_eq!(requests.len(), 1);
    requests.remove(0)
}

/// Keys and bytes of what was pushed.
pub(crate) fn pushed(request: &Request) -> Vec<(u64, Vec<u8>)> {
    request.pushes().map(|push| (push.key(), push.tensor().map_or_else(Vec::new, read))).collect()
}
