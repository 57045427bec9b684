//! TRAP where it does not exist: it decodes x86-64 stores.

#![allow(dead_code, reason = "the same interface as where it exists")]

use std::io;

use super::pages::Page;

/// As on x86-64; nothing calls it here.
pub(super) trait StoreSink: Sync {
    /// A store of `bytes` at `offset` of a page.
    fn store(&self, page: &Page, offset: usize, bytes: &[u8]);
}

/// Refuses.
///
/// # Errors
/// `Unsupported`, with what to do instead.
pub(super) fn install(_sink: &'static dyn StoreSink) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "TRAP needs x86-64; use --mode step or --mode thread"))
}
