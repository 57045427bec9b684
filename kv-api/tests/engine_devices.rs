//! Caches in device memory. Nothing but the accelerator's streams may touch it here: whoever does otherwise ends the test
//! with a signal.
#![allow(unsafe_code)] // does what kernels would

mod engine_support;

use std::{sync::Arc, thread, time::Instant};

use engine_support::{
    A_WHILE, PATIENCE, arena, blocks, config, connect, content, error, fill, filled, read, soon,
};
use kv_api::{
    engine::{Cache, CacheMemory, Engine, EngineError, StreamOptions},
    layout::CacheLayout,
    planner::{BlockMap, LayerMap, Selection},
};
use pmd_core::accelerator::{Accelerator, DeviceMemory};
use pmd_host::{
    accelerator::{CpuAccelerator, CpuOptions},
    endpoint::{EndpointConfig, RegisterError},
    soft,
    transfer::{DeviceFault, TransferError},
};

const SALT: u8 = 0x3c;

fn device() -> CpuAccelerator {
    CpuAccelerator::new(CpuOptions { shielded: true, ..CpuOptions::default() })
}

/// An engine that drives the accelerator, and takes other engines for other processes.
fn engine_on(name: &str, accelerator: &CpuAccelerator) -> Engine {
    let accelerators = soft::Accelerators::new(vec![Arc::new(accelerator.clone())]);
    let soft = soft::DeviceConfig { accelerators, same_process: false, ..soft::DeviceConfig::default() };
    Engine::open(EndpointConfig { soft, ..config(name) }).unwrap()
}

fn layout() -> CacheLayout {
    CacheLayout::new(3, 2, 8, 4096).unwrap()
}

fn on_device(engine: &Engine, name: &str, accelerator: &CpuAccelerator) -> Cache {
    let memory: Arc<dyn DeviceMemory> = accelerator.allocate(layout().total_bytes()).unwrap().into();
    engine.register_device_cache(name, layout(), memory).unwrap()
}

/// One block, as a kernel addresses it.
fn kernel(accelerator: &CpuAccelerator, cache: &Cache, tensor: u32, block: u32) -> *mut [u8] {
    let length = cache.layout().block_extent();
    let first = cache.block_address(tensor, block).unwrap();
    let first = accelerator.kernel_pointer(first, length).expect("memory of the device");
    std::ptr::slice_from_raw_parts_mut(first, length as usize)
}

/// What a kernel would compute.
fn compute(accelerator: &CpuAccelerator, cache: &Cache, salt: u8) {
    for (tensor, block) in blocks(cache) {
        // SAFETY: nothing moves yet.
        let bytes = unsafe { &mut *kernel(accelerator, cache, tensor, block) };
        bytes.iter_mut().enumerate().for_each(|(index, byte)| *byte = content(tensor, block, index, salt));
    }
}

/// What a kernel would read.
fn look(accelerator: &CpuAccelerator, cache: &Cache, tensor: u32, block: u32) -> Vec<u8> {
    // SAFETY: every transfer has ended.
    unsafe { &*kernel(accelerator, cache, tensor, block) }.to_vec()
}

