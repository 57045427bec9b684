//! What tests ask of the accelerator without a device: counters, and the ways in which a runtime can fail.

use std::sync::Mutex;

use pmd_core::accelerator::{AcceleratorError, AcceleratorKind};

use super::cpu::{CpuAccelerator, lock};

/// What an accelerator has been asked for so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CpuCounters {
    /// Calls of [`Stream::copy`](pmd_core::accelerator::Stream::copy) that put something into a stream.
    pub copies: u64,
    /// Ranges of these calls.
    pub ranges: u64,
    /// Calls of [`Stream::copy_blocks`](pmd_core::accelerator::Stream::copy_blocks).
    pub launches: u64,
    /// Blocks of these calls.
    pub blocks: u64,
    /// Calls of [`Accelerator::flush_remote_writes`](pmd_core::accelerator::Accelerator::flush_remote_writes).
    pub flushes: u64,
}

/// What was counted, and what was asked for.
#[derive(Debug, Default)]
pub(super) struct Controls {
    counters: Mutex<CpuCounters>,
    /// Most bytes of one pinned allocation.
    pinned: Mutex<Option<u64>>,
    destroyed: Mutex<bool>,
    fail_flushes: Mutex<bool>,
}

impl CpuAccelerator {
    /// What it has been asked for so far.
    #[must_use]
    pub fn counters(&self) -> CpuCounters {
        *lock(&self.controls().counters)
    }

    /// Refuses allocations of pinned memory of more than `bytes`; 0 refuses all.
    pub fn limit_pinned(&self, bytes: u64) {
        *lock(&self.controls().pinned) = Some(bytes);
    }

    /// From now on every call fails, as those of a runtime do whose context was destroyed, and copies that have
    /// not begun fail.
    pub fn destroy(&self) {
        *lock(&self.controls().destroyed) = true;
    }

    /// Whether flushes of what NICs have written fail from now on.
    pub fn fail_flushes(&self, fail: bool) {
        *lock(&self.controls().fail_flushes) = fail;
    }

    /// Whether the runtime still answers.
    pub(super) fn check_alive(&self, function: &'static str) -> Result<(), AcceleratorError> {
        /// `CUDA_ERROR_CONTEXT_IS_DESTROYED`.
        const DESTROYED: i64 = 709;
        if !*lock(&self.controls().destroyed) {
            return Ok(());
        }
        let name = "context destroyed".to_owned();
        Err(AcceleratorError::Runtime { kind: AcceleratorKind::Cpu, function, code: DESTROYED, name })
    }

    pub(super) fn pins(&self, length: u64) -> bool {
        lock(&self.controls().pinned).is_none_or(|most| length <= most)
    }

    pub(super) fn count(&self, what: impl FnOnce(&mut CpuCounters)) {
        what(&mut lock(&self.controls().counters));
    }

    pub(super) fn flush(&self) -> Result<(), AcceleratorError> {
        self.count(|counters| counters.flushes += 1);
        if !*lock(&self.controls().fail_flushes) {
            return Ok(());
        }
        let (function, name) = ("flush_remote_writes", "failed".to_owned());
        Err(AcceleratorError::Runtime { kind: AcceleratorKind::Cpu, function, code: -1, name })
    }
}
