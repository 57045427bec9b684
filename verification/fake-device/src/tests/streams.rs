//! Streams and events.

use std::{
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Duration,
};

use super::*;
use crate::{Event, Owner, Progress, Stream};

const PATIENCE: Duration = Duration::from_secs(30);

/// A stream that stands still until something is sent.
fn held(runtime: &Runtime) -> (Stream, Sender<()>) {
    let stream = runtime.create_stream(0).unwrap();
    let (open, gate): (Sender<()>, Receiver<()>) = channel();
    stream.post(move || {
        let _ = gate.recv_timeout(PATIENCE);
        Ok(())
    });
    (stream, open)
}

fn event(runtime: &Runtime, stream: &Stream) -> Event {
    let event = runtime.create_event(0).unwrap();
    stream.record(&event);
    event
}

#[test]
fn streams_run_in_order_and_events_join_them() {
    let runtime = runtime();
    let (first, open) = held(&runtime);
    let second = runtime.create_stream(0).unwrap();
    let memory = runtime.allocate(0, 4).unwrap();
    let source = runtime.prepare_fill(memory, &[1], 4).unwrap();
    first.post(move || {
        source.run();
        Ok(())
    });
    let filled = event(&runtime, &first);
    second.wait_event(&filled);
    let after = event(&runtime, &second);
    assert_eq!((filled.query(), after.query()), (Progress::Pending, Progress::Pending));
    assert_eq!((first.query(), second.synchronise(Some(Duration::ZERO))), (Ok(false), Ok(false)));
    open.send(()).unwrap();
    assert_eq!(after.synchronise(Some(PATIENCE)), Progress::Done);
    assert_eq!((filled.query(), first.synchronise(Some(PATIENCE))), (Progress::Done, Ok(true)));
    assert_eq!(bytes(&runtime, memory, 4).unwrap(), [1; 4]);
    assert_eq!(runtime.create_event(0).unwrap().query(), Progress::Fresh);
}

#[test]
fn words_are_written_and_waited_for() {
    let runtime = runtime();
    let stream = runtime.create_stream(0).unwrap();
    let words = runtime.allocate_pinned(16).unwrap();
    runtime.prepare_fill(words, &[0], 16).unwrap().run();
    let word = |at, wide| runtime.prepare_word(words + at, wide).unwrap();
    stream.wait_word(word(0, true), |value| value >= 1 << 40);
    stream.write_word(word(12, false), 7);
    let done = event(&runtime, &stream);
    assert_eq!(done.query(), Progress::Pending);
    word(0, true).store(1 << 40);
    assert_eq!(done.synchronise(Some(PATIENCE)), Progress::Done);
    assert_eq!((word(12, false).load(), word(8, true).load()), (7, 7 << 32));
    assert!(matches!(runtime.prepare_word(words + 4, true), Err(FakeError::Invalid { .. })));
    let own = Box::new(0_u64);
    assert!(matches!(runtime.prepare_word(&raw const *own as u64, true), Err(FakeError::Unknown { .. })));
}

#[test]
fn a_stream_that_has_failed_does_nothing_more() {
    let runtime = Runtime::new(Settings { faults: "stream@2=719".into(), ..Settings::default() });
    let stream = runtime.create_stream(0).unwrap();
    let (told, tell) = channel();
    for number in 1..=3 {
        let told = told.clone();
        stream.post(move || {
            let _ = told.send(number);
            Ok(())
        });
    }
    let after = event(&runtime, &stream);
    assert_eq!(after.synchronise(Some(PATIENCE)), Progress::Failed(719));
    assert_eq!((stream.query(), stream.synchronise(None)), (Err(719), Err(719)));
    drop(told);
    assert_eq!(tell.iter().collect::<Vec<_>>(), [1]);
    let other = runtime.create_stream(0).unwrap();
    other.wait_event(&after);
    assert_eq!(other.synchronise(Some(PATIENCE)), Err(719));
}

#[test]
fn a_destroyed_stream_does_what_is_in_it() {
    let runtime = runtime();
    let (stream, open) = held(&runtime);
    let after = event(&runtime, &stream);
    runtime.destroy_stream(stream.handle()).unwrap();
    let gone = FakeError::NoHandle { what: "stream", handle: stream.handle() };
    assert_eq!(runtime.stream(stream.handle()).unwrap_err(), gone);
    open.send(()).unwrap();
    assert_eq!(after.synchronise(Some(PATIENCE)), Progress::Done);
    assert_eq!((runtime.misuses().len(), runtime.counts().streams), (1, 0));
    runtime.destroy_event(after.handle()).unwrap();
    assert!(runtime.destroy_event(after.handle()).is_err());
    assert_eq!((runtime.misuses().len(), runtime.counts().events), (2, 0));
    assert!(runtime.event(5).is_err() && runtime.misuses().len() == 2);
}

#[test]
fn freeing_waits_for_what_touches_the_memory() {
    let runtime = runtime();
    let memory = runtime.allocate(0, 8).unwrap();
    let (stream, open) = held(&runtime);
    let fill = runtime.prepare_fill(memory, &[3], 8).unwrap();
    stream.post(move || {
        fill.run();
        Ok(())
    });
    thread::scope(|scope| {
        let freed = scope.spawn(|| runtime.free(memory, Owner::Device(0)));
        open.send(()).unwrap();
        assert_eq!(freed.join().unwrap(), Ok(()));
    });
    assert_eq!(stream.query().map(|_| ()), Ok(()));
    assert_eq!(runtime.misuses().len(), 0);
}

#[test]
fn freeing_under_a_stream_that_never_comes_to_it_is_misuse() {
    let patience = Duration::from_millis(10);
    let runtime = Runtime::new(Settings { patience, ..Settings::default() });
    let memory = runtime.allocate(0, 8).unwrap();
    let (stream, open) = held(&runtime);
    let fill = runtime.prepare_fill(memory, &[3], 8).unwrap();
    stream.post(move || {
        fill.run();
        Ok(())
    });
    runtime.free(memory, Owner::Device(0)).unwrap();
    assert_eq!(runtime.misuses().len(), 1);
    open.send(()).unwrap();
    assert_eq!(stream.synchronise(Some(PATIENCE)), Ok(true));
}

#[test]
fn a_reset_ends_what_is_on_the_device() {
    let runtime = runtime();
    let (stream, other) = (runtime.create_stream(0).unwrap(), runtime.create_stream(1).unwrap());
    let words = runtime.allocate_pinned(8).unwrap();
    runtime.prepare_fill(words, &[0], 8).unwrap().run();
    let memory = runtime.allocate(0, 64).unwrap();
    stream.wait_word(runtime.prepare_word(words, true).unwrap(), |value| value > 0);
    let fill = runtime.prepare_fill(memory, &[1], 64).unwrap();
    stream.post(move || {
        fill.run();
        Ok(())
    });
    let after = event(&runtime, &stream);
    runtime.reset_device(0, 709);
    assert_eq!(after.synchronise(Some(PATIENCE)), Progress::Failed(709));
    assert_eq!(
        runtime.stream(stream.handle()).unwrap_err(),
        FakeError::NoHandle { what: "stream", handle: stream.handle() }
    );
    assert_eq!((runtime.counts().allocations, runtime.counts().streams, runtime.counts().events), (0, 1, 0));
    assert_eq!(other.synchronise(Some(PATIENCE)), Ok(true));
    assert_eq!(runtime.default_stream(0).unwrap().query(), Ok(true));
    assert_eq!(runtime.streams(1).len(), 1);
    assert_eq!(runtime.misuses().len(), 0);
}
