//! What registration refuses and what keys allow.

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::region::RegionPath;

const PAGE: usize = 4096;

fn register(device: &Device, address: u64, length: u64, access: Access) -> Result<Region, RegisterError> {
    // SAFETY: these tests move no bytes.
    unsafe { device.register(address, length, access, ProtectionDomain(0)) }
}

#[test]
fn keys_allow_what_was_registered_and_no_more() {
    let device = open();
    let seat = device.seat(Waker::new().unwrap()).unwrap();
    let region = leak(&device, 100, Access::LOCAL_WRITE | Access::REMOTE_READ);
    let (start, key) = (region.address(), region.remote_key().0);
    assert_eq!(region.path(), RegionPath::ProcessMemory);
    let active = seat.enter();
    let check = |address, length, access, domain| {
        device.regions().check(&active, key, address, length, access, ProtectionDomain(domain))
    };
    assert_eq!(check(start, 100, Access::REMOTE_READ, 0), Ok(None));
    assert_eq!(check(start + 99, 1, Access::empty(), 0), Ok(None));
    assert_eq!(check(start + 1000, 0, Access::LOCAL_WRITE, 0), Ok(None));
    for (address, length) in [
        (start, 101),
        (start - 1, 2),
        (start + 100, 1),
        (start + 99, 2),
        (start, u64::MAX),
        (u64::MAX, 2),
        (0, 1),
    ] {
        let fault = KeyFault::OutOfBounds { key, address, length };
        assert_eq!(check(address, length, Access::REMOTE_READ, 0), Err(fault));
    }
    let wanted = Access::REMOTE_WRITE;
    assert_eq!(check(start, 1, wanted | Access::REMOTE_READ, 0), Err(KeyFault::AccessDenied { key, wanted }));
    assert_eq!(check(start, 1, Access::REMOTE_READ, 1), Err(KeyFault::WrongDomain { key }));
    let other = key ^ 1 << 20;
    let result = device.regions().check(&active, other, start, 1, Access::REMOTE_READ, ProtectionDomain(0));
    assert_eq!(result, Err(KeyFault::UnknownKey { key: other }));
}

#[test]
fn a_key_ends_with_its_region_and_does_not_come_back_at_once() {
    let device = open();
    let seat = device.seat(Waker::new().unwrap()).unwrap();
    let mut last = 0;
    for _ in 0..1000 {
        let region = leak(&device, 8, Access::LOCAL_WRITE);
        let (key, start) = (region.local_key().0, region.address());
        assert_ne!(key, 0);
        assert_ne!(key, last);
        region.deregister();
        let result =
            device.regions().check(&seat.enter(), key, start, 8, Access::empty(), ProtectionDomain(0));
        assert_eq!(result, Err(KeyFault::UnknownKey { key }));
        last = key;
    }
}

#[test]
fn impossible_ranges_are_refused() {
    let device = open();
    let address = leak(&device, 8, Access::LOCAL_WRITE).address();
    let refused = |address, length, access| register(&device, address, length, access).unwrap_err();
    assert!(matches!(refused(address, 0, Access::READ_WRITE), RegisterError::Empty));
    assert!(matches!(refused(0, 8, Access::READ_WRITE), RegisterError::Null));
    assert!(matches!(refused(address, u64::MAX, Access::READ_WRITE), RegisterError::Overflow { .. }));
    assert!(matches!(refused(u64::MAX, 1, Access::READ_WRITE), RegisterError::Overflow { .. }));
    for access in [Access::REMOTE_WRITE, Access::REMOTE_ATOMIC | Access::REMOTE_READ] {
        assert!(matches!(refused(address, 8, access), RegisterError::InconsistentAccess { .. }));
    }
}

#[test]
fn memory_must_be_mapped_for_what_it_is_registered_for() {
    let device = open();
    let length = (3 * PAGE).try_into().unwrap();
    let map = |protection| {
        // SAFETY: the kernel chooses the place.
        unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE) }.unwrap()
    };
    let with_hole = || {
        let start = map(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE);
        // SAFETY: a page of the mapping above, which nobody uses.
        unsafe { munmap(start.byte_add(PAGE), PAGE) }.unwrap();
        start
    };
    let read_only = map(ProtFlags::PROT_READ);
    let not_mapped = |start: std::ptr::NonNull<_>, access| {
        let result = register(&device, start.as_ptr() as u64, 3 * PAGE as u64, access);
        matches!(result, Err(RegisterError::NotMapped { .. }))
    };
    // Another thread's mapping may be put into the hole, but not into each of sixteen.
    assert!((0..16).any(|_| not_mapped(with_hole(), Access::REMOTE_READ)));
    assert!((0..16).any(|_| not_mapped(with_hole(), Access::READ_WRITE)));
    assert!(not_mapped(map(ProtFlags::PROT_NONE), Access::REMOTE_READ));
    assert!(not_mapped(read_only, Access::READ_WRITE));
    assert!(!not_mapped(read_only, Access::REMOTE_READ));
}

