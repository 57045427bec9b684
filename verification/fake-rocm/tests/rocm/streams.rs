//! Streams of both kinds and their events: order, errors, ends.

use std::{sync::Arc, thread};

use pmd_core::accelerator::{AcceleratorError, AcceleratorKind, Event};

use crate::{
    bench::{Fake, address, error, open, pattern, read, until, wait, write},
    stage::Stage,
};

const KIND: AcceleratorKind = AcceleratorKind::Rocm;

/// An event of no runtime.
#[derive(Debug)]
struct Other;

impl Event for Other {
    fn query(&self) -> Result<bool, AcceleratorError> {
        Ok(true)
    }
}

case!(a_stream_waits_for_anothers_event, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let (first, second) = (device.open_stream().expect("one"), device.open_stream().expect("another"));
    assert_ne!(first.native(), second.native());
    let flag = device.flag().expect("a flag");
    first.wait_value(&flag, 1).expect("it takes a wait");
    let held = first.record().expect("an event");
    second.wait(&held).expect("it takes a wait");
    let behind = second.record().expect("an event");
    assert_eq!((held.query(), behind.query()), (Ok(false), Ok(false)));
    flag.store(1);
    wait(&*behind);
    assert_eq!(held.query(), Ok(true), "it is done, and stays so");
    let other: Arc<dyn Event> = Arc::new(Other);
    let foreign = AcceleratorError::Foreign { of: device.identity().clone() };
    assert_eq!(error(second.wait(&other)), foreign);
    let elsewhere = open(1).open_stream().expect("a stream").record().expect("an event");
    assert_eq!(error(second.wait(&elsewhere)), foreign);
    drop(elsewhere);
    drop((first, second, held, behind, flag, device));
    fake.is_empty();
});

case!(events_are_used_again, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let stream = device.open_stream().expect("a stream");
    for _ in 0..100 {
        wait(&*stream.record().expect("an event"));
    }
    assert_eq!(fake.counts().events, 1);
    drop((stream, device));
    fake.is_empty();
});

case!(the_applications_streams_are_followed, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let native = fake.create_stream();
    let stream = device.stream(native).expect("it is there");
    assert_eq!(stream.native(), native);
    wait(&*stream.record().expect("an event"));
    drop(stream);
    assert_eq!(fake.counts().streams, 1, "dropping the value closes nothing");
    let default = device.stream(0).expect("the default stream");
    assert_eq!(default.native(), 0);
    wait(&*default.record().expect("an event"));
    drop(default);
    let elsewhere = open(1);
    let foreign = AcceleratorError::Foreign { of: elsewhere.identity().clone() };
    assert_eq!(error(elsewhere.stream(native)), foreign);
    let unknown = AcceleratorError::UnknownStream { kind: KIND, native: native + 8 };
    assert_eq!(error(device.stream(native + 8)), unknown);
    fake.destroy_stream(native);
    assert_eq!(error(device.stream(native)), AcceleratorError::UnknownStream { kind: KIND, native });
    drop(device);
    fake.is_empty();
});

case!(a_runtime_that_cannot_tell_takes_any_stream, Stage::normal().without("hipGetStreamDeviceId"), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let native = 0x50;
    let stream = device.stream(native).expect("nobody can tell");
    assert_eq!(error(stream.record()), AcceleratorError::UnknownStream { kind: KIND, native });
    drop((stream, device));
    fake.is_empty();
});

case!(a_stream_that_was_destroyed_is_told, Stage::normal().misused(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let (memory, flag) = (device.allocate(64).expect("room"), device.flag().expect("a flag"));
    let native = fake.create_stream();
    let stream = device.stream(native).expect("it is there");
    write(&*stream, address(&*memory), &[1; 64]);
    let done = stream.record().expect("an event");
    fake.destroy_stream(native);
    wait(&*done);
    let unknown = AcceleratorError::UnknownStream { kind: KIND, native };
    assert_eq!(error(stream.record()), unknown);
    assert_eq!(error(stream.wait(&done)), unknown);
    assert_eq!(error(stream.signal(&flag, 1)), unknown);
    assert_eq!(error(stream.wait_value(&flag, 1)), unknown);
    let mine = device.open_stream().expect("another");
    assert_eq!(read(&*mine, address(&*memory), 64), [1; 64]);
    drop((memory, stream, mine, done));
    until(|| fake.counts().allocations == 0);
});

case!(a_stream_in_error_says_so_and_others_go_on, Stage::normal().faults("stream@2=700"), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let memory = device.allocate(64).expect("room");
    let stream = device.open_stream().expect("a stream");
    write(&*stream, address(&*memory), &[1; 64]);
    let flag = device.flag().expect("a flag");
    // Fails in its turn.
    stream.signal(&flag, 1).expect("it takes a write");
    let event = stream.record().expect("an event");
    let code = |function| {
        let name = "hipErrorIllegalAddress".to_owned();
        AcceleratorError::Runtime { kind: KIND, function, code: 700, name }
    };
    until(|| event.query() != Ok(false));
    assert_eq!(error(event.query()), code("hipEventQuery"));
    assert_eq!(flag.load(), 0, "what failed was not done");
    let other = device.open_stream().expect("another");
    assert_eq!(read(&*other, address(&*memory), 64), [1; 64]);
    drop((memory, stream, event, flag, other, device));
    fake.is_empty();
});

case!(a_stream_is_shared_between_threads, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let stream = device.open_stream().expect("a stream");
    thread::scope(|scope| {
        for seed in 0..4 {
            let (device, stream) = (&device, &stream);
            scope.spawn(move || {
                for turn in 0..10 {
                    let memory = device.allocate(4096).expect("room");
                    let bytes = pattern(seed * 16 + turn, 4096);
                    write(&**stream, address(&*memory), &bytes);
                    assert_eq!(read(&**stream, address(&*memory), 4096), bytes);
                }
            });
        }
    });
    assert!(fake.counts().events <= 5, "{:?}", fake.counts());
    drop((stream, device));
    fake.is_empty();
});

case!(a_device_that_is_reset_under_us_is_told, Stage::normal().misused(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let (memory, flag) = (device.allocate(64).expect("room"), device.flag().expect("a flag"));
    let stream = device.open_stream().expect("a stream");
    stream.wait_value(&flag, 1).expect("it takes a wait");
    let event = stream.record().expect("an event");
    assert_eq!(fake.number("hipDeviceReset"), 0);
    assert_eq!(error(event.query()), AcceleratorError::StreamGone);
    let native = stream.native();
    assert_eq!(error(stream.record()), AcceleratorError::UnknownStream { kind: KIND, native });
    drop((memory, flag, stream, event));
    let (memory, stream) = (device.allocate(64).expect("room"), device.open_stream().expect("a stream"));
    write(&*stream, address(&*memory), &[2; 64]);
    assert_eq!(read(&*stream, address(&*memory), 64), [2; 64]);
});
