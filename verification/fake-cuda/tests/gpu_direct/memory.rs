//! Memory: allocated, adopted, pinned, described and shared.

use std::{fs, thread};

use pmd_core::memory::MemoryKind;

use crate::support::*;

/// Memory that another library would have allocated on a device.
fn foreign(ordinal: i32, function_name: &str, length: usize) -> u64 {
    let (mut context, mut address) = (0_usize, 0_u64);
    // SAFETY: places for results; the context is popped again.
    unsafe {
        function::<unsafe extern "C" fn(*mut usize, i32) -> u32>("cuDevicePrimaryCtxRetain")(
            &mut context,
            ordinal,
        );
        function::<unsafe extern "C" fn(usize) -> u32>("cuCtxPushCurrent_v2")(context);
        let made = function::<unsafe extern "C" fn(*mut u64, usize, u32) -> u32>(function_name)(
            &mut address,
            length,
            1,
        );
        assert_eq!(made, 0);
        function::<unsafe extern "C" fn(*mut usize) -> u32>("cuCtxPopCurrent_v2")(&mut context);
    }
    address
}

fn free(address: u64) {
    thread::spawn(move || {
        let mut context = 0_usize;
        // SAFETY: a place for the handle; this thread ends with its context.
        unsafe {
            function::<unsafe extern "C" fn(*mut usize, i32) -> u32>("cuDevicePrimaryCtxRetain")(
                &mut context,
                0,
            );
            function::<unsafe extern "C" fn(usize) -> u32>("cuCtxPushCurrent_v2")(context);
            assert_eq!(function::<unsafe extern "C" fn(u64) -> u32>("cuMemFree_v2")(address), 0);
        }
    })
    .join()
    .unwrap();
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn adopt(
    gpu: &dyn Accelerator,
    address: u64,
    length: u64,
) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
    // SAFETY: the memory of these tests outlives what is adopted.
    unsafe { gpu.adopt(address, length) }
}

case!(allocated_memory_is_described_and_written, [], {
    let gpu = open(0);
    let memory = gpu.allocate(10_000).unwrap();
    let description = memory.description();
    assert_eq!((description.length, description.kind), (10_000, MemoryKind::Device));
    assert_eq!((description.address % 256, memory.without_descriptor()), (0, None));
    let (descriptor, offset) = description.descriptor.unwrap();
    put(&*gpu, description.address + 9_996, b"here");
    assert_eq!(bytes(&*gpu, description.address + 9_995, 5), b"\xa5here");
    let content = fs::read(format!("/proc/self/fd/{descriptor}")).unwrap();
    assert_eq!((&content[9_996..10_000], offset), (&b"here"[..], 0));
    assert_eq!(memory.accelerator().identity(), gpu.identity());
    drop((memory, gpu));
    assert_nothing_left();
});

case!(adopted_ranges_share_a_descriptor_that_is_closed, [], {
    let gpu = open(0);
    let tensor = foreign(0, "cuMemAllocManaged", 16);
    assert_eq!(adopt(&*gpu, tensor, 16).unwrap_err(), AcceleratorError::Managed { address: tensor });
    let segment = gpu.allocate(1 << 16).unwrap();
    let base = address(&*segment);
    let before = descriptors();
    let (first, second) = (adopt(&*gpu, base + 256, 64).unwrap(), adopt(&*gpu, base + 5_000, 1_000).unwrap());
    let descriptor = |memory: &dyn DeviceMemory| memory.description().descriptor.unwrap();
    assert_eq!(descriptor(&*first).1, 256);
    assert_eq!(descriptor(&*second), (descriptor(&*first).0, 5_000));
    assert_eq!(descriptors(), before);
    drop(segment);
    assert_eq!(descriptors(), before - 1);
    drop((first, second));
    assert_eq!(descriptors(), before - 2);
});

