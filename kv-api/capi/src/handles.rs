//! What C programs hold in place of objects: numbers that look like pointers.
//!
//! A pointer that a C program gives back cannot be checked; a number can. So a handle is looked up in a table of its
//! kind at every call, no number is used twice, and a handle that was released, twice or while another thread uses
//! it, is an error and nothing else. The tables are the one thing in this crate that belongs to the whole process; they
//! know nothing of each other, and an engine is as long as its handle or a call with it.

use std::{
    collections::BTreeMap,
    ptr,
    sync::{Arc, PoisonError, RwLock},
};

use pmd_core::sync::{AtomicU64, Ordering};

use crate::status::{Failure, pmd_kv_status};

/// The next handle, whatever its kind. Multiples of 16, as addresses of objects would be.
static NEXT: AtomicU64 = AtomicU64::new(0x1000);

/// Objects of one kind by handle. `H` is the opaque type that handles point to.
pub(crate) struct Table<H, T> {
    what: &'static str,
    objects: RwLock<BTreeMap<usize, Arc<T>>>,
    opaque: std::marker::PhantomData<fn(H)>,
}

impl<H, T> Table<H, T> {
    pub(crate) const fn new(what: &'static str) -> Self {
        Self { what, objects: RwLock::new(BTreeMap::new()), opaque: std::marker::PhantomData }
    }

    /// Puts an object in, and gives its handle.
    pub(crate) fn insert(&self, object: T) -> *mut H {
        let number = NEXT.fetch_add(16, Ordering::Relaxed) as usize;
        self.objects.write().unwrap_or_else(PoisonError::into_inner).insert(number, Arc::new(object));
        ptr::without_provenance_mut(number)
    }

    /// The object of a handle.
    pub(crate) fn find(&self, handle: *const H) -> Result<Arc<T>, Failure> {
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(&handle.addr()).cloned().ok_or_else(|| self.unknown(handle))
    }

    /// Takes an object out. Calls that use it now still have it.
    pub(crate) fn remove(&self, handle: *const H) -> Result<Arc<T>, Failure> {
        let removed = self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(&handle.addr());
        removed.ok_or_else(|| self.unknown(handle))
    }

    fn unknown(&self, handle: *const H) -> Failure {
        let (status, why) = if handle.is_null() {
            (pmd_kv_status::NullPointer, "is NULL")
        } else {
            (pmd_kv_status::InvalidHandle, "was released or never was")
        };
        Failure::new(status, format!("the {} {why}", self.what))
    }
}