#[test]
fn a_full_table_is_refused_and_usable_again() {
    const LIMIT: usize = 1 << 16;
    let device = open();
    let address = leak(&device, 8, Access::LOCAL_WRITE).address();
    let mut regions: Vec<_> =
        (0..LIMIT).map(|_| register(&device, address, 8, Access::LOCAL_WRITE).unwrap()).collect();
    let mut keys: Vec<_> = regions.iter().map(|region| region.local_key().0).collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), LIMIT);
    let full = register(&device, address, 8, Access::LOCAL_WRITE).unwrap_err();
    assert!(matches!(full, RegisterError::TableFull { limit: LIMIT }));
    regions.pop();
    register(&device, address, 8, Access::LOCAL_WRITE).unwrap();
}

#[test]
fn seats_are_limited_and_given_back() {
    let device = open();
    let waker = Waker::new().unwrap();
    let mut seats: Vec<_> = (0..256).map(|_| device.seat(waker.clone()).unwrap()).collect();
    assert_eq!(device.seat(waker.clone()).unwrap_err(), NoSeat { limit: 256 });
    let numbers = [seats[0].next_queue_pair(), seats[1].next_queue_pair()];
    assert_ne!(numbers[0], numbers[1]);
    seats.remove(7);
    device.seat(waker).unwrap();
}

#[test]
fn regions_hand_out_entries_inside_of_them_only() {
    let device = open();
    let region = leak(&device, 64, Access::READ_WRITE);
    let sge = region.sge(60, 4).unwrap();
    assert_eq!((sge.address, sge.length, sge.key), (region.address() + 60, 4, region.local_key()));
    assert_eq!(region.sge(60, 5), None);
    assert_eq!(region.sge(u64::MAX, 1), None);
    assert_eq!(region.remote_address(64).unwrap().address, region.address() + 64);
    assert_eq!(region.remote_address(65), None);
}

/// While one call fills pages in, nothing else in the process can be mapped, the memory of a new link neither.
#[test]
fn pages_are_filled_in_by_calls_of_bounded_size() {
    const LARGEST: u64 = 32 << 20;
    for (start, bytes) in [(0x7000, 0), (0x7000, 4096), (0x7000, LARGEST), (0x7000, (5 << 30) + 8192)] {
        let mut next = start;
        for (piece, length) in memory::pieces(start, bytes) {
            assert_eq!(piece, next);
            assert!((1..=LARGEST).contains(&length));
            next += length;
        }
        assert_eq!(next, start + bytes);
    }
}

#[test]
fn memory_is_private_to_the_user_and_sockets_have_no_path() {
    let device = open();
    let arena = device.allocate(4096, ArenaOptions::default()).unwrap();
    let mut found = 0;
    for entry in std::fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let Ok(target) = std::fs::read_link(entry.path()) else { continue };
        if !target.to_string_lossy().starts_with("/memfd:pmd-") {
            continue;
        }
        // Other tests close theirs meanwhile.
        let Ok(metadata) = std::fs::metadata(entry.path()) else { continue };
        if std::fs::read_link(entry.path()).is_ok_and(|again| again == target) {
            assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{target:?}");
            found += 1;
        }
    }
    assert!(found > 0, "there is a segment at least");
    let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
    let own: Vec<_> = sockets.lines().filter(|line| line.contains(&device.id().to_string())).collect();
    assert!(!own.is_empty() && own.iter().all(|line| line.contains(" @pmd-")), "{own:?}");
    drop(arena);
}

#[test]
fn keys_are_drawn_anew_and_spread_over_all_random_bits() {
    let device = open();
    let mut memory = vec![0_u8; 4096];
    let mut bits = (0, u32::MAX);
    let mut all = std::collections::HashSet::new();
    for _ in 0..200 {
        // SAFETY: nothing is transferred; the region goes before the memory.
        let region = unsafe {
            device.register(memory.as_mut_ptr() as u64, 4096, Access::all(), ProtectionDomain::default())
        };
        let key = region.unwrap().remote_address(0).unwrap().key.0;
        bits = (bits.0 | key >> 16, bits.1 & key >> 16);
        all.insert(key >> 16);
    }
    // By chance once in far more runs than there will be.
    assert_eq!(bits, (0xffff, 0), "each of 16 bits was seen set and not set");
    assert!(all.len() > 150, "{}", all.len());
}
