//! Devices and what they say of themselves; the caller's device and last error.

use accel_rocm::{Device, RocmAccelerator, Runtime, Unavailable, Version, is_stand_in, probe};
use pmd_core::accelerator::{AcceleratorKind, PciAddress};

use crate::{
    bench::{Fake, address, error, open, until},
    stage::Stage,
};

case!(two_devices_are_described, Stage::normal().with("FAKE_ROCM_VERSION", "6.2.41133"), || {
    let device = |ordinal| {
        let pci = PciAddress::parse(&format!("0000:a{ordinal}:00.0"));
        Device { ordinal, name: format!("Fake Instinct {ordinal}"), memory_bytes: 4 << 30, pci }
    };
    let version = Version { major: 6, minor: 2, patch: 41133 };
    assert_eq!(probe(), Ok(Runtime { version, devices: vec![device(0), device(1)] }));
    assert_eq!(version.to_string(), "6.2.41133");
    let device = open(1);
    let identity = device.identity();
    assert_eq!((identity.kind, identity.ordinal), (AcceleratorKind::Rocm, 1));
    assert_eq!(&identity.unique, b"fa4e000000000001");
    assert_eq!(identity.pci.map(|pci| pci.to_string()).as_deref(), Some("0000:a1:00.0"));
    assert_eq!(identity.name, "Fake Instinct 1");
});

case!(no_devices_is_a_value, Stage::normal().with("FAKE_DEVICE_COUNT", 0), || {
    assert_eq!(is_stand_in(), Ok(true));
    assert_eq!(probe(), Err(Unavailable::NoDevice));
    assert_eq!(RocmAccelerator::open(0).map(drop), Err(Unavailable::NoDevice));
});

case!(a_device_beyond_the_last_is_refused, Stage::normal(), || {
    let refused = Err(Unavailable::Ordinal { ordinal: 2, devices: 2 });
    assert_eq!(RocmAccelerator::open(2).map(drop), refused);
});

case!(
    a_failing_runtime_is_told_by_function_and_code,
    Stage::normal().faults("hipGetDeviceCount@1=4321"),
    || {
        assert_eq!(probe(), Err(Unavailable::Call { call: "hipGetDeviceCount", code: 4321 }));
        assert!(probe().is_ok(), "the next call does not fail");
    }
);

case!(a_failing_identification_is_told, Stage::normal().faults("hipDeviceGetName@1=999"), || {
    let refused = Err(Unavailable::Call { call: "hipDeviceGetName", code: 999 });
    assert_eq!(RocmAccelerator::open(0).map(drop), refused);
});

case!(an_old_runtime_is_told_by_what_it_lacks, Stage::normal().without("hipRuntimeGetVersion"), || {
    let symbol = "hipRuntimeGetVersion";
    let library = "libamdhip64.so.7".to_owned();
    assert_eq!(probe(), Err(Unavailable::Symbol { library, symbol }));
});

case!(a_runtime_that_names_no_device_is_told, Stage::normal().without("hipDeviceGetName"), || {
    let refused = RocmAccelerator::open(0).map(drop).expect_err("no names");
    assert!(matches!(refused, Unavailable::Symbol { symbol: "hipDeviceGetName", .. }), "{refused}");
});

case!(without_a_unique_id_the_place_is_one, Stage::normal().without("hipDeviceGetUuid"), || {
    assert_eq!(&open(0).identity().unique, b"pci:\0\0\0\0\xa0\0\0\0\0\0\0\0");
});

case!(
    without_a_place_the_number_is_one,
    Stage::normal().without("hipDeviceGetUuid").faults("hipDeviceGetPCIBusId@1=1"),
    || {
        let device = open(1);
        assert_eq!((&device.identity().unique, device.identity().pci), (b"ordinal:\0\0\0\x01\0\0\0\0", None));
    }
);

case!(writes_from_outside_are_flushed_by_the_register, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    assert_eq!(fake.number("fake_rocm_flushed"), 0);
    device.flush_remote_writes().expect("a store");
    assert_eq!(fake.number("fake_rocm_flushed"), 1);
});

case!(without_a_register_nothing_is_flushed, Stage::normal().faults("hipDeviceGetAttribute@1=1"), || {
    let (fake, device) = (Fake::loaded(), open(0));
    device.flush_remote_writes().expect("nothing to do");
    assert_eq!(fake.number("fake_rocm_flushed"), 0);
});

case!(the_callers_device_and_last_error_stay, Stage::normal(), || {
    let fake = Fake::loaded();
    let device = open(1);
    for current in [0, 1] {
        fake.set_device(current);
        let memory = device.allocate(4096).expect("room");
        let stream = device.open_stream().expect("a stream");
        let event = stream.record().expect("an event");
        let flag = device.flag().expect("a flag");
        stream.signal(&flag, 1).expect("it takes a write");
        until(|| flag.load() == 1);
        // A query that is answered with "not ready", an error each of memory and of streams.
        stream.wait_value(&flag, 2).expect("it takes a wait");
        let held = stream.record().expect("an event");
        assert_eq!(held.query(), Ok(false));
        error(device.allocate(8 << 30));
        error(device.stream(0xdead0));
        flag.store(2);
        drop((event, held, memory, flag, stream));
        assert_eq!(fake.device(), current);
        assert_eq!(fake.number("hipPeekAtLastError"), 0);
    }
    drop(device);
    fake.is_empty();
});

case!(a_value_of_memory_keeps_its_device, Stage::normal(), || {
    let fake = Fake::loaded();
    let memory = open(1).allocate(100).expect("room");
    assert_eq!(memory.accelerator().identity().ordinal, 1);
    assert!(address(&*memory).is_multiple_of(256));
    assert_eq!((fake.counts().allocations, fake.counts().allocated_bytes), (1, 100));
    drop(memory);
    fake.is_empty();
});
