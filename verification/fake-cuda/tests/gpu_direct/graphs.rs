//! Streams that are captured into graphs.

use std::{ffi::c_void, sync::Arc, thread};

use gpu_direct::CudaAccelerator;
use pmd_core::accelerator::Flag;

use crate::support::*;

fn both() -> (CudaAccelerator, Arc<dyn Accelerator>) {
    let cuda = CudaAccelerator::open(0).expect("the stand-in has a device");
    (cuda.clone(), Arc::new(cuda))
}

fn unsupported(error: AcceleratorError) {
    assert!(matches!(error, AcceleratorError::Unsupported { .. }), "{error}");
}

/// The driver's functions, as an application's runtime calls them.
struct Native;

impl Native {
    fn enter() -> Self {
        let mut context = 0_usize;
        let retain = function::<unsafe extern "C" fn(*mut usize, i32) -> u32>("cuDevicePrimaryCtxRetain");
        let push = function::<unsafe extern "C" fn(usize) -> u32>("cuCtxPushCurrent_v2");
        // SAFETY: a place for the handle.
        assert_eq!(unsafe { (retain(&mut context, 0), push(context)) }, (0, 0));
        Self
    }

    fn begin(&self, stream: u64, mode: u32) {
        let begin = function::<unsafe extern "C" fn(usize, u32) -> u32>("cuStreamBeginCapture_v2");
        // SAFETY: numbers.
        assert_eq!(unsafe { begin(stream as usize, mode) }, 0);
    }

    /// The code with which a capture ends; a graph is destroyed.
    fn end(&self, stream: u64) -> u32 {
        let end = function::<unsafe extern "C" fn(usize, *mut usize) -> u32>("cuStreamEndCapture");
        let destroy = function::<unsafe extern "C" fn(usize) -> u32>("cuGraphDestroy");
        let mut graph = 0;
        // SAFETY: a place for the handle, which is destroyed once.
        unsafe {
            let ended = end(stream as usize, &mut graph);
            assert_eq!(if ended == 0 { destroy(graph) } else { 0 }, 0);
            ended
        }
    }

    fn status(&self, stream: u64) -> u32 {
        let ask = function::<unsafe extern "C" fn(usize, *mut u32) -> u32>("cuStreamIsCapturing");
        let mut status = 9;
        // SAFETY: a place for the status.
        assert_eq!(unsafe { ask(stream as usize, &mut status) }, 0);
        status
    }

    fn allocate(&self) -> u32 {
        let mut address = 0;
        let allocate = function::<unsafe extern "C" fn(*mut u64, usize) -> u32>("cuMemAlloc_v2");
        // SAFETY: a place for the address.
        unsafe { allocate(&mut address, 64) }
    }

    fn of_stream(&self, name: &str, stream: u64) -> u32 {
        // SAFETY: a function of a stream.
        unsafe { function::<unsafe extern "C" fn(usize) -> u32>(name)(stream as usize) }
    }

