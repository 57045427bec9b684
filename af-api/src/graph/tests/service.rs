//! The server's half.

use std::time::{Duration, Instant};

use super::*;
use crate::{
    graph::{Answering, CaptureError, CapturedService, CloseError, ServiceCause},
    server::{Gather, RespondError, Server},
    tensor::Tensor,
    worker::{Failure, FailureCause, Handle, PushPull, WaitError, Worker, tests::support::*},
};

fn device(service: &CapturedService) -> Device {
    Device::new(|stream| {
        service.put_batch(stream).unwrap();
        service.put_responses(stream).unwrap();
    })
}

/// The cause of a launch's failure, once it has ended.
fn cause(service: &CapturedService, launch: u64) -> ServiceCause {
    until("the launch ends", || service.launches().ended() >= launch);
    let failure = service.launches().check().unwrap_err();
    assert_eq!(failure.launch, launch);
    failure.cause
}

/// A server whose stream takes key 1 of these workers, and answers one pull each.
struct Room {
    server: Server,
    pushes: Vec<Tensor>,
    answers: Vec<Tensor>,
    service: CapturedService,
}

fn room(workers: u32, patience: Option<Duration>) -> Room {
    let server = server(0);
    let of_each = |fill| (0..workers).map(|_| theirs(&server, 5000, fill)).collect::<Vec<_>>();
    let (pushes, answers) = (of_each(0), of_each(8));
    let mut all = Vec::new();
    for rank in 0..workers {
        let (push, answer) = (&pushes[rank as usize], &answers[rank as usize]);
        server.offer(rank, 1, push, 1).unwrap();
        all.push(Answering::new(rank).pushed(1, push).answer(answer));
    }
    let service = server.capture(&cpu(), &all, patience).unwrap();
    Room { server, pushes, answers, service }
}

impl Room {
    fn worker(&self, rank: u32) -> (Worker, Tensor) {
        let worker = worker(rank, &[&self.server]);
        let pull = ours(&worker, 5000, 0);
        (worker, pull)
    }
}

fn ask(worker: &Worker, pull: &Tensor, fill: u8) -> Handle {
    let request = PushPull::new().push(1, &ours(worker, 5000, fill)).pull(2, pull);
    worker.push_pull(&request, soon()).unwrap()
}

