//! The worker's half.

use std::{
    sync::{Arc, mpsc::channel},
    thread,
    time::{Duration, Instant},
};

use pmd_core::accelerator::Accelerator;

use super::*;
use crate::{
    graph::{CaptureError, CapturedExchange, CloseError, ExchangeCause},
    worker::{Part, PushPull, PushPullError, Worker, tests::support::*},
};

fn device(exchange: &CapturedExchange) -> Device {
    Device::new(|stream| exchange.put(stream).unwrap())
}

/// The cause of a launch's failure.
fn cause(exchange: &CapturedExchange, launch: u64) -> ExchangeCause {
    let failure = exchange.launches().check().unwrap_err();
    assert_eq!(failure.launch, launch);
    failure.cause
}

fn capture(worker: &Worker, request: &PushPull, patience: Option<Duration>) -> CapturedExchange {
    worker.capture(&cpu(), request, patience).unwrap()
}

#[test]
fn a_launch_goes_on_with_what_was_pulled() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let (push, pull) = (ours(&worker, 5000, 0), ours(&worker, 5000, 0));
    let exchange = capture(&worker, &PushPull::new().push(1, &push).pull(2, &pull), None);
    let device = device(&exchange);
    for round in 1..=3 {
        filled(&push, round);
        device.ask();
        let request = next(&server);
        assert_eq!(pushed(&request), [(1, vec![round; 5000])]);
        assert_eq!(device.done.load(), 0, "not before the answer");
        request.respond(&[theirs(&server, 5000, 10 * round)]).unwrap();
        device.goes_on();
        assert!(is_filled(&pull, 10 * round));
        assert_eq!(exchange.launches().check(), Ok(u64::from(round)));
    }
    assert_eq!(exchange.launches().wait(3, None), Ok(()));
}

#[test]
fn a_server_that_goes_fails_launches_and_lets_streams_go_on() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let pull = ours(&worker, 5000, 0);
    let exchange = capture(&worker, &PushPull::new().pull(2, &pull), None);
    let device = device(&exchange);
    device.ask();
    let request = next(&server);
    drop((request, server));
    device.goes_on();
    assert!(matches!(cause(&exchange, 1), ExchangeCause::Failed(_)));
    device.launch();
    assert!(matches!(cause(&exchange, 2), ExchangeCause::PushPull(PushPullError::ServerDown { .. })));
}

#[test]
fn a_worker_that_goes_fails_launches_and_lets_streams_go_on() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let exchange = capture(&worker, &PushPull::new().pull(2, &ours(&worker, 5000, 0)), None);
    let device = device(&exchange);
    device.ask();
    let request = next(&server);
    drop(worker);
    device.goes_on();
    assert!(matches!(cause(&exchange, 1), ExchangeCause::Failed(_)));
    device.launch();
    assert_eq!(cause(&exchange, 2), ExchangeCause::WorkerClosed);
    drop(request);
}

#[test]
fn a_launch_that_is_late_is_stopped_and_its_tensor_quiet() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let pull = ours(&worker, 5000, 0);
    let patience = Duration::from_millis(20);
    let exchange = capture(&worker, &PushPull::new().pull(2, &pull), Some(patience));
    let device = device(&exchange);
    device.launch();
    assert_eq!(cause(&exchange, 1), ExchangeCause::Timeout { patience });
    assert!(server.try_batch(crate::server::Gather::Any).unwrap().is_none(), "it was cancelled there");
    assert!(is_filled(&pull, 0));
}

#[test]
fn a_launch_without_room_waits_for_it() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    worker.declare(0, 1, 5000, 1).unwrap();
    let request = PushPull::new().push(1, &ours(&worker, 5000, 1));
    let (first, second) = (capture(&worker, &request, None), capture(&worker, &request, Some(PATIENCE)));
    let devices = [device(&first), device(&second)];
    devices[0].ask();
    let held = next(&server);
    devices[1].ask();
    until("the second is asked for", || devices[1].request.load() == 0);
    held.respond(&[]).unwrap();
    devices[0].goes_on();
    next(&server).respond(&[]).unwrap();
    devices[1].goes_on();
    assert_eq!((first.launches().check(), second.launches().check()), (Ok(1), Ok(1)));
}

