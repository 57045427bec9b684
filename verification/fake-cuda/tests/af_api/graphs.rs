//! Captured push-pulls on both sides.

use std::sync::Arc;

use af_api::{
    graph::{Answering, CaptureError, CapturedExchange, CapturedService},
    server::{Server, ServerConfig},
    tensor::{Layout, Tensor},
    wire::NodeIdentity,
    worker::{PushPull, Worker, WorkerConfig},
};
use gpu_direct::{CudaAccelerator, graph::Executable};

use crate::support::*;

pub(crate) const BYTES: u64 = 512;

pub(crate) fn node(rank: u32) -> NodeIdentity {
    NodeIdentity { rank, instance: 0, epoch: 1 }
}

pub(crate) fn server() -> Server {
    Server::open(ServerConfig { identity: node(0), ..ServerConfig::default() }).expect("a server")
}

pub(crate) fn worker(server: std::net::SocketAddr) -> Worker {
    let worker = Worker::open(WorkerConfig { identity: node(0), ..WorkerConfig::default() });
    let worker = worker.expect("a worker");
    worker.connect(0, server).expect("the server");
    worker
}

/// A GPU and a stream of it.
pub(crate) struct Side {
    pub(crate) gpu: CudaAccelerator,
    pub(crate) stream: Arc<dyn Stream>,
    memory: Box<dyn DeviceMemory>,
}

impl Side {
    pub(crate) fn new(ordinal: u32) -> Self {
        let gpu = CudaAccelerator::open(ordinal).expect("the stand-in has it");
        let (stream, memory) =
            (gpu.open_stream().expect("a stream"), gpu.allocate(2 * BYTES).expect("memory"));
        Self { gpu, stream, memory }
    }

    /// The first half of the device memory, or the second.
    fn half(&self, second: bool) -> u64 {
        address(&*self.memory) + if second { BYTES } else { 0 }
    }

    fn copy(&self, from: u64, to: u64, length: u64, direction: CopyDirection) {
        // SAFETY: everything lives for as long as graphs with it are launched.
        unsafe { self.stream.copy(&[CopyRange { from, to, length, direction }]) }.expect("a copy");
    }
}

/// The worker's layer: its GPU's first half is pushed, its second half holds what was pulled.
///
/// The exchange goes first: to free memory that the graph touches is to wait for its launches.
pub(crate) struct Pushing {
    pub(crate) exchange: CapturedExchange,
    graph: Executable,
    pub(crate) side: Side,
    _tensors: [Tensor; 2],
}

impl Pushing {
    pub(crate) fn new(worker: &Worker, key: u64) -> Self {
        let side = Side::new(0);
        let tensor = || {
            let memory = worker.allocate(BYTES as usize).expect("memory");
            Tensor::new(&memory, 0, Layout::of_bytes(BYTES as u32)).expect("a tensor")
        };
        let tensors @ [push, pull] = &[tensor(), tensor()];
        let request = PushPull::new().push(key, push).pull(key, pull);
        let exchange = worker.capture(&side.gpu, &request, Some(PATIENCE)).expect("an exchange");
        let capture = side.gpu.begin_capture(&side.stream).expect("a capture");
        side.copy(side.half(false), push.address(), BYTES, CopyDirection::DeviceToHost);
        exchange.put(&*side.stream).expect("the exchange in the graph");
        side.copy(pull.address(), side.half(true), BYTES, CopyDirection::HostToDevice);
        let graph = capture.end().and_then(|graph| graph.instantiate()).expect("a graph");
        Self { exchange, graph, side, _tensors: tensors.clone() }
    }

    /// Launches the graph, with the bytes that it is to push and the place for those that it pulled.
    pub(crate) fn launch(&self, from: &[u8], to: &mut [u8]) {
        let Self { side, graph, .. } = self;
        side.copy(from.as_ptr() as u64, side.half(false), BYTES, CopyDirection::HostToDevice);
        // SAFETY: tensors and device memory live as long as the graph.
        unsafe { graph.launch(&side.stream) }.expect("a launch");
        side.copy(side.half(true), to.as_mut_ptr() as u64, BYTES, CopyDirection::DeviceToHost);
    }
}

/// The server's layer, which answers with the halves of what was pushed exchanged.
pub(crate) struct Answers {
    pub(crate) service: CapturedService,
    graph: Executable,
    pub(crate) side: Side,
    _tensors: [Tensor; 2],
}

impl Answers {
    pub(crate) fn new(server: &Server, key: u64) -> Self {
        let side = Side::new(1);
        let tensor = || {
            let memory = server.allocate(BYTES as usize).expect("memory");
            Tensor::new(&memory, 0, Layout::of_bytes(BYTES as u32)).expect("a tensor")
        };
        let tensors @ [pushed, answer] = &[tensor(), tensor()];
        server.offer(0, key, pushed, 1).expect("a buffer");
        let answering = Answering::new(0).pushed(key, pushed).answer(answer);
        let service = server.capture(&side.gpu, &[answering], Some(PATIENCE)).expect("a service");
        let capture = side.gpu.begin_capture(&side.stream).expect("a capture");
        service.put_batch(&*side.stream).expect("the batch in the graph");
        side.copy(pushed.address(), side.half(false), BYTES, CopyDirection::HostToDevice);
        let (first, middle) = (side.half(false), side.half(false) + BYTES / 2);
        side.copy(first, answer.address() + BYTES / 2, BYTES / 2, CopyDirection::DeviceToHost);
        side.copy(middle, answer.address(), BYTES / 2, CopyDirection::DeviceToHost);
        service.put_responses(&*side.stream).expect("the responses in the graph");
        let graph = capture.end().and_then(|graph| graph.instantiate()).expect("a graph");
        Self { service, graph, side, _tensors: tensors.clone() }
    }

