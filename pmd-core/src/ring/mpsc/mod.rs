//! A bounded ring with many producers and one consumer: how application threads hand work to a lane.
//!
//! ```
//! let (sender, mut receiver) = pmd_core::ring::mpsc::channel(64);
//! let other = sender.clone();
//! let thread = std::thread::spawn(move || other.push(1));
//! thread.join().unwrap().unwrap();
//! assert_eq!(receiver.pop(), Some(1));
//! ```
//!
//! # States and orderings
//! Each slot carries a sequence number. For position `p` (free running, slot `p` modulo capacity) it reads
//! - `p`: free, may be claimed for `p`;
//! - `p + 1`: holds the value of position `p`;
//! - `p + capacity`: free again, for the next lap.
//!
//! A sender claims position `p` by moving `tail` from `p` to `p + 1`. That exchange needs no ordering: it only
//! decides who owns the slot; what the slot's owner may touch is decided by the sequence number:
//! - sender to receiver: the value is written, then `p + 1` is stored (release); the receiver loads it (acquire);
//! - receiver to senders: the value is moved out, then `p + capacity` is stored (release); the sender that will
//!   overwrite the slot loads it (acquire).
//!
//! A third edge goes from each sender's drop (release, on the count of senders) to the receiver (acquire): who
//! sees no sender left also sees every value pushed. The receiver's own disconnection carries nothing.
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

/// Makes a ring for at least `capacity` values (rounded up to a power of two, two at the least).
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    // With one slot alone "full at p" and "free for p + 1" would be the same number.
    let shared = Arc::new(Shared::new(capacity.max(2).next_power_of_two()));
    (Sender { shared: shared.clone() }, Receiver { shared, head: 0 })
}

/// An end that pushes; clone it for each thread.
#[derive(Debug)]
pub struct Sender<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Sender<T> {
    /// Appends `value`, or gives it back when the ring is full.
    ///
    /// Values of one sender arrive in the order in which they were pushed.
    #[inline]
    pub fn push(&self, value: T) -> Result<(), Full<T>> {
        let Some((position, slot)) = self.claim() else { return Err(Full(value)) };
        slot.value.with_mut(|cell| {
            // SAFETY: this call alone claimed `position`, and the receiver does not read before the store below.
            unsafe { (*cell).write(value) };
        });
        slot.sequence.store(position.wrapping_add(1), Ordering::Release);
        Ok(())
    }

    /// Makes the next position this call's own.
    #[inline]
    fn claim(&self) -> Option<(usize, &Slot<T>)> {
        let mut position = self.shared.tail.load(Ordering::Relaxed);
        loop {
            let slot = self.shared.slot(position);
            let sequence = slot.sequence.load(Ordering::Acquire);
            if (sequence.wrapping_sub(position) as isize) < 0 {
                return None;
            }
            // A sequence beyond `position` says that another sender has it: then the exchange fails, since
            // `tail` never returns to a value, and tells where the tail is.
            let next = position.wrapping_add(1);
            match self.shared.tail.compare_exchange(position, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some((position, slot)),
                Err(tail) => position = tail,
            }
        }
    }

    /// How many values the ring holds when it is full.
    pub fn capacity(&self) -> usize {
        self.shared.slots.len()
    }

    /// Whether the receiver is gone: nothing that is pushed will be popped.
    pub fn is_disconnected(&self) -> bool {
        self.shared.receiver_gone.load(Ordering::Relaxed)
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        // The new sender is given to its thread by other means, which order this before its first push.
        self.shared.senders.fetch_add(1, Ordering::Relaxed);
        Self { shared: self.shared.clone() }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.senders.fetch_sub(1, Ordering::Release);
    }
}

/// The end that pops.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    /// Values popped so far.
    head: usize,
}

impl<T> Receiver<T> {
    /// Takes the oldest value, if there is one and its sender has finished writing it.
    #[inline]
    pub fn pop(&mut self) -> Option<T> {
        let slot = self.shared.slot(self.head);
        let filled = self.head.wrapping_add(1);
        if slot.sequence.load(Ordering::Acquire) != filled {
            return None;
        }
        let value = slot.value.with_mut(|cell| {
            // SAFETY: the sequence says that the slot holds the value of this position; it is read once.
            unsafe { (*cell).assume_init_read() }
        });
        let free = self.head.wrapping_add(self.shared.slots.len());
        slot.sequence.store(free, Ordering::Release);
        self.head = filled;
        Some(value)
    }

    /// Whether every position that was claimed has been popped. A `pop` that finds nothing says less: a value may be
    /// there behind one whose sender has not finished writing it.
    ///
    /// True for all that was pushed by threads whose pushes happened before this call.
    #[inline]
    pub fn is_drained(&self) -> bool {
        self.shared.tail.load(Ordering::Relaxed) == self.head
    }

    /// Whether all senders are gone. Once this is true, a `pop` that follows and finds nothing is the last.
    pub fn is_disconnected(&self) -> bool {
        self.shared.senders.load(Ordering::Acquire) == 0
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        self.shared.receiver_gone.store(true, Ordering::Relaxed);
    }
}

/// What all ends see.
#[derive(Debug)]
struct Shared<T> {
    /// Positions claimed; moved by the senders.
    tail: CachePadded<AtomicUsize>,
    /// Senders alive.
    senders: CachePadded<AtomicUsize>,
    /// The receiver has been dropped.
    receiver_gone: AtomicBool,
    /// A power of two of slots.
    slots: Box<[Slot<T>]>,
}

#[derive(Debug)]
struct Slot<T> {
    /// Says for which position the slot is free, or of which it holds the value.
    sequence: AtomicUsize,
    /// Initialised while `sequence` is one past the slot's position.
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: values move from a sender's thread to the receiver's (`T: Send`); sequence numbers give each slot to
// one end at a time, by the edges in the module's description.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above; all else that is shared is atomic.
unsafe impl<T: Send> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn new(capacity: usize) -> Self {
        let slot = |position| Slot {
            sequence: AtomicUsize::new(position),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        };
        Self {
            tail: CachePadded::new(AtomicUsize::new(0)),
            senders: CachePadded::new(AtomicUsize::new(1)),
            receiver_gone: AtomicBool::new(false),
            slots: (0..capacity).map(slot).collect(),
        }
    }

    #[inline]
    fn slot(&self, position: usize) -> &Slot<T> {
        &self.slots[position & self.mask()]
    }

    #[inline]
    fn mask(&self) -> usize {
        self.slots.len() - 1
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // All ends are gone, and the reference count has ordered what they did before this.
        let mask = self.mask();
        for (index, slot) in self.slots.iter().enumerate() {
            // Modulo the capacity a free slot reads its own index, a filled one the index after it.
            if slot.sequence.load(Ordering::Relaxed) & mask == index {
                continue;
            }
            slot.value.with_mut(|cell| {
                // SAFETY: the slot holds a value that nobody has taken.
                unsafe { (*cell).assume_init_drop() };
            });
        }
    }
}