    fn call_host(&self, stream: u64, counter: &std::sync::atomic::AtomicU64) {
        type Called = unsafe extern "C" fn(*mut c_void);
        unsafe extern "C" fn count(counter: *mut c_void) {
            // SAFETY: the counter of the case, which lives until the stream is done.
            let counter = unsafe { &*counter.cast::<std::sync::atomic::AtomicU64>() };
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        let call = function::<unsafe extern "C" fn(usize, Called, *mut c_void) -> u32>("cuLaunchHostFunc");
        // SAFETY: as above.
        assert_eq!(unsafe { call(stream as usize, count, (&raw const *counter).cast_mut().cast()) }, 0);
    }

    fn leave(self) {
        let release = function::<unsafe extern "C" fn(i32) -> u32>("cuDevicePrimaryCtxRelease_v2");
        // SAFETY: retained by `enter`.
        assert_eq!(unsafe { release(0) }, 0);
    }
}

case!(
    a_graph_waits_copies_and_signals_as_often_as_it_is_launched,
    ["FAKE_DEVICE_FAULTS" = "cuMemcpyBatchAsync@1=900,cuLaunchKernel@1=900"],
    {
        let (cuda, gpu) = both();
        let stream = gpu.open_stream().unwrap();
        let (computed, sent) = (gpu.flag().unwrap(), gpu.flag().unwrap());
        let (from, to) = (gpu.allocate(1024).unwrap(), gpu.allocate(1024).unwrap());
        let pairs: Vec<BlockPair> = (0..8).map(|at| BlockPair { from: at, to: 15 - at }).collect();
        let table = |memory: &dyn DeviceMemory| BlockTable { base: address(memory), stride: 64 };
        let direction = CopyDirection::DeviceToDevice;
        let blocks =
            BlockCopies { from: table(&*from), to: table(&*to), block_bytes: 64, pairs: &pairs, direction };
        let capture = cuda.begin_capture(&stream).unwrap();
        stream.wait_value(&computed, 1).unwrap();
        // SAFETY: both live for as long as the graph.
        unsafe { stream.copy_blocks(&blocks) }.unwrap();
        stream.signal(&sent, 5).unwrap();
        let event = stream.record().unwrap();
        unsupported(event.query().unwrap_err());
        let graph = capture.end().unwrap();
        unsupported(event.query().unwrap_err());
        let executable = graph.instantiate().unwrap();
        drop(graph);
        assert_eq!((bytes(&*gpu, address(&*to), 1024), sent.load()), (vec![0xa5; 1024], 0));
        for round in 1..=3_u8 {
            put(&*gpu, address(&*from), &[round; 512]);
            // SAFETY: both live, and nobody else uses them until the stream is done.
            unsafe { executable.launch(&stream) }.unwrap();
            assert_ne!(bytes(&*gpu, address(&*to), 1024)[512..], [round; 512]);
            computed.store(1);
            wait_until("the graph has signalled", || sent.load() == 5);
            finish(&stream);
            assert_eq!(bytes(&*gpu, address(&*to), 1024)[512..], [round; 512]);
            computed.store(0);
            sent.store(0);
        }
        drop((stream, computed, sent, from, to, event, executable, cuda, gpu));
        assert_nothing_left();
    }
);

case!(what_cannot_be_captured_breaks_a_capture, [], {
    let gpu = open(0);
    let (native, held) = (Native::enter(), gpu.open_stream().unwrap());
    let stream = held.native();
    native.begin(stream, 0);
    assert_eq!((native.status(stream), native.allocate(), native.status(stream)), (1, 900, 2));
    assert_eq!(code(&held.record().unwrap_err()), 901);
    assert_eq!((native.end(stream), native.status(stream)), (901, 0));
    for name in ["cuStreamSynchronize", "cuStreamQuery", "cuStreamDestroy_v2"] {
        native.begin(stream, 2);
        assert_eq!((native.of_stream(name, stream), native.status(stream)), (900, 2), "{name}");
        assert_eq!(native.end(stream), 901);
    }
    // In the mode that forbids nothing.
    native.begin(stream, 2);
    assert_eq!((native.allocate(), native.end(stream)), (0, 0));
    native.leave();
});

case!(this_crates_calls_break_no_capture, [], {
    let gpu = open(0);
    let (native, stream) = (Native::enter(), gpu.open_stream().unwrap());
    let done = stream.record().unwrap();
    let flag = gpu.flag().unwrap();
    let work = |gpu: &Arc<dyn Accelerator>| {
        let (memory, other) = (gpu.allocate(64).unwrap(), gpu.open_stream().unwrap());
        put(&**gpu, address(&*memory), &[1; 64]);
        let (fresh, pinned) = (gpu.flag().unwrap(), gpu.allocate_pinned(64).unwrap());
        other.signal(&fresh, 1).unwrap();
        finish(&other);
        wait_until("it was recorded before", || done.query().unwrap());
        drop((memory, pinned, fresh));
    };
    for mode in [0, 1] {
        native.begin(stream.native(), mode);
        stream.signal(&flag, 1).unwrap();
        work(&gpu);
        thread::scope(|scope| scope.spawn(|| work(&gpu)).join().unwrap());
        assert_eq!((native.end(stream.native()), flag.load()), (0, 0));
    }
    native.leave();
});

case!(streams_are_captured_together_by_events, [], {
    let (cuda, gpu) = both();
    let (stream, other) = (gpu.open_stream().unwrap(), gpu.open_stream().unwrap());
    let flags: Vec<Arc<dyn Flag>> = (0..3).map(|_| gpu.flag().unwrap()).collect();
    let outside = other.record().unwrap();
    let capture = cuda.begin_capture(&stream).unwrap();
    unsupported(stream.wait(&outside).unwrap_err());
    stream.signal(&flags[0], 1).unwrap();
    other.wait(&stream.record().unwrap()).unwrap();
    other.signal(&flags[1], 1).unwrap();
    let joined = other.record().unwrap();
    stream.wait(&joined).unwrap();
    stream.signal(&flags[2], 1).unwrap();
    let executable = capture.end().unwrap().instantiate().unwrap();
    assert!(flags.iter().all(|flag| flag.load() == 0));
    for _ in 0..2 {
        // SAFETY: flags, which live.
        unsafe { executable.launch(&other) }.unwrap();
        finish(&other);
        assert!(flags.iter().all(|flag| flag.load() == 1));
        flags.iter().for_each(|flag| flag.store(0));
    }
    // One that went off and did not come back; one that is dropped.
    let capture = cuda.begin_capture(&stream).unwrap();
    other.wait(&stream.record().unwrap()).unwrap();
    other.signal(&flags[1], 1).unwrap();
    assert_eq!(code(&capture.end().unwrap_err()), 904);
    drop(cuda.begin_capture(&stream).unwrap());
    stream.signal(&flags[0], 7).unwrap();
    finish(&stream);
    assert_eq!((flags[0].load(), flags[1].load()), (7, 0));
    assert_eq!(code(&cuda.begin_capture(&gpu.stream(0).unwrap()).unwrap_err()), 1);
    drop((stream, other, flags, outside, joined, executable, cuda, gpu));
    assert_nothing_left();
});

case!(launches_of_a_graph_follow_each_other_in_whatever_streams, [], {
    let (cuda, gpu) = both();
    let streams = [gpu.open_stream().unwrap(), gpu.open_stream().unwrap()];
    let (ask, answer) = (gpu.flag().unwrap(), gpu.flag().unwrap());
    let called = std::sync::atomic::AtomicU64::new(0);
    let capture = cuda.begin_capture(&streams[0]).unwrap();
    streams[0].signal(&answer, 0).unwrap();
    streams[0].signal(&ask, 1).unwrap();
    streams[0].wait_value(&answer, 1).unwrap();
    let native = Native::enter();
    native.call_host(streams[0].native(), &called);
    let executable = capture.end().unwrap().instantiate().unwrap();
    for round in 0..100 {
        // SAFETY: flags and a counter, which live.
        unsafe { executable.launch(&streams[round % 2]) }.unwrap();
    }
    for _ in 0..100 {
        wait_until("a launch asks", || ask.load() == 1);
        ask.store(0);
        answer.store(1);
    }
    streams.iter().for_each(finish);
    assert_eq!((called.into_inner(), ask.load()), (100, 0));
    native.leave();
});

case!(a_word_in_a_graph_is_not_used_anew, [], {
    let (cuda, gpu) = both();
    let (stream, flag) = (gpu.open_stream().unwrap(), gpu.flag().unwrap());
    let place = flag.address();
    stream.signal(&flag, 3).unwrap();
    let capture = cuda.begin_capture(&stream).unwrap();
    stream.signal(&flag, 1).unwrap();
    let executable = capture.end().unwrap().instantiate().unwrap();
    finish(&stream);
    drop(flag);
    let flags: Vec<Arc<dyn Flag>> = (0..200).map(|_| gpu.flag().unwrap()).collect();
    // SAFETY: the word of the flag, which the accelerator keeps.
    unsafe { executable.launch(&stream) }.unwrap();
    finish(&stream);
    assert!(flags.iter().all(|flag| flag.address() != place && flag.load() == 0));
    drop((stream, flags, executable, cuda, gpu));
    assert_nothing_left();
});

case!(
    a_driver_that_fails_at_graphs_says_so,
    ["FAKE_DEVICE_FAULTS" = "cuStreamBeginCapture@1=999,cuStreamEndCapture@1=999,\
        cuGraphInstantiateWithFlags@1=2,cuGraphLaunch@1=709"],
    {
        let (cuda, gpu) = both();
        let (stream, flag) = (gpu.open_stream().unwrap(), gpu.flag().unwrap());
        assert_eq!(code(&cuda.begin_capture(&stream).unwrap_err()), 999);
        let capture = cuda.begin_capture(&stream).unwrap();
        stream.signal(&flag, 1).unwrap();
        assert_eq!(code(&capture.end().unwrap_err()), 999);
        assert!(matches!(cuda.begin_capture(&stream), Err(error) if code(&error) == 1), "it goes on");
        let native = Native::enter();
        assert_eq!(native.end(stream.native()), 0);
        let capture = cuda.begin_capture(&stream).unwrap();
        stream.signal(&flag, 1).unwrap();
        let graph = capture.end().unwrap();
        assert!(matches!(graph.instantiate().unwrap_err(), AcceleratorError::OutOfMemory { .. }));
        let executable = graph.instantiate().unwrap();
        // SAFETY: a flag, which lives.
        assert_eq!(code(&unsafe { executable.launch(&stream) }.unwrap_err()), 709);
        assert_eq!(flag.load(), 0);
        native.leave();
        drop((stream, flag, graph, executable, cuda, gpu));
        assert_nothing_left();
    }
);

case!(a_graph_that_is_gone_is_misuse, ["FAKE_DEVICE_MISUSE" = "allow"], {
    let (cuda, gpu) = both();
    let stream = gpu.open_stream().unwrap();
    let executable = cuda.begin_capture(&stream).unwrap().end().unwrap().instantiate().unwrap();
    let native = Native::enter();
    let destroy = function::<unsafe extern "C" fn(usize) -> u32>("cuGraphExecDestroy");
    // SAFETY: numbers that are no graph.
    assert_eq!((unsafe { destroy(5) }, counts().misuses), (1, 0));
    let instances = 0x20_0000_usize + 16..0x20_0000 + 16 * 4;
    // SAFETY: the one that is an executable graph is destroyed before its owner does.
    let destroyed = instances.step_by(16).filter(|handle| unsafe { destroy(*handle) } == 0).count();
    assert_eq!(destroyed, 1);
    let before = counts().misuses;
    drop(executable);
    assert_eq!(counts().misuses, before + 1);
    native.leave();
});
