//! How much of a completion queue is spoken for.

use crate::backend::SetupError;

/// Entries of a completion queue, promised to the requests that can be outstanding.
///
/// After an error each outstanding request completes, signalled or not; a queue without room for all would overrun
/// and take every queue pair with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CompletionRoom {
    capacity: u32,
    promised: u32,
}

impl CompletionRoom {
    pub(crate) fn new(capacity: u32) -> Self {
        Self { capacity, promised: 0 }
    }

    /// Promises entries.
    ///
    /// # Errors
    /// [`SetupError::Limit`] when there are not as many left.
    pub(crate) fn promise(&mut self, entries: u32) -> Result<(), SetupError> {
        let limit = self.capacity - self.promised;
        if entries > limit {
            let what = "outstanding requests in the rest of the completion queue (raise its `completions`)";
            return Err(SetupError::Limit { what, wanted: entries.into(), limit: limit.into() });
        }
        self.promised += entries;
        Ok(())
    }

    /// Takes a promise back.
    pub(crate) fn release(&mut self, entries: u32) {
        self.promised -= entries.min(self.promised);
    }
}
