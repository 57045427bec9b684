//! Cancelling in every state of a request: afterwards nothing of it moves.

use std::thread;

use super::{fake::FakeServer, support::*};
use crate::{
    server::{Gather, RespondError},
    wire::{CancelAnswer, Immediate, RequestView},
    worker::{CancelOutcome, DownCause, Failure, FailureCause, PushPull, Results, WaitError},
};

const LARGE: u32 = 8 << 20;

#[test]
fn what_waits_at_the_server_is_not_handed_out() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let (push, pull) = (ours(&worker, 1000, 1), ours(&worker, 1000, 0));
    let handle = worker.push_pull(&PushPull::new().push(1, &push).pull(2, &pull), soon()).unwrap();
    assert_eq!(handle.cancel(), CancelOutcome::Cancelled);
    let failed = Failure { server: 0, cause: FailureCause::Cancelled };
    assert_eq!(handle.poll(), Some(Err(failed.clone())));
    assert_eq!(handle.wait(soon()), Err(WaitError::Failed(failed)));
    assert!(server.try_batch(Gather::Any).unwrap().is_none());
    // Its slots serve others.
    let handle = worker.push_pull(&PushPull::new().push(1, &push), soon()).unwrap();
    next(&server).respond(&[]).unwrap();
    // Until the response is here a cancel may still stop it.
    let results = handle.wait(soon()).unwrap();
    assert_eq!(handle.cancel(), CancelOutcome::Completed(results));
}

#[test]
fn an_answer_that_comes_after_the_cancel_is_refused_at_the_server() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let pull = ours(&worker, LARGE, 0);
    let handle = worker.push_pull(&PushPull::new().pull(2, &pull), soon()).unwrap();
    let request = next(&server);
    assert!(!request.is_cancelled());
    assert_eq!(handle.cancel(), CancelOutcome::Cancelled);
    assert!(request.is_cancelled());
    let answer = theirs(&server, LARGE, 9);
    assert!(matches!(request.respond(&[answer]), Err(RespondError::Cancelled)));
    assert!(is_filled(&pull, 0), "not a byte was written");
}

#[test]
fn cancels_race_with_answers_and_whoever_wins_is_quiet() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let (pull, answer) = (ours(&worker, LARGE, 0), theirs(&server, LARGE, 9));
    for _ in 0..20 {
        let handle = worker.push_pull(&PushPull::new().pull(2, &pull), soon()).unwrap();
        let request = next(&server);
        let outcome = thread::scope(|scope| {
            let answering = scope.spawn(|| request.respond(std::slice::from_ref(&answer)));
            let outcome = handle.cancel();
            // Written over at once: a late write of the server would show.
            let before = (outcome != CancelOutcome::Cancelled).then(|| read(&pull));
            filled(&pull, 1);
            if let Ok(response) = answering.join().unwrap() {
                let _ = response.wait(soon());
            }
            assert!(is_filled(&pull, 1), "written after the cancel");
            (outcome, before)
        });
        match outcome {
            (CancelOutcome::Completed(results), Some(bytes)) => {
                assert_eq!(results, Results { lengths: vec![LARGE] });
                assert!(bytes.iter().all(|byte| *byte == 9));
            }
            (CancelOutcome::Cancelled, None) => {}
            other => panic!("{:?}", other.0),
        }
    }
    let handle = worker.push_pull(&PushPull::new().pull(2, &pull), soon()).unwrap();
    next(&server).respond(std::slice::from_ref(&answer)).unwrap();
    handle.wait(soon()).unwrap();
    assert!(is_filled(&pull, 9), "the connection goes on");
}

#[test]
fn one_cancelled_part_does_not_leave_the_others_waiting() {
    let servers = [server(0), server(1)];
    let worker = worker(0, &[&servers[0], &servers[1]]);
    let push = ours(&worker, 100, 1);
    let handle = worker.push_pull(&PushPull::new().push(1, &push), soon()).unwrap();
    next(&servers[0]).respond(&[]).unwrap();
    let unanswered = next(&servers[1]);
    until("the first server's part ends", || handle.parts()[0].1.is_some());
    assert_eq!(handle.cancel(), CancelOutcome::Cancelled);
    assert_eq!(handle.parts(), [(0, Some(Ok(()))), (1, Some(Err(FailureCause::Cancelled)))]);
    assert!(unanswered.is_cancelled());
}

#[test]
fn a_server_that_stops_a_response_is_asked_again() {
    let server = FakeServer::open();
    let worker = worker(0, &[]);
    worker.connect(0, server.endpoint.local_address().unwrap()).unwrap();
    let handle = worker.push_pull(&PushPull::new(), soon()).unwrap();
    server.message();
    server.answer_cancels(vec![CancelAnswer::Quiet, CancelAnswer::Stopping, CancelAnswer::Stopping]);
    assert_eq!(handle.cancel(), CancelOutcome::Cancelled);
}

#[test]
fn a_server_that_does_not_answer_a_cancel_is_taken_down() {
    let server = FakeServer::open();
    let worker = worker(0, &[]);
    worker.connect(0, server.endpoint.local_address().unwrap()).unwrap();
    let handle = worker.push_pull(&PushPull::new(), soon()).unwrap();
    server.message();
    let cause = FailureCause::Down(DownCause::Unresponsive);
    assert_eq!(handle.cancel(), CancelOutcome::Failed(Failure { server: 0, cause }));
}

#[test]
fn a_late_response_of_an_earlier_life_is_ignored() {
    let server = FakeServer::open();
    let worker = worker(0, &[]);
    worker.connect(0, server.endpoint.local_address().unwrap()).unwrap();
    let immediate_of = |message: &[u8]| {
        let header = RequestView::parse(message).unwrap().header;
        Immediate { slot: header.slot, generation: header.generation }
    };
    let first = worker.push_pull(&PushPull::new(), soon()).unwrap();
    let late = immediate_of(&server.message());
    server.answer_cancels(vec![CancelAnswer::Quiet]);
    assert_eq!(first.cancel(), CancelOutcome::Cancelled);
    let second = worker.push_pull(&PushPull::new(), soon()).unwrap();
    let now = immediate_of(&server.message());
    assert_eq!((now.slot, now.generation), (late.slot, late.generation + 1));
    server.send(&[], late.to_bits());
    server.send(&[], Immediate { slot: 999, generation: 1 }.to_bits());
    assert!(second.poll().is_none());
    server.send(&[], now.to_bits());
    second.wait(soon()).unwrap();
}

#[test]
fn a_push_on_its_way_is_stopped_or_done_and_its_slot_serves_the_next() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let push = ours(&worker, 4 * LARGE, 1);
    worker.declare(0, 1, u64::from(4 * LARGE), 1).unwrap();
    for _ in 0..5 {
        let handle = worker.push_pull(&PushPull::new().push(1, &push), soon()).unwrap();
        assert_eq!(handle.cancel(), CancelOutcome::Cancelled);
        assert!(server.try_batch(Gather::Any).unwrap().is_none());
    }
    filled(&push, 2);
    let handle = worker.push_pull(&PushPull::new().push(1, &push), soon()).unwrap();
    let request = next(&server);
    assert!(request.pushes().all(|pushed| pushed.tensor().is_some_and(|tensor| is_filled(tensor, 2))));
    request.respond(&[]).unwrap();
    handle.wait(soon()).unwrap();
}
