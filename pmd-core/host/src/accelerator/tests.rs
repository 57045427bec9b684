//! The accelerator without a device: what its memory, streams, events and flags promise.
#![allow(unsafe_code)] // asks for copies

use std::{
    sync::{
        Arc,
        mpsc::{channel, sync_channel},
    },
    time::{Duration, Instant},
};

use pmd_core::{
    accelerator::{
        Accelerator, AcceleratorError, AcceleratorKind, CopyDirection, CopyRange, Event, Flag, ShareHandle,
        Stream,
    },
    memory::MemoryKind,
};

use super::{CpuAccelerator, CpuOptions, KernelFault, wait_for, wait_for_value};

const KIND: AcceleratorKind = AcceleratorKind::Cpu;

fn shielded() -> CpuAccelerator {
    CpuAccelerator::new(CpuOptions { shielded: true, ..CpuOptions::default() })
}

fn soon() -> Option<Instant> {
    Some(Instant::now() + Duration::from_secs(20))
}

fn finish(stream: &dyn Stream) -> Result<bool, AcceleratorError> {
    wait_for(&*stream.record()?, soon())
}

fn write(stream: &dyn Stream, to: u64, bytes: &[u8]) {
    let (from, length, direction) = (bytes.as_ptr() as u64, bytes.len() as u64, CopyDirection::HostToDevice);
    // SAFETY: the bytes live until the copy is done, which is waited for.
    unsafe { stream.copy(&[CopyRange { from, to, length, direction }]) }.unwrap();
    assert_eq!(finish(stream), Ok(true));
}

fn read(stream: &dyn Stream, from: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    let (to, direction) = (bytes.as_mut_ptr() as u64, CopyDirection::DeviceToHost);
    // SAFETY: as in `write`.
    unsafe { stream.copy(&[CopyRange { from, to, length: length as u64, direction }]) }.unwrap();
    assert_eq!(finish(stream), Ok(true));
    bytes
}

#[test]
fn fresh_memory_is_not_zero_and_holds_what_streams_write() {
    let accelerator = shielded();
    let stream = accelerator.open_stream().unwrap();
    let memory = accelerator.allocate(10_000).unwrap();
    let described = memory.description();
    assert_eq!((described.kind, described.length), (MemoryKind::Device, 10_000));
    assert_eq!(read(&*stream, described.address, 3), [0xa5; 3]);
    let bytes: Vec<u8> = (0..9_000_u32).map(|index| index as u8).collect();
    write(&*stream, described.address + 777, &bytes);
    assert_eq!(read(&*stream, described.address + 777, 9_000), bytes);
}

#[test]
fn nobody_but_streams_touches_shielded_memory() {
    let memory = shielded().allocate(4096).unwrap();
    let address = memory.description().address;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.starts_with(&format!("{address:x}-"))).unwrap();
    assert!(line.contains(" ---s "), "{line}");
}

#[test]
fn pinned_memory_is_the_hosts() {
    let memory = shielded().allocate_pinned(4096).unwrap();
    let described = memory.description();
    assert_eq!(described.kind, MemoryKind::Host);
    // SAFETY: memory of the host that nobody else knows.
    unsafe { (described.address as *mut u8).write(1) };
    let refused = memory.share().unwrap_err();
    assert!(matches!(refused, AcceleratorError::Unsupported { kind: KIND, .. }), "{refused}");
}

#[test]
fn memory_runs_out() {
    let accelerator = CpuAccelerator::new(CpuOptions { capacity: 8192, ..CpuOptions::default() });
    let first = accelerator.allocate(8192).unwrap();
    let refused = accelerator.allocate(1).unwrap_err();
    assert_eq!(refused, AcceleratorError::OutOfMemory { kind: KIND, wanted: 1 });
    drop(first);
    assert_eq!(accelerator.allocations(), 0);
    accelerator.allocate(1).unwrap();
    let refused = accelerator.allocate(0).unwrap_err();
    assert_eq!(refused, AcceleratorError::Range { address: 0, length: 0, available: None });
}

