//! Events and flags of the CPU's streams.

use std::{
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

use pmd_core::sync::{AtomicU64, Ordering};

use super::lock;
use crate::event::{Event, EventError, Flag};

/// Done or failed once; the thread of its stream says which.
#[derive(Debug, Default)]
pub(super) struct CpuEvent {
    outcome: Mutex<Option<Result<(), EventError>>>,
    settled: Condvar,
}

impl CpuEvent {
    /// The first outcome stays.
    pub(super) fn settle(&self, outcome: Result<(), EventError>) {
        lock(&self.outcome).get_or_insert(outcome);
        self.settled.notify_all();
    }
}

impl Event for CpuEvent {
    fn query(&self) -> Result<bool, EventError> {
        match &*lock(&self.outcome) {
            Some(outcome) => outcome.clone().map(|()| true),
            None => Ok(false),
        }
    }

    fn synchronize(&self, deadline: Option<Instant>) -> Result<(), EventError> {
        /// Without a deadline: how long until the condition is looked at again.
        const LONG: Duration = Duration::from_secs(3600);
        let begun = Instant::now();
        let mut outcome = lock(&self.outcome);
        loop {
            if let Some(outcome) = &*outcome {
                return outcome.clone();
            }
            let now = Instant::now();
            let left = deadline.map_or(LONG, |deadline| deadline.saturating_duration_since(now));
            if left.is_zero() {
                return Err(EventError::Timeout { waited: now - begun });
            }
            outcome = match self.settled.wait_timeout(outcome, left) {
                Ok((outcome, _)) => outcome,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}

/// A flag in ordinary memory.
#[derive(Debug, Default)]
pub struct CpuFlag(AtomicU64);

impl Flag for CpuFlag {
    fn address(&self) -> u64 {
        (&raw const self.0) as u64
    }

    fn load(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn store(&self, value: u64) {
        self.0.store(value, Ordering::Release);
    }
}
