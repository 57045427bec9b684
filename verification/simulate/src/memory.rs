//! What a peer costs in memory: what the driver's structures hold, counted as they allocate, and what its queues take,
//! computed from its own constants.
#![allow(unsafe_code)] // a global allocator is unsafe to implement

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use pmd_host::{
    control::sizes,
    endpoint::EndpointConfig,
    lane::{MINIMUM_RECEIVES, RouteConfig},
    rail::NOTICE_BYTES,
};

thread_local! {
    /// Bytes that this thread has allocated and not given back.
    static HELD: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: i64) {
    // A thread that ends counts no more.
    let _ = HELD.try_with(|held| held.set(held.get() + bytes));
}

// SAFETY: passes everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64);
        // SAFETY: the caller's promise is the one that System asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as i64));
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Does something, and adds to `total` what is allocated by it and stays.
pub(crate) fn counted<T>(total: &mut i64, work: impl FnOnce() -> T) -> T {
    let before = HELD.with(Cell::get);
    let result = work();
    *total += HELD.with(Cell::get) - before;
    result
}

/// Bytes of host memory that one peer takes at one end, by what takes them. Of an endpoint as it is configured by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerMemory {
    /// Queues of the route's queue pairs, and their completion entries.
    pub queues: u64,
    /// Registered memory for the route's messages.
    pub messages: u64,
    /// Queues of one rail, and registered memory for its notifications and probes.
    pub rail: u64,
    /// What the control connection keeps to read into.
    pub control: u64,
}

impl PeerMemory {
    /// From the defaults of [`EndpointConfig`].
    #[must_use]
    pub fn of_defaults() -> Self {
        let endpoint = EndpointConfig::default();
        let queue_pairs = endpoint.queue_pairs as u64;
        let queues = queue_pairs * endpoint.queue_pair.queue_bytes();
        let messages = RouteConfig::message_memory(endpoint.message_receives, endpoint.message_bytes);
        let notices = RouteConfig::message_memory(MINIMUM_RECEIVES, endpoint.message_bytes + NOTICE_BYTES);
        Self {
            queues,
            messages: messages.unwrap_or(0) as u64,
            rail: queues + notices.unwrap_or(0) as u64,
            control: sizes::READ_BUFFER as u64,
        }
    }

    /// With so many rails.
    #[must_use]
    pub const fn total(&self, rails: u64) -> u64 {
        self.queues + self.messages + rails * self.rail + self.control
    }
}
