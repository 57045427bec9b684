//! Memory that is allocated, adopted or page-locked, and each reason for which it is not.
#![allow(unsafe_code)] // adopts, pins and copies

use pmd_core::{
    accelerator::{AcceleratorError, AcceleratorKind, CopyDirection, CopyRange},
    memory::MemoryKind,
};

use crate::{
    bench::{Fake, address, copy, error, host_bytes, open, pattern, read, write},
    stage::Stage,
};

const KIND: AcceleratorKind = AcceleratorKind::Rocm;

case!(bytes_go_in_across_and_out, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let (first, second) = (device.allocate(70_000).expect("room"), device.allocate(70_000).expect("room"));
    let stream = device.open_stream().expect("a stream");
    let (from, to) = (address(&*first), address(&*second));
    let bytes = pattern(3, 70_000);
    assert_eq!(read(&*stream, to, 4), [0xa5; 4], "fresh memory of the fake");
    write(&*stream, from, &bytes);
    copy(
        &*stream,
        CopyRange { from: from + 7, to: to + 9, length: 60_000, direction: CopyDirection::DeviceToDevice },
    );
    assert_eq!(read(&*stream, to + 9, 60_000), bytes[7..60_007]);
    assert_eq!(read(&*stream, to + 60_009, 4), [0xa5; 4], "no byte more");
    let description = first.description();
    assert_eq!((description.kind, description.length), (MemoryKind::Device, 70_000));
    drop((first, second, stream));
    drop(device);
    fake.is_empty();
});

case!(pinned_memory_is_the_hosts, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let (pinned, memory) =
        (device.allocate_pinned(4096).expect("room"), device.allocate(4096).expect("room"));
    let stream = device.open_stream().expect("a stream");
    let bytes = pattern(9, 4096);
    write(&*stream, address(&*memory), &bytes);
    let (from, to) = (address(&*memory), address(&*pinned));
    copy(&*stream, CopyRange { from, to, length: 4096, direction: CopyDirection::DeviceToHost });
    assert_eq!(host_bytes(&*pinned), bytes);
    copy(&*stream, CopyRange { from: to, to: to + 2048, length: 100, direction: CopyDirection::HostToHost });
    assert_eq!(host_bytes(&*pinned)[2048..2148], bytes[..100]);
    let description = pinned.description();
    assert_eq!((description.kind, description.descriptor), (MemoryKind::Host, None));
    assert_eq!(pinned.without_descriptor(), None);
    let refused = error(pinned.share());
    assert!(
        matches!(refused, AcceleratorError::Unsupported { what: "share pinned memory", .. }),
        "{refused}"
    );
    assert_eq!(fake.counts().pinned, 1);
    drop((pinned, memory, stream));
    drop(device);
    fake.is_empty();
});

case!(no_bytes_are_no_memory, Stage::normal(), || {
    let device = open(0);
    let nothing = AcceleratorError::Range { address: 0, length: 0, available: None };
    assert_eq!(error(device.allocate(0)), nothing);
    assert_eq!(error(device.allocate_pinned(0)), nothing);
    // SAFETY: an empty range is refused.
    let empty = unsafe { device.pin(0x1000, 0) }.err();
    assert_eq!(empty, Some(AcceleratorError::Range { address: 0x1000, length: 0, available: None }));
    // SAFETY: a range beyond the last address is refused.
    let beyond = error(unsafe { device.adopt(u64::MAX, 2) });
    assert_eq!(beyond, AcceleratorError::Range { address: u64::MAX, length: 2, available: None });
});

case!(a_full_device_says_so_and_goes_on, Stage::normal().with("FAKE_DEVICE_MEMORY", 1 << 20), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let half = device.allocate(1 << 19).expect("room");
    let wanted = (1 << 19) + 1;
    assert_eq!(error(device.allocate(wanted)), AcceleratorError::OutOfMemory { kind: KIND, wanted });
    assert_eq!(
        error(device.allocate(u64::MAX)),
        AcceleratorError::OutOfMemory { kind: KIND, wanted: u64::MAX }
    );
    drop(half);
    drop(device.allocate(wanted).expect("room again"));
    drop(device);
    fake.is_empty();
});

