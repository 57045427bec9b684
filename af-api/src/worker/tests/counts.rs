//! What one push and one pull cost, counted by the lanes and by the bytes that arrive.

use std::time::Instant;

use pmd_host::{endpoint::Endpoint, lane::Counters};

use super::{fake::FakeServer, support::*};
use crate::{
    wire::{Immediate, RequestView},
    worker::PushPull,
};

const ROUNDS: u64 = 200;

/// What a lane did since `before`, once `settled` says that it has counted it all.
fn since(endpoint: &Endpoint, before: Counters, settled: impl Fn(u64, u64) -> bool) -> (u64, u64) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = counters(endpoint);
        let done = (now.work_requests - before.work_requests, now.messages_sent - before.messages_sent);
        if settled(done.0, done.1) || Instant::now() > deadline {
            return done;
        }
        std::thread::yield_now();
    }
}

fn counters(endpoint: &Endpoint) -> Counters {
    let transport = endpoint.transports()[0];
    endpoint.counters(transport).unwrap()
}

#[test]
fn a_push_and_a_pull_take_three_work_requests() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let (push, pull) = (ours(&worker, 8000, 1), ours(&worker, 16_000, 0));
    let answer = theirs(&server, 16_000, 2);
    let request = PushPull::new().push(1, &push).pull(2, &pull);
    let round = || {
        let handle = worker.push_pull(&request, soon()).unwrap();
        next(&server).respond(std::slice::from_ref(&answer)).unwrap().wait(soon()).unwrap();
        handle.wait(soon()).unwrap();
    };
    round();
    let before = [worker.endpoint(), server.endpoint()].map(counters);
    (0..ROUNDS).for_each(|_| round());
    // The worker: a WRITE and a SEND each. The server: a WRITE with an immediate each, and besides these now and then an
    // empty message that gives credits back.
    let ours = since(worker.endpoint(), before[0], |requests, _| requests >= 2 * ROUNDS);
    // The two counters are not read at one moment: what they differ by is being counted.
    let theirs =
        since(server.endpoint(), before[1], |requests, messages| requests >= ROUNDS && requests == messages);
    assert_eq!(ours, (2 * ROUNDS, ROUNDS), "work requests and messages of the worker");
    let for_credits = theirs.0 - ROUNDS;
    assert!(for_credits <= ROUNDS / 16, "{theirs:?} work requests and messages of the server");
    assert_eq!(theirs.0, theirs.1, "every response is a notification and a write at once");
}

#[test]
fn the_metadata_of_a_push_and_a_pull_is_at_most_64_bytes() {
    let server = FakeServer::open();
    let worker = worker(0, &[]);
    worker.connect(0, server.endpoint.local_address().unwrap()).unwrap();
    let (push, pull) = (ours(&worker, 8000, 1), ours(&worker, 16_000, 0));
    let request = PushPull::new().push(1, &push).pull(2, &pull);
    // The first carries the layout too; a response to it proves that the server knows it.
    for (round, bytes) in [(0, 68), (1, 56), (2, 56)] {
        let handle = worker.push_pull(&request, soon()).unwrap();
        let header = server.message();
        assert_eq!(header.len(), bytes, "round {round}");
        let view = RequestView::parse(&header).unwrap();
        let immediate = Immediate { slot: view.header.slot, generation: view.header.generation };
        server.send(&[], immediate.to_bits());
        handle.wait(soon()).unwrap();
    }
    let response = size_of_val(&Immediate { slot: 0, generation: 0 }.to_bits());
    assert!(56 + response <= 64, "header and immediate");
}

#[test]
fn small_tensors_take_two_work_requests() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let (push, pull) = (ours(&worker, 64, 1), ours(&worker, 64, 0));
    let answer = theirs(&server, 64, 2);
    let request = PushPull::new().push(1, &push).pull(2, &pull);
    let round = || {
        let handle = worker.push_pull(&request, soon()).unwrap();
        next(&server).respond(std::slice::from_ref(&answer)).unwrap().wait(soon()).unwrap();
        handle.wait(soon()).unwrap();
    };
    round();
    let before = [worker.endpoint(), server.endpoint()].map(counters);
    (0..ROUNDS).for_each(|_| round());
    let ours = since(worker.endpoint(), before[0], |requests, _| requests >= ROUNDS);
    let theirs = since(server.endpoint(), before[1], |requests, _| requests >= ROUNDS);
    assert_eq!((ours, theirs), ((ROUNDS, ROUNDS), (ROUNDS, ROUNDS)));
}
