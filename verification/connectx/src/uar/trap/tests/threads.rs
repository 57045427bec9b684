//! Several threads store at once.

use std::thread;

use super::{Heard, Registers};

#[test]
fn each_thread_sees_its_own_stores_in_order() {
    const STORES: u64 = 500;
    let store = || {
        let page = Registers::map();
        for value in 0..STORES {
            // SAFETY: trapped stores to a page of this thread.
            unsafe { page.at(0x800 + value as usize % 8 * 0x100).cast::<u64>().write_volatile(value << 32) };
        }
        let expected = (0..STORES).map(|value| Heard {
            offset: 0x800 + value as usize % 8 * 0x100,
            bytes: (value << 32).to_le_bytes().to_vec(),
        });
        assert_eq!(page.heard(), expected.collect::<Vec<_>>());
    };
    thread::scope(|scope| (0..6).for_each(|_| drop(scope.spawn(store))));
}

#[test]
fn a_page_that_two_threads_share_loses_no_store() {
    let page = Registers::map();
    let store = |value: u64| {
        // SAFETY: trapped stores, which the sink takes one at a time.
        (0..300).for_each(|_| unsafe { page.at(0x20).cast::<u64>().write_volatile(value) });
    };
    thread::scope(|scope| (1..=3).for_each(|value| drop(scope.spawn(move || store(value)))));
    let heard = page.heard();
    let of = |value: u64| heard.iter().filter(|heard| heard.bytes == value.to_le_bytes()).count();
    assert_eq!((of(1), of(2), of(3), heard.len()), (300, 300, 300, 900));
}
