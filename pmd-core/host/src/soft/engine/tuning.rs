//! Budgets and sizes of an engine.

use std::time::Duration;

/// How an engine behaves; the default suits a lane with a core of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tuning {
    /// Entries of the completion queue; rounded up to a power of two.
    pub completions: u32,
    /// Bytes that a doorbell moves before it returns; the rest goes on in polls.
    pub doorbell_budget: u64,
    /// Bytes that a poll moves before it returns.
    pub poll_budget: u64,
    /// Largest payload of one packet.
    pub fragment: usize,
    /// Bytes written that the core's last cache is taken to hold beside those that they were copied from. What the engine
    /// copies to places that it has not written within so many bytes goes past the caches, in pieces of a page and more; with 0
    /// nothing does. The default is about what a core of 32 MiB of last cache gains from.
    pub cached: usize,
    /// How long a queue pair waits for its peer to connect.
    pub connect_timeout: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            completions: 8192,
            doorbell_budget: 64 << 10,
            poll_budget: 256 << 10,
            fragment: 8 << 10,
            cached: 8 << 20,
            connect_timeout: Duration::from_secs(10),
        }
    }
}

/// Longest message, in bytes: that of hardware.
pub(super) const LONGEST_MESSAGE: u64 = 1 << 31;
/// READs and atomics that may wait for a response at a time.
pub(super) const RESPONSES: usize = 16;

/// Duration of a receiver-not-ready timer code (InfiniBand architecture 9.7.5.2.8).
pub(super) fn not_ready_timer(code: u8) -> Duration {
    const HUNDREDTHS: [u32; 32] = [
        65_536, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048,
        3072, 4096, 6144, 8192, 12_288, 16_384, 24_576, 32_768, 49_152,
    ];
    Duration::from_micros(10) * HUNDREDTHS[usize::from(code & 31)]
}