#[test]
fn a_cache_on_a_device_is_pulled_and_pushed_by_blocks() {
    let accelerator = device();
    let (prefill, decode) = (engine_on("prefill", &accelerator), engine_on("decode", &accelerator));
    let (peer, _) = connect(&decode, &prefill);
    let source = on_device(&prefill, "source", &accelerator);
    let target = on_device(&decode, "target", &accelerator);
    assert!(matches!(target.memory(), CacheMemory::Device(_)));
    compute(&accelerator, &source, SALT);
    compute(&accelerator, &target, 0);
    let remote = decode.remote_cache(&peer, "source", PATIENCE).unwrap();

    // Layers 1 and 2; block 6 into 1, and so on.
    let (from, to) = ([6, 0, 3], [1, 7, 2]);
    let map = BlockMap::Table { source: &from, destination: &to };
    let selection = Selection::new(LayerMap { source: 1..3, destination: 1 }, map);
    let pull = remote.pull(&target, selection).unwrap();
    let outcome = pull.post(None).unwrap().wait(soon()).unwrap();
    assert_eq!(outcome.bytes, 2 * 2 * 3 * 4096);
    for (tensor, block) in blocks(&target) {
        let moved = to.iter().position(|to| *to == block).filter(|_| tensor >= 2);
        let wanted = match moved {
            Some(index) => filled(&source, tensor, from[index], SALT),
            None => filled(&target, tensor, block, 0),
        };
        assert_eq!(look(&accelerator, &target, tensor, block), wanted, "tensor {tensor}, block {block}");
    }

    // All of it back.
    compute(&accelerator, &target, 0x77);
    let push = remote.push(&target, Selection::whole(&layout())).unwrap();
    push.post(None).unwrap().wait(soon()).unwrap();
    for (tensor, block) in blocks(&source) {
        let wanted = filled(&target, tensor, block, 0x77);
        assert_eq!(look(&accelerator, &source, tensor, block), wanted, "tensor {tensor}, block {block}");
    }
}

#[test]
fn caches_on_a_device_and_in_host_memory_exchange_blocks() {
    let accelerator = device();
    let (prefill, decode) = (engine_on("prefill", &accelerator), engine_on("decode", &accelerator));
    let (peer, _) = connect(&decode, &prefill);
    let (host, far) = (arena(&prefill, "host", layout()), on_device(&prefill, "far", &accelerator));
    let near = on_device(&decode, "near", &accelerator);
    let target = arena(&decode, "target", layout());
    fill(&host, SALT);
    compute(&accelerator, &far, !SALT);

    let remote = decode.remote_cache(&peer, "host", PATIENCE).unwrap();
    let pull = remote.pull(&near, Selection::whole(&layout())).unwrap();
    pull.post(None).unwrap().wait(soon()).unwrap();
    let remote = decode.remote_cache(&peer, "far", PATIENCE).unwrap();
    let pull = remote.pull(&target, Selection::whole(&layout())).unwrap();
    pull.post(None).unwrap().wait(soon()).unwrap();
    for (tensor, block) in blocks(&target) {
        assert_eq!(look(&accelerator, &near, tensor, block), filled(&host, tensor, block, SALT));
        assert_eq!(read(&target, tensor, block), filled(&target, tensor, block, !SALT));
    }
}

#[test]
fn who_drives_the_device_posts_and_who_does_not_is_told() {
    let accelerator = device();
    let prefill = engine_on("prefill", &accelerator);
    // As a process of its own, without an accelerator.
    let soft = soft::DeviceConfig { same_process: false, ..soft::DeviceConfig::default() };
    let decode = Engine::open(EndpointConfig { soft, ..config("decode") }).unwrap();
    let (peer, back) = connect(&decode, &prefill);
    let computed = on_device(&prefill, "computed", &accelerator);
    compute(&accelerator, &computed, SALT);
    let room = arena(&decode, "room", layout());
    let remote = decode.remote_cache(&peer, "computed", PATIENCE).unwrap();
    let selection = || Selection::whole(&layout());
    let stream = remote.stream(&room, selection(), StreamOptions::default()).map(drop);
    for refused in
        [remote.pull(&room, selection()).map(drop), remote.push(&room, selection()).map(drop), stream]
    {
        let Err(EngineError::NotDriven { name, kind }) = refused else { panic!("{refused:?}") };
        assert_eq!((&*name, &*kind), ("computed", "cpu"));
    }
    let there = prefill.remote_cache(&back, "room", PATIENCE).unwrap();
    there.push(&computed, selection()).unwrap().post(None).unwrap().wait(soon()).unwrap();
    for (tensor, block) in blocks(&room) {
        assert_eq!(read(&room, tensor, block), filled(&room, tensor, block, SALT));
    }
    fill(&room, !SALT);
    there.pull(&computed, selection()).unwrap().post(None).unwrap().wait(soon()).unwrap();
    for (tensor, block) in blocks(&computed) {
        assert_eq!(look(&accelerator, &computed, tensor, block), filled(&room, tensor, block, !SALT));
    }
}