case!(foreign_memory_is_told_by_version_7, Stage::normal(), foreign_memory);
case!(
    foreign_memory_is_told_by_version_5,
    Stage::normal().with("FAKE_ROCM_VERSION", "5.2.21153"),
    foreign_memory
);

/// Addresses of every kind: only memory of this device is adopted.
fn foreign_memory() {
    let (fake, device) = (Fake::loaded(), open(1));
    // SAFETY: what is adopted is dropped before it is freed, and no transfer touches it.
    let adopt = |address, length| unsafe { device.adopt(address, length) };
    let on_host = [0_u8; 64];
    let pinned = device.allocate_pinned(64).expect("room");
    for address in [on_host.as_ptr().expose_provenance() as u64, address(&*pinned), 0x10] {
        let refused = error(adopt(address, 8));
        assert_eq!(refused, AcceleratorError::NotDeviceMemory { kind: KIND, address });
    }
    fake.set_device(0);
    let elsewhere = fake.malloc(64);
    let wrong = AcceleratorError::WrongDevice { address: elsewhere, found: 0, wanted: 1 };
    assert_eq!(error(adopt(elsewhere, 8)), wrong);
    fake.set_device(1);
    let managed = fake.malloc_managed(64);
    assert_eq!(error(adopt(managed, 8)), AcceleratorError::Managed { address: managed });
    let ours = fake.malloc(1000);
    let inside = adopt(ours + 10, 990).expect("all that follows").description();
    assert_eq!((inside.address, inside.length, inside.kind), (ours + 10, 990, MemoryKind::Device));
    let range = AcceleratorError::Range { address: ours + 10, length: 991, available: Some(990) };
    assert_eq!(error(adopt(ours + 10, 991)), range);
    assert_eq!(fake.counts().allocations, 3, "dropping what was adopted frees nothing");
    [elsewhere, managed, ours].into_iter().for_each(|address| fake.free(address));
    assert_eq!(error(adopt(ours, 8)), AcceleratorError::NotDeviceMemory { kind: KIND, address: ours });
    drop(pinned);
    fake.is_empty();
}

case!(memory_that_was_freed_under_us_is_not_shared, Stage::normal().misused(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let address = fake.malloc(64);
    // SAFETY: no transfer touches it.
    let adopted = unsafe { device.adopt(address, 64) }.expect("ours");
    fake.free(address);
    assert_eq!(error(adopted.share()), AcceleratorError::NotDeviceMemory { kind: KIND, address });
});

case!(ordinary_memory_is_locked_and_unlocked, Stage::normal(), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let (memory, stream) = (device.allocate(5000).expect("room"), device.open_stream().expect("a stream"));
    let bytes = pattern(1, 5000);
    let first = bytes.as_ptr().expose_provenance() as u64;
    // SAFETY: the vector outlives the locks.
    let pin = |from, length| unsafe { device.pin(from, length) };
    let locked = pin(first, 5000).expect("nobody locked it");
    assert_eq!(fake.counts().registered, 1);
    let twice = pin(first, 10).expect_err("it is locked already");
    let name = "hipErrorHostMemoryAlreadyRegistered".to_owned();
    let function = "hipHostRegister";
    assert_eq!(twice, AcceleratorError::Runtime { kind: KIND, function, code: 712, name });
    write(&*stream, address(&*memory), &bytes);
    assert_eq!(read(&*stream, address(&*memory), 5000), bytes);
    drop(locked);
    assert_eq!(fake.counts().registered, 0);
    drop(pin(first, 10).expect("it is free again"));
    drop((memory, stream));
    drop(device);
    fake.is_empty();
});
