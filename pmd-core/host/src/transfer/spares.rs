//! Large buffers kept for the next use. To have fresh pages mapped costs more than to plan what fills them, so whoever
//! plans transfers again and again holds a [`Spares`]; see [`WorkListBuilder::reusing`](super::WorkListBuilder::reusing).

use std::{
    fmt,
    mem::{self, size_of},
    ops::{Deref, DerefMut},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// What can be kept.
pub trait Spare: Default {
    /// Forgets the content and keeps the memory.
    fn empty(&mut self);

    /// Bytes of the memory, used or not.
    fn bytes(&self) -> usize;
}

/// Buffers that nobody uses now: at most [`Spares::MOST`] of them and [`Spares::MOST_BYTES`] together. Clones are
/// handles to the same ones.
pub struct Spares<T>(Arc<Mutex<Vec<T>>>);

/// A buffer in use. Goes back to where it came from when it is dropped; a clone goes nowhere.
pub struct Lent<T: Spare> {
    value: T,
    home: Option<Spares<T>>,
}

impl<T> Spares<T> {
    /// Buffers that are kept.
    pub const MOST: usize = 8;

    /// Bytes that are kept.
    pub const MOST_BYTES: usize = 64 << 20;

    /// Smaller ones are not worth it: the allocator has their pages at hand.
    pub const LEAST_BYTES: usize = 16 << 10;

    fn kept(&self) -> MutexGuard<'_, Vec<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Spare> Spares<T> {
    /// The buffer that was given back last, emptied, or a new one.
    #[must_use]
    pub fn take(&self) -> Lent<T> {
        let value = self.kept().pop().unwrap_or_default();
        Lent { value, home: Some(self.clone()) }
    }

    /// Buffers that are kept now.
    #[must_use]
    pub fn count(&self) -> usize {
        self.kept().len()
    }

    fn put(&self, mut value: T) {
        let bytes = value.bytes();
        if bytes < Self::LEAST_BYTES {
            return;
        }
        let mut kept = self.kept();
        if kept.len() < Self::MOST && kept.iter().map(T::bytes).sum::<usize>() + bytes <= Self::MOST_BYTES {
            value.empty();
            kept.push(value);
        }
    }
}

impl<T: Spare> Lent<T> {
    /// One that is nobody's: it is freed when it is dropped.
    #[must_use]
    pub const fn own(value: T) -> Self {
        Self { value, home: None }
    }
}

impl<T: Spare> Drop for Lent<T> {
    fn drop(&mut self) {
        if let Some(home) = self.home.take() {
            home.put(mem::take(&mut self.value));
        }
    }
}

impl<T: Spare> Deref for Lent<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Spare> DerefMut for Lent<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Spare + Clone> Clone for Lent<T> {
    fn clone(&self) -> Self {
        Self::own(self.value.clone())
    }
}

impl<T: Spare + PartialEq> PartialEq for Lent<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Spare + Eq> Eq for Lent<T> {}

impl<T: Spare + fmt::Debug> fmt::Debug for Lent<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(formatter)
    }
}

impl<T> Default for Spares<T> {
    fn default() -> Self {
        // Room for all from the beginning: what gives one back may be a lane, which does not allocate.
        Self(Arc::new(Mutex::new(Vec::with_capacity(Self::MOST))))
    }
}

impl<T> Clone for Spares<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Spares<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Spares: {}", self.kept().len())
    }
}

impl<T: Copy> Spare for Vec<T> {
    fn empty(&mut self) {
        self.clear();
    }

    fn bytes(&self) -> usize {
        self.capacity() * size_of::<T>()
    }
}
