//! Who the others wait for.

use super::{part, worker_stamps};
use crate::trace::{Recorder, RecorderConfig, WorkerStamps};

#[test]
fn the_last_server_is_told_how_often_and_by_how_much() {
    let worker = Recorder::new(RecorderConfig::default());
    let servers = ["a", "b", "c"].map(|name| worker.add_peer(name));
    // b is last three times, by 50, 50 and 10 ns; a once, by 5; c never.
    let rounds = [[200, 300, 250], [200, 300, 250], [240, 260, 250], [265, 260, 250]];
    for (request, round) in rounds.into_iter().enumerate() {
        let parts = round.iter().zip(servers).map(|(arrived, peer)| part(peer, 0, worker_stamps(*arrived)));
        worker.complete(request as u64, parts);
    }
    let reports = worker.stragglers();
    let told: Vec<_> =
        reports.iter().map(|report| (report.name.as_str(), report.behind.count, report.cost)).collect();
    assert_eq!(told, [("b", 3, 108), ("a", 1, 5), ("c", 0, 0)]);
    assert_eq!((reports[0].behind.maximum, reports[0].behind.minimum), (50, 10));
    assert!(reports.iter().all(|report| report.shared == 4));
}

#[test]
fn a_request_with_one_answer_has_no_straggler() {
    let worker = Recorder::new(RecorderConfig::default());
    let servers = ["a", "b"].map(|name| worker.add_peer(name));
    let lost = WorkerStamps { arrived: 0, ..worker_stamps(9) };
    worker.complete(1, [part(servers[0], 0, worker_stamps(200))].into_iter());
    worker.complete(2, [part(servers[0], 0, worker_stamps(200)), part(servers[1], 0, lost)].into_iter());
    assert!(worker.stragglers().is_empty());
}
