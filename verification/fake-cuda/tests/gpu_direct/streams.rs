//! Copies, events and streams of the application.

use std::sync::Arc;

use crate::support::*;

/// Device memory with a pattern, and as much without.
fn pair(gpu: &dyn Accelerator, length: usize) -> (Box<dyn DeviceMemory>, Box<dyn DeviceMemory>) {
    let (from, to) = (gpu.allocate(length as u64).unwrap(), gpu.allocate(length as u64).unwrap());
    put(gpu, address(&*from), &pattern(length));
    (from, to)
}

/// Every second piece, so that none are neighbours.
fn pieces(from: u64, to: u64, count: u64) -> Vec<CopyRange> {
    let direction = CopyDirection::DeviceToDevice;
    (0..count).map(|at| CopyRange { from: from + at * 32, to: to + at * 32, length: 16, direction }).collect()
}

/// Copies many pieces by a stream, and looks at each.
fn copy_pieces(gpu: &Arc<dyn Accelerator>, stream: &Arc<dyn Stream>) {
    const COUNT: usize = 300;
    let (from, to) = pair(&**gpu, COUNT * 32);
    let ranges = pieces(address(&*from), address(&*to), COUNT as u64);
    // SAFETY: both live until the stream is done.
    unsafe { stream.copy(&ranges) }.unwrap();
    finish(stream);
    let (wanted, found) = (pattern(COUNT * 32), bytes(&**gpu, address(&*to), COUNT * 32));
    for at in 0..COUNT {
        let piece = at * 32..at * 32 + 16;
        assert_eq!(found[piece.clone()], wanted[piece.clone()], "{at}");
        assert_eq!(found[piece.end..piece.end + 16], [0xa5; 16], "{at}");
    }
}

case!(pieces_are_copied_in_batches, ["FAKE_DEVICE_FAULTS" = "cuMemcpyBatchAsync@4=1"], {
    let gpu = open(0);
    let stream = gpu.open_stream().unwrap();
    // Three batches of 128.
    copy_pieces(&gpu, &stream);
    let (from, to) = pair(&*gpu, 64);
    // SAFETY: nothing is copied.
    let error = unsafe { stream.copy(&pieces(address(&*from), address(&*to), 2)) }.unwrap_err();
    assert_eq!(code(&error), 1);
    drop((stream, from, to, gpu));
    assert_nothing_left();
});

case!(
    pieces_are_copied_one_by_one_without_batches,
    ["FAKE_DEVICE_FAULTS" = "cuMemcpyBatchAsync@1=801,cuMemcpyBatchAsync@2=1"],
    {
        let gpu = open(0);
        copy_pieces(&gpu, &gpu.open_stream().unwrap());
    }
);

case!(the_default_stream_takes_no_batches, ["FAKE_DEVICE_FAULTS" = "cuMemcpyBatchAsync@1=1"], {
    let gpu = open(0);
    for native in [0, 1] {
        let stream = gpu.stream(native).unwrap();
        assert_eq!(stream.native(), native);
        copy_pieces(&gpu, &stream);
    }
});

case!(neighbours_are_one_copy, ["FAKE_DEVICE_FAULTS" = "cuMemcpyAsync@3+=1,cuMemcpyBatchAsync@1+=1"], {
    let gpu = open(0);
    let (from, to) = pair(&*gpu, 1024);
    let stream = gpu.open_stream().unwrap();
    let direction = CopyDirection::DeviceToDevice;
    let (from, to) = (address(&*from), address(&*to));
    let mut ranges: Vec<CopyRange> = (0..64)
        .map(|at| CopyRange { from: from + at * 16, to: to + at * 16, length: 16, direction })
        .collect();
    ranges.insert(5, CopyRange { from, to: from, length: 0, direction });
    // SAFETY: both live until the stream is done.
    unsafe { stream.copy(&ranges) }.unwrap();
    // SAFETY: nothing.
    unsafe { stream.copy(&[]) }.unwrap();
    finish(&stream);
});

case!(streams_wait_for_events_of_their_accelerator, [], {
    let (gpu, other) = (open(0), open(1));
    let (first, second) = (gpu.open_stream().unwrap(), gpu.open_stream().unwrap());
    let flag = gpu.flag().unwrap();
    first.wait_value(&flag, 1).unwrap();
    let event = first.record().unwrap();
    second.wait(&event).unwrap();
    let after = second.record().unwrap();
    assert_eq!((event.query(), after.query()), (Ok(false), Ok(false)));
    flag.store(1);
    wait_until("the second stream is done", || after.query().unwrap());
    assert_eq!((event.query(), after.query()), (Ok(true), Ok(true)));
    // Another opening of the same device has the same context.
    open(0).open_stream().unwrap().wait(&event).unwrap();
    let foreign = other.open_stream().unwrap().record().unwrap();
    assert!(matches!(first.wait(&foreign).unwrap_err(), AcceleratorError::Foreign { .. }));
    drop((first, second, flag, event, after, foreign, gpu, other));
    assert_nothing_left();
});

case!(events_go_back_to_a_pool, [], {
    let gpu = open(0);
    let stream = gpu.open_stream().unwrap();
    for _ in 0..1000 {
        finish(&stream);
    }
    assert_eq!(counts().events, 1);
    let many: Vec<_> = (0..10).map(|_| stream.record().unwrap()).collect();
    assert_eq!(counts().events, 10);
    drop((many, stream, gpu));
    assert_nothing_left();
});

case!(streams_of_the_application_stay_open, [], {
    let (gpu, other) = (open(0), open(1));
    let application = gpu.open_stream().unwrap();
    let same = gpu.stream(application.native()).unwrap();
    copy_pieces(&gpu, &same);
    drop(same);
    finish(&application);
    let unknown = |native| AcceleratorError::UnknownStream { kind: AcceleratorKind::Cuda, native };
    assert_eq!(gpu.stream(0x5000_0000).unwrap_err(), unknown(0x5000_0000));
    assert_eq!(other.stream(application.native()).unwrap_err(), unknown(application.native()));
});

case!(what_is_in_a_dropped_stream_still_happens, [], {
    let gpu = open(0);
    let (stream, flag) = (gpu.open_stream().unwrap(), gpu.flag().unwrap());
    let (from, to) = pair(&*gpu, 16);
    stream.wait_value(&flag, 1).unwrap();
    // SAFETY: both live until the event is done.
    unsafe { stream.copy(&pieces(address(&*from), address(&*to), 1)) }.unwrap();
    let done = stream.record().unwrap();
    drop(stream);
    assert_eq!(done.query(), Ok(false));
    flag.store(1);
    wait_until("it has happened", || done.query().unwrap());
    assert_eq!(bytes(&*gpu, address(&*to), 16), pattern(16));
});
