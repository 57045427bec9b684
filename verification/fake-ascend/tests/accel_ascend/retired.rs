//! What is dropped while streams may use it: put off, not waited for, and freed by a later call.

use std::ffi::{c_int, c_void};

use crate::support::*;

/// A stream that stands still until the flag is 1.
fn held(npu: &dyn Accelerator) -> (std::sync::Arc<dyn Stream>, std::sync::Arc<dyn Flag>) {
    let (stream, flag) = (npu.open_stream().unwrap(), npu.flag().unwrap());
    stream.wait_value(&flag, 1).unwrap();
    (stream, flag)
}

case!(memory_waits_for_streams_and_its_drop_does_not, [], {
    let npu = open(0);
    let (stream, flag) = held(&npu);
    let (memory, pinned) = (npu.allocate(64).unwrap(), npu.allocate_pinned(64).unwrap());
    let (from, to) = (pinned.description().address, memory.description().address);
    copy(&stream, from, to, CopyDirection::HostToDevice).unwrap();
    drop((memory, pinned));
    for _ in 0..10 {
        drop(npu.open_stream().unwrap());
        assert_eq!((counts().allocations, counts().pinned), (1, 1));
    }
    flag.store(1);
    finish(&stream);
    drop(npu.open_stream().unwrap());
    assert_eq!((counts().allocations, counts().pinned), (0, 0));
});

case!(a_dropped_stream_keeps_what_it_uses, [], {
    let npu = open(0);
    let (stream, flag) = held(&npu);
    let (memory, pinned) = (npu.allocate(64).unwrap(), npu.allocate_pinned(64).unwrap());
    let (from, to) = (pinned.description().address, memory.description().address);
    copy(&stream, from, to, CopyDirection::HostToDevice).unwrap();
    let event = stream.record().unwrap();
    drop(stream);
    drop((memory, pinned));
    drop(npu.open_stream().unwrap());
    assert_eq!((counts().allocations, counts().pinned, counts().streams), (1, 1, 1));
    assert_eq!(event.query(), Ok(false));
    flag.store(1);
    wait_until("the event", || event.query().unwrap());
    wait_until("all is freed", || {
        drop(npu.open_stream().unwrap());
        (counts().allocations, counts().pinned, counts().streams) == (0, 0, 0)
    });
});

case!(events_that_streams_wait_for_outlive_their_values, [], {
    let npu = open(0);
    let second = npu.open_stream().unwrap();
    let mut most = 0;
    for turn in 0..20 {
        let (first, flag) = held(&npu);
        for _ in 0..5 {
            let event = first.record().unwrap();
            second.wait(&event).unwrap();
        }
        assert!(counts().events >= 5);
        flag.store(1);
        finish(&second);
        drop((first, flag));
        wait_until("the streams are closed", || {
            drop(npu.open_stream().unwrap());
            counts().streams == 1
        });
        // What is left are spare ones, which the next turns use again.
        most = if turn == 0 { counts().events } else { most };
        assert!(counts().events <= most + 10, "{:?}", counts());
    }
});

case!(much_that_is_dropped_at_once_takes_one_event, [], {
    let npu = open(0);
    let (stream, flag) = held(&npu);
    let memory: Vec<_> = (0..100).map(|_| npu.allocate(64).unwrap()).collect();
    drop(memory);
    assert_eq!((counts().allocations, counts().events), (100, 1));
    flag.store(1);
    finish(&stream);
    drop(npu.open_stream().unwrap());
    assert_eq!(counts().allocations, 0);
});

case!(an_application_that_destroys_its_stream_is_told, ["FAKE_DEVICE_MISUSE" = "allow"], {
    let npu = open(0);
    select(0);
    let mut native: *mut c_void = std::ptr::null_mut();
    // SAFETY: the functions' prototypes.
    let (create, destroy) = unsafe {
        let create = library().get::<unsafe extern "C" fn(*mut *mut c_void) -> c_int>(b"aclrtCreateStream");
        let destroy = library().get::<unsafe extern "C" fn(*mut c_void) -> c_int>(b"aclrtDestroyStream");
        (create.unwrap(), destroy.unwrap())
    };
    // SAFETY: a place for a handle.
    assert_eq!(unsafe { create(&mut native) }, 0);
    let (stream, flag) = (npu.stream(native as u64).unwrap(), npu.flag().unwrap());
    stream.wait_value(&flag, 1).unwrap();
    let event = stream.record().unwrap();
    assert_eq!(event.query(), Ok(false));
    // SAFETY: a stream that is there.
    assert_eq!(unsafe { destroy(native) }, 0);
    assert_eq!(event.query(), Err(AcceleratorError::StreamGone));
    assert_eq!(failure(stream.record()).1, 107_017);
    let unknown = AcceleratorError::UnknownStream { kind: AcceleratorKind::Ascend, native: native as u64 };
    assert_eq!(npu.stream(native as u64).unwrap_err(), unknown);
    flag.store(1);
});
