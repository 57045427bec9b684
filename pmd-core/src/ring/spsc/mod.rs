//! A bounded ring between two threads: one produces, one consumes.
//!
//! A lane's own queues (deferred work, answers to one application thread) are of this kind.
//!
//! ```
//! let (mut producer, mut consumer) = pmd_core::ring::spsc::channel(2);
//! producer.push("first").unwrap();
//! producer.push("second").unwrap();
//! assert_eq!(producer.push("third").unwrap_err().0, "third");
//! assert_eq!(consumer.pop(), Some("first"));
//! ```
//!
//! # States and orderings
//! `tail` counts the values pushed and `head` the values popped, both free running; the slots from `head` to
//! `tail` hold values and belong to the consumer, the others belong to the producer. Two edges hand a slot over:
//! - producer to consumer: the value is written, then `tail` is stored (release); the consumer loads `tail`
//!   (acquire), then reads the value;
//! - consumer to producer: the value is moved out, then `head` is stored (release); the producer loads `head`
//!   (acquire), then overwrites the slot.
//!
//! Each end keeps its own index and the last seen opposite one in private, so that the opposite cache line is
//! read only when the ring looks full (or empty). A third edge, `disconnected`, goes from the producer's drop
//! (release) to the consumer (acquire): who sees the disconnection also sees the last value pushed. In the other
//! direction the flag carries nothing, hence needs no ordering.
#![allow(unsafe_code)] // slots are written and read through cells, by index

#[cfg(all(loom, test))]
mod model;
#[cfg(all(test, not(loom)))]
mod tests;

use alloc::boxed::Box;
use core::mem::MaybeUninit;

use crossbeam_utils::CachePadded;

pub use super::Full;
use crate::sync::{Arc, AtomicBool, AtomicUsize, Ordering, UnsafeCell};

/// Makes a ring for at least `capacity` values (rounded up to a power of two).
pub fn channel<T>(capacity: usize) -> (Producer<T>, Consumer<T>) {
    let shared = Arc::new(Shared::new(capacity.max(1).next_power_of_two()));
    let producer = Producer { shared: shared.clone(), tail: 0, head_seen: 0 };
    (producer, Consumer { shared, head: 0, tail_seen: 0 })
}

/// The end that pushes.
#[derive(Debug)]
pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    /// Values pushed so far; `shared.tail` follows it.
    tail: usize,
    /// The last value read from `shared.head`.
    head_seen: usize,
}

impl<T> Producer<T> {
    /// Appends `value`, or gives it back when the ring is full.
    #[inline]
    pub fn push(&mut self, value: T) -> Result<(), Full<T>> {
        if self.is_full() {
            return Err(Full(value));
        }
        self.shared.slot(self.tail).with_mut(|slot| {
            // SAFETY: the slot at `tail` is free (`is_full` saw the consumer past it) and only this end writes.
            unsafe { (*slot).write(value) };
        });
        self.tail = self.tail.wrapping_add(1);
        self.shared.tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    /// Whether a push would be refused now.
    #[inline]
    pub fn is_full(&mut self) -> bool {
        if self.tail.wrapping_sub(self.head_seen) < self.capacity() {
            return false;
        }
        self.head_seen = self.shared.head.load(Ordering::Acquire);
        self.tail.wrapping_sub(self.head_seen) == self.capacity()
    }

    /// How many values the ring holds when it is full.
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }

    /// Whether the consumer is gone: nothing that is pushed will be popped.
    pub fn is_disconnected(&self) -> bool {
        self.shared.disconnected.load(Ordering::Relaxed)
    }
}

impl<T> Drop for Producer<T> {
    fn drop(&mut self) {
        self.shared.disconnected.store(true, Ordering::Release);
    }
}

/// The end that pops.
#[derive(Debug)]
pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    /// Values popped so far; `shared.head` follows it.
    head: usize,
    /// The last value read from `shared.tail`.
    tail_seen: usize,
}

impl<T> Consumer<T> {
    /// Takes the oldest value, if there is one.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        if self.is_empty() {
            return None;
        }
        let value = self.shared.slot(self.head).with_mut(|slot| {
            // SAFETY: `is_empty` saw the producer past `head`, so the slot holds a value; it is read once.
            unsafe { (*slot).assume_init_read() }
        });
        self.head = self.head.wrapping_add(1);
        self.shared.head.store(self.head, Ordering::Release);
        Some(value)
    }

    /// Whether there is nothing to pop now.
    #[inline]
    pub fn is_empty(&mut self) -> bool {
        if self.head != self.tail_seen {
            return false;
        }
        self.tail_seen = self.shared.tail.load(Ordering::Acquire);
        self.head == self.tail_seen
    }

    /// Whether the producer is gone. Once this is true, a `pop` that follows and finds nothing is the last.
    pub fn is_disconnected(&self) -> bool {
        self.shared.disconnected.load(Ordering::Acquire)
    }
}

impl<T> Drop for Consumer<T> {
    fn drop(&mut self) {
        self.shared.disconnected.store(true, Ordering::Relaxed);
    }
}

/// What both ends see.
#[derive(Debug)]
struct Shared<T> {
    /// Values popped; written by the consumer.
    head: CachePadded<AtomicUsize>,
    /// Values pushed; written by the producer.
    tail: CachePadded<AtomicUsize>,
    /// One of the ends is gone.
    disconnected: AtomicBool,
    /// A power of two of slots; those from `head` to `tail` are initialised.
    slots: Box<[UnsafeCell<MaybeUninit<T>>]>,
}

// SAFETY: values move from the producer's thread to the consumer's (`T: Send`); the two ends never touch the
// same slot at once, by the edges in the module's description.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above; all else that is shared is atomic.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn new(capacity: usize) -> Self {
        Self {
            head: CachePadded::new(AtomicUsize::new(0)),
            tail: CachePadded::new(AtomicUsize::new(0)),
            disconnected: AtomicBool::new(false),
            slots: (0..capacity).map(|_| UnsafeCell::new(MaybeUninit::uninit())).collect(),
        }
    }

    #[inline]
    fn slot(&self, position: usize) -> &UnsafeCell<MaybeUninit<T>> {
        &self.slots[position & (self.slots.len() - 1)]
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // Both ends are gone, and the reference count has ordered what they did before this.
        let mut head = self.head.load(Ordering::Relaxed);
        let tail = self.tail.load(Ordering::Relaxed);
        while head != tail {
            self.slot(head).with_mut(|slot| {
                // SAFETY: slots from `head` to `tail` hold values that nobody has taken.
                unsafe { (*slot).assume_init_drop() };
            });
            head = head.wrapping_add(1);
        }
    }
}
