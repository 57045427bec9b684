//! What a subject counts with: spans of its work, and the name under which they are written down.

use std::ffi::CString;

use crate::callgrind;

/// Spans of one subject after the other. Where valgrind does not run this program, work is done and nothing is counted.
#[derive(Debug, Default)]
pub struct Meter {
    counted: Vec<Counted>,
}

/// A subject whose spans are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// Name of its line in the baseline.
    pub name: String,
    /// Operations in all of its spans: the count is divided by it.
    pub operations: u64,
}

impl Meter {
    /// From here on this program can be counted.
    #[must_use]
    pub fn new() -> Self {
        callgrind::instrument();
        Self::default()
    }

    /// Work that counts.
    #[inline(always)]
    pub fn span<T>(&self, work: impl FnOnce() -> T) -> T {
        callgrind::toggle();
        let made = work();
        callgrind::toggle();
        made
    }

    /// Ends a subject: all spans since the last one that ended were `operations` operations of it.
    pub fn end(&mut self, name: &str, operations: u64) {
        // A name with a zero would lose what is behind it.
        callgrind::dump(&CString::new(name).unwrap_or_default());
        self.counted.push(Counted { name: name.to_owned(), operations });
    }

    /// What was counted, in order.
    #[must_use]
    pub fn counted(&self) -> &[Counted] {
        &self.counted
    }
}
