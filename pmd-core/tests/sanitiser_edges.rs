//! What std's locks hand from a thread to one that waited for it is no race. Nothing of this crate is tested: these
//! tests fail under the thread sanitiser where it does not see what happens inside of std, so that what the suite
//! `tsan` says of other tests would be chance.
//!
//! A sleep makes it likely that the other thread waits; where it does not, the test passes and shows less.

#![allow(unsafe_code)] // memory that nothing but the edge hands over

use std::{
    cell::UnsafeCell,
    sync::{Arc, Condvar, Mutex, OnceLock, RwLock},
    thread,
    time::Duration,
};

/// Long enough for another thread to begin to wait.
const HEAD_START: Duration = Duration::from_millis(100);

/// Long enough for a wait never to end by time.
const LONG: Duration = Duration::from_secs(60);

/// A number that is plain memory.
struct Plain(UnsafeCell<u32>);

// SAFETY: each test reads it only behind the edge that it is about.
unsafe impl Sync for Plain {}

impl Plain {
    fn new() -> Self {
        Self(UnsafeCell::new(0))
    }

    fn put(&self, value: u32) {
        // SAFETY: nobody else reaches it before the edge.
        unsafe { *self.0.get() = value }
    }

    fn get(&self) -> u32 {
        // SAFETY: who wrote it is behind the edge.
        unsafe { *self.0.get() }
    }
}

#[test]
fn a_mutex_hands_over_what_its_owner_wrote() {
    let shared = Arc::new((Mutex::new(()), Plain::new()));
    let held = shared.0.lock().expect("no panic");
    let there = shared.clone();
    let waiting = thread::spawn(move || {
        let _held = there.0.lock().expect("no panic");
        there.1.get()
    });
    thread::sleep(HEAD_START);
    shared.1.put(7);
    drop(held);
    assert_eq!(waiting.join().expect("no panic"), 7);
}

#[test]
fn a_lock_hands_what_its_writer_wrote_to_a_reader() {
    let shared = Arc::new((RwLock::new(()), Plain::new()));
    let held = shared.0.write().expect("no panic");
    let there = shared.clone();
    let waiting = thread::spawn(move || {
        let _held = there.0.read().expect("no panic");
        there.1.get()
    });
    thread::sleep(HEAD_START);
    shared.1.put(7);
    drop(held);
    assert_eq!(waiting.join().expect("no panic"), 7);
}

#[test]
fn a_lock_lets_a_writer_write_what_its_reader_has_read() {
    let shared = Arc::new((RwLock::new(()), Plain::new()));
    let held = shared.0.read().expect("no panic");
    let there = shared.clone();
    let waiting = thread::spawn(move || {
        let _held = there.0.write().expect("no panic");
        there.1.put(7);
    });
    thread::sleep(HEAD_START);
    assert_eq!(shared.1.get(), 0);
    drop(held);
    waiting.join().expect("no panic");
    assert_eq!(shared.1.get(), 7);
}

/// Two turns under one mutex: the waiting thread writes, the other reads that and writes its own.
fn turns(wait: impl FnOnce(&(Mutex<u32>, Condvar, Plain)) + Send + 'static) {
    let shared = Arc::new((Mutex::new(0), Condvar::new(), Plain::new()));
    let there = shared.clone();
    let waiting = thread::spawn(move || {
        wait(&there);
        there.2.get()
    });
    thread::sleep(HEAD_START);
    let mut turn = shared.0.lock().expect("no panic");
    if *turn == 1 {
        assert_eq!(shared.2.get(), 3);
    }
    shared.2.put(7);
    *turn = 2;
    drop(turn);
    shared.1.notify_one();
    assert_eq!(waiting.join().expect("no panic"), 7);
}

#[test]
fn a_condition_variable_hands_over_both_ways() {
    turns(|(turn, changed, plain)| {
        let mut turn = turn.lock().expect("no panic");
        if *turn == 0 {
            plain.put(3);
            *turn = 1;
        }
        while *turn != 2 {
            turn = changed.wait(turn).expect("no panic");
        }
    });
}

#[test]
fn a_condition_variable_hands_over_both_ways_for_a_time() {
    turns(|(turn, changed, plain)| {
        let mut turn = turn.lock().expect("no panic");
        if *turn == 0 {
            plain.put(3);
            *turn = 1;
        }
        while *turn != 2 {
            turn = changed.wait_timeout(turn, LONG).expect("no panic").0;
        }
    });
}

#[test]
fn what_is_made_once_is_handed_to_who_waits_and_to_who_looks() {
    let shared = Arc::new(OnceLock::new());
    let (waits, looks) = (shared.clone(), shared.clone());
    let waiting = thread::spawn(move || {
        thread::sleep(HEAD_START / 2);
        waits.get_or_init(Plain::new).get()
    });
    let looking = thread::spawn(move || {
        loop {
            match looks.get() {
                Some(plain) => return plain.get(),
                None => thread::yield_now(),
            }
        }
    });
    let made = shared.get_or_init(|| {
        thread::sleep(HEAD_START);
        let plain = Plain::new();
        plain.put(7);
        plain
    });
    let made = made.get();
    assert_eq!(waiting.join().expect("no panic"), made);
    assert_eq!(looking.join().expect("no panic"), made);
}

#[test]
fn a_scope_ends_after_what_its_threads_wrote() {
    let plain = Plain::new();
    let reached = &plain;
    thread::scope(|scope| {
        // Not joined by name: the scope's own end is what orders it.
        let _ = scope.spawn(move || {
            thread::sleep(HEAD_START);
            reached.put(7);
        });
    });
    assert_eq!(plain.get(), 7);
}
