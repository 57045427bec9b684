//! Captured push-pulls whose tensors lie in memory of two GPUs, the worker's and the server's.

use std::sync::Arc;

use af_api::{
    graph::{Answering, CapturedExchange, CapturedService},
    server::{Server, ServerConfig},
    tensor::{Layout, Memory, Tensor},
    worker::{PushPull, Worker, WorkerConfig},
};
use gpu_direct::{CudaAccelerator, graph::Executable};
use pmd_host::{endpoint::EndpointConfig, soft::Accelerators};

use crate::{graphs::*, support::*};

/// Pairs of tensors that go in one exchange.
const PAIRS: u64 = 2;

/// Both GPUs, the own one first: the peer's memory is copied by a GPU that is known here.
fn driving(endpoint: EndpointConfig, accelerators: [&CudaAccelerator; 2]) -> EndpointConfig {
    let driven = accelerators.map(|gpu| Arc::new(gpu.clone()) as Arc<dyn Accelerator>);
    let mut endpoint = endpoint;
    endpoint.soft.accelerators = Accelerators::new(driven.to_vec());
    endpoint
}

fn tensors(endpoint: &pmd_host::endpoint::Endpoint, gpu: &CudaAccelerator) -> Vec<Tensor> {
    let tensor = |_| {
        let memory = Memory::allocate_on(endpoint, gpu, BYTES).expect("memory");
        Tensor::new(&memory, 0, Layout::of_bytes(BYTES as u32)).expect("a tensor")
    };
    (0..PAIRS).map(tensor).collect()
}

/// A GPU's stream and what was captured of it.
struct Captured {
    stream: Arc<dyn Stream>,
    graph: Executable,
}

impl Captured {
    fn new(gpu: &CudaAccelerator, put: impl FnOnce(&dyn Stream)) -> Self {
        let stream = gpu.open_stream().expect("a stream");
        let capture = gpu.begin_capture(&stream).expect("a capture");
        put(&*stream);
        let graph = capture.end().and_then(|graph| graph.instantiate()).expect("a graph");
        Self { stream, graph }
    }

    fn launch(&self) {
        // SAFETY: the case keeps all tensors until its streams are done.
        unsafe { self.graph.launch(&self.stream) }.expect("a launch");
    }
}

fn copy(stream: &dyn Stream, (from, to): (u64, u64), length: u64, direction: CopyDirection) {
    // SAFETY: the case keeps both ranges until its streams are done.
    unsafe { stream.copy(&[CopyRange { from, to, length, direction }]) }.expect("a copy");
}

fn pushing(worker: &Worker, gpu: &CudaAccelerator) -> (CapturedExchange, Captured, [Vec<Tensor>; 2]) {
    let (pushes, pulls) = (tensors(worker.endpoint(), gpu), tensors(worker.endpoint(), gpu));
    let mut request = PushPull::new();
    for (key, (push, pull)) in (1..).zip(pushes.iter().zip(&pulls)) {
        request = request.push(key, push).pull(key, pull);
    }
    let exchange = worker.capture(gpu, &request, Some(PATIENCE)).expect("an exchange");
    let captured = Captured::new(gpu, |stream| exchange.put(stream).expect("an exchange in the graph"));
    (exchange, captured, [pushes, pulls])
}

fn answering(server: &Server, gpu: &CudaAccelerator) -> (CapturedService, Captured) {
    let (received, answers) = (tensors(server.endpoint(), gpu), tensors(server.endpoint(), gpu));
    let mut answering = Answering::new(0);
    for (key, (received, answer)) in (1..).zip(received.iter().zip(&answers)) {
        server.offer(0, key, received, 1).expect("a buffer");
        answering = answering.pushed(key, received).answer(answer);
    }
    let service = server.capture(gpu, &[answering], Some(PATIENCE)).expect("a service");
    let captured = Captured::new(gpu, |stream| {
        service.put_batch(stream).expect("a batch in the graph");
        for (received, answer) in received.iter().zip(&answers) {
            let (from, to, half) = (received.address(), answer.address(), BYTES / 2);
            copy(stream, (from, to + half), half, CopyDirection::DeviceToDevice);
            copy(stream, (from + half, to), half, CopyDirection::DeviceToDevice);
        }
        service.put_responses(stream).expect("responses in the graph");
    });
    (service, captured)
}

case!(graphs_of_two_gpus_replay_with_tensors_of_both, [], {
    let (ours, theirs) = (CudaAccelerator::open(0).unwrap(), CudaAccelerator::open(1).unwrap());
    let config = ServerConfig { identity: node(0), ..ServerConfig::default() };
    let endpoint = driving(config.endpoint.clone(), [&theirs, &ours]);
    let server = Server::open(ServerConfig { endpoint, ..config }).unwrap();
    let config = WorkerConfig { identity: node(0), ..WorkerConfig::default() };
    let endpoint = driving(config.endpoint.clone(), [&ours, &theirs]);
    let worker = Worker::open(WorkerConfig { endpoint, ..config }).unwrap();
    worker.connect(0, server.local_address().unwrap()).unwrap();

    let (service, serving) = answering(&server, &theirs);
    let (exchange, sending, [pushes, pulls]) = pushing(&worker, &ours);
    let rounds = 500;
    let sent: Vec<Vec<u8>> = (0..rounds + PAIRS as usize).map(content).collect();
    let mut found = vec![vec![0_u8; BYTES as usize]; rounds * PAIRS as usize];
    for (round, found) in found.chunks_mut(PAIRS as usize).enumerate() {
        serving.launch();
        for (pair, push) in pushes.iter().enumerate() {
            let places = (sent[round + pair].as_ptr() as u64, push.address());
            copy(&*sending.stream, places, BYTES, CopyDirection::HostToDevice);
        }
        sending.launch();
        for (pull, found) in pulls.iter().zip(found) {
            let places = (pull.address(), found.as_mut_ptr() as u64);
            copy(&*sending.stream, places, BYTES, CopyDirection::DeviceToHost);
        }
    }
    finish(&sending.stream);
    finish(&serving.stream);
    assert_eq!(exchange.launches().check().unwrap(), rounds as u64);
    service.launches().wait(rounds as u64, None).unwrap();
    assert_eq!(service.launches().failed(), 0);
    let wanted = |at: usize| exchanged(&sent[at / PAIRS as usize + at % PAIRS as usize]);
    let wrong = found.iter().enumerate().position(|(at, found)| wanted(at) != *found);
    assert_eq!(wrong, None, "the first tensor that is wrong");
    drop((exchange, sending, pushes, pulls, service, serving));
    drop((worker, server, ours, theirs));
    assert_nothing_left();
});
