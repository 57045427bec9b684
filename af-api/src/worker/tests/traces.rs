//! Stamps of real push-pulls.

use super::support::*;
use crate::{
    server::Server,
    trace::{Phase, RecorderConfig},
    worker::{Handle, PushPull, TraceError, Worker, WorkerConfig},
};

/// A push-pull to all of the servers, answered.
fn exchange(worker: &Worker, servers: &[&Server]) -> Handle {
    let push = ours(worker, 50_000, 1);
    let pulls: Vec<_> = servers.iter().map(|_| ours(worker, 30_000, 0)).collect();
    let request = pulls.iter().fold(PushPull::new().push(1, &push), |request, pull| request.pull(2, pull));
    let handle = worker.push_pull(&request, soon()).unwrap();
    for server in servers {
        next(server).respond(&[theirs(server, 30_000, 5)]).unwrap();
    }
    handle.wait(soon()).unwrap();
    handle
}

#[test]
fn the_stamps_of_every_server_are_fetched() {
    let servers = [server(0), server(1), server(2)];
    let all: Vec<&Server> = servers.iter().collect();
    let worker = worker(4, &all);
    let (first, second) = (exchange(&worker, &all), exchange(&worker, &all));
    assert_eq!((first.number(), second.number()), (0, 1));
    let before = worker.recorder().request(1);
    assert!(before.iter().all(|trace| trace.server.is_none()));

    let traces = worker.fetch_trace(1, PATIENCE).unwrap();
    assert_eq!(traces.len(), 3);
    for trace in &traces {
        let numbers = trace.numbers();
        assert!(numbers.iter().all(|stamp| *stamp > 0), "{numbers:?}");
        assert!(numbers.is_sorted(), "one machine has one clock: {numbers:?}");
        assert_eq!((trace.request, trace.part.pushed, trace.part.pulled), (1, 50_000, 30_000));
        assert!(trace.part.stamps.submitted <= trace.part.stamps.event_done);
    }
    assert!(
        worker.recorder().request(0).iter().all(|trace| trace.server.is_none()),
        "only the one was fetched"
    );
    worker.fetch_traces(PATIENCE).unwrap();
    assert!(worker.recorder().traces().iter().all(|trace| trace.server.is_some()));

    for (rank, report) in worker.recorder().peers().iter().enumerate() {
        assert_eq!((report.name.clone(), report.requests), (format!("server {rank}"), 2));
        assert!(Phase::ALL.iter().all(|phase| report.phase(*phase).count == 2), "{report:?}");
        let offset = report.offset.expect("estimated");
        assert!(
            offset.nanoseconds.unsigned_abs() <= offset.uncertainty,
            "one machine has one clock: {offset:?}"
        );
    }
    let last: u64 = worker.recorder().stragglers().iter().map(|report| report.behind.count).sum();
    assert_eq!(last, 2, "one server is the last of each request");
    let report = &servers[1].recorder().peers()[0];
    assert_eq!((report.name.as_str(), report.requests), ("worker 4", 2));
    assert_eq!(report.phase(Phase::Compute).count, 2);
}

#[test]
fn a_server_that_is_down_is_told_and_does_not_hide_the_others() {
    let servers = [server(0), server(1)];
    let all: Vec<&Server> = servers.iter().collect();
    let worker = worker(0, &all);
    let _done = exchange(&worker, &all);
    let [gone, stays] = servers;
    drop(gone);
    let error = worker.fetch_traces(PATIENCE).unwrap_err();
    assert!(matches!(error, TraceError::Request { server: 0, .. }), "{error}");
    let traces = worker.recorder().request(0);
    assert_eq!(traces.iter().filter(|trace| trace.server.is_some()).count(), 1);
    drop(stays);
}

#[test]
fn tracing_can_be_off() {
    let server = server(0);
    let trace = RecorderConfig { enabled: false, ..RecorderConfig::default() };
    let worker =
        worker_with(WorkerConfig { identity: node(0), trace, ..WorkerConfig::default() }, &[&server]);
    let handle = exchange(&worker, &[&server]);
    assert!(worker.fetch_trace(handle.number(), PATIENCE).unwrap().is_empty());
}

#[test]
fn a_failed_request_counts_as_failed() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let handle = worker.push_pull(&PushPull::new().push(1, &ours(&worker, 1000, 0)), soon()).unwrap();
    let request = next(&server);
    let _ = handle.cancel();
    drop(request);
    let report = &worker.recorder().peers()[0];
    assert_eq!((report.requests, report.failed), (0, 1));
}
