//! Push-pulls that wait for kernels, and kernels that wait for push-pulls.

use std::sync::{
    Arc,
    mpsc::{Sender, channel},
};

use pmd_core::accelerator::{Accelerator, AcceleratorError, Event, Stream};
use pmd_host::accelerator::{CpuAccelerator, CpuStream, KernelFault, wait_for};

use super::support::*;
use crate::{
    gate::{EventError, FAILED, GateConfig},
    server::Gather,
    worker::{CancelOutcome, FailureCause, PushPull, PushPullError, WaitError, Worker, WorkerConfig},
};

fn stream() -> Arc<CpuStream> {
    CpuAccelerator::default().open_cpu_stream().unwrap()
}

/// A kernel that runs until it is told how to end, and an event behind it.
fn kernel(stream: &CpuStream) -> (Sender<Result<(), KernelFault>>, Arc<dyn Event>) {
    let (end, ended) = channel();
    stream.launch(move || ended.recv_timeout(PATIENCE).unwrap_or(Err(KernelFault { code: -1 })));
    (end, stream.record().unwrap())
}

fn failure(outcome: Result<crate::worker::Results, WaitError>) -> FailureCause {
    match outcome {
        Err(WaitError::Failed(failure)) => failure.cause,
        other => panic!("{other:?}"),
    }
}

