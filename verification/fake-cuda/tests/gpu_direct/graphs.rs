//! Streams that are captured into graphs.

use crate::support::*;

fn call<F: 'static>(name: &str, run: impl FnOnce(&F) -> u32) {
    assert_eq!(run(&function::<F>(name)), 0, "{name}");
}

case!(
    a_graph_waits_copies_and_signals_as_often_as_it_is_launched,
    ["FAKE_DEVICE_FAULTS" = "cuMemcpyBatchAsync@1=900,cuLaunchKernel@1=900"],
    {
        let gpu = open(0);
        let mut context = 0_usize;
        // SAFETY: a place for the handle.
        call::<unsafe extern "C" fn(*mut usize, i32) -> u32>("cuDevicePrimaryCtxRetain", |retain| unsafe {
            retain(&mut context, 0)
        });
        // SAFETY: the application's context is current, as CUDA's runtime makes it.
        call::<unsafe extern "C" fn(usize) -> u32>("cuCtxPushCurrent_v2", |push| unsafe { push(context) });
        let stream = gpu.open_stream().unwrap();
        let (computed, sent) = (gpu.flag().unwrap(), gpu.flag().unwrap());
        let (from, to) = (gpu.allocate(1024).unwrap(), gpu.allocate(1024).unwrap());
        let (mut graph, mut executable, native) = (0_usize, 0_usize, stream.native() as usize);
        let pairs: Vec<BlockPair> = (0..8).map(|at| BlockPair { from: at, to: 15 - at }).collect();
        let table = |memory: &dyn DeviceMemory| BlockTable { base: address(memory), stride: 64 };
        let direction = CopyDirection::DeviceToDevice;
        let blocks =
            BlockCopies { from: table(&*from), to: table(&*to), block_bytes: 64, pairs: &pairs, direction };
        // SAFETY: all of these have the driver's types.
        call::<unsafe extern "C" fn(usize, u32) -> u32>("cuStreamBeginCapture_v2", |begin| unsafe {
            begin(native, 0)
        });
        stream.wait_value(&computed, 1).unwrap();
        // SAFETY: both live for as long as the graph.
        unsafe { stream.copy_blocks(&blocks) }.unwrap();
        stream.signal(&sent, 5).unwrap();
        let event = stream.record().unwrap();
        // SAFETY: a place for the handle.
        call::<unsafe extern "C" fn(usize, *mut usize) -> u32>("cuStreamEndCapture", |end| unsafe {
            end(native, &mut graph)
        });
        assert_eq!(code(&event.query().unwrap_err()), 907);
        // SAFETY: a place for the handle.
        call::<unsafe extern "C" fn(*mut usize, usize, u64) -> u32>(
            "cuGraphInstantiateWithFlags",
            |make| unsafe { make(&mut executable, graph, 0) },
        );
        assert_eq!((bytes(&*gpu, address(&*to), 1024), sent.load()), (vec![0xa5; 1024], 0));
        for round in 1..=3_u8 {
            put(&*gpu, address(&*from), &[round; 512]);
            // SAFETY: handles only.
            call::<unsafe extern "C" fn(usize, usize) -> u32>("cuGraphLaunch", |launch| unsafe {
                launch(executable, native)
            });
            assert_ne!(bytes(&*gpu, address(&*to), 1024)[512..], [round; 512]);
            computed.store(1);
            wait_until("the graph has signalled", || sent.load() == 5);
            finish(&stream);
            assert_eq!(bytes(&*gpu, address(&*to), 1024)[512..], [round; 512]);
            computed.store(0);
            sent.store(0);
        }
        // SAFETY: handles only.
        call::<unsafe extern "C" fn(usize) -> u32>("cuGraphExecDestroy", |destroy| unsafe {
            destroy(executable)
        });
        // SAFETY: handles only.
        call::<unsafe extern "C" fn(usize) -> u32>("cuGraphDestroy", |destroy| unsafe { destroy(graph) });
        // SAFETY: retained above.
        call::<unsafe extern "C" fn(i32) -> u32>("cuDevicePrimaryCtxRelease_v2", |release| unsafe {
            release(0)
        });
        drop((stream, computed, sent, from, to, event, gpu));
        assert_nothing_left();
    }
);
