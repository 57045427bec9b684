//! Each function of the runtime fails once: the error names it, nothing leaks, and the next call works.
#![allow(unsafe_code)] // adopts, pins and copies

use pmd_core::accelerator::{Accelerator, AcceleratorError, AcceleratorKind, CopyDirection, CopyRange};

use crate::{
    bench::{Fake, address, open},
    stage::Stage,
};

/// Functions whose failure is the caller's to know.
const TOLD: [&str; 14] = [
    "hipSetDevice",
    "hipGetDevice",
    "hipMalloc",
    "hipHostMalloc",
    "hipHostRegister",
    "hipPointerGetAttributes",
    "hipMemGetAddressRange",
    "hipIpcGetMemHandle",
    "hipStreamCreateWithFlags",
    "hipEventCreateWithFlags",
    "hipEventRecord",
    "hipStreamWaitEvent",
    "hipStreamWriteValue64",
    "hipMemcpyAsync",
];

macro_rules! each {
    ($($name:ident: $function:literal),* $(,)?) => {
        $(case!($name, Stage::normal().faults(concat!($function, "@1=999")), || fails_once($function));)*

        #[test]
        fn every_function_has_its_case() {
            assert_eq!([$($function),*], TOLD);
        }
    };
}

each!(
    set_device: "hipSetDevice",
    get_device: "hipGetDevice",
    malloc: "hipMalloc",
    host_malloc: "hipHostMalloc",
    host_register: "hipHostRegister",
    pointer_attributes: "hipPointerGetAttributes",
    address_range: "hipMemGetAddressRange",
    ipc_handle: "hipIpcGetMemHandle",
    stream_create: "hipStreamCreateWithFlags",
    event_create: "hipEventCreateWithFlags",
    event_record: "hipEventRecord",
    stream_wait: "hipStreamWaitEvent",
    write_value: "hipStreamWriteValue64",
    memcpy: "hipMemcpyAsync",
);

/// Goes through all until one fails, which must be this one; then goes through all.
fn fails_once(function: &'static str) {
    let (fake, device) = (Fake::loaded(), open(1));
    let failed = everything(&*device).expect_err("the planned failure");
    let name = "hipErrorUnknown".to_owned();
    let kind = AcceleratorKind::Rocm;
    assert_eq!(failed, AcceleratorError::Runtime { kind, function, code: 999, name });
    everything(&*device).expect("it failed once");
    drop(device);
    fake.is_empty();
    assert_eq!(fake.number("hipPeekAtLastError"), 0);
}

fn everything(device: &dyn Accelerator) -> Result<(), AcceleratorError> {
    let memory = device.allocate(4096)?;
    let pinned = device.allocate_pinned(4096)?;
    let ordinary = [1_u8; 64];
    // SAFETY: the array outlives the lock.
    let locked = unsafe { device.pin(ordinary.as_ptr().expose_provenance() as u64, 64) }?;
    // SAFETY: dropped before the memory, and nothing is done with it.
    let adopted = unsafe { device.adopt(address(&*memory) + 1, 100) }?;
    let handle = adopted.share()?;
    assert_eq!((handle.offset, handle.length, handle.opaque.len()), (1, 100, 64));
    let (stream, other) = (device.open_stream()?, device.open_stream()?);
    let flag = device.flag()?;
    let copy = CopyRange {
        from: address(&*pinned),
        to: address(&*memory),
        length: 4096,
        direction: CopyDirection::HostToDevice,
    };
    let event = stream.record()?;
    // SAFETY: both are dropped behind the copy.
    unsafe { stream.copy(&[copy]) }?;
    other.wait(&event)?;
    other.signal(&flag, 1)?;
    other.wait_value(&flag, 1)?;
    drop((adopted, locked));
    Ok(())
}

/// What a test of leaks would find fails here: nobody can be told, and nobody is hurt.
const DROPS: &str = "hipFree@1+=999,hipHostFree@1+=999,hipHostUnregister@1+=999,hipEventDestroy@1+=999,\
                     hipStreamDestroy@1+=999,hipEventSynchronize@1+=999";

case!(what_cannot_be_freed_stays, Stage::normal().faults(DROPS), || {
    let (fake, device) = (Fake::loaded(), open(1));
    everything(&*device).expect("nothing of it fails");
    drop(device);
    assert_eq!(fake.number("hipPeekAtLastError"), 0);
    let counts = fake.counts();
    assert_eq!((counts.allocations, counts.pinned, counts.registered, counts.streams), (1, 1, 1, 2));
});

case!(a_copy_that_cannot_be_marked_is_waited_for, Stage::normal().faults("hipEventRecord@1=999"), || {
    let (fake, device) = (Fake::loaded(), open(0));
    let (memory, stream) = (device.allocate(64).expect("room"), device.open_stream().expect("a stream"));
    let bytes = vec![3_u8; 64];
    let from = bytes.as_ptr().expose_provenance() as u64;
    let copy = CopyRange { from, to: address(&*memory), length: 64, direction: CopyDirection::HostToDevice };
    // SAFETY: both are dropped behind the copy.
    unsafe { stream.copy(&[copy]) }.expect("the copy is taken");
    drop((memory, bytes, stream, device));
    fake.is_empty();
});
