//! Recording at both ends, and fetching.

use super::{fetch, part, server_stamps, worker_stamps};
use crate::trace::{
    ClockOffset, Moment, Phase, Recorder, RecorderConfig, ServerRecorder, ServerStamps, StampCell, Summary,
    WorkerStamps,
};

fn recorders(kept: usize) -> (Recorder, ServerRecorder) {
    let config = RecorderConfig { kept, ..RecorderConfig::default() };
    (Recorder::new(config), ServerRecorder::new(config))
}

#[test]
fn the_eight_numbers_come_from_every_server() {
    let (worker, server) = recorders(8);
    let (first, second) = (worker.add_peer("server 0"), worker.add_peer("server 1"));
    let from = server.add_peer("worker 0");
    let parts = [part(first, 42, worker_stamps(200)), part(second, 43, worker_stamps(300))];
    worker.complete(7, parts.into_iter());
    server.complete(from, 42, server_stamps(1000));

    let before = [110, 130, 0, 0, 0, 0, 200, 205];
    assert_eq!(worker.request(7)[0].numbers(), before);
    assert_eq!(fetch(&worker, first, &server, from), 1);
    let numbers: Vec<_> = worker.request(7).iter().map(|trace| trace.numbers()).collect();
    assert_eq!(numbers, [[110, 130, 1000, 1010, 1040, 1042, 200, 205], [110, 130, 0, 0, 0, 0, 300, 305]]);
    assert_eq!(worker.query(first, None), None, "nothing is missing any more");
    assert!(worker.query(second, Some(7)).is_some() && worker.query(second, Some(8)).is_none());
}

#[test]
fn figures_are_kept_for_each_peer_and_phase() {
    let (worker, server) = recorders(8);
    let (to, from) = (worker.add_peer("server 0"), server.add_peer("worker 0"));
    for (request, arrived) in [(0, 200), (1, 210)] {
        worker.complete(request, [part(to, request, worker_stamps(arrived))].into_iter());
        server.complete(from, request, server_stamps(1000));
    }
    worker.complete(2, [part(to, 2, WorkerStamps { arrived: 0, ..worker_stamps(9) })].into_iter());
    server.complete(from, 2, ServerStamps { sent: 0, ..server_stamps(5) });
    assert_eq!(fetch(&worker, to, &server, from), 2);

    let report = &worker.peers()[0];
    assert_eq!((report.name.as_str(), report.requests, report.failed), ("server 0", 2, 1));
    let round_trip = report.phase(Phase::RoundTrip);
    assert_eq!((round_trip.count, round_trip.mean, round_trip.minimum, round_trip.maximum), (2, 75, 70, 80));
    assert_eq!(report.phase(Phase::Network).mean, 33);
    assert_eq!(report.phase(Phase::Server).maximum, 42);
    let difference = (1000 - 130 + 1042 - 200) / 2;
    assert_eq!(report.offset, Some(ClockOffset { nanoseconds: difference, uncertainty: 14 }));

    let report = &server.peers()[0];
    assert_eq!((report.requests, report.failed), (2, 1));
    assert_eq!(report.phase(Phase::Compute).mean, 30);
    assert_eq!(report.phase(Phase::RoundTrip), Summary::default());
}

#[test]
fn the_last_requests_are_kept_and_no_more() {
    let (worker, server) = recorders(3);
    let (to, from) = (worker.add_peer("server 0"), server.add_peer("worker 0"));
    for request in 0..5 {
        worker.complete(request, [part(to, request, worker_stamps(200))].into_iter());
    }
    (0..7).for_each(|tag| server.complete(from, tag, server_stamps(1000 + tag)));
    let kept: Vec<_> = worker.traces().iter().map(|trace| trace.request).collect();
    assert_eq!(kept, [2, 3, 4]);
    assert!(worker.request(1).is_empty());
    assert_eq!(fetch(&worker, to, &server, from), 1, "the server has forgotten 2 and 3");
    assert_eq!(worker.request(4)[0].server, Some(server_stamps(1004)));
    assert_eq!(worker.request(3)[0].server, None);
    assert_eq!(worker.peers()[0].requests, 5, "figures go back to the start");
}

#[test]
fn a_tag_that_is_used_again_means_the_youngest() {
    let (worker, server) = recorders(8);
    let (to, from) = (worker.add_peer("server 0"), server.add_peer("worker 0"));
    server.complete(from, 1, server_stamps(1000));
    server.complete(from, 1, server_stamps(2000));
    worker.complete(5, [part(to, 1, worker_stamps(200))].into_iter());
    fetch(&worker, to, &server, from);
    assert_eq!(worker.request(5)[0].server, Some(server_stamps(2000)));
}

