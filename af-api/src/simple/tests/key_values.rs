//! Key-values between a worker and its servers, in one process.
#![allow(unsafe_code)] // fills and reads tensors that no request touches

use std::{sync::mpsc::channel, time::Duration};

use super::PATIENCE;
use crate::{
    server::{RespondError, Server, ServerConfig},
    simple::{KvAnswer, KvError, KvPairs, KvRequest, KvServer, KvWorker, NOT_KEY_VALUES, TrackError, Value},
    tensor::{Layout, Tensor},
    wire::{NodeIdentity, Refusal},
    worker::{
        Failure, FailureCause, PushPullError, Worker, WorkerConfig,
        tests::device::{fetch, on_device, server_on, shielded, store, worker_on},
    },
};

/// Keys of the first and of the second of two servers.
const LOW: u64 = 7;
const HIGH: u64 = u64::MAX - 7;

fn servers(count: u32) -> Vec<Server> {
    let identity = |rank| NodeIdentity { rank, ..NodeIdentity::default() };
    let open = |rank| Server::open(ServerConfig { identity: identity(rank), ..ServerConfig::default() });
    (0..count).map(|rank| open(rank).expect("a port")).collect()
}

fn worker<V: Value>(servers: &[Server]) -> KvWorker<V> {
    let worker = Worker::open(WorkerConfig::default()).expect("an endpoint");
    for (rank, server) in (0..).zip(servers) {
        worker.connect(rank, server.local_address().expect("it listens")).expect("it answers");
    }
    KvWorker::new(worker, servers.len() as u32).expect("a thread")
}

/// A worker, and servers that add up.
fn summing(count: u32) -> (KvWorker<f32>, Vec<KvServer>) {
    let servers = servers(count);
    let worker = worker(&servers);
    (worker, servers.into_iter().map(|server| KvServer::sum::<f32>(server).expect("a thread")).collect())
}

/// A worker, and one server with a handler.
fn handled(handler: impl FnMut(KvRequest<f32>, KvAnswer<f32>) + Send + 'static) -> (KvWorker<f32>, KvServer) {
    let servers = servers(1);
    let worker = worker(&servers);
    let server = servers.into_iter().next().expect("one was opened");
    (worker, KvServer::start(server, handler).expect("a thread"))
}

fn done(worker: &KvWorker<f32>, timestamp: u64) -> KvPairs<f32> {
    worker.wait(timestamp, PATIENCE).expect("it is answered")
}

#[test]
fn pushes_of_the_same_keys_add_up() {
    let (worker, _servers) = summing(2);
    let pairs =
        KvPairs::uniform(vec![LOW, LOW + 1, HIGH], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).expect("they fit");
    for _ in 0..3 {
        done(&worker, worker.push(&pairs, 0, None).expect("room"));
    }
    let pulled = done(&worker, worker.pull(&[LOW, LOW + 1, LOW + 2, HIGH], 2, 0, None).expect("room"));
    let wanted = [(LOW, &[3.0, 6.0][..]), (LOW + 1, &[9.0, 12.0]), (LOW + 2, &[]), (HIGH, &[15.0, 18.0])];
    assert_eq!(pulled.iter().collect::<Vec<_>>(), wanted);
}

#[test]
fn values_of_different_lengths_go_through() {
    let (worker, _servers) = summing(3);
    let keys: Vec<u64> = (0..40).map(|n| n * (u64::MAX / 40)).collect();
    let lengths: Vec<u32> = (0..40).map(|n| n % 5 * 300).collect();
    let values: Vec<f32> = (0..lengths.iter().sum()).map(|n| n as f32).collect();
    let pairs = KvPairs::variable(keys.clone(), values, lengths).expect("they fit");
    done(&worker, worker.push(&pairs, 0, None).expect("room"));
    assert_eq!(done(&worker, worker.pull(&keys, 1200, 0, None).expect("room")), pairs);
}

