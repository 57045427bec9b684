//! Push-pulls of `af-api` with tensors in memory of the accelerator, in the turn of its streams: what fails is told, the rest
//! goes on, and nothing is left.
#![allow(unsafe_code)] // copies tensors that no request uses, and frees memory that is in use

pub(super) mod graphs;

use std::{sync::Arc, time::Instant};

use af_api::{
    gate::EventError,
    server::{BatchError, Gather, Request, Server, ServerConfig},
    tensor::{Layout, Memory, Stager, Tensor},
    wire::NodeIdentity,
    worker::{FailureCause, Handle, PushPull, PushPullError, WaitError, Worker, WorkerConfig},
};
use pmd_core::accelerator::AcceleratorError;
use pmd_host::endpoint::{Endpoint, EndpointConfig};

use super::{Case, case, kv::nothing_left};
use crate::{
    bench::Name,
    child::{Child, answer, order},
    context::{Context, Outcome, Skip, address, pattern, to_host},
    fake::Counts,
};

pub(super) const CASES: &[Case] = &[
    case("af::tensors_go_both_ways_in_the_turn_of_a_stream_and_nothing_is_left", both_ways),
    case("af::a_killed_server_fails_its_push_pulls_and_no_stream_waits", killed_server),
    case("af::a_killed_worker_is_told_and_another_is_served", killed_worker),
    case("af::a_stream_in_error_fails_its_push_pull_and_no_other", stream),
    case("af::a_full_device_gives_no_room_and_serves_on", full),
    case("af::freed_memory_fails_its_push_pull_and_no_other_server", freed),
];

/// Bytes of a tensor.
pub(super) const BYTES: usize = 200_000;

/// What is alive, with what a crate makes at its first flag and its first stream, and keeps.
pub(super) fn counts(context: &Context) -> Option<Counts> {
    drop(context.accelerator.flag().expect("a flag"));
    context.finish(&*context.stream());
    context.counts().ok()
}

pub(super) fn soon(context: &Context) -> Option<Instant> {
    Some(Instant::now() + context.patience)
}

/// A loaded machine is silent for long; a process that ends closes its connection.
fn calm(context: &Context, endpoint: EndpointConfig) -> EndpointConfig {
    let (transport, patience) = (context.transport(), context.patience);
    EndpointConfig { transport, down_after: patience, patience, ..endpoint }
}

pub(super) fn server(context: &Context, rank: u32) -> Server {
    let identity = NodeIdentity { rank, instance: 0, epoch: 1 };
    let accelerator = Some(Arc::clone(&context.accelerator));
    let config = ServerConfig { identity, accelerator, device_areas: true, ..ServerConfig::default() };
    let endpoint = calm(context, config.endpoint.clone());
    Server::open(ServerConfig { endpoint, ..config }).expect("a server")
}

pub(super) fn worker(context: &Context, rank: u32, servers: &[(u32, String)]) -> Worker {
    let identity = NodeIdentity { rank, instance: 0, epoch: 1 };
    let config = WorkerConfig {
        identity,
        accelerator: Some(Arc::clone(&context.accelerator)),
        ..WorkerConfig::default()
    };
    let endpoint = calm(context, config.endpoint.clone());
    let worker = Worker::open(WorkerConfig { endpoint, ..config }).expect("a worker");
    for (rank, address) in servers {
        worker.connect(*rank, address.parse().expect("an address")).expect("connecting");
    }
    worker
}

pub(super) fn place_of(server: &Server) -> String {
    server.local_address().expect("it listens").to_string()
}

/// A tensor on the device, with these bytes.
pub(super) fn tensor(context: &Context, endpoint: &Endpoint, bytes: &[u8]) -> Tensor {
    let memory = Memory::of_device(endpoint, context.uploaded(bytes).into()).expect("memory");
    Tensor::new(&memory, 0, Layout::of_bytes(bytes.len() as u32)).expect("a tensor")
}

pub(super) fn read(context: &Context, tensor: &Tensor) -> Vec<u8> {
    // SAFETY: no request writes the tensor now.
    unsafe { Stager::new().download(tensor, soon(context)) }.expect("a copy")
}

pub(super) fn cause(context: &Context, handle: &Handle) -> FailureCause {
    match handle.wait(soon(context)) {
        Err(WaitError::Failed(failure)) => failure.cause,
        other => panic!("{other:?}"),
    }
}

