//! What `open` says of a machine.

use gpu_direct::{CudaAccelerator, OpenError, Unavailable, Version, is_stand_in, probe};

use crate::support::*;

fn refused(ordinal: u32) -> OpenError {
    CudaAccelerator::open(ordinal).expect_err("it cannot be opened")
}

case!(an_absent_driver_is_named, ["LD_LIBRARY_PATH" = "/nowhere"], {
    // SAFETY: nothing is called.
    let installed = unsafe { libloading::Library::new("libcuda.so.1") }.is_ok();
    if !installed {
        let error = refused(0);
        assert_eq!(error, OpenError::Unavailable(Unavailable::Absent { library: "libcuda.so.1" }));
        assert!(error.to_string().starts_with("CUDA driver not found: libcuda.so.1"));
        assert_eq!(is_stand_in(), Err(Unavailable::Absent { library: "libcuda.so.1" }));
    }
});

case!(a_driver_without_devices_has_none, ["FAKE_DEVICE_COUNT" = "0"], {
    assert_eq!(is_stand_in(), Ok(true));
    assert_eq!(refused(0), OpenError::Unavailable(Unavailable::NoDevice));
});

case!(
    a_driver_that_fails_gives_its_code,
    ["FAKE_DEVICE_FAULTS" = "cuInit@1=3,cuDevicePrimaryCtxRetain@1=2"],
    {
        assert_eq!(refused(0), OpenError::Unavailable(Unavailable::Call { call: "cuInit", code: 3 }));
        let OpenError::Accelerator(error) = refused(0) else { panic!("the context was given") };
        assert_eq!(code(&error), 2);
        assert_eq!(refused(2), OpenError::NoSuchDevice { ordinal: 2, devices: 2 });
        drop(open(0));
        assert_nothing_left();
    }
);

case!(a_device_is_identified, [], {
    let (first, second) = (open(0), open(1));
    let identity = second.identity();
    assert_eq!((identity.kind, identity.ordinal), (AcceleratorKind::Cuda, 1));
    assert_eq!(identity.name, "Fake CUDA device");
    assert_eq!(identity.pci.map(|pci| pci.to_string()).as_deref(), Some("0000:11:00.0"));
    assert_ne!(identity.unique, first.identity().unique);
    assert_eq!(identity.unique, open(1).identity().unique);
});

case!(the_callers_context_stays, [], {
    let current = || {
        let mut context = 0_usize;
        // SAFETY: a place for the handle.
        unsafe { function::<unsafe extern "C" fn(*mut usize) -> u32>("cuCtxGetCurrent")(&mut context) };
        context
    };
    let (first, second) = (open(0), open(1));
    assert_eq!(current(), 0);
    drop(first.allocate(64).unwrap());
    assert_eq!(current(), 0);
    let mut context = 0_usize;
    // SAFETY: a place for the handle, which is retained by `second` meanwhile.
    unsafe {
        function::<unsafe extern "C" fn(*mut usize, i32) -> u32>("cuDevicePrimaryCtxRetain")(&mut context, 1);
        function::<unsafe extern "C" fn(usize) -> u32>("cuCtxPushCurrent_v2")(context);
    }
    let memory = first.allocate(64).unwrap();
    put(&*first, address(&*memory), &[1; 64]);
    let _ = first.flag().unwrap();
    drop(second.allocate(64).unwrap());
    assert!(first.allocate(1 << 50).is_err());
    drop(memory);
    assert_eq!(current(), context);
    drop((first, second));
    assert_eq!((current(), counts().others), (context, 1));
});

case!(
    a_probe_counts_devices_and_retains_nothing,
    ["FAKE_DEVICE_COUNT" = "3", "FAKE_DEVICE_MEMORY" = "4096"],
    {
        let found = probe().unwrap();
        assert_eq!(found.driver_version, Version { major: 12, minor: 8 });
        let devices: Vec<_> = found
            .devices
            .iter()
            .map(|device| (device.ordinal, device.name.as_str(), device.memory_bytes))
            .collect();
        let name = "Fake CUDA device";
        assert_eq!(devices, [(0, name, 4096), (1, name, 4096), (2, name, 4096)]);
        assert_nothing_left();
    }
);
