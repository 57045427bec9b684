//! Streams that fail and contexts that go.

use crate::support::*;

case!(a_stream_in_error_says_so_and_others_go_on, ["FAKE_DEVICE_FAULTS" = "stream@1=700"], {
    let gpu = open(0);
    let memory = gpu.allocate(64).unwrap();
    let stream = gpu.open_stream().unwrap();
    let source = [1_u8; 64];
    let range = CopyRange {
        from: source.as_ptr() as u64,
        to: address(&*memory),
        length: 64,
        direction: CopyDirection::HostToDevice,
    };
    // SAFETY: both live until the stream has failed.
    unsafe { stream.copy(&[range]) }.unwrap();
    let event = stream.record().unwrap();
    wait_until("the stream has failed", || event.query() != Ok(false));
    let error = event.query().unwrap_err();
    assert_eq!(
        error,
        AcceleratorError::Runtime {
            kind: AcceleratorKind::Cuda,
            function: "cuEventQuery",
            code: 700,
            name: "CUDA_ERROR_ILLEGAL_ADDRESS".into()
        }
    );
    assert_eq!(bytes(&*gpu, address(&*memory), 64), [0xa5; 64]);
    put(&*gpu, address(&*memory), &source);
    assert_eq!(bytes(&*gpu, address(&*memory), 64), source);
    drop((stream, event, memory, gpu));
    assert_nothing_left();
});

case!(a_context_that_was_destroyed_is_an_error_everywhere, [], {
    let (gpu, other) = (open(0), open(1));
    let (memory, pinned) = (gpu.allocate(64).unwrap(), gpu.allocate_pinned(64).unwrap());
    let (stream, flag) = (gpu.open_stream().unwrap(), gpu.flag().unwrap());
    stream.wait_value(&flag, 1).unwrap();
    let event = stream.record().unwrap();
    // SAFETY: destroys the context, which is what this is about.
    unsafe { function::<unsafe extern "C" fn(i32) -> u32>("cuDevicePrimaryCtxReset_v2")(0) };
    let gone = 709;
    assert_eq!(code(&event.query().unwrap_err()), gone);
    assert_eq!(code(&gpu.allocate(64).unwrap_err()), gone);
    assert_eq!(code(&gpu.open_stream().unwrap_err()), gone);
    assert_eq!(code(&stream.record().unwrap_err()), gone);
    assert_eq!(code(&stream.wait(&event).unwrap_err()), gone);
    assert_eq!(code(&stream.signal(&flag, 1).unwrap_err()), gone);
    assert_eq!(code(&memory.share().unwrap_err()), gone);
    assert_eq!(code(&gpu.flush_remote_writes().unwrap_err()), gone);
    // SAFETY: nothing is copied.
    assert_eq!(code(&unsafe { stream.copy(&[]) }.unwrap_err()), gone);
    drop(other.allocate(64).unwrap());
    drop((memory, pinned, stream, flag, event, gpu, other));
    assert_nothing_left();
    let again = open(0);
    drop(again.allocate(64).unwrap());
    drop(again);
    assert_nothing_left();
});

case!(
    a_driver_that_fails_leaves_nothing_behind,
    ["FAKE_DEVICE_FAULTS" =
        "cuEventRecord@1=999,cuStreamCreate@1=999,cuPointerGetAttributes@1=999,cuCtxPushCurrent@1=999"],
    {
        let gpu = open(0);
        for _ in 0..2 {
            assert_eq!(code(&gpu.allocate(64).unwrap_err()), 999);
        }
        assert_eq!(counts().allocations, 0);
        assert_eq!(code(&gpu.open_stream().unwrap_err()), 999);
        let stream = gpu.open_stream().unwrap();
        assert_eq!(code(&stream.record().unwrap_err()), 999);
        finish(&stream);
        assert_eq!(counts().events, 1);
        drop((stream, gpu));
        assert_nothing_left();
    }
);
