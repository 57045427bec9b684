//! A soak of every interface over shared memory: as many transfers as are asked for, of which none may leave anything
//! behind.
//!
//! `KV_SOAK_TRANSFERS` says how many each interface makes; without it there are enough to see a leak of some bytes for
//! each. A million, with what they took and held:
//!
//! ```text
//! KV_SOAK_TRANSFERS=1000000 cargo test -p kv-api --test soak -- --nocapture
//! ```
//! Both sides are in this process, so that what either keeps is counted. The tests take turns: they count the process.
#![allow(unsafe_code)] // registers memory, and looks at it between transfers

mod interfaces;
mod usage;

use std::{
    env,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use usage::Usage;

/// Longest that any transfer may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Transfers of each interface where nobody says how many.
const TRANSFERS: u64 = 20_000;

/// Of all transfers, one in so many comes before the counting, while pools and queues grow to their sizes.
const WARM_UP: u64 = 4;

/// How many bytes may be held more than after the warm-up: what is on its way at one look and not at the other.
const ALLOCATED: i64 = 64 << 10;

/// How much more may be resident: what the system's allocator does not give back at once.
const RESIDENT: i64 = 4 << 20;

/// How long the last transfer's traces may take to go.
const SETTLING: Duration = Duration::from_secs(10);

/// Makes transfers, each with its number, and compares what the process holds.
pub(crate) fn soak(interface: &str, mut transfer: impl FnMut(u64)) {
    let transfers = match env::var("KV_SOAK_TRANSFERS") {
        Ok(text) => text.parse().expect("KV_SOAK_TRANSFERS is a number"),
        Err(_) => TRANSFERS,
    };
    let begun = Instant::now();
    (0..transfers / WARM_UP).for_each(&mut transfer);
    let before = settled(Usage::now());
    (transfers / WARM_UP..transfers).for_each(&mut transfer);
    let took = begun.elapsed();
    let mut after = Usage::now();
    while !after.fits(&before) && begun.elapsed() < took + SETTLING {
        std::thread::sleep(Duration::from_millis(10));
        after = Usage::now();
    }
    println!("{interface}: {transfers} transfers in {took:.1?}; {before}; {after}");
    assert!(after.fits(&before), "{interface}: after the warm-up {before}, at the end {after}");
}

/// What is held once nothing more goes.
fn settled(mut last: Usage) -> Usage {
    loop {
        std::thread::sleep(Duration::from_millis(20));
        let now = Usage::now();
        if now.allocated >= last.allocated {
            return last;
        }
        last = now;
    }
}

/// One test at a time.
pub(crate) fn alone<T>(test: impl FnOnce() -> T) -> T {
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    test()
}