case!(what_is_not_this_devices_is_refused, [], {
    let gpu = open(0);
    let kind = AcceleratorKind::Cuda;
    let refused = |address, length| adopt(&*gpu, address, length).unwrap_err();
    let heap = Box::new(0_u64);
    let own = &raw const *heap as u64;
    assert_eq!(refused(own, 8), AcceleratorError::NotDeviceMemory { kind, address: own });
    let pinned = gpu.allocate_pinned(64).unwrap();
    let host = address(&*pinned);
    assert_eq!(refused(host, 8), AcceleratorError::NotDeviceMemory { kind, address: host });
    let freed = gpu.allocate(64).unwrap();
    let address_freed = address(&*freed);
    drop(freed);
    assert_eq!(refused(address_freed, 8), AcceleratorError::NotDeviceMemory { kind, address: address_freed });
    let other = open(1).allocate(64).unwrap();
    let wrong = AcceleratorError::WrongDevice { address: address(&*other), found: 1, wanted: 0 };
    assert_eq!(refused(address(&*other), 8), wrong);
    let memory = gpu.allocate(64).unwrap();
    let base = address(&*memory);
    let past = AcceleratorError::Range { address: base + 1, length: 64, available: Some(63) };
    assert_eq!(refused(base + 1, 64), past);
    for (address, length) in [(base, 0), (u64::MAX, 2)] {
        assert_eq!(refused(address, length), AcceleratorError::Range { address, length, available: None });
    }
});

case!(
    a_device_without_room_says_so,
    ["FAKE_DEVICE_MEMORY" = "1000", "FAKE_DEVICE_FAULTS" = "cuMemHostAlloc@2=2"],
    {
        let gpu = open(0);
        let kind = AcceleratorKind::Cuda;
        let memory = gpu.allocate(900).unwrap();
        assert_eq!(gpu.allocate(101).unwrap_err(), AcceleratorError::OutOfMemory { kind, wanted: 101 });
        drop(memory);
        assert!(gpu.allocate(1000).is_ok());
        assert!(matches!(gpu.allocate(0).unwrap_err(), AcceleratorError::Range { .. }));
        assert!(gpu.allocate_pinned(5000).is_ok());
        assert_eq!(
            gpu.allocate_pinned(5000).unwrap_err(),
            AcceleratorError::OutOfMemory { kind, wanted: 5000 }
        );
    }
);

case!(host_memory_is_pinned_and_described_as_the_hosts, [], {
    let gpu = open(0);
    let pinned = gpu.allocate_pinned(64).unwrap();
    let description = pinned.description();
    assert_eq!((description.kind, description.descriptor), (MemoryKind::Host, None));
    assert_eq!(pinned.without_descriptor(), None);
    assert!(matches!(pinned.share().unwrap_err(), AcceleratorError::Unsupported { .. }));
    let own = vec![0_u8; 8192];
    // SAFETY: the vector outlives the pins.
    let pin = |length| unsafe { gpu.pin(own.as_ptr() as u64, length) };
    let first = pin(8192).unwrap();
    assert_eq!(counts().registered, 1);
    assert_eq!(code(&pin(4096).unwrap_err()), 712);
    drop(first);
    assert!(matches!(pin(0).unwrap_err(), AcceleratorError::Range { .. }));
    drop(pin(4096).unwrap());
    drop((pinned, gpu));
    assert_nothing_left();
});

case!(a_device_without_dma_bufs_gives_the_reason, ["FAKE_CUDA_ATTRIBUTES" = "124=0"], {
    let memory = open(0).allocate(64).unwrap();
    assert_eq!(memory.description().descriptor, None);
    let reason = memory.without_descriptor().unwrap().to_string();
    assert!(reason.starts_with("cuda cannot export a dma-buf: the device does not offer it"), "{reason}");
});

case!(
    a_driver_that_refuses_dma_bufs_gives_the_reason,
    [
        "FAKE_DEVICE_FAULTS" = "cuMemGetHandleForAddressRange@1=1,cuMemGetHandleForAddressRange@2=801,cuMemGetHandleForAddressRange@4+=304"
    ],
    {
        let gpu = open(0);
        let first = gpu.allocate(64).unwrap();
        assert!(matches!(first.without_descriptor(), Some(AcceleratorError::Unsupported { .. })));
        let second = gpu.allocate(64).unwrap();
        assert!(second.description().descriptor.is_some());
        let third = gpu.allocate(64).unwrap();
        assert_eq!(code(third.without_descriptor().unwrap()), 304);
        drop((first, second, third, gpu));
        assert_nothing_left();
    }
);

