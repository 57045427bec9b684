//! What goes wrong: each fault is a typed error at whom it concerns, and the others go on.

use std::time::{Duration, Instant};

use pmd_host::{control::DownReason, endpoint::EndpointConfig};

use super::{fake::FakeServer, support::*};
use crate::{
    server::{BatchError, Gather, RespondError, Server, ServerConfig},
    tensor::Memory,
    wire::{Immediate, NodeIdentity, Refusal, RequestView, emit_lengths},
    worker::{
        ConnectError, DownCause, Failure, FailureCause, PushPull, PushPullError, Results, WaitError, Worker,
        WorkerConfig,
    },
};

fn cause_of(result: Result<Results, WaitError>) -> FailureCause {
    match result {
        Err(WaitError::Failed(Failure { cause, .. })) => cause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_answer_of_another_size_is_an_error_at_both_ends_and_writes_nothing() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let pull = ours(&worker, 5000, 3);
    let ask = || worker.push_pull(&PushPull::new().pull(2, &pull), soon()).unwrap();
    for given in [4999, 5001, 0] {
        let handle = ask();
        let refused = next(&server).respond(&[theirs(&server, given, 9)]);
        assert!(
            matches!(refused, Err(RespondError::Size { key: 2, given: told, wanted: 5000 }) if told == given)
        );
        let size = Refusal::Size { given: u64::from(given), wanted: 5000 };
        assert_eq!(cause_of(handle.wait(soon())), FailureCause::Refused(size));
    }
    let handle = ask();
    assert!(matches!(next(&server).respond(&[]), Err(RespondError::Count { given: 0, wanted: 1 })));
    assert_eq!(cause_of(handle.wait(soon())), FailureCause::Refused(Refusal::Count { given: 0, wanted: 1 }));
    let handle = ask();
    let elsewhere = super::support::server(1);
    let foreign = next(&server).respond(&[theirs(&elsewhere, 5000, 1)]);
    assert!(matches!(foreign, Err(RespondError::ForeignMemory { key: 2 })));
    assert_eq!(cause_of(handle.wait(soon())), FailureCause::Refused(Refusal::Abandoned));
    assert!(is_filled(&pull, 3), "nothing was written");
    let handle = ask();
    next(&server).respond(&[theirs(&server, 5000, 4)]).unwrap();
    handle.wait(soon()).unwrap();
    assert!(is_filled(&pull, 4), "the connection goes on");
}

#[test]
fn a_worker_that_allows_it_gets_less() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let pulls = [ours(&worker, 5000, 3), ours(&worker, 5000, 3)];
    for (first, second) in [(4000, 5000), (0, 10), (30, 0), (0, 0)] {
        let request = PushPull::new().pull(1, &pulls[0]).pull(2, &pulls[1]).up_to();
        let handle = worker.push_pull(&request, soon()).unwrap();
        let request = next(&server);
        assert!(request.pulls().all(|pull| pull.up_to));
        request.respond(&[theirs(&server, first, 7), theirs(&server, second, 8)]).unwrap();
        assert_eq!(handle.wait(soon()), Ok(Results { lengths: vec![first, second] }));
        for (pull, (length, fill)) in pulls.iter().zip([(first, 7), (second, 8)]) {
            let bytes = read(pull);
            let (came, rest) = bytes.split_at(length as usize);
            assert!(came.iter().all(|byte| *byte == fill) && rest.iter().all(|byte| *byte == 3));
            filled(pull, 3);
        }
    }
}

#[test]
fn refused_and_abandoned_requests_fail_at_the_worker() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let handle = worker.push_pull(&PushPull::new(), soon()).unwrap();
    next(&server).refuse(77).unwrap();
    let refused = FailureCause::Refused(Refusal::Application { code: 77 });
    assert_eq!(cause_of(handle.wait(soon())), refused);
    let handle = worker.push_pull(&PushPull::new(), soon()).unwrap();
    drop(next(&server));
    assert_eq!(cause_of(handle.wait(soon())), FailureCause::Refused(Refusal::Abandoned));
    let _serving = server.serve(|_| panic!("a handler's panic")).unwrap();
    let handle = worker.push_pull(&PushPull::new(), soon()).unwrap();
    assert_eq!(cause_of(handle.wait(soon())), FailureCause::Refused(Refusal::Abandoned));
}

#[test]
fn a_wait_that_times_out_ends_nothing() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let pull = ours(&worker, 4000, 0);
    let handle = worker.push_pull(&PushPull::new().pull(1, &pull), soon()).unwrap();
    let soon_over = Some(Instant::now() + Duration::from_millis(2));
    assert_eq!(handle.wait(soon_over), Err(WaitError::Timeout));
    next(&server).respond(&[theirs(&server, 4000, 1)]).unwrap();
    handle.wait(soon()).unwrap();
    assert!(is_filled(&pull, 1));
    let nothing = server.batch(Gather::Any, Some(Instant::now()));
    assert!(matches!(nothing, Err(BatchError::Timeout { ready: 0, wanted: 1 })));
}