#[test]
fn what_is_no_device_memory_is_not_adopted() {
    let accelerator = shielded();
    let memory = accelerator.allocate(4096).unwrap();
    let address = memory.description().address;
    // SAFETY: refused, or within memory that lives.
    unsafe {
        let inner = accelerator.adopt(address + 96, 4000).unwrap();
        assert_eq!((inner.description().address, inner.description().length), (address + 96, 4000));
        let beyond = accelerator.adopt(address + 96, 4001).unwrap_err();
        let (length, available) = (4001, Some(4000));
        assert_eq!(beyond, AcceleratorError::Range { address: address + 96, length, available });
        let host = 0_u8;
        let address = (&raw const host) as u64;
        let refused = accelerator.adopt(address, 1).unwrap_err();
        assert_eq!(refused, AcceleratorError::NotDeviceMemory { kind: KIND, address });
        assert!(accelerator.pin(address, 1).is_ok());
        let refused = accelerator.pin(address, 0).unwrap_err();
        assert_eq!(refused, AcceleratorError::Range { address, length: 0, available: None });
    }
}

#[test]
fn copies_stay_inside_of_device_memory() {
    let accelerator = shielded();
    let stream = accelerator.open_stream().unwrap();
    let memory = accelerator.allocate(100).unwrap();
    let from = memory.description().address;
    let beyond = CopyRange { from, to: from + 50, length: 51, direction: CopyDirection::DeviceToDevice };
    // SAFETY: refused.
    let refused = unsafe { stream.copy(&[beyond]) }.unwrap_err();
    assert!(matches!(refused, AcceleratorError::Range { length: 51, available: Some(50), .. }), "{refused}");
    assert_eq!(finish(&*stream), Ok(true));
}

#[test]
fn shared_memory_is_the_same_memory() {
    let (owner, other) = (shielded(), shielded());
    let memory = owner.allocate(4096).unwrap();
    let handle = memory.share().unwrap();
    assert!(handle.opaque.len() <= ShareHandle::LONGEST);
    let opened = other.import(&handle).unwrap();
    assert_ne!(opened.description().address, memory.description().address);
    let (here, there) = (owner.open_stream().unwrap(), other.open_stream().unwrap());
    write(&*here, memory.description().address + 5, b"through a handle");
    assert_eq!(read(&*there, opened.description().address + 5, 16), b"through a handle");
    // Open memory stays when its owner has freed it.
    drop(memory);
    assert_eq!(read(&*there, opened.description().address + 5, 7), b"through");
    assert_eq!(other.import(&handle).unwrap_err(), AcceleratorError::Gone { kind: KIND });
}

#[test]
fn foreign_and_spoilt_handles_are_refused() {
    let (one, two) = (shielded(), CpuAccelerator::new(CpuOptions { ordinal: 1, ..CpuOptions::default() }));
    let memory = one.allocate(4096).unwrap();
    let handle = memory.share().unwrap();
    let refused = two.import(&handle).unwrap_err();
    assert_eq!(refused, AcceleratorError::Foreign { of: two.identity().clone() });
    let of_cuda = ShareHandle { kind: AcceleratorKind::Cuda, ..handle.clone() };
    assert!(matches!(one.import(&of_cuda), Err(AcceleratorError::Foreign { .. })));
    let gone = AcceleratorError::Gone { kind: KIND };
    for spoilt in [
        ShareHandle { opaque: Vec::new(), ..handle.clone() },
        ShareHandle { opaque: vec![0xff; 16], ..handle.clone() },
        ShareHandle { length: 4097, ..handle.clone() },
        ShareHandle { offset: u64::MAX, ..handle.clone() },
    ] {
        assert_eq!(one.import(&spoilt).unwrap_err(), gone, "{spoilt:?}");
    }
}

#[test]
fn a_stream_does_things_in_order() {
    let accelerator = CpuAccelerator::default();
    let stream = accelerator.open_cpu_stream().unwrap();
    let found = accelerator.stream(stream.native()).unwrap();
    assert_eq!(found.native(), stream.native());
    let flag = accelerator.flag().unwrap();
    let (tell, told) = channel();
    stream.wait_value(&flag, 3).unwrap();
    stream.launch(move || tell.send(1).map_err(|_| KernelFault { code: 1 }));
    let computed = stream.record().unwrap();
    assert_eq!(computed.query(), Ok(false));
    assert_eq!(wait_for(&*computed, Some(Instant::now())), Ok(false));
    assert!(!wait_for_value(&*flag, 1, Some(Instant::now())));
    flag.store(4);
    assert!(wait_for_value(&*flag, 3, soon()));
    assert_eq!(wait_for(&*computed, soon()), Ok(true));
    assert_eq!(told.recv(), Ok(1));
    stream.signal(&flag, 9).unwrap();
    assert!(wait_for_value(&*flag, 9, soon()));
}

