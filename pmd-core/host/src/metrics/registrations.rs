//! How many registrations there are, and how they are reached. Registration takes microseconds, so this has a lock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::RegistrationMetrics;
use crate::{backend::Transport, region::RegionPath};

/// The registrations of an endpoint's devices; clones are the same book.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegistrationBook(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// One for each transport and path that was ever used.
    entries: Vec<RegistrationMetrics>,
    failed: u64,
}

/// Memory that counts as registered until this is dropped.
#[derive(Debug)]
pub(crate) struct Tally {
    book: RegistrationBook,
    ways: Vec<(Transport, RegionPath)>,
    bytes: u64,
}

impl RegistrationBook {
    /// Counts `bytes` that were registered in these ways.
    pub(crate) fn registered(
        &self,
        ways: impl Iterator<Item = (Transport, RegionPath)>,
        bytes: u64,
    ) -> Tally {
        let ways: Vec<_> = ways.collect();
        let mut state = self.state();
        for &(transport, path) in &ways {
            let entry = state.entry(transport, path);
            entry.registered += 1;
            entry.regions += 1;
            entry.bytes += bytes;
        }
        drop(state);
        Tally { book: self.clone(), ways, bytes }
    }

    /// Counts a registration that was refused.
    pub(crate) fn failed(&self) {
        self.state().failed += 1;
    }

    /// What there is, and how many were refused.
    pub(crate) fn read(&self) -> (Vec<RegistrationMetrics>, u64) {
        let state = self.state();
        (state.entries.clone(), state.failed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn entry(&mut self, transport: Transport, path: RegionPath) -> &mut RegistrationMetrics {
        let found = self.entries.iter().position(|entry| (entry.transport, entry.path) == (transport, path));
        let index = found.unwrap_or_else(|| {
            self.entries.push(RegistrationMetrics { transport, path, registered: 0, regions: 0, bytes: 0 });
            self.entries.len() - 1
        });
        &mut self.entries[index]
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        let mut state = self.book.state();
        for &(transport, path) in &self.ways {
            let entry = state.entry(transport, path);
            entry.regions -= 1;
            entry.bytes -= self.bytes;
        }
    }
}