#[test]
fn a_server_that_goes_fails_what_it_owes_and_the_others_go_on() {
    let (going, staying) = (server(0), server(1));
    let worker = worker(0, &[&going, &staying]);
    let pulls = [ours(&worker, 5000, 0), ours(&worker, 5000, 0)];
    let both = worker.push_pull(&PushPull::new().pull(1, &pulls[0]).pull(1, &pulls[1]), soon()).unwrap();
    let (unanswered, request) = (next(&going), next(&staying));
    drop(going);
    request.respond(&[theirs(&staying, 5000, 5)]).unwrap();
    // The device may see the connection break before the goodbye is read.
    let FailureCause::Down(cause) = cause_of(both.wait(soon())) else { panic!("it is down") };
    assert!(matches!(cause, DownCause::Peer(DownReason::Goodbye) | DownCause::Route(_)), "{cause}");
    assert!(is_filled(&pulls[1], 5));
    let to_it = worker.push_pull(&PushPull::new().servers([0]), soon()).unwrap_err();
    assert_eq!(to_it, PushPullError::ServerDown { server: 0, cause: cause.clone() });
    assert_eq!(worker.servers(), [(node(0), Some(cause)), (node(1), None)]);
    assert!(unanswered.respond(&[]).is_err());

    // Its successor takes its place.
    let again = Server::open(ServerConfig {
        identity: NodeIdentity { rank: 0, instance: 0, epoch: 2 },
        ..ServerConfig::default()
    })
    .unwrap();
    assert_eq!(worker.connect(0, again.local_address().unwrap()).unwrap().epoch, 2);
    let handle = worker.push_pull(&PushPull::new().servers([0]), soon()).unwrap();
    next(&again).respond(&[]).unwrap();
    handle.wait(soon()).unwrap();
}

#[test]
fn a_worker_that_goes_is_told_once_and_its_requests_are_dropped() {
    let server = server(0);
    let (going, staying) = (worker(0, &[&server]), worker(1, &[&server]));
    let asked = going.push_pull(&PushPull::new().push(1, &ours(&going, 9000, 1)), soon()).unwrap();
    let in_hands = next(&server);
    let waiting = going.push_pull(&PushPull::new(), soon()).unwrap();
    drop(going);
    let told = server.batch(Gather::Quorum(2), soon()).unwrap_err();
    assert!(matches!(told, BatchError::WorkerDown { worker, .. } if worker == node(0)), "{told:?}");
    assert_eq!(pushed(&in_hands), [(1, vec![1; 9000])], "what it pushed is there still");
    assert!(in_hands.is_down());
    assert!(matches!(in_hands.respond(&[]), Err(RespondError::WorkerDown { worker }) if worker == node(0)));
    for handle in [asked, waiting] {
        assert!(matches!(cause_of(handle.wait(soon())), FailureCause::Down(_)));
    }
    let handle = staying.push_pull(&PushPull::new(), soon()).unwrap();
    let all = server.batch(Gather::All, soon()).unwrap();
    assert_eq!(all.iter().map(|request| request.worker().rank).collect::<Vec<_>>(), [1]);
    all.into_iter().for_each(|request| drop(request.respond(&[]).unwrap()));
    handle.wait(soon()).unwrap();
    assert_eq!(server.workers(), [node(1)]);
}

#[test]
fn a_rank_is_taken_over_by_its_next_life_and_not_by_its_last() {
    let server = server(0);
    let at = |epoch| WorkerConfig {
        identity: NodeIdentity { rank: 4, instance: 0, epoch },
        ..WorkerConfig::default()
    };
    let first = worker_with(at(1), &[&server]);
    let second = worker_with(at(2), &[&server]);
    let stale = Worker::open(at(1)).unwrap();
    assert!(matches!(stale.connect(0, server.local_address().unwrap()), Err(ConnectError::Request(_))));
    until("the first life is told", || first.servers()[0].1.is_some());
    let handle = second.push_pull(&PushPull::new(), soon()).unwrap();
    next(&server).respond(&[]).unwrap();
    handle.wait(soon()).unwrap();
    assert_eq!(server.workers().iter().map(|worker| worker.epoch).collect::<Vec<_>>(), [2]);
}

#[test]
fn another_server_than_expected_is_refused() {
    let server = server(3);
    let worker = Worker::open(WorkerConfig::default()).unwrap();
    let refused = worker.connect(2, server.local_address().unwrap());
    assert!(matches!(refused, Err(ConnectError::OtherServer { wanted: 2, found: 3 })));
}