#[test]
fn a_push_can_bring_values_back() {
    let (worker, _servers) = summing(2);
    let pairs = KvPairs::uniform(vec![LOW, HIGH], vec![1.0, 2.0]).expect("they fit");
    for turn in 1..=3 {
        let pulled = done(&worker, worker.push_pull(&pairs, 1, 0, None).expect("room"));
        assert_eq!(pulled.values, [turn as f32, 2.0 * turn as f32]);
    }
}

#[test]
fn nothing_is_done_at_once() {
    let (worker, _servers) = summing(1);
    assert_eq!(done(&worker, worker.pull(&[], 1, 0, None).expect("nothing to send")), KvPairs::default());
}

#[test]
fn callbacks_get_the_outcome() {
    let (worker, _servers) = summing(2);
    let (tell, told) = channel();
    let pairs = KvPairs::uniform(vec![LOW, HIGH], vec![1.0, 2.0]).expect("they fit");
    let pushed = tell.clone();
    let callback = Box::new(move |outcome: Result<KvPairs<f32>, KvError>| {
        pushed.send(outcome.expect("it is answered")).expect("the test listens");
    });
    let timestamp = worker.push(&pairs, 0, Some(callback)).expect("room");
    assert_eq!(told.recv_timeout(PATIENCE), Ok(KvPairs::default()));
    let gone = worker.wait(timestamp, PATIENCE);
    assert!(matches!(gone, Err(KvError::Track(TrackError::Taken { .. }))), "it went to the callback");
    assert!(worker.is_done(timestamp));
    let callback = Box::new(move |outcome: Result<KvPairs<f32>, KvError>| {
        tell.send(outcome.expect("it is answered")).expect("the test listens");
    });
    worker.pull(&[LOW, HIGH], 1, 0, Some(callback)).expect("room");
    assert_eq!(told.recv_timeout(PATIENCE).map(|pulled| pulled.values), Ok(vec![1.0, 2.0]));
}

fn tensor(worker: &KvWorker<f32>, values: &[f32]) -> Tensor {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let memory = worker.worker().allocate(bytes.len()).expect("memory");
    let tensor = Tensor::new(&memory, 0, Layout::of_bytes(bytes.len() as u32)).expect("it fits");
    // SAFETY: no request has it yet.
    unsafe { tensor.write(&bytes) }.expect("it fits");
    tensor
}

fn values(tensor: &Tensor) -> Vec<f32> {
    // SAFETY: its request has ended.
    let bytes = unsafe { tensor.read() };
    bytes.chunks_exact(4).map(f32::parse).collect()
}

/// 4000 of 6000 values.
fn first_part(tensor: &Tensor) -> Tensor {
    Tensor::new(tensor.memory(), 0, Layout::of_bytes(16_000)).expect("it fits")
}

#[test]
fn tensors_go_without_a_copy() {
    let (worker, _servers) = summing(2);
    let source: Vec<f32> = (0..6000).map(|n| n as f32).collect();
    let (keys, lengths) = ([LOW, LOW + 1, HIGH], [1000, 3000, 2000]);
    let pushed = tensor(&worker, &source);
    let timestamp = worker.push_tensor(&keys, &pushed, Some(&lengths), 0, None).expect("room");
    done(&worker, timestamp);
    let pulled = tensor(&worker, &[0.0; 6000]);
    let timestamp = worker.pull_tensor(&keys, &pulled, Some(&lengths), 0, None).expect("room");
    assert_eq!(done(&worker, timestamp), KvPairs::default());
    assert_eq!(values(&pulled), source);
    let odd = Tensor::new(pulled.memory(), 0, Layout::of_bytes(7)).expect("it fits");
    let refused = worker.push_tensor(&keys, &odd, None, 0, None);
    assert!(matches!(refused, Err(KvError::Bytes { bytes: 7, value: 4 })));
    // As many values in all as the first server has, and others for each key.
    let timestamp = worker.pull_tensor(&keys[..2], &first_part(&pulled), None, 0, None).expect("room");
    let failed = worker.wait(timestamp, PATIENCE).expect_err("lengths differ");
    assert!(matches!(failed, KvError::Answered { key: LOW, values: 1000, wanted: 2000 }));
    let timestamp = worker.pull_tensor(&keys[1..], &pulled, None, 0, None).expect("room");
    let failed = worker.wait(timestamp, PATIENCE).expect_err("sizes differ");
    let size = |failure: &Failure| matches!(failure.cause, FailureCause::Refused(Refusal::Size { .. }));
    assert!(matches!(failed, KvError::Failed(ref failure) if size(failure)));
}

