//! Named barriers and device stores: the order in which driver and device see each other's writes.
//!
//! The queue pair's one doorbell function ([`crate::queue`]) calls these in the order WQEs, [`to_device`],
//! doorbell record, [`write_combining_start`], [`store_doorbell`] or [`copy_blue_flame`],
//! [`flush_writes`]; the completion queue calls [`from_device`] between the ownership byte and the rest of an
//! entry, and [`before_release`] before it gives entries back. There are no other fences on device paths. Names
//! and uses follow rdma-core `util/udma_barrier.h`.
//!
//! x86_64 and aarch64 are supported. On x86_64 ordinary stores reach the device in program order, so that
//! `to_device` only holds the compiler back; write-combining stores do not, so that the other two are `sfence`.

//!
//! Under loom each barrier is the fence that a thread which stands for the device pairs with, and records and doorbells
//! are atomics without an ordering: the models of [`crate::queue`] run against these.

#![allow(unsafe_code)] // Barriers are instructions, and device registers are raw addresses.

use core::arch::asm;

#[cfg(loom)]
use crate::sync::{AtomicU32, AtomicU64, Ordering, fence};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
compile_error!(
    "pmd-core knows the device barriers of x86_64 and aarch64 only: add those of this architecture"
);

/// Orders stores to queue memory (WQEs, receive slots) before a following store to a doorbell record, for the
/// device, which reads the record and then fetches the queue memory by DMA. rdma-core:
/// `udma_to_device_barrier`.
#[inline(always)]
pub fn to_device() {
    #[cfg(loom)]
    fence(Ordering::Release);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: emits no instruction; it only keeps the compiler from moving memory accesses across.
    unsafe {
        asm!("", options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a barrier has no effect but order.
    unsafe {
        asm!("dmb oshst", options(nostack, preserves_flags));
    }
}

/// Orders the load of a completion-queue entry's ownership byte before the loads of its other fields and of
/// received payload, all of which the device wrote by DMA before that byte. rdma-core:
/// `udma_from_device_barrier`.
#[inline(always)]
pub fn from_device() {
    #[cfg(loom)]
    fence(Ordering::Acquire);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a barrier has no effect but order.
    unsafe {
        asm!("lfence", options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a barrier has no effect but order.
    unsafe {
        asm!("dmb oshld", options(nostack, preserves_flags));
    }
}

/// Orders the loads of completion-queue entries before a following store of the consumer index, for the device,
/// which writes the entries again once it reads that index. rdma-core has no barrier here: its consumer store
/// depends on the loads in practice. A device that is another processor makes it worth a name.
#[inline(always)]
pub fn before_release() {
    #[cfg(loom)]
    fence(Ordering::Release);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: emits no instruction; it only keeps the compiler from moving memory accesses across. Loads are not
    // reordered with later stores on this architecture.
    unsafe {
        asm!("", options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a barrier has no effect but order.
    unsafe {
        asm!("dmb oshld", options(nostack, preserves_flags));
    }
}

/// Orders the doorbell record's store, and earlier stores to device memory, before the following stores to
/// write-combining device memory (the doorbell or BlueFlame register), for the device, which must not see the
/// doorbell with an old record. rdma-core: `mmio_wc_start`.
#[inline(always)]
pub fn write_combining_start() {
    flush_writes();
}

/// Pushes the stores to write-combining device memory out of the processor's buffers before anything later is
/// stored, so that the device sees a doorbell now and in order with the next one. rdma-core:
/// `mmio_flush_writes`.
#[inline(always)]
pub fn flush_writes() {
    #[cfg(loom)]
    fence(Ordering::Release);
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a barrier has no effect but order.
    unsafe {
        asm!("sfence", options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a barrier has no effect but order.
    unsafe {
        asm!("dsb st", options(nostack, preserves_flags));
    }
}

/// A word of a doorbell record that has several, by its number.
///
/// # Safety
/// `record` points to a record with that word.
#[inline(always)]
pub(crate) unsafe fn record_word(record: *mut u32, word: usize) -> *mut u32 {
    #[cfg(loom)]
    // SAFETY: the caller's promise; a model's record is made of loom's atomics.
    return unsafe { record.cast::<AtomicU32>().add(word).cast() };
    #[cfg(not(loom))]
    // SAFETY: the caller's promise.
    unsafe {
        record.add(word)
    }
}

/// Stores a doorbell record: one 32-bit store. `word` is as it lies in memory, from [`crate::wire::doorbell`].
///
/// # Safety
/// `record` is valid for a write of four bytes, aligned to four, and written by this thread only.
#[inline(always)]
pub unsafe fn store_record(record: *mut u32, word: u32) {
    #[cfg(loom)]
    // SAFETY: the caller's promise; a model's record is made of loom's atomics.
    unsafe { &*record.cast::<AtomicU32>() }.store(word, Ordering::Relaxed);
    #[cfg(not(loom))]
    // SAFETY: the caller's promise is the one that write_volatile asks for.
    unsafe {
        record.write_volatile(word);
    }
}

/// Stores a doorbell: one 64-bit store, never split. `word` is as it lies in memory, from
/// [`crate::wire::doorbell`].
///
/// # Safety
/// `register` is valid for a write of eight bytes, aligned to eight: a mapped doorbell register, or memory that
/// stands for one.
#[inline(always)]
pub unsafe fn store_doorbell(register: *mut u64, word: u64) {
    #[cfg(loom)]
    // SAFETY: the caller's promise; a model's register is one of loom's atomics.
    unsafe { &*register.cast::<AtomicU64>() }.store(word, Ordering::Relaxed);
    #[cfg(not(loom))]
    // SAFETY: the caller's promise is the one that write_volatile asks for.
    unsafe {
        register.write_volatile(word);
    }
}

/// Words of one basic block: the step of a BlueFlame copy.
pub const BLOCK_WORDS: usize = 8;

/// Copies `blocks` 64-byte blocks of the send queue into a BlueFlame register as ordered eight-byte stores,
/// from block `first` (free-running) on, wrapping at the end of the queue's `ring_blocks` blocks.
///
/// # Safety
/// - `register` is valid for writes of `blocks` * 64 bytes and aligned to eight: a mapped BlueFlame register of
///   at least that size, or memory that stands for one.
/// - `ring` is valid for reads of `ring_blocks` * 64 bytes, aligned to eight, and nothing writes the blocks
///   meanwhile; `ring_blocks` is a power of two and at least `blocks`.
#[inline]
pub unsafe fn copy_blue_flame(
    register: *mut u64,
    ring: *const u64,
    ring_blocks: usize,
    first: usize,
    blocks: usize,
) {
    debug_assert!(ring_blocks.is_power_of_two() && blocks <= ring_blocks);
    #[cfg(loom)]
    {
        let _ = (ring, blocks);
        // SAFETY: the caller's promise. Under loom the first word stands for all, and says which block was copied.
        unsafe { store_doorbell(register, first as u64 + 1) };
    }
    #[cfg(not(loom))]
    for block in 0..blocks {
        let source = ((first.wrapping_add(block)) & (ring_blocks - 1)) * BLOCK_WORDS;
        for word in 0..BLOCK_WORDS {
            // SAFETY: `source + word` is below ring_blocks * 8 by the mask, `block * 8 + word` below blocks * 8.
            unsafe {
                let value = ring.add(source + word).read();
                register.add(block * BLOCK_WORDS + word).write_volatile(value);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
