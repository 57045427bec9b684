//! Words that streams and the host wait for, and what streams still touch when it is dropped.
#![allow(unsafe_code)] // copies, page-locks

use std::{sync::Arc, thread};

use pmd_core::accelerator::{AcceleratorError, CopyDirection, CopyRange, Flag};

use crate::{
    bench::{Fake, address, error, host_bytes, open, until, wait, write},
    stage::Stage,
};

/// A flag of no runtime.
#[derive(Debug)]
struct Other;

impl Flag for Other {
    fn address(&self) -> u64 {
        0x1000
    }

    fn load(&self) -> u64 {
        0
    }

    fn store(&self, _: u64) {}
}

case!(host_and_stream_wait_for_each_other, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let (asked, answered) = (device.flag().expect("a flag"), device.flag().expect("another"));
    let stream = device.open_stream().expect("a stream");
    for turn in 1..=20 {
        stream.wait_value(&asked, turn * 2).expect("it takes a wait");
        stream.signal(&answered, turn).expect("it takes a write");
    }
    assert_eq!((asked.load(), answered.load()), (0, 0));
    asked.store(1);
    for turn in 1..=20 {
        assert_eq!(answered.load(), turn - 1);
        // A larger value does too.
        asked.store(turn * 2 + 1);
        until(|| answered.load() == turn);
    }
    assert_eq!(fake.counts().others, 2);
    drop((asked, answered, stream, device));
    fake.is_empty();
});

case!(flags_of_others_are_refused, Stage::normal(), || {
    let (device, elsewhere) = (open(0), open(1));
    let stream = device.open_stream().expect("a stream");
    let foreign = AcceleratorError::Foreign { of: device.identity().clone() };
    let flags: [Arc<dyn Flag>; 2] = [elsewhere.flag().expect("a flag"), Arc::new(Other)];
    for flag in &flags {
        assert_eq!(error(stream.signal(flag, 1)), foreign);
        assert_eq!(error(stream.wait_value(flag, 1)), foreign);
    }
    // Another value for the same device is the same accelerator.
    stream.signal(&open(0).flag().expect("a flag"), 1).expect("it is ours");
});

case!(a_runtime_without_waits_has_no_flags, Stage::normal().without("hipStreamWaitValue64"), no_flags);
case!(a_runtime_without_writes_has_no_flags, Stage::normal().without("hipStreamWriteValue64"), no_flags);
case!(a_runtime_without_signals_has_no_flags, Stage::normal().without("hipExtMallocWithFlags"), no_flags);
case!(a_device_that_cannot_wait_has_no_flags, Stage::normal().faults("hipDeviceGetAttribute@2=1"), no_flags);

fn no_flags() {
    let refused = error(open(0).flag());
    let what = "wait for a value in a stream";
    assert!(
        matches!(refused, AcceleratorError::Unsupported { what: found, .. } if found == what),
        "{refused}"
    );
}

case!(no_room_for_a_flag_is_told, Stage::normal().faults("hipExtMallocWithFlags@1=2"), || {
    assert!(matches!(error(open(0).flag()), AcceleratorError::OutOfMemory { wanted: 8, .. }));
});

case!(a_stream_keeps_the_flags_that_it_writes, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let (held, written) = (device.flag().expect("a flag"), device.flag().expect("another"));
    let stream = device.open_stream().expect("a stream");
    stream.wait_value(&held, 1).expect("it takes a wait");
    stream.signal(&written, 1).expect("it takes a write");
    drop(written);
    drop(stream);
    assert_eq!(fake.counts().others, 2, "the stream has still to write it");
    held.store(1);
    // The accelerator looks when a stream is closed, and when it goes itself.
    until(|| {
        let stream = device.open_stream().expect("a stream");
        wait(&*stream.record().expect("an event"));
        drop(stream);
        fake.counts().others == 1
    });
    drop((held, device));
    fake.is_empty();
});

case!(a_wait_that_nobody_ends_hangs_nobody, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let (flag, stream) = (device.flag().expect("a flag"), device.open_stream().expect("a stream"));
    stream.wait_value(&flag, 1).expect("it takes a wait");
    drop((flag, stream, device));
    assert_eq!(fake.counts().others, 1, "the word stays, for the stream reads it");
});

case!(a_graph_keeps_the_flags_that_it_writes, Stage::normal().faults("hipEventQuery@1+=907"), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let (flag, stream) = (device.flag().expect("a flag"), device.open_stream().expect("a stream"));
    stream.signal(&flag, 1).expect("it takes a write");
    until(|| flag.load() == 1);
    drop((flag, stream, device));
    assert_eq!(fake.counts().others, 1, "the graph may be launched again");
});

case!(memory_is_freed_though_the_stream_waits_for_us, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let (memory, other) = (device.allocate(64).expect("room"), device.allocate(64).expect("room"));
    let (flag, stream) = (device.flag().expect("a flag"), device.open_stream().expect("a stream"));
    write(&*stream, address(&*memory), &[1; 64]);
    stream.wait_value(&flag, 1).expect("it takes a wait");
    // Its copies are done; what is behind them waits for this thread.
    drop((memory, other));
    assert_eq!(fake.counts().allocations, 0);
    flag.store(1);
    wait(&*stream.record().expect("an event"));
    drop((flag, stream, device));
    fake.is_empty();
});

case!(memory_is_freed_behind_the_copies, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let (memory, pinned) =
        (device.allocate(4096).expect("room"), device.allocate_pinned(4096).expect("room"));
    let ordinary = vec![6_u8; 4096];
    let first = ordinary.as_ptr().expose_provenance() as u64;
    // SAFETY: the vector outlives the lock.
    let locked = unsafe { device.pin(first, 4096) }.expect("nobody locked it");
    let (flag, stream) = (device.flag().expect("a flag"), device.open_stream().expect("a stream"));
    let (middle, last) = (address(&*memory), address(&*pinned));
    stream.wait_value(&flag, 1).expect("it takes a wait");
    let copies = [
        CopyRange { from: first, to: middle, length: 4096, direction: CopyDirection::HostToDevice },
        CopyRange { from: middle, to: last, length: 4096, direction: CopyDirection::DeviceToHost },
    ];
    // SAFETY: all three are there until the copies are done: that is what is tested.
    unsafe { stream.copy(&copies) }.expect("the copies are taken");
    drop(stream);
    let dropping = thread::spawn(move || drop((locked, memory)));
    flag.store(1);
    dropping.join().expect("both are dropped");
    assert_eq!(host_bytes(&*pinned), ordinary, "done before the first was dropped");
    drop((flag, pinned, device));
    fake.is_empty();
});