#[test]
fn a_copy_that_fails_fails_its_transfer_and_the_device_goes_on() {
    let accelerator = device();
    let (prefill, decode) = (engine_on("prefill", &accelerator), engine_on("decode", &accelerator));
    let source = on_device(&prefill, "source", &accelerator);
    let target = on_device(&decode, "target", &accelerator);
    compute(&accelerator, &source, SALT);
    for failed in [true, false] {
        // A route that has failed is down: each round has its own.
        let (peer, _) = connect(&decode, &prefill);
        let remote = decode.remote_cache(&peer, "source", PATIENCE).unwrap();
        let pull = remote.pull(&target, Selection::whole(&layout())).unwrap();
        if failed {
            accelerator.fail_copy(0);
            let reason = error(pull.post(None).unwrap().wait(soon()));
            assert!(matches!(reason, TransferError::Device { fault: DeviceFault::Stream, .. }), "{reason}");
        } else {
            pull.post(None).unwrap().wait(soon()).unwrap();
        }
    }
    for (tensor, block) in blocks(&target) {
        assert_eq!(look(&accelerator, &target, tensor, block), filled(&source, tensor, block, SALT));
    }
}

#[test]
fn a_cancelled_transfer_is_quiet_when_cancel_returns() {
    let accelerator = device();
    let (prefill, decode) = (engine_on("prefill", &accelerator), engine_on("decode", &accelerator));
    let (peer, _) = connect(&decode, &prefill);
    let source = on_device(&prefill, "source", &accelerator);
    let target = on_device(&decode, "target", &accelerator);
    compute(&accelerator, &source, SALT);
    let remote = decode.remote_cache(&peer, "source", PATIENCE).unwrap();
    let pull = remote.pull(&target, Selection::whole(&layout())).unwrap();
    let hold = accelerator.hold_copies();
    let mut transfer = pull.post(None).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while accelerator.held_copies() == 0 {
        assert!(Instant::now() < deadline, "no copy begins");
        thread::yield_now();
    }
    let cancelling = thread::spawn(move || transfer.cancel());
    thread::sleep(A_WHILE);
    assert!(!cancelling.is_finished(), "a stream still copies");
    drop(hold);
    cancelling.join().unwrap();
    compute(&accelerator, &target, 0x55);
    thread::sleep(A_WHILE);
    for (tensor, block) in blocks(&target) {
        assert_eq!(look(&accelerator, &target, tensor, block), filled(&target, tensor, block, 0x55));
    }
}

#[test]
fn memory_that_is_too_small_or_of_an_accelerator_that_is_not_driven_is_refused() {
    let (accelerator, other) = (device(), device());
    let engine = engine_on("engine", &accelerator);
    let needed = layout().total_bytes();
    let small: Arc<dyn DeviceMemory> = accelerator.allocate(needed - 1).unwrap().into();
    let length = small.description().length;
    match engine.register_device_cache("small", layout(), small) {
        Err(EngineError::TooSmall { length: told, needed: wanted }) => {
            assert_eq!((told, wanted), (length, needed));
        }
        other => panic!("{other:?}"),
    }
    let plain = Engine::open(config("plain")).unwrap();
    let memory: Arc<dyn DeviceMemory> = other.allocate(needed).unwrap().into();
    let refused = plain.register_device_cache("cache", layout(), memory).unwrap_err();
    let EngineError::Register(RegisterError::Soft(reason)) = &refused else { panic!("{refused:?}") };
    assert!(matches!(reason, soft::RegisterError::NoAccelerator { .. }), "{reason}");

    let cache = on_device(&engine, "cache", &accelerator);
    let again: Arc<dyn DeviceMemory> = accelerator.allocate(needed).unwrap().into();
    let taken = engine.register_device_cache("cache", layout(), again).unwrap_err();
    assert!(matches!(taken, EngineError::NameTaken { .. }), "{taken}");
    assert_eq!(accelerator.allocations(), 1, "what was refused is let go of");
    drop((cache, engine));
    assert_eq!(accelerator.allocations(), 0);
}
