//! What C programs hold in place of objects: numbers that look like pointers.
//!
//! A pointer that a C program gives back cannot be checked; a number can. So a handle is looked up in a table of its
//! kind at every call, no number is used twice, and a handle that was released, twice or while another thread uses
//! it, is an error and nothing else. The tables are the one thing in a C library that belongs to the whole process;
//! they know nothing of each other, and an object lives as long as its handle or a call with it.

use std::{
    collections::BTreeMap,
    marker::PhantomData,
    ptr,
    sync::{Arc, PoisonError, RwLock},
};

use pmd_core::sync::{AtomicU64, Ordering};

use crate::BadCall;

/// The next handle, whatever its kind. Multiples of 16, as addresses of objects would be.
static NEXT: AtomicU64 = AtomicU64::new(0x1000);

/// Objects of one kind by handle. `H` is the opaque type that handles point to.
pub struct Table<H, T> {
    what: &'static str,
    objects: RwLock<BTreeMap<usize, Arc<T>>>,
    opaque: PhantomData<fn(H)>,
}

impl<H, T> Table<H, T> {
    /// An empty table of objects that errors call `what`.
    #[must_use]
    pub const fn new(what: &'static str) -> Self {
        Self { what, objects: RwLock::new(BTreeMap::new()), opaque: PhantomData }
    }

    /// Puts an object in, and gives its handle.
    pub fn insert(&self, object: T) -> *mut H {
        let number = NEXT.fetch_add(16, Ordering::Relaxed) as usize;
        self.objects.write().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::new(object));
        ptr::without_provenance_mut(number)
    }

    /// The object of a handle.
    ///
    /// # Errors
    /// [`BadCall::Null`], [`BadCall::Handle`].
    pub fn find(&self, handle: *const H) -> Result<Arc<T>, BadCall> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(&handle.addr()).cloned().ok_or_else(|| self.unknown(handle))
    }

    /// Takes an object out. Calls that use it now still have it.
    ///
    /// # Errors
    /// [`BadCall::Null`], [`BadCall::Handle`].
    pub fn remove(&self, handle: *const H) -> Result<Arc<T>, BadCall> {
        let removed = self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(&handle.addr());
        removed.ok_or_else(|| self.unknown(handle))
    }

    fn unknown(&self, handle: *const H) -> BadCall {
        let what = self.what;
        if handle.is_null() { BadCall::Null { what } } else { BadCall::Handle { what } }
    }
}
