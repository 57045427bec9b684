//! Copies payload that the device left in a completion entry to the memory the request named.
//!
//! Only used by queue pairs that were attached with [`super::QueuePairLimits::scatter_to_completion`]; the lists
//! are shadows kept while posting, queue memory is not read back.

#![allow(unsafe_code)] // Writes memory that is known by address only, as the device would.

use crate::memory::Sge;

/// Spreads `payload` over `list` in order. Bytes past the end of the list are dropped: the device completes such
/// a message with an error.
///
/// # Safety
/// Every entry's range is host memory of this process, valid for writes, and borrowed by nobody.
#[cold]
pub(super) unsafe fn scatter(list: impl Iterator<Item = Sge>, mut payload: &[u8]) {
    for entry in list {
        let length = payload.len().min(entry.length as usize);
        let (now, rest) = payload.split_at(length);
        let target = core::ptr::with_exposed_provenance_mut::<u8>(entry.address as usize);
        // SAFETY: the caller promises that the entry's range is writable; `length` is within it. The payload lies
        // in the completion queue, which no request names.
        unsafe { target.copy_from_nonoverlapping(now.as_ptr(), length) };
        payload = rest;
        if payload.is_empty() {
            return;
        }
    }
}
