//! Time that does not pass by itself: events in the order of their time, one generator of random numbers, and a digest of
//! all that has happened. Everything in the world goes through an [`Agenda`].

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

/// Nanoseconds since the world began.
pub(crate) type Nanos = u64;

/// A duration as the world counts it.
pub(crate) const fn nanos(duration: Duration) -> Nanos {
    duration.as_nanos() as Nanos
}

/// What an event is, for the digest.
pub(crate) trait Trace {
    /// Its kind, and whom it concerns.
    fn trace(&self) -> [u64; 3];
}

/// What is to happen, in order. Events of one time keep the order in which they were put down.
#[derive(Debug)]
pub(crate) struct Agenda<E> {
    now: Nanos,
    events: u64,
    serial: u64,
    entries: BinaryHeap<Reverse<Entry<E>>>,
    random: Random,
    digest: u64,
}

#[derive(Debug)]
struct Entry<E> {
    time: Nanos,
    serial: u64,
    event: E,
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time, self.serial).cmp(&(other.time, other.serial))
    }
}

impl<E: Trace> Agenda<E> {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: 0,
            events: 0,
            serial: 0,
            entries: BinaryHeap::new(),
            random: Random(seed),
            digest: OFFSET,
        }
    }

    pub(crate) const fn now(&self) -> Nanos {
        self.now
    }

    /// The time as the protocols take it.
    pub(crate) const fn clock(&self) -> Duration {
        Duration::from_nanos(self.now)
    }

    /// Puts an event down; not before now.
    pub(crate) fn at(&mut self, time: Nanos, event: E) {
        self.serial += 1;
        self.entries.push(Reverse(Entry { time: time.max(self.now), serial: self.serial, event }));
    }

    pub(crate) fn after(&mut self, delay: Nanos, event: E) {
        self.at(self.now + delay, event);
    }

    /// The next event; it is that time then.
    pub(crate) fn next(&mut self) -> Option<E> {
        let Reverse(Entry { time, event, .. }) = self.entries.pop()?;
        self.now = time;
        self.events += 1;
        let [kind, which, other] = event.trace();
        [time, kind, which, other].into_iter().for_each(|value| self.mix(value));
        Some(event)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.random.next() % limit.max(1)
    }

    /// Whether something happens that does so `parts` times in a million.
    pub(crate) fn happens(&mut self, parts: u64) -> bool {
        self.below(1_000_000) < parts
    }

    /// How many events have happened.
    pub(crate) const fn events(&self) -> u64 {
        self.events
    }

    /// Stands for everything that has happened, when, and to whom.
    pub(crate) const fn digest(&self) -> u64 {
        self.digest
    }

    fn mix(&mut self, value: u64) {
        for byte in value.to_le_bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }
}

/// FNV-1a's constants.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x100_0000_01b3;

/// SplitMix64: a counter, mixed.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