#[test]
fn launches_that_overlap_share_an_answer_and_say_so() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let exchange = capture(&worker, &PushPull::new().pull(2, &ours(&worker, 5000, 0)), None);
    let device = device(&exchange);
    device.ask();
    let request = next(&server);
    device.ask();
    request.respond(&[theirs(&server, 5000, 8)]).unwrap();
    device.goes_on();
    assert_eq!(exchange.launches().wait(1, soon()), Ok(()));
    assert_eq!(cause(&exchange, 2), ExchangeCause::Overlap);
    assert_eq!(exchange.launches().ended(), 2);
    // And one that asks while the stream is let go on.
    device.request.store(1);
    until("it is seen", || exchange.launches().ended() == 3);
    assert_eq!((cause(&exchange, 3), device.done.load()), (ExchangeCause::Overlap, 1));
    assert!(server.try_batch(crate::server::Gather::Any).unwrap().is_none());
}

#[test]
fn closing_waits_for_the_launch_and_answers_later_ones() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let exchange = capture(&worker, &PushPull::new().pull(2, &ours(&worker, 5000, 0)), None);
    let device = device(&exchange);
    device.ask();
    let request = next(&server);
    let now = Some(Instant::now());
    assert_eq!(exchange.close(now), Err(CloseError::InFlight { launch: 1 }));
    request.respond(&[theirs(&server, 5000, 8)]).unwrap();
    exchange.close(soon()).unwrap();
    assert_eq!(exchange.launches().check(), Ok(1));
    device.launch();
    assert_eq!(cause(&exchange, 2), ExchangeCause::Closed);
}

#[test]
fn dropping_gives_the_launch_up_and_later_ones_are_answered() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let pull = ours(&worker, 5000, 0);
    let exchange = capture(&worker, &PushPull::new().pull(2, &pull), None);
    let device = device(&exchange);
    device.ask();
    let request = next(&server);
    drop(exchange);
    device.goes_on();
    assert!(request.is_cancelled());
    drop(request);
    for _ in 0..3 {
        device.launch();
    }
    assert!(is_filled(&pull, 0));
}

#[test]
fn dropping_from_another_thread_while_others_are_served() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let request = PushPull::new().pull(2, &ours(&worker, 5000, 0));
    let (kept, dropped) = (capture(&worker, &request, None), capture(&worker, &request, None));
    let (device, gone) = (device(&kept), device(&dropped));
    gone.ask();
    let held = next(&server);
    let (tell, told) = channel();
    let dropping = thread::spawn(move || {
        drop(dropped);
        tell.send(()).unwrap();
    });
    device.ask();
    next(&server).respond(&[theirs(&server, 5000, 8)]).unwrap();
    device.goes_on();
    told.recv_timeout(PATIENCE).unwrap();
    dropping.join().unwrap();
    gone.goes_on();
    drop(held);
    assert_eq!(kept.launches().check(), Ok(1));
}

#[test]
fn what_cannot_be_captured_is_refused() {
    let server = server(0);
    let worker = worker(0, &[&server]);
    let (cpu, pull) = (cpu(), ours(&worker, 50, 0));
    let refused = |request: &PushPull| worker.capture(&cpu, request, None).unwrap_err();
    let event = cpu.open_stream().unwrap().record().unwrap();
    let request = PushPull::new().pull(2, &pull);
    for ordered in [
        request.clone().after(&event),
        request.clone().then_set(&cpu.flag().unwrap(), 1),
        request.clone().part(Part::Start),
    ] {
        assert!(matches!(refused(&ordered), CaptureError::Ordered));
    }
    let elsewhere = PushPull::new().pull_from(7, 2, &pull);
    let unknown = PushPullError::UnknownServer { server: 7 };
    assert!(matches!(refused(&elsewhere), CaptureError::PushPull(error) if error == unknown));
    let other: Arc<dyn Accelerator> = Arc::new(super::cpu());
    assert!(worker.capture(&*other, &request, None).is_ok());
}