/// The next request; that a worker is gone is passed over.
pub(super) fn next(context: &Context, server: &Server) -> Request {
    loop {
        match server.batch(Gather::Any, soon(context)) {
            Ok(mut batch) => return batch.remove(0),
            Err(BatchError::WorkerDown { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// Answers a request with what it pushed.
pub(super) fn echo(context: &Context, request: Request) {
    let pushed: Vec<_> = request.pushes().filter_map(|push| push.tensor().cloned()).collect();
    request.respond(&pushed).expect("a response").wait(soon(context)).expect("sent");
}

/// A push and a pull of as much, which the server sends back.
fn round(context: &Context, worker: &Worker, server: (u32, &Server), seed: u64) {
    let content = pattern(seed, BYTES);
    let (push, pull) =
        (tensor(context, worker.endpoint(), &content), tensor(context, worker.endpoint(), &[0; BYTES]));
    let stream = context.stream();
    let request = PushPull::new().push_to(server.0, 1, &push).pull_from(server.0, 2, &pull);
    let handle = worker.push_pull_on(&*stream, &request, soon(context)).expect("taken");
    let behind = stream.record().expect("recording");
    assert_eq!(behind.query(), Ok(false), "what is behind waits for the answer");
    let request = next(context, server.1);
    let pushed = request.pushes().next().and_then(|push| push.tensor()).expect("a tensor");
    assert!(pushed.memory().accelerator().is_some() && read(context, pushed) == content);
    echo(context, request);
    context.wait(&*behind);
    assert!(handle.wait(soon(context)).is_ok() && read(context, &pull) == content);
}

fn both_ways(context: &Context) -> Outcome {
    let before = counts(context);
    let server = server(context, 0);
    let worker = worker(context, 0, &[(0, place_of(&server))]);
    (0..3).for_each(|seed| round(context, &worker, (0, &server), seed));
    drop((worker, server));
    nothing_left(context, before, BYTES as u64);
    Ok(())
}

/// What the process of a case does.
pub(crate) fn play(context: &Context, part: &str) {
    match part {
        "af-server" => return serve(context),
        "af-graph-server" => return graphs::serve(context),
        "af-worker" => return push(context),
        "af-failing" => failing(context),
        "af-full" => full_device(context),
        "af-freed" => freed_memory(context),
        part => panic!("there is no part {part:?}"),
    }
    answer("as it should be");
    while order().is_some_and(|order| order != "end") {}
}

/// Takes requests, and answers none, until it is told to end or killed.
fn serve(context: &Context) {
    let server = server(context, 0);
    answer(&place_of(&server));
    let request = next(context, &server);
    answer("asked");
    let _ = order();
    drop(request);
}

/// Pushes until it is told to end or killed.
fn push(context: &Context) {
    let worker = worker(context, 0, &[(0, order().expect("an address"))]);
    let push = tensor(context, worker.endpoint(), &[5; BYTES]);
    let _handle = worker.push_pull(&PushPull::new().push(1, &push), soon(context)).expect("taken");
    answer("pushed");
    let _ = order();
}

fn killed_server(context: &Context) -> Outcome {
    let before = counts(context);
    let (mut child, other) = (Child::start(context, "af-server", &[]), server(context, 1));
    let worker = worker(context, 0, &[(0, child.hear()), (1, place_of(&other))]);
    let (push, pull) =
        (tensor(context, worker.endpoint(), &[1; BYTES]), tensor(context, worker.endpoint(), &[0; BYTES]));
    let (stream, request) = (context.stream(), PushPull::new().push_to(0, 1, &push).pull_from(0, 2, &pull));
    let handle = worker.push_pull_on(&*stream, &request, soon(context)).expect("taken");
    assert_eq!(child.hear(), "asked");
    child.kill();
    assert!(matches!(cause(context, &handle), FailureCause::Down(_)));
    context.finish(&*stream);
    round(context, &worker, (1, &other), 9);
    drop((request, push, pull, handle, worker, other));
    nothing_left(context, before, BYTES as u64);
    Ok(())
}

fn killed_worker(context: &Context) -> Outcome {
    let before = counts(context);
    let server = server(context, 0);
    let mut child = Child::start(context, "af-worker", &[]);
    child.tell(&place_of(&server));
    assert_eq!(child.hear(), "pushed");
    let request = next(context, &server);
    child.kill();
    let told = server.batch(Gather::Any, soon(context));
    assert!(matches!(told, Err(BatchError::WorkerDown { worker, .. }) if worker.rank == 0), "{told:?}");
    // What it pushed is there for as long as the request.
    let pushed = request.pushes().next().and_then(|push| push.tensor()).expect("a tensor");
    assert!(read(context, pushed) == [5; BYTES]);
    drop(request);
    let worker = worker(context, 1, &[(0, place_of(&server))]);
    round(context, &worker, (0, &server), 3);
    drop((worker, server));
    nothing_left(context, before, BYTES as u64);
    Ok(())
}

fn stream(context: &Context) -> Outcome {
    let fault = format!("stream@1={}", context.name.stream_fault());
    in_a_process(context, "af-failing", "FAKE_DEVICE_FAULTS", fault)
}

fn full(context: &Context) -> Outcome {
    in_a_process(context, "af-full", "FAKE_DEVICE_MEMORY", (8 << 20).to_string())
}

fn freed(context: &Context) -> Outcome {
    if context.name == Name::CudaMapped {
        return Err(Skip(
            "what is shared of mapped memory stays allocated until it is taken back".to_owned(),
        ));
    }
    in_a_process(context, "af-freed", "FAKE_DEVICE_MISUSE", "allow".to_owned())
}

fn in_a_process(context: &Context, part: &str, name: &str, value: String) -> Outcome {
    context.counts()?;
    let child = Child::start(context, part, &[(name, value)]);
    assert_eq!(child.hear(), "as it should be");
    child.succeeds();
    Ok(())
}

/// The first work of all streams fails, which is that in front of a push-pull.
fn failing(context: &Context) {
    let server = server(context, 0);
    let worker = worker(context, 0, &[(0, place_of(&server))]);
    let memory = context.allocate(BYTES);
    let (stream, room) = (context.stream(), context.pinned(&[0; 64]));
    crate::context::copy(&*stream, to_host(address(&*memory), room.address(), 64));
    let taken = worker.push_pull_on(&*stream, &PushPull::new(), soon(context));
    match taken {
        // A runtime may tell of it at once or with the event.
        Err(error) => {
            assert!(matches!(error, PushPullError::Stream(AcceleratorError::Runtime { .. })), "{error}")
        }
        Ok(handle) => {
            let cause = cause(context, &handle);
            assert!(matches!(cause, FailureCause::Event(EventError::Accelerator(_))), "{cause}");
        }
    }
    drop(stream);
    round(context, &worker, (0, &server), 4);
}

/// Areas of more than the device has left.
fn full_device(context: &Context) {
    let server = server(context, 0);
    let worker = worker(context, 0, &[(0, place_of(&server))]);
    round(context, &worker, (0, &server), 5);
    let large = tensor(context, worker.endpoint(), &vec![1; 4 << 20]);
    let refused = worker.push_pull(&PushPull::new().push(3, &large), soon(context)).map(drop);
    assert!(matches!(refused, Err(PushPullError::Agreement { key: 3, .. })), "{refused:?}");
    drop(large);
    round(context, &worker, (0, &server), 6);
}

/// A tensor whose owner frees it under a push-pull's eyes.
fn freed_memory(context: &Context) {
    let servers = [server(context, 0), server(context, 1)];
    let places = [(0, place_of(&servers[0])), (1, place_of(&servers[1]))];
    let worker = worker(context, 0, &places);
    let owned = context.uploaded(&[7; BYTES]);
    let range = (address(&*owned), BYTES as u64);
    // SAFETY: it does not stay allocated, which is what the stand-in is to tell.
    let lent =
        unsafe { Memory::adopt(worker.endpoint(), &*context.accelerator, range, None) }.expect("memory");
    let tensor = Tensor::new(&lent, 0, Layout::of_bytes(BYTES as u32)).expect("a tensor");
    worker.declare(0, 1, BYTES as u64, 1).expect("room");
    let held = context.counts().map_or(0, |counts| counts.allocations);
    drop(owned);
    context.until("the memory to be freed", || {
        context.finish(&*context.stream());
        context.counts().is_ok_and(|counts| counts.allocations < held)
    });
    let handle = worker.push_pull(&PushPull::new().push_to(0, 1, &tensor), soon(context)).expect("taken");
    let cause = cause(context, &handle);
    assert!(matches!(cause, FailureCause::Down(_) | FailureCause::Transfer(_)), "{cause}");
    // SAFETY: refused.
    let again = unsafe { Memory::adopt(worker.endpoint(), &*context.accelerator, range, None) };
    assert!(again.is_err(), "it is gone");
    round(context, &worker, (1, &servers[1]), 8);
}