    pub(crate) fn launch(&self) {
        // SAFETY: tensors and device memory live as long as the graph.
        unsafe { self.graph.launch(&self.side.stream) }.expect("a launch");
    }
}

/// Both sides of a layer. The server's first: what the worker agrees on when it captures is the offered buffer then.
fn layer(worker: &Worker, server: &Server, key: u64) -> (Pushing, Answers) {
    let answers = Answers::new(server, key);
    (Pushing::new(worker, key), answers)
}

/// What a round pushes.
pub(crate) fn content(round: usize) -> Vec<u8> {
    (0..BYTES as usize).map(|at| (at * 7 + at / 251 + round * 13 + round / 256) as u8).collect()
}

pub(crate) fn exchanged(bytes: &[u8]) -> Vec<u8> {
    let (first, second) = bytes.split_at(bytes.len() / 2);
    [second, first].concat()
}

/// Launches both sides so often, back to back, and checks every round.
fn replay(layers: &[(Pushing, Answers)], rounds: usize) {
    let contents: Vec<Vec<u8>> = (0..rounds).map(content).collect();
    let mut found = vec![vec![vec![0_u8; BYTES as usize]; rounds]; layers.len()];
    for ((pushing, answers), found) in layers.iter().zip(&mut found) {
        for (from, to) in contents.iter().zip(found) {
            answers.launch();
            pushing.launch(from, to);
        }
    }
    for (pushing, answers) in layers {
        finish(&pushing.side.stream);
        finish(&answers.side.stream);
        assert_eq!(pushing.exchange.launches().check().unwrap(), rounds as u64);
        answers.service.launches().wait(rounds as u64, None).unwrap();
        assert_eq!(answers.service.launches().failed(), 0);
    }
    for found in found {
        let wrong = contents.iter().zip(&found).position(|(from, to)| exchanged(from) != *to);
        assert_eq!(wrong, None, "the first round that is wrong");
    }
}

case!(graphs_on_both_sides_replay_thousands_of_times, [], {
    let server = server();
    let worker = worker(server.local_address().unwrap());
    let layers = [layer(&worker, &server, 1)];
    replay(&layers, 2000);
    drop((layers, worker, server));
    assert_nothing_left();
});

case!(graphs_of_several_exchanges_overlap_in_several_streams, [], {
    let server = server();
    let worker = worker(server.local_address().unwrap());
    let layers: Vec<_> = (1..=4).map(|key| layer(&worker, &server, key)).collect();
    replay(&layers, 100);
    drop((layers, worker, server));
    assert_nothing_left();
});

case!(a_worker_that_closes_and_objects_that_go_leave_no_launch_waiting, [], {
    let server = server();
    let worker = worker(server.local_address().unwrap());
    let (pushing, answers) = layer(&worker, &server, 1);
    let (sent, mut found) = (content(5), vec![0; BYTES as usize]);
    answers.launch();
    pushing.launch(&sent, &mut found);
    finish(&pushing.side.stream);
    assert_eq!(found, exchanged(&sent));
    answers.launch();
    drop(worker);
    for _ in 0..20 {
        pushing.launch(&sent, &mut found);
    }
    finish(&pushing.side.stream);
    assert_eq!((pushing.exchange.launches().ended(), pushing.exchange.launches().failed()), (21, 20));
    finish(&answers.side.stream);
    wait_until("the worker is told as down", || answers.service.launches().failed() == 1);
    drop((pushing, answers, server));
    assert_nothing_left();
});

case!(a_stream_that_fails_holds_up_no_other_for_ever, ["FAKE_DEVICE_FAULTS" = "stream@60=700"], {
    let server = server();
    let worker = worker(server.local_address().unwrap());
    let (pushing, answers) = layer(&worker, &server, 1);
    let (sent, mut found) = (content(5), vec![0; BYTES as usize]);
    for _ in 0..10 {
        answers.launch();
        pushing.launch(&sent, &mut found);
    }
    let events = [pushing.side.stream.record().unwrap(), answers.side.stream.record().unwrap()];
    wait_until("one of them fails", || events.iter().any(|event| event.query().is_err()));
    drop((pushing, worker));
    wait_until("the other ends", || events.iter().all(|event| !matches!(event.query(), Ok(false))));
    drop((answers, server));
});

case!(a_device_without_stream_memory_operations_captures_nothing, ["FAKE_CUDA_ATTRIBUTES" = "122=0"], {
    let server = server();
    let worker = worker(server.local_address().unwrap());
    let gpu = CudaAccelerator::open(0).unwrap();
    let refused = worker.capture(&gpu, &PushPull::new().servers([0]), None).unwrap_err();
    assert!(matches!(refused, CaptureError::Accelerator(AcceleratorError::Unsupported { .. })), "{refused}");
});
