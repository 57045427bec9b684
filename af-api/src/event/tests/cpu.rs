//! Streams, events and flags of the CPU.

use std::{
    sync::{Arc, Mutex},
    time::Instant,
};

use super::{held_kernel, soon};
use crate::event::{
    Accelerator, Event, EventError, FAILED, Stream,
    cpu::{CpuAccelerator, KernelFault},
};

#[derive(Debug)]
struct Foreign;

impl Event for Foreign {
    fn query(&self) -> Result<bool, EventError> {
        Ok(false)
    }
}

fn device(code: i32) -> EventError {
    EventError::Device { accelerator: "cpu", code }
}

#[test]
fn work_happens_in_order() {
    let accelerator = CpuAccelerator::new();
    let stream = accelerator.open_stream().expect("a thread");
    let (end, kernel) = held_kernel();
    let seen = Arc::new(Mutex::new(Vec::new()));
    stream.launch(kernel).expect("room");
    for number in 0..100 {
        let seen = Arc::clone(&seen);
        let note = move || {
            seen.lock().expect("no panic").push(number);
            Ok(())
        };
        stream.launch(note).expect("room");
    }
    let event = stream.record().expect("room");
    assert_eq!(event.query(), Ok(false));
    assert!(matches!(event.synchronize(Some(Instant::now())), Err(EventError::Timeout { .. })));
    end.send(Ok(())).expect("the kernel waits");
    assert_eq!(event.synchronize(soon()), Ok(()));
    assert_eq!(event.query(), Ok(true));
    assert_eq!(*seen.lock().expect("no panic"), (0..100).collect::<Vec<_>>());
}

#[test]
fn a_kernel_that_fails_fails_what_is_behind_it() {
    let stream = CpuAccelerator::new().open_stream().expect("a thread");
    let flag = CpuAccelerator::new().flag().expect("memory");
    let before = stream.record().expect("room");
    stream.launch(|| Err(KernelFault { code: 77 })).expect("room");
    stream.signal(&flag, 5).expect("room");
    let behind = stream.record().expect("room");
    assert_eq!(before.synchronize(soon()), Ok(()));
    assert_eq!(behind.synchronize(soon()), Err(device(77)));
    assert_eq!((behind.query(), flag.load()), (Err(device(77)), 0));
    assert_eq!(stream.record().expect("room").synchronize(soon()), Err(device(77)), "it stays failed");
}

#[test]
fn a_kernel_that_panics_is_one_that_fails() {
    let stream = CpuAccelerator::new().open_stream().expect("a thread");
    stream.launch(|| panic!("a kernel of a test")).expect("room");
    assert_eq!(stream.record().expect("room").synchronize(soon()), Err(device(i32::MIN)));
}

#[test]
fn a_stream_waits_for_anothers_event() {
    let accelerator = CpuAccelerator::new();
    let [producer, consumer] = [(); 2].map(|()| accelerator.open_stream().expect("a thread"));
    let (end, kernel) = held_kernel();
    producer.launch(kernel).expect("room");
    consumer.wait(&producer.record().expect("room")).expect("of the same accelerator");
    let consumed = consumer.record().expect("room");
    assert_eq!(consumed.query(), Ok(false));
    end.send(Err(KernelFault { code: 3 })).expect("the kernel waits");
    assert_eq!(consumed.synchronize(soon()), Err(device(3)), "what it waited for failed");
}

#[test]
fn flags_pass_values_both_ways() {
    let accelerator = CpuAccelerator::new();
    let stream = accelerator.open_stream().expect("a thread");
    let [arrived, computed] = [(); 2].map(|()| accelerator.flag().expect("memory"));
    assert_ne!(arrived.address(), computed.address());
    for turn in 1..=10 {
        stream.wait_value(&arrived, turn).expect("room");
        stream.signal(&computed, turn).expect("room");
    }
    for turn in 1..=9 {
        assert_eq!(computed.load(), turn - 1);
        arrived.store(turn);
        assert_eq!(computed.wait(turn, soon()), Ok(()));
    }
    assert!(matches!(computed.wait(10, Some(Instant::now())), Err(EventError::Timeout { .. })));
    arrived.store(FAILED);
    assert_eq!(computed.wait(10, soon()), Ok(()), "a failure lets go");
}

#[test]
fn closing_a_stream_fails_what_has_not_happened() {
    let accelerator = CpuAccelerator::new();
    let stream = accelerator.open_stream().expect("a thread");
    let native = stream.native();
    let by_handle = accelerator.stream(native).expect("it is open");
    let never = accelerator.flag().expect("memory");
    by_handle.wait_value(&never, 1).expect("room");
    let event = by_handle.record().expect("room");
    drop((stream, by_handle));
    assert_eq!(event.query(), Err(EventError::StreamGone));
    let gone = accelerator.stream(native).map(|_| ());
    assert_eq!(gone, Err(EventError::UnknownStream { accelerator: "cpu", native }));
}

#[test]
fn a_foreign_event_is_refused() {
    let stream = CpuAccelerator::new().open_stream().expect("a thread");
    let foreign: Arc<dyn Event> = Arc::new(Foreign);
    assert_eq!(stream.wait(&foreign), Err(EventError::Foreign { accelerator: "cpu" }));
    assert!(matches!(foreign.synchronize(Some(Instant::now())), Err(EventError::Timeout { .. })));
}

#[test]
fn a_full_stream_refuses() {
    let stream = CpuAccelerator::new().open_stream().expect("a thread");
    let never = CpuAccelerator::new().flag().expect("memory");
    stream.wait_value(&never, 1).expect("room");
    let refused = (0..2000).find_map(|_| stream.record().err());
    assert_eq!(refused, Some(EventError::Full { depth: 1024 }));
}
