//! An allocator, and the memory functions that compilers call and libc would have.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering};

/// All memory that the checks may take.
const ARENA: usize = 1 << 20;

/// Hands out an arena from its start to its end and takes nothing back.
#[repr(align(4096))]
struct Bump {
    arena: UnsafeCell<[u8; ARENA]>,
    used: AtomicUsize,
}

// SAFETY: every byte of the arena is handed out once, by an atomic addition, and never touched by the allocator.
unsafe impl Sync for Bump {}

// SAFETY: blocks are aligned, lie inside the arena and do not overlap; null means that the arena is used up.
unsafe impl GlobalAlloc for Bump {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (size, align) = (layout.size(), layout.align());
        let Some(room) = size.checked_add(align) else { return ptr::null_mut() };
        let start = self.used.fetch_add(room, Ordering::Relaxed);
        let aligned = start.saturating_add(align - 1) & !(align - 1);
        if align > 4096 || aligned.saturating_add(size) > ARENA {
            return ptr::null_mut();
        }
        // SAFETY: the offset is inside the arena, as was just checked.
        unsafe { self.arena.get().cast::<u8>().add(aligned) }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Bump = Bump { arena: UnsafeCell::new([0; ARENA]), used: AtomicUsize::new(0) };

/// `memcpy(3)`.
///
/// # Safety
///
/// Both ranges are valid for `length` bytes and do not overlap.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    for at in 0..length {
        // SAFETY: the caller vouches for both ranges; volatile, so that no compiler makes a memcpy of this loop.
        unsafe { to.add(at).write_volatile(from.add(at).read_volatile()) };
    }
    to
}

/// `memmove(3)`.
///
/// # Safety
///
/// Both ranges are valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, length: usize) -> *mut u8 {
    if to.addr() <= from.addr() {
        // SAFETY: copying upwards reads each byte before it is overwritten.
        return unsafe { memcpy(to, from, length) };
    }
    for at in (0..length).rev() {
        // SAFETY: as in memcpy; downwards, each byte is read before it is overwritten.
        unsafe { to.add(at).write_volatile(from.add(at).read_volatile()) };
    }
    to
}

/// `memset(3)`.
///
/// # Safety
///
/// The range is valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, value: i32, length: usize) -> *mut u8 {
    for at in 0..length {
        // SAFETY: the caller vouches for the range; volatile as in memcpy.
        unsafe { to.add(at).write_volatile(value as u8) };
    }
    to
}

/// `memcmp(3)`.
///
/// # Safety
///
/// Both ranges are valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    for at in 0..length {
        // SAFETY: the caller vouches for both ranges; volatile as in memcpy.
        let (left, right) = unsafe { (left.add(at).read_volatile(), right.add(at).read_volatile()) };
        if left != right {
            return i32::from(left) - i32::from(right);
        }
    }
    0
}

/// `bcmp(3)`, which compilers prefer where only equality matters.
///
/// # Safety
///
/// Both ranges are valid for `length` bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn bcmp(left: *const u8, right: *const u8, length: usize) -> i32 {
    // SAFETY: the caller's promise is memcmp's.
    unsafe { memcmp(left, right, length) }
}