#[test]
fn a_handler_sees_what_was_asked() {
    let (tell, told) = channel();
    let (worker, _server) = handled(move |request, answer| {
        tell.send(request.clone()).expect("the test listens");
        if request.pull { answer.respond(&request.pairs) } else { answer.done() }
            .expect("the worker is there");
    });
    let pairs = KvPairs::variable(vec![1, 2], vec![5.0, 6.0, 7.0], vec![1, 2]).expect("they fit");
    done(&worker, worker.push(&pairs, -3, None).expect("room"));
    let request = told.recv_timeout(PATIENCE).expect("the handler ran");
    let wanted = KvRequest { from: worker.worker().identity(), command: -3, push: true, pull: false, pairs };
    assert_eq!(request, wanted);
    worker.pull(&[4], 1, 9, None).expect("room");
    let request = told.recv_timeout(PATIENCE).expect("the handler ran");
    let asked = (request.command, request.push, request.pull, request.pairs.keys);
    assert_eq!(asked, (9, false, true, vec![4]));
}

#[test]
fn what_the_handler_does_not_answer_is_refused() {
    let mut turn = 0;
    let (tell, told) = channel();
    let (worker, _server) = handled(move |_, answer| {
        turn += 1;
        match turn {
            1 => panic!("a handler of a test"),
            2 => answer.refuse(42).expect("the worker is there"),
            3 => drop(answer),
            4 => {
                let much = KvPairs::uniform(vec![1], vec![0.0; 9]).expect("they fit");
                tell.send(answer.respond(&much)).expect("the test listens");
            }
            _ => answer.done().expect("the worker is there"),
        }
    });
    let refusals = [
        Refusal::Abandoned,
        Refusal::Application { code: 42 },
        Refusal::Abandoned,
        Refusal::Size { given: 36, wanted: 32 },
    ];
    for refusal in refusals {
        let timestamp = worker.pull(&[1], 8, 0, None).expect("room");
        let failed = worker.wait(timestamp, PATIENCE).expect_err("it is refused");
        let KvError::Failed(failure) = failed else { panic!("{failed}") };
        assert_eq!(failure.cause, FailureCause::Refused(refusal));
    }
    let responded = told.recv_timeout(PATIENCE).expect("the handler ran").expect_err("it does not fit");
    let KvError::Respond(error) = responded else { panic!("{responded}") };
    assert!(matches!(*error, RespondError::Size { given: 36, wanted: 32, .. }));
    let pairs = KvPairs::uniform(vec![1], vec![1.0]).expect("they fit");
    done(&worker, worker.push(&pairs, 0, None).expect("room"));
}

#[test]
fn an_answer_may_come_later() {
    let (tell, told) = channel();
    let (worker, _server) = handled(move |_, answer| tell.send(answer).expect("the test listens"));
    let timestamp = worker.pull(&[1], 1, 0, None).expect("room");
    let answer = told.recv_timeout(PATIENCE).expect("the handler ran");
    assert!(!worker.is_done(timestamp));
    let early = worker.wait(timestamp, Duration::ZERO);
    assert!(matches!(early, Err(KvError::Track(TrackError::Timeout { .. }))));
    answer.respond(&KvPairs::uniform(vec![1], vec![3.5]).expect("they fit")).expect("the worker is there");
    assert_eq!(done(&worker, timestamp).values, [3.5]);
}

