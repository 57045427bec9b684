//! Real threads on the structures whose interleavings loom checks: revoking and parking. (The rings and the slot have
//! such tests beside them.) Also run under the thread sanitiser, which sees the orderings of the machine code, and
//! under the address sanitiser.

#![allow(unsafe_code)] // memory that the structures hand from thread to thread

use std::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use pmd_core::ring::{
    mpsc,
    parking::{Parking, Published},
    quiesce::{Activity, KeyCell},
};

/// Longest that anything may take.
const DEADLINE: Duration = Duration::from_secs(60);

const ENGINES: usize = 2;
const GENERATIONS: u32 = 300;

/// A region and the engines that may reach it.
struct Host {
    key: KeyCell,
    activities: [Activity; ENGINES],
    /// The region's entry in its table: plain memory, written before the grant.
    entry: UnsafeCell<u32>,
    /// What the engines write while the key is valid, each its own part: plain memory.
    parts: [UnsafeCell<[u32; 16]>; ENGINES],
    /// The key that engines try.
    offered: AtomicU32,
    moved: [AtomicUsize; ENGINES],
    ended: AtomicBool,
}

// SAFETY: what the test shows: key and activities order all accesses to entry and parts.
unsafe impl Sync for Host {}

impl Host {
    fn new() -> Self {
        Self {
            key: KeyCell::new(),
            activities: [Activity::new(), Activity::new()],
            entry: UnsafeCell::new(0),
            parts: [UnsafeCell::new([0; 16]), UnsafeCell::new([0; 16])],
            offered: AtomicU32::new(0),
            moved: [AtomicUsize::new(0), AtomicUsize::new(0)],
            ended: AtomicBool::new(false),
        }
    }

    /// Moves bytes whenever the key is good.
    fn engine(&self, number: usize) {
        while !self.ended.load(Ordering::Relaxed) {
            let key = self.offered.load(Ordering::Relaxed);
            let round = self.activities[number].enter();
            if self.key.validate(&round, key) {
                // SAFETY: validated, and within the round.
                assert_eq!(unsafe { *self.entry.get() }, key, "the entry that the key stands for");
                // SAFETY: as above; the other engine has a part of its own.
                unsafe { &mut *self.parts[number].get() }.fill(key);
                self.moved[number].fetch_add(1, Ordering::Relaxed);
            }
            drop(round);
            thread::yield_now();
        }
    }

    /// Registers the memory under a key, waits until each engine has used it, and takes the memory back.
    fn generation(&self, key: u32) {
        // SAFETY: no engine has a valid key: the one before is revoked, and all have been quiet.
        unsafe { *self.entry.get() = key };
        let before = self.moved.each_ref().map(|moved| moved.load(Ordering::Relaxed));
        self.key.grant(key);
        self.offered.store(key, Ordering::Relaxed);
        let start = Instant::now();
        while (0..ENGINES).any(|number| self.moved[number].load(Ordering::Relaxed) == before[number]) {
            assert!(start.elapsed() < DEADLINE, "an engine does not use key {key}");
            thread::yield_now();
        }
        let revoked = self.key.revoke();
        let snapshots = self.activities.each_ref().map(|activity| activity.snapshot(&revoked));
        for (snapshot, activity) in snapshots.iter().zip(&self.activities) {
            while !snapshot.is_quiet(activity) {
                assert!(start.elapsed() < DEADLINE, "an engine does not end its round");
                thread::yield_now();
            }
        }
        for part in &self.parts {
            // SAFETY: quiet: no engine reaches the region any more.
            let part = unsafe { &mut *part.get() };
            assert_eq!(*part, [key; 16]);
            part.fill(0);
        }
    }
}

#[test]
fn revoked_memory_is_its_owners_again() {
    let host = Host::new();
    thread::scope(|scope| {
        for number in 0..ENGINES {
            let host = &host;
            scope.spawn(move || host.engine(number));
        }
        (1..=GENERATIONS).for_each(|key| host.generation(key));
        host.ended.store(true, Ordering::Relaxed);
    });
    for part in host.parts {
        assert_eq!(part.into_inner(), [0; 16], "written after the last revoke");
    }
}

const PUBLISHERS: u32 = 3;
const VALUES: u32 = 3000;

/// Pushes values, wakes the consumer where it has to, and gives those that came after the consumer's end.
fn publish(first: u32, sender: &mpsc::Sender<u32>, parking: &Parking, consumer: &thread::Thread) -> Vec<u32> {
    let mut late = Vec::new();
    for value in first..first + VALUES {
        let start = Instant::now();
        while sender.push(value).is_err() {
            assert!(start.elapsed() < DEADLINE, "the ring stays full");
            // Full: the consumer has work, and may sleep through it only if nobody tells.
            if parking.published() == Published::Wake {
                consumer.unpark();
            }
            thread::yield_now();
        }
        match parking.published() {
            Published::Seen => {}
            Published::Wake => consumer.unpark(),
            Published::Ended => late.push(value),
        }
        if value % 64 == 0 {
            // Lets the consumer run dry and sleep.
            thread::yield_now();
        }
    }
    late
}

/// Takes values until `wanted` have come; sleeps whenever there is none.
fn consume(receiver: &mut mpsc::Receiver<u32>, parking: &Parking, wanted: usize) -> Vec<u32> {
    let mut values = Vec::new();
    while values.len() < wanted {
        if let Some(value) = receiver.pop() {
            values.push(value);
            continue;
        }
        parking.announce();
        match receiver.pop() {
            Some(value) => values.push(value),
            None => {
                let start = Instant::now();
                thread::park_timeout(DEADLINE);
                assert!(start.elapsed() < DEADLINE, "nobody woke the consumer");
            }
        }
        parking.resume();
    }
    values
}

#[test]
fn a_sleeping_consumer_misses_nothing_and_its_end_is_told() {
    let parking = Arc::new(Parking::new());
    let (sender, mut receiver) = mpsc::channel(1 << 14);
    let consumer = thread::current();
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|number| {
            let (sender, parking, consumer) = (sender.clone(), parking.clone(), consumer.clone());
            thread::spawn(move || publish(number * VALUES, &sender, &parking, &consumer))
        })
        .collect();
    // It goes before everything has been published.
    let total = (PUBLISHERS * VALUES) as usize;
    let mut values = consume(&mut receiver, &parking, total / 2);
    parking.end();
    values.extend(std::iter::from_fn(|| receiver.pop()));
    let late: Vec<u32> = publishers.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    // Values whose publisher was told may have been taken as well; but none is lost.
    let mut known: Vec<u32> = values.iter().chain(&late).copied().collect();
    known.sort_unstable();
    known.dedup();
    assert_eq!(known, (0..PUBLISHERS * VALUES).collect::<Vec<_>>());
    for number in 0..PUBLISHERS {
        let own = values.iter().filter(|value| **value / VALUES == number);
        assert!(own.is_sorted(), "publisher {number}'s values came in another order");
    }
    assert_eq!(parking.published(), Published::Ended);
}