fn failure(handle: &Handle) -> FailureCause {
    match handle.wait(soon()) {
        Err(WaitError::Failed(Failure { cause, .. })) => cause,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_launch_takes_one_request_of_each_worker_and_answers_them() {
    let room = room(2, None);
    let device = device(&room.service);
    let workers = [room.worker(0), room.worker(1)];
    for round in 1..=3_u8 {
        let handles: Vec<_> = workers.iter().map(|(worker, pull)| ask(worker, pull, round)).collect();
        device.launch();
        assert!(room.pushes.iter().all(|push| is_filled(push, round)));
        room.answers.iter().for_each(|answer| drop(filled(answer, 10 * round)));
        assert!(handles.iter().all(|handle| !handle.is_done()));
        device.respond();
        for (handle, (_, pull)) in handles.iter().zip(&workers) {
            handle.wait(soon()).unwrap();
            assert!(is_filled(pull, 10 * round));
        }
        room.service.launches().wait(u64::from(round), soon()).unwrap();
    }
    assert_eq!(room.service.launches().check().unwrap(), 3);
}

#[test]
fn other_requests_go_to_batches() {
    let room = room(1, None);
    let (worker, pull) = room.worker(0);
    let other = worker.push_pull(&PushPull::new().push(9, &ours(&worker, 50, 3)), soon()).unwrap();
    let taken = ask(&worker, &pull, 5);
    let request = next(&room.server);
    assert_eq!(pushed(&request), [(9, vec![3; 50])]);
    request.respond(&[]).unwrap();
    other.wait(soon()).unwrap();
    let device = device(&room.service);
    device.launch();
    device.respond();
    taken.wait(soon()).unwrap();
    assert!(is_filled(&pull, 8));
    // After the end the same request is everybody's, also one that came before.
    let waiting = ask(&worker, &pull, 6);
    until("it has arrived", || is_filled(&room.pushes[0], 6));
    room.service.close(soon()).unwrap();
    next(&room.server).respond(&[theirs(&room.server, 5000, 7)]).unwrap();
    waiting.wait(soon()).unwrap();
    assert!(is_filled(&pull, 7));
}

#[test]
fn a_worker_that_is_down_does_not_hold_the_stream_or_the_others() {
    let room = room(2, None);
    let device = device(&room.service);
    let (worker, pull) = room.worker(0);
    let (other, _) = room.worker(1);
    let handle = ask(&worker, &pull, 4);
    device.ask();
    drop(other);
    device.goes_on();
    device.respond();
    handle.wait(soon()).unwrap();
    assert!(matches!(cause(&room.service, 1), ServiceCause::WorkerDown { worker: 1, .. }));
    drop(worker);
    for launch in 2..4 {
        device.launch();
        device.respond();
        assert!(matches!(cause(&room.service, launch), ServiceCause::WorkerDown { worker: 0, .. }));
    }
    // Their successors are served.
    let workers = [room.worker(0), room.worker(1)];
    let handles: Vec<_> = workers.iter().map(|(worker, pull)| ask(worker, pull, 9)).collect();
    device.launch();
    device.respond();
    handles.iter().for_each(|handle| drop(handle.wait(soon()).unwrap()));
    room.service.launches().wait(4, soon()).unwrap();
}

#[test]
fn a_push_of_another_size_is_refused() {
    let room = room(1, None);
    let device = device(&room.service);
    let (worker, pull) = room.worker(0);
    let request = PushPull::new().push(1, &ours(&worker, 4000, 4)).pull(2, &pull);
    let handle = worker.push_pull(&request, soon()).unwrap();
    device.launch();
    assert!(matches!(failure(&handle), FailureCause::Refused(_)));
    device.respond();
    assert!(matches!(cause(&room.service, 1), ServiceCause::Pushed { worker: 0, key: 1 }));
}

#[test]
fn a_stream_that_does_not_respond_has_its_workers_refused() {
    let patience = Duration::from_millis(20);
    let room = room(1, Some(patience));
    let device = device(&room.service);
    let (worker, pull) = room.worker(0);
    let handle = ask(&worker, &pull, 4);
    device.launch();
    assert!(matches!(failure(&handle), FailureCause::Refused(_)));
    assert!(matches!(cause(&room.service, 1), ServiceCause::Timeout { .. }));
    // The response that comes after all is nobody's.
    device.respond();
    let handle = ask(&worker, &pull, 5);
    device.launch();
    assert!(is_filled(&room.pushes[0], 5));
    assert_eq!(device.respond.as_ref().unwrap().load(), 0);
    device.respond();
    let answered = handle.wait(soon());
    until("the launch ends", || room.service.launches().ended() == 2);
    assert!(answered.is_ok() || room.service.launches().failed() == 2, "late, on a machine that is busy");
}

#[test]
fn a_response_that_a_worker_does_not_want_any_more_is_told() {
    let room = room(1, None);
    let device = device(&room.service);
    let (worker, pull) = room.worker(0);
    let handle = ask(&worker, &pull, 4);
    device.launch();
    handle.cancel();
    device.respond();
    let ServiceCause::Respond { worker: 0, error } = cause(&room.service, 1) else { panic!("another cause") };
    assert!(matches!(*error, RespondError::Cancelled));
    assert!(is_filled(&pull, 0));
}

#[test]
fn launches_that_overlap_share_a_batch_and_say_so() {
    let room = room(1, None);
    let device = device(&room.service);
    let (worker, pull) = room.worker(0);
    device.ask();
    until("it is taken", || device.request.load() == 0);
    device.ask();
    let handle = ask(&worker, &pull, 4);
    device.goes_on();
    device.respond();
    handle.wait(soon()).unwrap();
    until("both have ended", || room.service.launches().ended() == 2);
    assert!(matches!(room.service.launches().check().unwrap_err().cause, ServiceCause::Overlap));
    assert_eq!(room.service.launches().failed(), 1);
    device.request.store(1);
    assert!(matches!(cause(&room.service, 3), ServiceCause::Overlap));
}

#[test]
fn a_server_that_closes_lets_streams_go_on() {
    let room = room(1, None);
    let device = device(&room.service);
    device.ask();
    room.server.close();
    device.goes_on();
    assert!(matches!(cause(&room.service, 1), ServiceCause::ServerClosed));
}

#[test]
fn closing_lets_a_stream_go_on_that_waits_and_waits_for_one_that_computes() {
    let room = room(1, None);
    let device = device(&room.service);
    let (worker, pull) = room.worker(0);
    let handle = ask(&worker, &pull, 4);
    device.launch();
    assert_eq!(room.service.close(Some(Instant::now())), Err(CloseError::InFlight { launch: 1 }));
    device.respond();
    handle.wait(soon()).unwrap();
    room.service.close(soon()).unwrap();
    device.launch();
    assert!(matches!(cause(&room.service, 2), ServiceCause::Closed));
}

#[test]
fn dropping_refuses_the_workers_and_later_launches_are_answered() {
    let room = room(1, None);
    let device = device(&room.service);
    let (worker, pull) = room.worker(0);
    let handle = ask(&worker, &pull, 4);
    device.launch();
    drop(room.service);
    assert!(matches!(failure(&handle), FailureCause::Refused(_)));
    for _ in 0..3 {
        device.launch();
        device.respond();
    }
    assert!(is_filled(&pull, 0));
    assert!(room.server.try_batch(Gather::Any).unwrap().is_none());
}

#[test]
fn what_cannot_be_captured_is_refused() {
    let room = room(1, None);
    let (server, cpu) = (&room.server, cpu());
    let refused = |workers: &[Answering]| server.capture(&cpu, workers, None).unwrap_err();
    assert!(matches!(refused(&[]), CaptureError::NoWorkers));
    let push = theirs(server, 5000, 0);
    let other = Answering::new(3).pushed(4, &push);
    assert!(matches!(refused(std::slice::from_ref(&other)), CaptureError::NotOffered { worker: 3, key: 4 }));
    server.offer(3, 4, &push, 2).unwrap();
    assert!(matches!(refused(std::slice::from_ref(&other)), CaptureError::NotOffered { worker: 3, key: 4 }));
    server.offer(3, 4, &push, 1).unwrap();
    assert!(matches!(refused(&[other.clone(), other.clone()]), CaptureError::Taken { worker: 3 }));
    let again = Answering::new(0).pushed(1, &room.pushes[0]);
    assert!(matches!(refused(&[other, again]), CaptureError::Taken { worker: 0 }));
}
