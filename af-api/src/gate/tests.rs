//! The thread that holds requests back, with streams that are threads.

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use pmd_core::accelerator::{AcceleratorError, Event, Stream};
use pmd_host::accelerator::{CpuAccelerator, CpuStream, KernelFault};

use super::{EventError, Gate, GateConfig, GateError, Pending};

/// No wait in these tests takes this long unless something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

type Outcome = Result<(), EventError>;

fn soon() -> Option<Instant> {
    Some(Instant::now() + PATIENCE)
}

fn stream() -> Arc<CpuStream> {
    CpuAccelerator::default().open_cpu_stream().expect("a thread")
}

/// A kernel that runs until it is told how to end.
fn held_kernel()
-> (Sender<Result<(), KernelFault>>, impl FnOnce() -> Result<(), KernelFault> + Send + 'static) {
    let (end, ended): (_, Receiver<Result<(), KernelFault>>) = channel();
    (end, move || ended.recv_timeout(PATIENCE).unwrap_or(Err(KernelFault { code: -1 })))
}

/// A request that tells its outcome.
fn telling(event: Arc<dyn Event>) -> (Pending, Receiver<Outcome>) {
    let (tell, told) = channel();
    let action = Box::new(move |outcome| drop(tell.send(outcome)));
    (Pending { event, order: None, deadline: None, action }, told)
}

/// A request behind a kernel that runs until the sender says so.
fn behind_a_kernel(stream: &CpuStream) -> (Sender<Result<(), KernelFault>>, Pending, Receiver<Outcome>) {
    let (end, kernel) = held_kernel();
    stream.launch(kernel);
    let (pending, told) = telling(stream.record().expect("room"));
    (end, pending, told)
}

#[test]
fn an_action_comes_after_its_event() {
    let (gate, stream) = (Gate::new(GateConfig::default()), stream());
    let produced = Arc::new(Mutex::new(0));
    let (end, kernel) = held_kernel();
    stream.launch(kernel);
    let write = Arc::clone(&produced);
    let fill = move || {
        *write.lock().expect("no panic") = 9;
        Ok(())
    };
    stream.launch(fill);
    let (tell, told) = channel();
    let read = Arc::clone(&produced);
    let action = Box::new(move |outcome: Outcome| {
        drop(tell.send((outcome, *read.lock().expect("no panic"))));
    });
    let event = stream.record().expect("room");
    gate.hold(Pending { event, order: None, deadline: None, action }).expect("room");
    assert_eq!(gate.held(), 1);
    end.send(Ok(())).expect("the kernel waits");
    assert_eq!(told.recv_timeout(PATIENCE), Ok((Ok(()), 9)));
    assert_eq!(gate.held(), 0);
}

#[test]
fn a_failed_event_is_told() {
    let (gate, stream) = (Gate::new(GateConfig::default()), stream());
    let (end, pending, told) = behind_a_kernel(&stream);
    gate.hold(pending).expect("room");
    end.send(Err(KernelFault { code: 12 })).expect("the kernel waits");
    let outcome = told.recv_timeout(PATIENCE).expect("it is told");
    let Err(EventError::Accelerator(AcceleratorError::Runtime { code, .. })) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(code, 12);
}

#[test]
fn a_deadline_ends_the_wait_of_one() {
    let (gate, stream) = (Gate::new(GateConfig::default()), stream());
    let (end, late, late_told) = behind_a_kernel(&stream);
    let (patient, patient_told) = telling(stream.record().expect("room"));
    gate.hold(Pending { deadline: Some(Instant::now()), ..late }).expect("room");
    gate.hold(Pending { deadline: soon(), ..patient }).expect("room");
    assert!(matches!(late_told.recv_timeout(PATIENCE), Ok(Err(EventError::Timeout { .. }))));
    end.send(Ok(())).expect("the kernel waits");
    assert_eq!(patient_told.recv_timeout(PATIENCE), Ok(Ok(())));
}

#[test]
fn one_that_waits_is_taken_back() {
    let (gate, stream) = (Gate::new(GateConfig::default()), stream());
    let (end, pending, told) = behind_a_kernel(&stream);
    let ticket = gate.hold(pending).expect("room");
    assert!(ticket.cancel());
    assert!(told.recv_timeout(PATIENCE).is_err(), "its action is gone without having been called");
    assert!(!ticket.cancel());
    end.send(Ok(())).expect("the kernel waits");
    let (next, next_told) = telling(stream.record().expect("room"));
    gate.hold(next).expect("room");
    assert_eq!(next_told.recv_timeout(PATIENCE), Ok(Ok(())));
}