#[test]
fn a_stream_waits_for_another() {
    let accelerator = CpuAccelerator::default();
    let (one, two) = (accelerator.open_cpu_stream().unwrap(), accelerator.open_cpu_stream().unwrap());
    let (go, gone) = sync_channel::<()>(0);
    one.launch(move || gone.recv().map_err(|_| KernelFault { code: 1 }));
    let first: Arc<dyn Event> = one.record().unwrap();
    two.wait(&first).unwrap();
    let second = two.record().unwrap();
    assert_eq!(second.query(), Ok(false));
    go.send(()).unwrap();
    assert_eq!(wait_for(&*second, soon()), Ok(true));
    assert_eq!(first.query(), Ok(true));
}

#[test]
fn a_kernel_that_fails_takes_its_stream_along() {
    let accelerator = CpuAccelerator::default();
    let stream = accelerator.open_cpu_stream().unwrap();
    stream.launch(|| Err(KernelFault { code: 77 }));
    for _ in 0..2 {
        let failed = finish(&*stream).unwrap_err();
        assert!(matches!(failed, AcceleratorError::Runtime { code: 77, .. }), "{failed}");
    }
    let stream = accelerator.open_cpu_stream().unwrap();
    stream.launch(|| panic!("as planned"));
    let failed = finish(&*stream).unwrap_err();
    assert!(matches!(failed, AcceleratorError::Runtime { code, .. } if code == KernelFault::PANICKED.code));
}

#[test]
fn a_copy_can_be_held_and_made_to_fail() {
    let accelerator = shielded();
    let stream = accelerator.open_stream().unwrap();
    let memory = accelerator.allocate(16).unwrap();
    let address = memory.description().address;
    let hold = accelerator.hold_copies();
    let range =
        CopyRange { from: address, to: address + 8, length: 8, direction: CopyDirection::DeviceToDevice };
    // SAFETY: the memory lives, and nobody else uses it.
    unsafe { stream.copy(&[range]) }.unwrap();
    let copied = stream.record().unwrap();
    assert_eq!(wait_for(&*copied, Some(Instant::now())), Ok(false));
    drop(hold);
    assert_eq!(wait_for(&*copied, soon()), Ok(true));
    accelerator.fail_copy(1);
    // SAFETY: as above.
    unsafe { stream.copy(&[range, range]) }.unwrap();
    let failed = finish(&*stream).unwrap_err();
    assert!(matches!(failed, AcceleratorError::Runtime { code, .. } if code == KernelFault::COPY.code));
}

#[test]
fn a_closed_stream_ends_its_waits_and_does_the_rest() {
    let accelerator = CpuAccelerator::default();
    let stream = accelerator.open_cpu_stream().unwrap();
    let native = stream.native();
    let before = stream.record().unwrap();
    stream.wait_value(&accelerator.flag().unwrap(), 1).unwrap();
    let behind = stream.record().unwrap();
    drop(stream);
    assert_eq!(wait_for(&*before, soon()), Ok(true));
    assert_eq!(wait_for(&*behind, soon()), Err(AcceleratorError::StreamGone));
    let unknown = AcceleratorError::UnknownStream { kind: KIND, native };
    assert_eq!(accelerator.stream(native).unwrap_err(), unknown);
}

/// Of no accelerator that the streams know.
#[derive(Debug)]
struct Stranger;

impl Event for Stranger {
    fn query(&self) -> Result<bool, AcceleratorError> {
        Ok(true)
    }
}

impl Flag for Stranger {
    fn address(&self) -> u64 {
        0
    }

    fn load(&self) -> u64 {
        0
    }

    fn store(&self, _: u64) {}
}

#[test]
fn events_and_flags_of_others_are_refused() {
    let accelerator = CpuAccelerator::default();
    let stream = accelerator.open_stream().unwrap();
    let foreign = AcceleratorError::Foreign { of: accelerator.identity().clone() };
    let (event, flag): (Arc<dyn Event>, Arc<dyn Flag>) = (Arc::new(Stranger), Arc::new(Stranger));
    assert_eq!(stream.wait(&event), Err(foreign.clone()));
    assert_eq!(stream.signal(&flag, 1), Err(foreign.clone()));
    assert_eq!(stream.wait_value(&flag, 1), Err(foreign));
}
