//! Responses that wait for kernels of the server.

use std::sync::mpsc::channel;

use pmd_core::accelerator::{AcceleratorError, Stream};
use pmd_host::accelerator::{CpuAccelerator, KernelFault};

use super::support::*;
use crate::{
    gate::{EventError, GateConfig, GateError},
    server::{DeferredError, RespondError, Server, ServerConfig},
    wire::Refusal,
    worker::{CancelOutcome, FailureCause, PushPull, WaitError},
};

#[test]
fn a_response_carries_what_the_kernel_produced() {
    let (server, stream) = (server(0), CpuAccelerator::default().open_cpu_stream().unwrap());
    let worker = worker(0, &[&server]);
    let pull = ours(&worker, 100_000, 0);
    let handle = worker.push_pull(&PushPull::new().pull(2, &pull), soon()).unwrap();
    let answer = theirs(&server, 100_000, 1);
    let ((go, may_go), produced) = (channel::<()>(), answer.clone());
    let produce = move || {
        may_go.recv_timeout(PATIENCE).map_err(|_| KernelFault { code: -1 })?;
        filled(&produced, 9);
        Ok(())
    };
    stream.launch(produce);
    let (tell, told) = channel();
    let tell = move |outcome| tell.send(outcome).unwrap();
    server.respond_after(&stream.record().unwrap(), (next(&server), vec![answer]), soon(), tell).unwrap();
    assert!(handle.poll().is_none());
    go.send(()).unwrap();
    handle.wait(soon()).unwrap();
    assert!(is_filled(&pull, 9));
    told.recv_timeout(PATIENCE).unwrap().unwrap().wait(soon()).unwrap();
}

#[test]
fn what_is_not_computed_is_refused_and_what_is_cancelled_is_not_sent() {
    let events = GateConfig { depth: 1, ..GateConfig::default() };
    let server = Server::open(ServerConfig { identity: node(0), events, ..ServerConfig::default() }).unwrap();
    let stream = CpuAccelerator::default().open_cpu_stream().unwrap();
    let worker = worker(0, &[&server]);
    let pull = ours(&worker, 1000, 0);
    let submit = || worker.push_pull(&PushPull::new().pull(2, &pull), soon()).unwrap();
    let (end, ended) = channel();
    stream.launch(move || ended.recv_timeout(PATIENCE).unwrap_or(Err(KernelFault { code: -1 })));
    let event = stream.record().unwrap();
    let (tell, told) = channel();
    let answer = || (next(&server), vec![theirs(&server, 1000, 8)]);

    let cancelled = submit();
    let first = tell.clone();
    server.respond_after(&event, answer(), None, move |outcome| first.send(outcome).unwrap()).unwrap();
    assert_eq!(cancelled.cancel(), CancelOutcome::Cancelled);
    let full = submit();
    let refused = server.respond_after(&event, answer(), None, |_| panic!("it was not taken"));
    assert!(matches!(refused, Err(GateError::Full { depth: 1 })));
    let abandoned = |handle: crate::worker::Handle| {
        let Err(WaitError::Failed(failure)) = handle.wait(soon()) else { panic!("it is refused") };
        assert_eq!(failure.cause, FailureCause::Refused(Refusal::Abandoned));
    };
    abandoned(full);
    end.send(Ok(())).unwrap();
    let outcome = told.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(outcome, Err(DeferredError::Respond(RespondError::Cancelled))));

    let failed = submit();
    stream.launch(|| Err(KernelFault { code: 7 }));
    let event = stream.record().unwrap();
    server.respond_after(&event, answer(), None, move |outcome| tell.send(outcome).unwrap()).unwrap();
    let outcome = told.recv_timeout(PATIENCE).unwrap();
    let of_device = |error: &EventError| {
        matches!(error, EventError::Accelerator(AcceleratorError::Runtime { code: 7, .. }))
    };
    assert!(matches!(outcome, Err(DeferredError::Event(error)) if of_device(&error)));
    abandoned(failed);
    assert!(is_filled(&pull, 0));
}
