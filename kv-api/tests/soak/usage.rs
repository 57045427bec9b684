//! What this process holds.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    fmt, fs,
};

use pmd_core::sync::{AtomicU64, Ordering};

use super::{ALLOCATED, RESIDENT};

/// Bytes that are allocated now.
static HELD: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct Counting;

// SAFETY: the system's allocator does the work; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: passed on to the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: passed on to the caller.
        unsafe { System.dealloc(memory, layout) }
    }
}

/// What is held at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    /// Bytes of allocations.
    pub(crate) allocated: i64,
    /// Bytes of memory that is resident.
    resident: i64,
    /// Open descriptors.
    descriptors: usize,
    /// Threads.
    threads: usize,
}

impl Usage {
    /// What is held now.
    pub(crate) fn now() -> Self {
        let count = |path| fs::read_dir(path).expect("proc is mounted").count();
        let status = fs::read_to_string("/proc/self/status").expect("proc is mounted");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = resident.and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok());
        Self {
            resident: kibibytes.expect("the kernel tells it") << 10,
            descriptors: count("/proc/self/fd"),
            threads: count("/proc/self/task"),
            allocated: HELD.load(Ordering::Relaxed) as i64,
        }
    }

    /// Whether it is no more than before.
    pub(crate) fn fits(&self, before: &Self) -> bool {
        self.allocated <= before.allocated + ALLOCATED
            && self.resident <= before.resident + RESIDENT
            && self.descriptors <= before.descriptors
            && self.threads <= before.threads
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { allocated, resident, descriptors, threads } = self;
        let (allocated, resident) = (allocated >> 10, resident >> 10);
        write!(
            formatter,
            "{allocated} KiB allocated, {resident} KiB resident, {descriptors} descriptors, {threads} threads"
        )
    }
}
