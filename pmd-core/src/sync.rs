//! The one door to atomics, fences and shared cells: from `core`, or from loom under `--cfg loom`.
//!
//! Rings, slots and the soft HCA's shared memory use these names only, so that a loom model runs the very
//! code that ships. Barriers towards a device are not here: they have names, in [`crate::mmio`].
//!
//! A loop that waits must call [`spin_hint`] in each turn: it is a pause on a processor, and under loom the
//! yield without which the model never ends.

#[cfg(not(loom))]
pub use alloc::sync::Arc;
#[cfg(not(loom))]
pub use core::hint::spin_loop as spin_hint;
#[cfg(not(loom))]
pub use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(loom)]
pub use loom::cell::UnsafeCell;
#[cfg(loom)]
pub use loom::sync::Arc;
#[cfg(loom)]
pub use loom::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
#[cfg(loom)]
pub use loom::thread::yield_now as spin_hint;

/// Memory that is shared and written without a lock.
///
/// The closures mark the span of an access: loom checks that no two spans of which one writes can overlap.
/// Outside of loom they cost nothing.
#[cfg(not(loom))]
#[derive(Debug, Default)]
#[repr(transparent)]
pub struct UnsafeCell<T: ?Sized>(core::cell::UnsafeCell<T>);

#[cfg(not(loom))]
impl<T> UnsafeCell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Self {
        Self(core::cell::UnsafeCell::new(value))
    }

    /// Takes the value out.
    pub fn into_inner(self) -> T {
        self.0.into_inner()
    }
}

#[cfg(not(loom))]
impl<T: ?Sized> UnsafeCell<T> {
    /// Reads: the pointer may be read inside `access`, while nobody writes.
    #[inline(always)]
    pub fn with<R>(&self, access: impl FnOnce(*const T) -> R) -> R {
        access(self.0.get())
    }

    /// Writes: the pointer may be read and written inside `access`, while nobody else does either.
    #[inline(always)]
    pub fn with_mut<R>(&self, access: impl FnOnce(*mut T) -> R) -> R {
        access(self.0.get())
    }
}
