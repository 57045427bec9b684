//! Arenas that are page-locked for an accelerator.

use std::sync::Arc;

use pmd_core::{
    accelerator::{
        Accelerator, AcceleratorError, AcceleratorKind, DeviceIdentity, DeviceMemory, Flag, Pinned,
        ShareHandle, Stream,
    },
    sync::{AtomicU64, Ordering},
};

use super::*;
use crate::accelerator::CpuAccelerator;

/// Counts what is page-locked, and refuses from a number on.
#[derive(Debug, Default)]
struct Locking {
    inner: CpuAccelerator,
    locked: Arc<AtomicU64>,
    /// Unlocked when it was mapped no more.
    late: Arc<AtomicU64>,
    most: u64,
}

#[derive(Debug)]
struct Locked {
    address: u64,
    length: u64,
    locked: Arc<AtomicU64>,
    late: Arc<AtomicU64>,
}

impl Pinned for Locked {}

impl Drop for Locked {
    fn drop(&mut self) {
        let pages = (self.length as usize).div_ceil(4096);
        let mut found = vec![0; pages];
        // SAFETY: there is room for a byte for each page; the call touches no memory.
        let mapped =
            unsafe { libc::mincore(self.address as *mut _, self.length as usize, found.as_mut_ptr()) };
        self.late.fetch_add(u64::from(mapped != 0), Ordering::AcqRel);
        self.locked.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Accelerator for Locking {
    fn identity(&self) -> &DeviceIdentity {
        self.inner.identity()
    }

    fn allocate(&self, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        self.inner.allocate(length)
    }

    fn allocate_pinned(&self, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        self.inner.allocate_pinned(length)
    }

    unsafe fn adopt(&self, address: u64, length: u64) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        // SAFETY: passed on.
        unsafe { self.inner.adopt(address, length) }
    }

    fn import(&self, handle: &ShareHandle) -> Result<Box<dyn DeviceMemory>, AcceleratorError> {
        self.inner.import(handle)
    }

    unsafe fn pin(&self, address: u64, length: u64) -> Result<Box<dyn Pinned>, AcceleratorError> {
        if self.locked.load(Ordering::Acquire) == self.most {
            return Err(AcceleratorError::OutOfMemory { kind: AcceleratorKind::Cpu, wanted: length });
        }
        self.locked.fetch_add(1, Ordering::AcqRel);
        let (locked, late) = (Arc::clone(&self.locked), Arc::clone(&self.late));
        Ok(Box::new(Locked { address, length, locked, late }))
    }

    fn open_stream(&self) -> Result<Arc<dyn Stream>, AcceleratorError> {
        self.inner.open_stream()
    }

    fn stream(&self, native: u64) -> Result<Arc<dyn Stream>, AcceleratorError> {
        self.inner.stream(native)
    }

    fn flag(&self) -> Result<Arc<dyn Flag>, AcceleratorError> {
        self.inner.flag()
    }

    fn flush_remote_writes(&self) -> Result<(), AcceleratorError> {
        self.inner.flush_remote_writes()
    }
}

fn locking(most: u64) -> Arc<Locking> {
    Arc::new(Locking { most, ..Locking::default() })
}

fn with(accelerators: &[&Arc<Locking>], pin_arenas: bool) -> Device {
    let accelerators = accelerators.iter().map(|one| Arc::clone(one) as Arc<dyn Accelerator>).collect();
    let config = DeviceConfig {
        accelerators: Accelerators::new(accelerators),
        pin_arenas,
        same_process: false,
        ..DeviceConfig::default()
    };
    Device::open(config).unwrap()
}

fn counts(accelerator: &Locking) -> (u64, u64) {
    (accelerator.locked.load(Ordering::Acquire), accelerator.late.load(Ordering::Acquire))
}

#[test]
fn an_arena_is_page_locked_until_it_is_unmapped() {
    let (one, other) = (locking(9), locking(9));
    let device = with(&[&one, &other], true);
    let arena = device.allocate(10_000, ArenaOptions::default()).unwrap();
    assert_eq!((counts(&one), counts(&other)), ((1, 0), (1, 0)));
    let region = device.register_source(&arena, Access::READ_WRITE, ProtectionDomain(0)).unwrap();
    drop(arena);
    assert_eq!(counts(&one), (1, 0));
    drop(region);
    assert_eq!((counts(&one), counts(&other)), ((0, 0), (0, 0)));
}

#[test]
fn without_the_option_nothing_is_page_locked() {
    let one = locking(9);
    let arena = with(&[&one], false).allocate(10_000, ArenaOptions::default()).unwrap();
    assert_eq!(counts(&one), (0, 0));
    drop(arena);
}

#[test]
fn an_arena_that_one_accelerator_refuses_is_locked_for_none() {
    let (one, other) = (locking(9), locking(0));
    let refused = with(&[&one, &other], true).allocate(10_000, ArenaOptions::default()).unwrap_err();
    assert!(matches!(refused, AllocateError::Accelerator(AcceleratorError::OutOfMemory { .. })), "{refused}");
    assert_eq!(counts(&one), (0, 0));
}

#[test]
fn arenas_of_peers_are_page_locked_where_they_are_mapped() {
    let (here, there) = (locking(9), locking(9));
    let (left, right) = (with(&[&here], true), with(&[&there], true));
    let arena = right.allocate(10_000, ArenaOptions::default()).unwrap();
    let links = connected(&left, &right);
    within(|| {
        left.service();
        (counts(&here).0 == 1).then_some(())
    });
    assert_eq!(counts(&there), (1, 0));
    drop(arena);
    within(|| {
        left.service();
        (counts(&here).0 == 0).then_some(())
    });
    drop(links);
    drop((left, right));
    assert_eq!((counts(&here), counts(&there)), ((0, 0), (0, 0)));
}
