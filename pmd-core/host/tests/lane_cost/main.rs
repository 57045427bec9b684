//! What a large transfer costs: doorbells are counted, and while it is posted nothing is allocated.
#![allow(unsafe_code)] // a global allocator is unsafe to implement

#[expect(dead_code, reason = "this test needs a part of it")]
#[path = "../../src/lane/tests/fake.rs"]
mod fake;

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
};

use pmd_core::memory::{LocalKey, RemoteAddress, RemoteKey};
use pmd_host as host;
use pmd_host::{
    backend::ConnectOptions,
    lane::{LaneConfig, LaneDriver, RouteConfig},
    transfer::{Direction, LocalPiece, Outcome, TransferOptions, WorkListBuilder, WorkListLimits},
};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is the one that System asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PIECES: u64 = 100_000;

fn pieces() -> impl Iterator<Item = (LocalPiece, RemoteAddress)> {
    (0..PIECES).map(|piece| {
        let local = LocalPiece { address: 0x10_0000 + 8192 * piece, length: 4096, key: LocalKey(1) };
        (local, RemoteAddress { address: 8192 * piece, key: RemoteKey(2) })
    })
}

#[test]
fn planning_allocates_nothing_per_piece() {
    let mut builder =
        WorkListBuilder::with_capacity(Direction::Write, WorkListLimits::default(), PIECES as usize);
    let before = allocations();
    pieces().for_each(|(local, remote)| builder.push(local, remote));
    let work = builder.finish();
    assert_eq!(allocations() - before, 0);
    assert_eq!(work.entries().len() as u64, PIECES);
}

#[test]
fn posting_allocates_nothing_and_rings_once_a_batch() {
    let net = fake::Net::default();
    let (mut driver, lane) = LaneDriver::new(net.device(|_, _| ()), LaneConfig::default());
    let route = driver.open_route(&lane, RouteConfig::default()).unwrap();
    let addresses = route.addresses().to_vec();
    driver.connect(&route, &addresses, &ConnectOptions::default()).unwrap();
    let mut builder = WorkListBuilder::new(Direction::Write, WorkListLimits::default());
    pieces().for_each(|(local, remote)| builder.push(local, remote));
    let work = Arc::new(builder.finish());
    let transfer = route.submit(&work, TransferOptions::default()).unwrap();
    // The first turn takes the transfer in; that may allocate.
    driver.turn();
    let before = allocations();
    let outcome = driver.run_until(&transfer, None);
    let allocated = allocations() - before;
    assert_eq!(outcome, Ok(Outcome { bytes: PIECES * 4096 }));
    assert_eq!(allocated, 0);
    let counters = lane.counters();
    assert_eq!((counters.work_requests, counters.doorbells), (PIECES, PIECES.div_ceil(32)));
    assert_eq!(net.with(0, |device| device.doorbells), PIECES.div_ceil(32));
}