#[test]
fn a_worker_gets_its_own_requests_only() {
    let (worker, server) = recorders(8);
    let to = worker.add_peer("server 0");
    let (ours, other) = (server.add_peer("worker 0"), server.add_peer("worker 1"));
    server.complete(other, 1, server_stamps(1000));
    worker.complete(5, [part(to, 1, worker_stamps(200))].into_iter());
    assert_eq!(fetch(&worker, to, &server, ours), 0);
}

#[test]
fn who_comes_again_is_not_taken_for_the_one_before() {
    let (worker, server) = recorders(8);
    let (to, from) = (worker.add_peer("server 0"), server.add_peer("worker 0"));
    worker.complete(1, [part(to, 1, worker_stamps(200))].into_iter());
    server.complete(from, 1, server_stamps(1000));
    assert_eq!(server.add_peer("worker 0"), from);
    assert_eq!(fetch(&worker, to, &server, from), 0, "the worker of before has sent it");
    assert_eq!(worker.add_peer("server 0"), to);
    assert_eq!(worker.query(to, None), None, "the server of before has its stamps");
    assert_eq!(worker.request(1)[0].server, Some(ServerStamps::default()));
    assert_eq!(worker.peers()[0].requests, 1);
}

#[test]
fn a_recorder_that_is_off_records_nothing() {
    let config = RecorderConfig { enabled: false, ..RecorderConfig::default() };
    let (worker, server) = (Recorder::new(config), ServerRecorder::new(config));
    let (to, from) = (worker.add_peer("server 0"), server.add_peer("worker 0"));
    let cell = StampCell::default();
    worker.note(&cell, Moment::Posted);
    assert_eq!((cell.load().posted, worker.now(), server.now()), (0, 0, 0));
    worker.complete(1, [part(to, 1, worker_stamps(200))].into_iter());
    server.complete(from, 1, server_stamps(1000));
    assert!(worker.traces().is_empty());
    assert_eq!((worker.peers()[0].requests, server.peers()[0].requests), (0, 0));
}

#[test]
fn reset_forgets_figures_and_keeps_numbers() {
    let (worker, server) = recorders(8);
    let (to, from) = (worker.add_peer("server 0"), server.add_peer("worker 0"));
    worker.complete(1, [part(to, 1, worker_stamps(200))].into_iter());
    server.complete(from, 1, server_stamps(1000));
    worker.reset();
    server.reset();
    assert!(
        worker.traces().is_empty()
            && worker.peers()[0].phases.is_empty()
            && server.peers()[0].phases.is_empty()
    );
    worker.complete(2, [part(to, 2, worker_stamps(200))].into_iter());
    server.complete(from, 2, server_stamps(1000));
    assert_eq!(fetch(&worker, to, &server, from), 1);
}

#[test]
fn a_peer_of_another_recorder_is_left_out() {
    let (worker, server) = recorders(8);
    let (_, from) = (worker.add_peer("server 0"), server.add_peer("worker 0"));
    let foreign = recorders(1).0;
    let stranger = ["a", "b"].map(|name| foreign.add_peer(name))[1];
    worker.complete(1, [part(stranger, 1, worker_stamps(200))].into_iter());
    server.complete(stranger, 1, server_stamps(1000));
    server.complete(from, 1, server_stamps(1000));
    assert!(worker.traces().is_empty());
    assert_eq!(server.peers()[0].requests, 1);
}

#[test]
fn threads_record_into_one_recorder() {
    let (worker, _) = recorders(64);
    let to = worker.add_peer("server 0");
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let worker = &worker;
            let run = move || {
                (0..500).for_each(|n| {
                    worker.complete(thread * 500 + n, [part(to, n, worker_stamps(200))].into_iter())
                });
            };
            scope.spawn(run);
        }
    });
    assert_eq!(worker.peers()[0].requests, 2000);
    assert_eq!(worker.traces().len(), 64);
}

/// By hand, in release: what recording costs.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_stamp() {
    const TURNS: u64 = 1_000_000;
    let (worker, server) = recorders(4096);
    let (to, from) = (worker.add_peer("server 0"), server.add_peer("worker 0"));
    let cell = StampCell::default();
    let measure = |what: &str, work: &dyn Fn(u64)| {
        let begun = std::time::Instant::now();
        (0..TURNS).for_each(work);
        println!("{what}: {} ns", begun.elapsed().as_nanos() as f64 / TURNS as f64);
    };
    measure("a stamp", &|_| worker.note(&cell, Moment::Posted));
    let stamps = worker_stamps(9999);
    measure("a request at the worker", &|n| worker.complete(n, [part(to, n, stamps)].into_iter()));
    measure("a request at the server", &|n| server.complete(from, n, server_stamps(n + 1)));
}