#[test]
fn taking_back_waits_for_an_action_that_runs() {
    let (gate, stream) = (Gate::new(GateConfig::default()), stream());
    let (begun, has_begun) = channel();
    let (go, may_go) = channel::<()>();
    let finished = Arc::new(Mutex::new(false));
    let finish = Arc::clone(&finished);
    let action = Box::new(move |_| {
        let _ = begun.send(());
        let _ = may_go.recv_timeout(PATIENCE);
        *finish.lock().expect("no panic") = true;
    });
    let event = stream.record().expect("room");
    let ticket = gate.hold(Pending { event, order: None, deadline: None, action }).expect("room");
    has_begun.recv_timeout(PATIENCE).expect("the action begins");
    let cancelling = thread::spawn(move || ticket.cancel());
    go.send(()).expect("the action waits");
    assert!(!cancelling.join().expect("no panic"));
    assert!(*finished.lock().expect("no panic"));
}

#[test]
fn those_of_one_order_keep_it_and_others_pass() {
    let gate = Gate::new(GateConfig::default());
    let (slow, quick) = (stream(), stream());
    let (end, first, first_told) = behind_a_kernel(&slow);
    let (second, second_told) = telling(quick.record().expect("room"));
    let (other, other_told) = telling(quick.record().expect("room"));
    gate.hold(Pending { order: Some(4), ..first }).expect("room");
    gate.hold(Pending { order: Some(4), ..second }).expect("room");
    gate.hold(Pending { order: Some(5), ..other }).expect("room");
    assert_eq!(other_told.recv_timeout(PATIENCE), Ok(Ok(())));
    assert!(second_told.try_recv().is_err(), "the first of its order has not gone");
    end.send(Ok(())).expect("the kernel waits");
    assert_eq!(second_told.recv_timeout(PATIENCE), Ok(Ok(())));
    assert_eq!(first_told.try_recv(), Ok(Ok(())));
}

#[test]
fn a_full_gate_gives_the_request_back() {
    let gate = Gate::new(GateConfig { depth: 1, ..GateConfig::default() });
    let stream = stream();
    let (end, first, told) = behind_a_kernel(&stream);
    gate.hold(first).expect("room for one");
    let (second, second_told) = telling(stream.record().expect("room"));
    let refused = gate.hold(second).expect_err("no room for two");
    assert!(matches!(refused.reason, GateError::Full { depth: 1 }));
    assert!(format!("{refused:?}").contains("Pending"));
    end.send(Ok(())).expect("the kernel waits");
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Ok(())));
    gate.hold(refused.pending).expect("there is room again");
    assert_eq!(second_told.recv_timeout(PATIENCE), Ok(Ok(())));
}

#[test]
fn closing_tells_what_waits_and_takes_no_more() {
    let (gate, stream) = (Gate::new(GateConfig::default()), stream());
    let (end, pending, told) = behind_a_kernel(&stream);
    gate.hold(pending).expect("room");
    gate.close();
    assert_eq!(told.try_recv(), Ok(Err(EventError::Closed)), "closing waits for it");
    let (next, _told) = telling(stream.record().expect("room"));
    assert!(matches!(gate.hold(next).expect_err("it is closed").reason, GateError::Closed));
    end.send(Ok(())).expect("the kernel waits");
}

#[test]
fn an_action_may_hold_the_last_handle() {
    let (gate, stream) = (Gate::new(GateConfig::default()), stream());
    let (end, pending, told) = behind_a_kernel(&stream);
    let (itself, tell) = (gate.clone(), pending.action);
    let action = Box::new(move |outcome| {
        drop(itself);
        tell(outcome);
    });
    gate.hold(Pending { action, ..pending }).expect("room");
    drop(gate);
    end.send(Ok(())).expect("the kernel waits");
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Ok(())));
}

#[test]
fn what_panics_harms_nobody_else() {
    #[derive(Debug)]
    struct Broken;
    impl Event for Broken {
        fn query(&self) -> Result<bool, AcceleratorError> {
            panic!("an event of a test")
        }
    }
    let (gate, stream) = (Gate::new(GateConfig::default()), stream());
    let (broken, broken_told) = telling(Arc::new(Broken));
    gate.hold(broken).expect("room");
    assert_eq!(broken_told.recv_timeout(PATIENCE), Ok(Err(EventError::Panicked)));
    let (pending, _told) = telling(stream.record().expect("room"));
    gate.hold(Pending { action: Box::new(|_| panic!("an action of a test")), ..pending }).expect("room");
    let (next, told) = telling(stream.record().expect("room"));
    gate.hold(next).expect("room");
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Ok(())));
}

#[test]
fn a_gate_that_pauses_goes_on() {
    let pausing =
        GateConfig { busy: Duration::ZERO, pause: Duration::from_micros(10), ..GateConfig::default() };
    let (gate, stream) = (Gate::new(pausing), stream());
    let (end, pending, told) = behind_a_kernel(&stream);
    gate.hold(pending).expect("room");
    thread::sleep(Duration::from_millis(1));
    end.send(Ok(())).expect("the kernel waits");
    assert_eq!(told.recv_timeout(PATIENCE), Ok(Ok(())));
}