#[test]
fn a_write_that_the_server_does_not_allow_fails_the_connection_and_not_the_worker() {
    let server = FakeServer::open();
    let worker = worker(0, &[]);
    worker.connect(0, server.endpoint.local_address().unwrap()).unwrap();
    let push = ours(&worker, 50_000, 1);
    worker.declare(0, 1, 50_000, 1).unwrap();
    server.forget_room();
    let handle = worker.push_pull(&PushPull::new().push(1, &push), soon()).unwrap();
    assert!(matches!(
        cause_of(handle.wait(soon())),
        FailureCause::Down(DownCause::Route(_) | DownCause::Peer(_))
    ));
    assert!(server.room().length() > 0);
    let refused = worker.declare(0, 2, 10, 1).unwrap_err();
    assert!(
        matches!(refused, PushPullError::ServerDown { .. } | PushPullError::Agreement { .. }),
        "{refused}"
    );
}

#[test]
fn a_response_that_does_not_fit_or_parse_takes_the_connection_down() {
    for nonsense in [true, false] {
        let server = FakeServer::open();
        let worker = worker(0, &[]);
        worker.connect(0, server.endpoint.local_address().unwrap()).unwrap();
        let pull = ours(&worker, 100, 5);
        let handle = worker.push_pull(&PushPull::new().pull(1, &pull), soon()).unwrap();
        let header = server.message();
        let header = RequestView::parse(&header).unwrap().header;
        let immediate = Immediate { slot: header.slot, generation: header.generation }.to_bits();
        let mut bytes = Vec::new();
        emit_lengths(&[101], &mut bytes);
        server.send(if nonsense { b"nonsense" } else { &bytes }, immediate);
        let cause = cause_of(handle.wait(soon()));
        let expected = if nonsense {
            matches!(cause, FailureCause::Down(DownCause::Protocol(_)))
        } else {
            cause == FailureCause::Down(DownCause::WrongResponse)
        };
        assert!(expected, "{cause}");
        assert!(is_filled(&pull, 5));
    }
}

#[test]
fn memory_that_the_transport_does_not_reach_is_refused() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let tensor = bytes_in(&Memory::unreachable(worker.endpoint(), 64), 64);
    let unreachable = |key| PushPullError::Unreachable { key, server: 0 };
    let pushing = worker.push_pull(&PushPull::new().push(1, &tensor), soon()).unwrap_err();
    let pulling = worker.push_pull(&PushPull::new().pull(2, &tensor), soon()).unwrap_err();
    assert_eq!((pushing, pulling), (unreachable(1), unreachable(2)));
}

#[test]
fn a_server_that_is_left_in_the_middle_of_a_push_is_down() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let push = ours(&worker, 32 << 20, 1);
    let handle = worker.push_pull(&PushPull::new().push(1, &push), soon()).unwrap();
    worker.disconnect(0).unwrap();
    assert_eq!(cause_of(handle.wait(soon())), FailureCause::Down(DownCause::Closed));
}

#[test]
fn leaving_a_server_ends_what_it_owes() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let handle = worker.push_pull(&PushPull::new(), soon()).unwrap();
    worker.disconnect(0).unwrap();
    assert_eq!(cause_of(handle.wait(soon())), FailureCause::Down(DownCause::Closed));
    assert_eq!(worker.disconnect(0), Err(PushPullError::UnknownServer { server: 0 }));
}

#[test]
fn forty_workers_share_a_server() {
    let server = server(0);
    let workers: Vec<_> = (0..40).map(|rank| worker(rank, &[&server])).collect();
    let handles: Vec<_> = workers
        .iter()
        .map(|worker| {
            let push = ours(worker, 100, worker.identity().rank as u8);
            worker.push_pull(&PushPull::new().push(1, &push), soon()).unwrap()
        })
        .collect();
    let batch = server.batch(Gather::Quorum(40), soon()).unwrap();
    for (rank, request) in (0..).zip(&batch) {
        assert_eq!((request.worker().rank, pushed(request)), (u32::from(rank), vec![(1, vec![rank; 100])]));
    }
    let answers = batch.into_iter().map(|request| (request, Vec::new()));
    server.respond_many(answers).into_iter().for_each(|answer| drop(answer.unwrap()));
    for handle in handles {
        handle.wait(soon()).unwrap();
    }
}

#[test]
fn a_server_without_room_and_messages_too_short_for_a_header_are_errors_of_the_submission() {
    let server = FakeServer::open();
    let worker = worker(0, &[]);
    worker.connect(0, server.endpoint.local_address().unwrap()).unwrap();
    server.forget_room();
    let push = PushPull::new().push(1, &ours(&worker, 1000, 1));
    let refused = worker.push_pull(&push, soon()).unwrap_err();
    assert!(matches!(refused, PushPullError::Agreement { server: 0, key: 1, .. }), "{refused}");

    let config = WorkerConfig::default();
    let endpoint = EndpointConfig { message_bytes: 64, ..config.endpoint.clone() };
    let terse = worker_with(WorkerConfig { endpoint, ..config }, &[&super::support::server(0)]);
    let refused = terse.push_pull(&PushPull::new(), soon()).unwrap_err();
    assert_eq!(refused, PushPullError::MessageTooShort { server: 0 });
}
