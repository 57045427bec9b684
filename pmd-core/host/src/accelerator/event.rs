//! Events and flags of the CPU's streams.

use std::sync::Mutex;

use pmd_core::{
    accelerator::{AcceleratorError, Event, Flag},
    sync::{AtomicU64, Ordering},
};

use super::cpu::lock;

/// Done or failed once; the thread of its stream says which.
#[derive(Debug, Default)]
pub(super) struct CpuEvent(Mutex<Option<Result<(), AcceleratorError>>>);

impl CpuEvent {
    /// The first outcome stays.
    pub(super) fn settle(&self, outcome: Result<(), AcceleratorError>) {
        lock(&self.0).get_or_insert(outcome);
    }
}

impl Event for CpuEvent {
    fn query(&self) -> Result<bool, AcceleratorError> {
        match &*lock(&self.0) {
            Some(outcome) => outcome.clone().map(|()| true),
            None => Ok(false),
        }
    }
}

/// A flag in ordinary memory.
#[derive(Debug, Default)]
pub(super) struct CpuFlag(AtomicU64);

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
