//! The cache against a registrar that counts.

use std::sync::atomic::{AtomicUsize, Ordering};

use pmd_core::memory::MemoryKind;

use super::*;

/// Registers anything below 1 << 40 and keeps count of live registrations.
#[derive(Default)]
struct Counting {
    live: Arc<AtomicUsize>,
}

struct Live(Arc<AtomicUsize>);

impl Drop for Live {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug, PartialEq, Eq, Error)]
#[error("unmapped")]
struct Unmapped;

impl Registrar for Counting {
    type Region = Live;
    type Error = Unmapped;

    unsafe fn register(&self, memory: &RegionDescription, _: Access) -> Result<Live, Unmapped> {
        if memory.address >= 1 << 40 {
            return Err(Unmapped);
        }
        self.live.fetch_add(1, Ordering::SeqCst);
        Ok(Live(Arc::clone(&self.live)))
    }
}

fn cache(ranges: usize, bytes: u64) -> (RegistrationCache<Counting>, Arc<AtomicUsize>) {
    let registrar = Counting::default();
    let live = Arc::clone(&registrar.live);
    (RegistrationCache::new(registrar, CacheLimits { ranges, bytes }), live)
}

fn host(address: u64, length: u64) -> RegionDescription {
    RegionDescription { address, length, kind: MemoryKind::Host, descriptor: None }
}

fn acquire(
    cache: &RegistrationCache<Counting>,
    memory: &RegionDescription,
    access: Access,
) -> Result<Cached<Live>, CacheError<Unmapped>> {
    // SAFETY: the registrar of these tests never touches the memory.
    unsafe { cache.acquire(memory, access) }
}

const READ: Access = Access::REMOTE_READ;

#[test]
fn the_same_memory_is_registered_once() {
    let (cache, live) = cache(8, 1 << 30);
    let first = acquire(&cache, &host(0x1000, 0x1000), Access::READ_WRITE).unwrap();
    let inside = acquire(&cache, &host(0x1800, 0x100), READ).unwrap();
    assert_eq!((inside.address(), inside.length()), (first.address(), first.length()));
    drop((first, inside));
    acquire(&cache, &host(0x1000, 0x1000), READ).unwrap();
    assert_eq!(live.load(Ordering::SeqCst), 1);
    let counters = cache.counters();
    assert_eq!((counters.hits, counters.misses), (2, 1));
}

#[test]
fn more_access_registers_again_with_the_rights_of_both() {
    let (cache, live) = cache(8, 1 << 30);
    drop(acquire(&cache, &host(0x1000, 0x1000), READ).unwrap());
    let wider = acquire(&cache, &host(0x1000, 0x100), Access::LOCAL_WRITE).unwrap();
    assert_eq!(wider.access(), READ | Access::LOCAL_WRITE);
    assert_eq!(wider.length(), 0x1000, "the larger range is kept");
    assert_eq!(live.load(Ordering::SeqCst), 1);
}

#[test]
fn overlapping_ranges_merge_and_users_keep_what_they_have() {
    let (cache, live) = cache(8, 1 << 30);
    let low = acquire(&cache, &host(0x1000, 0x1000), READ).unwrap();
    let high = acquire(&cache, &host(0x3000, 0x1000), READ).unwrap();
    let bridge = acquire(&cache, &host(0x1800, 0x2000), READ).unwrap();
    assert_eq!((bridge.address(), bridge.length()), (0x1000, 0x3000));
    assert_eq!(live.load(Ordering::SeqCst), 3, "low and high are in use");
    assert_eq!((low.address(), high.address()), (0x1000, 0x3000));
    drop((low, high));
    assert_eq!(live.load(Ordering::SeqCst), 1);
    assert_eq!(cache.counters().merged, 2);
}

#[test]
fn neighbours_that_only_touch_stay_apart() {
    let (cache, live) = cache(8, 1 << 30);
    drop(acquire(&cache, &host(0x1000, 0x1000), READ).unwrap());
    let next = acquire(&cache, &host(0x2000, 0x1000), READ).unwrap();
    assert_eq!((next.address(), next.length()), (0x2000, 0x1000));
    assert_eq!(live.load(Ordering::SeqCst), 2);
}

#[test]
fn described_memory_is_never_merged() {
    let (cache, _live) = cache(8, 1 << 30);
    drop(acquire(&cache, &host(0x1000, 0x1000), READ).unwrap());
    let device = RegionDescription {
        address: 0x1800,
        length: 0x1000,
        kind: MemoryKind::Device,
        descriptor: Some((5, 0)),
    };
    let cached = acquire(&cache, &device, READ).unwrap();
    assert_eq!((cached.address(), cached.length()), (0x1800, 0x1000));
}

