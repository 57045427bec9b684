//! Arenas within one process.

use super::*;
use crate::region::RegionPath;

fn allocate(device: &Device, length: usize, huge_pages: HugePages) -> Result<Arena, AllocateError> {
    device.allocate(length, ArenaOptions { huge_pages, prefault: true })
}

#[test]
fn an_arena_is_zeroed_and_lives_as_long_as_its_regions() {
    let device = open();
    let arena = allocate(&device, 5000, HugePages::Never).unwrap();
    assert_eq!(arena.length(), 8192);
    let start = arena.as_ptr();
    // SAFETY: inside of the arena, which nobody else uses.
    unsafe {
        assert!((0..8192).all(|offset| start.add(offset).read() == 0));
        start.add(8191).write(7);
    }
    let region = device.register_source(&arena, Access::READ_WRITE, ProtectionDomain(0)).unwrap();
    assert_eq!((region.address(), region.length()), (start as u64, 8192));
    assert_eq!(region.path(), RegionPath::Mapped);
    drop(arena);
    // SAFETY: the region keeps the memory.
    assert_eq!(unsafe { start.add(8191).read() }, 7);
    drop(region);
    // SAFETY: nothing is moved, the address is only asked about.
    let gone = unsafe { device.register(start as u64, 8192, Access::READ_WRITE, ProtectionDomain(0)) };
    assert!(!matches!(gone.map(|region| region.path()), Ok(RegionPath::Mapped)));
}

#[test]
fn a_range_that_leaves_an_arena_is_not_of_it() {
    let device = open();
    let arena = allocate(&device, 8192, HugePages::Never).unwrap();
    let start = arena.as_ptr() as u64;
    // SAFETY: no bytes are moved.
    let register = |address, length| unsafe {
        device.register(address, length, Access::READ_WRITE, ProtectionDomain(0))
    };
    assert_eq!(register(start + 8191, 1).unwrap().path(), RegionPath::Mapped);
    let beyond = register(start + 8191, 2);
    assert!(!matches!(beyond.map(|region| region.path()), Ok(RegionPath::Mapped)));
}

#[test]
fn impossible_lengths_are_refused() {
    let device = open();
    for length in [0, usize::MAX, isize::MAX as usize] {
        let refused = allocate(&device, length, HugePages::Never).unwrap_err();
        assert!(matches!(refused, AllocateError::Length { .. }), "{refused}");
    }
    // More than any machine has: refused before a page is touched.
    let refused = allocate(&device, 1 << 46, HugePages::Never).unwrap_err();
    assert!(matches!(refused, AllocateError::NoSpace { length, .. } if length == 1 << 46), "{refused}");
}

#[test]
fn huge_pages_are_used_refused_or_replaced_as_asked() {
    let device = open();
    match allocate(&device, 1, HugePages::Require) {
        Ok(arena) => assert!(arena.has_huge_pages() && arena.length() == 2 << 20),
        Err(refused) => assert!(matches!(refused, AllocateError::NoHugePages { pages: 1 }), "{refused}"),
    }
    let too_many = allocate(&device, 1 << 45, HugePages::Require).unwrap_err();
    assert!(matches!(too_many, AllocateError::NoHugePages { .. }), "{too_many}");
    let arena = allocate(&device, 1, HugePages::Prefer).unwrap();
    assert_eq!(arena.length(), if arena.has_huge_pages() { 2 << 20 } else { 4096 });
}

#[test]
fn odd_rings_are_refused() {
    for ring_bytes in [0, 1 << 10, 5000, 128 << 20] {
        let refused = Device::open(DeviceConfig { ring_bytes, ..DeviceConfig::default() }).unwrap_err();
        assert!(matches!(refused, OpenError::RingBytes { bytes } if bytes == ring_bytes));
    }
}
