//! Faults on purpose, inside of this crate's code: the sanitiser suites fail unless their sanitiser reports them. They
//! show that the crate itself is instrumented, not only the tests.
//!
//! Without `PMD_PLANTED` in the environment they do nothing, since what they do is undefined.

#![allow(unsafe_code)] // breaks the promises that unsafe functions ask for

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ptr::NonNull,
    thread,
};

use pmd_core::ring::packet::{ConsumedLine, LINE_BYTES, Line, Producer};

/// Lines of the ring.
const LINES: usize = 8;

/// Memory of a ring of [`LINES`] lines and of its consumed line.
struct Memory(NonNull<u8>);

impl Memory {
    fn layout() -> Layout {
        Layout::from_size_align((LINES + 1) * LINE_BYTES, LINE_BYTES).expect("a small size")
    }

    fn new() -> Self {
        // SAFETY: the size is not zero.
        Self(NonNull::new(unsafe { alloc_zeroed(Self::layout()) }).expect("memory"))
    }

    /// A producer that believes in `lines` lines.
    fn producer(&self, lines: usize) -> Producer {
        let consumed = self.0.cast::<ConsumedLine>();
        // SAFETY: the first line is the consumed one, the lines behind it are the ring's. What else `attach` asks for,
        // the tests break.
        unsafe { Producer::attach(consumed.cast::<Line>().add(1), lines, consumed) }.expect("a power of two")
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout.
        unsafe { dealloc(self.0.as_ptr(), Self::layout()) }
    }
}

fn is_wanted() -> bool {
    std::env::var_os("PMD_PLANTED").is_some()
}

#[test]
#[ignore = "undefined on purpose: run by the suite tsan"]
fn two_producers_of_one_ring_race() {
    if !is_wanted() {
        return;
    }
    let memory = Memory::new();
    let producers = [memory.producer(LINES), memory.producer(LINES)];
    thread::scope(|scope| {
        for mut producer in producers {
            scope.spawn(move || while producer.push(&[1; 40]).is_ok() {});
        }
    });
}

#[test]
#[ignore = "undefined on purpose: run by the suite asan"]
fn a_ring_that_is_longer_than_its_memory_overflows() {
    if !is_wanted() {
        return;
    }
    let memory = Memory::new();
    let mut producer = memory.producer(4 * LINES);
    while producer.push(&[1; 40]).is_ok() {}
}

#[test]
#[ignore = "a leak on purpose: run by the suite asan"]
fn a_ring_that_is_forgotten_leaks() {
    if is_wanted() {
        std::mem::forget(pmd_core::ring::packet::ring(LINES));
    }
}