/// The code with which the kernel failed that a request had waited for.
fn code(cause: FailureCause) -> i64 {
    match cause {
        FailureCause::Event(EventError::Accelerator(AcceleratorError::Runtime { code, .. })) => code,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_push_carries_what_the_kernel_produced() {
    for bytes in [100, 300_000] {
        let (server, stream) = (server(0), stream());
        let worker = worker(0, &[&server]);
        let push = ours(&worker, bytes, 1);
        let (go, may_go) = channel::<()>();
        let produced = push.clone();
        let produce = move || {
            may_go.recv_timeout(PATIENCE).map_err(|_| KernelFault { code: -1 })?;
            filled(&produced, 9);
            Ok(())
        };
        stream.launch(produce);
        let request = PushPull::new().push(1, &push).after(&stream.record().unwrap());
        let handle = worker.push_pull(&request, soon()).unwrap();
        assert!(server.try_batch(Gather::Any).unwrap().is_none(), "nothing is sent before the event");
        go.send(()).unwrap();
        let request = next(&server);
        assert_eq!(pushed(&request), [(1, vec![9; bytes as usize])]);
        request.respond(&[]).unwrap();
        handle.wait(soon()).unwrap();
        let stamps = worker.recorder().request(0)[0].part.stamps;
        assert!(stamps.submitted < stamps.event_done && stamps.event_done <= stamps.posted);
    }
}

#[test]
fn a_failed_event_is_a_typed_error_and_frees_the_room() {
    let (server, stream) = (server(0), stream());
    let worker = worker(0, &[&server]);
    let push = ours(&worker, 5000, 1);
    let (end, event) = kernel(&stream);
    let handle = worker.push_pull(&PushPull::new().push(1, &push).after(&event), soon()).unwrap();
    end.send(Err(KernelFault { code: 77 })).unwrap();
    assert_eq!(code(failure(handle.wait(soon()))), 77);
    // Twice as many as slots.
    for _ in 0..4 {
        let handle = worker.push_pull(&PushPull::new().push(1, &push), soon()).unwrap();
        next(&server).respond(&[]).unwrap();
        handle.wait(soon()).unwrap();
    }
}

#[test]
fn a_request_that_waits_for_its_event_is_cancelled_at_once() {
    let (server, stream) = (server(0), stream());
    let worker = worker(0, &[&server]);
    let push = ours(&worker, 5000, 1);
    let (end, event) = kernel(&stream);
    for _ in 0..4 {
        let handle = worker.push_pull(&PushPull::new().push(1, &push).after(&event), soon()).unwrap();
        assert_eq!(handle.cancel(), CancelOutcome::Cancelled);
    }
    end.send(Ok(())).unwrap();
    assert_eq!(wait_for(&*event, soon()), Ok(true));
    let handle = worker.push_pull(&PushPull::new().push(1, &push).tag(5), soon()).unwrap();
    let request = next(&server);
    assert_eq!(request.tag(), 5, "the cancelled ones were not sent");
    request.respond(&[]).unwrap();
    handle.wait(soon()).unwrap();
}

#[test]
fn a_kernel_waits_for_a_pull() {
    let (server, accelerator) = (server(0), CpuAccelerator::default());
    let worker = worker(0, &[&server]);
    let (stream, arrived) = (accelerator.open_cpu_stream().unwrap(), accelerator.flag().unwrap());
    let pull = ours(&worker, 5000, 0);
    let (seen, consumed) = (pull.clone(), channel());
    stream.wait_value(&arrived, 3).unwrap();
    let (tell, told) = consumed;
    let consume = move || tell.send(is_filled(&seen, 8)).map_err(|_| KernelFault { code: -1 });
    stream.launch(consume);
    let handle = worker.push_pull(&PushPull::new().pull(2, &pull).then_set(&arrived, 3), soon()).unwrap();
    assert_eq!(arrived.load(), 0);
    next(&server).respond(&[theirs(&server, 5000, 8)]).unwrap();
    assert_eq!(told.recv_timeout(PATIENCE), Ok(true));
    handle.wait(soon()).unwrap();

    let handle = worker.push_pull(&PushPull::new().pull(2, &pull).then_set(&arrived, 4), soon()).unwrap();
    drop(next(&server));
    assert!(handle.wait(soon()).is_err());
    assert_eq!(arrived.load(), FAILED, "no kernel waits for ever");
}

#[test]
fn no_more_wait_than_the_gate_holds() {
    let (server, stream) = (server(0), stream());
    let events = GateConfig { depth: 1, ..GateConfig::default() };
    let worker =
        worker_with(WorkerConfig { identity: node(0), events, ..WorkerConfig::default() }, &[&server]);
    let arrived = CpuAccelerator::default().flag().unwrap();
    let (end, event) = kernel(&stream);
    let request = PushPull::new().push(1, &ours(&worker, 50, 1)).after(&event);
    let first = worker.push_pull(&request, soon()).unwrap();
    let refused = worker.push_pull(&request.clone().then_set(&arrived, 1), soon()).unwrap_err();
    assert_eq!(refused, PushPullError::Events { held: 1 });
    assert_eq!(arrived.load(), 0, "it was not taken");
    end.send(Ok(())).unwrap();
    next(&server).respond(&[]).unwrap();
    first.wait(soon()).unwrap();
}

#[test]
fn what_waits_when_the_worker_goes_is_told() {
    let (server, stream) = (server(0), stream());
    let worker: Worker = worker(0, &[&server]);
    let (end, event) = kernel(&stream);
    let request = PushPull::new().push(1, &ours(&worker, 50, 1)).after(&event);
    let handle = worker.push_pull(&request, soon()).unwrap();
    drop((worker, request));
    assert_eq!(failure(handle.wait(soon())), FailureCause::Event(EventError::Closed));
    end.send(Ok(())).unwrap();
}

#[test]
fn a_server_that_goes_while_the_event_is_waited_for_fails_the_request() {
    let (server, stream) = (server(0), stream());
    let worker = worker(0, &[&server]);
    let (end, event) = kernel(&stream);
    let request = PushPull::new().push(1, &ours(&worker, 50_000, 1)).after(&event);
    let handle = worker.push_pull(&request, soon()).unwrap();
    drop(server);
    assert!(matches!(failure(handle.wait(soon())), FailureCause::Down(_)));
    end.send(Ok(())).unwrap();
    assert_eq!(wait_for(&*event, soon()), Ok(true));
}