#[test]
fn values_of_another_type_are_refused() {
    let servers = servers(1);
    let worker: KvWorker<f64> = worker(&servers);
    let _server =
        KvServer::sum::<f32>(servers.into_iter().next().expect("one was opened")).expect("a thread");
    let timestamp = worker.pull(&[1], 1, 0, None).expect("room");
    let failed = worker.wait(timestamp, PATIENCE).expect_err("it is refused");
    let KvError::Failed(failure) = failed else { panic!("{failed}") };
    assert_eq!(failure.cause, FailureCause::Refused(Refusal::Application { code: NOT_KEY_VALUES }));
}

#[test]
fn what_cannot_be_asked_is_refused_at_once() {
    let (worker, _servers) = summing(1);
    let unsorted = worker.pull(&[2, 1], 1, 0, None);
    assert!(matches!(unsorted, Err(KvError::Unsorted { first: 2, second: 1 })));
    let none = KvWorker::<f32>::new(worker.worker().clone(), 0);
    assert!(matches!(none, Err(KvError::NoServers)));
    let unconnected = KvWorker::<f32>::new(worker.worker().clone(), 2).expect("a thread");
    let refused = unconnected.pull(&[HIGH], 1, 0, None);
    assert!(matches!(refused, Err(KvError::Post(PushPullError::UnknownServer { server: 1 }))));
}

#[test]
fn dropping_the_worker_cancels_what_is_in_flight() {
    let (keep, kept) = channel();
    let (worker, _server) = handled(move |_, answer| keep.send(answer).expect("the test listens"));
    let (tell, told) = channel();
    let callback = Box::new(move |outcome: Result<KvPairs<f32>, KvError>| drop(tell.send(outcome)));
    worker.pull(&[1], 1, 0, Some(callback)).expect("room");
    let answer = kept.recv_timeout(PATIENCE).expect("the handler ran");
    drop(worker);
    let KvError::Failed(failure) = told.try_recv().expect("told").expect_err("cancelled") else {
        panic!("it was sent");
    };
    assert_eq!(failure.cause, FailureCause::Cancelled);
    let late = answer.respond(&KvPairs::uniform(vec![1], vec![3.5]).expect("they fit"));
    let Err(KvError::Respond(error)) = late else { panic!("{late:?}") };
    assert!(matches!(*error, RespondError::Cancelled | RespondError::WorkerDown { .. }));
}

#[test]
fn memory_is_used_again() {
    let (worker, servers) = summing(1);
    let pairs = KvPairs::uniform(vec![1], vec![1.0; 2000]).expect("they fit");
    for _ in 0..200 {
        done(&worker, worker.push_pull(&pairs, 2000, 0, None).expect("room"));
    }
    let pulled = done(&worker, worker.pull(&[1], 2000, 0, None).expect("room"));
    assert_eq!(pulled.values, vec![200.0; 2000]);
    drop(servers);
}

#[test]
fn key_values_go_through_the_memory_of_a_device() {
    let accelerator = shielded();
    let server = server_on(&accelerator, true);
    let worker = worker_on(&accelerator, &[&server]);
    let _serving = KvServer::sum::<f32>(server).expect("a thread");
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<_>>();
    let pushed = on_device(worker.endpoint(), &accelerator, 16, 0);
    let pulled = on_device(worker.endpoint(), &accelerator, 16, 0);
    store(&pushed, &bytes(&[1.0, 2.0, 3.0, 4.0]));
    let worker = KvWorker::<f32>::new(worker, 1).expect("a thread");
    let pairs = KvPairs::uniform(vec![LOW, HIGH], vec![0.5; 4]).expect("they fit");
    done(&worker, worker.push(&pairs, 0, None).expect("room"));
    done(&worker, worker.push_tensor(&[LOW, HIGH], &pushed, None, 0, None).expect("room"));
    done(&worker, worker.pull_tensor(&[LOW, HIGH], &pulled, None, 0, None).expect("room"));
    assert_eq!(fetch(&pulled), bytes(&[1.5, 2.5, 3.5, 4.5]));
    assert_eq!(done(&worker, worker.pull(&[HIGH], 2, 0, None).expect("room")).values, [3.5, 4.5]);
}