#[test]
fn the_least_recently_used_goes_first_and_what_is_in_use_stays() {
    let (cache, live) = cache(2, 1 << 30);
    let pinned = acquire(&cache, &host(0x10_000, 0x1000), READ).unwrap();
    for page in [0x20_000, 0x30_000, 0x20_000, 0x40_000] {
        drop(acquire(&cache, &host(page, 0x1000), READ).unwrap());
    }
    // The range just acquired is in use while eviction runs: one unused range more may be kept until the next call.
    drop(acquire(&cache, &host(0x50_000, 0x1000), READ).unwrap());
    assert_eq!(cache.counters().evicted, 1);
    let before = cache.counters().misses;
    drop(acquire(&cache, &host(0x20_000, 0x1000), READ).unwrap());
    drop(acquire(&cache, &pinned_range(&pinned), READ).unwrap());
    assert_eq!(cache.counters().misses, before, "0x20000 was used after 0x30000 and is still there");
    assert_eq!(live.load(Ordering::SeqCst), 4);
}

fn pinned_range<R>(cached: &Cached<R>) -> RegionDescription {
    host(cached.address(), cached.length())
}

#[test]
fn bytes_are_bounded_too() {
    let (cache, live) = cache(100, 0x2000);
    for page in 1..=10 {
        drop(acquire(&cache, &host(page * 0x10_000, 0x1000), READ).unwrap());
    }
    assert!(live.load(Ordering::SeqCst) <= 3, "{} ranges of 4 KiB live", live.load(Ordering::SeqCst));
}

#[test]
fn invalidated_memory_is_registered_anew() {
    let (cache, live) = cache(8, 1 << 30);
    let held = acquire(&cache, &host(0x1000, 0x1000), READ).unwrap();
    drop(acquire(&cache, &host(0x8000, 0x1000), READ).unwrap());
    assert_eq!(cache.invalidate(0x1fff, 1), 1);
    assert_eq!(cache.invalidate(0x1000, 0x1000), 0);
    assert_eq!(cache.invalidate(0x8000, 1), 1);
    assert_eq!(live.load(Ordering::SeqCst), 1, "only the one in use is left");
    let again = acquire(&cache, &host(0x1000, 0x1000), READ).unwrap();
    assert_eq!(live.load(Ordering::SeqCst), 2);
    drop((held, again));
    assert_eq!(live.load(Ordering::SeqCst), 1);
    assert_eq!(cache.counters().invalidated, 2);
}

#[test]
fn impossible_ranges_and_refusals_are_errors() {
    let (cache, live) = cache(8, 1 << 30);
    let range = |address, length| CacheError::Range { address, length };
    assert_eq!(acquire(&cache, &host(0x1000, 0), READ).unwrap_err(), range(0x1000, 0));
    assert_eq!(acquire(&cache, &host(u64::MAX, 2), READ).unwrap_err(), range(u64::MAX, 2));
    assert_eq!(acquire(&cache, &host(1 << 40, 1), READ).unwrap_err(), CacheError::Register(Unmapped));
    assert_eq!(live.load(Ordering::SeqCst), 0);
}

#[test]
fn threads_share_one_registration() {
    let (cache, live) = cache(8, 1 << 30);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    assert_eq!(acquire(&cache, &host(0x1000, 64), READ).unwrap().address(), 0x1000);
                }
            });
        }
    });
    assert_eq!(cache.counters().hits, 1999);
    assert_eq!((live.load(Ordering::SeqCst), cache.counters().misses), (1, 1));
}

proptest::proptest! {
    /// Whatever is asked for and forgotten: every answer covers the question, and live ranges of the map are disjoint.
    #[test]
    fn answers_cover_questions(
        steps in proptest::collection::vec((0_u64..64, 1_u64..16, 0_u32..16, proptest::bool::weighted(0.2)), 1..60),
    ) {
        let (cache, live) = cache(4, 40);
        let mut held = Vec::new();
        for (address, length, access, forget) in steps {
            if forget {
                cache.invalidate(address, length);
                held.clear();
                continue;
            }
            let access = Access::from_bits_truncate(access);
            let cached = acquire(&cache, &host(address, length), access).unwrap();
            proptest::prop_assert!(cached.address() <= address);
            proptest::prop_assert!(cached.address() + cached.length() >= address + length);
            proptest::prop_assert!(cached.access().contains(access));
            held.push(cached);
        }
        let state = cache.state();
        let spans: Vec<(u64, u64)> = state.ranges.values().map(|entry| (entry.cached.0.start, entry.cached.0.end)).collect();
        proptest::prop_assert!(spans.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{:?}", spans);
        drop(state);
        drop((cache, held));
        proptest::prop_assert_eq!(live.load(Ordering::SeqCst), 0);
    }
}
