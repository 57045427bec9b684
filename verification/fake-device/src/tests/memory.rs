//! Memory and copies.

use super::*;
use crate::{Owner, memory::FRESH};

#[test]
fn fresh_memory_is_poisoned_and_copies_arrive() {
    let runtime = runtime();
    let (first, second) = (runtime.allocate(0, 100).unwrap(), runtime.allocate(1, 100).unwrap());
    assert_eq!(bytes(&runtime, first, 100).unwrap(), [FRESH; 100]);
    put(&runtime, first + 10, &[1, 2, 3]).unwrap();
    runtime.prepare_copy(second, first + 10, 3, Some(Direction::DeviceToDevice)).unwrap().run();
    assert_eq!(bytes(&runtime, second, 4).unwrap(), [1, 2, 3, FRESH]);
    runtime.prepare_fill(second, &[9, 8], 2).unwrap().run();
    assert_eq!(bytes(&runtime, second, 5).unwrap(), [9, 8, 9, 8, FRESH]);
    assert_eq!((runtime.counts().allocations, runtime.counts().allocated_bytes), (2, 200));
    runtime.free(first, Owner::Device(0)).unwrap();
    runtime.free(second, Owner::Device(1)).unwrap();
    assert_eq!(runtime.counts(), crate::Counts::default());
}

#[test]
fn a_device_has_so_much_room() {
    let runtime = runtime();
    assert_eq!(runtime.room(1), (1 << 20, 1 << 20));
    let memory = runtime.allocate(1, (1 << 20) - 8).unwrap();
    assert_eq!(runtime.allocate(1, 9), Err(FakeError::OutOfMemory { wanted: 9, left: 8 }));
    assert_eq!(runtime.room(1).0, 8);
    assert!(runtime.allocate(0, 9).is_ok());
    runtime.free(memory, Owner::Device(1)).unwrap();
    assert!(runtime.allocate(1, 1 << 20).is_ok());
    assert_eq!(runtime.allocate(2, 8), Err(FakeError::NoDevice { device: 2 }));
    assert!(matches!(runtime.allocate(0, 0), Err(FakeError::Invalid { .. })));
    assert!(matches!(runtime.allocate_pinned(1 << 60), Err(FakeError::OutOfMemory { .. })));
}

#[test]
fn freed_memory_is_not_freed_or_used_again() {
    let runtime = runtime();
    let memory = runtime.allocate(0, 64).unwrap();
    assert_eq!(runtime.free(memory, Owner::Device(1)), Err(FakeError::WrongOwner { address: memory }));
    assert_eq!(runtime.free(memory + 8, Owner::Device(0)), Err(FakeError::Unknown { address: memory + 8 }));
    runtime.free(memory, Owner::Device(0)).unwrap();
    assert_eq!(runtime.misuses().len(), 0);
    let freed = Err(FakeError::Freed { address: memory });
    assert_eq!(runtime.free(memory, Owner::Device(0)), freed);
    assert_eq!(put(&runtime, memory, &[1]), freed);
    assert_eq!((runtime.find(memory), runtime.misuses().len()), (None, 2));
    let pinned = runtime.allocate_pinned(64).unwrap();
    runtime.free(pinned, Owner::Pinned).unwrap();
    assert_eq!(runtime.free(pinned, Owner::Pinned), Err(FakeError::Freed { address: pinned }));
    assert_eq!(runtime.misuses().len(), 3);
}

#[test]
fn copies_end_where_their_memory_ends() {
    let runtime = runtime();
    let memory = runtime.allocate(0, 64).unwrap();
    assert!(put(&runtime, memory, &[1; 64]).is_ok());
    let error = FakeError::OutOfBounds { address: memory + 1, length: 64, left: 63 };
    assert_eq!(put(&runtime, memory + 1, &[1; 64]), Err(error));
    assert_eq!(runtime.misuses().len(), 1);
    let host = [0_u8; 8];
    let wrong = runtime.prepare_copy(memory, host.as_ptr() as u64, 8, Some(Direction::DeviceToDevice));
    assert_eq!(wrong.unwrap_err(), FakeError::WrongOwner { address: host.as_ptr() as u64 });
    let null = runtime.prepare_copy(memory, 0, 8, None);
    assert!(matches!(null.unwrap_err(), FakeError::Invalid { .. }));
    assert_eq!(runtime.misuses().len(), 1);
}

#[test]
fn memory_of_the_program_is_registered_once() {
    let runtime = runtime();
    let memory = [0_u8; 64];
    let address = memory.as_ptr() as u64;
    runtime.register(address, 64).unwrap();
    assert_eq!(runtime.register(address + 8, 8), Err(FakeError::Registered { address: address + 8 }));
    let found = runtime.find(address + 63).unwrap();
    assert_eq!((found.base, found.length, found.owner), (address, 64, Owner::Registered));
    runtime.free(address, Owner::Registered).unwrap();
    runtime.register(address, 8).unwrap();
    runtime.free(address, Owner::Registered).unwrap();
    assert!(matches!(runtime.register(0, 8), Err(FakeError::Invalid { .. })));
    assert_eq!(runtime.misuses().len(), 0);
}

#[test]
fn a_descriptor_is_of_the_same_memory() {
    let runtime = runtime();
    let memory = runtime.allocate(0, 64).unwrap();
    put(&runtime, memory, b"here").unwrap();
    let descriptor = runtime.descriptor(memory).unwrap();
    let path = format!("/proc/self/fd/{descriptor}");
    assert_eq!(&std::fs::read(path).unwrap()[..5], b"here\xa5");
    drop(crate::mapping::owned(descriptor));
    let pinned = runtime.allocate_pinned(8).unwrap();
    assert_eq!(runtime.descriptor(pinned), Err(FakeError::WrongOwner { address: pinned }));
    assert_eq!(runtime.descriptor(16), Err(FakeError::Unknown { address: 16 }));
}

#[test]
fn managed_memory_is_of_both_sides() {
    let runtime = runtime();
    let memory = runtime.allocate_managed(1, 8).unwrap();
    assert_eq!(runtime.find(memory).unwrap().owner, Owner::Managed(1));
    put(&runtime, memory, b"both").unwrap();
    runtime.prepare_copy(memory + 4, memory, 4, Some(Direction::HostToHost)).unwrap().run();
    assert_eq!(bytes(&runtime, memory, 8).unwrap(), b"bothboth");
    runtime.free(memory, Owner::Managed(1)).unwrap();
    assert_eq!(runtime.counts(), crate::Counts::default());
}