case!(handles_of_this_process_are_views, [], {
    let gpu = open(0);
    let memory = gpu.allocate(64).unwrap();
    let base = address(&*memory);
    let part = adopt(&*gpu, base + 16, 16).unwrap();
    let handle = part.share().unwrap();
    assert_eq!((handle.offset, handle.length, handle.opaque.len()), (16, 16, 64));
    let whole = memory.share().unwrap();
    let view = gpu.import(&whole).unwrap();
    assert_eq!((address(&*view), counts().imported), (base, 0));
    drop((memory, part));
    put(&*gpu, base, b"alive");
    let narrow = gpu.import(&ShareHandle { offset: 60, length: 4, ..whole.clone() }).unwrap();
    assert_eq!(address(&*narrow), base + 60);
    let wide = gpu.import(&ShareHandle { offset: 60, length: 5, ..whole.clone() }).unwrap_err();
    assert_eq!(wide, AcceleratorError::Range { address: base + 60, length: 5, available: Some(4) });
    drop((view, narrow));
    assert_eq!(gpu.import(&whole).unwrap_err(), AcceleratorError::Gone { kind: AcceleratorKind::Cuda });
    drop(gpu);
    assert_nothing_left();
});

case!(handles_of_others_are_foreign, [], {
    let (gpu, other) = (open(0), open(1));
    let handle = gpu.allocate(64).unwrap().share().unwrap();
    assert!(matches!(other.import(&handle).unwrap_err(), AcceleratorError::Foreign { .. }));
    let kind = ShareHandle { kind: AcceleratorKind::Rocm, ..handle.clone() };
    assert!(matches!(gpu.import(&kind).unwrap_err(), AcceleratorError::Foreign { .. }));
    for opaque in [vec![0; 64], vec![], vec![1; 65]] {
        let error = gpu.import(&ShareHandle { opaque, ..handle.clone() }).unwrap_err();
        assert_eq!(error, AcceleratorError::Gone { kind: AcceleratorKind::Cuda });
    }
});

case!(memory_freed_by_its_library_cannot_be_shared, [], {
    let gpu = open(0);
    let tensor = foreign(0, "cuMemAlloc_v2", 64);
    let adopted = adopt(&*gpu, tensor, 64).unwrap();
    let handle = adopted.share().unwrap();
    assert_eq!(address(&*gpu.import(&handle).unwrap()), tensor);
    free(tensor);
    assert!(matches!(adopted.share().unwrap_err(), AcceleratorError::NotDeviceMemory { .. }));
    assert!(matches!(gpu.import(&handle).unwrap_err(), AcceleratorError::NotDeviceMemory { .. }));
});

case!(what_a_nic_wrote_is_flushed, ["FAKE_DEVICE_FAULTS" = "cuFlushGPUDirectRDMAWrites@2=999"], {
    let gpu = open(0);
    assert_eq!(gpu.flush_remote_writes(), Ok(()));
    assert_eq!(code(&gpu.flush_remote_writes().unwrap_err()), 999);
});

case!(
    a_device_that_orders_writes_is_not_flushed,
    ["FAKE_CUDA_ATTRIBUTES" = "118=100", "FAKE_DEVICE_FAULTS" = "cuFlushGPUDirectRDMAWrites@1=999"],
    {
        assert_eq!(open(0).flush_remote_writes(), Ok(()));
    }
);

case!(a_device_that_cannot_be_flushed_says_so, ["FAKE_CUDA_ATTRIBUTES" = "117=0"], {
    let error = open(0).flush_remote_writes().unwrap_err();
    assert!(matches!(error, AcceleratorError::Unsupported { .. }), "{error}");
});
